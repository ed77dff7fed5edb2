//! Failures of background tasks.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::metrics::counter;

/// Counts of the task supervisor.
#[derive(Clone, Debug, Default)]
pub struct TaskCounts {
    /// Tasks that ended unexpectedly.
    pub failed: Counter,
}

impl TaskCounts {
    /// Registers the counter.
    pub fn new(registry: &mut Registry) -> Self {
        let help = "Background tasks that panicked, or ended before the node did";
        Self { failed: counter(registry, "background_tasks_failed", help) }
    }
}
