//! Members: opening sessions, status, marks, and the times when they were last seen.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Params, Postgres, rows};
use crate::{
    person::{Person, PersonKind},
    session::{EpochId, Session, SessionId, SessionStatus},
    store::{
        Delivered, DeliveryMarks, Head, Listed, NewSession, ReadMark, SessionPage, Set, Setting,
        Store, StoreError, sql,
    },
};

const OPEN: &str = "
with opened as (
  insert into sessions (id, customer_id, dentist_id, created_at, active_at)
  values ($1, $2, $5, now(), now())
  on conflict (tenant_id, customer_id, dentist_id) where status = 'open' do nothing
  returning id
), joined as (
  insert into members (session_id, kind, person_id, name, avatar_url)
  select opened.id, m.kind, m.person_id, m.name, m.avatar_url
  from opened, (values ('customer', $2, $3, $4), ('dentist', $5, $6, $7))
    as m(kind, person_id, name, avatar_url)
)
select id from opened";

const MARK_READ: &str = "
with target as (
  select me.session_id, me.kind, me.person_id, me.read_seq, least($4, c.last_seq) as wanted
  from members me join sessions c on c.id = me.session_id
  where me.kind = $1 and me.person_id = $2 and me.session_id = $3
  for update of me nowait
), moved as (
  update members m set read_seq = t.wanted from target t
  where m.session_id = t.session_id and m.kind = t.kind and m.person_id = t.person_id
    and t.wanted > t.read_seq
)
select greatest(read_seq, wanted) as seq, wanted > read_seq as moved from target";

const SET_SESSION: &str = "
with me as (
  select m.session_id, m.kind, m.person_id, m.muted, c.status
  from members m join sessions c on c.id = m.session_id
  where m.kind = $1 and m.person_id = $2 and m.session_id = $3
  for no key update of c, m nowait
), muting as (
  update members m set muted = $5::boolean from me
  where m.session_id = me.session_id and m.kind = me.kind and m.person_id = me.person_id
    and $5::boolean is not null and m.muted <> $5::boolean
  returning 1
), setting as (
  update sessions c set status = $4::text, rev = c.rev + 1 from me
  where c.id = me.session_id and $4::text <> '' and c.status <> $4::text
    and ($4::text = 'closed' or not exists (
      select from sessions o where o.tenant_id = c.tenant_id and o.customer_id = c.customer_id
        and o.dentist_id = c.dentist_id and o.status = 'open'))
  returning 1
)
select exists (select from setting) as status, exists (select from muting) as muted,
  me.status as before
from me";

/// Rows locked by other transactions are left out: one locked session delays only its own marks.
const MARK_DELIVERED: &str = "
with marks as (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
    as i(session_id, kind, person_id, seq)
), target as (
  select me.session_id, me.kind, me.person_id, least(i.seq, c.last_seq) as wanted
  from marks i
  join members me on me.session_id = i.session_id and me.kind = i.kind and me.person_id = i.person_id
  join sessions c on c.id = me.session_id
  for update of me skip locked
), moved as (
  update members m set delivered_seq = t.wanted from target t
  where m.session_id = t.session_id and m.kind = t.kind and m.person_id = t.person_id
    and t.wanted > m.delivered_seq
  returning m.session_id, m.kind, m.person_id, m.delivered_seq
)
select session_id, kind, person_id, coalesce(moved.delivered_seq, marks.seq) as seq,
  target.session_id is null as locked
from marks
join members using (session_id, kind, person_id)
left join target using (session_id, kind, person_id)
left join moved using (session_id, kind, person_id)
where target.session_id is null or moved.session_id is not null";

const SEEN: &str = "
insert into people_seen (kind, person_id, seen_at)
select kind, person_id, now() from unnest($1::text[], $2::text[]) as i(kind, person_id)
order by kind, person_id
on conflict (kind, person_id) do update set seen_at = excluded.seen_at";

impl Postgres {
    pub(super) async fn open_new(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError> {
        let (customer, dentist) = (&new.customer, &new.dentist);
        let params: Params<'_> = &[
            &new.id.0,
            &customer.person.id.as_str(),
            &customer.name,
            &customer.avatar_url(),
            &dentist.person.id.as_str(),
            &dentist.name,
            &dentist.avatar_url(),
        ];
        // The open session may be closed between the two statements: then the next try opens a new
        // one.
        loop {
            if !self.query(OPEN, params).await?.is_empty() {
                return Ok((new.id, true));
            }
            let found = self.open_between(&customer.person.id, &dentist.person.id).await?;
            if let Some(id) = found {
                return Ok((id, false));
            }
        }
    }

    pub(super) async fn head_of(
        &self,
        me: &Person,
        id: SessionId,
    ) -> Result<Option<(Head, EpochId)>, StoreError> {
        let params: Params<'_> = &[&me.kind.as_str(), &me.id.as_str(), &id.0];
        let rows = self.query(sql::HEAD, params).await?;
        rows.first().map(|row| Ok((rows::head(row)?, rows::epoch(row)?))).transpose()
    }

