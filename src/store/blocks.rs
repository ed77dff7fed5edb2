//! People who may not come in, and what the two databases say about them in the same words.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::{audit::Actor, blocks::Reason, person::Person};

/// Someone who is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) person: Person,
    pub(crate) reason: Option<Reason>,
    pub(crate) by: Person,
    pub(crate) at: Timestamp,
}

/// Everyone who is blocked, as of a count of the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) rev: i64,
    pub(crate) people: HashSet<Person>,
}

/// A place in the list of blocks.
pub(crate) type BlockPlace = (Timestamp, Person);

/// The blocks' side of a store.
#[async_trait]
pub(crate) trait BlockList: Send + Sync + 'static {
    /// Blocks someone, and notes it in the audit log. Who is blocked already stays so, since then and by
    /// whom it was; a reason that is given takes the place of the one before.
    async fn block(
        &self,
        person: &Person,
        reason: Option<&Reason>,
        by: &Actor,
    ) -> Result<Block, StoreError>;

    /// Lets someone in again; whether they were blocked. Only that is noted in the audit log.
    async fn unblock(&self, person: &Person, by: &Actor) -> Result<bool, StoreError>;

    /// Everyone who is blocked, where that has changed since this count. It waits for no other look-up.
    async fn blocked(&self, since: i64) -> Result<Option<Blocked>, StoreError>;

    /// The blocks, the latest first.
    async fn blocks(
        &self,
        after: Option<&BlockPlace>,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError>;
}

/// $1, $2 the person, $3 the reason, $4, $5 by whom, $6 when.
pub(super) const BLOCK: &str = "insert into blocks (kind, person_id, reason, by_kind, by_id, \
    blocked_at) values ($1, $2, $3, $4, $5, $6) on conflict (kind, person_id) do update \
    set reason = coalesce(excluded.reason, blocks.reason) \
    returning kind, person_id, reason, by_kind, by_id, blocked_at";

pub(super) const UNBLOCK: &str = "delete from blocks where kind = $1 and person_id = $2";

/// $1 the count that is known: no row where it is still the same, one with nobody where nobody is blocked.
pub(super) const BLOCKED: &str = "select c.rev, b.kind, b.person_id from block_changes c \
    left join blocks b on true where c.rev <> $1";

/// $1, $2 and $3 the place in the list, $4 the limit.
pub(super) const BLOCKS: &str = "select kind, person_id, reason, by_kind, by_id, blocked_at \
    from blocks where (blocked_at, kind, person_id) < ($1, $2, $3) \
    order by blocked_at desc, kind desc, person_id desc limit $4";
