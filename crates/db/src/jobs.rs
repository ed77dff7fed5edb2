//! The table of jobs, in either database, and the workers of a node.
//!
//! Law I16: a caller writes a job in the transaction of its cause: the append of messages does so by hand,
//! other parts write a row with [`JobTable::add`]. Law I17: a job may run more than once, so its effect is the
//! same however often it happens.

pub mod counts;
mod runner;
mod schedules;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Database, StoreError,
    text::{Row, Statement, Value},
};
use platform::{jobs::Job, new_id};

pub use runner::{Runner, start};

/// A job to be made.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The tenant.
    pub tenant: i64,
    /// Queue of its worker.
    pub queue: &'static str,
    /// Kind of work, within the queue.
    pub kind: &'static str,
    /// A waiting job with this key is joined: no second one is written.
    pub key: Option<String>,
    /// Jobs with this key run one after the other, in the order of their numbers. That is the order of their
    /// commits only if their writers hold a common lock, such as the session's row.
    pub ordering_key: Option<String>,
    /// Parameters of the work.
    pub payload: serde_json::Value,
    /// Time until it is due.
    pub delay: Duration,
}

/// Jobs of one queue in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCount {
    /// The queue.
    pub queue: String,
    /// `waiting`, `taken` or `dead`.
    pub state: String,
    /// Number of jobs.
    pub jobs: u64,
    /// Seconds since the oldest of them should have run. 0 if none is overdue, and for dead letters.
    pub overdue: u64,
}

/// A job as an operator sees it: its payload is not shown, because it names people.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Its id.
    pub id: Uuid,
    /// Its tenant.
    pub tenant: i64,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// `waiting`, `taken` or `dead`.
    pub state: String,
    /// Number of attempts.
    pub attempts: u64,
    /// Time of the next attempt, or end of the lease.
    pub run_at: Timestamp,
    /// Time when it was made.
    pub created_at: Timestamp,
    /// Code of the last failure.
    pub error: Option<String>,
}

/// Jobs that an operator means.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// This job only.
    pub id: Option<Uuid>,
    /// This queue only.
    pub queue: Option<String>,
    /// This state only.
    pub state: Option<String>,
}

/// State of one tenant's jobs in a queue.
struct DueTenant {
    tenant: i64,
    /// A job is due.
    is_due: bool,
    /// Time until the next job is due that is not due yet.
    next: Option<Duration>,
}

/// The table of jobs.
#[derive(Clone, Debug)]
pub struct JobTable(pub Database);

/// $1 id, $2 tenant, $3 queue, $4 kind, $5 key, $6 ordering key, $7 payload, $8 delay in milliseconds.
const ADD: &str = "insert into jobs \
    (id, tenant_id, queue, kind, key, ordering_key, payload, run_at, created_at) \
    values ($1, $2, $3, $4, $5, $6, $7, {in_ms:$8}, {now}) \
    on conflict (tenant_id, queue, key) where state = 'waiting' do nothing returning id";

/// $1 queue. Walks the index from tenant to tenant, however many jobs each has. A job that waits since a time
/// to come was written before the clock was set back.
const TENANTS: &str = "with recursive tenants (tenant_id) as ( \
    select min(tenant_id) from jobs where queue = $1 and state <> 'dead' \
    union all \
    select (select min(j.tenant_id) from jobs j \
      where j.queue = $1 and j.state <> 'dead' and j.tenant_id > t.tenant_id) \
    from tenants t where t.tenant_id is not null) \
    select cast(t.tenant_id as bigint) as tenant, {now} as now, \
      (select min(run_at) from jobs j where j.queue = $1 and j.tenant_id = t.tenant_id \
        and j.state <> 'dead') as first, \
      (select min(run_at) from jobs j where j.queue = $1 and j.tenant_id = t.tenant_id \
        and j.state <> 'dead' and j.run_at > {now}) as next, \
      exists (select 1 from jobs j where j.queue = $1 and j.tenant_id = t.tenant_id \
        and j.state = 'waiting' and j.run_at > {now} and j.created_at > {now}) as set_back \
    from tenants t where t.tenant_id is not null";

/// $1 queue, $2 tenant, $3 limit, $4 lease in milliseconds. A job waits for earlier ones with its ordering key.
/// A waiting job with a creation time in the future was written before the clock was set back: it does not
/// wait for that time.
const LEASE: &str = "with due as materialized ( \
    select j.id from jobs j where j.queue = $1 and j.tenant_id = $2 and j.state <> 'dead' \
      and (j.run_at <= {now} or j.state = 'waiting' and j.created_at > {now}) \
      and (j.ordering_key is null or not exists (select 1 from jobs e \
        where e.tenant_id = j.tenant_id and e.queue = j.queue and e.ordering_key = j.ordering_key \
          and e.id <> j.id and (e.number < j.number and e.state <> 'dead' \
            or e.state = 'taken' and e.run_at > {now}))) \
    order by j.run_at, j.number limit cast($3 as bigint) {skip_locked}) \
    update jobs set state = 'taken', attempts = attempts + 1, run_at = {in_ms:$4} \
    where tenant_id = $2 and id in (select id from due) \
    returning id, number, kind, key, payload, cast(attempts as bigint) as attempts, error";

