//! Pushes: jobs that a message brings for the members who may be away, and the rows that they read.
//!
//! The append writes them beside the message ([`crate::store`]). Each has the session, the member and the
//! `seq` of the first message that it reports. Of one member of one session at most one waits.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use bus::{ControlChannel, ControlMessage};
use db::{
    Database, StoreError,
    jobs::JobTable,
    text::{Row, Statement},
};
use identity::people_table::by_tenant;
use model::{
    ids::{SessionId, TenantId},
    person::{Person, PersonId, Side},
};
use platform::jobs::{Job, JobsDue};

/// Queue of these jobs.
pub const QUEUE: &str = "pushes";
/// Reason of a job that is put off because its member seems connected.
pub const CONNECTED: &str = "connected";

/// Minimum time between two hints to other nodes.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// Sends hints to other nodes when this node has written jobs. A hint that is lost delays a job until a worker
/// reads the table anyway.
pub(crate) async fn keep_announcing(due: JobsDue, control: Arc<dyn ControlChannel>) {
    let mut times = due.own_times();
    loop {
        let after = times.next().await.saturating_duration_since(Instant::now());
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        control.send_control(ControlMessage::JobsDue { after_ms });
        sleep(HINT_INTERVAL).await;
    }
}

/// One push to one member of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The session.
    pub session_id: SessionId,
    /// Receiver of the push.
    pub person: Person,
    /// `seq` of the first message that it reports.
    pub seq: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    session_id: SessionId,
    kind: Side,
    person_id: PersonId,
    seq: u64,
}

impl Push {
    /// Reads the payload of a job. `None` for a job of another shape.
    pub fn of(job: &Job) -> Option<Self> {
        let tenant = TenantId::new(job.tenant.try_into().ok()?)?;
        let Payload { session_id, kind, person_id, seq } =
            Payload::deserialize(&job.payload).ok()?;
        Some(Self { session_id, person: Person::new(tenant, kind, person_id), seq })
    }
}

/// Content of a push.
#[derive(Clone, PartialEq, Eq)]
pub struct PushNotification {
    /// The sender's name.
    pub sender_name: String,
    /// Text of the latest message; `None` for a picture without a text.
    pub text: Option<String>,
}

/// Law I14: message texts are never printed.
impl std::fmt::Debug for PushNotification {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PushNotification")
    }
}

/// The rows behind pushes.
#[derive(Clone, Debug)]
pub struct PushTable(pub Database);

/// $1 session, $2 tenant. Waits for the messages that are being committed in it: their transactions may have relied on a
/// job that is leased by now.
const SETTLED: &str =
    "select 1 as settled from sessions where tenant_id = $2 and id = $1 {for_share}";

/// $1 session, $2 and $3 the member, $4 the first message, $5 tenant, $6 key of the job.
/// Returns the latest unread message. A later job exists if a message arrived after this one was leased;
/// sending both would repeat it.
const NOTIFICATION: &str = "select s.name as sender_name, m.body, m.bodiless from participants me \
    join messages m on m.tenant_id = me.tenant_id + 0 and m.session_id = me.session_id \
      and m.sender_kind <> me.kind and m.seq > me.read_seq and m.deleted_at is null \
    join members s on s.tenant_id = m.tenant_id + 0 and s.session_id = m.session_id and s.kind = m.sender_kind \
      and s.person_id = m.sender_id \
    where me.tenant_id = $5 and me.session_id = $1 and me.kind = $2 and me.person_id = $3 \
      and not me.muted and m.seq >= $4 \
      and not exists (select 1 from jobs later where later.tenant_id = $5 \
        and later.queue = 'pushes' and later.key = $6 and later.state <> 'dead' \
        and cast({json:later.payload} ->> 'seq' as bigint) > $4) \
    order by m.seq desc limit 1";

/// $1 members as subjects, $2 [`CONNECTED`], $3 their tenant. A key begins with the session. A job with more than one
/// attempt was leased again and may be under way. Another node ends or hastens a locked one.
const HASTEN: &str = "update jobs set run_at = {now} where tenant_id = $3 and id in (select id from jobs \
    where tenant_id = $3 and subject in (select value from {each:$1}) and queue = 'pushes' and state = 'taken' \
      and attempts = 1 and error = $2 \
      and exists (select 1 from participants me where me.tenant_id = jobs.tenant_id + 0 \
        and me.session_id = {id:substr(jobs.key, 1, 36)} and me.kind || ':' || me.person_id = jobs.subject \
        and exists (select 1 from messages m where m.tenant_id = me.tenant_id \
          and m.session_id = me.session_id and m.sender_kind <> me.kind and m.seq > me.delivered_seq)) \
    order by id {skip_locked}) returning id";

