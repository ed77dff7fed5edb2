//! The worker of one queue on one node.
//!
//! It reads the table when a job becomes due, and otherwise seldom: this node and others send hints
//! ([`JobsDue`]), and each reading finds the time of the next job. Tenants take turns, and none may occupy all
//! attempts of a node, so that the backlog of one starves nobody.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{JobTable, counts::JobCounts, schedules};
use crate::StoreError;
use platform::{
    jobs::{Job, JobHandler, JobsDue, Module, Outcome, pause},
    tasks::{Stage, Tasks},
};

/// Maximum time between two readings of the table. It bounds the delay of a job whose node was killed before
/// its hint.
const POLL: Duration = Duration::from_secs(15);
/// Minimum time between two readings, unless the first one leased all that it asked for.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause after a failure of the database.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);
/// Lease of a job beyond the maximum time of its attempt.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// Maximum number of attempts. With the pauses between them they take some hours.
const ATTEMPTS_MAX: u32 = 12;

/// Parts of the workers.
#[derive(Clone)]
pub struct Runner {
    /// The jobs.
    pub table: JobTable,
    /// Hints that jobs are due.
    pub due: JobsDue,
    /// Owner of the background tasks.
    pub tasks: Tasks,
    /// Counters.
    pub counts: JobCounts,
}

/// Starts a worker for each queue, and the periodic jobs. The workers end when the node drains and their
/// attempts are settled. Remaining jobs are left to other nodes, or to the next start.
pub fn start(runner: &Runner, modules: Vec<Module>) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for Module { handlers, schedules } in modules {
        for handler in handlers {
            let (runner, name) = (runner.clone(), handler.queue());
            runner.counts.begin(name);
            let queue = Arc::new(Queue { runner, handler });
            queue.runner.tasks.clone().spawn_settling(Stage::Jobs, name, queue.run());
        }
        all.extend(schedules);
    }
    let keeping = schedules::keep(runner.table.clone(), runner.due.clone(), all)?;
    runner.tasks.spawn(Stage::Jobs, "schedules", keeping);
    Ok(())
}

struct Queue {
    runner: Runner,
    handler: Arc<dyn JobHandler>,
}

/// End of an attempt: its tenant, and the pause that its service asks for.
type Ended = (i64, Option<Duration>);

/// State of the worker between two readings.
#[derive(Default)]
struct Progress {
    under_way: JoinSet<Ended>,
    /// Number of attempts under way of each tenant.
    of_tenant: HashMap<i64, usize>,
    /// Tenants whose service asks for a pause, with its end.
    quiet: HashMap<i64, Instant>,
    /// The tenant that was served last.
    last_tenant: i64,
}

impl Progress {
    fn ended(&mut self, (tenant, retry_after): Ended) {
        if let Some(count) = self.of_tenant.get_mut(&tenant) {
            *count -= 1;
            if *count == 0 {
                self.of_tenant.remove(&tenant);
            }
        }
        if let Some(after) = retry_after {
            let until = Instant::now() + after;
            let quiet = self.quiet.entry(tenant).or_insert(until);
            *quiet = until.max(*quiet);
        }
    }

    /// After a panic the counts of tenants are unknown: they begin anew, so that no tenant is held back.
    fn recount(&mut self) {
        self.of_tenant.clear();
    }
}

impl Queue {
    async fn run(self: Arc<Self>) {
        let mut draining = pin!(self.runner.tasks.ending(Stage::Jobs));
        let mut times = self.runner.due.times();
        let mut progress = Progress::default();
        let mut wake_at = Instant::now();
        loop {
            let has_room = progress.under_way.len() < self.handler.concurrency();
            tokio::select! {
                // In this order: what has ended makes room before more is leased.
                biased;
                () = &mut draining => break,
                Some(ended) = progress.under_way.join_next() => {
                    match ended {
                        Ok(ended) => progress.ended(ended),
                        // The attempt panicked: its tenant is unknown. The job runs again after its lease.
                        Err(_) => progress.recount(),
                    }
                    // A place is free, or a job that waited for this one.
                    wake_at = Instant::now();
                }
                at = times.next() => wake_at = wake_at.min(at),
                () = sleep_until(wake_at), if has_room => {
                    let next = match self.lease(&mut progress).await {
                        Ok(Duration::ZERO) => Duration::ZERO,
                        Ok(next) => next.clamp(PAUSE, POLL),
                        Err(error) => {
                            tracing::warn!(queue = self.handler.queue(), %error, "jobs not read");
                            DATABASE_PAUSE
                        }
                    };
                    wake_at = Instant::now() + next;
                }
            }
        }
        while progress.under_way.join_next().await.is_some() {}
    }