/// $1 tenant, $2 id, $3 queue, $4 key, $5 number. The effect has happened, whoever holds the lease by now.
const FINISH: &str = "delete from jobs where tenant_id = $1 and (id = $2 \
    or (queue = $3 and key = $4 and number < cast($5 as bigint) and state = 'taken')) returning id";

/// $1 tenant, $2 id.
const DROP: &str = "delete from jobs where tenant_id = $1 and id = $2 returning id";

/// $1 tenant, $2 id, $3 attempts as it was leased, $4 pause in milliseconds, $5 error.
const RESCHEDULE: &str = "update jobs set run_at = {in_ms:$4}, error = $5 \
    where tenant_id = $1 and id = $2 and attempts = $3 and state = 'taken' returning id";

/// $1 tenant, $2 id, $3 attempts as it was leased, $4 error.
const DEAD_LETTER: &str = "update jobs set state = 'dead', error = $4 \
    where tenant_id = $1 and id = $2 and attempts = $3 and state = 'taken' returning id";

/// $1 age in milliseconds, at most so many as $2.
const FORGET: &str = "delete from jobs where (tenant_id, id) in (select tenant_id, id from jobs \
    where state = 'dead' and created_at < {in_ms:$1} limit cast($2 as bigint)) returning id";

const COUNTS: &str = "select queue, state, count(*) as jobs, min(run_at) as first, {now} as now \
    from jobs group by queue, state order by queue, state";

/// $1 id, $2 queue, $3 state, $4 limit.
const LIST: &str = "select id, cast(tenant_id as bigint) as tenant, queue, kind, state, \
    cast(attempts as bigint) as attempts, run_at, created_at, error from jobs \
    where (cast($1 as text) is null or cast(id as text) = $1) \
      and (cast($2 as text) is null or queue = $2) and (cast($3 as text) is null or state = $3) \
    order by number limit cast($4 as bigint)";

/// $1 id, $2 queue. A dead letter whose key waits again is covered by that job, and stays.
const REPLAY: &str = "update jobs set state = 'taken', attempts = 0, run_at = {now} \
    where state = 'dead' and (cast($1 as text) is null or cast(id as text) = $1) \
      and (cast($2 as text) is null or queue = $2) returning id";

/// $1 id, $2 queue, $3 state.
const REMOVE: &str = "delete from jobs \
    where (cast($1 as text) is null or cast(id as text) = $1) \
      and (cast($2 as text) is null or queue = $2) and (cast($3 as text) is null or state = $3) \
    returning id";

impl JobTable {
    /// Writes a job, unless one with its key waits.
    pub async fn add(&self, job: &NewJob) -> Result<(), StoreError> {
        self.0.write(add(job)).await.map(drop)
    }

    async fn tenants(&self, queue: &str) -> Result<Vec<DueTenant>, StoreError> {
        let rows = self.0.read(Statement::new(TENANTS, [queue.into()])).await?;
        let tenant = |row: &Row| {
            let (now, first): (Timestamp, Timestamp) = (row.get("now")?, row.get("first")?);
            let next: Option<Timestamp> = row.get("next")?;
            let next = next.map(|next| next.duration_since(now).try_into().unwrap_or_default());
            let is_due = first <= now || row.get("set_back")?;
            Ok(DueTenant { tenant: row.get("tenant")?, is_due, next })
        };
        rows.iter().map(tenant).collect()
    }

