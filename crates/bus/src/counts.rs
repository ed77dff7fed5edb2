//! The bus: broadcasts sent and received, losses and interruptions.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use platform::metrics::{Histogram, counter, counters, durations, sizes};

/// Traffic on the bus, and its failures.
#[derive(Clone, Debug)]
pub struct BusCounts {
    /// Broadcasts given to the bus.
    pub published: Counter,
    /// Received events.
    pub heard: Counter,
    pub(crate) unreadable: Counter,
    /// Broadcasts for which the queue to the bus had no room.
    pub(crate) lost_queue_full: Counter,
    /// Broadcasts that the bus refused, or may not have accepted.
    pub(crate) lost_refused: Counter,
    /// Broadcasts for which the hub's queue had no room.
    pub(crate) lost_hub_full: Counter,
    /// Interruptions because a connection to Redis was made again.
    pub reconnected: Counter,
    /// Interruptions because this node read too slowly.
    pub lagged: Counter,
    pub(crate) slots_moved: Counter,
    /// Reconnections because Redis refused a write.
    pub refused: Counter,
    /// Reconnections because Redis did not answer.
    pub unanswered: Counter,
    /// Reconnections because publisher and subscriber were on two servers.
    pub split: Counter,
    /// Duration of a round trip with broadcasts.
    pub publish: Histogram,
    /// Number of broadcasts in a round trip.
    pub batch: Histogram,
}

impl BusCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let reasons = ["queue_full", "refused", "hub_full"];
        let help = "Broadcasts that were not passed on, by reason; nodes read lost messages from the database";
        let [lost_queue_full, lost_refused, lost_hub_full] =
            counters(registry, "bus_lost", help, "reason", reasons);
        let reasons = ["reconnected", "lagged", "slots_moved", "refused", "unanswered", "split"];
        let help = "Interruptions of the bus that may have lost broadcasts, by reason";
        let [reconnected, lagged, slots_moved, refused, unanswered, split] =
            counters(registry, "bus_interruptions", help, "reason", reasons);
        let help = "Duration of round trips to the bus with broadcasts";
        let publish = durations(registry, "bus_publish_seconds", help);
        Self {
            published: counter(registry, "bus_published", "Broadcasts given to the bus"),
            heard: counter(registry, "bus_heard", "Broadcasts received from the bus"),
            unreadable: counter(
                registry,
                "bus_unreadable",
                "Envelopes from the bus that could not be read",
            ),
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

/// Counters that nobody exports.
impl Default for BusCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
