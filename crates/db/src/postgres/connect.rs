//! The pool, and its TLS.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolBuilder, QueueMode,
    RecyclingMethod, Runtime,
};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};
use tokio_postgres::{NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fitness::Fitness;
use crate::postgres::config::PostgresConfig;
use platform::tls::{self, Tls};

/// Time for which a starting node waits for a database that is still starting.
pub(crate) const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);
/// The database's time limit of a statement.
pub(crate) const SERVER_STATEMENT_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Time limit of a statement's wait for a lock: it holds a connection meanwhile.
const LOCK_TIMEOUT: Duration = Duration::from_millis(250);
/// The rows that a vanished node has locked must become free.
const DEAD_PEER_OPTIONS: &str = "-c idle_in_transaction_session_timeout=10000 -c tcp_keepalives_idle=10 \
                    -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";
/// Texts are indexed after their commit, by pairs of characters too, and the append counts unread messages and queues
/// texts. The triggers of the migrations read these settings.
const VERSION_OPTIONS: &str = "-c frontdesk.search=behind -c frontdesk.index=pairs \
    -c frontdesk.unread=counted -c frontdesk.queue=append";
/// A connection plans a statement once, not for its parameters: the plan of a small batch costs more than its execution.
/// Each statement finds its rows by indexes, so its plan must not follow the statistics: those of an empty table would
/// have it read whole tables when they have grown. Tables are joined in the order in which they are written: in another
/// one, the tenant may be all that two of them share. Not for search, whose plan depends on the words.
/// An append empties no list of the search index, which is done once a second (in kilobytes).
pub(crate) const PLANNED_ONCE: &str = "-c gin_pending_list_limit=65536 -c plan_cache_mode=force_generic_plan -c jit=off \
    -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c join_collapse_limit=1";
/// A pool of at most `size` connections, with further `options` of its own.
pub fn pool(
    config: &PostgresConfig,
    fitness: &Arc<Fitness>,
    size: usize,
    options: &str,
) -> anyhow::Result<Pool> {
    builder(config, fitness, size, options)?.build().context("the PostgreSQL pool")
}

/// The builder of such a pool, for connections that need further setup.
pub(crate) fn builder(
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
             {DEAD_PEER_OPTIONS} {VERSION_OPTIONS} {options}",
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
        // The connection used last has its plans and pages at hand.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .wait_timeout(wait)
        .create_timeout(wait))
}

fn client_config(ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls::authorities("POSTGRES_CA_FILE", ca_file)?);
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Opens a connection, and waits for a database that is still starting.
pub(crate) async fn first_client(pool: &Pool) -> anyhow::Result<Object> {
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
