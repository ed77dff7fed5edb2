//! Expired data, in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::params;

use super::{Sqlite, rows};
use crate::store::retention::Retention;
use db::StoreError;

#[async_trait]
impl Retention for Sqlite {
    async fn forget_past_bodies(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let before = rows::now().saturating_sub(age).unwrap_or(Timestamp::MIN).as_microsecond();
        let sql = "delete from message_edits where rowid in ( \
                   select rowid from message_edits where replaced_at < ?1 \
                   order by replaced_at limit ?2)";
        let forgotten = self.db.write(move |db| db.execute(sql, params![before, limit])).await?;
        Ok(forgotten as u64)
    }
}
