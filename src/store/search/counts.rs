//! Search: texts still to be indexed, and outcomes of searches.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::platform::metrics::{Histogram, counters, durations, gauge};
use crate::store::search_queue::SearchBacklog;

#[derive(Clone, Debug)]
pub(crate) struct SearchCounts {
    pub(crate) indexed: Counter,
    pub(crate) indexed_again: Counter,
    pub(crate) given_up: Counter,
    pub(crate) answered: Counter,
    pub(crate) too_costly: Counter,
    /// Duration of a search, its wait for a turn included.
    pub(crate) took: Histogram,
    pub(crate) backlog: BacklogGauges,
}

/// Texts that wait to be indexed, on all nodes.
#[derive(Clone, Debug)]
pub(crate) struct BacklogGauges {
    messages: Gauge,
    oldest: Gauge<f64, AtomicU64>,
}

impl SearchCounts {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let help = "Texts that this node indexed after their commit, by outcome";
        let outcomes = ["indexed", "indexed_again", "given_up"];
        let [indexed, indexed_again, given_up] =
            counters(registry, "search_messages", help, "outcome", outcomes);
        let help = "Searches, by outcome";
        let outcomes = ["answered", "too_costly"];
        let [answered, too_costly] = counters(registry, "searches", help, "outcome", outcomes);
        let took = durations(
            registry,
            "search_seconds",
            "Duration of searches, with waiting for a permit",
        );
        let help = "Messages of all nodes that wait for search indexing, up to 10,000";
        let messages = gauge(registry, "search_waiting_messages", help);
        let oldest = Gauge::default();
        let help = "Waiting time of the oldest message that waits for search indexing";
        registry.register("search_waiting_seconds", help, Gauge::clone(&oldest));
        let backlog = BacklogGauges { messages, oldest };
        Self { indexed, indexed_again, given_up, answered, too_costly, took, backlog }
    }
}

impl BacklogGauges {
    pub(crate) fn set(&self, backlog: SearchBacklog) {
        self.messages.set(i64::try_from(backlog.messages).unwrap_or(i64::MAX));
        self.oldest.set(backlog.oldest.as_secs_f64());
    }
}
