//! Look-ups of people in the directory.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::platform::metrics::{Histogram, counters, durations};

#[derive(Clone, Debug)]
pub(crate) struct DirectoryCounts {
    pub(crate) found: Counter,
    pub(crate) unknown: Counter,
    pub(crate) failed: Counter,
    /// Not queried, because it had just failed.
    pub(crate) spared: Counter,
    pub(crate) took: Histogram,
}

impl DirectoryCounts {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let help = "Queries of the directory, by outcome; spared: skipped after a recent failure";
        let outcomes = ["found", "unknown", "failed", "spared"];
        let [found, unknown, failed, spared] =
            counters(registry, "directory_lookups", help, "outcome", outcomes);
        let help = "Duration of queries of the directory";
        let took = durations(registry, "directory_lookup_seconds", help);
        Self { found, unknown, failed, spared, took }
    }
}

/// Counters that nobody exports.
impl Default for DirectoryCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
