//! Delivery marks: up to where a member's devices have had a session's messages. They are noted when
//! a client shows life behind messages that were written to it, and told to the session as
//! `message:delivered`.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    bus::Bus,
    inbox::Inbox,
    pace::Pace,
    person::Person,
    session::SessionId,
    store::{Delivered, DeliveryMarks, Store},
    wire::broadcast::Broadcast,
};

/// How soon it tries again, where the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// Notes and tells what has been delivered. A mark that is lost with its node is made up for by the
/// next one.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    delivered: Pace<(SessionId, Person), u64>,
}

impl Receipts {
    /// Starts to note in this store, and to tell by this bus.
    pub(crate) fn start(store: Arc<dyn Store>, bus: Arc<dyn Bus>, inbox: Arc<Inbox>) -> Arc<Self> {
        let receipts = Arc::new(Self::default());
        tokio::spawn(Arc::clone(&receipts).keep_noting(store, bus, inbox));
        receipts
    }

    /// A client of this person's has the session's messages up to here.
    pub(crate) fn delivered(&self, session_id: SessionId, to: &Person, seq: u64) {
        let further = |waiting: &mut u64, seq: u64| *waiting = (*waiting).max(seq);
        self.delivered.put((session_id, to.clone()), seq, further);
    }

    async fn keep_noting(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        inbox: Arc<Inbox>,
    ) {
        loop {
            let taken = self.delivered.take().await.into_iter();
            let marks: Vec<_> =
                taken.map(|((session_id, to), seq)| Delivered { session_id, to, seq }).collect();
            match store.mark_delivered(&marks).await {
                Ok(DeliveryMarks { moved, locked }) => {
                    for mark in moved {
                        bus.publish(Broadcast::message_delivered(&mark));
                        inbox.changed(mark.session_id);
                    }
                    // They are taken again when their pause is over.
                    for Delivered { session_id, to, seq } in locked {
                        self.delivered(session_id, &to, seq);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "delivery marks are noted later");
                    sleep(RETRY).await;
                    for Delivered { session_id, to, seq } in marks {
                        self.delivered(session_id, &to, seq);
                    }
                }
            }
        }
    }
}
