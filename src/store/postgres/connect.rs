//! The pool, its TLS, and the migrations at start.

use std::{ops::DerefMut, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolBuilder,
    RecyclingMethod, Runtime,
};
use refinery::Migration;
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};
use tokio_postgres::{NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    encoding,
    fitness::Fitness,
    language::{self, UnknownLanguage},
};
use crate::{
    platform::tls::{self, Tls},
    store::postgres::config::PostgresConfig,
};

/// Time for which a starting node waits for a database that is still starting.
pub(super) const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
/// The database's time limit of a statement.
pub(super) const SERVER_STATEMENT_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Time limit of a statement's wait for a lock: it holds a connection meanwhile.
const LOCK_TIMEOUT: Duration = Duration::from_millis(250);
/// The rows that a vanished node has locked must become free.
const DEAD_PEER_OPTIONS: &str = "-c idle_in_transaction_session_timeout=10000 -c tcp_keepalives_idle=10 \
                    -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";
/// Texts are indexed after their commit, by pairs of characters too. The triggers of the migrations
/// read these settings.
const SEARCH_OPTIONS: &str = "-c frontdesk.search=behind -c frontdesk.index=pairs";
/// Advisory lock of the migrating node. The number is arbitrary, but must never change.
pub(super) const MIGRATION_LOCK: i64 = 7_203_114_825;

refinery::embed_migrations!("migrations/postgres");

/// A pool of at most `size` connections, with further `options` of its own.
pub(super) fn pool(
    config: &PostgresConfig,
    fitness: &Arc<Fitness>,
    size: usize,
    options: &str,
) -> anyhow::Result<Pool> {
    builder(config, fitness, size, options)?.build().context("the PostgreSQL pool")
}

/// The builder of such a pool, for connections that need further setup.
pub(super) fn builder(
    config: &PostgresConfig,
    fitness: &Arc<Fitness>,
    size: usize,
    options: &str,
) -> anyhow::Result<PoolBuilder> {
    let encrypted = config.tls != Tls::Off;
    let mut target = tokio_postgres::Config::new();
    target
        .host(&config.host)
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .application_name("frontdesk")
        .options(format!(
            "-c statement_timeout={} -c lock_timeout={} -c timezone=UTC \
             {DEAD_PEER_OPTIONS} {SEARCH_OPTIONS} {options}",
            SERVER_STATEMENT_TIMEOUT.as_millis(),
            LOCK_TIMEOUT.as_millis(),
        ))
        .connect_timeout(Duration::from_secs(3))
        .tcp_user_timeout(Duration::from_secs(10))
        .ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
    if let Some(password) = &config.password {
        target.password(password.expose_secret());
    }
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if encrypted {
        let tls = MakeRustlsConnect::new(client_config(config.ca_file.as_deref())?);
        Manager::from_config(target, tls, recycling)
    } else {
        Manager::from_config(target, NoTls, recycling)
    };
    let wait = Some(Duration::from_secs(4));
    let (of_new, of_old) = (Arc::clone(fitness), Arc::clone(fitness));
    let settle = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let fitness = Arc::clone(&of_new);
        Box::pin(async move { fitness.settle(client).await })
    });
    let keep = Hook::sync_fn(move |_: &mut ClientWrapper, metrics| {
        let stale = of_old.is_stale(metrics.created);
        if stale { Err(HookError::message("made before a failover")) } else { Ok(()) }
    });
    Ok(Pool::builder(manager)
        .post_create(settle)
        .pre_recycle(keep)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(wait)
        .create_timeout(wait))
}

fn client_config(ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls::authorities("POSTGRES_CA_FILE", ca_file)?);
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Describes the server: version, maximum of connections, and state of the migrations.
pub(super) async fn describe(pool: &Pool, name: &str) -> anyhow::Result<String> {
    let client = pool.get().await?;
    encoding::check(&client).await?;
    let dictionary = language::dictionary(name);
    if client.query(language::KNOWN, &[&dictionary]).await?.is_empty() {
        return Err(UnknownLanguage.into());
    }
    let settings = "select current_setting('server_version'), current_setting('max_connections')";
    let row = client.query_one(settings, &[]).await?;
    let (version, connections): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let missing = missing(&client).await?;
    let migrated = match missing.as_slice() {
        [] => "migrations up to date".to_owned(),
        missing => format!("not migrated: {} (frontdesk migrate)", missing.join(", ")),
    };
    Ok(format!("PostgreSQL {version}, {connections} connections at most, {migrated}"))
}

/// Migrations of this version that the database lacks, or has with another content.
async fn missing(client: &Object) -> Result<Vec<String>, tokio_postgres::Error> {
    let known = "select to_regclass('refinery_schema_history') is not null";
    let applied = if client.query_one(known, &[]).await?.try_get::<_, bool>(0)? {
        let applied = "select version, name, checksum from refinery_schema_history";
        client.query(applied, &[]).await?
    } else {
        Vec::new()
    };
    let is_there = |ours: &Migration| {
        applied.iter().any(|row| {
            row.try_get::<_, i32>(0).is_ok_and(|version| version == ours.version())
                && row.try_get::<_, &str>(1).is_ok_and(|name| name == ours.name())
                && row.try_get::<_, &str>(2).is_ok_and(|sum| sum == ours.checksum().to_string())
        })
    };
    let runner = migrations::runner();
    let missing = runner.get_migrations().iter().filter(|ours| !is_there(ours));
    Ok(missing.map(ToString::to_string).collect())
}

/// Waits for the database, then migrates it, one node at a time.
pub(super) async fn migrate(pool: &Pool) -> anyhow::Result<()> {
    let mut client = first_client(pool).await?;
    encoding::check(&client).await?;
    // Even the check for missing migrations needs the right to create tables, which a node does not
    // need.
    if missing(&client).await?.is_empty() {
        return Ok(());
    }
    // The lock ends with its transaction or its connection, even if this node crashes.
    client.batch_execute("set statement_timeout = 0; set lock_timeout = 0").await?;
    client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let report = migrations::runner()
        // A database that a newer node has migrated is usable for this node.
        .set_abort_missing(false)
        .run_async(client.deref_mut().deref_mut())
        .await
        .context("the migration of PostgreSQL failed (POSTGRES_USER must own the database)");
    // Session settings and lock end with the connection.
    drop(Object::take(client));
    for migration in report?.applied_migrations() {
        tracing::info!(migration = %migration, "migration applied");
    }
    Ok(())
}

/// Opens a connection, and waits for a database that is still starting.
pub(super) async fn first_client(pool: &Pool) -> anyhow::Result<Object> {
    let give_up = Instant::now() + STARTUP_TIMEOUT;
    let mut pause = Duration::from_millis(100);
    loop {
        match pool.get().await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() + pause > give_up => {
                return Err(error).context("PostgreSQL can't be reached");
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::warn!(error, "PostgreSQL unreachable; retrying");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(3));
    }
}
