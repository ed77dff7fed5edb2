//! The periodic job that wakes snoozed sessions whose time has come. It has a queue of its own: nodes of the version
//! before would refuse it.
//!
//! The members receive `session:updated`. If the node is killed before it publishes, their next list shows it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::inbox::Inbox;
use db::{Database, StoreError, text::Statement};
use identity::rows::tenant;
use model::{ids::SessionId, person::Side};
use platform::jobs::{Job, JobHandler, Module, Outcome, Schedule};

const QUEUE: &str = "snoozes";
const WAKE_SESSIONS: Schedule = Schedule { name: "wake_sessions", queue: QUEUE, cron: "* * * * *" };
/// Maximum number of sessions in one transaction.
const BATCH: usize = 200;

/// The sessions of all tenants. A locked one is left for the next minute: a message of its customer may be waking it.
const WAKE: &str = "update sessions set waiting = null, snoozed_until = null where (tenant_id, id) in ( \
      select tenant_id, id from sessions where snoozed_until <= {now} order by snoozed_until limit 200 {skip_locked}) \
    returning cast(tenant_id as bigint) as tenant, id";

struct Snoozes {
    database: Database,
    inbox: Arc<Inbox>,
}

/// The periodic job. It puts the sessions that wake into this inbox.
pub fn module(database: Database, inbox: Arc<Inbox>) -> Module {
    let handler = Snoozes { database, inbox };
    Module { handlers: vec![Arc::new(handler)], schedules: vec![WAKE_SESSIONS] }
}

#[async_trait]
impl JobHandler for Snoozes {
    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn concurrency(&self) -> usize {
        1
    }

    fn timeout(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn run(&self, _: &Job) -> Outcome {
        match self.wake().await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed { retry_after: None, code: error.kind().to_owned() },
        }
    }
}

impl Snoozes {
    async fn wake(&self) -> Result<(), StoreError> {
        loop {
            let rows = self.database.write(Statement::new(WAKE, [])).await?;
            for row in &rows {
                let key = tenant(row)?.session(SessionId(row.get("id")?));
                self.inbox.changed_for(key, Side::Desk);
            }
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }
}
