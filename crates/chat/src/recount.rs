//! The periodic job that counts the sessions of an earlier version ([`crate::store::unread`]). It has a queue of its own:
//! nodes of that version would refuse it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::store::unread::UnreadTable;
use db::StoreError;
use platform::jobs::{Job, JobHandler, Module, Outcome, Schedule};

const QUEUE: &str = "unread";
const COUNT: Schedule = Schedule { name: "count_unread", queue: QUEUE, cron: "* * * * *" };
/// Number of sessions that are counted between two looks.
const BATCH: u32 = 200;
/// Time of one job. The next one goes on.
const WORK_TIME: Duration = Duration::from_secs(50);

struct Recount(UnreadTable);

/// The periodic job.
pub fn module(counts: UnreadTable) -> Module {
    Module { handlers: vec![Arc::new(Recount(counts))], schedules: vec![COUNT] }
}

#[async_trait]
impl JobHandler for Recount {
    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn concurrency(&self) -> usize {
        1
    }

    fn timeout(&self) -> Duration {
        Duration::from_mins(2)
    }

    async fn run(&self, _: &Job) -> Outcome {
        match self.count().await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed { retry_after: None, code: error.kind().to_owned() },
        }
    }
}

impl Recount {
    async fn count(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        while began.elapsed() < WORK_TIME && self.0.count_earlier(BATCH).await? {}
        Ok(())
    }
}
