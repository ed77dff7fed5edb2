//! Turns: how many look-ups, and how many changes, are under way at once.

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{DEADLINE, Postgres, unavailable};
use crate::{metrics::database::DatabaseCounts, store::StoreError};

impl Postgres {
    /// Waits until a look-up may use a connection.
    pub(super) async fn read_turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let _waiting = Waiting::begin(&self.counts);
        turn(&self.reads).await
    }
}

/// A look-up that waits for its turn, until it has it or gives up.
struct Waiting<'a> {
    counts: &'a DatabaseCounts,
    began: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(counts: &'a DatabaseCounts) -> Self {
        counts.waiting.inc();
        Self { counts, began: Instant::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counts.waiting.dec();
        self.counts.turn.took(self.began.elapsed());
    }
}

/// Waits for a permit, as long as for an answer.
pub(super) async fn turn(of: &Semaphore) -> Result<SemaphorePermit<'_>, StoreError> {
    timeout(DEADLINE, of.acquire()).await.map_err(unavailable)?.map_err(unavailable)
}
