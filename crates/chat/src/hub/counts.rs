//! The hub: gaps, missed changes, and backfills.

use std::sync::Arc;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use bus::delivery::Delivery;
use platform::metrics::{counter, counters};

/// Deliveries, backfills and head checks.
#[derive(Clone, Debug)]
pub struct HubCounts {
    /// Times of messages in each stage of delivery.
    pub delivery: Arc<Delivery>,
    /// Gaps found because a message came early.
    pub(crate) gaps_early: Counter,
    /// Gaps found by the head check. Missed changes are counted when they are sent.
    pub(crate) gaps_checked: Counter,
    /// Gaps that closed by themselves: the missing message came after all, or the last connection left.
    pub closed: Counter,
    /// Gaps that a backfill has closed.
    pub filled: Counter,
    /// Backfills that failed, and were tried again.
    pub failed: Counter,
    /// Backfilled messages.
    pub messages: Counter,
    /// Backfilled changes.
    pub changes: Counter,
    /// Head checks.
    pub checks: Counter,
    pub(crate) checks_failed: Counter,
    /// Rooms that had delivered a message which the store does not have.
    pub(crate) rewound: Counter,
    /// Renewals of the epoch.
    pub epochs: Counter,
    /// Events of the bus that wait for the hub. Exported with the other queues.
    pub queue: Gauge,
}

impl HubCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry, delivery: Arc<Delivery>) -> Self {
        let help = "Found gaps: by a message that came early, or by a head check";
        let [gaps_early, gaps_checked] =
            counters(registry, "gaps", help, "found", ["early", "checked"]);
        let help = "Fills of gaps; closed: the missing messages came from the bus, or the room has no subscriber left";
        let outcomes = ["closed", "filled", "failed"];
        let [closed, filled, failed] = counters(registry, "gap_fills", help, "outcome", outcomes);
        let help = "Head checks of all live sessions, by outcome";
        let [checks, checks_failed] =
            counters(registry, "head_checks", help, "outcome", ["done", "failed"]);
        Self {
            delivery,
            gaps_early,
            gaps_checked,
            closed,
            filled,
            failed,
            messages: counter(registry, "gap_messages", "Missing messages read from the store"),
            changes: counter(registry, "gap_changes", "Missing changes read from the store"),
            checks,
            checks_failed,
            rewound: counter(
                registry,
                "rooms_rewound",
                "Rooms set back because they had delivered a message that the store lacks",
            ),
            epochs: counter(
                registry,
                "epochs",
                "New epochs of message order on this node; clients rejoined their sessions",
            ),
            queue: Gauge::default(),
        }
    }
}

/// Counters that nobody exports.
impl Default for HubCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default(), Arc::default())
    }
}
