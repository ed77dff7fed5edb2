//! Gauges that are set at each scrape: numbers of things, and lengths of queues.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use chat::outbound::counts::FRAMINGS;
use model::ids::TenantId;
use platform::metrics::{Label, gauge, gauges, gauges_of};

#[derive(Debug)]
pub(crate) struct NodeGauges {
    pub(crate) connections: [Gauge; 2],
    /// Connections of the tenants that the operator has listed.
    pub(crate) of_tenants: Vec<(TenantId, Gauge)>,
    pub(crate) session_rooms: Gauge,
    pub(crate) user_rooms: Gauge,
    pub(crate) outbound_bytes: Gauge,
    pub(crate) memory_waiting: Gauge,
    pub(crate) memory_budget: Gauge,
    pub(crate) outbound_waiting: Gauge,
    pub(crate) outbound_longest: Gauge<f64, AtomicU64>,
    pub(crate) writer_queue: Gauge,
    pub(crate) writer_stalled: Gauge<f64, AtomicU64>,
    pub(crate) writer_troubled: Gauge,
    pub(crate) bus_queue: Gauge,
    pub(crate) hub_queue: Gauge,
    pub(crate) directory_queue: Gauge,
    pub(crate) pool_max: Gauge,
    pub(crate) pool_open: Gauge,
    pub(crate) pool_in_use: Gauge,
    pub(crate) pool_waiting: Gauge,
    pub(crate) draining: Gauge,
    pub(crate) tasks: Gauge,
    pub(crate) others: Others,
}

/// Labels of a gauge of jobs.
pub(crate) type JobLabels = [(&'static str, String); 2];

/// Gauges whose values come from other services.
#[derive(Clone, Debug)]
pub(crate) struct Others {
    pub(crate) services: Family<Label, Gauge>,
    pub(crate) jobs: Family<JobLabels, Gauge>,
    pub(crate) overdue: Family<[(&'static str, String); 1], Gauge>,
    pub(crate) pushes: [Gauge; 3],
}

impl NodeGauges {
    pub(crate) fn new(registry: &mut Registry, tenants: &[TenantId]) -> Self {
        let help = "Open connections, by framing";
        let connections = gauges(registry, "connections", help, "framing", FRAMINGS);
        let help = "Open connections of the tenants in METRICS_TENANTS";
        let numbers = tenants.iter().map(|tenant| tenant.number().to_string());
        let counted = gauges_of(registry, "tenant_connections", help, "tenant", numbers);
        let of_tenants = tenants.iter().copied().zip(counted).collect();
        let help = "Rooms with subscribers on this node: of sessions, and of users (inboxes)";
        let [session_rooms, user_rooms] =
            gauges(registry, "rooms", help, "kind", ["session", "user"]);
        let help = "Entries in a queue of this node";
        let queues = ["writer", "bus", "hub", "directory"];
        let [writer_queue, bus_queue, hub_queue, directory_queue] =
            gauges(registry, "queue_length", help, "queue", queues);
        let help = "Connections to PostgreSQL: the maximum, the open ones, those in use, and the \
                    operations that wait for one";
        let states = ["max", "open", "in_use", "waited_for"];
        let [pool_max, pool_open, pool_in_use, pool_waiting] =
            gauges(registry, "database_pool_connections", help, "state", states);
        let help = "Push jobs in the store, of all nodes, by state; the same as frontdesk_jobs of the queue pushes";
        let states = ["waiting", "taken", "dead"];
        let pushes = gauges(registry, "push_jobs", help, "state", states);
        let jobs = Family::default();
        let help = "Jobs in the store, of all nodes, by queue and state";
        registry.register("jobs", help, Family::clone(&jobs));
        let overdue = Family::default();
        let help = "Time since the oldest job of a queue should have run";
        registry.register("jobs_overdue_seconds", help, Family::clone(&overdue));
        let outbound_longest = Gauge::default();
        let help = "Longest time for which a connection with waiting bytes has accepted none";
        registry.register("outbound_longest_wait_seconds", help, outbound_longest.clone());
        let services = Family::default();
        let help = "1 if a configured service answers this node, otherwise 0";
        registry.register("service_up", help, Family::clone(&services));
        let help = "Connections with waiting bytes";
        let outbound_waiting = gauge(registry, "outbound_waiting_connections", help);
        let help = "Bytes that wait for readers, as counted against the budget";
        let memory_waiting = gauge(registry, "reader_memory_bytes", help);
        let help = "Budget of bytes that wait for readers";
        let memory_budget = gauge(registry, "reader_memory_budget_bytes", help);
        let help = "Bytes that wait for connections";
        let outbound_bytes = gauge(registry, "outbound_waiting_bytes", help);
        let writer_stalled = Gauge::default();
        let help = "Time without a commit while sends wait";
        registry.register("writer_stalled_seconds", help, writer_stalled.clone());
        let help = "Sessions whose sends wait for a locked row, or are committed separately";
        let writer_troubled = gauge(registry, "writer_troubled_sessions", help);
        Self {
            connections,
            of_tenants,
            session_rooms,
            user_rooms,
            outbound_bytes,
            memory_waiting,
            memory_budget,
            outbound_waiting,
            outbound_longest,
            writer_queue,
            writer_stalled,
            writer_troubled,
            bus_queue,
            hub_queue,
            directory_queue,
            pool_max,
            pool_open,
            pool_in_use,
            pool_waiting,
            others: Others { services, jobs, overdue, pushes },
            draining: gauge(registry, "draining", "1 while the node drains"),
            tasks: gauge(registry, "runtime_tasks", "Live tasks of the runtime"),
        }
    }
}
