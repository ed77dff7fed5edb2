//! Marks of members, in PostgreSQL.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Params, Postgres, rows};
use crate::store::{
    marks::{DeliveryMarks, Marks, ReadMark},
    sql,
};
use db::StoreError;
use model::{ids::SessionId, person::Person, scope::Scope, session::Delivered};

/// To the end, all of the other side's messages are read; up to an earlier position they are counted, each once.
const MARK_READ: &str = "
with target as (
  select me.tenant_id, me.session_id, me.kind, me.person_id, me.read_seq, me.read_messages, least($4, c.last_seq) as wanted,
    case when $4 >= c.last_seq then
      case me.kind when 'customer' then c.last_seq - c.contact_messages else c.contact_messages end end as others
  from participants me join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id
  where me.tenant_id = $5 and me.kind = $1 and me.person_id = $2 and me.session_id = $3
  for update of me nowait
), moved as (
  update members m set read_seq = t.wanted, read_messages = coalesce(t.others, t.read_messages + (
    select count(*) from messages u
    where u.tenant_id = t.tenant_id and u.session_id = t.session_id and u.sender_kind <> t.kind
      and u.seq > t.read_seq and u.seq <= t.wanted))
  from target t
  where m.tenant_id = t.tenant_id and m.session_id = t.session_id and m.kind = t.kind
    and m.person_id = t.person_id and t.wanted > t.read_seq
)
select greatest(read_seq, wanted) as seq, wanted > read_seq as moved from target";

/// Maximum of marks in a statement: it locks the rows of all.
const MARKS_AT_ONCE: usize = 100;

/// Rows locked by other transactions are left out: one locked session delays only its own marks.
const MARK_DELIVERED: &str = "
with looked as materialized (
  select i.*, least(i.seq, c.last_seq) as wanted, me.delivered_seq, me.delivered_seq is null as locked
  from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::int[])
    as i(session_id, kind, person_id, seq, tenant_id)
  join participants p using (session_id, kind, person_id, tenant_id)
  join sessions c on c.tenant_id = i.tenant_id and c.id = i.session_id
  left join lateral (
    select m.delivered_seq from members m
    where m.tenant_id = i.tenant_id and m.session_id = i.session_id and m.kind = i.kind
      and m.person_id = i.person_id and m.left_at is null
    for no key update skip locked) me on true
), moved as (
  update members m set delivered_seq = l.wanted from looked l
  where m.tenant_id = l.tenant_id and m.session_id = l.session_id and m.kind = l.kind
    and m.person_id = l.person_id and l.wanted > l.delivered_seq
)
select session_id, kind, person_id, tenant_id, case when locked then seq else wanted end as seq, locked
from looked where locked or wanted > delivered_seq";

#[async_trait]
impl Marks for Postgres {
    async fn unread(&self, me: &Scope) -> Result<Vec<(SessionId, u64)>, StoreError> {
        let rows = self
            .db
            .query(sql::UNREAD, &[&me.side.as_str(), &me.id.as_str(), &me.tenant.number()])
            .await?;
        let unread = rows
            .iter()
            .map(|row| Ok((SessionId(rows::get(row, "session_id")?), rows::seq(row, "unread")?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(unread.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    async fn mark_read(
        &self,
        me: &Scope,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let params: Params<'_> =
            &[&me.side.as_str(), &me.id.as_str(), &id.0, &seq, &me.tenant.number()];
        let rows = self.db.retry_contended(me, id, || self.db.query(MARK_READ, params)).await?;
        let mark =
            |row| Ok(ReadMark { seq: rows::seq(row, "seq")?, moved: rows::get(row, "moved")? });
        rows.first().map(mark).transpose()
    }

    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError> {
        let mut done = DeliveryMarks::default();
        for marks in marks.chunks(MARKS_AT_ONCE) {
            self.mark_some(marks, &mut done).await?;
        }
        Ok(done)
    }
}

impl Postgres {
    async fn mark_some(
        &self,
        marks: &[Delivered],
        done: &mut DeliveryMarks,
    ) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = marks.iter().map(|mark| mark.session_id.0).collect();
        let kinds: Vec<&str> = marks.iter().map(|mark| mark.to.side.as_str()).collect();
        let people: Vec<&str> = marks.iter().map(|mark| mark.to.id.as_str()).collect();
        let seqs: Vec<i64> =
            marks.iter().map(|mark| i64::try_from(mark.seq).unwrap_or(i64::MAX)).collect();
        let tenants: Vec<i32> = marks.iter().map(|mark| mark.to.tenant.number()).collect();
        let rows = self.db.query(MARK_DELIVERED, &[&ids, &kinds, &people, &seqs, &tenants]).await?;
        for row in &rows {
            let mark = Delivered {
                session_id: SessionId(rows::get(row, "session_id")?),
                to: Person::new(
                    rows::tenant(row, "tenant_id")?,
                    rows::parsed(row, "kind")?,
                    rows::parsed(row, "person_id")?,
                ),
                seq: rows::seq(row, "seq")?,
            };
            let locked: bool = rows::get(row, "locked")?;
            if locked { done.locked.push(mark) } else { done.moved.push(mark) }
        }
        Ok(())
    }
}
