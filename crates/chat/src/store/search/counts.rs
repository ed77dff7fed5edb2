//! Search: texts still to be indexed, and outcomes of searches.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::store::search_queue::SearchBacklog;
use platform::metrics::{Histogram, counters, durations, gauge};

/// Searches, and the index behind them.
#[derive(Clone, Debug)]
pub struct SearchCounts {
    /// Indexed messages.
    pub indexed: Counter,
    pub(crate) indexed_again: Counter,
    /// Messages that are not indexed: they cost too much, several times.
    pub given_up: Counter,
    /// Searches that were answered.
    pub answered: Counter,
    /// Searches that were ended for their cost.
    pub too_costly: Counter,
    /// Duration of a search, its wait for a turn included.
    pub took: Histogram,
    /// Messages that wait to be indexed.
    pub backlog: BacklogGauges,
}

/// Texts that wait to be indexed, on all nodes.
#[derive(Clone, Debug)]
pub struct BacklogGauges {
    messages: Gauge,
    oldest: Gauge<f64, AtomicU64>,
}

impl SearchCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
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
    /// Shows a backlog.
    pub fn set(&self, backlog: SearchBacklog) {
        self.messages.set(i64::try_from(backlog.messages).unwrap_or(i64::MAX));
        self.oldest.set(backlog.oldest.as_secs_f64());
    }
}
