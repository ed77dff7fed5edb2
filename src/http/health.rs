//! `/health`, `/health/live`, `/health/ready` and `/version`.

use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use moka::future::Cache;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    app::App,
    openapi::problems::{Anyone, Problems},
    platform::metrics::Format,
    store::{postgres::durability::Durability, writer::Commits},
};

/// Time limit of a part to answer. A slower part counts as down.
const PART_TIMEOUT: Duration = Duration::from_secs(2);

/// State of a part.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Part {
    Up,
    Down,
    /// The part is in this process.
    Embedded,
    /// The part is not configured.
    Off,
}

#[derive(Clone, Serialize, ToSchema)]
struct Services {
    postgres: Part,
    redis: Part,
    mysql: Part,
    s3: Part,
}

/// Reasons by the name of the service.
type Reasons = BTreeMap<String, String>;

/// Last findings, kept for a second: frequent requests are no work for the parts, and concurrent ones share one
/// check.
pub(crate) struct Findings {
    store: Cache<(), Part>,
    services: Cache<(), (Services, Reasons)>,
}

impl Findings {
    pub(crate) fn new() -> Self {
        Self { store: recent(), services: recent() }
    }
}

fn recent<T: Clone + Send + Sync + 'static>() -> Cache<(), T> {
    Cache::builder().max_capacity(1).time_to_live(Duration::from_secs(1)).build()
}

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
pub(crate) async fn ready(State(app): State<Arc<App>>) -> StatusCode {
    let store = async { answers(app.store.ping()).await };
    let up = app.findings.store.get_with((), store).await == Part::Up && !app.is_draining();
    if up && app.tasks.failed().is_none() && app.writer.commits() == Commits::Ok {
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
pub(crate) async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let (code, health) = probe(&app).await;
    (code, Json(health))
}

/// Answer of `/health` on the public port, if the details are on `ADMIN_PORT`.
#[derive(Serialize)]
pub(crate) struct Bare {
    status: Status,
}

pub(crate) async fn status(State(app): State<Arc<App>>) -> (StatusCode, Json<Bare>) {
    let (code, health) = probe(&app).await;
    (code, Json(Bare { status: health.status }))
}

async fn probe(app: &App) -> (StatusCode, Health) {
    // Boxed, because the future of four concurrent checks is large.
    let (services, mut reasons) = app.findings.services.get_with((), Box::pin(services(app))).await;
    if let Some(task) = app.tasks.failed() {
        let reason = format!("the background task {task} ended unexpectedly");
        reasons.insert("tasks".to_owned(), reason);
    }
    let commits = app.writer.commits();
    let status = if app.is_draining() {
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
        durability: app.store.durability(),
        node: app.node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime: app.started.elapsed().as_secs(),
    };
    (code, health)
}

/// Whether each service answers; `None` if it is in this process or not configured.
pub(crate) async fn up(app: &App) -> [(&'static str, Option<bool>); 4] {
    let (services, _) = app.findings.services.get_with((), Box::pin(services(app))).await;
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

async fn services(app: &App) -> (Services, Reasons) {
    let (postgres, redis, mysql, s3) = tokio::join!(
        answers(app.store.ping()),
        timeout(PART_TIMEOUT, app.bus.ping()),
        answers(app.people.ping()),
        answers(app.images.ping())
    );
    let mut reasons = Reasons::new();
    let mut because = |service: &str, reason: &dyn Display| {
        reasons.insert(service.to_owned(), reason.to_string());
    };
    if let (Part::Down, Some(reason)) = (postgres, app.store.unfit()) {
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
        postgres: unless_set(app.config.postgres.is_some(), postgres, Part::Embedded),
        redis: unless_set(app.config.redis.is_some(), redis, Part::Off),
        mysql: unless_set(app.config.mysql.is_some(), mysql, Part::Embedded),
        s3: unless_set(app.config.s3.is_some(), s3, Part::Embedded),
    };
    (services, reasons)
}

async fn answers<E>(ping: impl Future<Output = Result<(), E>>) -> Part {
    match timeout(PART_TIMEOUT, ping).await {
        Ok(Ok(())) => Part::Up,
        _ => Part::Down,
    }
}

/// Metrics of the node, for operators. They must not be public.
#[utoipa::path(
    get, path = "", tag = "node", security(()),
    responses(
        (status = 200, description = "OpenMetrics if the client accepts it, otherwise the Prometheus text format.", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
        Problems<(Anyone,)>,
    )
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::asked(&headers);
    let text = app.metrics.text(&app, format).await;
    ([(header::CONTENT_TYPE, format.content_type())], text.to_string())
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
