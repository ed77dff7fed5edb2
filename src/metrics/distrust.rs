//! Items that came from Redis or by a carried request and that no node of this cluster has signed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::counters;
use crate::cluster::Distrust;

#[derive(Clone, Debug)]
pub(crate) struct DistrustCounts {
    /// With whether it was logged.
    kinds: Arc<[(Counter, AtomicBool); 4]>,
}

impl DistrustCounts {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reasons = ["unsigned", "forged", "stale", "repeated"];
        let help = "What was not believed, as no node of the cluster has signed it lately, or as it came before";
        let kinds = counters(registry, "distrusted", help, "reason", reasons);
        Self { kinds: Arc::new(kinds.map(|counter| (counter, AtomicBool::new(false)))) }
    }

    /// Counts it; whether it is the first that is worth a line in the log.
    pub(crate) fn count(&self, reason: Distrust) -> bool {
        let [unsigned, forged, stale, repeated] = &*self.kinds;
        let (counter, logged) = match reason {
            Distrust::Unsigned => unsigned,
            Distrust::Forged => forged,
            Distrust::Stale => stale,
            // A bus may do that by itself.
            Distrust::Repeated => {
                repeated.0.inc();
                return false;
            }
        };
        counter.inc();
        !logged.swap(true, Ordering::Relaxed)
    }
}

/// Counted, and told to nobody.
impl Default for DistrustCounts {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
