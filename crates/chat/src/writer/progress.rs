//! Progress of the writer, for readiness and `/health`.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Time without a commit, with sends waiting, after which the node counts as down.
const STALLED: Duration = Duration::from_secs(5);
/// Time for which a failed try counts while nothing waits. After it the node counts as up again.
const REMEMBERED: Duration = Duration::from_secs(10);

/// State of the commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Commits {
    /// Commits succeed, or nothing waits.
    Ok,
    /// Nothing has been committed for 5 s, and sends wait.
    Stalled,
    /// The database's disk is full or broken.
    DiskFull,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Start of the first try after the last commit.
    since: Option<Instant>,
    failed: Option<Instant>,
    disk: bool,
}

impl Progress {
    /// A send arrives at an idle writer.
    pub(super) fn begin(&mut self, now: Instant) {
        if !self.is_failing(now) {
            *self = Self::default();
        }
    }

    pub(super) fn try_begins(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) fn committed(&mut self) {
        *self = Self::default();
    }

    /// The database answered, and had nothing to commit.
    pub(super) fn answered(&mut self) {
        if self.failed.is_none() {
            self.committed();
        }
    }

    /// The database was down, or its disk was full.
    pub(super) fn failed(&mut self, disk: bool, now: Instant) {
        (self.failed, self.disk) = (Some(now), disk);
    }

    fn is_failing(&self, now: Instant) -> bool {
        self.failed.is_some_and(|failed| now < failed + REMEMBERED)
    }

    /// Time since the last commit, while sends wait or have just failed.
    pub(super) fn stalled_for(&self, waits: bool, now: Instant) -> Duration {
        let counts = waits || self.is_failing(now);
        self.since.filter(|_| counts).map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    pub(super) fn commits(&self, waits: bool, now: Instant) -> Commits {
        if self.disk && self.is_failing(now) {
            Commits::DiskFull
        } else if self.stalled_for(waits, now) >= STALLED {
            Commits::Stalled
        } else {
            Commits::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_committed_nothing_for_5_s_with_a_queue_is_stalled() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut progress = Progress::default();
        progress.try_begins(start);
        assert_eq!(progress.commits(true, start + 4 * second), Commits::Ok);
        assert_eq!(progress.commits(true, start + 5 * second), Commits::Stalled);
        assert_eq!(progress.commits(false, start + 5 * second), Commits::Ok, "nothing waits");
        progress.failed(false, start + 8 * second);
        progress.begin(start + 9 * second);
        assert_eq!(progress.commits(false, start + 17 * second), Commits::Stalled);
        assert_eq!(progress.commits(false, start + 18 * second), Commits::Ok, "it is tried again");
        progress.committed();
        assert_eq!(progress.stalled_for(true, start + 60 * second), Duration::ZERO);
    }

    #[test]
    fn a_full_disk_is_seen_at_once() {
        let now = Instant::now();
        let mut progress = Progress::default();
        progress.try_begins(now);
        progress.failed(true, now);
        assert_eq!(progress.commits(false, now), Commits::DiskFull);
        assert_eq!(progress.commits(true, now + REMEMBERED), Commits::Stalled);
        progress.committed();
        assert_eq!(progress.commits(true, now), Commits::Ok);
    }

    #[test]
    fn an_old_stall_is_not_a_new_sends() {
        let now = Instant::now();
        let mut progress = Progress::default();
        progress.try_begins(now);
        let later = now + Duration::from_secs(3_600);
        progress.begin(later);
        progress.try_begins(later);
        assert_eq!(progress.commits(true, later), Commits::Ok);
    }
}
