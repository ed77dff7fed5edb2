//! The audit log, and the SQL that both databases share.
//!
//! The log is append-only: in both databases a trigger rejects changes and removals of rows.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::StoreError;
use crate::audit::{Entry, NewEntry};

/// Position in the log.
pub(crate) type AuditPlace = (Timestamp, Uuid);

/// The part of a store that keeps the audit log. An act that changes the database is recorded by
/// the same statement ([`super::blocks::BlockList`]).
#[async_trait]
pub(crate) trait AuditLog: Send + Sync + 'static {
    /// Records an act that changes nothing else in the database.
    async fn note_act(&self, entry: &NewEntry) -> Result<(), StoreError>;

    /// Acts, the latest first.
    async fn acts(&self, after: Option<&AuditPlace>, limit: u32) -> Result<Vec<Entry>, StoreError>;
}

/// $1 time of the last entry, $2 its id, $3 the limit.
pub(super) const ACTS: &str = "select id, at, actor_kind, actor_id, act, user_kind, user_id, \
    session_id, message_id, address, request_id \
    from audit where tenant_id = 1 and (at, id) < ($1, $2) order by at desc, id desc limit $3";
