//! Permits: they limit the concurrent queries and changes.

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{DEADLINE, Postgres, unavailable};
use crate::{metrics::database::DatabaseCounts, store::StoreError};

impl Postgres {
    /// Waits until a query may use a connection.
    pub(super) async fn read_turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let _waiting = Waiting::begin(&self.counts);
        self.turn(&self.reads).await
    }

    /// Waits for a permit, with the same limit as for an answer.
    pub(super) async fn turn<'a>(
        &self,
        of: &'a Semaphore,
    ) -> Result<SemaphorePermit<'a>, StoreError> {
        let turn = timeout(DEADLINE, of.acquire()).await.map_err(unavailable);
        let turn = turn.and_then(|turn| turn.map_err(unavailable));
        turn.inspect_err(|error| self.counts.failed(error))
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
        self.counts.turn.took(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use frontdesk_test_support::Servers;
    use tokio::time::pause;

    use super::{super::AMENDS, *};
    use crate::{
        message::amend::Amendment,
        person::{Person, PersonKind},
        session::SessionId,
        store::contract::world::config,
        wire::new_id,
    };

    #[tokio::test]
    async fn whoever_gets_no_turn_and_each_failed_change_is_counted_once() {
        let database = Servers::get().await.postgres_database().await;
        let postgres = Postgres::open(&config(&database), "simple").await.unwrap();
        let me = Person::new(PersonKind::Dentist, "7".parse().unwrap());
        let amend = async || {
            let (id, message_id) = (SessionId(new_id()), new_id());
            postgres.amend_message(&me, id, message_id, &Amendment::Delete).await
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
        let changes = postgres.amends.acquire_many(u32::try_from(AMENDS).unwrap()).await.unwrap();
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
