//! Messages: appending, reading and changing them.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use db::StoreError;
use model::{
    ids::{MessageId, SessionId, SessionKey},
    message::{
        Body, Draft, Message,
        amend::{Amended, Amendment, Unamendable},
    },
    scope::{AdminScope, Scope},
};

/// Outcome of one draft.
#[derive(Clone, Debug)]
pub enum Appended {
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
pub enum Refusal {
    /// The session does not exist, or the sender is no member. Both look the same to a client.
    SessionNotFound,
    /// The session is closed.
    SessionClosed,
    /// The message that it replies to is not in this session.
    ReplyNotFound,
    /// The picture belongs to another person, or a message shows it already.
    ImageNotFound,
    /// The database rejected a value.
    Value,
}

/// Part of a history to read, always in `seq` order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRange {
    /// The first messages after this `seq`.
    After(u64),
    /// The last messages before this `seq`.
    Before(u64),
}

/// Text of a message before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastBody {
    /// The earlier text.
    pub body: Body,
    /// Time of the change that replaced it.
    pub replaced_at: Timestamp,
}

/// The part of a store that keeps the messages. Every query for a person checks the membership.
#[async_trait]
pub trait Messages: Send + Sync + 'static {
    /// [`Messages::append_within`] with the usual limit.
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

    /// Delay of the jobs that an append writes beside its messages. `None`: it writes none.
    fn job_delay(&self) -> Option<Duration>;

    /// Messages of a session; empty if `me` is not a member.
    async fn history(
        &self,
        me: &Scope,
        id: SessionId,
        range: HistoryRange,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Messages of a session that `me` is a member of, changed after this revision, in the order of
    /// their last change.
    async fn changes(
        &self,
        me: &Scope,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Changes a message of a session that `me` is a member of, if the rules allow it.
    async fn amend(
        &self,
        me: &Scope,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError>;

    /// Earlier texts of a message of the admin's tenant. Membership is not checked.
    async fn past_bodies(
        &self,
        admin: &AdminScope,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError>;

    /// Messages after `seq`: the hub's backfill of a live room, whose subscribers are members.
    async fn backfill_messages(
        &self,
        key: SessionKey,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;

    /// Messages changed after this revision, in the order of their last change: the hub's backfill
    /// too.
    async fn backfill_changes(
        &self,
        key: SessionKey,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError>;
}
