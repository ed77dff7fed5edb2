//! Bus between nodes: one Redis, or a Redis Cluster.

use std::path::PathBuf;

use secrecy::SecretString;

use platform::{
    tls::Tls,
    variables::{ConfigError, Variables},
};

const PORT: u16 = 6379;

/// Connection to Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Addresses of the servers.
    pub servers: RedisServers,
    /// Name of the node's Redis user (ACL), if Redis has one.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<SecretString>,
    /// Encryption of the connections.
    pub tls: Tls,
    /// PEM file with additional authorities.
    pub ca_file: Option<PathBuf>,
}

/// One server, or a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    One(HostPort),
    /// Some nodes of a Redis Cluster. They report the others. Never empty.
    Cluster(Vec<HostPort>),
}

/// Name or IP address, and port.
pub type HostPort = (String, u16);

impl RedisConfig {
    /// `None` without Redis.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let password = variables.secret("REDIS_PASSWORD");
        let nodes = variables.list("REDIS_CLUSTER_NODES");
        let servers = match (variables.text("REDIS_HOST"), nodes.as_slice()) {
            (None, []) => return Ok(None),
            (Some(host), []) => {
                RedisServers::One((host.to_owned(), variables.port("REDIS_PORT", PORT)?))
            }
            // Nodes on the one would not receive from nodes on the other.
            (Some(_), _) => {
                let problem = "is set together with REDIS_HOST: set only one of them";
                return Err(Variables::error("REDIS_CLUSTER_NODES", problem));
            }
            (None, nodes) => {
                let nodes: Option<Vec<_>> = nodes.iter().map(|node| host_port(node)).collect();
                let problem = "must be a list like redis-a:6379,redis-b:6379";
                let nodes =
                    nodes.ok_or_else(|| Variables::error("REDIS_CLUSTER_NODES", problem))?;
                RedisServers::Cluster(nodes)
            }
        };
        let user = variables.text("REDIS_USER").map(str::to_owned);
        if user.is_some() && password.is_none() {
            return Err(Variables::error("REDIS_USER", "is set without REDIS_PASSWORD"));
        }
        let hosts = servers.hosts().iter().map(|(host, _)| host.as_str());
        let (tls, ca_file) = Tls::read(variables, "REDIS", hosts)?;
        Ok(Some(Self { servers, user, password, tls, ca_file }))
    }

    /// All configured servers.
    pub fn hosts(&self) -> &[HostPort] {
        self.servers.hosts()
    }
}

impl RedisServers {
    fn hosts(&self) -> &[HostPort] {
        match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Cluster(nodes) => nodes,
        }
    }
}

fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    // An IPv6 address is in brackets.
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = address.unwrap_or(host);
    let is_plain = !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']']);
    (is_plain && (address.is_some() || !host.contains(':')))
        .then_some(())
        .and_then(|()| Some((host.to_owned(), port.parse().ok()?)))
}
