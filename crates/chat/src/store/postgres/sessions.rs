//! Sessions, in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Params, Postgres, rows};
use crate::store::{
    participants::ParticipantTable,
    sessions::{
        Head, Listed, NewSession, PatchOutcome, SessionPage, SessionPatch, Sessions, sides,
    },
    sql,
};
use db::{Database, StoreError};
use model::{
    ids::{EpochId, SessionId, SessionKey},
    person::{Person, PersonId, Side},
    scope::Scope,
    session::{DeskStatus, Session, SessionStatus},
};

const OPEN: &str = "
with opened as (
  insert into sessions (tenant_id, id, customer_id, dentist_id, created_at, active_at)
  values ($8, $1, $2, $5, now(), now())
  on conflict (tenant_id, customer_id, dentist_id) where status = 'open' do nothing
  returning id
), joined as (
  insert into members (tenant_id, session_id, kind, person_id, name, avatar_url)
  select $8, opened.id, m.kind, m.person_id, m.name, m.avatar_url
  from opened, (values ('customer', $2, $3, $4), ('dentist', $5, $6, $7))
    as m(kind, person_id, name, avatar_url)
)
select id from opened";

const OPEN_BETWEEN: &str = "select id from sessions \
    where tenant_id = $3 and customer_id = $1 and dentist_id = $2 and status = 'open'";

const HEADS: &str = "select c.tenant_id, c.id, c.last_seq, c.rev \
    from unnest($1::int[], $2::uuid[]) as k(tenant_id, id) \
    join sessions c on c.id = k.id and c.tenant_id = k.tenant_id";

/// Members of the sessions $2 of the tenants $1, between [`sql::VIEW`] and [`sql::BESIDE_ME`].
const VIEWERS: &str = "unnest($1::int[], $2::uuid[]) as k(tenant_id, session_id) \
    join participants me on me.tenant_id = k.tenant_id and me.session_id = k.session_id ";

/// $4 a status or '', $5 whether it is muted, $7 what it waits for, $8 when it wakes, $9 the assignee: nothing is changed
/// if that is none of the session's professionals. The revision stays if the customer shall notice no change.
const SET_SESSION: &str = "
with me as (
  select m.tenant_id, m.session_id, m.kind, m.person_id, c.status, c.waiting, c.snoozed_until, c.assignee_id, c.dentist_id
  from participants m join sessions c on c.tenant_id = m.tenant_id and c.id = m.session_id
  where m.tenant_id = $6 and m.kind = $1 and m.person_id = $2 and m.session_id = $3
  for no key update of c, m nowait
), wanted as (
  select me.tenant_id, me.session_id, coalesce(nullif($4::text, ''), me.status) as status,
    case $4::text when '' then me.waiting else $7::text end as waiting,
    case $4::text when '' then me.snoozed_until else $8::timestamptz end as snoozed_until,
    case when $9::text is null then me.assignee_id else nullif($9::text, me.dentist_id) end as assignee_id,
    $9::text is null or (select true from participants a
      where a.tenant_id = me.tenant_id and a.session_id = me.session_id and a.kind = 'dentist'
        and a.person_id = $9::text limit 1) is not null as is_participant
  from me
), muting as (
  update members m set muted = $5::boolean from me join wanted w using (tenant_id, session_id)
  where m.tenant_id = me.tenant_id and m.session_id = me.session_id and m.kind = me.kind and m.person_id = me.person_id
    and w.is_participant and $5::boolean is not null and m.muted <> $5::boolean
  returning 1
), setting as (
  update sessions c set status = w.status, waiting = w.waiting, snoozed_until = w.snoozed_until,
    assignee_id = w.assignee_id, rev = case when c.status = w.status then c.rev else c.rev + 1 end
  from wanted w
  where c.tenant_id = w.tenant_id and c.id = w.session_id and w.is_participant
    and (c.status, c.waiting, c.snoozed_until, c.assignee_id)
      is distinct from (w.status, w.waiting, w.snoozed_until, w.assignee_id)
    and (c.status = 'open' or w.status = 'closed' or (
      select true from sessions o where o.tenant_id = c.tenant_id and o.customer_id = c.customer_id
        and o.dentist_id = c.dentist_id and o.status = 'open' limit 1) is null)
  returning 1
)
select exists (select from setting) as changed, exists (select from muting) as muted,
  me.status as before, w.is_participant
from me join wanted w using (session_id)";

/// Tenants and ids of sessions, as `unnest` takes them.
fn columns(keys: &[SessionKey]) -> (Vec<i32>, Vec<Uuid>) {
    keys.iter().map(|key| (key.tenant.number(), key.id.0)).unzip()
}

impl Postgres {
    fn participants(&self) -> ParticipantTable {
        ParticipantTable(Database::Postgres(Arc::clone(&self.db)))
    }
}

