//! Where sessions and messages are kept: one trait, two databases, one contract suite.
//!
//! Law I6 is theirs to keep: in its session a message's `seq` is 1, 2, 3 … without gaps, and a
//! `clientId` that its sender has used before gives the first result again.

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

/// The most that one look-up returns, whatever is asked for. Of messages, and of sessions with their last
/// messages, it returns as many as fit into [`PAGE_BYTES`] too, and one in any case.
pub(crate) const PAGE_MAX: u32 = 200;
pub(crate) use sql::{AROUND_A_BODY, PAGE_BYTES};

/// What became of one draft.
#[derive(Clone, Debug)]
pub(crate) enum Appended {
    /// It is committed, as this message.
    Committed(Message),
    /// Its `clientId` was committed before: the first result, as it stands.
    Repeated(Message),
    /// Nothing was written.
    Refused(Refusal),
    /// Nothing was written: somebody else has locked its session. It can be tried again at once.
    Locked,
}

/// Why a draft can't be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such session, or its sender is no member: the two must look the same.
    SessionNotFound,
    SessionClosed,
    /// The message that it answers is not in this session.
    ReplyNotFound,
    /// Its picture is not its sender's, or a message has taken it already.
    ImageNotFound,
    /// The database found a value that it does not take.
    Value,
}

/// A session to open between two people.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) customer: Member,
    pub(crate) dentist: Member,
}

/// Which sessions to list, latest activity first.
#[derive(Clone, Debug)]
pub(crate) struct SessionPage {
    pub(crate) status: Option<SessionStatus>,
    /// Only what comes after this one in the list.
    pub(crate) after: Option<(Timestamp, SessionId)>,
    /// Only what has been active since.
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: u32,
}

/// A page of sessions.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) sessions: Vec<Session>,
    /// There are more within the limit, which did not fit.
    pub(crate) is_cut: bool,
}

/// Which part of a history to read; it comes in `seq` order either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// The first ones after this `seq`.
    After(u64),
    /// The last ones before this `seq`.
    Before(u64),
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: SessionId,
    pub(crate) last_seq: u64,
    pub(crate) rev: u64,
}

/// How far a member has read, after a read mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadMark {
    pub(crate) seq: u64,
    /// Whether the mark moved it; it never goes backwards.
    pub(crate) moved: bool,
}

/// What a message said until it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastBody {
    pub(crate) body: Body,
    pub(crate) replaced_at: Timestamp,
}

/// What a member wants of a session: to close or open it, to mute it or not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) status: Option<SessionStatus>,
    pub(crate) muted: Option<bool>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Done {
        /// It is open or closed now, and was not before.
        status: bool,
        muted: bool,
    },
    /// It can't be opened again: another one is open between the two.
    AnotherIsOpen,
}

/// How far a member's devices have had a session's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) session_id: SessionId,
    pub(crate) to: Person,
    pub(crate) seq: u64,
}

/// The outcome of a round of delivery marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveryMarks {
    /// Marks that moved, and how far.
    pub(crate) moved: Vec<Delivered>,
    /// Marks whose rows somebody else has locked: nothing was written.
    pub(crate) locked: Vec<Delivered>,
}

/// What a caller can do about a failure: try again, or not. It names no value of any row.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database is away, slow or restarting; whether a write was committed is unknown.
    #[error("unavailable: {0}")]
    Unavailable(Source),
    /// It gave up on the statement for a lock that another holds, or for its time. Nothing was written;
    /// a part of it, or the same later, may go through.
    #[error("contended: {0}")]
    Contended(Source),
    /// Its disk is full or broken. Nothing was written.
    #[error("no disk: {0}")]
    Disk(Source),
    /// It refused the statement, and would again.
    #[error("refused: {0}")]
    Refused(Source),
}

pub(crate) type Source = Arc<dyn StdError + Send + Sync>;

