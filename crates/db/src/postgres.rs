//! PostgreSQL: the pool, the time limits and permits of its statements, and the fitness of the server.

pub mod config;
pub mod connect;
pub mod durability;
mod encoding;
mod encryption;
pub mod failure;
pub mod fitness;
mod keys;
mod language;
mod migrations;
mod node_role;
mod permits;
pub mod retries;
pub mod rows;
mod server;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use deadpool_postgres::{Hook, Object, Pool};
use tokio::{
    sync::Semaphore,
    time::{Instant, error::Elapsed, timeout},
};
use tokio_postgres::{Row, types::ToSql};

use self::{
    config::PostgresConfig, durability::Durability, failure::unavailable, fitness::Fitness,
};
use crate::{StoreError, changes::Changes, counts::DatabaseCounts};
use platform::tls::Tls;

/// The node's time limit of one query or transaction.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The database cancels a statement before the node gives it up: a missing answer is then a sign of
/// a server that has gone.
const _: () =
    assert!(connect::SERVER_STATEMENT_TIMEOUT.as_millis() < STATEMENT_TIMEOUT.as_millis());

/// Connections of the pool that queries leave free: two for the writer, one for the health checks.
/// Sends are committed however many people read.
const RESERVED_CONNECTIONS: usize = 3;

/// A handle of one database: its pool, shared by all that reads and writes there.
#[derive(Debug)]
pub struct Postgres {
    pool: Pool,
    /// One permit for each connection that queries may use.
    reads: Semaphore,
    changes: Changes,
    /// Fitness of the server, shared with further pools.
    pub fitness: Arc<Fitness>,
    /// Times and errors of the statements.
    pub counts: DatabaseCounts,
}

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// How to open a database.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Address, role and size of the pool. See [`Postgres::agree`].
    pub config: &'a PostgresConfig,
    /// Connections of this pool. Further pools have the rest.
    pub pool_size: usize,
    /// Runs on each new connection.
    pub on_connect: Hook,
    /// Language by which words are reduced for search.
    pub search_language: &'a str,
    /// Times and errors of the statements.
    pub counts: DatabaseCounts,
}

impl Postgres {
    /// The configuration with the detected TLS mode. Waits for a database that is still starting.
    pub async fn agree(config: &PostgresConfig) -> anyhow::Result<PostgresConfig> {
        encryption::agree(config).await
    }

    /// Connects, waits for a database that is still starting, and migrates it.
    pub async fn open(opening: Opening<'_>) -> anyhow::Result<Self> {
        let Opening { config, pool_size, on_connect, search_language, counts } = opening;
        let fitness = Arc::<Fitness>::default();
        let pool = connect::builder(config, &fitness, pool_size, connect::PLANNED_ONCE)?;
        let pool = pool.post_create(on_connect).build()?;
        drop(connect::first_client(&pool).await?);
        fitness.check_prepared(&pool).await.context("PostgreSQL can't be used")?;
        migrations::migrate(&pool).await?;
        // The smallest pool keeps one connection for reads; the writer's lanes then share one.
        let reads = Semaphore::new(pool_size.saturating_sub(RESERVED_CONNECTIONS).max(1));
        let postgres = Self { pool, reads, changes: Changes::default(), fitness, counts };
        postgres.set_search_language(search_language).await?;
        Ok(postgres)
    }

    /// Ends the upgrade, for ever: programs of version 19 and before can't use the database from then on. Returns
    /// whether it had not ended.
    pub async fn finish_upgrade(&self) -> anyhow::Result<bool> {
        migrations::finish(&self.pool).await
    }

    /// Checks the connection and describes the server. Changes nothing there.
    pub async fn probe(
        config: &PostgresConfig,
        language: &str,
    ) -> anyhow::Result<(String, Option<Durability>)> {
        let config = &encryption::try_to_agree(config).await?;
        let fitness = Arc::<Fitness>::default();
        let pool = connect::pool(config, &fitness, 2, "")?;
        drop(pool.get().await?);
        fitness.check_prepared(&pool).await?;
        let found = migrations::describe(&pool, language).await?;
        let way = if config.tls == Tls::Off { "plain text" } else { "TLS" };
        Ok((format!("{found}, {way}"), fitness.durability.get()))
    }

    /// Runs a query, with a read permit, within [`STATEMENT_TIMEOUT`].
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let _permit = self.read_permit().await?;
        self.query_at_once(sql, params).await
    }

    /// Runs a query without waiting for a read permit.
    pub async fn query_at_once(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        let began = Instant::now();
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let outcome = timeout(STATEMENT_TIMEOUT, rows).await;
        self.counts.query.took(began.elapsed());
        self.settle_answer(outcome, client)
    }

    /// A connection of the pool.
    pub async fn client(&self) -> Result<Object, StoreError> {
        let began = Instant::now();
        let client = self.pool.get().await.map_err(unavailable);
        self.counts.connection.took(began.elapsed());
        client.inspect_err(|error| self.counts.failed(error))
    }

    /// Classifies and counts the outcome of a statement, and returns its connection to the pool.
    pub fn settle_answer<T>(
        &self,
        outcome: Result<Result<T, tokio_postgres::Error>, Elapsed>,
        client: Object,
    ) -> Result<T, StoreError> {
        self.fitness.settle_answer(outcome, client).inspect_err(|error| self.counts.failed(error))
    }

    /// Counts the outcome of some work, and returns its connection to the pool.
    pub fn give_back<T>(
        &self,
        outcome: Result<T, StoreError>,
        client: Object,
    ) -> Result<T, StoreError> {
        self.fitness.give_back(outcome, client).inspect_err(|error| self.counts.failed(error))
    }
}
