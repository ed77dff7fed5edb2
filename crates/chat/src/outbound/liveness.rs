//! Signs of life of a connection's client, and messages that wait for one.
//!
//! Bytes taken by the kernel may never reach a sleeping phone. A message counts as delivered when
//! something arrives from the client after it was written: a frame, a pong, the next poll. An idle
//! client gets a probe, which a WebSocket carries as a ping. A client that leaves a probe unanswered
//! for the ping time-out is dead.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use model::ids::SessionId;

/// Minimum interval between two probes of a connection.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Liveness of one connection.
#[derive(Debug)]
pub struct Liveness {
    pulse: Mutex<Pulse>,
    changed: Notify,
}

/// Next step of a live connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Next {
    /// Whether to enqueue a probe now.
    pub probe: bool,
    /// Time of the next check.
    pub wake: Instant,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { pulse: Mutex::new(Pulse::new(Instant::now())), changed: Notify::new() }
    }
}

impl Liveness {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a write: the last messages of sessions, and whether a probe was included.
    pub(super) fn written(&self, marks: impl IntoIterator<Item = (SessionId, u64)>, probe: bool) {
        if self.pulse().written(Instant::now(), marks, probe) {
            self.changed.notify_one();
        }
    }

    /// Requires a sign of life from now on.
    pub(super) fn expect(&self) {
        self.pulse().waits = true;
        self.changed.notify_one();
    }

    /// Records a sign of life. Returns the messages that the client has by now.
    pub(super) fn alive(&self) -> HashMap<SessionId, u64> {
        self.pulse().alive(Instant::now())
    }

    /// The socket takes data while nothing is read from it.
    pub fn takes(&self) {
        self.pulse().received_at = Instant::now();
    }

    /// Whether something waits for a sign of life.
    pub fn waits(&self) -> bool {
        self.pulse().waits
    }

    /// The next step, or `None` if the client is dead. `reads` is whether its frames are being read: an
    /// unread answer is not a missing one.
    pub fn next(&self, reads: bool, interval: Duration, timeout: Duration) -> Option<Next> {
        self.pulse().next(Instant::now(), reads, interval, timeout)
    }

    /// Resolves when the result of [`Liveness::next`] may have changed.
    pub async fn until_changed(&self) {
        self.changed.notified().await;
    }
}

/// State of [`Liveness`], with the time as an argument.
#[derive(Debug)]
struct Pulse {
    received_at: Instant,
    waits: bool,
    probe: Option<Probe>,
    last_probe: Option<Instant>,
    paused: bool,
    /// Last message of each session that was written since the client's last sign of life.
    unproved: HashMap<SessionId, u64>,
}

/// An unanswered probe.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Earliest time of its answer.
    since: Instant,
    written: bool,
}

impl Pulse {
    fn new(now: Instant) -> Self {
        Self {
            received_at: now,
            waits: false,
            probe: None,
            last_probe: None,
            paused: false,
            unproved: HashMap::new(),
        }
    }

    /// Returns whether it begins to wait for a sign of life.
    fn written(
        &mut self,
        now: Instant,
        marks: impl IntoIterator<Item = (SessionId, u64)>,
        probe: bool,
    ) -> bool {
        if let Some(queued) = self.probe.as_mut().filter(|queued| !queued.written) {
            // A write before the probe's own shows progress, so the time limit starts anew.
            *queued = Probe { since: now, written: probe };
        }
        let waited = self.waits;
        for (session_id, seq) in marks {
            let up_to = self.unproved.entry(session_id).or_default();
            *up_to = (*up_to).max(seq);
            self.waits = true;
        }
        self.waits && !waited
    }

    fn alive(&mut self, now: Instant) -> HashMap<SessionId, u64> {
        (self.received_at, self.waits, self.probe) = (now, false, None);
        std::mem::take(&mut self.unproved)
    }

