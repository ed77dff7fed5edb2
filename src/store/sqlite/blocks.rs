//! Blocked people, in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Row, params};

use super::{Sqlite, audit, begin, numbered, rows};
use crate::{
    audit::{Act, Actor, NewEntry},
    blocks::Reason,
    person::Person,
    store::{
        StoreError,
        blocks::{BLOCK, BLOCKED, BLOCKS, Block, BlockList, BlockPlace, Blocked, UNBLOCK},
    },
};

#[async_trait]
impl BlockList for Sqlite {
    async fn block(
        &self,
        person: &Person,
        reason: Option<&Reason>,
        by: &Actor,
    ) -> Result<Block, StoreError> {
        let (reason, noted) = (reason.cloned(), NewEntry::of_user(by, Act::BlockUser, person));
        let (person, by) = (person.clone(), by.person.clone());
        self.write(move |db| {
            let transaction = begin(db)?;
            let params = params![
                person.kind.as_str(),
                person.id.as_str(),
                reason.as_ref().map(Reason::as_str),
                by.kind.as_str(),
                by.id.as_str(),
                rows::now().as_microsecond(),
            ];
            let block = transaction.query_row(&numbered(BLOCK), params, block)?;
            audit::note(&transaction, &noted)?;
            transaction.commit()?;
            Ok(block)
        })
        .await
    }

    async fn unblock(&self, person: &Person, by: &Actor) -> Result<bool, StoreError> {
        let noted = NewEntry::of_user(by, Act::UnblockUser, person);
        let person = person.clone();
        self.write(move |db| {
            let transaction = begin(db)?;
            let who = [person.kind.as_str(), person.id.as_str()];
            let removed = transaction.execute(&numbered(UNBLOCK), who)? > 0;
            if removed {
                audit::note(&transaction, &noted)?;
            }
            transaction.commit()?;
            Ok(removed)
        })
        .await
    }

    async fn blocked(&self, since: i64) -> Result<Option<Blocked>, StoreError> {
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(BLOCKED))?;
            let mut rows = statement.query([since])?;
            let mut blocked = None;
            while let Some(row) = rows.next()? {
                let rev = row.get("rev")?;
                let found = blocked.get_or_insert_with(|| Blocked { rev, ..Blocked::default() });
                if row.get::<_, Option<String>>("kind")?.is_some() {
                    found.people.insert(person(row, "kind", "person_id")?);
                }
            }
            Ok(blocked)
        })
        .await
    }

    async fn blocks(
        &self,
        after: Option<&BlockPlace>,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError> {
        let (at, kind, id) = match after {
            Some((at, person)) => (*at, person.kind.as_str(), person.id.as_str().to_owned()),
            None => (Timestamp::MAX, "", String::new()),
        };
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(BLOCKS))?;
            statement.query_map(params![at.as_microsecond(), kind, id, limit], block)?.collect()
        })
        .await
    }
}

fn person(row: &Row<'_>, kind: &str, id: &str) -> rusqlite::Result<Person> {
    Ok(Person::new(rows::parsed(row, kind)?, rows::parsed(row, id)?))
}

fn block(row: &Row<'_>) -> rusqlite::Result<Block> {
    let reason: Option<String> = row.get("reason")?;
    Ok(Block {
        person: person(row, "kind", "person_id")?,
        // A reason that was written to the table by hand and does not parse is left out.
        reason: reason.and_then(|reason| Reason::try_from(reason).ok()),
        by: person(row, "by_kind", "by_id")?,
        at: rows::time(row, "blocked_at")?,
    })
}
