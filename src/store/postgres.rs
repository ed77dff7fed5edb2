//! PostgreSQL: the pool, and the statements in its own dialect.

mod audit;
mod blocks;
pub(crate) mod config;
mod connect;
pub(crate) mod durability;
mod encoding;
mod encryption;
mod epoch;
mod failure;
mod fitness;
mod language;
mod marks;
mod messages;
mod node_role;
mod openings;
mod people;
mod permits;
mod push_jobs;
mod retention;
mod retries;
mod rows;
mod search;
mod search_queue;
mod server;
mod sessions;
mod uploads;

use std::{borrow::Cow, sync::Arc, time::Duration};

use anyhow::Context;
use deadpool_postgres::{Object, Pool};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};
use tokio_postgres::{Row, types::ToSql};

use self::{
    config::PostgresConfig, durability::Durability, failure::unavailable, fitness::Fitness,
    search::SearchPool,
};
use super::{StoreError, changes::Changes};
use crate::{platform::tls::Tls, store::counts::DatabaseCounts};

/// The node's time limit of one query or transaction.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The database cancels a statement before the node gives it up: a missing answer is then a sign of
/// a server that has gone.
const _: () =
    assert!(connect::SERVER_STATEMENT_TIMEOUT.as_millis() < STATEMENT_TIMEOUT.as_millis());

/// Connections of the pool that queries leave free: two for the writer, one for the health checks.
/// Sends are committed however many people read.
const RESERVED_CONNECTIONS: usize = 3;

/// Maximum of concurrent changes of messages.
const MAX_CONCURRENT_AMENDS: usize = 4;

/// The production store.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: Pool,
    /// One permit for each connection that queries may use.
    reads: Semaphore,
    /// One permit for each change of a message. A change may wait for the lock of its message's row,
    /// and holds a connection meanwhile.
    amends: Semaphore,
    changes: Changes,
    fitness: Arc<Fitness>,
    search: SearchPool,
    /// Notified when a text is committed that has to be indexed.
    text_committed: Notify,
    counts: DatabaseCounts,
    append: Cow<'static, str>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Postgres {
    /// Connects, waits for a database that is still starting, and migrates it.
    pub(crate) async fn open(config: &PostgresConfig, language: &str) -> anyhow::Result<Self> {
        let config = &encryption::agree(config).await?;
        let fitness = Arc::<Fitness>::default();
        let shared = SearchPool::general_size(config.pool_size);
        let pool = connect::builder(config, &fitness, shared, "")?;
        let pool = pool.post_create(epoch::lineage_hook()).build()?;
        drop(connect::first_client(&pool).await?);
        fitness.check_prepared(&pool).await.context("PostgreSQL can't be used")?;
        connect::migrate(&pool).await?;
        // The smallest pool keeps one connection for reads; the writer's lanes then share one.
        let reads = Semaphore::new(shared.saturating_sub(RESERVED_CONNECTIONS).max(1));
        let (amends, changes) = (Semaphore::new(MAX_CONCURRENT_AMENDS), Changes::default());
        let (append, counts) = (messages::APPEND.into(), DatabaseCounts::default());
        let (search, text_committed) = (SearchPool::open(config, &fitness)?, Notify::new());
        let postgres =
            Self { pool, reads, amends, changes, fitness, search, text_committed, counts, append };
        postgres.set_search_language(language).await?;
        Ok(postgres)
    }

    /// Checks the connection and describes the server. Changes nothing there.
    pub(crate) async fn probe(
        config: &PostgresConfig,
        language: &str,
    ) -> anyhow::Result<(String, Option<Durability>)> {
        let config = &encryption::try_to_agree(config).await?;
        let fitness = Arc::<Fitness>::default();
        let pool = connect::pool(config, &fitness, 2, "")?;
        drop(pool.get().await?);
        fitness.check_prepared(&pool).await?;
        let found = connect::describe(&pool, language).await?;
        let way = if config.tls == Tls::Off { "plain text" } else { "TLS" };
        Ok((format!("{found}, {way}"), fitness.durability.get()))
    }

    /// Replaces the counters.
    pub(crate) fn with_counts(self, counts: DatabaseCounts) -> Self {
        Self { counts, ..self }
    }

    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let _permit = self.read_permit().await?;
        self.query_at_once(sql, params).await
    }

    /// Runs a query without waiting for a read permit.
    async fn query_at_once(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        let began = Instant::now();
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let outcome = timeout(STATEMENT_TIMEOUT, rows).await;
        self.counts.query.took(began.elapsed());
        self.fitness.settle_answer(outcome, client).inspect_err(|error| self.counts.failed(error))
    }

    async fn client(&self) -> Result<Object, StoreError> {
        let began = Instant::now();
        let client = self.pool.get().await.map_err(unavailable);
        self.counts.connection.took(began.elapsed());
        client.inspect_err(|error| self.counts.failed(error))
    }
}
