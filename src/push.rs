//! Pushes by OneSignal, for people who are connected nowhere.
//!
//! Each node leases due jobs from the store ([`crate::store::push_jobs`]), a few at a time. Sends do not wait
//! for pushes: a send only writes its job beside its message.

pub(crate) mod config;
mod onesignal;
mod wording;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::config::PushConfig;
use crate::{
    app::App,
    bus::ControlMessage,
    peers::ANNOUNCED_SECS,
    platform::tasks::Stage,
    presence,
    store::{
        StoreError,
        push_jobs::{CONNECTED, PushJob, PushNotification},
    },
};
use onesignal::{OneSignal, PushError, Pushed, Words};

/// Interval at which a node reads due jobs.
const EVERY: Duration = Duration::from_millis(500);
/// Pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Maximum number of concurrent pushes of a node.
const UNDER_WAY_MAX: usize = 16;
/// Lease of a job: well beyond the duration of one attempt.
const LEASE: Duration = Duration::from_secs(60);
/// Maximum number of attempts of a push. With the pauses between them they take some hours.
const ATTEMPTS_MAX: u32 = 12;
/// Maximum pause before the second attempt. Before each further one it is four times as long.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Time for which a job that was given up is kept.
const DEAD_KEPT: Duration = Duration::from_secs(30 * 86_400);
const SURVEY_EVERY: Duration = Duration::from_secs(600);

/// Starts to make pushes, if they are configured. The task ends when the node drains and its pushes under way
/// are settled. Remaining jobs are left to other nodes, or to the next start.
pub(crate) fn start(app: &Arc<App>) -> anyhow::Result<()> {
    let Some(config) = app.config.pushes.clone() else { return Ok(()) };
    let service = OneSignal::new(&config)?;
    tracing::info!(url = %config.base_url, "push service configured");
    let (failing, alias_warned) = (AtomicBool::new(false), AtomicBool::new(false));
    let (app, tasks) = (Arc::clone(app), app.tasks.clone());
    let pushes = Arc::new(Pushes { app, service, config, failing, alias_warned });
    tasks.spawn_settling(Stage::Jobs, "pushes", pushes.run());
    Ok(())
}

struct Pushes {
    app: Arc<App>,
    service: OneSignal,
    config: PushConfig,
    /// The last attempt failed. This is logged once, not for every push.
    failing: AtomicBool,
    /// An unknown id was logged. This happens once only, because many people never accept pushes.
    alias_warned: AtomicBool,
}

