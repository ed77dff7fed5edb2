//! Why a session's sends are not committed together with the others, and when they are tried again.

use std::time::Duration;

use tokio::time::Instant;

use super::backlog::Lane;

/// How soon the sends of a locked session are tried again: the first time, as other nodes lock it for
/// their own batches, and at most.
const LOCKED_PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// The same for a session that is at fault.
const GUILTY_PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// For how long a session that was at fault is tried apart.
const PROBATION: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody else has locked its row. A try costs nothing: it does not wait for the row.
    Locked,
    /// It was in a batch that failed.
    Suspect,
    /// A send of it failed alone, last then.
    Guilty(Instant),
}

impl Kind {
    /// The lane that tries it.
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
    /// When to try it again.
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

    /// Whether it counts although nothing of the session waits.
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

    /// Its sends are committed again; whether that is the end of it.
    pub(super) fn went_well(&mut self, now: Instant) -> bool {
        (self.due, self.pause) = (now, Duration::ZERO);
        !self.is_remembered(now)
    }

    fn rest(&mut self, (first, longest): (Duration, Duration), now: Instant) {
        self.pause = (self.pause * 2).clamp(first, longest);
        self.due = now + self.pause;
    }
}
