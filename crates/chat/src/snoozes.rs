//! The job that wakes a session at the end of its snooze.
//!
//! It is written with the snooze. A later snooze moves it; a session that is awake, or snoozed for longer, stays as it
//! is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;

use crate::inbox::Inbox;
use db::{Database, StoreError, text::Statement};
use model::ids::{SessionId, SessionKey, TenantId};
use platform::jobs::{Job, JobHandler, Module, Outcome};

const QUEUE: &str = "snoozes";

/// $1 the session, $2 its tenant.
const WAKE: &str = "update sessions set waiting = null, snoozed_until = null \
    where tenant_id = $2 and id = $1 and waiting = 'snoozed' and snoozed_until <= {now} returning id";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    session_id: SessionId,
}

struct Snoozes {
    database: Database,
    inbox: Arc<Inbox>,
}

/// The job. The members are told in this inbox.
pub fn module(database: Database, inbox: Arc<Inbox>) -> Module {
    Module { handlers: vec![Arc::new(Snoozes { database, inbox })], schedules: Vec::new() }
}

#[async_trait]
impl JobHandler for Snoozes {
    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn concurrency(&self) -> usize {
        4
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run(&self, job: &Job) -> Outcome {
        let Some(key) = session(job) else {
            return Outcome::Refused { code: "unknown_payload".to_owned() };
        };
        match self.wake(key).await {
            Ok(()) => {
                // In each attempt: the one before may have ended before it told them.
                self.inbox.changed_for_desk(key);
                Outcome::Done
            }
            Err(error) => Outcome::Failed { retry_after: None, code: error.kind().to_owned() },
        }
    }
}

impl Snoozes {
    async fn wake(&self, key: SessionKey) -> Result<(), StoreError> {
        let params = [key.id.0.into(), key.tenant.number().into()];
        self.database.write(Statement::new(WAKE, params)).await.map(drop)
    }
}

fn session(job: &Job) -> Option<SessionKey> {
    let tenant = TenantId::new(job.tenant.try_into().ok()?)?;
    let Payload { session_id } = Payload::deserialize(&job.payload).ok()?;
    Some(tenant.session(session_id))
}
