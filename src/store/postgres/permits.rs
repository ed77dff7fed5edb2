//! Permits: they limit the concurrent queries and changes.

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{Postgres, STATEMENT_TIMEOUT, unavailable};
use crate::{store::StoreError, store::counts::DatabaseCounts};

impl Postgres {
    /// Waits until a query may use a connection.
    pub(super) async fn read_permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let _waiting = Waiting::begin(&self.counts);
        self.permit(&self.reads).await
    }

    /// Waits for a permit, with the same limit as for an answer.
    pub(super) async fn permit<'a>(
        &self,
        of: &'a Semaphore,
    ) -> Result<SemaphorePermit<'a>, StoreError> {
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

#[cfg(test)]
mod tests {
    use frontdesk_test_support::Servers;
    use tokio::time::pause;

    use super::{super::MAX_CONCURRENT_AMENDS, *};
    use crate::{
        message::amend::Amendment,
        person::{Person, PersonKind},
        session::SessionId,
        store::{contract::world::config, messages::Messages},
        wire::new_id,
    };

    #[tokio::test]
    async fn a_missed_permit_and_a_failed_change_are_counted_once() {
        let database = Servers::get().await.postgres_database().await;
        let postgres = Postgres::open(&config(&database), "simple").await.unwrap();
        let me = Person::new(PersonKind::Dentist, "7".parse().unwrap());
        let amend = async || {
            let (id, message_id) = (SessionId(new_id()), new_id());
            postgres.amend(&me, id, message_id, &Amendment::Delete).await
        };
        let counted = || (postgres.counts.unavailable.get(), postgres.counts.refused.get());
        assert!(amend().await.unwrap().is_err(), "there is no such message");
        assert_eq!(counted(), (0, 0));
        let without = "alter table sessions rename to elsewhere";
        database.client().await.batch_execute(without).await.unwrap();
        assert!(amend().await.is_err());
        assert_eq!(counted(), (0, 1));
        // From here on the paused clock skips every wait.
        pause();
        let changes = postgres
            .amends
            .acquire_many(u32::try_from(MAX_CONCURRENT_AMENDS).unwrap())
            .await
            .unwrap();
        assert!(amend().await.is_err());
        assert_eq!(counted(), (1, 1));
        drop(changes);
        let all = u32::try_from(postgres.reads.available_permits()).unwrap();
        let _lookups = postgres.reads.acquire_many(all).await.unwrap();
        assert!(amend().await.is_err());
        assert_eq!(counted(), (2, 1));
        assert!(postgres.query("select 1", &[]).await.is_err());
        assert_eq!(counted(), (3, 1));
    }
}
