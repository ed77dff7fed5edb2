//! Jobs: work that follows a commit, done later and by any node.
//!
//! A job is a row of the commit that causes it (law I16), so a killed node loses none. One node at a time
//! leases it. A job whose lease ends without an outcome runs again, so each effect must be the same however
//! often it happens (law I17): a handler passes the job's id to the service behind it, or writes by a key.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

/// A job that this node has leased.
#[derive(Clone, Debug)]
pub struct Job {
    /// The same in every attempt: a service recognises a repeat by it.
    pub id: Uuid,
    /// The tenant.
    pub tenant: i64,
    /// Position among all jobs: later jobs have larger numbers.
    pub number: i64,
    /// Kind of work, within its queue.
    pub kind: String,
    /// Jobs with one key in one queue stand for each other: the later one covers the earlier ones.
    pub key: Option<String>,
    /// Parameters of the work: ids, never the text of a message.
    pub payload: Value,
    /// Number of attempts, including this one.
    pub attempts: u32,
    /// Reason or code of the attempt before.
    pub error: Option<String>,
}

/// Result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The effect has happened. Earlier jobs with the same key are covered by it.
    Done,
    /// Nothing is left to do.
    Dropped,
    /// The attempt is repeated after this time. It is no failure, but it counts as an attempt.
    Later {
        /// Pause before the next attempt.
        after: Duration,
        /// Reason, kept in the row.
        reason: &'static str,
    },
    /// The attempt failed, and may succeed later.
    Failed {
        /// Pause that the service asks for. The whole queue of this node pauses.
        retry_after: Option<Duration>,
        /// Code of the failure, without any personal data.
        code: String,
    },
    /// The attempt failed, and will always fail: the job becomes a dead letter.
    Refused {
        /// Code of the failure, without any personal data.
        code: String,
    },
}

/// Worker of one queue.
#[async_trait]
pub trait JobHandler: Send + Sync + 'static {
    /// Name of the queue.
    fn queue(&self) -> &'static str;

    /// Maximum number of concurrent attempts on one node.
    fn concurrency(&self) -> usize;

    /// Maximum time of one attempt.
    fn timeout(&self) -> Duration;

    /// One attempt.
    async fn run(&self, job: &Job) -> Outcome;
}

/// A job at fixed times. Of all nodes one makes it.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Name, unique among all schedules. The kind of the job, too.
    pub name: &'static str,
    /// Queue of the job.
    pub queue: &'static str,
    /// Times in UTC, as five fields of crontab.
    pub cron: &'static str,
}

/// A domain that plugs in: what it adds to the node.
#[derive(Default)]
pub struct Module {
    /// Workers of its queues.
    pub handlers: Vec<Arc<dyn JobHandler>>,
    /// Its periodic jobs.
    pub schedules: Vec<Schedule>,
}

/// Wakes the workers of this node when jobs become due. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct JobsDue {
    here: Arc<Mutex<Vec<Arc<Hints>>>>,
    elsewhere: Arc<Mutex<Vec<Arc<Hints>>>>,
}

/// The earliest time that one receiver has not seen.
#[derive(Debug, Default)]
struct Hints {
    earliest: Mutex<Option<Instant>>,
    changed: Notify,
}

/// Receiver of the times at which jobs become due.
#[derive(Debug)]
pub struct JobTimes(Arc<Hints>);

impl JobTimes {
    /// The earliest time since the last call. Cancellation loses nothing.
    pub async fn next(&mut self) -> Instant {
        loop {
            if let Some(at) = lock(&self.0.earliest).take() {
                return at;
            }
            self.0.changed.notified().await;
        }
    }
}

impl JobsDue {
    /// This node has written jobs that are due after this time.
    pub fn written(&self, after: Duration) {
        put(&self.here, after);
        put(&self.elsewhere, after);
    }

    /// Another node has written jobs that are due after this time.
    pub fn hinted(&self, after: Duration) {
        put(&self.here, after);
    }

    /// Times at which jobs of any node become due.
    pub fn times(&self) -> JobTimes {
        receiver(&self.here)
    }

    /// Times at which jobs of this node become due.
    pub fn own_times(&self) -> JobTimes {
        receiver(&self.elsewhere)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receiver(all: &Mutex<Vec<Arc<Hints>>>) -> JobTimes {
    let hints = Arc::<Hints>::default();
    lock(all).push(Arc::clone(&hints));
    JobTimes(hints)
}

fn put(all: &Mutex<Vec<Arc<Hints>>>, after: Duration) {
    let at = Instant::now() + after;
    for hints in &*lock(all) {
        let mut earliest = lock(&hints.earliest);
        *earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
        hints.changed.notify_one();
    }
}

/// Maximum pause before the second attempt. Before each further one it is four times as long.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum pause before any attempt.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// Pause after so many attempts: as the service asks, or exponentially longer. It is random, so that jobs
/// that failed together are not retried together.
pub fn pause(attempts: u32, asked: Option<Duration>) -> Duration {
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

    #[tokio::test(start_paused = true)]
    async fn each_receiver_is_given_the_earliest_time_that_it_has_not_seen() {
        let (due, secs) = (JobsDue::default(), Duration::from_secs);
        let (mut here, mut own) = (due.times(), due.own_times());
        let start = Instant::now();
        due.written(secs(600));
        due.written(Duration::ZERO);
        due.hinted(secs(3));
        assert_eq!(here.next().await - start, Duration::ZERO);
        assert_eq!(own.next().await - start, Duration::ZERO);
        due.hinted(secs(60));
        assert_eq!(here.next().await - start, secs(60));
        let passed_on = tokio::time::timeout(secs(9), own.next()).await;
        assert!(passed_on.is_err(), "a hint from another node is not passed on");
    }

    #[test]
    fn f20_pauses_grow_up_to_an_hour_and_are_never_shorter_than_asked() {
        for attempts in 1..12 {
            let most = (0..100).map(|_| pause(attempts, None)).max().unwrap();
            let ceiling = Duration::from_secs(2 * 4_u64.pow(attempts - 1)).min(PAUSE_MAX);
            assert!(most <= ceiling && most > ceiling / 2, "{attempts}: {most:?}");
        }
        assert!(pause(u32::MAX, None) <= PAUSE_MAX);
        let asked = Duration::from_secs(30);
        assert!((0..100).all(|_| (asked..asked + PAUSE).contains(&pause(1, Some(asked)))));
    }
}
