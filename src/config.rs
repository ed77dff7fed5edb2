//! Environment variables: name, unit and default of each. Nothing else reads the environment.

mod checks;
mod known;
mod node_env;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};

pub(crate) use checks::Verdict;

use bus::{
    cluster::config::{ClusterConfig, SecretSource},
    redis::config::RedisConfig,
};
use chat::{memory, retention};
use db::postgres::{
    config::{PostgresConfig, search_language},
    durability::Durability,
};
use gateway::GatewayConfig;
use gateway::{http::origins::Origins, limits::config::LimitsConfig, peers::config::NodeTlsConfig};
use identity::{
    auth::config::{DevelopmentConfig, TokensConfig},
    directory::mysql::config::MysqlConfig,
    sealing::Sealing,
};
use integrations::push::config::PushConfig;
use media::config::S3Config;
use model::ids::TenantId;
use platform::{
    telemetry::LogConfig,
    traces::config::TracesConfig,
    variables::{ConfigError, Variables},
};

/// Maximum number of tenants with metrics of their own: each adds series to every node.
const METRICS_TENANTS_MAX: usize = 100;

/// Configuration of a node.
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of its own")]
#[derive(Debug)]
pub(crate) struct Config {
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
    pub(crate) node_tls: NodeTlsConfig,
    pub(crate) mysql: Option<MysqlConfig>,
    /// Lifetime of a cached entry of the directory.
    pub(crate) directory_cache: Duration,
    pub(crate) s3: Option<S3Config>,
    pub(crate) tokens: TokensConfig,
    pub(crate) development: DevelopmentConfig,
    /// Keys of the tenants' secrets at rest.
    pub(crate) sealing: Arc<Sealing>,
    /// Key of the platform API. Without one there is no such API.
    pub(crate) platform_key: Option<SecretString>,
    /// Tenants that have metrics of their own.
    pub(crate) metrics_tenants: Vec<TenantId>,
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
    /// Maximum bytes of outbound data in memory. `None`: a share of the available memory.
    pub(crate) outbound_memory: Option<usize>,
    /// Retention of earlier versions of messages. `None`: for ever.
    pub(crate) edits_retention: Option<Duration>,
    pub(crate) traces: Option<TracesConfig>,
    /// One line for each variable that is set and has no effect.
    unread: Vec<String>,
}

