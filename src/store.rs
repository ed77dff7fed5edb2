//! The store of sessions and messages: one trait, two databases, one contract suite.
//!
//! The store keeps law I6: in its session a message's `seq` is 1, 2, 3 … without gaps, and a
//! `clientId` that its sender has used before returns the first result again.

pub(crate) mod audit;
pub(crate) mod blocks;
mod changes;
#[cfg(test)]
mod contract;
mod drafts;
pub(crate) mod epoch;
pub(crate) mod openings;
pub(crate) mod postgres;
pub(crate) mod push_jobs;
pub(crate) mod retention;
pub(crate) mod search;
pub(crate) mod search_queue;
mod sql;
#[cfg(feature = "embedded")]
pub(crate) mod sqlite;
pub(crate) mod uploads;
pub(crate) mod writer;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool_postgres::Status;
use jiff::Timestamp;
use serde::Serialize;

use self::{
    audit::AuditLog, blocks::BlockList, epoch::Epochs, openings::Openings,
    postgres::durability::Durability, push_jobs::PushJobs, retention::Retention,
    search_queue::SearchQueue,
};
use crate::{
    images::{ImageKey, ObjectKey},
    message::{
        Body, Draft, Message, MessageId,
        amend::{Amended, Amendment, Unamendable},
    },
    person::{AvatarUrl, Person, PersonId},
    session::{EpochId, Member, Session, SessionId, SessionStatus},
};
use uploads::{Declined, NewUpload, Upload};

use search::{Hits, TooCostly, terms::Terms};

/// Maximum of rows that one query returns, whatever its limit. A page of messages, or of sessions
/// with their last messages, also has to fit into [`PAGE_BYTES`], but always has its first row.
pub(crate) const PAGE_MAX: u32 = 200;
pub(crate) use sql::{AROUND_A_BODY, PAGE_BYTES};

/// Outcome of one draft.
#[derive(Clone, Debug)]
pub(crate) enum Appended {
    /// Committed as this message.
    Committed(Message),
    /// Its `clientId` was committed before: the first result, as it is now.
    Repeated(Message),
    /// Nothing was written.
    Refused(Refusal),
    /// Nothing was written: another transaction has locked its session. It can be tried again at
    /// once.
    Locked,
}

/// Reason why a draft can't be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The session does not exist, or the sender is no member. Both look the same to a client.
    SessionNotFound,
    SessionClosed,
    /// The message that it replies to is not in this session.
    ReplyNotFound,
    /// The picture belongs to another person, or a message shows it already.
    ImageNotFound,
    /// The database rejected a value.
    Value,
}

/// A session to open between two people.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) customer: Member,
    pub(crate) dentist: Member,
}

/// Filter of the session list, latest activity first.
#[derive(Clone, Debug)]
pub(crate) struct SessionPage {
    pub(crate) status: Option<SessionStatus>,
    /// Only sessions after this one in the list.
    pub(crate) after: Option<(Timestamp, SessionId)>,
    /// Only sessions that were active after this time.
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: u32,
}

/// A page of sessions.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) sessions: Vec<Session>,
    /// There are more sessions within the limit, which did not fit into the page.
    pub(crate) is_cut: bool,
}

/// Part of a history to read, always in `seq` order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// The first messages after this `seq`.
    After(u64),
    /// The last messages before this `seq`.
    Before(u64),
}

/// Latest `seq` and revision of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: SessionId,
    pub(crate) last_seq: u64,
    pub(crate) rev: u64,
}

/// Read position of a member, after a read mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadMark {
    pub(crate) seq: u64,
    /// Whether the mark moved it. It never goes backwards.
    pub(crate) moved: bool,
}

/// Text of a message before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastBody {
    pub(crate) body: Body,
    pub(crate) replaced_at: Timestamp,
}

/// Changes that a member makes to a session: close or open it, mute or unmute it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) status: Option<SessionStatus>,
    pub(crate) muted: Option<bool>,
}

/// Outcome of a [`Setting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Done {
        /// Whether the status has changed.
        status: bool,
        muted: bool,
    },
    /// It can't be opened again: these two people have another open session.
    AnotherIsOpen,
}

/// The `seq` up to which a member's devices have received a session's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) session_id: SessionId,
    pub(crate) to: Person,
    pub(crate) seq: u64,
}

/// Outcome of a batch of delivery marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveryMarks {
    /// Marks that moved, with their new positions.
    pub(crate) moved: Vec<Delivered>,
    /// Marks whose rows another transaction has locked. Nothing was written for them.
    pub(crate) locked: Vec<Delivered>,
}

/// A failure, by what the caller can do about it. It contains no value of any row.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database is down, slow or restarting. Whether a write was committed is unknown.
    #[error("unavailable: {0}")]
    Unavailable(Source),
    /// The statement ran into a lock of another transaction, or into its time limit. Nothing was
    /// written. A smaller part, or the same later, may succeed.
    #[error("contended: {0}")]
    Contended(Source),
    /// The database's disk is full or broken. Nothing was written.
    #[error("no disk: {0}")]
    Disk(Source),
    /// The database rejected the statement, and would do so again.
    #[error("refused: {0}")]
    Refused(Source),
}

