//! Sessions, in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{Sqlite, begin, numbered, rows};
use crate::{
    person::{Person, PersonId, PersonKind},
    session::{EpochId, Session, SessionId, SessionStatus},
    store::{
        StoreError,
        sessions::{Head, Listed, NewSession, PatchOutcome, SessionPage, SessionPatch, Sessions},
        sql,
    },
};

#[async_trait]
impl Sessions for Sqlite {
    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError> {
        let new = new.clone();
        self.write(move |db| {
            let (customer, dentist) = (&new.customer.person.id, &new.dentist.person.id);
            let transaction = begin(db)?;
            if let Some(id) = open_between(&transaction, customer, dentist)? {
                return Ok((id, false));
            }
            let (customer, dentist) = (customer.as_str(), dentist.as_str());
            let (id, now) = (new.id.0.to_string(), rows::now().as_microsecond());
            transaction.execute(
                "insert into sessions (id, customer_id, dentist_id, created_at, active_at) \
                 values (?1, ?2, ?3, ?4, ?4)",
                params![id, customer, dentist, now],
            )?;
            transaction.execute(
                "insert into members (session_id, kind, person_id, name, avatar_url) \
                 values (?1, 'customer', ?2, ?3, ?4), (?1, 'dentist', ?5, ?6, ?7)",
                params![
                    id,
                    customer,
                    new.customer.name,
                    new.customer.avatar_url(),
                    dentist,
                    new.dentist.name,
                    new.dentist.avatar_url(),
                ],
            )?;
            transaction.commit()?;
            Ok((new.id, true))
        })
        .await
    }

    async fn open_between(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<Option<SessionId>, StoreError> {
        let (customer, dentist) = (customer.clone(), dentist.clone());
        self.read(move |db| open_between(db, &customer, &dentist)).await
    }

    async fn session(&self, me: &Person, id: SessionId) -> Result<Option<Session>, StoreError> {
        let me = me.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(sql::SESSION))?;
            let params = params![me.kind.as_str(), me.id.as_str(), id.0.to_string()];
            statement.query_row(params, rows::session).optional()
        })
        .await
    }

    async fn head(
        &self,
        me: &Person,
        id: SessionId,
    ) -> Result<Option<(Head, EpochId)>, StoreError> {
        let me = me.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(sql::HEAD))?;
            let params = params![me.kind.as_str(), me.id.as_str(), id.0.to_string()];
            let head = statement.query_row(params, |row| Ok((rows::head(row)?, rows::epoch(row)?)));
            head.optional()
        })
        .await
    }

    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Listed, StoreError> {
        let (me, page) = (me.clone(), page.clone());
        self.read(move |db| {
            let (active_at, id) = page.after.unwrap_or((Timestamp::MAX, SessionId(Uuid::max())));
            let mut statement = db.prepare_cached(&numbered(sql::SESSIONS))?;
            let params = params![
                me.kind.as_str(),
                me.id.as_str(),
                page.status.map_or("", |status| status.as_str()),
                active_at.as_microsecond(),
                id.0.to_string(),
                page.limit,
                page.since.unwrap_or(Timestamp::UNIX_EPOCH).as_microsecond(),
            ];
            let rows = statement
                .query_map(params, |row| Ok((rows::seq(row, "listed")?, rows::session(row)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let listed = rows.first().map_or(0, |(listed, _)| *listed);
            let sessions: Vec<_> = rows.into_iter().map(|(_, session)| session).collect();
            Ok(Listed { is_cut: listed > sessions.len() as u64, sessions })
        })
        .await
    }

    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<Head>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |db| {
            let mut statement =
                db.prepare_cached("select id, last_seq, rev from sessions where id = ?1")?;
            let heads =
                ids.iter().map(|id| statement.query_row([id.0.to_string()], rows::head).optional());
            Ok(heads.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
        .await
    }

    async fn set_session(
        &self,
        me: &Person,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Option<PatchOutcome>, StoreError> {
        let person = me.clone();
        self.change(me, id, move |db| {
            let transaction = begin(db)?;
            let id = id.0.to_string();
            let found: Option<String> = transaction
                .query_row(
                    "select c.status from members me join sessions c on c.id = me.session_id \
                     where me.kind = ?1 and me.person_id = ?2 and me.session_id = ?3",
                    params![person.kind.as_str(), person.id.as_str(), id],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(before) = found else { return Ok(None) };
            let muted = match patch.muted {
                Some(muted) => transaction.execute(
                    "update members set muted = ?4 \
                     where kind = ?1 and person_id = ?2 and session_id = ?3 and muted <> ?4",
                    params![person.kind.as_str(), person.id.as_str(), id, muted],
                )?,
                None => 0,
            };
            let wanted = patch.status.map(SessionStatus::as_str).filter(|wanted| *wanted != before);
            let status = match wanted {
                Some(wanted) => transaction.execute(
                    "update sessions as c set status = ?2, rev = rev + 1 where id = ?1 \
                     and (?2 = 'closed' or not exists (select 1 from sessions o \
                       where o.tenant_id = c.tenant_id and o.customer_id = c.customer_id \
                       and o.dentist_id = c.dentist_id and o.status = 'open'))",
                    params![id, wanted],
                )?,
                None => 0,
            };
            transaction.commit()?;
            if wanted.is_some() && status == 0 {
                return Ok(Some(PatchOutcome::AnotherIsOpen));
            }
            Ok(Some(PatchOutcome::Done { status: status > 0, muted: muted > 0 }))
        })
        .await
    }

    async fn views(&self, ids: &[SessionId]) -> Result<Vec<(Person, Session)>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |db| {
            let mut statement =
                db.prepare_cached(&numbered(&format!("{}where c.id = $1", sql::VIEWS)))?;
            let mut views = Vec::new();
            for id in ids {
                let rows = statement.query_map([id.0.to_string()], |row| {
                    let session = rows::session(row)?;
                    let me: PersonKind = rows::parsed(row, "my_kind")?;
                    Ok((session.member(me).clone(), session))
                })?;
                views.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            Ok(views)
        })
        .await
    }
}

fn open_between(
    db: &Connection,
    customer: &PersonId,
    dentist: &PersonId,
) -> rusqlite::Result<Option<SessionId>> {
    db.prepare_cached(
        "select id from sessions where tenant_id = 1 and customer_id = ?1 and dentist_id = ?2 \
         and status = 'open'",
    )?
    .query_row([customer.as_str(), dentist.as_str()], |row| rows::uuid(row, "id").map(SessionId))
    .optional()
}
