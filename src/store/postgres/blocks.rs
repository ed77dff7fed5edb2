//! People who may not come in, in PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::{Params, Postgres, rows};
use crate::{
    blocks::Reason,
    person::Person,
    store::{
        StoreError,
        blocks::{BLOCK, BLOCKED, BLOCKS, Block, BlockList, BlockPlace, Blocked, UNBLOCK},
    },
};

#[async_trait]
impl BlockList for Postgres {
    async fn block(
        &self,
        person: &Person,
        reason: Option<&Reason>,
        by: &Person,
    ) -> Result<Block, StoreError> {
        // The clock is the database's, as in every row.
        let sql = BLOCK.replace("$6", "statement_timestamp()");
        let reason = reason.map(Reason::as_str);
        let (kind, id) = (person.kind.as_str(), person.id.as_str());
        let params: Params<'_> = &[&kind, &id, &reason, &by.kind.as_str(), &by.id.as_str()];
        let rows = self.query(&sql, params).await?;
        rows.first().ok_or_else(rows::missing).and_then(block)
    }

    async fn unblock(&self, person: &Person) -> Result<bool, StoreError> {
        let sql = format!("{UNBLOCK} returning kind");
        let rows = self.query(&sql, &[&person.kind.as_str(), &person.id.as_str()]).await?;
        Ok(!rows.is_empty())
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
        // What was written past the house is not told.
        reason: reason.and_then(|reason| Reason::try_from(reason).ok()),
        by: person(row, "by_kind", "by_id")?,
        at: rows::get(row, "blocked_at")?,
    })
}
