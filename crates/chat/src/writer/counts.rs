//! The writer: received messages, and the batches in which they were committed.

use std::sync::Arc;

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::store::Appended;
use bus::delivery::Delivery;
use platform::metrics::{Histogram, counters, sizes};
use protocol::error::Error;

/// Sends and their batches.
#[derive(Clone, Debug)]
pub struct WriterCounts {
    /// Times of messages in each stage of delivery.
    pub delivery: Arc<Delivery>,
    committed: Counter,
    repeated: Counter,
    refused: Counter,
    unavailable: Counter,
    /// Sends that were refused because too many wait.
    pub busy: Counter,
    /// Sends in a committed batch.
    pub batch: Histogram,
    pub(crate) batches_committed: Counter,
    pub(crate) batches_refused: Counter,
    pub(crate) batches_contended: Counter,
    pub(crate) batches_unavailable: Counter,
}

impl WriterCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry, delivery: Arc<Delivery>) -> Self {
        let help = "Sent messages, by outcome";
        let outcomes = ["committed", "repeated", "refused", "unavailable", "busy"];
        let [committed, repeated, refused, unavailable, busy] =
            counters(registry, "messages_received", help, "outcome", outcomes);
        let batch = sizes(registry, "commit_batch_messages", "Messages in one commit");
        let help = "Batches sent to the database, by outcome";
        let outcomes = ["committed", "refused", "contended", "unavailable"];
        let [batches_committed, batches_refused, batches_contended, batches_unavailable] =
            counters(registry, "commits", help, "outcome", outcomes);
        Self {
            delivery,
            committed,
            repeated,
            refused,
            unavailable,
            busy,
            batch,
            batches_committed,
            batches_refused,
            batches_contended,
            batches_unavailable,
        }
    }

    /// Counts the outcome of a send.
    pub fn answered(&self, result: &Result<Appended, Error>) {
        let counter = match result {
            Ok(Appended::Committed(_)) => &self.committed,
            Ok(Appended::Repeated(_)) => &self.repeated,
            Ok(Appended::Refused(_)) => &self.refused,
            Ok(Appended::Locked) | Err(_) => &self.unavailable,
        };
        counter.inc();
    }
}

/// Counters that nobody exports.
impl Default for WriterCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default(), Arc::default())
    }
}
