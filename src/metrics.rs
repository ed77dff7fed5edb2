//! What a node counts, for Prometheus: no name, id or text of anybody's.

use std::{sync::atomic::AtomicU64, time::Duration};

use moka::future::Cache;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::app::App;

/// What became of an attempt to push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum PushOutcome {
    Made,
    /// Tried again later.
    PutOff,
    /// The member was connected, or had nothing to be told.
    Spared,
    GivenUp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PushLabels {
    outcome: PushOutcome,
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Limit {
    Sends,
    Frames,
    Requests,
    UserConnections,
    AddressConnections,
    /// TCP connections that are no sockets.
    Accepted,
    /// Refusals: the connection was closed.
    Flood,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: Limit,
}

/// What was refused, by what there was too much of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Family<LimitLabels, Counter>);

impl Refusals {
    pub(crate) fn count(&self, limit: Limit) {
        self.0.get_or_create(&LimitLabels { limit }).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    state: &'static str,
}

/// The node's own metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// The last answer, for a second: whoever asks without end is no work for the database.
    pub(crate) recent: Cache<(), String>,
    connections: Gauge,
    push_jobs: Family<JobLabels, Gauge<u64, AtomicU64>>,
    pushes: Family<PushLabels, Counter>,
    pub(crate) refusals: Refusals,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("frontdesk");
        let (connections, push_jobs, pushes) =
            (Gauge::default(), Family::default(), Family::default());
        registry.register("connections", "Open sockets of this node", connections.clone());
        registry.register(
            "push_jobs",
            "Jobs of pushes in the store, of all nodes, by state",
            Family::clone(&push_jobs),
        );
        registry.register(
            "push_attempts",
            "Attempts of this node to push, by outcome",
            Family::clone(&pushes),
        );
        let refusals = Refusals::default();
        registry.register("refusals", "What this node refused, by limit", refusals.0.clone());
        let recent = Cache::builder().max_capacity(1).time_to_live(Duration::from_secs(1)).build();
        Self { registry, recent, connections, push_jobs, pushes, refusals }
    }

    pub(crate) fn pushed(&self, outcome: PushOutcome) {
        self.pushes.get_or_create(&PushLabels { outcome }).inc();
    }

    /// Everything as it is now, in the text format of `OpenMetrics` 1.0.
    pub(crate) async fn text(&self, app: &App) -> String {
        self.connections.set(i64::try_from(app.hub.len()).unwrap_or(i64::MAX));
        // What can't be had keeps its last value: a scrape is not to fail with the database.
        if let Ok(counts) = app.store.push_counts().await {
            let jobs =
                [("waiting", counts.waiting), ("taken", counts.taken), ("dead", counts.dead)];
            for (state, count) in jobs {
                self.push_jobs.get_or_create(&JobLabels { state }).set(count);
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).map_or_else(|_| String::new(), |()| text)
    }
}