/// Maximum number of jobs that are adopted in one transaction.
const ADOPTED_MAX: usize = 500;

/// Moves jobs of the version before that no node of it has taken for a minute, the live ones first.
const ADOPT: &str = "with old as ( \
    delete from push_jobs where id in (select id from push_jobs \
      where state = 'dead' or due_at < {ago:60} order by state = 'dead', due_at limit 500 \
      {skip_locked}) returning *) \
    insert into jobs (tenant_id, id, queue, kind, key, subject, payload, state, attempts, run_at, \
      error, created_at) \
    select tenant_id, id, 'pushes', 'message', session_id || ':' || kind || ':' || person_id, \
      kind || ':' || person_id, json_build_object('sessionId', session_id, 'kind', kind, \
        'personId', person_id, 'seq', seq)::text, \
      case state when 'dead' then 'dead' else 'taken' end, attempts, due_at, error, created_at \
    from old order by old.created_at returning id";

/// The same for a file, which has one node: no other takes them.
#[cfg(feature = "sqlite")]
const ADOPT_IN_FILE: &str = "insert into jobs (tenant_id, id, queue, kind, key, subject, payload, \
      state, attempts, run_at, error, created_at) \
    select tenant_id, id, 'pushes', 'message', session_id || ':' || kind || ':' || person_id, \
      kind || ':' || person_id, json_object('sessionId', session_id, 'kind', kind, \
        'personId', person_id, 'seq', seq), \
      case state when 'dead' then 'dead' else 'taken' end, attempts, due_at, error, created_at \
    from push_jobs where true order by created_at returning id";

#[cfg(feature = "sqlite")]
const ADOPTED_IN_FILE: &str = "delete from push_jobs returning id";

impl PushTable {
    /// Content of a push. `None` if it is pointless: the member has muted the session or read everything, the
    /// messages are deleted, or a later job reports them too.
    pub async fn load(
        &self,
        job: &Job,
        push: &Push,
    ) -> Result<Option<PushNotification>, StoreError> {
        self.0.read(Statement::new(SETTLED, [push.session_id.0.into(), job.tenant.into()])).await?;
        let params = [
            push.session_id.0.into(),
            push.person.side.as_str().into(),
            push.person.id.as_str().into(),
            push.seq.into(),
            job.tenant.into(),
            job.key.clone().into(),
        ];
        let rows = self.0.read(Statement::new(NOTIFICATION, params)).await?;
        let notification = |row: &Row| {
            let text = if row.get("bodiless")? { None } else { Some(row.get("body")?) };
            Ok(PushNotification { sender_name: row.get("sender_name")?, text })
        };
        rows.first().map(notification).transpose()
    }

    /// These members have disconnected: jobs that were put off because a member seemed connected become due, if a
    /// message was not delivered. Returns whether there were any.
    pub async fn hasten(&self, people: &[Person]) -> Result<bool, StoreError> {
        let mut found = Ok(false);
        for (tenant, subjects) in by_tenant(people) {
            let params = [subjects.into(), CONNECTED.into(), tenant.number().into()];
            // An error of one tenant does not stop the others.
            match self.0.write(Statement::new(HASTEN, params)).await {
                Ok(rows) => found = found.map(|found| found || !rows.is_empty()),
                Err(error) => found = Err(error),
            }
        }
        found
    }

    /// Moves jobs that nodes of the version before have left. Returns how many there were.
    pub async fn adopt(&self) -> Result<usize, StoreError> {
        match &self.0 {
            Database::Postgres(_) => {
                let (mut adopted, mut last) = (0, ADOPTED_MAX);
                while last == ADOPTED_MAX {
                    last = self.0.write(Statement::new(ADOPT, [])).await?.len();
                    adopted += last;
                }
                Ok(adopted)
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                let statements =
                    [ADOPT_IN_FILE, ADOPTED_IN_FILE].map(|sql| Statement::new(sql, []));
                let rows = self.0.write_while_found(statements).await?;
                Ok(rows.first().map_or(0, Vec::len))
            }
        }
    }

    /// The jobs.
    pub fn jobs(&self) -> JobTable {
        JobTable(self.0.clone())
    }
}
