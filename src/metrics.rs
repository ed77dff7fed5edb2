//! All metrics of a node, for Prometheus. They contain no name, id, address or text of any person.
//!
//! Each part of the node holds its own counters. Only requests are looked up by their route, which only the
//! router knows: their series begin with the first request.

mod node;

pub(crate) use node::{NodeGauges, Others};

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use prometheus_client::{metrics::info::Info, registry::Registry};

use bus::{cluster::counts::DistrustCounts, counts::BusCounts, delivery::Delivery};
use chat::ChatCounts;
use chat::{
    hub::counts::HubCounts, memory::counts::MemoryCounts, outbound::counts::ConnectionCounts,
    reads::counts::ReadCounts, store::search::counts::SearchCounts, writer::counts::WriterCounts,
};
use db::{counts::DatabaseCounts, jobs::counts::JobCounts};
use gateway::GatewayCounts;
use gateway::{http::counts::HttpCounts, limits::counts::Refusals};
use identity::{
    auth::counts::{KeySetCounts, Tokens, key_sets},
    directory::counts::DirectoryCounts,
};
use integrations::push::counts::PushCounts;
use model::ids::TenantId;
use platform::{
    metrics::{Format, Histogram, runtime},
    tasks::{Stage, Tasks, counts::TaskCounts},
};

/// Lifetime of an answer, so that frequent scrapes are no work for the database.
const SCRAPE_LIFETIME: Duration = Duration::from_secs(1);

/// Metrics of this node.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) recent: Cache<Format, Arc<str>>,
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
    pub(crate) jobs: JobCounts,
    pub(crate) memory: MemoryCounts,
    pub(crate) pushes: PushCounts,
    pub(crate) reads: ReadCounts,
    pub(crate) refusals: Refusals,
    pub(crate) search: SearchCounts,
    pub(crate) tasks: TaskCounts,
    pub(crate) writer: WriterCounts,
    runtime_delay: Histogram,
    pub(crate) node: node::NodeGauges,
}

impl Metrics {
    /// Registers all metrics; those by tenant for these tenants.
    pub(crate) fn new(tenants: &[TenantId]) -> Self {
        let mut registry = Registry::default();
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(platform::metrics::resources::Resources));
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
            jobs: JobCounts::new(ours),
            memory: MemoryCounts::new(ours),
            pushes: PushCounts::new(ours),
            reads: ReadCounts::new(ours),
            refusals: Refusals::new(ours),
            runtime_delay: runtime::histogram(ours),
            search: SearchCounts::new(ours),
            tasks: TaskCounts::new(ours),
            writer: WriterCounts::new(ours, Arc::clone(&delivery), tenants),
            node: node::NodeGauges::new(ours, tenants),
            delivery,
            recent: Cache::builder().max_capacity(2).time_to_live(SCRAPE_LIFETIME).build(),
            registry,
        }
    }

    /// The counters of the core.
    pub(crate) fn of_chat(&self) -> ChatCounts {
        ChatCounts {
            delivery: Arc::clone(&self.delivery),
            directory: self.directory.clone(),
            hub: self.hub.clone(),
            memory: self.memory.clone(),
            reads: self.reads.clone(),
            writer: self.writer.clone(),
        }
    }

    /// The counters of the gateway.
    pub(crate) fn of_gateway(&self) -> GatewayCounts {
        GatewayCounts {
            connections: Arc::clone(&self.connections),
            http: self.http.clone(),
            search: self.search.clone(),
            tokens: self.auth.clone(),
        }
    }

    /// Starts the measurements that need a task.
    pub(crate) fn start(&self, tasks: &Tasks) {
        let measuring = runtime::measure(self.runtime_delay.clone());
        tasks.spawn(Stage::Observation, "metrics.runtime_delay", measuring);
    }
}
