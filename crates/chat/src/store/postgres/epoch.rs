//! The epoch, in PostgreSQL, and the server's lineage. By it each new connection detects another
//! server, or a new timeline after a promotion or a restore.

use async_trait::async_trait;
use deadpool_postgres::{ClientWrapper, Hook};
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_postgres::{SimpleQueryMessage, error::SqlState};
use uuid::Uuid;

use super::{Params, Postgres, rows};
use crate::store::epoch::{EPOCH, Epoch, Epochs, LAST_BEFORE};
use db::StoreError;
use db::postgres::fitness::SETTLE_TIMEOUT;
use model::{
    ids::{EpochId, SessionId},
    scope::Scope,
};

/// The system identifier, and the timeline of the next record of the write-ahead log. Null on a
/// standby, and before the migrations.
const LINEAGE: &str = "select case when to_regclass('epoch') is not null and not pg_is_in_recovery() \
    then (select system_identifier from pg_control_system()) || '/' \
      || left(pg_walfile_name(pg_current_wal_lsn()), 8) end";

/// $1 the stored id, $2 the new id, $3 the number to exceed. Numbers may have been given twice up
/// to a minute before.
const RENEW: &str = "update epoch set id = $2, number = greatest(number, $3) + 1, \
    cut_at = statement_timestamp() - interval '1 minute' where id = $1";

/// $1 the lineage, $2 the new id. The first lineage renews nothing: the history began there.
const NOTE_LINEAGE: &str = "update epoch set lineage = $1, \
      id = case when lineage is null then id else $2 end, \
      cut_at = case when lineage is null then cut_at \
        else statement_timestamp() - interval '1 minute' end, \
      number = case when lineage is null then number else number + 1 end \
    where lineage is distinct from $1 returning number";

/// Renews the epoch if a new connection's server has another lineage than the history, before the
/// connection is used. A server that hides its lineage, or a role that may not record it, is no
/// error: the hub's comparison and `frontdesk restored` remain.
pub(super) fn lineage_hook() -> Hook {
    Hook::async_fn(|client: &mut ClientWrapper, _| {
        Box::pin(async move {
            let noted = timeout(SETTLE_TIMEOUT, note_lineage(client)).await;
            if let Ok(Err(error)) = noted {
                let code = error.code().map(SqlState::code);
                tracing::warn!(
                    code,
                    "PostgreSQL lineage not stored; a restored history may go undetected"
                );
            }
            Ok(())
        })
    })
}

async fn note_lineage(client: &ClientWrapper) -> Result<(), tokio_postgres::Error> {
    let answer = client.simple_query(LINEAGE).await?;
    let lineage = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let Some(lineage) = lineage else { return Ok(()) };
    let known = "select lineage from epoch where lineage = $1";
    if client.query_opt(known, &[&lineage]).await?.is_some() {
        return Ok(());
    }
    let noted = client.query_opt(NOTE_LINEAGE, &[&lineage, &Uuid::new_v4()]).await?;
    let number = noted.map(|row| row.try_get::<_, i64>(0)).transpose()?;
    if let Some(number) = number.filter(|number| *number > 1) {
        tracing::warn!(
            epoch = number,
            "PostgreSQL was promoted or restored; epoch renewed, clients reload their sessions"
        );
    }
    Ok(())
}

#[async_trait]
impl Epochs for Postgres {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        let rows = self.db.query_at_once(EPOCH, &[]).await?;
        let row = rows.first().ok_or_else(rows::missing)?;
        let (number, id) = (rows::seq(row, "number")?, rows::epoch(row)?);
        Ok(Epoch { number, id, cut_at: rows::get(row, "cut_at")? })
    }

    async fn renew_epoch(&self, stored: EpochId, at_least: u64) -> Result<Epoch, StoreError> {
        let at_least = i64::try_from(at_least).unwrap_or(i64::MAX - 1);
        self.db.query_at_once(RENEW, &[&stored.0, &Uuid::new_v4(), &at_least]).await?;
        self.epoch().await
    }

    async fn last_before(
        &self,
        me: &Scope,
        id: SessionId,
        seq: u64,
        time: Timestamp,
    ) -> Result<u64, StoreError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let params: Params<'_> =
            &[&me.side.as_str(), &me.id.as_str(), &id.0, &seq, &time, &me.tenant.number()];
        let rows = self.db.query(LAST_BEFORE, params).await?;
        rows.first().map_or(Ok(0), |row| rows::seq(row, "seq"))
    }
}
