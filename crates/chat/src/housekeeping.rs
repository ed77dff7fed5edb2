//! Periodic jobs of the core, each done by one node.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{pushes::PushTable, retention, store::retention::Retention};
use db::{StoreError, jobs::JobTable};
use platform::jobs::{Job, JobHandler, Module, Outcome, Schedule};

/// Queue of these jobs.
const QUEUE: &str = "housekeeping";
/// Time for which a dead letter is kept.
const DEAD_KEPT: Duration = Duration::from_hours(30 * 24);
/// Maximum number of rows removed in one transaction.
const BATCH: u32 = 200;

const FORGET_EDITS: Schedule = Schedule { name: "forget_edits", queue: QUEUE, cron: "7 * * * *" };
const FORGET_JOBS: Schedule = Schedule { name: "forget_jobs", queue: QUEUE, cron: "17 * * * *" };
const ADOPT_PUSHES: Schedule = Schedule { name: "adopt_pushes", queue: QUEUE, cron: "* * * * *" };

/// Parts of these jobs.
pub struct Housekeeping {
    /// Earlier texts of messages.
    pub retention: Arc<dyn Retention>,
    /// Time for which they are kept. `None`: for ever.
    pub edits_kept: Option<Duration>,
    /// Pushes that the version before has written.
    pub pushes: PushTable,
}

/// The periodic jobs of the core.
pub fn module(parts: Housekeeping) -> Module {
    let mut schedules = vec![FORGET_JOBS, ADOPT_PUSHES];
    schedules.extend(parts.edits_kept.is_some().then_some(FORGET_EDITS));
    Module { handlers: vec![Arc::new(parts)], schedules }
}

#[async_trait]
impl JobHandler for Housekeeping {
    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn concurrency(&self) -> usize {
        2
    }

    fn timeout(&self) -> Duration {
        Duration::from_mins(5)
    }

    async fn run(&self, job: &Job) -> Outcome {
        let done = match &*job.kind {
            "forget_edits" => match self.edits_kept {
                Some(age) => retention::forget(&*self.retention, age).await.map(removed),
                None => Ok(()),
            },
            "forget_jobs" => forget_jobs(&self.pushes.jobs()).await,
            "adopt_pushes" => self.pushes.adopt().await.map(adopted),
            _ => return Outcome::Refused { code: "unknown_kind".to_owned() },
        };
        match done {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed { retry_after: None, code: error.kind().to_owned() },
        }
    }
}

fn removed(texts: u64) {
    if texts > 0 {
        tracing::info!(removed = texts, "old edited and deleted texts removed");
    }
}

fn adopted(pushes: usize) {
    if pushes > 0 {
        tracing::info!(pushes, "push jobs of the version before taken over");
    }
}

async fn forget_jobs(jobs: &JobTable) -> Result<(), StoreError> {
    while jobs.forget_dead(DEAD_KEPT, BATCH).await? == BATCH as usize {}
    Ok(())
}