#[async_trait]
impl Sessions for Postgres {
    async fn open_session(
        &self,
        me: &Scope,
        new: &NewSession,
    ) -> Result<(SessionId, bool), StoreError> {
        new.check(me)?;
        let (contact, agent) = (&new.contact, &new.agent);
        let params: Params<'_> = &[
            &new.id.0,
            &contact.person.id.as_str(),
            &contact.name,
            &contact.avatar_url(),
            &agent.person.id.as_str(),
            &agent.name,
            &agent.avatar_url(),
            &me.tenant.number(),
        ];
        // The open session may be closed between the two statements: then the next try opens a new
        // one.
        loop {
            if !self.db.query(OPEN, params).await?.is_empty() {
                return Ok((new.id, true));
            }
            let other = if me.side == Side::Contact { agent } else { contact };
            if let Some(id) = self.open_between(me, &other.person.id).await? {
                return Ok((id, false));
            }
        }
    }

    async fn open_between(
        &self,
        me: &Scope,
        other: &PersonId,
    ) -> Result<Option<SessionId>, StoreError> {
        let (contact, agent) = sides(me.side, &me.id, other);
        let params: Params<'_> = &[&contact.as_str(), &agent.as_str(), &me.tenant.number()];
        let rows = self.db.query(OPEN_BETWEEN, params).await?;
        rows.first().map(|row| Ok(SessionId(rows::get(row, "id")?))).transpose()
    }

    async fn session(&self, me: &Scope, id: SessionId) -> Result<Option<Session>, StoreError> {
        let params: Params<'_> = &[&me.side.as_str(), &me.id.as_str(), &id.0, &me.tenant.number()];
        let rows = self.db.query(sql::SESSION, params).await?;
        let mut session = rows.first().map(rows::session).transpose()?;
        self.participants()
            .complete(session.iter_mut().map(|session| (me.person(), session)))
            .await?;
        Ok(session)
    }

    async fn head(&self, me: &Scope, id: SessionId) -> Result<Option<(Head, EpochId)>, StoreError> {
        let params: Params<'_> = &[&me.side.as_str(), &me.id.as_str(), &id.0, &me.tenant.number()];
        let rows = self.db.query(sql::HEAD, params).await?;
        rows.first().map(|row| Ok((rows::head(row)?, rows::epoch(row)?))).transpose()
    }

    async fn sessions(&self, me: &Scope, page: &SessionPage) -> Result<Listed, StoreError> {
        let (active_at, id) = page.after.unwrap_or((Timestamp::MAX, SessionId(Uuid::max())));
        let status = page.status.map_or("", |status| status.as_str());
        let (limit, since) = (i64::from(page.limit), page.since.unwrap_or(Timestamp::UNIX_EPOCH));
        let params: Params<'_> = &[
            &me.side.as_str(),
            &me.id.as_str(),
            &status,
            &active_at,
            &id.0,
            &limit,
            &since,
            &me.tenant.number(),
        ];
        let rows = self.db.query(sql::SESSIONS, params).await?;
        let listed = rows.first().map(|row| rows::seq(row, "listed")).transpose()?.unwrap_or(0);
        let mut sessions: Vec<_> = rows.iter().map(rows::session).collect::<Result<_, _>>()?;
        self.participants()
            .complete(sessions.iter_mut().map(|session| (me.person(), session)))
            .await?;
        Ok(Listed { is_cut: listed > sessions.len() as u64, sessions })
    }

    async fn heads(&self, keys: &[SessionKey]) -> Result<Vec<Head>, StoreError> {
        let (tenants, ids) = columns(keys);
        self.db.query(HEADS, &[&tenants, &ids]).await?.iter().map(rows::head).collect()
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
        let status = patch.status.map_or("", |status| status.plain().as_str());
        let params: Params<'_> = &[
            &me.side.as_str(),
            &me.id.as_str(),
            &id.0,
            &status,
            &patch.muted,
            &me.tenant.number(),
            &patch.status.and_then(DeskStatus::waiting),
            &patch.snoozed_until,
            &patch.assignee.as_ref().map(PersonId::as_str),
        ];
        let rows = self.db.retry_contended(me, id, || self.db.query(SET_SESSION, params)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (changed, muted): (bool, bool) = (rows::get(row, "changed")?, rows::get(row, "muted")?);
        let before: SessionStatus = rows::parsed(row, "before")?;
        if !rows::get::<bool>(row, "is_participant")? {
            return Ok(Some(PatchOutcome::NoParticipant));
        }
        Ok(Some(match patch.status.map(DeskStatus::plain) {
            Some(wanted) if !changed && wanted != before => PatchOutcome::AnotherIsOpen,
            wanted => {
                let status = wanted.is_some_and(|wanted| wanted != before);
                PatchOutcome::Done { status, desk: changed && !status, muted }
            }
        }))
    }

    async fn views(&self, keys: &[SessionKey]) -> Result<Vec<(Person, Session)>, StoreError> {
        let (tenants, ids) = columns(keys);
        let rows = self
            .db
            .query(&format!("{}{VIEWERS}{}", sql::VIEW, sql::BESIDE_ME), &[&tenants, &ids])
            .await?;
        let view = |row| Ok((rows::me(row)?, rows::session(row)?));
        let mut views = rows.iter().map(view).collect::<Result<Vec<_>, StoreError>>()?;
        self.participants().complete(views.iter_mut().map(|(me, session)| (&*me, session))).await?;
        Ok(views)
    }
}
