//! Items from Redis or in carried requests that no node of this cluster has signed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::cluster::Distrust;
use platform::metrics::counters;

/// Data without a valid signature, by reason.
#[derive(Clone, Debug)]
pub struct DistrustCounts {
    /// Counter of each reason, and whether it was logged.
    kinds: Arc<[(Counter, AtomicBool); 4]>,
}

impl DistrustCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let reasons = ["unsigned", "forged", "stale", "repeated"];
        let help = "Rejected data on the bus and between nodes, by reason: unsigned, forged, stale or repeated";
        let kinds = counters(registry, "distrusted", help, "reason", reasons);
        Self { kinds: Arc::new(kinds.map(|counter| (counter, AtomicBool::new(false)))) }
    }

    /// Counts it. Returns whether it is the first of its kind, and so worth a line in the log.
    pub fn count(&self, reason: Distrust) -> bool {
        let [unsigned, forged, stale, repeated] = &*self.kinds;
        let (counter, logged) = match reason {
            Distrust::Unsigned => unsigned,
            Distrust::Forged => forged,
            Distrust::Stale => stale,
            // A bus may repeat by itself.
            Distrust::Repeated => {
                repeated.0.inc();
                return false;
            }
        };
        counter.inc();
        !logged.swap(true, Ordering::Relaxed)
    }
}

/// Counters that nobody exports.
impl Default for DistrustCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
