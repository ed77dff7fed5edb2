//! The fitness of a server for a node: it takes writes, and its connections keep what they prepare.
//!
//! After a failover open connections may stay with a server that only reads by now. Look-ups on them succeed,
//! and show what is old. So the first sign of it makes every connection of before stale: the pool makes new
//! ones, which resolves the server's name again, and takes none that only reads.

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
use crate::store::StoreError;

/// How long a new connection may take to be set up, and how long the check of prepared statements may take.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the check looks: a pooler may give a transaction the same connection by chance.
const PREPARE_ROUNDS: u32 = 3;
/// How long a failure with a prepared statement counts before it is checked again.
const UNPREPARED_FOR: Duration = Duration::from_secs(10);

/// Silence makes all connections stale once in this time: a server that is slow is not made slower by a wave of
/// new ones.
const RENEW_EVERY: Duration = Duration::from_secs(30);

/// Why a node can't work with the server that it is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is read-only (SQLSTATE 25006): it is a replica, or has become one")]
    OnlyReads,
    #[error(
        "its connections lose their prepared statements: a pooler in transaction mode, such as \
         PgBouncer, stands before it; set POSTGRES_HOST and POSTGRES_PORT to PostgreSQL itself"
    )]
    Unprepared,
}

/// The findings about the server, shared by all pools of a node.
#[derive(Debug, Default)]
pub(super) struct Fitness {
    pub(super) durability: Found,
    only_reads: AtomicBool,
    /// Connections that were made before are not used again.
    stale: Mutex<Option<Instant>>,
    /// When a prepared statement was missed last.
    unprepared: Mutex<Option<Instant>>,
    /// A connection was made since prepared statements were checked: something may stand before the server by
    /// now.
    unchecked: AtomicBool,
}

impl Fitness {
    /// Sets up a new connection, and refuses one to a server that only reads.
    pub(super) async fn settle(&self, client: &Client) -> Result<(), HookError> {
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

    /// Whether a connection of this age is not to be used again.
    pub(super) fn is_stale(&self, created: Instant) -> bool {
        let stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.is_some_and(|stale| created <= stale)
    }

    /// Gives the connection back to the pool, unless the failure may be the connection's own: it may be
    /// half gone, or its server read-only by now. The pool makes a new one.
    pub(super) fn settle_answer<T>(
        &self,
        outcome: Result<Result<T, tokio_postgres::Error>, Elapsed>,
        client: Object,
    ) -> Result<T, StoreError> {
        let outcome = outcome.map_err(unavailable).and_then(|answer| answer.map_err(classify));
        self.give_back(outcome, client)
    }

    /// The same, of what is classified.
    pub(super) fn give_back<T>(
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

    /// The server only reads: connections to it are not used again.
    pub(super) fn demoted(&self) {
        self.note_only_reads(true);
        self.renew();
    }

    fn renew(&self) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The same, unless it was done lately. A connection that failed is not used again in any case.
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

    /// Why the server is of no use now, as far as that is known.
    pub(super) fn unfit(&self) -> Option<Unfit> {
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

    /// Refuses a server whose connections lose what they prepare. It is checked where one did, and where new
    /// ones were made.
    pub(super) async fn check_prepared(&self, pool: &Pool) -> Result<(), Unfit> {
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
            // It is not known: all connections are in use, or the server is away.
            Ok(Err(_)) | Err(_) => {
                self.unchecked.store(true, Ordering::Relaxed);
                last.map_or(Ok(()), |_| Err(Unfit::Unprepared))
            }
        }
    }
}

/// Whether a statement is there a transaction later. A pooler in transaction mode takes its most recent
/// connection for the next transaction: while that is kept busy by another one, the statement is missed.
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
