//! The audit log, in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{Sqlite, numbered, rows};
use crate::{
    audit::{Entry, NewEntry},
    person::Person,
    session::SessionId,
    store::{
        StoreError,
        audit::{ACTS, AuditLog, AuditPlace},
    },
};

#[async_trait]
impl AuditLog for Sqlite {
    async fn note_act(&self, entry: &NewEntry) -> Result<(), StoreError> {
        let entry = entry.clone();
        self.write(move |db| note(db, &entry)).await
    }

    async fn acts(&self, after: Option<&AuditPlace>, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let (at, id) = after.copied().unwrap_or((Timestamp::MAX, Uuid::max()));
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(ACTS))?;
            let place = params![at.as_microsecond(), id.to_string(), limit];
            statement.query_map(place, entry)?.collect()
        })
        .await
    }
}

/// Records an act in its transaction.
pub(super) fn note(db: &Connection, entry: &NewEntry) -> rusqlite::Result<()> {
    let (actor, user) = (&entry.actor, entry.user.as_ref());
    db.prepare_cached(
        "insert into audit (id, at, act, actor_kind, actor_id, user_kind, user_id, session_id, \
         message_id, address, request_id) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        entry.id.to_string(),
        rows::now().as_microsecond(),
        entry.act.as_str(),
        actor.person.kind.as_str(),
        actor.person.id.as_str(),
        user.map(|user| user.kind.as_str()),
        user.map(|user| user.id.as_str()),
        entry.message.map(|(session_id, _)| session_id.0.to_string()),
        entry.message.map(|(_, message_id)| message_id.to_string()),
        actor.address.to_string(),
        actor.request_id,
    ])
    .map(drop)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let maybe_id = |column| match row.get::<_, Option<String>>(column)? {
        Some(_) => rows::uuid(row, column).map(Some),
        None => Ok(None),
    };
    let user = match row.get::<_, Option<String>>("user_kind")? {
        Some(_) => {
            Some(Person::new(rows::parsed(row, "user_kind")?, rows::parsed(row, "user_id")?))
        }
        None => None,
    };
    Ok(Entry {
        id: rows::uuid(row, "id")?,
        at: rows::time(row, "at")?,
        actor: Person::new(rows::parsed(row, "actor_kind")?, rows::parsed(row, "actor_id")?),
        act: row.get("act")?,
        user,
        session_id: maybe_id("session_id")?.map(SessionId),
        message_id: maybe_id("message_id")?,
        address: row.get("address")?,
        request_id: row.get("request_id")?,
    })
}