/// A database of sessions and messages. Every look-up on a person's behalf is by membership.
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
    /// The same, as long as it takes.
    #[cfg(test)]
    async fn append(&self, drafts: &[Draft]) -> Result<Vec<Appended>, StoreError> {
        self.append_within(drafts, Duration::from_secs(4)).await
    }

    /// Commits the drafts in one transaction, in their order, and answers in that order. One that
    /// is refused or locked takes none with it. No two drafts may be one send tried twice (the same
    /// session, sender and `clientId`). The database gives up after this time, where it can.
    async fn append_within(
        &self,
        drafts: &[Draft],
        limit: Duration,
    ) -> Result<Vec<Appended>, StoreError>;

    /// Opens a session, or finds the one that is open between the two: its id, and whether it is new.
    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError>;

    /// The session that is open between the two.
    async fn open_between(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<Option<SessionId>, StoreError>;

    /// A session that `me` is a member of.
    async fn session(&self, me: &Person, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// How far a session is that `me` is a member of, and in which epoch.
    async fn head(&self, me: &Person, id: SessionId)
    -> Result<Option<(Head, EpochId)>, StoreError>;

    /// The sessions that `me` is a member of.
    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Listed, StoreError>;

    /// Sessions of `me` that have unread messages, with how many: counted among the last 100 of each, of the
    /// 1,000 that were active last.
    async fn unread(&self, me: &Person) -> Result<Vec<(SessionId, u64)>, StoreError>;

    /// Messages of a session that `me` is a member of; none where it isn't.
    async fn history(
        &self,
        me: &Person,
        id: SessionId,
        span: Span,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Messages of a session that `me` is a member of, that were changed after this revision, in the
    /// order of their last change.
    async fn changes(
        &self,
        me: &Person,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Changes a message of a session that `me` is a member of, if the rules let it.
    async fn amend(
        &self,
        me: &Person,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError>;

    /// Notes that a member may upload a picture.
    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError>;

    /// A picture of a session that `me` is a member of, shown or not.
    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError>;

    /// Pictures that no message shows and that were asked for before this or are to be removed now,
    /// the oldest first.
    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError>;

    /// Notes that the objects of these pictures are gone. Those that were asked for before this are
    /// forgotten, unless a message shows them after all.
    async fn forget_uploads(&self, keys: &[ObjectKey], before: Timestamp)
    -> Result<(), StoreError>;

    /// Notes that what was uploaded is no picture.
    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// What a message said before each change, for admins alone: this asks no membership.
    async fn past_bodies(
        &self,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError>;

    /// Messages after `seq`, for the hub to fill a gap of a live room (its subscribers are members).
    async fn fill(&self, id: SessionId, after: u64, limit: u32)
    -> Result<Vec<Message>, StoreError>;

    /// Messages changed after this revision, in the order of their last change, for the hub too.
    async fn changed(
        &self,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// How far each of these sessions is.
    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<Head>, StoreError>;

    /// Moves the read position of `me` forward, at most to the session's end; `None` for no member.
    async fn mark_read(
        &self,
        me: &Person,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError>;

    /// Messages of sessions that `me` is a member of, the best hits first. A search that takes too long
    /// is its caller's: it says nothing about the database.
    async fn search(
        &self,
        me: &Person,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError>;

    /// Changes a session that `me` is a member of; `None` for no member.
    async fn set_session(
        &self,
        me: &Person,
        id: SessionId,
        setting: Setting,
    ) -> Result<Option<Set>, StoreError>;

    /// Each of these sessions as each of its members sees it, for their inboxes.
    async fn views(&self, ids: &[SessionId]) -> Result<Vec<(Person, Session)>, StoreError>;

    /// Moves delivery marks forward, at most to the sessions' ends.
    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError>;

    /// Notes that these people are connected now, or were until now.
    async fn seen(&self, people: &[Person]) -> Result<(), StoreError>;

    /// When someone was last connected.
    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError>;

    /// Corrects a person's name and picture wherever the person is a member.
    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Why it can't be used now, where that is known: a plain sentence.
    fn unfit(&self) -> Option<String> {
        None
    }

    /// How its connections are, where it has a pool of them.
    fn pool(&self) -> Option<Status> {
        None
    }

    /// The worth of its commits, where an operator decides that.
    fn durability(&self) -> Option<Durability> {
        None
    }
}
