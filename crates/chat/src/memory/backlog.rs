//! Backlog of one reader: its size, the time since the reader last took something, and its age.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Backlog(Mutex<State>);

#[derive(Debug)]
struct State {
    bytes: usize,
    /// Time since which something waits and nothing was taken.
    since: Instant,
    /// No waiting byte is older than this.
    oldest: Instant,
    /// Bytes that waited at `mark` and still do. Once they are taken, `mark` becomes the oldest time.
    ahead: usize,
    mark: Instant,
}

impl Backlog {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State { bytes: 0, since: now, oldest: now, ahead: 0, mark: now }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds waiting bytes.
    pub(super) fn grow(&self, bytes: usize) {
        let mut state = self.state();
        if state.bytes == 0 {
            let now = Instant::now();
            *state = State { bytes: 0, since: now, oldest: now, ahead: bytes, mark: now };
        }
        state.bytes += bytes;
    }

    /// Removes bytes that were taken, or will not be sent.
    pub(super) fn shrink(&self, bytes: usize) {
        let mut state = self.state();
        let now = Instant::now();
        state.since = now;
        state.bytes = state.bytes.saturating_sub(bytes);
        state.ahead = state.ahead.saturating_sub(bytes);
        if state.ahead == 0 {
            (state.oldest, state.mark, state.ahead) = (state.mark, now, state.bytes);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Number of waiting bytes, and the time since the last was taken; `None` if nothing waits.
    pub(super) fn waiting(&self) -> Option<(usize, Duration)> {
        let state = self.state();
        (state.bytes > 0).then(|| (state.bytes, state.since.elapsed()))
    }

    /// Earliest time since which the oldest byte waits, and the number of waiting bytes.
    pub(super) fn age(&self) -> (Instant, usize) {
        let state = self.state();
        (state.oldest, state.bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_has_no_old_bytes_though_some_always_wait() {
        let (reads, stalls) = (Backlog::new(), Backlog::new());
        stalls.grow(10);
        let begun = Instant::now();
        reads.grow(10);
        for _ in 0..60 {
            advance(Duration::from_secs(1)).await;
            reads.grow(10);
            reads.shrink(10);
        }
        assert_eq!(stalls.age(), (begun, 10));
        let (oldest, bytes) = reads.age();
        assert!(oldest.elapsed() <= Duration::from_secs(2) && bytes == 10);
        assert_eq!(stalls.waiting(), Some((10, Duration::from_secs(60))));
        stalls.shrink(10);
        assert_eq!(stalls.waiting(), None);
    }
}
