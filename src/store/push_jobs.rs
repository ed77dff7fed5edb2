//! Pending pushes: a durable queue beside the messages.
//!
//! A job is written in the transaction of its message, so that a killed node loses none. One node
//! at a time leases it. A job that is neither finished nor rescheduled within its lease is leased
//! again.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::{person::Person, session::SessionId};

/// One push to one member of one session, leased by this node.
#[derive(Clone, Debug)]
pub(crate) struct PushJob {
    /// The same in every attempt: the push service recognises a repeat by it.
    pub(crate) id: Uuid,
    pub(crate) session_id: SessionId,
    /// Receiver of the push.
    pub(crate) person: Person,
    /// `seq` of the first message that it reports.
    pub(crate) seq: u64,
    /// Number of attempts, including this one.
    pub(crate) attempts: u32,
}

/// Content of a push.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PushNotification {
    pub(crate) sender_name: String,
    /// Text of the latest message; `None` for a picture without a text.
    pub(crate) text: Option<String>,
}

/// Law I14: message texts are never printed.
impl std::fmt::Debug for PushNotification {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PushNotification")
    }
}

/// Numbers of jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PushCounts {
    pub(crate) waiting: u64,
    /// Under way, or rescheduled.
    pub(crate) taken: u64,
    /// Dead letters.
    pub(crate) dead: u64,
}

/// Error of a job that is rescheduled because its member seems connected.
pub(crate) const CONNECTED: &str = "connected";

/// The part of a store that keeps the push queue.
#[async_trait]
pub(crate) trait PushJobs: Send + Sync + 'static {
    /// Leases due jobs. No two nodes lease the same.
    async fn lease_pushes(&self, limit: u32, lease: Duration) -> Result<Vec<PushJob>, StoreError>;

    /// Content of the push. `None` if it is pointless: the member has muted the session or read
    /// everything, the messages are deleted, or a later job reports them too.
    async fn load_notification(
        &self,
        job: &PushJob,
    ) -> Result<Option<PushNotification>, StoreError>;

    /// The push was sent. It also covers the earlier jobs that were rescheduled.
    async fn finish_push(&self, job: &PushJob) -> Result<(), StoreError>;

    /// Removes a job that has nothing to report.
    async fn drop_push(&self, id: Uuid) -> Result<(), StoreError>;

    /// Reschedules the job, unless another node has leased it meanwhile.
    async fn reschedule_push(
        &self,
        job: &PushJob,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError>;

    /// The member has disconnected: jobs that were rescheduled because the member seemed connected
    /// become due, if a message was not delivered.
    async fn hasten_pushes(&self, person: &Person) -> Result<(), StoreError>;

    /// Makes the job a dead letter; its row stays for inspection.
    async fn dead_letter_push(&self, job: &PushJob, error: &str) -> Result<(), StoreError>;

    /// Removes dead letters of this age.
    async fn forget_dead_pushes(&self, age: Duration) -> Result<(), StoreError>;

    /// Numbers of jobs by state.
    async fn push_counts(&self) -> Result<PushCounts, StoreError>;
}

/// $1 session, $2 and $3 the member, $4 the first message. Returns the latest unread message. A
/// later job exists if a message arrived after this one was taken; sending both would repeat it.
pub(super) const NOTIFICATION: &str = "\
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

/// $1 and $2 the member, $3 [`CONNECTED`], `{now}` the time. A job with more than one attempt was
/// taken again and is under way.
pub(super) const HASTEN: &str = "update push_jobs set due_at = {now} \
    where kind = $1 and person_id = $2 and state = 'taken' and attempts = 1 and error = $3 \
      and exists (select 1 from members me join messages m on m.session_id = me.session_id \
        and m.sender_kind <> me.kind and m.seq > me.delivered_seq \
        where me.session_id = push_jobs.session_id and me.kind = push_jobs.kind \
          and me.person_id = push_jobs.person_id)";

/// $1 the job, $2 its session, $3 and $4 the member, $5 its first message.
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
