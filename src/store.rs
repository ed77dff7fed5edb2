//! The store of sessions and messages: one trait for each noun, two databases, one contract suite.
//!
//! The store keeps law I6: in its session a message's `seq` is 1, 2, 3 … without gaps, and a
//! `clientId` that its sender has used before returns the first result again.
//!
//! Law I13: a kill at any moment loses nothing acknowledged. A commit is on the disk before the store
//! confirms it, and jobs and queues of later work are rows of the commit that they follow.

pub(crate) mod audit;
pub(crate) mod blocks;
mod changes;
#[cfg(test)]
mod contract;
pub(crate) mod counts;
mod drafts;
pub(crate) mod epoch;
pub(crate) mod marks;
pub(crate) mod messages;
pub(crate) mod openings;
pub(crate) mod people;
pub(crate) mod postgres;
pub(crate) mod push_jobs;
pub(crate) mod retention;
pub(crate) mod search;
pub(crate) mod search_queue;
pub(crate) mod server;
pub(crate) mod sessions;
mod sql;
#[cfg(feature = "embedded")]
pub(crate) mod sqlite;
pub(crate) mod uploads;
pub(crate) mod writer;

use self::{
    audit::AuditLog, blocks::BlockList, epoch::Epochs, marks::Marks, messages::Messages,
    openings::Openings, people::People, push_jobs::PushJobs, retention::Retention, search::Search,
    search_queue::SearchQueue, server::Server, sessions::Sessions, uploads::Uploads,
};
pub(crate) use self::{
    marks::Delivered,
    messages::{Appended, HistoryRange, PastBody, Refusal},
    sessions::{Head, Listed, NewSession, PatchOutcome, SessionPage, SessionPatch},
    sql::{AROUND_A_BODY, PAGE_BYTES},
};

/// Maximum of rows that one query returns, whatever its limit. A page of messages, or of sessions
/// with their last messages, also has to fit into [`PAGE_BYTES`], but always has its first row.
pub(crate) const PAGE_MAX: u32 = 200;

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
    #[error("disk full or broken: {0}")]
    Disk(Source),
    /// The database rejected the statement, and would do so again.
    #[error("refused: {0}")]
    Refused(Source),
}

impl StoreError {
    /// Name of the kind of failure, for traces.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Contended(_) => "contended",
            Self::Disk(_) => "no_disk",
            Self::Refused(_) => "refused",
        }
    }
}

pub(crate) use crate::platform::Source;

/// A database of everything that the server keeps.
pub(crate) trait Store:
    Sessions
    + Messages
    + Marks
    + People
    + Uploads
    + PushJobs
    + BlockList
    + Openings
    + AuditLog
    + Retention
    + Search
    + SearchQueue
    + Epochs
    + Server
{
}

impl<T> Store for T where
    T: Sessions
        + Messages
        + Marks
        + People
        + Uploads
        + PushJobs
        + BlockList
        + Openings
        + AuditLog
        + Retention
        + Search
        + SearchQueue
        + Epochs
        + Server
{
}