    /// Leases as many jobs as there is room for. Returns the time until the next reading.
    async fn lease(self: &Arc<Self>, progress: &mut Progress) -> Result<Duration, StoreError> {
        let (table, queue) = (&self.runner.table, self.handler.queue());
        let now = Instant::now();
        progress.quiet.retain(|_, until| *until > now);
        let tenants = table.tenants(queue).await?;
        let later = tenants.iter().filter_map(|tenant| tenant.next);
        let quiet = progress.quiet.values().map(|until| *until - now);
        let mut next = later.chain(quiet).min().unwrap_or(POLL);
        let mut due: Vec<_> = tenants
            .iter()
            .filter(|tenant| tenant.is_due && !progress.quiet.contains_key(&tenant.tenant))
            .map(|tenant| tenant.tenant)
            .collect();
        due.sort_unstable_by_key(|tenant| (*tenant <= progress.last_tenant, *tenant));
        let room = self.handler.concurrency().saturating_sub(progress.under_way.len());
        let share = room.div_ceil(due.len().max(1));
        for tenant in due {
            let room = self.handler.concurrency().saturating_sub(progress.under_way.len());
            let of_tenant = progress.of_tenant.get(&tenant).copied().unwrap_or_default();
            let limit = share.min(room).min(self.tenant_max().saturating_sub(of_tenant));
            if limit == 0 {
                continue;
            }
            let lease = self.handler.timeout() + LEASE_MARGIN;
            let jobs = table.lease(queue, tenant, bounded(limit), lease).await?;
            if jobs.len() == limit {
                next = Duration::ZERO;
            }
            progress.last_tenant = tenant;
            *progress.of_tenant.entry(tenant).or_default() += jobs.len();
            for job in jobs {
                let queue = Arc::clone(self);
                let attempt = async move { (job.tenant, queue.attempt(&job).await) };
                progress.under_way.spawn(self.runner.tasks.watched("jobs.attempt", attempt));
            }
        }
        progress.of_tenant.retain(|_, count| *count > 0);
        Ok(next)
    }

    /// Maximum number of attempts of one tenant under way: a quarter of all is left to others.
    fn tenant_max(&self) -> usize {
        (self.handler.concurrency() * 3).div_ceil(4)
    }

    /// One attempt and its settlement. Returns the pause that the service asks for.
    async fn attempt(&self, job: &Job) -> Option<Duration> {
        let (handler, table) = (&self.handler, &self.runner.table);
        let outcome = if job.attempts > ATTEMPTS_MAX {
            // The last node that leased it never settled it.
            Outcome::Refused { code: "unsettled".to_owned() }
        } else {
            let outcome = timeout(handler.timeout(), handler.run(job)).await;
            outcome
                .unwrap_or_else(|_| Outcome::Failed { retry_after: None, code: "timeout".into() })
        };
        self.runner.counts.attempted(handler.queue(), &outcome);
        let mut retry = None;
        let settled = match outcome {
            Outcome::Done => table.finish(handler.queue(), job).await,
            Outcome::Dropped => table.drop(job).await,
            Outcome::Later { after, reason } => table.reschedule(job, after, reason).await,
            Outcome::Failed { retry_after, code } if job.attempts < ATTEMPTS_MAX => {
                retry = retry_after;
                table.reschedule(job, pause(job.attempts, retry_after), &code).await
            }
            Outcome::Failed { code, .. } | Outcome::Refused { code } => {
                let (queue, attempts) = (handler.queue(), job.attempts);
                tracing::warn!(queue, job = %job.id, code, attempts, "job given up");
                table.dead_letter(job, &code).await
            }
        };
        if let Err(error) = settled {
            let queue = handler.queue();
            tracing::warn!(queue, %error, "job not settled; its lease ends and it runs again");
        }
        retry
    }
}

fn bounded(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}
