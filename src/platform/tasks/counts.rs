//! Failures of background tasks.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::platform::metrics::counter;

/// Counts of the task supervisor.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskCounts {
    pub(crate) failed: Counter,
}

impl TaskCounts {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let help = "Background tasks that panicked, or ended before the node did";
        Self { failed: counter(registry, "background_tasks_failed", help) }
    }
}
