//! The table of blocks.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Reason;
use crate::audit::{self, Act, Actor, NewEntry};
use crate::rows::tenant;
use db::{
    Database, StoreError,
    text::{Row, Statement},
};
use model::{
    person::{Person, PersonName},
    scope::AdminScope,
};

/// A person who is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The blocked person.
    pub person: Person,
    /// Reason, if the admin gave one.
    pub reason: Option<Reason>,
    /// The admin.
    pub by: Person,
    /// Time of the first block.
    pub at: Timestamp,
}

/// All blocked people, as of one revision of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// Revision of the list.
    pub rev: i64,
    /// Everyone who is blocked.
    pub people: HashSet<Person>,
}

/// Position in the list of blocks.
pub type BlockPlace = (Timestamp, PersonName);

/// $1, $2 the person, $3 the reason, $4, $5 the admin, $6 the tenant.
const BLOCK: &str = "insert into blocks \
    (tenant_id, kind, person_id, reason, by_kind, by_id, blocked_at) \
    values ($6, $1, $2, $3, $4, $5, {now}) on conflict (tenant_id, kind, person_id) do update \
    set reason = coalesce(excluded.reason, blocks.reason) \
    returning cast(tenant_id as bigint) as tenant, kind, person_id, reason, by_kind, by_id, blocked_at";

/// $1, $2 the person, $3 the tenant.
const UNBLOCK: &str = "delete from blocks where tenant_id = $3 and kind = $1 and person_id = $2 \
    returning kind";

/// $1 the known revision. No row if it is unchanged; one row without a person if nobody is blocked.
const BLOCKED: &str = "select c.rev, cast(b.tenant_id as bigint) as tenant, b.kind, b.person_id from block_changes c \
    left join blocks b on true where c.rev <> $1";

/// $1, $2 and $3 the position in the list, $4 the limit, $5 the tenant.
const BLOCKS: &str = "select cast(tenant_id as bigint) as tenant, kind, person_id, reason, by_kind, by_id, \
    blocked_at from blocks where tenant_id = $5 and (blocked_at, kind, person_id) < ($1, $2, $3) \
    order by blocked_at desc, kind desc, person_id desc limit $4";

/// The blocks in the database.
#[derive(Clone, Debug)]
pub struct BlockTable(pub Database);

impl BlockTable {
    /// Blocks a person, and records it in the audit log. If the person is blocked already, the time
    /// and the admin of the first block stay; a new reason replaces the old one.
    pub async fn block(
        &self,
        by: &Actor,
        person: &PersonName,
        reason: Option<&Reason>,
    ) -> Result<Block, StoreError> {
        let params = [
            person.side.as_str().into(),
            person.id.as_str().into(),
            reason.map(Reason::as_str).into(),
            by.scope.side.as_str().into(),
            by.scope.id.as_str().into(),
            by.scope.tenant.number().into(),
        ];
        let noted = audit::table::note(&NewEntry::of_user(by, Act::BlockUser, person.clone()));
        let rows = self.0.write_while_found([Statement::new(BLOCK, params), noted]).await?;
        block(rows.first().and_then(|rows| rows.first()).ok_or_else(StoreError::no_row)?)
    }

    /// Unblocks a person. Returns whether there was a block; only then the audit log records it.
    pub async fn unblock(&self, by: &Actor, person: &PersonName) -> Result<bool, StoreError> {
        let tenant = by.scope.tenant.number().into();
        let params = [person.side.as_str().into(), person.id.as_str().into(), tenant];
        let noted = audit::table::note(&NewEntry::of_user(by, Act::UnblockUser, person.clone()));
        let rows = self.0.write_while_found([Statement::new(UNBLOCK, params), noted]).await?;
        Ok(rows.first().is_some_and(|removed| !removed.is_empty()))
    }

    /// All blocked people, if the list has changed since this revision. It does not wait for other
    /// queries.
    pub async fn blocked(&self, since: i64) -> Result<Option<Blocked>, StoreError> {
        let mut blocked = None;
        for row in self.0.read_at_once(Statement::new(BLOCKED, [since.into()])).await? {
            let rev = row.get("rev")?;
            let found = blocked.get_or_insert_with(|| Blocked { rev, ..Blocked::default() });
            if row.get::<Option<String>>("kind")?.is_some() {
                found.people.insert(person(&row, "kind", "person_id")?);
            }
        }
        Ok(blocked)
    }

    /// The blocks of the admin's tenant, the latest first.
    pub async fn blocks(
        &self,
        admin: &AdminScope,
        after: Option<&BlockPlace>,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError> {
        let (at, kind, id) = match after {
            Some((at, person)) => (*at, person.side.as_str(), person.id.as_str()),
            None => (Timestamp::MAX, "", ""),
        };
        let tenant = admin.tenant.number().into();
        let place = [at.into(), kind.into(), id.into(), limit.into(), tenant];
        let rows = self.0.read(Statement::new(BLOCKS, place)).await?;
        rows.iter().map(block).collect()
    }
}

fn person(row: &Row, kind: &str, id: &str) -> Result<Person, StoreError> {
    Ok(Person::new(tenant(row)?, row.parsed(kind)?, row.parsed(id)?))
}

fn block(row: &Row) -> Result<Block, StoreError> {
    let reason: Option<String> = row.get("reason")?;
    Ok(Block {
        person: person(row, "kind", "person_id")?,
        // A reason that was written to the table by hand and does not parse is left out.
        reason: reason.and_then(|reason| Reason::try_from(reason).ok()),
        by: person(row, "by_kind", "by_id")?,
        at: row.get("blocked_at")?,
    })
}
