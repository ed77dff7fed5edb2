//! The epoch, in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::{Sqlite, rows};
use crate::store::epoch::{EPOCH, Epoch, Epochs, LAST_BEFORE};
use db::StoreError;
use db::sqlite::{numbered, position};
use model::{
    ids::{EpochId, SessionId},
    scope::Scope,
};

/// ?1 the stored id, ?2 the new id, ?3 the number to exceed, ?4 now. Numbers may have been given
/// twice up to a minute before.
const RENEW: &str = "update epoch set id = ?2, number = max(number, ?3) + 1, cut_at = ?4 - 60000000 \
    where id = ?1";

#[async_trait]
impl Epochs for Sqlite {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.db.read(|db| read(db)).await
    }

    async fn renew_epoch(&self, stored: EpochId, at_least: u64) -> Result<Epoch, StoreError> {
        self.db
            .write(move |db| {
                let [stored, new] = [stored.0, Uuid::new_v4()].map(|id| id.simple().to_string());
                db.execute(RENEW, (stored, new, position(at_least), rows::now().as_microsecond()))?;
                read(db)
            })
            .await
    }

    async fn last_before(
        &self,
        me: &Scope,
        id: SessionId,
        seq: u64,
        time: Timestamp,
    ) -> Result<u64, StoreError> {
        let me = me.clone();
        self.db
            .read(move |db| {
                let (kind, person, id) = (me.side.as_str(), me.id.as_str(), id.0.to_string());
                let (seq, time) = (position(seq), time.as_microsecond());
                let params = (kind, person, id, seq, time, me.tenant.number());
                let mut statement = db.prepare_cached(&numbered(LAST_BEFORE))?;
                let found = statement.query_row(params, |row| rows::seq(row, "seq")).optional()?;
                Ok(found.unwrap_or(0))
            })
            .await
    }
}

fn read(db: &Connection) -> rusqlite::Result<Epoch> {
    db.prepare_cached(EPOCH)?.query_row([], |row: &Row<'_>| {
        Ok(Epoch {
            number: rows::seq(row, "number")?,
            id: rows::epoch(row)?,
            cut_at: rows::maybe_time(row, "cut_at")?,
        })
    })
}
