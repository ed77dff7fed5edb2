//! Names and avatars of people, as last read from the directory.

use super::{Params, Postgres, StoreError};
use crate::person::{AvatarUrl, Person};

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

pub(super) async fn rename(
    store: &Postgres,
    person: &Person,
    name: &str,
    avatar_url: Option<&AvatarUrl>,
) -> Result<(), StoreError> {
    let avatar_url = avatar_url.map(AvatarUrl::as_str);
    let params: Params<'_> = &[&person.kind.as_str(), &person.id.as_str(), &name, &avatar_url];
    store.query(RENAME, params).await.map(drop)
}
