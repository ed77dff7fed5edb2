//! `frontdesk check-config`: the effective configuration and, on request, a connection to each part.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{plain, say};
use crate::config::{Config, Verdict};
use bus::{
    cluster::config::SecretSource,
    redis::{Redis, config::RedisServers},
};
use db::postgres::config::PostgresConfig;
use gateway::{limits::config::LimitsConfig, peers::NodeTls};
use identity::{auth::Verifier, directory};
use media::config::S3Config;
use model::{
    ids::TenantId,
    person::{Person, Side},
};
use platform::{
    tasks::Tasks,
    tls::{self, Tls},
    traces::probe_collector,
    variables::without_query,
};

/// Time limit of one part.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct Ask {
    /// Also connect to each part, without changing anything there
    #[arg(long)]
    connect: bool,
}

pub(super) async fn run(ask: &Ask, config: &Config) -> anyhow::Result<()> {
    let files = [
        ("POSTGRES_CA_FILE", config.postgres.as_ref().and_then(|it| it.ca_file.as_deref())),
        ("REDIS_CA_FILE", config.redis.as_ref().and_then(|it| it.ca_file.as_deref())),
        ("MYSQL_CA_FILE", config.mysql.as_ref().and_then(|it| it.ca_file.as_deref())),
    ];
    NodeTls::open(&config.node_tls)?;
    for (variable, file) in files {
        tls::authorities(variable, file)?;
    }
    for (part, is) in parts(config) {
        say(&format!("{part:<10} {is}"))?;
    }
    for warning in config.plain_warnings() {
        say(&format!("warning    {warning}"))?;
    }
    for check in config.checks() {
        let verdict = match check.verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Allowed => "allowed: ALLOW_INSECURE names it".to_owned(),
            Verdict::Warning(problem) => format!("warning: {problem}"),
            Verdict::Refused(problem) => format!("REFUSED: {problem}"),
        };
        say(&format!("check      {:<16} {verdict}", check.name))?;
    }
    let refused = config.refusal().map_or(Ok(()), |problem| Err(problem.into()));
    if !ask.connect {
        return refused;
    }
    say("")?;
    let trials = trials(config)?;
    if trials.is_empty() {
        say("nothing to connect to: every part is embedded")?;
        return refused;
    }
    let mut failed = 0;
    for (part, trial) in trials {
        let outcome = timeout(PART_TIMEOUT, trial).await;
        let outcome =
            outcome.unwrap_or_else(|_| bail!("no answer within {} s", PART_TIMEOUT.as_secs()));
        match outcome {
            Ok(found) => say(&format!("{part:<10} ok: {found}"))?,
            Err(error) => {
                failed += 1;
                say(&format!("{part:<10} FAILED: {}", plain::line(&error)))?;
            }
        }
    }
    match failed {
        0 => {
            say("all reachable")?;
            refused
        }
        1 => bail!("1 part failed"),
        _ => bail!("{failed} parts failed"),
    }
}

