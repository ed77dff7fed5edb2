//! Reasons why a session's sends are committed apart from the others, and the times of their
//! retries.

use std::time::Duration;

use tokio::time::Instant;

use super::backlog::Lane;

/// First and longest pause before the sends of a locked session are tried again. The first is
/// short: other nodes lock a session only for their own batches.
const LOCKED_PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// First and longest pause of a session that is at fault.
const GUILTY_PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Time for which a session that was at fault is tried apart.
const PROBATION: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another transaction has locked its row. A try costs nothing: it does not wait for the row.
    Locked,
    /// It was in a batch that failed.
    Suspect,
    /// A send of it failed alone, last at this time.
    Guilty(Instant),
}

impl Kind {
    /// The lane that commits its sends.
    pub(super) fn lane(self) -> Lane {
        match self {
            Self::Locked => Lane::Main,
            Self::Suspect | Self::Guilty(_) => Lane::Apart,
        }
    }
}

#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// Time of the next try.
    pub(super) due: Instant,
    pause: Duration,
}

impl Trouble {
    pub(super) fn new(now: Instant) -> Self {
        Self { kind: Kind::Locked, due: now, pause: Duration::ZERO }
    }

    pub(super) fn is_due(&self, lane: Lane, now: Instant) -> bool {
        self.kind.lane() == lane && self.due <= now
    }

    pub(super) fn is_guilty(&self) -> bool {
        matches!(self.kind, Kind::Guilty(_))
    }

    /// Whether it counts even if no send of the session waits.
    pub(super) fn is_remembered(&self, now: Instant) -> bool {
        matches!(self.kind, Kind::Guilty(last) if now < last + PROBATION)
    }

    pub(super) fn was_locked(&mut self, now: Instant) {
        if !self.is_guilty() {
            self.kind = Kind::Locked;
        }
        self.rest(LOCKED_PAUSES, now);
    }

    pub(super) fn is_suspected(&mut self, now: Instant) {
        if !self.is_guilty() {
            self.kind = Kind::Suspect;
        }
        self.due = now;
    }

    pub(super) fn failed_alone(&mut self, now: Instant) {
        self.kind = Kind::Guilty(now);
        self.rest(GUILTY_PAUSES, now);
    }

    /// Its sends are committed again. Returns whether the trouble is over.
    pub(super) fn went_well(&mut self, now: Instant) -> bool {
        (self.due, self.pause) = (now, Duration::ZERO);
        !self.is_remembered(now)
    }

    fn rest(&mut self, (first, longest): (Duration, Duration), now: Instant) {
        self.pause = (self.pause * 2).clamp(first, longest);
        self.due = now + self.pause;
    }
}
