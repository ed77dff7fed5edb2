//! Sessions, in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Sqlite, rows};
use crate::store::{
    participants::ParticipantTable,
    sessions::{
        Head, Listed, NewSession, PatchOutcome, SessionPage, SessionPatch, Sessions, sides,
    },
    sql,
};
use db::sqlite::{begin, numbered};
use db::{Database, StoreError};
use model::{
    ids::{EpochId, SessionId, SessionKey, TenantId},
    person::{Person, PersonId},
    scope::Scope,
    session::{Session, SessionStatus},
};

impl Sqlite {
    fn participants(&self) -> ParticipantTable {
        ParticipantTable(Database::Sqlite(Arc::clone(&self.db)))
    }
}

#[async_trait]
impl Sessions for Sqlite {
    async fn open_session(
        &self,
        me: &Scope,
        new: &NewSession,
    ) -> Result<(SessionId, bool), StoreError> {
        new.check(me)?;
        let (tenant, new) = (me.tenant, new.clone());
        self.db
            .write(move |db| {
                let (contact, agent) = (&new.contact.person.id, &new.agent.person.id);
                let transaction = begin(db)?;
                if let Some(id) = open_between(&transaction, tenant, contact, agent)? {
                    return Ok((id, false));
                }
                let tenant = tenant.number();
                let (contact, agent) = (contact.as_str(), agent.as_str());
                let (id, now) = (new.id.0.to_string(), rows::now().as_microsecond());
                transaction.execute(
                    "insert into sessions (tenant_id, id, customer_id, dentist_id, created_at, active_at) \
                     values (?5, ?1, ?2, ?3, ?4, ?4)",
                    params![id, contact, agent, now, tenant],
                )?;
                transaction.execute(
                    "insert into members (tenant_id, session_id, kind, person_id, name, avatar_url) \
                     values (?8, ?1, 'customer', ?2, ?3, ?4), (?8, ?1, 'dentist', ?5, ?6, ?7)",
                    params![
                        id,
                        contact,
                        new.contact.name,
                        new.contact.avatar_url(),
                        agent,
                        new.agent.name,
                        new.agent.avatar_url(),
                        tenant,
                    ],
                )?;
                transaction.commit()?;
                Ok((new.id, true))
            })
            .await
    }

    async fn open_between(
        &self,
        me: &Scope,
        other: &PersonId,
    ) -> Result<Option<SessionId>, StoreError> {
        let (me, other) = (me.clone(), other.clone());
        let found = move |db: &mut Connection| {
            let (contact, agent) = sides(me.side, &me.id, &other);
            open_between(db, me.tenant, contact, agent)
        };
        self.db.read(found).await
    }

    async fn session(&self, me: &Scope, id: SessionId) -> Result<Option<Session>, StoreError> {
        let person = me.clone();
        let mut session = self
            .db
            .read(move |db| {
                let me = person;
                let mut statement = db.prepare_cached(&numbered(sql::SESSION))?;
                let params =
                    params![me.side.as_str(), me.id.as_str(), id.0.to_string(), me.tenant.number()];
                statement.query_row(params, rows::session).optional()
            })
            .await?;
        self.participants()
            .complete(session.iter_mut().map(|session| (me.person(), session)))
            .await?;
        Ok(session)
    }

    async fn head(&self, me: &Scope, id: SessionId) -> Result<Option<(Head, EpochId)>, StoreError> {
        let me = me.clone();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(&numbered(sql::HEAD))?;
                let params =
                    params![me.side.as_str(), me.id.as_str(), id.0.to_string(), me.tenant.number()];
                let head =
                    statement.query_row(params, |row| Ok((rows::head(row)?, rows::epoch(row)?)));
                head.optional()
            })
            .await
    }

    async fn sessions(&self, me: &Scope, page: &SessionPage) -> Result<Listed, StoreError> {
        let (person, page) = (me.clone(), page.clone());
        let mut listed = self
            .db
            .read(move |db| {
                let me = person;
                let (active_at, id) =
                    page.after.unwrap_or((Timestamp::MAX, SessionId(Uuid::max())));
                let mut statement = db.prepare_cached(&numbered(sql::SESSIONS))?;
                let params = params![
                    me.side.as_str(),
                    me.id.as_str(),
                    page.status.map_or("", |status| status.as_str()),
                    active_at.as_microsecond(),
                    id.0.to_string(),
                    page.limit,
                    page.since.unwrap_or(Timestamp::UNIX_EPOCH).as_microsecond(),
                    me.tenant.number(),
                ];
                let rows = statement
                    .query_map(params, |row| Ok((rows::seq(row, "listed")?, rows::session(row)?)))?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                let listed = rows.first().map_or(0, |(listed, _)| *listed);
                let sessions: Vec<_> = rows.into_iter().map(|(_, session)| session).collect();
                Ok(Listed { is_cut: listed > sessions.len() as u64, sessions })
            })
            .await?;
        let views = listed.sessions.iter_mut().map(|session| (me.person(), session));
        self.participants().complete(views).await?;
        Ok(listed)
    }

    async fn heads(&self, keys: &[SessionKey]) -> Result<Vec<Head>, StoreError> {
        let keys = keys.to_vec();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(
                    "select tenant_id, id, last_seq, rev from sessions where tenant_id = ?2 and id = ?1",
                )?;
                let heads = keys.iter().map(|key| {
                    let params = params![key.id.0.to_string(), key.tenant.number()];
                    statement.query_row(params, rows::head).optional()
                });
                Ok(heads.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
            })
            .await
    }

    async fn members(&self, key: SessionKey) -> Result<Vec<Person>, StoreError> {
        self.participants().members(key).await
    }

    async fn set_session(
        &self,
        me: &Scope,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Option<PatchOutcome>, StoreError> {
        let person = me.clone();
        self.db.change(me, id, move |db| set_session(db, &person, id, &patch)).await
    }

    async fn views(&self, keys: &[SessionKey]) -> Result<Vec<(Person, Session)>, StoreError> {
        let keys = keys.to_vec();
        let mut views = self
            .db
            .read(move |db| {
                let of_session = "where me.tenant_id = $2 and me.session_id = $1";
                let mut statement = db.prepare_cached(&numbered(&format!(
                    "{}participants me {}{of_session}",
                    sql::VIEW,
                    sql::BESIDE_ME
                )))?;
                let mut views = Vec::new();
                for key in keys {
                    let view = |row: &Row<'_>| Ok((rows::me(row)?, rows::session(row)?));
                    let rows = statement
                        .query_map(params![key.id.0.to_string(), key.tenant.number()], view)?;
                    views.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
                }
                Ok(views)
            })
            .await?;
        self.participants().complete(views.iter_mut().map(|(me, session)| (&*me, session))).await?;
        Ok(views)
    }
}

