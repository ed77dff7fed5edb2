//! Jobs: attempts by queue and outcome.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use platform::jobs::Outcome;

/// Labels of one series.
type Labels = [(&'static str, &'static str); 2];

/// Attempts of this node.
#[derive(Clone, Debug, Default)]
pub struct JobCounts {
    attempts: Family<Labels, Counter>,
}

impl JobCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let counts = Self::default();
        let help = "Attempts of jobs by this node, by queue and outcome";
        registry.register("job_attempts", help, counts.attempts.clone());
        counts
    }

    /// Every series of a queue exists from the start.
    pub(super) fn begin(&self, queue: &'static str) {
        for outcome in ["done", "dropped", "later", "failed", "refused"] {
            drop(self.attempts.get_or_create(&[("queue", queue), ("outcome", outcome)]));
        }
    }

    pub(super) fn attempted(&self, queue: &'static str, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Dropped => "dropped",
            Outcome::Later { .. } => "later",
            Outcome::Failed { .. } => "failed",
            Outcome::Refused { .. } => "refused",
        };
        self.attempts.get_or_create(&[("queue", queue), ("outcome", outcome)]).inc();
    }
}
