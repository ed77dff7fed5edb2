//! Real servers, nodes and clients for the stories, the contract suites and the benchmarks.
//!
//! Every wait has a time limit. Nothing sleeps in the hope that something has happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod browser;
mod client;
mod clock;
mod collector;
mod compose;
mod desk;
mod documents;
mod grafana;
mod http;
mod issuer;
mod k6;
mod nginx;
mod node;
mod onesignal;
mod pgbouncer;
mod postgres;
mod practice;
mod progress;
mod prometheus;
mod redis;
mod redis_cluster;
mod relay;
mod s3;
mod servers;
mod stock;
mod tampering;
mod tunnel;
mod victim;

use std::{
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

pub use browser::{Browser, Page};
pub use client::{AMBIENT, Client, Framing, connect_within, try_connect};
pub use clock::Clock;
pub use collector::{Collector, Span, Taking};
pub use compose::Compose;
pub use desk::{Desk, NO_LIMITS, Person};
pub use documents::{Schemathesis, validate_asyncapi};
pub use grafana::Dashboard;
pub use http::{Http, Reply};
pub use issuer::{DJANGO_SECRET, Issuer, now};
pub use k6::{K6Report, K6Run};
pub use nginx::{Nginx, shipped_configuration_is_valid};
pub use node::{Node, signal};
pub use onesignal::{Mood, OneSignal, Push};
pub use pgbouncer::PgBouncer;
pub use postgres::{Backup, Postgres};
pub use practice::{PLATFORM_KEY, Platform, Practice, SECRETS_KEY};
pub use progress::{LONGEST, while_it_progresses};
pub use prometheus::{Prometheus, Sample, promtool};
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use relay::{Relay, Way};
pub use s3::S3;
pub use servers::{MysqlDatabase, PostgresDatabase, Servers};
pub use stock::StockClient;
pub use tampering::{Fault, Tampering};
pub use tokio_tungstenite::tungstenite;
pub use tunnel::Tunnel;
pub use victim::{Times, Victim};

/// Time limit of anything that should happen. It is long because machines are shared: a story that
/// exceeds it has found something that does not happen at all.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A short name that no other test uses.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::now_v7().simple())
}

/// Polls a check until it is true.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, looking).await.is_ok(), "never: {what}");
}

/// A port of this machine that nothing listens on. The system gives ports from 32768 on to sockets that ask for
/// any port, so one of those might be taken before its server starts. These are lower, and each is given once.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: std::ops::Range<u32> = 10_240..32_000;
    // Test programs that run at the same time begin at different places.
    let first = std::process::id().wrapping_mul(7_919);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + first.wrapping_add(step) % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