    /// Leases due jobs of one tenant. No two nodes lease the same.
    pub async fn lease(
        &self,
        queue: &str,
        tenant: i64,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Job>, StoreError> {
        let params = [queue.into(), tenant.into(), limit.into(), millis(lease)];
        let rows = self.0.write(Statement::new(LEASE, params)).await?;
        let job = |row: &Row| {
            let payload: String = row.get("payload")?;
            Ok(Job {
                id: row.get("id")?,
                tenant,
                number: row.get("number")?,
                kind: row.get("kind")?,
                key: row.get("key")?,
                // A payload that is no JSON is refused by its handler.
                payload: serde_json::from_str(&payload).unwrap_or_default(),
                attempts: row.count("attempts")?.try_into().unwrap_or(u32::MAX),
                error: row.get("error")?,
            })
        };
        let mut jobs = rows.iter().map(job).collect::<Result<Vec<_>, StoreError>>()?;
        jobs.sort_unstable_by_key(|job| job.number);
        Ok(jobs)
    }

    /// The effect has happened: removes the job, and earlier ones with its key.
    pub async fn finish(&self, queue: &str, job: &Job) -> Result<(), StoreError> {
        let params = [
            job.tenant.into(),
            job.id.into(),
            queue.into(),
            job.key.clone().into(),
            job.number.into(),
        ];
        self.0.write(Statement::new(FINISH, params)).await.map(drop)
    }

    /// Removes a job that has nothing to do.
    pub async fn drop(&self, job: &Job) -> Result<(), StoreError> {
        let params = [job.tenant.into(), job.id.into()];
        self.0.write(Statement::new(DROP, params)).await.map(drop)
    }

    /// Repeats the job after this time, unless another node has leased it meanwhile.
    pub async fn reschedule(
        &self,
        job: &Job,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError> {
        let (after, error) = (millis(after), short(error).into());
        let params = [job.tenant.into(), job.id.into(), job.attempts.into(), after, error];
        self.0.write(Statement::new(RESCHEDULE, params)).await.map(drop)
    }

    /// Makes the job a dead letter, unless another node has leased it meanwhile. Its row stays for inspection.
    pub async fn dead_letter(&self, job: &Job, error: &str) -> Result<(), StoreError> {
        let params = [job.tenant.into(), job.id.into(), job.attempts.into(), short(error).into()];
        self.0.write(Statement::new(DEAD_LETTER, params)).await.map(drop)
    }

    /// Removes dead letters of this age, at most `limit`. Returns how many there were.
    pub async fn forget_dead(&self, age: Duration, limit: u32) -> Result<usize, StoreError> {
        let Value::Int(age) = millis(age) else { return Ok(0) };
        let params = [Value::Int(-age), limit.into()];
        self.0.write(Statement::new(FORGET, params)).await.map(|rows| rows.len())
    }

    /// Numbers of jobs by queue and state.
    pub async fn counts(&self) -> Result<Vec<JobCount>, StoreError> {
        let rows = self.0.read(Statement::new(COUNTS, [])).await?;
        let count = |row: &Row| {
            let (now, first): (Timestamp, Timestamp) = (row.get("now")?, row.get("first")?);
            let state: String = row.get("state")?;
            let overdue = if state == "dead" { 0 } else { now.duration_since(first).as_secs() };
            let (queue, jobs) = (row.get("queue")?, row.count("jobs")?);
            Ok(JobCount { queue, state, jobs, overdue: overdue.try_into().unwrap_or(0) })
        };
        rows.iter().map(count).collect()
    }

    /// The oldest of these jobs.
    pub async fn list(&self, filter: &JobFilter, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        let [id, queue, state] = filter.params();
        let rows = self.0.read(Statement::new(LIST, [id, queue, state, limit.into()])).await?;
        let job = |row: &Row| {
            Ok(JobRow {
                id: row.get("id")?,
                tenant: row.get("tenant")?,
                queue: row.get("queue")?,
                kind: row.get("kind")?,
                state: row.get("state")?,
                attempts: row.count("attempts")?,
                run_at: row.get("run_at")?,
                created_at: row.get("created_at")?,
                error: row.get("error")?,
            })
        };
        rows.iter().map(job).collect()
    }

    /// Makes dead letters due again, with all their attempts. Returns how many there were.
    pub async fn replay(&self, filter: &JobFilter) -> Result<usize, StoreError> {
        let [id, queue, _] = filter.params();
        self.0.write(Statement::new(REPLAY, [id, queue])).await.map(|rows| rows.len())
    }

    /// Removes these jobs. Returns how many there were.
    pub async fn remove(&self, filter: &JobFilter) -> Result<usize, StoreError> {
        self.0.write(Statement::new(REMOVE, filter.params())).await.map(|rows| rows.len())
    }
}

impl JobFilter {
    fn params(&self) -> [Value; 3] {
        [
            self.id.map(|id| id.to_string()).into(),
            self.queue.clone().into(),
            self.state.clone().into(),
        ]
    }
}

fn add(job: &NewJob) -> Statement {
    let NewJob { tenant, queue, kind, key, ordering_key, payload, delay } = job;
    let (key, ordering_key) = (key.clone().into(), ordering_key.clone().into());
    let payload = payload.to_string().into();
    let id = new_id().into();
    let params = [
        id,
        (*tenant).into(),
        (*queue).into(),
        (*kind).into(),
        key,
        ordering_key,
        payload,
        millis(*delay),
    ];
    Statement::new(ADD, params)
}

fn millis(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

/// An error code that fits into its column.
fn short(error: &str) -> String {
    error.chars().take(200).collect()
}
