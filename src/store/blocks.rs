//! Blocked people, and the SQL that both databases share.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::{audit::Actor, blocks::Reason, person::Person};

/// A person who is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) person: Person,
    pub(crate) reason: Option<Reason>,
    pub(crate) by: Person,
    pub(crate) at: Timestamp,
}

/// All blocked people, as of one revision of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) rev: i64,
    pub(crate) people: HashSet<Person>,
}

/// Position in the list of blocks.
pub(crate) type BlockPlace = (Timestamp, Person);

/// The part of a store that keeps the blocks.
#[async_trait]
pub(crate) trait BlockList: Send + Sync + 'static {
    /// Blocks a person, and records it in the audit log. If the person is blocked already, the time
    /// and the admin of the first block stay; a new reason replaces the old one.
    async fn block(
        &self,
        person: &Person,
        reason: Option<&Reason>,
        by: &Actor,
    ) -> Result<Block, StoreError>;

    /// Unblocks a person. Returns whether there was a block; only then the audit log records it.
    async fn unblock(&self, person: &Person, by: &Actor) -> Result<bool, StoreError>;

    /// All blocked people, if the list has changed since this revision. It does not wait for other
    /// queries.
    async fn blocked(&self, since: i64) -> Result<Option<Blocked>, StoreError>;

    /// The blocks, the latest first.
    async fn blocks(
        &self,
        after: Option<&BlockPlace>,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError>;
}

/// $1, $2 the person, $3 the reason, $4, $5 the admin, $6 the time.
pub(super) const BLOCK: &str = "insert into blocks (kind, person_id, reason, by_kind, by_id, \
    blocked_at) values ($1, $2, $3, $4, $5, $6) on conflict (kind, person_id) do update \
    set reason = coalesce(excluded.reason, blocks.reason) \
    returning kind, person_id, reason, by_kind, by_id, blocked_at";

pub(super) const UNBLOCK: &str = "delete from blocks where kind = $1 and person_id = $2";

/// $1 the known revision. No row if it is unchanged; one row without a person if nobody is blocked.
pub(super) const BLOCKED: &str = "select c.rev, b.kind, b.person_id from block_changes c \
    left join blocks b on true where c.rev <> $1";

/// $1, $2 and $3 the position in the list, $4 the limit.
pub(super) const BLOCKS: &str = "select kind, person_id, reason, by_kind, by_id, blocked_at \
    from blocks where (blocked_at, kind, person_id) < ($1, $2, $3) \
    order by blocked_at desc, kind desc, person_id desc limit $4";