impl Pushes {
    async fn run(self: Arc<Self>) {
        // Each task returns the pause that the service asks for.
        let mut under_way: JoinSet<Option<Duration>> = JoinSet::new();
        let mut draining = pin!(self.app.tasks.ending(Stage::Jobs));
        let mut quiet_until = Instant::now();
        let mut survey_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= quiet_until
                && let Err(error) = self.lease(&mut under_way).await
            {
                tracing::warn!(%error, "push jobs not read from the store");
                quiet_until = now + STORE_PAUSE;
            }
            if now >= survey_at {
                survey_at = now + SURVEY_EVERY;
                self.survey().await;
            }
            tokio::select! {
                () = &mut draining => break,
                () = sleep(EVERY) => {}
                Some(ended) = under_way.join_next() => {
                    if let Ok(Some(after)) = ended {
                        quiet_until = quiet_until.max(Instant::now() + after);
                    }
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Maintains the queue: removes old jobs that were given up.
    async fn survey(&self) {
        note_failure(self.app.store.forget_dead_pushes(DEAD_KEPT).await);
    }

    /// Leases as many jobs as there is room for.
    async fn lease(
        self: &Arc<Self>,
        under_way: &mut JoinSet<Option<Duration>>,
    ) -> Result<(), StoreError> {
        let room = UNDER_WAY_MAX.saturating_sub(under_way.len());
        if room == 0 {
            return Ok(());
        }
        let limit = u32::try_from(room).unwrap_or(u32::MAX);
        for job in self.app.store.lease_pushes(limit, LEASE).await? {
            let pushes = Arc::clone(self);
            let attempt = async move { pushes.attempt(&job).await };
            under_way.spawn(self.app.tasks.watched("pushes.attempt", attempt));
        }
        Ok(())
    }

    /// One attempt. If the store fails, the job stays as it is: its lease runs out, and it is taken again.
    async fn attempt(&self, job: &PushJob) -> Option<Duration> {
        let store = &self.app.store;
        if job.attempts > ATTEMPTS_MAX {
            // The last node that took it never settled it.
            let unsettled = PushError::Refused { code: "unsettled".to_owned() };
            return self.settle_failure(job, unsettled).await;
        }
        let notification = match store.load_notification(job).await {
            // A blocked person receives no pushes.
            Ok(Some(notification)) if !self.app.blocks.is_blocked(&job.person) => notification,
            Ok(_) => {
                self.app.metrics.pushes.spared.inc();
                note_failure(store.drop_push(job.id).await);
                return None;
            }
            Err(error) => {
                note_failure(Err(error));
                return None;
            }
        };
        // If presence can't be read, one push too many is better than none.
        if self.app.presence.is_online(&job.person).await.unwrap_or(false) {
            let outcome = if job.attempts == 1 {
                // A sleeping phone looks connected, so a sign of life is requested. A connection that gives
                // none ends, and then the push is due (`Presence`).
                let person = job.person.clone();
                self.app.bus.send_control(ControlMessage::LifeExpected { person });
                let config = &self.app.config;
                // A node that did not receive the request notices a missed ping. A killed node is noticed
                // when its lease runs out.
                let announced = Duration::from_secs(ANNOUNCED_SECS.unsigned_abs());
                let until_missed = (config.ping_interval + config.ping_timeout).max(announced);
                store
                    .reschedule_push(job, until_missed + presence::GRACE + EVERY * 2, CONNECTED)
                    .await
            } else {
                self.app.metrics.pushes.spared.inc();
                store.drop_push(job.id).await
            };
            note_failure(outcome);
            return None;
        }
        let began = Instant::now();
        let outcome = self.service.push(job, self.words(&notification)).await;
        self.app.metrics.pushes.took.took(began.elapsed());
        match outcome {
            Ok(pushed) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("OneSignal accepts pushes again");
                }
                self.count(pushed);
                note_failure(store.finish_push(job).await);
                None
            }
            Err(error) => self.settle_failure(job, error).await,
        }
    }

    fn count(&self, pushed: Pushed) {
        let counts = &self.app.metrics.pushes;
        match pushed {
            Pushed::Made => counts.made.inc(),
            Pushed::NoDevice => counts.no_device.inc(),
            Pushed::InvalidAlias => {
                if !self.alias_warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "external id unknown to OneSignal; the app must log in with PUSH_ID_PREFIX \
                         and the id in the token"
                    );
                }
                counts.invalid_alias.inc()
            }
        };
    }

    async fn settle_failure(&self, job: &PushJob, error: PushError) -> Option<Duration> {
        let (store, attempts) = (&self.app.store, job.attempts);
        match error {
            PushError::Later { code, after } if attempts < ATTEMPTS_MAX => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(code, "OneSignal push failed; retried later");
                }
                self.app.metrics.pushes.put_off.inc();
                note_failure(store.reschedule_push(job, pause(attempts, after), &code).await);
                after
            }
            PushError::Later { code, .. } | PushError::Refused { code } => {
                tracing::warn!(job = %job.id, code, attempts, "push given up");
                self.app.metrics.pushes.given_up.inc();
                note_failure(store.dead_letter_push(job, &code).await);
                None
            }
        }
    }

    fn words(&self, notification: &PushNotification) -> Words {
        Words {
            title: wording::fill(&self.config.title, notification),
            text: wording::fill(&self.config.text, notification),
        }
    }
}

fn note_failure(outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "push job not stored; its lease expires and it runs again");
    }
}

/// Pause after so many attempts: as the service asks, or exponentially longer. It is random, so that jobs
/// that failed together are not retried together.
fn pause(attempts: u32, asked: Option<Duration>) -> Duration {
    let chance = rand::random::<f64>();
    if let Some(asked) = asked {
        return asked + PAUSE.mul_f64(chance);
    }
    let longer = 4_u32.saturating_pow(attempts.saturating_sub(1));
    PAUSE.saturating_mul(longer).min(PAUSE_MAX).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f20_pauses_grow_up_to_an_hour_and_are_never_shorter_than_asked() {
        for attempts in 1..ATTEMPTS_MAX {
            let most = (0..100).map(|_| pause(attempts, None)).max().unwrap();
            let ceiling = Duration::from_secs(2 * 4_u64.pow(attempts - 1)).min(PAUSE_MAX);
            assert!(most <= ceiling && most > ceiling / 2, "{attempts}: {most:?}");
        }
        assert!(pause(u32::MAX, None) <= PAUSE_MAX);
        let asked = Duration::from_secs(30);
        assert!((0..100).all(|_| (asked..asked + PAUSE).contains(&pause(1, Some(asked)))));
    }
}
