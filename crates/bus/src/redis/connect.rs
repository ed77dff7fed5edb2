//! Connections to Redis, renewed for as long as the node lives.

use std::{net::IpAddr, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::Error,
    interfaces::ClientLike,
    types::{
        Builder, Value,
        config::{
            ClusterDiscoveryPolicy, Config, HostMapping, ReconnectPolicy, Server, ServerConfig,
            TlsConfig, TlsConnector, TlsHostMapping, UnresponsiveConfig,
        },
    },
};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use tokio::time::{sleep, timeout};

use super::{EVENTS_MAX, ROUND_TRIP_TIMEOUT, watch::Trouble};
use crate::redis::config::{RedisConfig, RedisServers};
use platform::tls::{self, Tls};

/// Time without a reply to a pending command after which a connection is made anew.
const UNRESPONSIVE_MAX: Duration = Duration::from_secs(3);
/// Attempts per command. On a cluster a node may not own the slot any more, or not yet, and redirects.
/// Every command here may run twice.
const COMMAND_ATTEMPTS: u32 = 1;
const CLUSTER_COMMAND_ATTEMPTS: u32 = 3;

/// Client that reconnects by itself.
pub(super) fn client(config: &RedisConfig) -> anyhow::Result<Client> {
    Ok(builder(config)?.build()?)
}

/// Connects once as a check. Reports version and transport.
pub(super) async fn probe(config: &RedisConfig) -> anyhow::Result<String> {
    let mut builder = builder(config)?;
    builder.with_config(|config| config.fail_fast = true);
    let client = builder.build()?;
    let is_plain = config.tls == Tls::Off;
    let how = if is_plain { "without TLS, by REDIS_TLS" } else { "over TLS, by REDIS_TLS" };
    client.init().await.map_err(|error| plain(error).context(how))?;
    let answered = client.ping::<Value>(None).await;
    let version = client.server_version().map(|version| version.to_string());
    drop(client.quit().await);
    answered.map_err(plain)?;
    let found =
        version.map_or_else(|| "it answers".to_owned(), |version| format!("Redis {version}"));
    Ok(format!("{found}, {}", if is_plain { "plain text" } else { "TLS" }))
}

/// Our own text for a refusal, the client's text for other errors.
fn plain(error: Error) -> anyhow::Error {
    match Trouble::from(&error) {
        refused @ Trouble::Refused(_) => refused.into(),
        _ => error.into(),
    }
}

/// Keeps the client connected, for as long as the node lives.
pub(super) async fn keep_connected(client: Client) {
    loop {
        // The client gives up in some cases where a new attempt helps, such as a slot moving to a
        // node that it does not know yet.
        if let Ok(Err(error)) = client.connect().await {
            tracing::warn!(error = %error, "redis client ended; it is restarted");
        }
        sleep(ROUND_TRIP_TIMEOUT).await;
    }
}

/// Whether the client connects within the time limit.
pub(super) async fn is_connected(client: &Client) -> bool {
    matches!(timeout(ROUND_TRIP_TIMEOUT * 3, client.wait_for_connect()).await, Ok(Ok(())))
}

fn builder(config: &RedisConfig) -> anyhow::Result<Builder> {
    let server = |(host, port): &(String, u16)| Server::new(host, *port);
    let (servers, attempts) = match &config.servers {
        RedisServers::One(one) => {
            (ServerConfig::Centralized { server: server(one) }, COMMAND_ATTEMPTS)
        }
        RedisServers::Cluster(nodes) => {
            let (hosts, policy) =
                (nodes.iter().map(server).collect(), ClusterDiscoveryPolicy::UseCache);
            (ServerConfig::Clustered { hosts, policy }, CLUSTER_COMMAND_ATTEMPTS)
        }
    };
    let mut builder = Builder::from_config(Config {
        server: servers,
        username: config.user.clone(),
        password: config.password.as_ref().map(|secret| secret.expose_secret().to_owned()),
        tls: (config.tls != Tls::Off).then(|| encrypted(config)).transpose()?,
        fail_fast: false,
        ..Config::default()
    });
    builder.set_policy(ReconnectPolicy::new_exponential(0, 100, 2_000, 2));
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = ROUND_TRIP_TIMEOUT;
        performance.broadcast_channel_capacity = EVENTS_MAX;
    });
    builder.with_connection_config(|connection| {
        connection.connection_timeout = ROUND_TRIP_TIMEOUT * 3;
        connection.internal_command_timeout = ROUND_TRIP_TIMEOUT * 3;
        connection.max_command_attempts = attempts;
        connection.reconnect_on_auth_error = true;
        connection.unresponsive = UnresponsiveConfig {
            max_timeout: Some(UNRESPONSIVE_MAX),
            interval: ROUND_TRIP_TIMEOUT,
        };
        connection.tcp.nodelay = Some(true);
    });
    Ok(builder)
}

/// TLS with the system's authorities and those of `REDIS_CA_FILE`.
fn encrypted(config: &RedisConfig) -> anyhow::Result<TlsConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls::authorities("REDIS_CA_FILE", config.ca_file.as_deref())?);
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let hostnames = TlsHostMapping::Custom(Arc::new(OneName::of(config)));
    Ok(TlsConfig { connector: TlsConnector::from(client), hostnames })
}

/// Name in the certificate of a cluster node that is announced by address: the configured name, or else
/// that address. `DefaultHost` would take the name of the node that was queried for the others, but a
/// node must have the same name each time.
#[derive(Debug)]
struct OneName(Option<String>);

impl OneName {
    fn of(config: &RedisConfig) -> Self {
        let is_name = |host: &&String| host.parse::<IpAddr>().is_err();
        Self(config.hosts().iter().map(|(host, _)| host).find(is_name).cloned())
    }
}

impl HostMapping for OneName {
    fn map(&self, _: &IpAddr, _: &str) -> Option<String> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_named_by_its_address_has_one_name_or_that_address() {
        let name = |hosts: &[&str]| {
            let nodes = hosts.iter().map(|host| ((*host).to_owned(), 6379)).collect();
            let servers = RedisServers::Cluster(nodes);
            let (user, password, ca_file) = (None, None, None);
            let config = RedisConfig { servers, user, password, tls: Tls::Required, ca_file };
            OneName::of(&config).map(&[10, 0, 0, 7].into(), "10.0.0.9")
        };
        assert_eq!(name(&["10.0.0.7", "10.0.0.8"]), None);
        assert_eq!(name(&["10.0.0.7", "redis.example"]).as_deref(), Some("redis.example"));
        assert_eq!(name(&["a.example", "b.example"]).as_deref(), Some("a.example"));
    }
}
