//! Look-ups of people in the directory.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use platform::metrics::{Histogram, counters, durations};

/// Look-ups of people, and their durations.
#[derive(Clone, Debug)]
pub struct DirectoryCounts {
    /// People that were found.
    pub found: Counter,
    /// People that are unknown.
    pub unknown: Counter,
    /// Look-ups that failed.
    pub failed: Counter,
    /// Not queried, because it had just failed.
    pub spared: Counter,
    /// Durations of look-ups.
    pub took: Histogram,
}

impl DirectoryCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
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
