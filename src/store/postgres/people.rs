//! People, in PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Params, Postgres, rows};
use crate::{
    person::{AvatarUrl, Person},
    store::{StoreError, people::People},
};

const SEEN: &str = "
insert into people_seen (kind, person_id, seen_at)
select kind, person_id, now() from unnest($1::text[], $2::text[]) as i(kind, person_id)
order by kind, person_id
on conflict (kind, person_id) do update set seen_at = excluded.seen_at";

/// Updates only rows that differ, in the order of their keys: two nodes that update one person at
/// the same time never deadlock.
const RENAME: &str = "
with stale as (
  select session_id from members
  where kind = $1 and person_id = $2 and (name <> $3 or avatar_url is distinct from $4)
  order by session_id for no key update
)
update members m set name = $3, avatar_url = $4 from stale
where m.session_id = stale.session_id and m.kind = $1 and m.person_id = $2";

#[async_trait]
impl People for Postgres {
    async fn seen(&self, people: &[Person]) -> Result<(), StoreError> {
        let kinds: Vec<&str> = people.iter().map(|person| person.kind.as_str()).collect();
        let ids: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
        self.query(SEEN, &[&kinds, &ids]).await.map(drop)
    }

    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError> {
        let sql = "select seen_at from people_seen where kind = $1 and person_id = $2";
        let rows = self.query(sql, &[&person.kind.as_str(), &person.id.as_str()]).await?;
        rows.first().map(|row| rows::get(row, "seen_at")).transpose()
    }

    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError> {
        let avatar_url = avatar_url.map(AvatarUrl::as_str);
        let params: Params<'_> = &[&person.kind.as_str(), &person.id.as_str(), &name, &avatar_url];
        self.query(RENAME, params).await.map(drop)
    }
}
