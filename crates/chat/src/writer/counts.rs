//! The writer: received messages, and the batches in which they were committed.

use std::{collections::HashMap, sync::Arc};

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::store::Appended;
use bus::delivery::Delivery;
use model::ids::TenantId;
use platform::metrics::{Histogram, counters, counters_of, sizes};
use protocol::error::Error;

/// Sends and their batches.
#[derive(Clone, Debug)]
pub struct WriterCounts {
    /// Times of messages in each stage of delivery.
    pub delivery: Arc<Delivery>,
    committed: Counter,
    /// Those of the tenants that the operator has listed.
    of_tenants: HashMap<TenantId, Counter>,
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
    /// Registers the counters; those by tenant for these tenants.
    pub fn new(registry: &mut Registry, delivery: Arc<Delivery>, tenants: &[TenantId]) -> Self {
        let help = "Sent messages, by outcome";
        let outcomes = ["committed", "repeated", "refused", "unavailable", "busy"];
        let [committed, repeated, refused, unavailable, busy] =
            counters(registry, "messages_received", help, "outcome", outcomes);
        let help = "Committed messages of the tenants in METRICS_TENANTS";
        let numbers = tenants.iter().map(|tenant| tenant.number().to_string());
        let counted = counters_of(registry, "tenant_messages", help, "tenant", numbers);
        let of_tenants = tenants.iter().copied().zip(counted).collect();
        let batch = sizes(registry, "commit_batch_messages", "Messages in one commit");
        let help = "Batches sent to the database, by outcome";
        let outcomes = ["committed", "refused", "contended", "unavailable"];
        let [batches_committed, batches_refused, batches_contended, batches_unavailable] =
            counters(registry, "commits", help, "outcome", outcomes);
        Self {
            delivery,
            committed,
            of_tenants,
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
        if let Ok(Appended::Committed(message)) = result
            && let Some(counter) = self.of_tenants.get(&message.session().tenant)
        {
            counter.inc();
        }
    }
}

/// Counters that nobody exports.
impl Default for WriterCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default(), Arc::default(), &[])
    }
}
