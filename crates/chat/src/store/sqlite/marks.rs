//! Marks of members, in SQLite.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::{Sqlite, rows};
use crate::store::{
    marks::{DeliveryMarks, Marks, ReadMark},
    sql,
};
use db::StoreError;
use db::sqlite::{begin, numbered, position};
use model::{ids::SessionId, scope::Scope, session::Delivered};

#[async_trait]
impl Marks for Sqlite {
    async fn unread(&self, me: &Scope) -> Result<Vec<(SessionId, u64)>, StoreError> {
        let me = me.clone();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(&numbered(sql::UNREAD))?;
                let params = params![me.side.as_str(), me.id.as_str(), me.tenant.number()];
                let unread = statement.query_map(params, rows::numbered_session)?;
                let unread = unread.collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(unread.into_iter().filter(|(_, count)| *count > 0).collect())
            })
            .await
    }

    async fn mark_read(
        &self,
        me: &Scope,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError> {
        let person = me.clone();
        self.db.change(me, id, move |db| {
            let transaction = begin(db)?;
            let tenant = person.tenant.number();
            let member = params![person.side.as_str(), person.id.as_str(), id.0.to_string(), tenant];
            let found: Option<(i64, i64)> = transaction
                .query_row(
                    "select me.read_seq, c.last_seq from participants me \
                     join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id \
                     where me.tenant_id = ?4 and me.kind = ?1 and me.person_id = ?2 and me.session_id = ?3",
                    member,
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            let Some((read_seq, last_seq)) = found else { return Ok(None) };
            let wanted = position(seq).min(last_seq);
            let moved = wanted > read_seq;
            if moved {
                transaction.execute(
                    "update members set read_seq = ?4 \
                     where tenant_id = ?5 and kind = ?1 and person_id = ?2 and session_id = ?3",
                    params![person.side.as_str(), person.id.as_str(), id.0.to_string(), wanted, tenant],
                )?;
            }
            transaction.commit()?;
            Ok(Some(ReadMark { seq: wanted.max(read_seq).unsigned_abs(), moved }))
        })
        .await
    }

    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError> {
        let marks = marks.to_vec();
        self.db.write(move |db| {
            let transaction = begin(db)?;
            let mut moved = Vec::new();
            for mark in marks {
                let seq: Option<i64> = transaction
                    .prepare_cached(
                        "update members as m set delivered_seq = \
                           (select min(?4, c.last_seq) from sessions c where c.tenant_id = ?5 and c.id = ?3) \
                         where tenant_id = ?5 and kind = ?1 and person_id = ?2 and session_id = ?3 and left_at is null and delivered_seq < \
                           (select min(?4, c.last_seq) from sessions c where c.tenant_id = ?5 and c.id = ?3) \
                         returning delivered_seq",
                    )?
                    .query_row(
                        params![
                            mark.to.side.as_str(),
                            mark.to.id.as_str(),
                            mark.session_id.0.to_string(),
                            position(mark.seq),
                            mark.to.tenant.number()
                        ],
                        |row| row.get(0),
                    )
                    .optional()?;
                moved.extend(seq.map(|seq| Delivered { seq: seq.unsigned_abs(), ..mark.clone() }));
            }
            transaction.commit()?;
            Ok(DeliveryMarks { moved, locked: Vec::new() })
        })
        .await
    }
}