impl Config {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        Self::read(&Variables::new(std::env::vars(), known::NAMES))
    }

    /// Settings of the gateway.
    pub(crate) fn gateway(&self) -> GatewayConfig {
        let traces = self.traces.as_ref();
        GatewayConfig {
            cors_origins: self.cors_origins.clone(),
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            drain_spread: self.drain_spread,
            trusted_tracers: traces.map(|traces| traces.trusted.clone()).unwrap_or_default(),
            redis_hosts: self.redis.as_ref().map(|redis| redis.hosts().to_vec()),
            node_address: self.node_address,
            plain_issuers: !self.production || self.allow_insecure.contains(&"http-issuer"),
            platform_key: self.platform_key.clone(),
        }
    }

    fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let (postgres, tokens) = (PostgresConfig::read(variables)?, TokensConfig::read(variables)?);
        let password = postgres.as_ref().and_then(|postgres| postgres.password.as_ref());
        let secret = tokens.django.as_ref().and_then(|django| django.secret.as_ref());
        let shared = [("POSTGRES_PASSWORD", password), ("DJANGO_JWT_SECRET", secret)];
        let cluster = ClusterConfig::read(variables, shared)?;
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
            log: LogConfig::read(variables)?,
            search_language: search_language(variables)?,
            postgres,
            redis: RedisConfig::read(variables)?,
            cluster,
            node_tls: NodeTlsConfig::read(variables)?,
            mysql: MysqlConfig::read(variables)?,
            directory_cache: variables.seconds("DIRECTORY_CACHE_S", 600, 1..=86_400)?,
            s3: S3Config::read(variables)?,
            tokens,
            development: DevelopmentConfig::read(variables)?,
            sealing: Arc::new(Sealing::read(variables)?),
            platform_key: Self::platform_key(variables)?,
            metrics_tenants: Self::metrics_tenants(variables)?,
            pushes: PushConfig::read(variables)?,
            cors_origins: Origins::read(variables)?,
            any_origin_is_meant: variables.text("CORS_ORIGINS") == Some("*"),
            ping_interval: variables.millis("PING_INTERVAL_MS", 25_000, 100..=3_600_000)?,
            ping_timeout: variables.millis("PING_TIMEOUT_MS", 20_000, 100..=3_600_000)?,
            drain_spread: variables.millis("DRAIN_SPREAD_MS", 5_000, 0..=10_000)?,
            limits: LimitsConfig::read(variables)?,
            outbound_memory: memory::config::budget(variables)?,
            edits_retention: retention::edits_retention(variables)?,
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
            let problem = "other machines reach this address, and the development issuer gives any token \
                           to anyone: configure an issuer (COGNITO_USER_POOL_ID, DJANGO_JWT_SECRET), \
                           or set DEV_ISSUER=yes to allow it";
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
        if self.tokens.cognito.is_none() && self.tokens.django.is_none() {
            return Err(missing("COGNITO_USER_POOL_ID", "an issuer (or set DJANGO_JWT_SECRET)"));
        }
        if self.redis.is_some() && self.cluster.source == SecretSource::Nothing {
            let what = "it with Redis: 32 random characters or more, the same on all nodes";
            return Err(missing("CLUSTER_SECRET", what));
        }
        if self.embedded {
            return Ok(self);
        }
        let or_embedded = " (or EMBEDDED=true for one node with embedded parts)";
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
        !self.production && self.tokens.cognito.is_none() && self.tokens.django.is_none()
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
                let problem =
                    format!("{problem}; turn it on, or set this variable to true to accept that");
                Err(Variables::error("ACCEPT_UNSAFE_DATABASE", &problem))
            }
            _ => Ok(()),
        }
    }

    fn admin_port(variables: &Variables) -> Result<Option<u16>, ConfigError> {
        if variables.text("ADMIN_PORT").is_none() {
            return Ok(None);
        }
        let port = variables.port("ADMIN_PORT", 0)?;
        if port != 0 && port == variables.port("PORT", 3000)? {
            return Err(Variables::error("ADMIN_PORT", "must differ from PORT"));
        }
        Ok(Some(port))
    }

    fn metrics_tenants(variables: &Variables) -> Result<Vec<TenantId>, ConfigError> {
        let numbers = variables.list("METRICS_TENANTS");
        let tenant = |number: &String| number.parse().ok().and_then(TenantId::new);
        let tenants = numbers.iter().map(tenant).collect::<Option<BTreeSet<_>>>();
        match tenants {
            Some(tenants) if tenants.len() <= METRICS_TENANTS_MAX => {
                Ok(tenants.into_iter().collect())
            }
            _ => {
                let problem =
                    format!("must be at most {METRICS_TENANTS_MAX} numbers of tenants like 2, 7");
                Err(Variables::error("METRICS_TENANTS", &problem))
            }
        }
    }

    fn platform_key(variables: &Variables) -> Result<Option<SecretString>, ConfigError> {
        let Some(key) = variables.secret("PLATFORM_API_KEY") else { return Ok(None) };
        let text = key.expose_secret();
        // Others don't come through a header.
        if text.len() < 32 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "must have at least 32 characters, all of them visible ASCII";
            return Err(Variables::error("PLATFORM_API_KEY", problem));
        }
        Ok(Some(key))
    }

    fn node_address(variables: &Variables) -> Result<Option<SocketAddr>, ConfigError> {
        let parse = |text: &str| {
            let problem = "must be an IP address and a port, like 10.0.0.7:3000";
            text.parse().map_err(|_| Variables::error("NODE_ADDRESS", problem))
        };
        variables.text("NODE_ADDRESS").map(parse).transpose()
    }
}

#[cfg(test)]
pub(crate) mod tests;
