//! Full text search: the words of a search, and the messages that it finds.
//!
//! A message is indexed after its commit ([`crate::store::search_queue`]). A search also reads the
//! caller's messages that still wait to be indexed. Texts and searches are cut into tokens only
//! here: both databases receive the same tokens, and need no extension.

pub mod counts;
pub(super) mod hits;
#[cfg(feature = "sqlite")]
pub(super) mod matcher;
mod scripts;
pub(super) mod snippet;
pub mod terms;
pub(super) mod tokens;
mod words;

use async_trait::async_trait;
use serde::Serialize;
use utoipa::ToSchema;

use self::terms::Terms;
use db::StoreError;
use model::{message::Message, scope::Scope};
use protocol::error::Error;

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
pub struct Hits {
    /// The page of hits, the best first.
    pub found: Vec<Found>,
    /// There are hits after these.
    pub more: bool,
}

/// A message that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Found {
    /// The message.
    pub message: Message,
    /// The part of its text that contains the words.
    pub snippet: Vec<Piece>,
}

/// A piece of a snippet; `hit` marks a found word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Piece {
    /// The text of this piece.
    pub text: String,
    /// Whether it matches the query.
    pub hit: bool,
}

/// The search took longer than [`SEARCH_TIMEOUT`], or the database rejected its query: the same search
/// fails again. The database is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooCostly;

/// The database is healthy, so there is no cause to log.
impl From<TooCostly> for Error {
    fn from(TooCostly: TooCostly) -> Self {
        Self::SearchTooCostly
    }
}

/// The part of a store that searches in the messages.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// Messages of sessions that `me` is a member of, the best hits first. [`TooCostly`] is an
    /// error of the caller's query, not of the database.
    async fn search(
        &self,
        me: &Scope,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError>;
}
