//! The store of sessions and messages: one trait for each noun, two databases, one contract suite.
//!
//! A function that acts for somebody takes their [`model::scope::Scope`] first, and finds what this actor is a member
//! of. A function that checks no membership takes an administrator's. The server's own work goes by sessions with their
//! tenants, or in batches in which each row names its person.
//!
//! The store keeps law I6: in its session a message's `seq` is 1, 2, 3 … without gaps, and a
//! `clientId` that its sender has used before returns the first result again.
//!
//! Law I13: a kill at any moment loses nothing acknowledged. A commit is on the disk before the store
//! confirms it, and jobs and queues of later work are rows of the commit that they follow.

#[cfg(test)]
pub(crate) mod contract;
mod drafts;
pub mod epoch;
pub mod marks;
pub mod messages;
pub mod notes;
pub(crate) mod openings;
pub mod participants;
pub mod postgres;
pub mod retention;
pub mod roster;
pub mod search;
pub(crate) mod search_queue;
pub mod sessions;
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod unread;

pub(crate) use self::sql::{AROUND_A_BODY, PAGE_BYTES};
use self::{
    epoch::Epochs, marks::Marks, messages::Messages, openings::Openings, retention::Retention,
    search::Search, search_queue::SearchQueue, sessions::Sessions,
};
pub use self::{
    messages::{Appended, HistoryRange, PastBody, Refusal},
    sessions::{Head, Listed, NewSession, PatchOutcome, SessionPage, SessionPatch},
};

/// Maximum of rows that one query returns, whatever its limit. A page of messages, or of sessions
/// with their last messages, also has to fit into [`PAGE_BYTES`], but always has its first row.
pub const PAGE_MAX: u32 = 200;

/// A database of everything that the server keeps.
pub trait Store:
    Sessions + Messages + Marks + Openings + Retention + Search + SearchQueue + Epochs
{
}

impl<T> Store for T where
    T: Sessions + Messages + Marks + Openings + Retention + Search + SearchQueue + Epochs
{
}
