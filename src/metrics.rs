//! All metrics of a node, for Prometheus. They contain no name, id, address or text of any person.
//!
//! Each part of the node holds its own counters. Only requests are looked up by their route, which only the
//! router knows: their series begin with the first request.

mod node;

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};

use crate::{
    app::App,
    auth::counts::KeySetCounts,
    auth::counts::Tokens,
    auth::counts::key_sets,
    bus::counts::BusCounts,
    cluster::counts::DistrustCounts,
    connection::counts::ConnectionCounts,
    directory::counts::DirectoryCounts,
    http::counts::HttpCounts,
    hub::counts::HubCounts,
    limits::counts::Refusals,
    limits::reads::counts::ReadCounts,
    memory::counts::MemoryCounts,
    platform::metrics::{Format, Histogram, runtime, text},
    platform::tasks::counts::TaskCounts,
    platform::tasks::{Stage, Tasks},
    push::counts::PushCounts,
    store::counts::DatabaseCounts,
    store::search::counts::SearchCounts,
    store::writer::counts::WriterCounts,
    wire::delivery::Delivery,
};

/// Lifetime of an answer, so that frequent scrapes are no work for the database.
const RECENT: Duration = Duration::from_secs(1);

/// Metrics of this node.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    recent: Cache<Format, Arc<str>>,
    pub(crate) auth: Tokens,
    pub(crate) bus: BusCounts,
    pub(crate) cognito: KeySetCounts,
    pub(crate) connections: Arc<ConnectionCounts>,
    pub(crate) database: DatabaseCounts,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) directory: DirectoryCounts,
    pub(crate) distrust: DistrustCounts,
    pub(crate) django: KeySetCounts,
    pub(crate) http: HttpCounts,
    pub(crate) hub: HubCounts,
    pub(crate) memory: MemoryCounts,
    pub(crate) pushes: PushCounts,
    pub(crate) reads: ReadCounts,
    pub(crate) refusals: Refusals,
    pub(crate) search: SearchCounts,
    pub(crate) tasks: TaskCounts,
    pub(crate) writer: WriterCounts,
    runtime_delay: Histogram,
    node: node::NodeGauges,
}

impl Metrics {
    /// Registers all metrics.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(crate::platform::metrics::resources::Resources));
        let ours = registry.sub_registry_with_prefix("frontdesk");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "Version of frontdesk", version);
        let delivery = Arc::new(Delivery::new(ours));
        let [cognito, django] = key_sets(ours);
        Self {
            auth: Tokens::new(ours),
            bus: BusCounts::new(ours),
            cognito,
            connections: Arc::new(ConnectionCounts::new(ours, Arc::clone(&delivery))),
            database: DatabaseCounts::new(ours),
            directory: DirectoryCounts::new(ours),
            distrust: DistrustCounts::new(ours),
            django,
            http: HttpCounts::new(ours),
            hub: HubCounts::new(ours, Arc::clone(&delivery)),
            memory: MemoryCounts::new(ours),
            pushes: PushCounts::new(ours),
            reads: ReadCounts::new(ours),
            refusals: Refusals::new(ours),
            runtime_delay: runtime::histogram(ours),
            search: SearchCounts::new(ours),
            tasks: TaskCounts::new(ours),
            writer: WriterCounts::new(ours, Arc::clone(&delivery)),
            node: node::NodeGauges::new(ours),
            delivery,
            recent: Cache::builder().max_capacity(2).time_to_live(RECENT).build(),
            registry,
        }
    }

    /// Starts the measurements that need a task.
    pub(crate) fn start(&self, tasks: &Tasks) {
        let measuring = runtime::measure(self.runtime_delay.clone());
        tasks.spawn(Stage::Observation, "metrics.runtime_delay", measuring);
    }

    /// All metrics, at most a second old.
    pub(crate) async fn text(&self, app: &Arc<App>, format: Format) -> Arc<str> {
        let openmetrics = self.recent.get_with(Format::OpenMetrics, self.openmetrics(app)).await;
        if format == Format::OpenMetrics {
            return openmetrics;
        }
        self.recent.get_with(format, async { text::plain(&openmetrics).into() }).await
    }

    async fn openmetrics(&self, app: &Arc<App>) -> Arc<str> {
        self.node.collect(app).await;
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).map_or_else(|_| Arc::default(), |()| text.into())
    }
}
