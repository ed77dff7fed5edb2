//! The audit log, and what the two databases say about it in the same words.
//!
//! It is append-only: in both databases a trigger refuses to change or remove a row.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::StoreError;
use crate::audit::{Entry, NewEntry};

/// A place in the log.
pub(crate) type AuditPlace = (Timestamp, Uuid);

/// The log's side of a store. What is done in the database is noted by the statement that does it
/// ([`super::blocks::BlockList`]).
#[async_trait]
pub(crate) trait AuditLog: Send + Sync + 'static {
    /// Notes something that changes nothing in the database.
    async fn note_act(&self, entry: &NewEntry) -> Result<(), StoreError>;

    /// Acts, the latest first.
    async fn acts(&self, after: Option<&AuditPlace>, limit: u32) -> Result<Vec<Entry>, StoreError>;
}

/// $1 the time of the last one, $2 its id, $3 the limit.
pub(super) const ACTS: &str = "select id, at, actor_kind, actor_id, act, user_kind, user_id, \
    session_id, message_id, address, request_id \
    from audit where tenant_id = 1 and (at, id) < ($1, $2) order by at desc, id desc limit $3";
