//! `/metrics`: sets the gauges, and encodes all metrics.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::IntoResponse,
};
use prometheus_client::encoding::text::encode;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    health,
    metrics::{NodeGauges, Others},
    modules::Modules,
};
use bus::broadcast::Room;
use chat::{outbound::counts::place, pushes::QUEUE};
use db::jobs::JobCount;
use platform::metrics::{Format, text, whole};
use protocol::problems::{Anyone, Problems};

/// States of jobs.
const STATES: [&str; 3] = ["waiting", "taken", "dead"];
/// Time limit for the database to count jobs. If it is exceeded, a gauge keeps its last value.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of an answer for values from other services. Later values are in the next answer: a scrape must
/// not fail together with the service that it reports.
const WAIT: Duration = Duration::from_millis(400);

impl Others {
    async fn collect(self, modules: Arc<Modules>) {
        let jobs = timeout(COUNT_TIMEOUT, modules.jobs.table.counts());
        let backlog = timeout(COUNT_TIMEOUT, modules.chat.store.search_backlog());
        let (services, jobs, backlog) = tokio::join!(Box::pin(health::up(&modules)), jobs, backlog);
        if let Ok(Ok(backlog)) = backlog {
            modules.metrics.search.backlog.set(backlog);
        }
        for (service, up) in services {
            if let Some(up) = up {
                self.services.get_or_create(&[("service", service)]).set(i64::from(up));
            }
        }
        if let Ok(Ok(jobs)) = jobs {
            self.set_jobs(&jobs);
        }
    }
}

impl Others {
    fn set_jobs(&self, counts: &[JobCount]) {
        let whole = |count| i64::try_from(count).unwrap_or(i64::MAX);
        // A queue or state without jobs is 0, not absent.
        for queue in ["housekeeping", QUEUE] {
            for state in STATES {
                let labels = [("queue", queue.to_owned()), ("state", state.to_owned())];
                self.jobs.get_or_create(&labels).set(0);
            }
            self.overdue.get_or_create(&[("queue", queue.to_owned())]).set(0);
        }
        for JobCount { queue, .. } in counts {
            self.overdue.get_or_create(&[("queue", queue.clone())]).set(0);
        }
        for (gauge, state) in self.pushes.iter().zip(STATES) {
            let of_state = counts.iter().find(|it| it.queue == QUEUE && it.state == state);
            gauge.set(whole(of_state.map_or(0, |count| count.jobs)));
        }
        for JobCount { queue, state, jobs, overdue } in counts {
            let labels = [("queue", queue.clone()), ("state", state.clone())];
            self.jobs.get_or_create(&labels).set(whole(*jobs));
            let longest = self.overdue.get_or_create(&[("queue", queue.clone())]);
            longest.set(longest.get().max(whole(*overdue)));
        }
    }
}

impl NodeGauges {
    async fn collect(&self, modules: &Arc<Modules>) {
        self.collect_connections(modules);
        self.writer_queue.set(whole(modules.chat.writer.waiting()));
        self.writer_stalled.set(modules.chat.writer.stalled_for().as_secs_f64());
        self.writer_troubled.set(whole(modules.chat.writer.troubled()));
        self.bus_queue.set(whole(modules.bus.waiting()));
        self.hub_queue.set(modules.metrics.hub.queue.get());
        self.directory_queue.set(whole(modules.chat.people.waiting()));
        self.draining.set(i64::from(modules.gateway.is_draining()));
        let runtime = tokio::runtime::Handle::current();
        self.tasks.set(whole(runtime.metrics().num_alive_tasks()));
        if let Some(pool) = modules.database.pool() {
            self.pool_max.set(whole(pool.max_size));
            self.pool_open.set(whole(pool.size));
            self.pool_in_use.set(whole(pool.size.saturating_sub(pool.available)));
            self.pool_waiting.set(whole(pool.waiting));
        }
        let (others, modules) = (self.others.clone(), Arc::clone(modules));
        let (done, looked) = oneshot::channel::<()>();
        modules.tasks.clone().spawn_once("metrics.collect", async move {
            others.collect(modules).await;
            drop(done);
        });
        if timeout(WAIT, looked).await.is_err() {
            tracing::debug!("metrics of other services are late; this scrape shows older values");
        }
    }

    fn collect_connections(&self, modules: &Modules) {
        let (mut counts, mut waiting, mut bytes) = ([0; 2], 0, 0);
        let mut longest = Duration::ZERO;
        let mut by_tenant = HashMap::<_, i64>::new();
        for outbound in modules.chat.hub.connections() {
            *by_tenant.entry(outbound.scope().tenant).or_default() += 1;
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
        for (tenant, gauge) in &self.of_tenants {
            gauge.set(by_tenant.get(tenant).copied().unwrap_or(0));
        }
        let (held, budget) = modules.chat.memory.usage();
        self.memory_waiting.set(whole(held));
        self.memory_budget.set(whole(budget));
        self.outbound_waiting.set(waiting);
        self.outbound_bytes.set(whole(bytes));
        self.outbound_longest.set(longest.as_secs_f64());
        let (mut sessions, mut users) = (0, 0);
        modules.chat.hub.each_room(|room| match room {
            Room::Session(_) => sessions += 1,
            Room::User(_) => users += 1,
        });
        self.session_rooms.set(sessions);
        self.user_rooms.set(users);
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
pub(crate) async fn metrics(
    State(modules): State<Arc<Modules>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let format = Format::asked(&headers);
    let text = text(&modules, format).await;
    ([(header::CONTENT_TYPE, format.content_type())], text.to_string())
}

/// All metrics, at most a second old.
pub(crate) async fn text(modules: &Arc<Modules>, format: Format) -> Arc<str> {
    let recent = &modules.metrics.recent;
    let openmetrics = recent.get_with(Format::OpenMetrics, openmetrics(modules)).await;
    if format == Format::OpenMetrics {
        return openmetrics;
    }
    recent.get_with(format, async { text::plain(&openmetrics).into() }).await
}

async fn openmetrics(modules: &Arc<Modules>) -> Arc<str> {
    modules.metrics.node.collect(modules).await;
    let mut text = String::new();
    // Writing to a string does not fail.
    encode(&mut text, &modules.metrics.registry).map_or_else(|_| Arc::default(), |()| text.into())
}
