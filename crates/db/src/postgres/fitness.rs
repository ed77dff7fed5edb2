//! Fitness of the server: it accepts writes, and its connections keep prepared statements.
//!
//! After a failover open connections may stay with a server that is read-only by now. Queries on them succeed and
//! return old data. So the first sign of a failover makes all older connections stale. The pool opens new ones,
//! which resolves the server's name again, and rejects a read-only server.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_postgres::{HookError, Object, Pool};
use tokio::time::{error::Elapsed, timeout};
use tokio_postgres::Client;

use super::{
    durability::Found,
    failure::{Sign, classify, is_unprepared, sign, unavailable},
};
use crate::StoreError;

/// Time limit to set up a new connection, and the same for the check of prepared statements.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Rounds of the check: a pooler may give a transaction the same connection by chance.
const PREPARE_ROUNDS: u32 = 3;
/// Time for which a missed prepared statement counts before the next check.
const UNPREPARED_FOR: Duration = Duration::from_secs(10);

/// Minimum interval at which a time-out makes all connections stale. A wave of new connections would make a slow
/// server slower.
const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Reason why a node can't use the connected server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("it is read-only (SQLSTATE 25006): it is a replica, or has become one")]
    OnlyReads,
    #[error(
        "its connections lose their prepared statements: a pooler in transaction mode, such as \
         PgBouncer, stands before it; set POSTGRES_HOST and POSTGRES_PORT to PostgreSQL itself"
    )]
    Unprepared,
}

/// Findings about the server, shared by all pools of a node.
#[derive(Debug, Default)]
pub struct Fitness {
    pub(crate) durability: Found,
    only_reads: AtomicBool,
    /// Older connections are not used again.
    stale: Mutex<Option<Instant>>,
    /// Time of the last missed prepared statement.
    unprepared: Mutex<Option<Instant>>,
    /// Whether a connection was opened since the last check of prepared statements: a pooler may be in front of
    /// the server by now.
    unchecked: AtomicBool,
}

impl Fitness {
    /// Sets up a new connection. Rejects a read-only server.
    pub(crate) async fn settle(&self, client: &Client) -> Result<(), HookError> {
        let settled = timeout(SETTLE_TIMEOUT, self.durability.settle(client)).await;
        let only_reads = settled
            .map_err(|late| HookError::message(late.to_string()))?
            .map_err(HookError::Backend)?;
        self.note_only_reads(only_reads);
        if only_reads {
            return Err(HookError::message(Unfit::OnlyReads.to_string()));
        }
        self.unchecked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a connection with this time of creation is stale.
    pub(crate) fn is_stale(&self, created: Instant) -> bool {
        let stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.is_some_and(|stale| created <= stale)
    }

    /// Returns the connection to the pool, unless the failure may be the connection's own: it may be half open, or
    /// its server read-only. The pool opens a new one.
    pub(crate) fn settle_answer<T>(
        &self,
        outcome: Result<Result<T, tokio_postgres::Error>, Elapsed>,
        client: Object,
    ) -> Result<T, StoreError> {
        let outcome = outcome.map_err(unavailable).and_then(|answer| answer.map_err(classify));
        self.give_back(outcome, client)
    }

    /// The same for a classified outcome.
    pub fn give_back<T>(
        &self,
        outcome: Result<T, StoreError>,
        client: Object,
    ) -> Result<T, StoreError> {
        let Err(error) = &outcome else { return outcome };
        match sign(error) {
            Some(Sign::OnlyReads) => self.demoted(),
            Some(Sign::Leaving) => self.renew_at_times(),
            Some(Sign::Unprepared) => self.note_unprepared(),
            None => {}
        }
        if matches!(error, StoreError::Unavailable(_) | StoreError::Disk(_)) {
            drop(Object::take(client));
        }
        outcome
    }

    /// The server is read-only: connections to it are not used again.
    pub(crate) fn demoted(&self) {
        self.note_only_reads(true);
        self.renew();
    }

    fn renew(&self) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The same, but at most every [`RENEW_EVERY`]. The failed connection itself is closed in any case.
    fn renew_at_times(&self) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        if stale.is_none_or(|stale| stale.elapsed() >= RENEW_EVERY) {
            *stale = Some(Instant::now());
        }
    }

    fn note_only_reads(&self, only_reads: bool) {
        let before = self.only_reads.swap(only_reads, Ordering::Relaxed);
        if only_reads && !before {
            let reason = Unfit::OnlyReads;
            tracing::warn!(%reason, "PostgreSQL refuses writes; connections are replaced");
        } else if before && !only_reads {
            tracing::info!("PostgreSQL accepts writes again");
        }
    }

    /// Known reason why the server can't be used.
    pub(crate) fn unfit(&self) -> Option<Unfit> {
        if self.unprepared().is_some() {
            return Some(Unfit::Unprepared);
        }
        self.only_reads.load(Ordering::Relaxed).then_some(Unfit::OnlyReads)
    }

    fn unprepared(&self) -> Option<Instant> {
        *self.unprepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_unprepared(&self) {
        let mut unprepared = self.unprepared.lock().unwrap_or_else(PoisonError::into_inner);
        if unprepared.replace(Instant::now()).is_none() {
            let reason = Unfit::Unprepared;
            tracing::error!(%reason, "PostgreSQL unusable; the node is not ready");
        }
    }

    /// Rejects a server whose connections lose prepared statements. The check runs after such a loss, and after
    /// new connections were opened.
    pub(crate) async fn check_prepared(&self, pool: &Pool) -> Result<(), Unfit> {
        let last = self.unprepared();
        if last.is_some_and(|last| last.elapsed() < UNPREPARED_FOR) {
            return Err(Unfit::Unprepared);
        }
        if !self.unchecked.swap(false, Ordering::Relaxed) && last.is_none() {
            return Ok(());
        }
        match timeout(SETTLE_TIMEOUT, keeps_prepared(pool)).await {
            Ok(Ok(true)) => {
                let mut unprepared = self.unprepared.lock().unwrap_or_else(PoisonError::into_inner);
                if unprepared.take().is_some() {
                    tracing::info!("PostgreSQL keeps prepared statements again");
                }
                Ok(())
            }
            Ok(Ok(false)) => {
                self.note_unprepared();
                Err(Unfit::Unprepared)
            }
            // Unknown: all connections are in use, or the server is away.
            Ok(Err(_)) | Err(_) => {
                self.unchecked.store(true, Ordering::Relaxed);
                last.map_or(Ok(()), |_| Err(Unfit::Unprepared))
            }
        }
    }
}

/// Whether a prepared statement survives a transaction. A pooler in transaction mode reuses its most recent
/// connection, so another transaction keeps that one busy, and the statement is missed.
async fn keeps_prepared(pool: &Pool) -> Result<bool, StoreError> {
    let (one, other) = (pool.get().await, pool.get().await);
    let (one, other) = (one.map_err(unavailable)?, other.map_err(unavailable)?);
    for _ in 0..PREPARE_ROUNDS {
        let work = async {
            let statement = one.prepare("select 1").await?;
            other.batch_execute("begin").await?;
            let answered = one.query(&statement, &[]).await;
            other.batch_execute("rollback").await?;
            answered
        };
        match work.await {
            Ok(_) => {}
            Err(error) if is_unprepared(&error) => return Ok(false),
            Err(error) => return Err(classify(error)),
        }
    }
    Ok(true)
}
