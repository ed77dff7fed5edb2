//! Pushes that are to be made: a durable queue beside the messages.
//!
//! A job is written in its message's own transaction, so that a node which is killed loses none. It
//! is taken for a while (its lease), by one node at a time; one that is neither done nor put off by
//! then is taken again.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::{person::Person, session::SessionId};

/// One push to one member of one session, taken by this node.
#[derive(Clone, Debug)]
pub(crate) struct PushJob {
    /// The same in every attempt, so that the push service can tell a repeat.
    pub(crate) id: Uuid,
    pub(crate) session_id: SessionId,
    /// Who is to hear of it.
    pub(crate) person: Person,
    /// The first message that it tells of.
    pub(crate) seq: u64,
    /// How often it has been taken, this time included.
    pub(crate) attempts: u32,
}

/// What there is to tell.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PushNote {
    pub(crate) sender_name: String,
    /// The latest message's text; none where it is only a picture.
    pub(crate) text: Option<String>,
}

/// Law I14: what someone wrote does not print.
impl std::fmt::Debug for PushNote {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PushNote")
    }
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PushCounts {
    pub(crate) waiting: u64,
    /// Under way, or put off until another attempt.
    pub(crate) taken: u64,
    /// Given up.
    pub(crate) dead: u64,
}

/// The error of a job that is put off because its member looks connected.
pub(crate) const CONNECTED: &str = "connected";

/// The queue's side of a store.
#[async_trait]
pub(crate) trait PushJobs: Send + Sync + 'static {
    /// Takes jobs that are due, for as long as the lease is; no two nodes take the same.
    async fn take_pushes(&self, limit: u32, lease: Duration) -> Result<Vec<PushJob>, StoreError>;

    /// What the job has to tell, and nothing where there is no use in telling it: the member has
    /// muted the session or read everything, the messages are deleted, or a later job tells it too.
    async fn push_note(&self, job: &PushJob) -> Result<Option<PushNote>, StoreError>;

    /// The push is made. It has told of what earlier jobs were put off with, too.
    async fn finish_push(&self, job: &PushJob) -> Result<(), StoreError>;

    /// There is nothing to tell.
    async fn drop_push(&self, id: Uuid) -> Result<(), StoreError>;

    /// Puts the job off until another attempt, unless another node has taken it meanwhile.
    async fn put_off_push(
        &self,
        job: &PushJob,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError>;

    /// The member is gone: jobs that were put off because they looked connected are due now, where a message
    /// was not delivered before.
    async fn hasten_pushes(&self, person: &Person) -> Result<(), StoreError>;

    /// Gives the job up; it stays, to be looked at.
    async fn bury_push(&self, job: &PushJob, error: &str) -> Result<(), StoreError>;

    /// Removes jobs that were given up so long ago.
    async fn forget_dead_pushes(&self, age: Duration) -> Result<(), StoreError>;

    /// How many jobs there are.
    async fn push_counts(&self) -> Result<PushCounts, StoreError>;
}

/// $1 session, $2 and $3 the member, $4 the first message: the latest one that the member has not
/// read. A later job is there if one came after this was taken; by then it would be told twice.
pub(super) const NOTE: &str = "\
    select s.name as sender_name, m.body, m.bodiless from members me \
    join messages m on m.session_id = me.session_id and m.sender_kind <> me.kind \
      and m.seq > me.read_seq and m.deleted_at is null \
    join members s on s.session_id = m.session_id and s.kind = m.sender_kind \
      and s.person_id = m.sender_id \
    where me.session_id = $1 and me.kind = $2 and me.person_id = $3 and not me.muted \
      and m.seq >= $4 \
      and not exists (select 1 from push_jobs later where later.session_id = $1 \
        and later.kind = $2 and later.person_id = $3 and later.seq > $4 \
        and later.state <> 'dead') \
    order by m.seq desc limit 1";

/// $1 and $2 the member, $3 [`CONNECTED`], `{now}` the time. A job that was taken again since then is under
/// way.
pub(super) const HASTEN: &str = "update push_jobs set due_at = {now} \
    where kind = $1 and person_id = $2 and state = 'taken' and attempts = 1 and error = $3 \
      and exists (select 1 from members me join messages m on m.session_id = me.session_id \
        and m.sender_kind <> me.kind and m.seq > me.delivered_seq \
        where me.session_id = push_jobs.session_id and me.kind = push_jobs.kind \
          and me.person_id = push_jobs.person_id)";

/// $1 the job, and what it is about.
pub(super) const FINISH: &str = "delete from push_jobs where id = $1 or (session_id = $2 \
    and kind = $3 and person_id = $4 and seq < $5 and state = 'taken')";

pub(super) const COUNTS: &str = "select state, count(*) as jobs from push_jobs group by state";

impl PushCounts {
    pub(super) fn note(&mut self, state: &str, jobs: u64) {
        match state {
            "waiting" => self.waiting = jobs,
            "taken" => self.taken = jobs,
            _ => self.dead = jobs,
        }
    }
}
