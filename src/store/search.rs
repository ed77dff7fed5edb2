//! Full text search: the words of a search, and the messages that it finds.
//!
//! A message is indexed after its commit ([`crate::store::search_queue`]). A search also reads the
//! caller's messages that still wait to be indexed. Texts and searches are cut into tokens only
//! here: both databases receive the same tokens, and need no extension.

pub(crate) mod counts;
pub(super) mod hits;
#[cfg(feature = "embedded")]
pub(super) mod matcher;
mod scripts;
pub(super) mod snippet;
pub(crate) mod terms;
pub(super) mod tokens;
mod words;

use async_trait::async_trait;
use serde::Serialize;
use utoipa::ToSchema;

use self::terms::Terms;
use super::StoreError;
use crate::{message::Message, person::Person};

/// Number of newest matches that are ranked. Older ones are not found.
pub(super) const RANKED_MAX: u32 = 1_000;
/// Number of the caller's waiting messages that a search reads, the newest first.
pub(super) const WAITING_MAX: u32 = 100;
/// Maximum bytes of the texts of these waiting messages.
pub(super) const WAITING_BYTES: usize = 256 * 1024;
/// Approximate bytes of a page of hits. One hit is always in it.
pub(super) const PAGE_BYTES: i64 = 256 * 1024;
/// Maximum bytes of a message beside its text.
pub(super) const AROUND_A_TEXT: i64 = 2_048;
/// Time limit of one search in the database.
pub(super) const SEARCH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);
/// Concurrent searches of one node. Each has a connection that no other query uses.
pub(super) const MAX_CONCURRENT_SEARCHES: usize = 2;

/// A page of hits, the best first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hits {
    pub(crate) found: Vec<Found>,
    /// There are hits after these.
    pub(crate) more: bool,
}

/// A message that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    pub(crate) message: Message,
    /// The part of its text that contains the words.
    pub(crate) snippet: Vec<Piece>,
}

/// A piece of a snippet; `hit` marks a found word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) hit: bool,
}

/// The search took longer than [`SEARCH_TIMEOUT`], or the database rejected its query: the same search
/// fails again. The database is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooCostly;

/// The part of a store that searches in the messages.
#[async_trait]
pub(crate) trait Search: Send + Sync + 'static {
    /// Messages of sessions that `me` is a member of, the best hits first. [`TooCostly`] is an
    /// error of the caller's query, not of the database.
    async fn search(
        &self,
        me: &Person,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError>;
}
