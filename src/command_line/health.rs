//! `frontdesk health`: the same HTTP check as a load balancer's.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

use super::say;
use crate::config::Config;

#[derive(Args, Debug)]
pub(super) struct Ask {
    /// Check only that the process answers, for a check whose failure ends the node. Readiness depends
    /// on the database, which a restart of the node does not repair
    #[arg(long)]
    live: bool,
    /// Time limit in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout_s: u64,
    /// URL of another node: http and its address. The default is this machine with PORT
    #[arg(long)]
    url: Option<Url>,
}

pub(super) async fn run(ask: &Ask, config: &Config) -> anyhow::Result<()> {
    let base = match &ask.url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", authority(config, config.port)),
    };
    let timeout = Duration::from_secs(ask.timeout_s);
    let http = Client::builder().timeout(timeout).no_proxy().build()?;
    let get = async |path: &str| {
        let url = match (path, &ask.url, config.admin_port) {
            // Only the admin port shows the details.
            ("/health", None, Some(port)) => format!("http://{}{path}", authority(config, port)),
            _ => format!("{base}{path}"),
        };
        let asked = http.get(url).send().await;
        asked.with_context(|| format!("the node at {base} can't be reached"))
    };
    if ask.live {
        return match get("/health/live").await?.status() {
            StatusCode::OK => Ok(say("live")?),
            status => bail!("not live: {status}"),
        };
    }
    match get("/health/ready").await?.status() {
        StatusCode::OK => Ok(say("ready")?),
        // `/health` names the failed part.
        StatusCode::SERVICE_UNAVAILABLE => {
            bail!("not ready: {}", reason(get("/health").await?).await)
        }
        status => bail!("{base} answers {status}: it may not be a frontdesk node"),
    }
}

fn authority(config: &Config, port: u16) -> String {
    let host = match config.host {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("{host}:{port}")
}

/// Reason such as `postgres is down`, with details if the node knows them.
async fn reason(answer: reqwest::Response) -> String {
    let health: Value = answer.json().await.unwrap_or_default();
    let status = health.get("status").and_then(Value::as_str).unwrap_or("unknown reason");
    let services = health.get("services").and_then(Value::as_object);
    let down = services.into_iter().flatten().filter(|(_, state)| *state == "down");
    let down = down.map(|(service, _)| {
        let reason = health.get("reasons").and_then(|reasons| reasons.get(service)?.as_str());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{service} is down{reason}")
    });
    let down: Vec<_> = down.collect();
    if down.is_empty() { status.to_owned() } else { down.join(", ") }
}
