//! Environment variables: name, unit and default of each. Nothing else reads the environment.

mod checks;
mod cluster;
mod known;
mod limits;
mod node_env;
mod node_role;
mod node_tls;
pub(crate) mod origins;
mod push;
mod redis;
mod s3;
mod tls;
mod tokens;
mod traces;
mod variables;

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use secrecy::SecretString;

pub(crate) use checks::Verdict;
pub(crate) use cluster::{ClusterConfig, SecretSource};
pub(crate) use limits::LimitsConfig;
pub(crate) use node_role::NodeRole;
pub(crate) use node_tls::{NodeIdentity, NodeTlsConfig};
pub(crate) use origins::Origins;
pub(crate) use push::PushConfig;
pub(crate) use redis::{HostPort, RedisConfig, RedisServers};
pub(crate) use s3::S3Config;
pub(crate) use tls::Tls;
pub(crate) use tokens::{CognitoConfig, DevelopmentConfig, DjangoConfig};
pub(crate) use traces::TracesConfig;
use variables::Variables;

use crate::store::postgres::durability::Durability;

/// Error in one variable: a single line that names it and never holds a secret's value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: String,
    problem: String,
}

impl ConfigError {
    pub(crate) fn new(variable: &str, problem: &str) -> Self {
        Self { variable: variable.to_owned(), problem: problem.to_owned() }
    }
}

/// URL without its query, which may hold a key, for display.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Configuration of a node.
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of its own")]
#[derive(Debug)]
pub struct Config {
    pub(crate) production: bool,
    /// In production: embedded parts are intended.
    embedded: bool,
    /// In production: a database that may lose committed data is accepted.
    pub(crate) accept_unsafe_database: bool,
    /// Checks whose insecure result is accepted in production, by name.
    allow_insecure: Vec<&'static str>,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    /// Port of the operators' listener. If it is set, metrics, the details of `/health` and the
    /// documentation are served there and not on `port`.
    pub(crate) admin_port: Option<u16>,
    /// Address at which other nodes reach this one, if the node cannot detect it.
    pub(crate) node_address: Option<SocketAddr>,
    pub(crate) data_dir: PathBuf,
    pub(crate) log: LogConfig,
    /// Language of the messages, for search.
    pub(crate) search_language: String,
    pub(crate) postgres: Option<PostgresConfig>,
    pub(crate) redis: Option<RedisConfig>,
    pub(crate) cluster: ClusterConfig,
    pub(crate) mysql: Option<MysqlConfig>,
    /// Lifetime of a cached entry of the directory.
    pub(crate) directory_cache: Duration,
    pub(crate) s3: Option<S3Config>,
    pub(crate) cognito: Option<CognitoConfig>,
    pub(crate) django: Option<DjangoConfig>,
    pub(crate) max_token_age: Option<NonZeroU32>,
    pub(crate) development: DevelopmentConfig,
    pub(crate) pushes: Option<PushConfig>,
    /// Origins whose pages may use the API.
    pub(crate) cors_origins: Origins,
    /// Whether `CORS_ORIGINS` is explicitly `*`.
    any_origin_is_meant: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    /// Period over which a draining node spreads the closing of its sockets.
    pub(crate) drain_spread: Duration,
    pub(crate) limits: LimitsConfig,
    pub(crate) traces: Option<TracesConfig>,
    /// One line for each variable that is set and has no effect.
    unread: Vec<String>,
}

/// Settings of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    pub(crate) level: tracing::Level,
    /// `None`: pretty on a terminal, JSON otherwise.
    pub(crate) json: Option<bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct PostgresConfig {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: Option<SecretString>,
    pub(crate) pool_size: usize,
    pub(crate) tls: Tls,
    /// PEM file with additional authorities.
    pub(crate) ca_file: Option<PathBuf>,
    /// Role that `frontdesk migrate` grants the nodes' rights to.
    pub(crate) node_role: Option<NodeRole>,
}

#[derive(Clone, Debug)]
pub(crate) struct MysqlConfig {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: Option<SecretString>,
    pub(crate) tls: Tls,
    /// PEM file with additional authorities.
    pub(crate) ca_file: Option<PathBuf>,
    /// The first column is the person's id. `email` and `avatar_url` have these names. All other
    /// columns are parts of the name.
    pub(crate) customers_query: String,
    pub(crate) dentists_query: String,
    /// Returns a row if a customer and a dentist may talk. `None` if everyone may.
    pub(crate) may_talk_query: Option<String>,
}

pub(crate) const DEFAULT_CUSTOMERS_QUERY: &str = "SELECT cognito_sub, first_name, last_name, \
    email, avatar_url FROM customers WHERE cognito_sub = ?";
pub(crate) const DEFAULT_DENTISTS_QUERY: &str = "SELECT user_id, first_name, last_name, \
    email, avatar_url FROM dentists WHERE user_id = ?";

/// Levels of `LOG_LEVEL`. Other loggers' names for them are accepted too.
const LEVELS: &str = "error, warn, info, debug or trace";

