//! How much waits for one connection, and since when it has taken nothing.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Backlog {
    opened: Instant,
    bytes: AtomicUsize,
    /// Since when something waits and nothing was taken, in microseconds since it was opened.
    since: AtomicU64,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), bytes: AtomicUsize::new(0), since: AtomicU64::new(0) }
    }

    /// So much more waits; how much did before.
    pub(super) fn grow(&self, bytes: usize) -> usize {
        // Whoever sees that something waits sees since when.
        if self.bytes() == 0 {
            self.since.store(self.micros(), Ordering::Relaxed);
        }
        self.bytes.fetch_add(bytes, Ordering::Release)
    }

    /// So much was taken.
    pub(super) fn shrink(&self, bytes: usize) {
        self.since.store(self.micros(), Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Release);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// How many bytes wait, and for how long nothing was taken; `None` where nothing waits.
    pub(super) fn waiting(&self) -> Option<(usize, Duration)> {
        let bytes = self.bytes();
        let waited = self.micros().saturating_sub(self.since.load(Ordering::Relaxed));
        (bytes > 0).then_some((bytes, Duration::from_micros(waited)))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
