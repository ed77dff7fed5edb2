//! Messages that wait to be indexed for search: a durable queue beside the messages.
//!
//! A trigger writes a row in the commit of each new or changed text, whichever version of the
//! server writes it. The row is read with the text, and deleted in the transaction that indexes it.
//! A second queue, `search_again`, holds messages that an earlier version indexed: those from
//! before its migration, and those that nodes of that version index beside this one.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use db::StoreError;

/// Attempts to index a text that takes too long. After them search does not find it.
pub(super) const ATTEMPTS_MAX: i16 = 3;

/// Outcome of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    pub messages: u32,
    /// It took too long, or the database rejected it; a smaller batch may pass. A batch of one
    /// message costs that message an attempt.
    pub too_costly: bool,
    /// Messages without attempts left.
    pub given_up: u32,
}

/// Size and age of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchBacklog {
    /// Counted up to [`COUNTED_MAX`].
    pub messages: u64,
    pub oldest: Duration,
}

/// Maximum of waiting messages that are counted.
pub(super) const COUNTED_MAX: i64 = 10_000;

/// The part of a store that keeps the search queue.
#[async_trait]
pub trait SearchQueue: Send + Sync + 'static {
    /// Indexes up to `limit` waiting messages, the oldest first. No two nodes take the same.
    async fn index_waiting(&self, limit: u32) -> Result<Indexed, StoreError>;

    /// Indexes messages again that an earlier version indexed. Until then the earlier index finds
    /// them.
    async fn index_again(&self, limit: u32) -> Result<Indexed, StoreError>;

    /// Notified when this node has committed a text.
    fn text_committed(&self) -> &Notify;

    async fn search_backlog(&self) -> Result<SearchBacklog, StoreError>;
}
