//! Pushes by OneSignal, for people who are connected nowhere.
//!
//! Each node leases due jobs from the store ([`crate::store::push_jobs`]), a few at a time. Sends do not wait
//! for pushes: a send only writes its job beside its message.

pub(crate) mod config;
pub(crate) mod counts;
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

use self::{config::PushConfig, counts::PushCounts};
use crate::{
    blocks::Blocks,
    bus::{ADDRESS_LEASE_SECS, ControlChannel, ControlMessage},
    platform::tasks::{Stage, Tasks},
    presence::{self, Presence},
    store::{
        StoreError,
        push_jobs::{CONNECTED, PushJob, PushJobs, PushNotification},
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

/// Parts of the node that pushes use.
pub(crate) struct PushParts {
    pub(crate) config: PushConfig,
    pub(crate) store: Arc<dyn PushJobs>,
    pub(crate) control: Arc<dyn ControlChannel>,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) tasks: Tasks,
    pub(crate) counts: PushCounts,
    /// Time after which a connection that gives no sign of life has ended.
    pub(crate) life_timeout: Duration,
}

/// Starts to make pushes. The task ends when the node drains and its pushes under way are settled. Remaining
/// jobs are left to other nodes, or to the next start.
pub(crate) fn start(parts: PushParts) -> anyhow::Result<()> {
    let service = OneSignal::new(&parts.config)?;
    tracing::info!(url = %parts.config.base_url, "push service configured");
    let (failing, alias_warned) = (AtomicBool::new(false), AtomicBool::new(false));
    let tasks = parts.tasks.clone();
    let pushes = Arc::new(Pushes { parts, service, failing, alias_warned });
    tasks.spawn_settling(Stage::Jobs, "pushes", pushes.run());
    Ok(())
}

struct Pushes {
    parts: PushParts,
    service: OneSignal,
    /// The last attempt failed. This is logged once, not for every push.
    failing: AtomicBool,
    /// An unknown id was logged. This happens once only, because many people never accept pushes.
    alias_warned: AtomicBool,
}

impl Pushes {
    async fn run(self: Arc<Self>) {
        // Each task returns the pause that the service asks for.
        let mut under_way: JoinSet<Option<Duration>> = JoinSet::new();
        let mut draining = pin!(self.parts.tasks.ending(Stage::Jobs));
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
        note_failure(self.parts.store.forget_dead_pushes(DEAD_KEPT).await);
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
        for job in self.parts.store.lease_pushes(limit, LEASE).await? {
            let pushes = Arc::clone(self);
            let attempt = async move { pushes.attempt(&job).await };
            under_way.spawn(self.parts.tasks.watched("pushes.attempt", attempt));
        }
        Ok(())
    }

    /// One attempt. If the store fails, the job stays as it is: its lease runs out, and it is taken again.
    async fn attempt(&self, job: &PushJob) -> Option<Duration> {
        let store = &self.parts.store;
        if job.attempts > ATTEMPTS_MAX {
            // The last node that took it never settled it.
            let unsettled = PushError::Refused { code: "unsettled".to_owned() };
            return self.settle_failure(job, unsettled).await;
        }
        let notification = match store.load_notification(job).await {
            // A blocked person receives no pushes.
            Ok(Some(notification)) if !self.parts.blocks.is_blocked(&job.person) => notification,
            Ok(_) => {
                self.parts.counts.spared.inc();
                note_failure(store.drop_push(job.id).await);
                return None;
            }
            Err(error) => {
                note_failure(Err(error));
                return None;
            }
        };
        // If presence can't be read, one push too many is better than none.
        if self.parts.presence.is_online(&job.person).await.unwrap_or(false) {
            let outcome = if job.attempts == 1 {
                // A sleeping phone looks connected, so a sign of life is requested. A connection that gives
                // none ends, and then the push is due (`Presence`).
                let person = job.person.clone();
                self.parts.control.send_control(ControlMessage::LifeExpected { person });
                // A node that did not receive the request notices a missed ping. A killed node is noticed
                // when its lease runs out.
                let announced = Duration::from_secs(ADDRESS_LEASE_SECS.unsigned_abs());
                let until_missed = self.parts.life_timeout.max(announced);
                store
                    .reschedule_push(job, until_missed + presence::GRACE + EVERY * 2, CONNECTED)
                    .await
            } else {
                self.parts.counts.spared.inc();
                store.drop_push(job.id).await
            };
            note_failure(outcome);
            return None;
        }
        let began = Instant::now();
        let outcome = self.service.push(job, self.words(&notification)).await;
        self.parts.counts.took.took(began.elapsed());
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
        let counts = &self.parts.counts;
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
        let (store, attempts) = (&self.parts.store, job.attempts);
        match error {
            PushError::Later { code, after } if attempts < ATTEMPTS_MAX => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(code, "OneSignal push failed; retried later");
                }
                self.parts.counts.put_off.inc();
                note_failure(store.reschedule_push(job, pause(attempts, after), &code).await);
                after
            }
            PushError::Later { code, .. } | PushError::Refused { code } => {
                tracing::warn!(job = %job.id, code, attempts, "push given up");
                self.parts.counts.given_up.inc();
                note_failure(store.dead_letter_push(job, &code).await);
                None
            }
        }
    }

    fn words(&self, notification: &PushNotification) -> Words {
        Words {
            title: wording::fill(&self.parts.config.title, notification),
            text: wording::fill(&self.parts.config.text, notification),
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
