//! The push queue, in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Sqlite, numbered, position, rows};
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
    wire::new_id,
};

/// A waiting job with a creation time in the future was written before the clock was set back. It
/// does not wait for that time.
const LEASE: &str = "update push_jobs \
    set state = 'taken', attempts = attempts + 1, due_at = ?3 \
    where id in (select id from push_jobs where state <> 'dead' and (due_at <= ?2 \
        or state = 'waiting' and created_at > ?2) \
      order by due_at limit ?1) \
    returning id, session_id, kind, person_id, seq, attempts";

impl Sqlite {
    /// Writes a job beside each message, due after `delay`; `None` disables pushes.
    pub(crate) fn with_pushes(mut self, delay: Option<Duration>) -> Self {
        self.push_delay = delay;
        self
    }
}

/// Writes a job for the other member, in the message's transaction, unless one is waiting.
pub(super) fn add(
    db: &Connection,
    session_id: &str,
    sender_kind: &str,
    seq: i64,
    delay: Duration,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert into push_jobs (id, session_id, kind, person_id, seq, due_at, created_at) \
         select ?1, m.session_id, m.kind, m.person_id, ?4, ?5, ?6 from members m \
         where m.session_id = ?2 and m.kind <> ?3 and not m.muted \
         on conflict (session_id, kind, person_id) where state = 'waiting' do nothing",
    )?
    .execute(params![
        new_id().to_string(),
        session_id,
        sender_kind,
        seq,
        from_now(delay),
        from_now(Duration::ZERO),
    ])
    .map(drop)
}

/// A time from now, in the unit of a row (microseconds).
fn from_now(after: Duration) -> i64 {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    rows::now().saturating_add(after).unwrap_or(Timestamp::MAX).as_microsecond()
}

#[async_trait]
impl PushJobs for Sqlite {
    async fn lease_pushes(&self, limit: u32, lease: Duration) -> Result<Vec<PushJob>, StoreError> {
        self.write(move |db| {
            let times = (limit, from_now(Duration::ZERO), from_now(lease));
            db.prepare_cached(LEASE)?.query_map(times, job)?.collect()
        })
        .await
    }

    async fn load_notification(
        &self,
        job: &PushJob,
    ) -> Result<Option<PushNotification>, StoreError> {
        let job = job.clone();
        self.read(move |db| {
            let session_id = job.session_id.0.to_string();
            let (kind, id) = (job.person.kind.as_str(), job.person.id.as_str());
            db.prepare_cached(&numbered(NOTIFICATION))?
                .query_row(params![session_id, kind, id, position(job.seq)], |row| {
                    let bodiless: bool = row.get("bodiless")?;
                    let text = if bodiless { None } else { Some(row.get("body")?) };
                    Ok(PushNotification { sender_name: row.get("sender_name")?, text })
                })
                .optional()
        })
        .await
    }

    async fn finish_push(&self, job: &PushJob) -> Result<(), StoreError> {
        let job = job.clone();
        self.write(move |db| {
            let (id, session_id) = (job.id.to_string(), job.session_id.0.to_string());
            let (kind, person) = (job.person.kind.as_str(), job.person.id.as_str());
            db.prepare_cached(&numbered(FINISH))?
                .execute(params![id, session_id, kind, person, position(job.seq)])
                .map(drop)
        })
        .await
    }

    async fn drop_push(&self, id: Uuid) -> Result<(), StoreError> {
        let sql = "delete from push_jobs where id = ?1";
        self.write(move |db| db.execute(sql, [id.to_string()]).map(drop)).await
    }

    async fn reschedule_push(
        &self,
        job: &PushJob,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError> {
        let (id, attempts, error) = (job.id.to_string(), job.attempts, error.to_owned());
        let sql = "update push_jobs set due_at = ?3, error = ?4 \
                   where id = ?1 and attempts = ?2 and state = 'taken'";
        self.write(move |db| {
            db.execute(sql, params![id, attempts, from_now(after), error]).map(drop)
        })
        .await
    }

    async fn hasten_pushes(&self, person: &Person) -> Result<(), StoreError> {
        let (kind, id) = (person.kind.as_str(), person.id.as_str().to_owned());
        let sql = numbered(&HASTEN.replace("{now}", "$4"));
        let now = from_now(Duration::ZERO);
        self.write(move |db| db.execute(&sql, params![kind, id, CONNECTED, now]).map(drop)).await
    }

    async fn dead_letter_push(&self, job: &PushJob, error: &str) -> Result<(), StoreError> {
        let (id, attempts, error) = (job.id.to_string(), job.attempts, error.to_owned());
        let sql = "update push_jobs set state = 'dead', error = ?3 \
                   where id = ?1 and attempts = ?2 and state = 'taken'";
        self.write(move |db| db.execute(sql, params![id, attempts, error]).map(drop)).await
    }

    async fn forget_dead_pushes(&self, age: Duration) -> Result<(), StoreError> {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let before = rows::now().saturating_sub(age).unwrap_or(Timestamp::MIN).as_microsecond();
        let sql = "delete from push_jobs where state = 'dead' and created_at < ?1";
        self.write(move |db| db.execute(sql, [before]).map(drop)).await
    }

    async fn push_counts(&self) -> Result<PushCounts, StoreError> {
        self.read(|db| {
            let mut counts = PushCounts::default();
            let mut statement = db.prepare_cached(COUNTS)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let state: String = row.get("state")?;
                counts.note(&state, row.get::<_, i64>("jobs")?.unsigned_abs());
            }
            Ok(counts)
        })
        .await
    }
}

fn job(row: &Row<'_>) -> rusqlite::Result<PushJob> {
    Ok(PushJob {
        id: rows::uuid(row, "id")?,
        session_id: SessionId(rows::uuid(row, "session_id")?),
        person: Person::new(rows::parsed(row, "kind")?, rows::parsed(row, "person_id")?),
        seq: rows::seq(row, "seq")?,
        attempts: row.get("attempts")?,
    })
}
