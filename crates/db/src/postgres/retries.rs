//! Retries of changes whose rows other transactions may have locked. They hold no permit and no
//! connection between the tries.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Postgres, STATEMENT_TIMEOUT};
use crate::StoreError;
use model::{ids::SessionId, person::Person};

/// First and longest pause between tries.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

impl Postgres {
    /// Makes a change, and retries it while others hold a lock that it needs.
    pub async fn retry_contended<T, F>(
        &self,
        me: &Person,
        id: SessionId,
        attempt: impl Fn() -> F + Send + Sync,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        let give_up = Instant::now() + STATEMENT_TIMEOUT;
        let begun = self.changes.begin(me, id, give_up).await;
        let _change = begun.inspect_err(|error| self.counts.failed(error))?;
        retry_until(give_up, attempt).await
    }
}

/// Retries until `give_up`, while others hold a lock that the attempt needs.
pub async fn retry_until<T, F>(
    give_up: Instant,
    attempt: impl Fn() -> F + Send + Sync,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>> + Send,
    T: Send,
{
    let (mut pause, longest) = RETRY_PAUSES;
    loop {
        let outcome = attempt().await;
        let again = matches!(outcome, Err(StoreError::Contended(_)));
        if !again || Instant::now() + pause >= give_up {
            return outcome;
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
