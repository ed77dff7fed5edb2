//! A backfill that panics. A subscriber of its log events panics in the middle of it, after its query.

use std::sync::atomic::AtomicBool;

use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

use super::*;

/// Panics at the first event of a backfill.
struct PanicsOnce(Arc<AtomicBool>);

impl PanicsOnce {
    /// The subscriber of this thread. Returns whether it has panicked.
    fn install() -> (Arc<AtomicBool>, DefaultGuard) {
        let panicked = Arc::<AtomicBool>::default();
        let installed = tracing::subscriber::set_default(Self(Arc::clone(&panicked)));
        (panicked, installed)
    }
}

impl Subscriber for PanicsOnce {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with("::hub::gaps") && *metadata.level() == Level::DEBUG
    }

    fn event(&self, _: &Event<'_>) {
        assert!(self.0.swap(true, Ordering::Relaxed), "the first backfill panics");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn i7_a_backfill_of_messages_that_panicked_is_repeated() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let (panicked, _installed) = PanicsOnce::install();
    let messages = world.commit(4).await;
    world.hear(&messages[3]).await;
    assert_eq!(listener.seqs(4).await, [1, 2, 3, 4]);
    assert!(panicked.load(Ordering::Relaxed));
}

#[tokio::test]
async fn i7_a_backfill_of_changes_that_panicked_is_repeated() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let message = world.commit(1).await.remove(0);
    world.hear(&message).await;
    assert_eq!(listener.seq().await, 1);
    let (panicked, _installed) = PanicsOnce::install();
    let edit = Amendment::Edit("edited".to_owned().try_into().unwrap());
    let amended = world.store.amend(&world.patient.scope(), world.session, message.id, &edit).await;
    let rev = amended.unwrap().unwrap().message.rev.unwrap();
    assert_eq!(listener.revs(1).await, [rev]);
    assert!(panicked.load(Ordering::Relaxed));
}