/// Each part of the configuration as text, without secrets.
fn parts(config: &Config) -> Vec<(&'static str, String)> {
    let embedded = |variable: &str, what: &str| format!("{what} ({variable} is not set)");
    let tls = |tls: Tls| match tls {
        Tls::Required => ", TLS",
        Tls::Preferred => ", TLS if offered",
        Tls::Off => "",
    };
    let database = match &config.postgres {
        Some(it) => format!(
            "PostgreSQL at {}:{}/{} as {}, {} connections{}",
            it.host,
            it.port,
            it.database,
            it.user,
            it.pool_size,
            tls(it.tls)
        ),
        None => embedded("POSTGRES_HOST", &format!("SQLite in {}", config.data_dir.display())),
    };
    let bus = match config.redis.as_ref().map(|redis| (&redis.servers, redis.tls)) {
        Some((RedisServers::One((host, port)), with)) => {
            format!("Redis at {host}:{port}{}", tls(with))
        }
        Some((RedisServers::Cluster(nodes), with)) => {
            let nodes: Vec<_> = nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
            format!("Redis Cluster by {}{}", nodes.join(", "), tls(with))
        }
        None => embedded("REDIS_HOST", "none: this is the only node"),
    };
    let names = match &config.mysql {
        Some(it) => {
            let relations = match it.may_talk_query {
                Some(_) => ", with MYSQL_MAY_TALK_QUERY",
                None => "",
            };
            let (host, port, database, user) = (&it.host, it.port, &it.database, &it.user);
            format!("MySQL at {host}:{port}/{database} as {user}{}{relations}", tls(it.tls))
        }
        None => embedded("MYSQL_HOST", "neutral names, or people.json in DATA_DIR"),
    };
    let pictures = match &config.s3 {
        Some(it) => {
            let server = without_query(it.endpoint.as_deref().unwrap_or("AWS"));
            format!("bucket {} in {} at {server}", it.bucket, it.region)
        }
        None => embedded("S3_BUCKET", "an S3 server in the node"),
    };
    let pushes = match &config.pushes {
        Some(it) => format!("OneSignal at {}", without_query(&it.base_url)),
        None => embedded("ONESIGNAL_APP_ID", "none"),
    };
    vec![
        ("mode", mode(config)),
        ("listens", listens(config)),
        ("database", database),
        ("bus", bus),
        ("nodes", nodes(config)),
        ("names", names),
        ("pictures", pictures),
        ("customers", customers(config)),
        ("dentists", dentists(config)),
        ("tenants", tenants(config)),
        ("pushes", pushes),
        ("traces", traces(config)),
        ("limits", limits(&config.limits)),
    ]
}

fn nodes(config: &Config) -> String {
    if config.redis.is_none() {
        return "a single node".to_owned();
    }
    let unsigned = if config.cluster.accept_unsigned { ", and accept unsigned data" } else { "" };
    let by = match &config.cluster.source {
        SecretSource::Set if config.cluster.also_valid.is_some() => {
            "the two values of CLUSTER_SECRET".to_owned()
        }
        SecretSource::Set => "CLUSTER_SECRET".to_owned(),
        SecretSource::Derived(names) => format!("a secret derived from {}", names.join(" and ")),
        SecretSource::Nothing => "no secret (CLUSTER_SECRET is not set)".to_owned(),
    };
    let tls = if config.node_tls.ca_file.is_some() { ", TLS" } else { "" };
    format!("authenticate each other by {by}{unsigned}{tls}")
}

fn listens(config: &Config) -> String {
    let public = format!("{}:{}", config.host, config.port);
    match config.admin_port {
        Some(port) => format!("{public}, and {}:{port} for operators", config.host),
        None => public,
    }
}

fn traces(config: &Config) -> String {
    let Some(it) = &config.traces else {
        return "none (OTEL_EXPORTER_OTLP_ENDPOINT is not set, or tracing is off)".to_owned();
    };
    let callers: Vec<_> = it.trusted.iter().map(ToString::to_string).collect();
    let callers = match callers.as_slice() {
        [] => String::new(),
        _ if !it.is_parent_based => String::new(),
        callers => format!(", and the decisions of {}", callers.join(", ")),
    };
    format!("{} of 1 to {} as {}{callers}", it.ratio, it.collector(), it.service_name)
}

fn mode(config: &Config) -> String {
    match (config.production, config.development_issuer()) {
        (true, _) => "production",
        (false, false) => "development (NODE_ENV is not production)",
        (false, true) => "development (NODE_ENV is not production), with tokens for anyone",
    }
    .to_owned()
}

fn customers(config: &Config) -> String {
    match &config.tokens.cognito {
        Some(it) => {
            let clients = if it.client_ids.is_empty() { "any" } else { &it.client_ids.join(", ") };
            format!("tokens of {}, clients: {clients}", without_query(&it.issuer))
        }
        None if config.development_issuer() => "development tokens, for anyone".to_owned(),
        None => "can't connect (neither COGNITO_USER_POOL_ID nor COGNITO_ISSUER is set)".to_owned(),
    }
}