/// Minimum pool size: one connection commits, one checks, one reads.
const POOL_SIZE_MIN: usize = 3;
/// Maximum pool size. PostgreSQL's own default limit is 100.
const POOL_SIZE_MAX: usize = 500;

impl Config {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&std::env::vars().collect())
    }

    fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let (postgres, django) = (Self::postgres(variables)?, DjangoConfig::read(variables)?);
        let cluster = ClusterConfig::read(variables, postgres.as_ref(), django.as_ref())?;
        let mut config = Self {
            production: node_env::is_production(variables)?,
            embedded: variables.flag("EMBEDDED")?,
            accept_unsafe_database: variables.flag("ACCEPT_UNSAFE_DATABASE")?,
            allow_insecure: checks::allowed(variables)?,
            host: IpAddr::from([0, 0, 0, 0]),
            port: variables.port("PORT", 3000)?,
            admin_port: Self::admin_port(variables)?,
            node_address: Self::node_address(variables)?,
            data_dir: variables.text("DATA_DIR").unwrap_or("data").into(),
            log: Self::log(variables)?,
            search_language: Self::search_language(variables)?,
            postgres,
            redis: RedisConfig::read(variables)?,
            cluster,
            mysql: Self::mysql(variables)?,
            directory_cache: variables.seconds("DIRECTORY_CACHE_S", 600, 1..=86_400)?,
            s3: S3Config::read(variables)?,
            cognito: CognitoConfig::read(variables)?,
            django,
            max_token_age: tokens::max_token_age(variables)?,
            development: DevelopmentConfig::read(variables)?,
            pushes: PushConfig::read(variables)?,
            cors_origins: Origins::read(variables)?,
            any_origin_is_meant: variables.text("CORS_ORIGINS") == Some("*"),
            ping_interval: variables.millis("PING_INTERVAL_MS", 25_000, 100..=3_600_000)?,
            ping_timeout: variables.millis("PING_TIMEOUT_MS", 20_000, 100..=3_600_000)?,
            drain_spread: variables.millis("DRAIN_SPREAD_MS", 5_000, 0..=10_000)?,
            limits: LimitsConfig::read(variables)?,
            traces: TracesConfig::read(variables)?,
            unread: Vec::new(),
        };
        config.unread = variables.unread();
        config.with_host(variables)?.complete(variables)
    }

    /// A node that issues development tokens listens on this machine only, unless configured otherwise.
    fn with_host(mut self, variables: &Variables) -> Result<Self, ConfigError> {
        let default = if self.development_issuer() { [127, 0, 0, 1] } else { [0, 0, 0, 0] };
        let own_address = "an IP address of this machine, or localhost";
        self.host = match variables.text("HOST") {
            Some("localhost") => IpAddr::from([127, 0, 0, 1]),
            _ => variables.parsed("HOST", IpAddr::from(default), own_address)?,
        };
        let is_open = self.development_issuer() && !self.host.to_canonical().is_loopback();
        if is_open && !self.development.beyond_loopback {
            let problem = "other machines reach this address, and the node gives any token to anyone \
                           who asks: set up an issuer (COGNITO_USER_POOL_ID, DJANGO_JWT_SECRET), or set \
                           DEV_ISSUER=yes if that is meant";
            return Err(Variables::error("HOST", problem));
        }
        Ok(self)
    }

    /// In production a missing part is an error, unless `EMBEDDED` is set.
    fn complete(self, variables: &Variables) -> Result<Self, ConfigError> {
        if !self.production {
            return Ok(self);
        }
        let missing = |variable: &str, what: &str| {
            let problem = format!("is not set, and NODE_ENV=production needs {what}");
            variables.unset(variable, &problem)
        };
        if self.cognito.is_none() && self.django.is_none() {
            return Err(missing("COGNITO_USER_POOL_ID", "an issuer (or set DJANGO_JWT_SECRET)"));
        }
        if self.redis.is_some() && self.cluster.source == SecretSource::Nothing {
            let what = "it with Redis: 32 random characters or more, the same on all nodes";
            return Err(missing("CLUSTER_SECRET", what));
        }
        if self.embedded {
            return Ok(self);
        }
        let or_embedded = " (or EMBEDDED=true for one node with everything in it)";
        for (variable, what) in [
            ("POSTGRES_HOST", "a database"),
            ("REDIS_HOST", "a bus between nodes (or set REDIS_CLUSTER_NODES)"),
            ("MYSQL_HOST", "a directory of names"),
            ("S3_BUCKET", "a bucket for pictures"),
        ] {
            let is_cluster = variable == "REDIS_HOST" && self.redis.is_some();
            if variables.text(variable).is_none() && !is_cluster {
                return Err(missing(variable, &format!("{what}{or_embedded}")));
            }
        }
        Ok(self)
    }

    /// Whether the node issues tokens itself, as no other issuer is configured.
    pub(crate) fn development_issuer(&self) -> bool {
        !self.production && self.cognito.is_none() && self.django.is_none()
    }

    /// Warnings of settings that are allowed and probably not intended.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.plain_warnings().into_iter().chain(self.check_warnings()).collect()
    }

    /// Warnings of variables without effect, and of a missing or weak cluster secret.
    pub(crate) fn plain_warnings(&self) -> Vec<String> {
        let unread = self.unread.iter().cloned();
        let cluster = self.redis.is_some().then(|| self.cluster.warnings(self.production));
        unread.chain(cluster.into_iter().flatten()).collect()
    }

    /// In production refuses a database that may lose committed data, unless this is explicitly accepted.
    pub(crate) fn admit_database(&self, durability: &Durability) -> Result<(), ConfigError> {
        match durability.problem() {
            Some(problem) if self.production && !self.accept_unsafe_database => {
                let problem = format!("{problem}; set it on, or this to true where it is meant");
                Err(Variables::error("ACCEPT_UNSAFE_DATABASE", &problem))
            }
            _ => Ok(()),
        }
    }

    /// Settings of the log.
    #[must_use]
    pub fn log_config(&self) -> LogConfig {
        self.log
    }

    fn admin_port(variables: &Variables) -> Result<Option<u16>, ConfigError> {
        if variables.text("ADMIN_PORT").is_none() {
            return Ok(None);
        }
        let port = variables.port("ADMIN_PORT", 0)?;
        if port != 0 && port == variables.port("PORT", 3000)? {
            return Err(Variables::error("ADMIN_PORT", "is PORT, and must be another one"));
        }
        Ok(Some(port))
    }

    fn node_address(variables: &Variables) -> Result<Option<SocketAddr>, ConfigError> {
        let parse = |text: &str| {
            let problem = "must be an IP address and a port, like 10.0.0.7:3000";
            text.parse().map_err(|_| Variables::error("NODE_ADDRESS", problem))
        };
        variables.text("NODE_ADDRESS").map(parse).transpose()
    }

    fn log(variables: &Variables) -> Result<LogConfig, ConfigError> {
        let level = match variables.text("LOG_LEVEL").map(str::to_lowercase).as_deref() {
            // Names of the nearest level in loggers of Node and Python.
            Some("fatal" | "critical") => tracing::Level::ERROR,
            Some("warning") => tracing::Level::WARN,
            Some("http") => tracing::Level::INFO,
            Some("verbose") => tracing::Level::DEBUG,
            Some("silly") => tracing::Level::TRACE,
            _ => variables.parsed("LOG_LEVEL", tracing::Level::INFO, LEVELS)?,
        };
        let json = match variables.text("LOG_FORMAT") {
            None => None,
            Some("json") => Some(true),
            Some("pretty") => Some(false),
            Some(_) => return Err(Variables::error("LOG_FORMAT", "must be json or pretty")),
        };
        Ok(LogConfig { level, json })
    }

    fn search_language(variables: &Variables) -> Result<String, ConfigError> {
        let language = variables.text("SEARCH_LANGUAGE").unwrap_or("simple").to_lowercase();
        if language.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Ok(language);
        }
        Err(Variables::error("SEARCH_LANGUAGE", "must be a name like german"))
    }

    fn postgres(variables: &Variables) -> Result<Option<PostgresConfig>, ConfigError> {
        let Some(host) = variables.text("POSTGRES_HOST") else { return Ok(None) };
        let (tls, ca_file) = Tls::read(variables, "POSTGRES", [host])?;
        let sizes = POOL_SIZE_MIN..=POOL_SIZE_MAX;
        let pool_size = variables.number("POSTGRES_POOL_SIZE", 20, sizes, "connections")?;
        Ok(Some(PostgresConfig {
            host: host.to_owned(),
            port: variables.port("POSTGRES_PORT", 5432)?,
            database: variables.required("POSTGRES_DB", "POSTGRES_HOST")?,
            user: variables.required("POSTGRES_USER", "POSTGRES_HOST")?,
            password: variables.secret("POSTGRES_PASSWORD"),
            pool_size,
            tls,
            ca_file,
            node_role: NodeRole::read(variables)?,
        }))
    }

    fn mysql(variables: &Variables) -> Result<Option<MysqlConfig>, ConfigError> {
        let Some(host) = variables.text("MYSQL_HOST") else { return Ok(None) };
        let query = |variable, default: &str| {
            let query = variables.text(variable).unwrap_or(default).to_owned();
            match query.matches('?').count() {
                1 => Ok(query),
                _ => Err(Variables::error(variable, "must hold one ? for the person's id")),
            }
        };
        let (tls, ca_file) = Tls::read(variables, "MYSQL", [host])?;
        Ok(Some(MysqlConfig {
            host: host.to_owned(),
            port: variables.port("MYSQL_PORT", 3306)?,
            database: variables.required("MYSQL_DB", "MYSQL_HOST")?,
            user: variables.required("MYSQL_USER", "MYSQL_HOST")?,
            password: variables.secret("MYSQL_PASSWORD"),
            tls,
            ca_file,
            customers_query: query("MYSQL_CUSTOMERS_QUERY", DEFAULT_CUSTOMERS_QUERY)?,
            dentists_query: query("MYSQL_DENTISTS_QUERY", DEFAULT_DENTISTS_QUERY)?,
            may_talk_query: limits::may_talk_query(variables)?,
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests;