    fn next(
        &mut self,
        now: Instant,
        reads: bool,
        interval: Duration,
        timeout: Duration,
    ) -> Option<Next> {
        if reads
            && std::mem::take(&mut self.paused)
            && let Some(probe) = &mut self.probe
        {
            probe.since = now;
        }
        self.paused |= !reads;
        let silent = self.received_at + interval + timeout;
        let unanswered = self.probe.filter(|_| reads).map(|probe| probe.since + timeout);
        let end = unanswered.map_or(silent, |unanswered| unanswered.min(silent));
        if now >= end {
            return None;
        }
        if !self.waits || self.probe.is_some() {
            return Some(Next { probe: false, wake: end });
        }
        let due = self.last_probe.map_or(now, |last| last + PROBE_INTERVAL);
        if now < due {
            return Some(Next { probe: false, wake: end.min(due) });
        }
        self.probe = Some(Probe { since: now, written: false });
        self.last_probe = Some(now);
        Some(Next { probe: true, wake: silent.min(now + timeout) })
    }
}

#[cfg(test)]
mod tests {
    use crate::outbound::liveness::*;
    use platform::new_id;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn f22_a_message_is_proved_by_what_comes_after_it_was_written() {
        let (start, id, other) = (Instant::now(), SessionId(new_id()), SessionId(new_id()));
        let mut pulse = Pulse::new(start);
        assert!(pulse.alive(at(start, 10)).is_empty(), "nothing was written before");
        assert!(pulse.written(at(start, 20), [(id, 4), (other, 1)], false));
        assert!(!pulse.written(at(start, 30), [(id, 7), (id, 6)], false), "it waits already");
        assert_eq!(pulse.alive(at(start, 40)), HashMap::from([(id, 7), (other, 1)]));
        assert!(pulse.alive(at(start, 50)).is_empty(), "each is proved once");
    }

    #[test]
    fn f22_an_idle_client_is_asked_once_and_is_dead_a_time_out_later() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        let idle = pulse.next(start, true, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(idle, Next { probe: false, wake: start + INTERVAL + TIMEOUT });
        pulse.written(at(start, 5_000), [(SessionId(new_id()), 1)], false);
        let asked = pulse.next(at(start, 5_000), true, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(asked, Next { probe: true, wake: at(start, 25_000) });
        // Slow link: a write before the probe extends the time limit, a write behind it does not.
        pulse.written(at(start, 6_000), [(SessionId(new_id()), 2)], false);
        pulse.written(at(start, 7_000), [], true);
        pulse.written(at(start, 9_000), [(SessionId(new_id()), 3)], false);
        let waits = pulse.next(at(start, 26_999), true, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(waits, Next { probe: false, wake: at(start, 27_000) });
        assert_eq!(pulse.next(at(start, 27_000), true, INTERVAL, TIMEOUT), None);
        // An answering client stays, and gets at most one probe a second.
        pulse.alive(at(start, 26_999));
        pulse.written(at(start, 27_000), [(SessionId(new_id()), 4)], false);
        assert!(pulse.next(at(start, 27_000), true, INTERVAL, TIMEOUT).unwrap().probe);
        pulse.alive(at(start, 27_010));
        pulse.written(at(start, 27_100), [(SessionId(new_id()), 5)], false);
        let later = pulse.next(at(start, 27_100), true, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(later, Next { probe: false, wake: at(start, 28_000) });
        assert!(pulse.next(at(start, 28_000), true, INTERVAL, TIMEOUT).unwrap().probe);
    }

    #[test]
    fn an_answer_that_is_not_read_yet_is_not_missing() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        pulse.waits = true;
        assert!(pulse.next(start, true, INTERVAL, TIMEOUT).unwrap().probe);
        let paused = pulse.next(at(start, 1_000), false, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(paused.wake, start + INTERVAL + TIMEOUT);
        let read_again = pulse.next(at(start, 30_000), true, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(read_again.wake, start + INTERVAL + TIMEOUT);
        pulse.received_at = at(start, 30_000);
        let read_again = pulse.next(at(start, 31_000), true, INTERVAL, TIMEOUT).unwrap();
        assert_eq!(read_again.wake, at(start, 50_000));
        assert_eq!(pulse.next(at(start, 50_000), false, INTERVAL, TIMEOUT).map(|_| ()), Some(()));
    }
}
