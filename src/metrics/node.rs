//! Gauges that are set at each scrape: numbers of things, and lengths of queues.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{sync::oneshot, time::timeout};

use crate::connection::counts::{FRAMINGS, place};
use crate::platform::metrics::{Label, gauge, gauges, whole};
use crate::{app::App, http::health, store::push_jobs::PushCounts, wire::broadcast::Room};

/// Time limit for the database to count jobs. If it is exceeded, a gauge keeps its last value.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of an answer for values from other services. Later values are in the next answer: a scrape must
/// not fail together with the service that it reports.
const WAIT: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub(super) struct NodeGauges {
    connections: [Gauge; 2],
    session_rooms: Gauge,
    user_rooms: Gauge,
    outbound_bytes: Gauge,
    memory_waiting: Gauge,
    memory_budget: Gauge,
    outbound_waiting: Gauge,
    outbound_longest: Gauge<f64, AtomicU64>,
    writer_queue: Gauge,
    writer_stalled: Gauge<f64, AtomicU64>,
    writer_troubled: Gauge,
    bus_queue: Gauge,
    hub_queue: Gauge,
    directory_queue: Gauge,
    pool_max: Gauge,
    pool_open: Gauge,
    pool_in_use: Gauge,
    pool_waiting: Gauge,
    draining: Gauge,
    tasks: Gauge,
    others: Others,
}

/// Gauges whose values come from other services.
#[derive(Clone, Debug)]
struct Others {
    services: Family<Label, Gauge>,
    jobs: [Gauge; 3],
}

impl Others {
    async fn collect(self, app: Arc<App>) {
        let jobs = timeout(COUNT_TIMEOUT, app.store.push_counts());
        let backlog = timeout(COUNT_TIMEOUT, app.store.search_backlog());
        let (services, jobs, backlog) = tokio::join!(Box::pin(health::up(&app)), jobs, backlog);
        if let Ok(Ok(backlog)) = backlog {
            app.metrics.search.backlog.set(backlog);
        }
        for (service, up) in services {
            if let Some(up) = up {
                self.services.get_or_create(&[("service", service)]).set(i64::from(up));
            }
        }
        if let Ok(Ok(PushCounts { waiting, taken, dead })) = jobs {
            for (gauge, count) in self.jobs.iter().zip([waiting, taken, dead]) {
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}

impl NodeGauges {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let help = "Open connections, by framing";
        let connections = gauges(registry, "connections", help, "framing", FRAMINGS);
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
        let help = "Push jobs in the store, of all nodes, by state";
        let states = ["waiting", "taken", "dead"];
        let jobs = gauges(registry, "push_jobs", help, "state", states);
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
            others: Others { services, jobs },
            draining: gauge(registry, "draining", "1 while the node drains"),
            tasks: gauge(registry, "runtime_tasks", "Live tasks of the runtime"),
        }
    }

    pub(super) async fn collect(&self, app: &Arc<App>) {
        self.collect_connections(app);
        self.writer_queue.set(whole(app.writer.waiting()));
        self.writer_stalled.set(app.writer.stalled_for().as_secs_f64());
        self.writer_troubled.set(whole(app.writer.troubled()));
        self.bus_queue.set(whole(app.bus.waiting()));
        self.hub_queue.set(app.metrics.hub.queue.get());
        self.directory_queue.set(whole(app.people.waiting()));
        self.draining.set(i64::from(app.is_draining()));
        let runtime = tokio::runtime::Handle::current();
        self.tasks.set(whole(runtime.metrics().num_alive_tasks()));
        if let Some(pool) = app.store.pool() {
            self.pool_max.set(whole(pool.max_size));
            self.pool_open.set(whole(pool.size));
            self.pool_in_use.set(whole(pool.size.saturating_sub(pool.available)));
            self.pool_waiting.set(whole(pool.waiting));
        }
        let (others, app) = (self.others.clone(), Arc::clone(app));
        let (done, looked) = oneshot::channel::<()>();
        app.tasks.clone().spawn_once("metrics.collect", async move {
            others.collect(app).await;
            drop(done);
        });
        if timeout(WAIT, looked).await.is_err() {
            tracing::debug!("metrics of other services are late; this scrape shows older values");
        }
    }

    fn collect_connections(&self, app: &App) {
        let (mut counts, mut waiting, mut bytes) = ([0; 2], 0, 0);
        let mut longest = Duration::ZERO;
        for outbound in app.hub.connections() {
            if let Some(count) = counts.get_mut(place(outbound.framing())) {
                *count += 1;
            }
            if let Some((waiting_bytes, since)) = outbound.waiting() {
                waiting += 1;
                bytes += waiting_bytes;
                longest = longest.max(since);
            }
        }
        for (gauge, count) in self.connections.iter().zip(counts) {
            gauge.set(count);
        }
        let (held, budget) = app.memory.usage();
        self.memory_waiting.set(whole(held));
        self.memory_budget.set(whole(budget));
        self.outbound_waiting.set(waiting);
        self.outbound_bytes.set(whole(bytes));
        self.outbound_longest.set(longest.as_secs_f64());
        let (mut sessions, mut users) = (0, 0);
        app.hub.each_room(|room| match room {
            Room::Session(_) => sessions += 1,
            Room::User(_) => users += 1,
        });
        self.session_rooms.set(sessions);
        self.user_rooms.set(users);
    }
}
