//! Pushes by OneSignal, for people who are connected nowhere.
//!
//! A push is a job beside its message ([`chat::pushes`]), so a send does not wait for it. Law I17: OneSignal
//! recognises a repeated push by the job's id.

pub mod config;
pub mod counts;
mod onesignal;
mod wording;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::{config::PushConfig, counts::PushCounts};
use bus::{ADDRESS_LEASE_SECS, ControlChannel, ControlMessage};
use chat::{
    presence::{self, Presence},
    pushes::{CONNECTED, Push, PushNotification, PushTable, QUEUE},
};
use identity::admission::Admission;
use onesignal::{OneSignal, PushError, Pushed, Words};
use platform::jobs::{Job, JobHandler, Module, Outcome};

/// Maximum number of concurrent pushes of a node; of one tenant at most 16.
const CONCURRENT_PUSHES: usize = 21;
/// Maximum time of one attempt: the reads, and the call with its own time limit.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time within which a connection that is found dead is known to all nodes.
const NOTICE: Duration = Duration::from_secs(1);

/// Parts of the node that pushes use.
pub struct PushParts {
    /// Settings.
    pub config: PushConfig,
    /// The rows behind pushes.
    pub table: PushTable,
    /// Channel to the other nodes.
    pub control: Arc<dyn ControlChannel>,
    /// People shut out: they receive no push.
    pub admission: Admission,
    /// People online: they receive no push.
    pub presence: Arc<Presence>,
    /// Counters.
    pub counts: PushCounts,
    /// Time after which a connection that gives no sign of life has ended.
    pub life_timeout: Duration,
}

/// The worker of the queue of pushes.
pub fn module(parts: PushParts) -> anyhow::Result<Module> {
    let service = OneSignal::new(&parts.config)?;
    tracing::info!(url = %parts.config.base_url, "push service configured");
    let (failing, alias_warned) = (AtomicBool::new(false), AtomicBool::new(false));
    let pushes = Arc::new(Pushes { parts, service, failing, alias_warned });
    Ok(Module { handlers: vec![pushes], schedules: Vec::new() })
}

struct Pushes {
    parts: PushParts,
    service: OneSignal,
    /// The last attempt failed. This is logged once, not for every push.
    failing: AtomicBool,
    /// An unknown id was logged. This happens once only, because many people never accept pushes.
    alias_warned: AtomicBool,
}

#[async_trait]
impl JobHandler for Pushes {
    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn concurrency(&self) -> usize {
        CONCURRENT_PUSHES
    }

    fn timeout(&self) -> Duration {
        ATTEMPT_TIMEOUT
    }

    async fn run(&self, job: &Job) -> Outcome {
        let Some(push) = Push::of(job) else {
            return Outcome::Refused { code: "malformed".to_owned() };
        };
        let person = push.person.clone();
        let notification = match self.parts.table.load(job, &push).await {
            // A person who is shut out receives no pushes.
            Ok(Some(notification)) if self.parts.admission.check(&person).is_ok() => notification,
            Ok(_) => return self.spare(),
            Err(error) => {
                tracing::warn!(%error, "push not read; retried later");
                return Outcome::Failed { retry_after: None, code: error.kind().to_owned() };
            }
        };
        // If presence can't be read, one push too many is better than none.
        if self.parts.presence.is_online(&person).await.unwrap_or(false) {
            if job.error.as_deref() == Some(CONNECTED) {
                return self.spare();
            }
            // A sleeping phone looks connected, so a sign of life is requested. A connection that gives none
            // ends, and then the push is due (`Presence`).
            self.parts.control.send_control(ControlMessage::LifeExpected { person });
            // A node that did not receive the request notices a missed ping. A killed node is noticed when
            // its lease runs out.
            let announced = Duration::from_secs(ADDRESS_LEASE_SECS.unsigned_abs());
            let until_missed = self.parts.life_timeout.max(announced);
            return Outcome::Later {
                after: until_missed + presence::GRACE + NOTICE,
                reason: CONNECTED,
            };
        }
        let began = Instant::now();
        let outcome = self.service.push(job, &push, self.words(&notification)).await;
        self.parts.counts.took.took(began.elapsed());
        match outcome {
            Ok(pushed) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("OneSignal accepts pushes again");
                }
                self.count(pushed);
                Outcome::Done
            }
            Err(PushError::Later { code, after }) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(code, "OneSignal push failed; retried later");
                }
                self.parts.counts.put_off.inc();
                Outcome::Failed { retry_after: after, code }
            }
            Err(PushError::Refused { code }) => {
                self.parts.counts.given_up.inc();
                Outcome::Refused { code }
            }
        }
    }
}

impl Pushes {
    /// Nothing is to be pushed.
    fn spare(&self) -> Outcome {
        self.parts.counts.spared.inc();
        Outcome::Dropped
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

    fn words(&self, notification: &PushNotification) -> Words {
        Words {
            title: wording::fill(&self.parts.config.title, notification),
            text: wording::fill(&self.parts.config.text, notification),
        }
    }
}