fn dentists(config: &Config) -> String {
    let Some(it) = &config.tokens.django else {
        let issued = config.development_issuer();
        let nobody = "can't connect (neither DJANGO_JWT_SECRET nor DJANGO_JWKS_URL is set)";
        return if issued { "development tokens, for anyone" } else { nobody }.to_owned();
    };
    let by_secret = it.secret.as_ref().map(|_| "signed with DJANGO_JWT_SECRET".to_owned());
    let by_keys = it.jwks_url.as_ref().map(|url| format!("by the keys of {}", without_query(url)));
    let ways: Vec<_> = by_secret.into_iter().chain(by_keys).collect();
    format!("tokens {}", ways.join(", or "))
}

fn tenants(config: &Config) -> String {
    let api = match config.platform_key {
        Some(_) => "managed by /api/platform",
        None => "not managed (PLATFORM_API_KEY is not set)",
    };
    let secrets = match config.sealing.keys() {
        0 => "no secrets (SECRETS_KEY is not set)".to_owned(),
        1 => "secrets sealed with one key".to_owned(),
        keys => format!("secrets sealed with the first of {keys} keys"),
    };
    format!("{api}, {secrets}")
}

fn limits(limits: &LimitsConfig) -> String {
    let number = |limit: Option<std::num::NonZeroU32>| {
        limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string())
    };
    let proxies: Vec<_> = limits.trusted_proxies.iter().map(ToString::to_string).collect();
    format!(
        "a user: {} sends a second, {} sockets; an address: {} sockets, {} requests a second; \
         proxies: {}",
        number(limits.sends_per_user_s),
        number(limits.connections_per_user),
        number(limits.connections_per_address),
        number(limits.requests_per_address_s),
        if proxies.is_empty() { "none".to_owned() } else { proxies.join(", ") }
    )
}

type Trial<'a> = BoxFuture<'a, anyhow::Result<String>>;

/// A connection check for each external part.
fn trials(config: &Config) -> anyhow::Result<Vec<(&'static str, Trial<'_>)>> {
    let mut trials: Vec<(&str, Trial<'_>)> = Vec::new();
    if let Some(postgres) = &config.postgres {
        trials.push(("database", Box::pin(database(config, postgres))));
    }
    if let Some(redis) = &config.redis {
        trials.push(("bus", Box::pin(Redis::probe(redis))));
    }
    if config.mysql.is_some() {
        trials.push(("names", Box::pin(names(config))));
    }
    if let Some(s3) = &config.s3 {
        trials.push(("pictures", Box::pin(pictures(s3))));
    }
    if let Some(config) = &config.traces {
        trials.push(("traces", Box::pin(probe_collector(config))));
    }
    for (whose, fetch) in
        Verifier::new(&config.tokens, <[_; 2]>::default(), &Tasks::default())?.fetches()
    {
        let keys = async move { Ok(format!("{} keys", fetch.await?)) };
        trials.push((whose, Box::pin(keys)));
    }
    Ok(trials)
}

/// Version and durability of the database.
async fn database(config: &Config, postgres: &PostgresConfig) -> anyhow::Result<String> {
    let (found, durability) =
        db::postgres::Postgres::probe(postgres, &config.search_language).await?;
    let durability = durability.context("it does not show its durability settings")?;
    config.admit_database(&durability)?;
    let warning =
        durability.problem().map(|problem| format!("; warning: {problem}")).unwrap_or_default();
    Ok(format!("{found}, {durability}{warning}"))
}

/// Queries an id that nobody has: only a query shows that queries work.
async fn names(config: &Config) -> anyhow::Result<String> {
    let directory = directory::open(config.mysql.as_ref(), &config.data_dir)?;
    for kind in [Side::Contact, Side::Desk] {
        let nobody = Person::new(TenantId::MAIN, kind, "frontdesk-check-config".parse()?);
        let looked = directory.person(&nobody).await;
        looked.with_context(|| format!("query of a {}", kind.as_str()))?;
    }
    Ok("both queries work".to_owned())
}

async fn pictures(s3: &S3Config) -> anyhow::Result<String> {
    media::probe(s3).await?;
    Ok("the bucket exists".to_owned())
}
