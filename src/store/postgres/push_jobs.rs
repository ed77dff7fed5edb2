//! The push queue, in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Params, Postgres, STATEMENT_TIMEOUT, messages::APPEND, retries::retry_until, rows};
use crate::{
    person::Person,
    session::SessionId,
    store::{
        StoreError,
        push_jobs::{
            CONNECTED, COUNTS, FINISH, HASTEN, NOTIFICATION, PushCounts, PushJob, PushJobs,
            PushNotification,
        },
    },
};

/// Mark in [`APPEND`] that [`PUSHED`] replaces.
const PUSHES_MARK: &str = "/* pushes */";

/// Adds a job for each other member of the newly numbered messages, unless one is waiting. A node
/// that takes a waiting job waits for this transaction before it reads the job's content
/// ([`SETTLED`]).
const PUSHED: &str = ", pushed as (
  insert into push_jobs (session_id, kind, person_id, seq, due_at)
  select n.session_id, m.kind, m.person_id, min(n.seq),
         statement_timestamp() + interval 'DELAY milliseconds'
  from numbered n join members m on m.session_id = n.session_id and m.kind <> n.sender_kind
    and not m.muted
  group by n.session_id, m.kind, m.person_id
  on conflict (session_id, kind, person_id) where state = 'waiting'
    do nothing
)";

/// Waits for the messages that are being committed in a session: their transactions may have relied
/// on a job that is taken by now.
const SETTLED: &str = "select 1 from sessions where id = $1 for share";

const LEASE: &str = "
with due as (
  select id from push_jobs where state <> 'dead' and due_at <= statement_timestamp()
  order by due_at limit $1 for update skip locked
)
update push_jobs p
set state = 'taken', attempts = attempts + 1,
    due_at = statement_timestamp() + make_interval(secs => $2)
from due where p.id = due.id
returning p.id, p.session_id, p.kind, p.person_id, p.seq, p.attempts";

/// $1 and $2 are the id and the attempts of the job as it was taken.
const RESCHEDULE: &str = "update push_jobs \
    set due_at = statement_timestamp() + make_interval(secs => $3), error = $4 \
    where id = $1 and attempts = $2 and state = 'taken'";

const DEAD_LETTER: &str = "update push_jobs set state = 'dead', error = $3 \
    where id = $1 and attempts = $2 and state = 'taken'";

const FORGET: &str = "delete from push_jobs \
    where state = 'dead' and created_at < statement_timestamp() - make_interval(secs => $1)";

impl Postgres {
    /// Writes a job beside each message, due after `delay`; `None` disables pushes.
    pub(crate) fn with_pushes(mut self, delay: Option<Duration>) -> Self {
        let Some(delay) = delay else { return self };
        let pushed = PUSHED.replace("DELAY", &delay.as_millis().to_string());
        self.append = APPEND.replace(PUSHES_MARK, &pushed).into();
        self
    }

    /// Runs a statement and ignores its rows.
    async fn run(&self, sql: &str, params: Params<'_>) -> Result<(), StoreError> {
        self.query(sql, params).await.map(drop)
    }
}

#[async_trait]
impl PushJobs for Postgres {
    async fn lease_pushes(&self, limit: u32, lease: Duration) -> Result<Vec<PushJob>, StoreError> {
        let rows = self.query(LEASE, &[&i64::from(limit), &lease.as_secs_f64()]).await?;
        rows.iter().map(job).collect()
    }

    async fn load_notification(
        &self,
        job: &PushJob,
    ) -> Result<Option<PushNotification>, StoreError> {
        let (kind, person, seq) = (job.person.kind.as_str(), job.person.id.as_str(), seq(job));
        let params: Params<'_> = &[&job.session_id.0, &kind, &person, &seq];
        let session: Params<'_> = &[&job.session_id.0];
        retry_until(Instant::now() + STATEMENT_TIMEOUT, || self.run(SETTLED, session)).await?;
        let rows = self.query(NOTIFICATION, params).await?;
        rows.first()
            .map(|row| {
                let bodiless: bool = rows::get(row, "bodiless")?;
                let text = if bodiless { None } else { Some(rows::get(row, "body")?) };
                Ok(PushNotification { sender_name: rows::get(row, "sender_name")?, text })
            })
            .transpose()
    }

    async fn finish_push(&self, job: &PushJob) -> Result<(), StoreError> {
        let (kind, person, seq) = (job.person.kind.as_str(), job.person.id.as_str(), seq(job));
        self.run(FINISH, &[&job.id, &job.session_id.0, &kind, &person, &seq]).await
    }

    async fn drop_push(&self, id: Uuid) -> Result<(), StoreError> {
        self.run("delete from push_jobs where id = $1", &[&id]).await
    }

    async fn reschedule_push(
        &self,
        job: &PushJob,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError> {
        self.run(RESCHEDULE, &[&job.id, &attempts(job), &after.as_secs_f64(), &error]).await
    }

    async fn hasten_pushes(&self, person: &Person) -> Result<(), StoreError> {
        let sql = HASTEN.replace("{now}", "statement_timestamp()");
        self.run(&sql, &[&person.kind.as_str(), &person.id.as_str(), &CONNECTED]).await
    }

    async fn dead_letter_push(&self, job: &PushJob, error: &str) -> Result<(), StoreError> {
        self.run(DEAD_LETTER, &[&job.id, &attempts(job), &error]).await
    }

    async fn forget_dead_pushes(&self, age: Duration) -> Result<(), StoreError> {
        self.run(FORGET, &[&age.as_secs_f64()]).await
    }

    async fn push_counts(&self) -> Result<PushCounts, StoreError> {
        let mut counts = PushCounts::default();
        for row in self.query(COUNTS, &[]).await? {
            counts.note(rows::get(&row, "state")?, rows::seq(&row, "jobs")?);
        }
        Ok(counts)
    }
}

fn attempts(job: &PushJob) -> i32 {
    i32::try_from(job.attempts).unwrap_or(i32::MAX)
}

fn seq(job: &PushJob) -> i64 {
    i64::try_from(job.seq).unwrap_or(i64::MAX)
}

fn job(row: &Row) -> Result<PushJob, StoreError> {
    let attempts: i32 = rows::get(row, "attempts")?;
    Ok(PushJob {
        id: rows::get(row, "id")?,
        session_id: SessionId(rows::get(row, "session_id")?),
        person: Person::new(rows::parsed(row, "kind")?, rows::parsed(row, "person_id")?),
        seq: rows::seq(row, "seq")?,
        attempts: attempts.unsigned_abs(),
    })
}
