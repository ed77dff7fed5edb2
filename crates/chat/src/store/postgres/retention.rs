//! Expired data, in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use crate::store::retention::Retention;
use db::StoreError;

/// $1 minimum age in seconds, $2 limit.
const FORGET: &str = "
with old as (
  select tenant_id, session_id, seq, number from message_edits
  where replaced_at < statement_timestamp() - make_interval(secs => $1)
  order by replaced_at limit $2 for update skip locked
)
delete from message_edits e using old
where e.tenant_id = old.tenant_id and e.session_id = old.session_id and e.seq = old.seq and e.number = old.number
returning 1";

#[async_trait]
impl Retention for Postgres {
    async fn forget_past_bodies(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let rows = self.db.query(FORGET, &[&age.as_secs_f64(), &i64::from(limit)]).await?;
        Ok(rows.len() as u64)
    }
}