/// A session before a change.
struct Before {
    status: SessionStatus,
    /// The columns `waiting`, `snoozed_until` and `assignee_id`.
    desk: (Option<String>, Option<i64>, Option<String>),
    agent_id: String,
}

/// As for PostgreSQL.
fn set_session(
    db: &mut Connection,
    me: &Scope,
    id: SessionId,
    patch: &SessionPatch,
) -> rusqlite::Result<Option<PatchOutcome>> {
    let transaction = begin(db)?;
    let (id, tenant) = (id.0.to_string(), me.tenant.number());
    let before = transaction
        .query_row(
            "select c.status, c.waiting, c.snoozed_until, c.assignee_id, c.dentist_id \
             from participants me join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id \
             where me.tenant_id = ?4 and me.kind = ?1 and me.person_id = ?2 and me.session_id = ?3",
            params![me.side.as_str(), me.id.as_str(), id, tenant],
            |row| {
                let desk =
                    (row.get("waiting")?, row.get("snoozed_until")?, row.get("assignee_id")?);
                Ok(Before {
                    status: rows::parsed(row, "status")?,
                    desk,
                    agent_id: row.get("dentist_id")?,
                })
            },
        )
        .optional()?;
    let Some(before) = before else { return Ok(None) };
    if let Some(assignee) = &patch.assignee
        && !transaction
            .prepare_cached(
                "select 1 from participants \
                 where tenant_id = ?3 and session_id = ?1 and kind = 'dentist' and person_id = ?2",
            )?
            .exists(params![id, assignee.as_str(), tenant])?
    {
        return Ok(Some(PatchOutcome::NoParticipant));
    }
    let muted = match patch.muted {
        Some(muted) => transaction.execute(
            "update members set muted = ?4 \
             where tenant_id = ?5 and kind = ?1 and person_id = ?2 and session_id = ?3 and muted <> ?4",
            params![me.side.as_str(), me.id.as_str(), id, muted, tenant],
        )?,
        None => 0,
    };
    let (mut status, mut desk) = (before.status, before.desk.clone());
    if let Some(wanted) = patch.status {
        status = wanted.plain();
        desk.0 = wanted.waiting().map(str::to_owned);
        desk.1 = patch.snoozed_until.map(Timestamp::as_microsecond);
    }
    if let Some(assignee) = &patch.assignee {
        desk.2 = Some(assignee.as_str().to_owned()).filter(|id| *id != before.agent_id);
    }
    let differs = status != before.status || desk != before.desk;
    let changed = differs
        && transaction.execute(
            "update sessions as c set status = ?2, waiting = ?4, snoozed_until = ?5, assignee_id = ?6, \
             rev = case when status = ?2 then rev else rev + 1 end \
             where tenant_id = ?3 and id = ?1 and (c.status = 'open' or ?2 = 'closed' \
               or not exists (select 1 from sessions o \
                 where o.tenant_id = c.tenant_id and o.customer_id = c.customer_id \
                 and o.dentist_id = c.dentist_id and o.status = 'open'))",
            params![id, status.as_str(), tenant, desk.0, desk.1, desk.2],
        )? > 0;
    transaction.commit()?;
    if status != before.status && !changed {
        return Ok(Some(PatchOutcome::AnotherIsOpen));
    }
    let is_plain = status != before.status;
    Ok(Some(PatchOutcome::Done { status: is_plain, desk: changed && !is_plain, muted: muted > 0 }))
}

fn open_between(
    db: &Connection,
    tenant: TenantId,
    contact: &PersonId,
    agent: &PersonId,
) -> rusqlite::Result<Option<SessionId>> {
    db.prepare_cached(
        "select id from sessions where tenant_id = ?3 and customer_id = ?1 and dentist_id = ?2 \
         and status = 'open'",
    )?
    .query_row((contact.as_str(), agent.as_str(), tenant.number()), |row| {
        rows::uuid(row, "id").map(SessionId)
    })
    .optional()
}
