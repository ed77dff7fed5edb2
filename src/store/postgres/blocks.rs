//! Blocked people, in PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::{Params, Postgres, rows};
use crate::{
    audit::{Act, Actor},
    blocks::Reason,
    person::Person,
    store::{
        StoreError,
        blocks::{BLOCK, BLOCKED, BLOCKS, Block, BlockList, BlockPlace, Blocked, UNBLOCK},
    },
    wire::new_id,
};

/// Precedes [`BLOCK`] in one statement: $6 an id, $7 the act, $8 the address, $9 the request.
const NOTE_BLOCK: &str = "with noted as (insert into audit (id, act, actor_kind, actor_id, user_kind, \
    user_id, address, request_id) values ($6, $7, $4, $5, $1, $2, $8, $9))";

/// Records the removal: $3 an id, $4 the act, $5, $6 the admin, $7 the address, $8 the request.
const NOTE_UNBLOCK: &str = "noted as (insert into audit (id, act, actor_kind, actor_id, user_kind, \
    user_id, address, request_id) \
    select $3::uuid, $4::text, $5::text, $6::text, $1, $2, $7::text, $8::text from removed) \
    select kind from removed";

#[async_trait]
impl BlockList for Postgres {
    async fn block(
        &self,
        person: &Person,
        reason: Option<&Reason>,
        by: &Actor,
    ) -> Result<Block, StoreError> {
        // The time is the database's, as in every row.
        let sql = format!("{NOTE_BLOCK} {}", BLOCK.replace("$6", "statement_timestamp()"));
        let (reason, admin) = (reason.map(Reason::as_str), &by.person);
        let params: Params<'_> = &[
            &person.kind.as_str(),
            &person.id.as_str(),
            &reason,
            &admin.kind.as_str(),
            &admin.id.as_str(),
            &new_id(),
            &Act::BlockUser.as_str(),
            &by.address.to_string(),
            &by.request_id,
        ];
        let rows = self.query(&sql, params).await?;
        rows.first().ok_or_else(rows::missing).and_then(block)
    }

    async fn unblock(&self, person: &Person, by: &Actor) -> Result<bool, StoreError> {
        let sql = format!("with removed as ({UNBLOCK} returning kind), {NOTE_UNBLOCK}");
        let params: Params<'_> = &[
            &person.kind.as_str(),
            &person.id.as_str(),
            &new_id(),
            &Act::UnblockUser.as_str(),
            &by.person.kind.as_str(),
            &by.person.id.as_str(),
            &by.address.to_string(),
            &by.request_id,
        ];
        Ok(!self.query(&sql, params).await?.is_empty())
    }

    async fn blocked(&self, since: i64) -> Result<Option<Blocked>, StoreError> {
        let mut blocked = None;
        for row in &self.query_at_once(BLOCKED, &[&since]).await? {
            let rev = rows::get(row, "rev")?;
            let found = blocked.get_or_insert_with(|| Blocked { rev, ..Blocked::default() });
            if rows::get::<Option<&str>>(row, "kind")?.is_some() {
                found.people.insert(person(row, "kind", "person_id")?);
            }
        }
        Ok(blocked)
    }

    async fn blocks(
        &self,
        after: Option<&BlockPlace>,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError> {
        let (at, kind, id) = match after {
            Some((at, person)) => (*at, person.kind.as_str(), person.id.as_str()),
            None => (Timestamp::MAX, "", ""),
        };
        let rows = self.query(BLOCKS, &[&at, &kind, &id, &i64::from(limit)]).await?;
        rows.iter().map(block).collect()
    }
}

fn person(row: &Row, kind: &str, id: &str) -> Result<Person, StoreError> {
    Ok(Person::new(rows::parsed(row, kind)?, rows::parsed(row, id)?))
}

fn block(row: &Row) -> Result<Block, StoreError> {
    let reason: Option<String> = rows::get(row, "reason")?;
    Ok(Block {
        person: person(row, "kind", "person_id")?,
        // A reason that was written to the table by hand and does not parse is left out.
        reason: reason.and_then(|reason| Reason::try_from(reason).ok()),
        by: person(row, "by_kind", "by_id")?,
        at: rows::get(row, "blocked_at")?,
    })
}
