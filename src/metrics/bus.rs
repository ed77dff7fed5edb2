//! The bus: what is said and heard, and what got lost on the way to it.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::{counter, counters, durations, histogram::Histogram, sizes};

#[derive(Clone, Debug)]
pub(crate) struct BusCounts {
    /// Broadcasts that were given to the bus.
    pub(crate) published: Counter,
    pub(crate) heard: Counter,
    pub(crate) unreadable: Counter,
    /// What the queue to the bus had no room for.
    pub(crate) lost_queue_full: Counter,
    /// What the bus did not take, or may not have taken.
    pub(crate) lost_refused: Counter,
    /// What the hub's queue had no room for.
    pub(crate) lost_hub_full: Counter,
    pub(crate) reconnected: Counter,
    pub(crate) lagged: Counter,
    pub(crate) slots_moved: Counter,
    /// Redis refused a write, and its connections were made anew.
    pub(crate) refused: Counter,
    /// The same, as it did not answer.
    pub(crate) unanswered: Counter,
    /// The same, as publisher and subscriber were on two servers.
    pub(crate) split: Counter,
    /// How long a round trip with broadcasts took.
    pub(crate) publish: Histogram,
    /// How many broadcasts went in one.
    pub(crate) batch: Histogram,
}

impl BusCounts {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reasons = ["queue_full", "refused", "hub_full"];
        let help = "Broadcasts that were not handed on, by reason; what was in them is found in the database";
        let [lost_queue_full, lost_refused, lost_hub_full] =
            counters(registry, "bus_lost", help, "reason", reasons);
        let reasons = ["reconnected", "lagged", "slots_moved", "refused", "unanswered", "split"];
        let help = "Times that anything may have been missed on the bus, by reason";
        let [reconnected, lagged, slots_moved, refused, unanswered, split] =
            counters(registry, "bus_interruptions", help, "reason", reasons);
        let help = "Round trips to the bus with broadcasts";
        let publish = durations(registry, "bus_publish_seconds", help);
        Self {
            published: counter(registry, "bus_published", "Broadcasts given to the bus"),
            heard: counter(registry, "bus_heard", "Broadcasts heard on the bus"),
            unreadable: counter(registry, "bus_unreadable", "Envelopes that can't be read"),
            lost_queue_full,
            lost_refused,
            lost_hub_full,
            reconnected,
            lagged,
            slots_moved,
            refused,
            unanswered,
            split,
            publish,
            batch: sizes(registry, "bus_batch_broadcasts", "Broadcasts in one round trip"),
        }
    }
}

/// Counted, and told to nobody.
impl Default for BusCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
