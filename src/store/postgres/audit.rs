//! The audit log, in PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Params, Postgres, rows};
use crate::{
    audit::{Entry, NewEntry},
    person::Person,
    session::SessionId,
    store::{
        StoreError,
        audit::{ACTS, AuditLog, AuditPlace},
    },
};

const NOTE: &str = "insert into audit (id, act, actor_kind, actor_id, user_kind, user_id, session_id, \
    message_id, address, request_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

#[async_trait]
impl AuditLog for Postgres {
    async fn note_act(&self, entry: &NewEntry) -> Result<(), StoreError> {
        let (actor, user) = (&entry.actor, entry.user.as_ref());
        let params: Params<'_> = &[
            &entry.id,
            &entry.act.as_str(),
            &actor.person.kind.as_str(),
            &actor.person.id.as_str(),
            &user.map(|user| user.kind.as_str()),
            &user.map(|user| user.id.as_str()),
            &entry.message.map(|(session_id, _)| session_id.0),
            &entry.message.map(|(_, message_id)| message_id),
            &actor.address.to_string(),
            &actor.request_id,
        ];
        self.query(NOTE, params).await.map(drop)
    }

    async fn acts(&self, after: Option<&AuditPlace>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let (at, id) = after.copied().unwrap_or((Timestamp::MAX, Uuid::max()));
        let rows = self.query(ACTS, &[&at, &id, &i64::from(limit)]).await?;
        rows.iter().map(entry).collect()
    }
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    let user = match rows::get::<Option<&str>>(row, "user_kind")? {
        Some(_) => {
            Some(Person::new(rows::parsed(row, "user_kind")?, rows::parsed(row, "user_id")?))
        }
        None => None,
    };
    Ok(Entry {
        id: rows::get(row, "id")?,
        at: rows::get(row, "at")?,
        actor: Person::new(rows::parsed(row, "actor_kind")?, rows::parsed(row, "actor_id")?),
        act: rows::get(row, "act")?,
        user,
        session_id: rows::get::<Option<Uuid>>(row, "session_id")?.map(SessionId),
        message_id: rows::get(row, "message_id")?,
        address: rows::get(row, "address")?,
        request_id: rows::get(row, "request_id")?,
    })
}
