//! Full text: the words of a search, and the messages that it finds.
//!
//! A message is indexed behind its commit ([`crate::store::search_queue`]); a search reads those of
//! its caller that still wait, too. How a text and a search are cut into tokens is decided here, and
//! nowhere else: both databases are given the same.

pub(super) mod hits;
#[cfg(feature = "embedded")]
pub(super) mod matcher;
mod scripts;
pub(super) mod snippet;
pub(crate) mod terms;
pub(super) mod tokens;
mod words;

use serde::Serialize;
use utoipa::ToSchema;

use crate::message::Message;

/// How many of the newest matches are ranked; older ones are not found.
pub(super) const RANKED_MAX: u32 = 1_000;
/// How many of the caller's messages that wait to be indexed are read, the newest first.
pub(super) const WAITING_MAX: u32 = 100;
/// How many bytes of their text.
pub(super) const WAITING_BYTES: usize = 256 * 1024;
/// How many bytes a page of hits has, about; one hit is always in it.
pub(super) const PAGE_BYTES: i64 = 256 * 1024;
/// How many of them a message has beside its text, at most.
pub(super) const AROUND_A_TEXT: i64 = 2_048;
/// How long the database may take for one search.
pub(super) const TIME_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);
/// How many searches of one node are under way. Each has a connection that no other look-up uses.
pub(super) const SEARCHES: usize = 2;

/// A page of hits, the best first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hits {
    pub(crate) found: Vec<Found>,
    /// There are hits behind these.
    pub(crate) more: bool,
}

/// A message that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    pub(crate) message: Message,
    /// The part of its text in which the words are.
    pub(crate) snippet: Vec<Piece>,
}

/// A piece of text, which is a hit or is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) hit: bool,
}

/// The search took longer than [`TIME_LIMIT`], or the database refused its query: the same search
/// fails again. The database is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooCostly;
