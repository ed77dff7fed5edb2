//! Permits: they limit the concurrent queries and changes.

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{Postgres, STATEMENT_TIMEOUT, unavailable};
use crate::{StoreError, counts::DatabaseCounts};

impl Postgres {
    /// Waits until a query may use a connection.
    pub async fn read_permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let _waiting = Waiting::begin(&self.counts);
        self.permit(&self.reads).await
    }

    /// Waits for a permit, with the same limit as for an answer.
    pub async fn permit<'a>(&self, of: &'a Semaphore) -> Result<SemaphorePermit<'a>, StoreError> {
        let permit = timeout(STATEMENT_TIMEOUT, of.acquire()).await.map_err(unavailable);
        let permit = permit.and_then(|permit| permit.map_err(unavailable));
        permit.inspect_err(|error| self.counts.failed(error))
    }
}

/// A query that waits for its permit, until it has it or gives up.
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
        self.counts.permit.took(self.began.elapsed());
    }
}
