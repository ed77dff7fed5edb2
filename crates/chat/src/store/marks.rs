//! Marks: the position up to which a member has read, or has received, a session's messages.

use async_trait::async_trait;

use db::StoreError;
use model::{ids::SessionId, scope::Scope, session::Delivered};

/// Read position of a member, after a read mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The position.
    pub seq: u64,
    /// Whether the mark moved it. It never goes backwards.
    pub moved: bool,
}

/// Outcome of a batch of delivery marks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryMarks {
    /// Marks that moved, with their new positions.
    pub moved: Vec<Delivered>,
    /// Marks whose rows another transaction has locked. Nothing was written for them.
    pub locked: Vec<Delivered>,
}

/// The part of a store that keeps the marks.
#[async_trait]
pub trait Marks: Send + Sync + 'static {
    /// Unread counts of the sessions of `me` that have unread messages: of the 1,000 with the latest activity.
    async fn unread(&self, me: &Scope) -> Result<Vec<(SessionId, u64)>, StoreError>;

    /// Moves the read position of `me` forward, at most to the session's end. `None` if not a
    /// member.
    async fn mark_read(
        &self,
        me: &Scope,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError>;

    /// Moves delivery marks forward, at most to the sessions' ends.
    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError>;
}
