//! The hub: gaps, missed changes, and backfills.

use std::sync::Arc;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::platform::metrics::{counter, counters};
use crate::wire::delivery::Delivery;

#[derive(Clone, Debug)]
pub(crate) struct HubCounts {
    pub(crate) delivery: Arc<Delivery>,
    /// Gaps found because a message came early.
    pub(crate) gaps_early: Counter,
    /// Gaps found by the head check. Missed changes are counted when they are sent.
    pub(crate) gaps_checked: Counter,
    /// Gaps that closed by themselves: the missing message came after all, or the last connection left.
    pub(crate) closed: Counter,
    pub(crate) filled: Counter,
    pub(crate) failed: Counter,
    pub(crate) messages: Counter,
    pub(crate) changes: Counter,
    pub(crate) checks: Counter,
    pub(crate) checks_failed: Counter,
    /// Rooms that had delivered a message which the store does not have.
    pub(crate) rewound: Counter,
    pub(crate) epochs: Counter,
    /// Events of the bus that wait for the hub. Exported with the other queues.
    pub(crate) queue: Gauge,
}

impl HubCounts {
    pub(crate) fn new(registry: &mut Registry, delivery: Arc<Delivery>) -> Self {
        let help = "Gaps that were found: a message came early, or the check of the heads saw one";
        let [gaps_early, gaps_checked] =
            counters(registry, "gaps", help, "found", ["early", "checked"]);
        let help =
            "Fills of gaps; closed: what was missing came after all, or nobody is there any more";
        let outcomes = ["closed", "filled", "failed"];
        let [closed, filled, failed] = counters(registry, "gap_fills", help, "outcome", outcomes);
        let help = "Checks of the heads of all live sessions, by outcome";
        let [checks, checks_failed] =
            counters(registry, "head_checks", help, "outcome", ["done", "failed"]);
        Self {
            delivery,
            gaps_early,
            gaps_checked,
            closed,
            filled,
            failed,
            messages: counter(registry, "gap_messages", "Messages read from the store for gaps"),
            changes: counter(registry, "gap_changes", "Changes read from the store for gaps"),
            checks,
            checks_failed,
            rewound: counter(
                registry,
                "rooms_rewound",
                "Rooms that had delivered a message which is not stored",
            ),
            epochs: counter(
                registry,
                "epochs",
                "New epochs of the order that this node has found or made: clients in sessions joined anew",
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
