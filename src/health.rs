//! `/health`, `/health/live`, `/health/ready` and `/version`.

use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    findings::{Part, Reasons, Services},
    modules::Modules,
};
use chat::writer::Commits;
use db::postgres::durability::Durability;
use protocol::problems::{Anyone, Problems};

/// Time limit of a part to answer. A slower part counts as down.
const PART_TIMEOUT: Duration = Duration::from_secs(2);

/// State of a node.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthStatus)]
enum Status {
    Ok,
    /// A part that the node can do without is down.
    Degraded,
    Down,
    Draining,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    status: Status,
    services: Services,
    /// Known reasons of failures: by the name of a service in `services`, or `tasks` for a background task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    reasons: Reasons,
    /// State of this node's commits. A node that commits nothing is down.
    commits: Commits,
    /// Durability settings of PostgreSQL on the newest connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    durability: Option<Durability>,
    node: String,
    version: &'static str,
    /// Seconds since the node started.
    uptime: u64,
}

/// Whether the process answers.
#[utoipa::path(
    get, path = "", tag = "node", security(()),
    responses((status = 200, description = "The process runs."))
)]
pub(crate) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether the node accepts requests: the database answers and commits, and it does not drain.
#[utoipa::path(
    get, path = "", tag = "node", security(()),
    responses((status = 200, description = "Ready."), (status = 503, description = "Not ready."))
)]
pub(crate) async fn ready(State(modules): State<Arc<Modules>>) -> StatusCode {
    let store = async { answers(modules.database.ping()).await };
    let up = modules.findings.store.get_with((), store).await == Part::Up
        && !modules.gateway.is_draining();
    if up && modules.tasks.failed().is_none() && modules.chat.writer.commits() == Commits::Ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// State of all parts. Without Redis, MySQL or S3 a node is degraded, not down: messages are committed, and
/// found within 5 s. With `ADMIN_PORT` all fields but `status` are on that port only.
#[utoipa::path(
    get, path = "", tag = "node", security(()),
    responses(
        (status = 200, body = Health, description = "`ok`, or `degraded`."),
        (status = 503, body = Health, description = "`down`, or `draining`."),
        Problems<(Anyone,)>,
    )
)]
pub(crate) async fn health(State(modules): State<Arc<Modules>>) -> (StatusCode, Json<Health>) {
    let (code, health) = probe(&modules).await;
    (code, Json(health))
}

/// Answer of `/health` on the public port, if the details are on `ADMIN_PORT`.
#[derive(Serialize)]
pub(crate) struct Bare {
    status: Status,
}

pub(crate) async fn status(State(modules): State<Arc<Modules>>) -> (StatusCode, Json<Bare>) {
    let (code, health) = probe(&modules).await;
    (code, Json(Bare { status: health.status }))
}

async fn probe(modules: &Modules) -> (StatusCode, Health) {
    // Boxed, because the future of four concurrent checks is large.
    let (services, mut reasons) =
        modules.findings.services.get_with((), Box::pin(services(modules))).await;
    if let Some(task) = modules.tasks.failed() {
        let reason = format!("the background task {task} ended unexpectedly");
        reasons.insert("tasks".to_owned(), reason);
    }
    let commits = modules.chat.writer.commits();
    let status = if modules.gateway.is_draining() {
        Status::Draining
    } else if services.postgres == Part::Down || commits != Commits::Ok {
        Status::Down
    } else if [services.redis, services.mysql, services.s3].contains(&Part::Down) {
        Status::Degraded
    } else {
        Status::Ok
    };
    let code = match status {
        Status::Ok | Status::Degraded => StatusCode::OK,
        Status::Down | Status::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    let health = Health {
        status,
        services,
        reasons,
        commits,
        durability: modules.database.durability(),
        node: modules.gateway.node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime: modules.started.elapsed().as_secs(),
    };
    (code, health)
}

/// Whether each service answers; `None` if it is in this process or not configured.
pub(crate) async fn up(modules: &Modules) -> [(&'static str, Option<bool>); 4] {
    let (services, _) = modules.findings.services.get_with((), Box::pin(services(modules))).await;
    let Services { postgres, redis, mysql, s3 } = services;
    [("postgres", postgres), ("redis", redis), ("mysql", mysql), ("s3", s3)].map(|(name, part)| {
        let up = match part {
            Part::Up => Some(true),
            Part::Down => Some(false),
            Part::Embedded | Part::Off => None,
        };
        (name, up)
    })
}

async fn services(modules: &Modules) -> (Services, Reasons) {
    let (postgres, redis, mysql, s3) = tokio::join!(
        answers(modules.database.ping()),
        timeout(PART_TIMEOUT, modules.bus.ping()),
        answers(modules.chat.people.ping()),
        answers(modules.chat.images.ping())
    );
    let mut reasons = Reasons::new();
    let mut because = |service: &str, reason: &dyn Display| {
        reasons.insert(service.to_owned(), reason.to_string());
    };
    if let (Part::Down, Some(reason)) = (postgres, modules.database.unfit()) {
        because("postgres", &reason);
    }
    let redis = match redis {
        Ok(Ok(())) => Part::Up,
        Ok(Err(reason)) => {
            because("redis", &reason);
            Part::Down
        }
        Err(_) => Part::Down,
    };
    let unless_set = |set: bool, state: Part, instead: Part| match state {
        Part::Up if !set => instead,
        state => state,
    };
    let services = Services {
        postgres: unless_set(modules.config.postgres.is_some(), postgres, Part::Embedded),
        redis: unless_set(modules.config.redis.is_some(), redis, Part::Off),
        mysql: unless_set(modules.config.mysql.is_some(), mysql, Part::Embedded),
        s3: unless_set(modules.config.s3.is_some(), s3, Part::Embedded),
    };
    (services, reasons)
}

async fn answers<E>(ping: impl Future<Output = Result<(), E>>) -> Part {
    match timeout(PART_TIMEOUT, ping).await {
        Ok(Ok(())) => Part::Up,
        _ => Part::Down,
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    name: &'static str,
    version: &'static str,
}

/// Name and version of the program.
#[utoipa::path(
    get, path = "", tag = "node", security(()),
    responses((status = 200, body = Version, description = "The name and version of the program."), Problems<(Anyone,)>)
)]
pub(crate) async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}
