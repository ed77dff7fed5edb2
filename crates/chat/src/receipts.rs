//! Delivery marks: the position up to which a member's devices have received a session's messages. A mark is
//! recorded when a client gives a sign of life after messages were written to it, and published to the
//! session as `message:delivered`.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    inbox::Inbox,
    store::marks::{DeliveryMarks, Marks},
};
use bus::{PubSub, broadcast::Broadcast};
use model::{ids::SessionId, person::Person, session::Delivered};
use platform::{
    tasks::{Stage, Tasks},
    throttle::Throttle,
};

/// Retry delay while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// Records and publishes delivery marks. A mark that is lost with its node is replaced by the next one.
#[derive(Debug, Default)]
pub struct Receipts {
    delivered: Throttle<(SessionId, Person), u64>,
}

impl Receipts {
    /// Starts recording in this store, and publishing on this bus.
    pub fn start(
        tasks: &Tasks,
        store: Arc<dyn Marks>,
        bus: Arc<dyn PubSub>,
        inbox: Arc<Inbox>,
    ) -> Arc<Self> {
        let receipts = Arc::new(Self::default());
        let noting = Arc::clone(&receipts).keep_noting(store, bus, inbox);
        tasks.spawn(Stage::Delivery, "receipts", noting);
        receipts
    }

    /// Queues the mark that a client of this person has the session's messages up to `seq`.
    pub fn delivered(&self, session_id: SessionId, to: &Person, seq: u64) {
        let further = |waiting: &mut u64, seq: u64| *waiting = (*waiting).max(seq);
        self.delivered.put((session_id, to.clone()), seq, further);
    }

    async fn keep_noting(
        self: Arc<Self>,
        store: Arc<dyn Marks>,
        bus: Arc<dyn PubSub>,
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
                        inbox.changed(mark.to.session(mark.session_id));
                    }
                    // They are taken again after their pause.
                    for Delivered { session_id, to, seq } in locked {
                        self.delivered(session_id, &to, seq);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "delivery marks not stored; retried later");
                    sleep(RETRY).await;
                    for Delivered { session_id, to, seq } in marks {
                        self.delivered(session_id, &to, seq);
                    }
                }
            }
        }
    }
}
