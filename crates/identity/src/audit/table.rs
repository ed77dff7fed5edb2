//! The table of the audit log. It is append-only: in both databases a trigger rejects changes and
//! removals of rows.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Entry, NewEntry};
use crate::rows::tenant;
use db::{
    Database, StoreError,
    text::{Row, Statement},
};
use model::{ids::SessionId, person::Person, scope::AdminScope};

/// Position in the log.
pub type AuditPlace = (Timestamp, Uuid);

/// $11 the actor's tenant.
const NOTE: &str = "insert into audit (tenant_id, id, at, act, actor_kind, actor_id, user_kind, user_id, \
    session_id, message_id, address, request_id) \
    values ($11, $1, {now}, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id";

/// $1 time of the last entry, $2 its id, $3 the limit, $4 the tenant.
const ACTS: &str = "select cast(tenant_id as bigint) as tenant, id, at, actor_kind, actor_id, act, user_kind, user_id, \
    session_id, message_id, address, request_id \
    from audit where tenant_id = $4 and (at, id) < ($1, $2) order by at desc, id desc limit $3";

/// Records an act, in the transaction of the act itself.
pub fn note(entry: &NewEntry) -> Statement {
    let (actor, user) = (&entry.actor, entry.user.as_ref());
    let params = [
        entry.id.into(),
        entry.act.as_str().into(),
        actor.scope.side.as_str().into(),
        actor.scope.id.as_str().into(),
        user.map(|user| user.side.as_str()).into(),
        user.map(|user| user.id.as_str()).into(),
        entry.session_id.map(|id| id.0).into(),
        entry.message_id.into(),
        actor.address.to_string().into(),
        actor.request_id.as_str().into(),
        actor.scope.tenant.number().into(),
    ];
    Statement::new(NOTE, params)
}

/// The audit log in the database.
#[derive(Clone, Debug)]
pub struct AuditTable(pub Database);

impl AuditTable {
    /// Records an act that changes nothing else in the database.
    pub async fn note_act(&self, entry: &NewEntry) -> Result<(), StoreError> {
        self.0.write(note(entry)).await.map(drop)
    }

    /// Acts in the admin's tenant, the latest first.
    pub async fn acts(
        &self,
        admin: &AdminScope,
        after: Option<&AuditPlace>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let (at, id) = after.copied().unwrap_or((Timestamp::MAX, Uuid::max()));
        let place = [at.into(), id.into(), limit.into(), admin.tenant.number().into()];
        self.0.read(Statement::new(ACTS, place)).await?.iter().map(entry).collect()
    }
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    let tenant = tenant(row)?;
    let user = match row.get::<Option<String>>("user_kind")? {
        Some(_) => Some(Person::new(tenant, row.parsed("user_kind")?, row.parsed("user_id")?)),
        None => None,
    };
    Ok(Entry {
        id: row.get("id")?,
        at: row.get("at")?,
        actor: Person::new(tenant, row.parsed("actor_kind")?, row.parsed("actor_id")?),
        act: row.get("act")?,
        user,
        session_id: row.get::<Option<Uuid>>("session_id")?.map(SessionId),
        message_id: row.get("message_id")?,
        address: row.get("address")?,
        request_id: row.get("request_id")?,
    })
}
