//! People, in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Sqlite, begin, rows};
use crate::{
    person::{AvatarUrl, Person},
    store::{StoreError, people::People},
};

/// Updates only rows that differ: most directory look-ups bring nothing new.
const RENAME: &str = "update members set name = ?3, avatar_url = ?4 \
    where kind = ?1 and person_id = ?2 and (name <> ?3 or avatar_url is not ?4)";

#[async_trait]
impl People for Sqlite {
    async fn seen(&self, people: &[Person]) -> Result<(), StoreError> {
        let people = people.to_vec();
        self.write(move |db| {
            let transaction = begin(db)?;
            let now = rows::now().as_microsecond();
            for person in people {
                transaction
                    .prepare_cached(
                        "insert into people_seen (kind, person_id, seen_at) values (?1, ?2, ?3) \
                         on conflict (kind, person_id) do update set seen_at = excluded.seen_at",
                    )?
                    .execute(params![person.kind.as_str(), person.id.as_str(), now])?;
            }
            transaction.commit()
        })
        .await
    }

    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError> {
        let person = person.clone();
        self.read(move |db| {
            let sql = "select seen_at from people_seen where kind = ?1 and person_id = ?2";
            let who = [person.kind.as_str(), person.id.as_str()];
            db.query_row(sql, who, |row| rows::time(row, "seen_at")).optional()
        })
        .await
    }

    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError> {
        let (person, name, avatar_url) = (person.clone(), name.to_owned(), avatar_url.cloned());
        self.write(move |db| {
            let avatar_url = avatar_url.as_ref().map(AvatarUrl::as_str);
            let params = params![person.kind.as_str(), person.id.as_str(), name, avatar_url];
            db.prepare_cached(RENAME)?.execute(params).map(drop)
        })
        .await
    }
}
