//! The database's copies of names and avatars, and the times when people were last connected.

use std::collections::BTreeMap;

use jiff::Timestamp;

use db::{Database, StoreError, text::Statement};
use model::{ids::TenantId, person::Person, profile::AvatarUrl};

/// $1 people as `customer:id`, $2 their tenant. They are written in one order, so that two nodes never deadlock.
const SEEN: &str = "insert into people_seen (tenant_id, kind, person_id, seen_at) \
    select cast($2 as integer), kind, substr(value, length(kind) + 2), {now} from ( \
      select value, case substr(value, 1, 1) when 'c' then 'customer' else 'dentist' end as kind \
      from {each:$1}) people \
    where true order by value \
    on conflict (tenant_id, kind, person_id) do update set seen_at = excluded.seen_at";

/// $1, $2 the person, $3 the tenant.
const LAST_SEEN: &str = "select seen_at from people_seen \
    where tenant_id = $3 and kind = $1 and person_id = $2";

/// Updates only rows that differ: most directory look-ups bring nothing new. Rows are locked in the order
/// of their keys: two nodes that update one person at the same time never deadlock.
const RENAME: &str = "update members set name = $3, avatar_url = $4 \
    where tenant_id = $5 and kind = $1 and person_id = $2 and session_id in ( \
      select session_id from members where tenant_id = $5 and kind = $1 and person_id = $2 \
        and (name <> $3 or avatar_url is distinct from $4) \
      order by session_id {for_no_key_update})";

/// People as `customer:id`, each once, by their tenants.
pub fn by_tenant(people: &[Person]) -> BTreeMap<TenantId, Vec<String>> {
    let mut tenants: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
    for Person { tenant, side, id } in people {
        let name = format!("{}:{}", side.as_str(), id.as_str());
        tenants.entry(*tenant).or_default().push(name);
    }
    for names in tenants.values_mut() {
        names.sort_unstable();
        names.dedup();
    }
    tenants
}

/// The people in the database.
#[derive(Clone, Debug)]
pub struct PeopleTable(pub Database);

impl PeopleTable {
    /// Records that these people are connected now, or were until now.
    pub async fn seen(&self, people: &[Person]) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for (tenant, people) in by_tenant(people) {
            let params = [people.into(), tenant.number().into()];
            // An error of one tenant does not stop the others.
            if let Err(error) = self.0.write(Statement::new(SEEN, params)).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Time when someone was last connected.
    pub async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError> {
        let tenant = person.tenant.number().into();
        let params = [person.side.as_str().into(), person.id.as_str().into(), tenant];
        let rows = self.0.read(Statement::new(LAST_SEEN, params)).await?;
        rows.first().map(|row| row.get("seen_at")).transpose()
    }

    /// Updates a person's name and avatar in all their sessions.
    pub async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError> {
        let params = [
            person.side.as_str().into(),
            person.id.as_str().into(),
            name.into(),
            avatar_url.map(AvatarUrl::as_str).into(),
            person.tenant.number().into(),
        ];
        self.0.write(Statement::new(RENAME, params)).await.map(drop)
    }
}