    pub(super) async fn sessions_of(
        &self,
        me: &Person,
        page: &SessionPage,
    ) -> Result<Listed, StoreError> {
        let (active_at, id) = page.after.unwrap_or((Timestamp::MAX, SessionId(Uuid::max())));
        let status = page.status.map_or("", |status| status.as_str());
        let (limit, since) = (i64::from(page.limit), page.since.unwrap_or(Timestamp::UNIX_EPOCH));
        let params: Params<'_> =
            &[&me.kind.as_str(), &me.id.as_str(), &status, &active_at, &id.0, &limit, &since];
        let rows = self.query(sql::SESSIONS, params).await?;
        let listed = rows.first().map(|row| rows::seq(row, "listed")).transpose()?.unwrap_or(0);
        let sessions: Vec<_> = rows.iter().map(rows::session).collect::<Result<_, _>>()?;
        Ok(Listed { is_cut: listed > sessions.len() as u64, sessions })
    }

    pub(super) async fn unread_of(&self, me: &Person) -> Result<Vec<(SessionId, u64)>, StoreError> {
        let rows = self.query(sql::UNREAD, &[&me.kind.as_str(), &me.id.as_str()]).await?;
        let unread = rows
            .iter()
            .map(|row| Ok((SessionId(rows::get(row, "session_id")?), rows::seq(row, "unread")?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(unread.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    pub(super) async fn move_read_mark(
        &self,
        me: &Person,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let params: Params<'_> = &[&me.kind.as_str(), &me.id.as_str(), &id.0, &seq];
        let rows = self.patiently(me, id, || self.query(MARK_READ, params)).await?;
        let mark =
            |row| Ok(ReadMark { seq: rows::seq(row, "seq")?, moved: rows::get(row, "moved")? });
        rows.first().map(mark).transpose()
    }

    pub(super) async fn set_session_of(
        &self,
        me: &Person,
        id: SessionId,
        setting: Setting,
    ) -> Result<Option<Set>, StoreError> {
        let status = setting.status.map_or("", SessionStatus::as_str);
        let params: Params<'_> =
            &[&me.kind.as_str(), &me.id.as_str(), &id.0, &status, &setting.muted];
        let rows = self.patiently(me, id, || self.query(SET_SESSION, params)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (changed, muted): (bool, bool) = (rows::get(row, "status")?, rows::get(row, "muted")?);
        let before: SessionStatus = rows::parsed(row, "before")?;
        Ok(Some(match setting.status {
            Some(wanted) if !changed && wanted != before => Set::AnotherIsOpen,
            _ => Set::Done { status: changed, muted },
        }))
    }

    pub(super) async fn views_of(
        &self,
        ids: &[SessionId],
    ) -> Result<Vec<(Person, Session)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = self.query(&format!("{}where c.id = any($1)", sql::VIEWS), &[&ids]).await?;
        rows.iter()
            .map(|row| {
                let session = rows::session(row)?;
                let me: PersonKind = rows::parsed(row, "my_kind")?;
                Ok((session.member(me).clone(), session))
            })
            .collect()
    }

    pub(super) async fn move_delivery_marks(
        &self,
        marks: &[Delivered],
    ) -> Result<DeliveryMarks, StoreError> {
        let ids: Vec<Uuid> = marks.iter().map(|mark| mark.session_id.0).collect();
        let kinds: Vec<&str> = marks.iter().map(|mark| mark.to.kind.as_str()).collect();
        let people: Vec<&str> = marks.iter().map(|mark| mark.to.id.as_str()).collect();
        let seqs: Vec<i64> =
            marks.iter().map(|mark| i64::try_from(mark.seq).unwrap_or(i64::MAX)).collect();
        let rows = self.query(MARK_DELIVERED, &[&ids, &kinds, &people, &seqs]).await?;
        let mut done = DeliveryMarks::default();
        for row in &rows {
            let mark = Delivered {
                session_id: SessionId(rows::get(row, "session_id")?),
                to: Person::new(rows::parsed(row, "kind")?, rows::parsed(row, "person_id")?),
                seq: rows::seq(row, "seq")?,
            };
            let locked: bool = rows::get(row, "locked")?;
            if locked { done.locked.push(mark) } else { done.moved.push(mark) }
        }
        Ok(done)
    }

    pub(super) async fn note_seen(&self, people: &[Person]) -> Result<(), StoreError> {
        let kinds: Vec<&str> = people.iter().map(|person| person.kind.as_str()).collect();
        let ids: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
        self.query(SEEN, &[&kinds, &ids]).await.map(drop)
    }

    pub(super) async fn seen_last(&self, person: &Person) -> Result<Option<Timestamp>, StoreError> {
        let sql = "select seen_at from people_seen where kind = $1 and person_id = $2";
        let rows = self.query(sql, &[&person.kind.as_str(), &person.id.as_str()]).await?;
        rows.first().map(|row| rows::get(row, "seen_at")).transpose()
    }
}