pub(crate) type Source = Arc<dyn StdError + Send + Sync>;

/// A database of sessions and messages. Every query for a person checks the membership.
#[async_trait]
pub(crate) trait Store:
    PushJobs
    + BlockList
    + Openings
    + AuditLog
    + Retention
    + SearchQueue
    + Epochs
    + Send
    + Sync
    + 'static
{
    /// [`Store::append_within`] with the usual limit.
    #[cfg(test)]
    async fn append(&self, drafts: &[Draft]) -> Result<Vec<Appended>, StoreError> {
        self.append_within(drafts, Duration::from_secs(4)).await
    }

    /// Commits the drafts in one transaction, in their order. The outcomes have the same order. A
    /// draft that is refused or locked does not affect the others. No two drafts may be tries of
    /// one send (the same session, sender and `clientId`). The database gives up after `limit`, if
    /// it supports that.
    async fn append_within(
        &self,
        drafts: &[Draft],
        limit: Duration,
    ) -> Result<Vec<Appended>, StoreError>;

    /// Opens a session, or finds the open one of these two people. Returns its id, and whether it
    /// is new.
    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError>;

    /// The open session of these two people.
    async fn open_between(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<Option<SessionId>, StoreError>;

    /// A session that `me` is a member of.
    async fn session(&self, me: &Person, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// Head of a session that `me` is a member of, and its epoch.
    async fn head(&self, me: &Person, id: SessionId)
    -> Result<Option<(Head, EpochId)>, StoreError>;

    /// The sessions that `me` is a member of.
    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Listed, StoreError>;

    /// Unread counts of the sessions of `me` that have unread messages. Only the last 100 messages
    /// of each session count, and only the 1,000 sessions with the latest activity.
    async fn unread(&self, me: &Person) -> Result<Vec<(SessionId, u64)>, StoreError>;

    /// Messages of a session; empty if `me` is not a member.
    async fn history(
        &self,
        me: &Person,
        id: SessionId,
        span: Span,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Messages of a session that `me` is a member of, changed after this revision, in the order of
    /// their last change.
    async fn changes(
        &self,
        me: &Person,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Changes a message of a session that `me` is a member of, if the rules allow it.
    async fn amend(
        &self,
        me: &Person,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError>;

    /// Records that a member may upload a picture.
    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError>;

    /// A picture of a session that `me` is a member of, shown by a message or not.
    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError>;

    /// Pictures that no message shows and that were requested before this time or are due for
    /// removal, the oldest first.
    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError>;

    /// Records that the objects of these pictures are removed. Deletes the rows of those that were
    /// requested before this time, unless a message shows them.
    async fn forget_uploads(&self, keys: &[ObjectKey], before: Timestamp)
    -> Result<(), StoreError>;

    /// Records that the uploaded object is not a picture.
    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// Earlier texts of a message, for admins only: membership is not checked.
    async fn past_bodies(
        &self,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError>;

    /// Messages after `seq`: the hub's backfill of a live room, whose subscribers are members.
    async fn fill(&self, id: SessionId, after: u64, limit: u32)
    -> Result<Vec<Message>, StoreError>;

    /// Messages changed after this revision, in the order of their last change: the hub's backfill
    /// too.
    async fn changed(
        &self,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Heads of these sessions.
    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<Head>, StoreError>;

    /// Moves the read position of `me` forward, at most to the session's end. `None` if not a
    /// member.
    async fn mark_read(
        &self,
        me: &Person,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError>;

    /// Messages of sessions that `me` is a member of, the best hits first. [`TooCostly`] is an
    /// error of the caller's query, not of the database.
    async fn search(
        &self,
        me: &Person,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError>;

    /// Changes a session. `None` if `me` is not a member.
    async fn set_session(
        &self,
        me: &Person,
        id: SessionId,
        setting: Setting,
    ) -> Result<Option<Set>, StoreError>;

    /// Each of these sessions as seen by each of its members, for their inboxes.
    async fn views(&self, ids: &[SessionId]) -> Result<Vec<(Person, Session)>, StoreError>;

    /// Moves delivery marks forward, at most to the sessions' ends.
    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError>;

    /// Records that these people are connected now, or were until now.
    async fn seen(&self, people: &[Person]) -> Result<(), StoreError>;

    /// Time when someone was last connected.
    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError>;

    /// Updates a person's name and avatar in all their sessions.
    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError>;

    /// Checks that the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Known reason why the database can't be used now: a plain sentence.
    fn unfit(&self) -> Option<String> {
        None
    }

    /// State of the connection pool, if there is one.
    fn pool(&self) -> Option<Status> {
        None
    }

    /// Durability of commits, if it depends on the operator's settings.
    fn durability(&self) -> Option<Durability> {
        None
    }
}
