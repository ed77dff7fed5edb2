//! PostgreSQL: the statements in its own dialect.

mod epoch;
mod marks;
mod messages;
mod openings;
mod retention;
mod rows;
mod search;
mod search_queue;
mod sessions;

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::sync::{Notify, Semaphore};

use self::search::SearchPool;
use db::{
    counts::DatabaseCounts,
    postgres::{Opening, Params, config::PostgresConfig},
};

/// Maximum of concurrent changes of messages.
const MAX_CONCURRENT_AMENDS: usize = 4;

/// The production store.
#[derive(Debug)]
pub struct Postgres {
    /// The handle, which other tables share.
    pub db: Arc<db::postgres::Postgres>,
    /// One permit for each change of a message. A change may wait for the lock of its message's row,
    /// and holds a connection meanwhile.
    amends: Semaphore,
    search: SearchPool,
    /// Notified when a text is committed that has to be indexed.
    text_committed: Notify,
    append: Cow<'static, str>,
    /// Delay of a push after its message; `None` disables pushes.
    push_delay: Option<Duration>,
}

impl Postgres {
    /// Connects, waits for a database that is still starting, and migrates it.
    pub async fn open(
        config: &PostgresConfig,
        search_language: &str,
        counts: DatabaseCounts,
    ) -> anyhow::Result<Self> {
        let config = &db::postgres::Postgres::agree(config).await?;
        let pool_size = SearchPool::general_size(config.pool_size);
        let on_connect = epoch::lineage_hook();
        let opening = Opening { config, pool_size, on_connect, search_language, counts };
        let db = Arc::new(db::postgres::Postgres::open(opening).await?);
        Ok(Self {
            search: SearchPool::open(config, &db.fitness)?,
            db,
            amends: Semaphore::new(MAX_CONCURRENT_AMENDS),
            text_committed: Notify::new(),
            push_delay: None,
            append: messages::APPEND.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use frontdesk_test_support::Servers;
    use tokio::time::pause;

    use super::*;
    use crate::store::{
        contract::world::{Acting, postgres},
        messages::Messages,
    };
    use model::ids::TenantId;
    use model::{
        ids::SessionId,
        message::amend::Amendment,
        person::{Person, Side},
    };
    use platform::new_id;

    #[tokio::test]
    async fn a_missed_permit_and_a_failed_change_are_counted_once() {
        let database = Servers::get().await.postgres_database().await;
        let postgres = postgres(&database).await;
        let me = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let amend = async || {
            let (id, message_id) = (SessionId(new_id()), new_id());
            postgres.amend(&me.scope(), id, message_id, &Amendment::Delete).await
        };
        let counted = || (postgres.db.counts.unavailable.get(), postgres.db.counts.refused.get());
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
        // A small pool has one permit for reads.
        let _read = postgres.db.read_permit().await.unwrap();
        assert!(amend().await.is_err());
        assert_eq!(counted(), (2, 1));
        assert!(postgres.db.query("select 1", &[]).await.is_err());
        assert_eq!(counted(), (3, 1));
    }
}
