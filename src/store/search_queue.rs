//! Messages that wait to be indexed for search: a durable queue beside the messages.
//!
//! A row is written by a trigger in the commit of each text that is new or changed, whatever version
//! writes it. It is taken with its message's text, and removed in the transaction that indexes that.
//! Another queue, `search_again`, has the messages that an earlier version has indexed: those from before
//! its migration, and those that nodes of that version index beside this one.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::StoreError;

/// How often a message's text is tried that takes too long; then it is not found by search.
pub(super) const ATTEMPTS_MAX: i16 = 3;

/// The outcome of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) messages: u32,
    /// It took too long, or the database refused it: a smaller one may pass. One message alone has an
    /// attempt fewer from now on.
    pub(crate) too_costly: bool,
    /// Messages that no attempt is left for.
    pub(crate) given_up: u32,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchBacklog {
    /// Counted up to [`COUNTED_MAX`].
    pub(crate) messages: u64,
    pub(crate) oldest: Duration,
}

/// Up to how many messages are counted that wait.
pub(super) const COUNTED_MAX: i64 = 10_000;

/// The queue's side of a store.
#[async_trait]
pub(crate) trait SearchQueue: Send + Sync + 'static {
    /// Indexes so many of the messages that wait, the oldest first; no two nodes take the same.
    async fn index_waiting(&self, limit: u32) -> Result<Indexed, StoreError>;

    /// Does the same with messages that an earlier version has indexed. They are found meanwhile, by what
    /// that version knew of.
    async fn index_again(&self, limit: u32) -> Result<Indexed, StoreError>;

    /// Is notified when this node has committed a text.
    fn text_committed(&self) -> &Notify;

    async fn search_backlog(&self) -> Result<SearchBacklog, StoreError>;
}
