//! Metrics of a node, for Prometheus. They contain no name, id, address or text of any person.
//!
//! There is one file per noun. Each part of the node holds its counters, made in advance for every value of a
//! label. So counting is an addition, and every series exists from the start. Only requests ([`http`]) are
//! looked up by their route, which only the router knows: their series begin with the first request.

pub(crate) mod auth;
pub(crate) mod bus;
pub(crate) mod connections;
pub(crate) mod database;
pub(crate) mod delivery;
pub(crate) mod directory;
pub(crate) mod distrust;
mod histogram;
pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod limits;
pub(crate) mod memory;
mod node;
pub(crate) mod pushes;
pub(crate) mod reads;
#[cfg(target_os = "linux")]
mod resources;
mod runtime;
pub(crate) mod search;
pub(crate) mod tasks;
mod text;
pub(crate) mod writer;

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::{
    app::App,
    platform::tasks::{Stage, Tasks},
};
use histogram::Histogram;
pub(crate) use text::Format;

/// One label.
type Label = [(&'static str, &'static str); 1];

/// Lifetime of an answer, so that frequent scrapes are no work for the database.
const RECENT: Duration = Duration::from_secs(1);

/// Counters of one name, by the values of one label.
fn counters<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family = Family::<Label, Counter>::default();
    let counters = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    counters
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Gauges of one name, by the values of one label.
fn gauges<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Gauge; N] {
    let family = Family::<Label, Gauge>::default();
    let gauges = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    gauges
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Histograms of one name, by the values of one label.
fn histograms<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Histogram; N] {
    let family = Family::<Label, Histogram>::default();
    let histograms = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    histograms
}

/// A histogram of durations.
fn durations(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::durations();
    registry.register(name, help, histogram.clone());
    histogram
}

/// A histogram of sizes.
fn sizes(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::sizes();
    registry.register(name, help, histogram.clone());
    histogram
}

/// A count as a gauge value.
fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Metrics of this node.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    recent: Cache<Format, Arc<str>>,
    pub(crate) auth: auth::Tokens,
    pub(crate) bus: bus::BusCounts,
    pub(crate) cognito: auth::KeySetCounts,
    pub(crate) connections: Arc<connections::ConnectionCounts>,
    pub(crate) database: database::DatabaseCounts,
    pub(crate) delivery: Arc<delivery::Delivery>,
    pub(crate) directory: directory::DirectoryCounts,
    pub(crate) distrust: distrust::DistrustCounts,
    pub(crate) django: auth::KeySetCounts,
    pub(crate) http: http::HttpCounts,
    pub(crate) hub: hub::HubCounts,
    pub(crate) memory: memory::MemoryCounts,
    pub(crate) pushes: pushes::PushCounts,
    pub(crate) reads: reads::ReadCounts,
    pub(crate) refusals: limits::Refusals,
    pub(crate) search: search::SearchCounts,
    pub(crate) tasks: tasks::TaskCounts,
    pub(crate) writer: writer::WriterCounts,
    runtime_delay: Histogram,
    node: node::NodeGauges,
}

impl Metrics {
    /// Registers all metrics.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(resources::Resources));
        let ours = registry.sub_registry_with_prefix("frontdesk");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "Version of frontdesk", version);
        let delivery = Arc::new(delivery::Delivery::new(ours));
        let [cognito, django] = auth::key_sets(ours);
        Self {
            auth: auth::Tokens::new(ours),
            bus: bus::BusCounts::new(ours),
            cognito,
            connections: Arc::new(connections::ConnectionCounts::new(ours, Arc::clone(&delivery))),
            database: database::DatabaseCounts::new(ours),
            directory: directory::DirectoryCounts::new(ours),
            distrust: distrust::DistrustCounts::new(ours),
            django,
            http: http::HttpCounts::new(ours),
            hub: hub::HubCounts::new(ours, Arc::clone(&delivery)),
            memory: memory::MemoryCounts::new(ours),
            pushes: pushes::PushCounts::new(ours),
            reads: reads::ReadCounts::new(ours),
            refusals: limits::Refusals::new(ours),
            runtime_delay: runtime::histogram(ours),
            search: search::SearchCounts::new(ours),
            tasks: tasks::TaskCounts::new(ours),
            writer: writer::WriterCounts::new(ours, Arc::clone(&delivery)),
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
