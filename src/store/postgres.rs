//! PostgreSQL: the pool, and the statements in its own dialect.

mod amend;
mod append;
mod audit;
mod blocks;
pub(crate) mod config;
mod connect;
pub(crate) mod durability;
mod encoding;
mod encryption;
mod epoch;
mod failure;
mod fitness;
mod language;
mod members;
mod node_role;
mod openings;
mod patience;
mod people;
mod push_jobs;
mod rows;
mod search;
mod search_queue;
mod turns;
mod uploads;

use std::{borrow::Cow, sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, Status};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use self::{
    config::PostgresConfig,
    durability::Durability,
    failure::unavailable,
    fitness::{Fitness, Unfit},
    search::SearchPool,
};
use super::{
    Appended, Delivered, DeliveryMarks, Head, Listed, NewSession, PastBody, ReadMark, SessionPage,
    Set, Setting, Span, Store, StoreError,
    changes::Changes,
    search::{Hits, TooCostly, terms::Terms},
    sql,
    uploads::{Declined, NewUpload, Upload},
};
use crate::{
    images::{ImageKey, ObjectKey},
    message::{
        Draft, Message, MessageId,
        amend::{Amended, Amendment, Unamendable},
    },
    metrics::database::DatabaseCounts,
    person::{AvatarUrl, Person, PersonId},
    platform::tls::Tls,
    session::{EpochId, Session, SessionId},
};

/// Time limit of one query or transaction.
const DEADLINE: Duration = Duration::from_secs(5);

/// Connections of the pool that queries leave free: two for the writer, one for the health checks.
/// Sends are committed however many people read.
const RESERVED: usize = 3;

/// Maximum of concurrent changes of messages.
const AMENDS: usize = 4;

/// The production store.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: Pool,
    /// One permit for each connection that queries may use.
    reads: Semaphore,
    /// One permit for each change of a message. A change may wait for the lock of its message's row,
    /// and holds a connection meanwhile.
    amends: Semaphore,
    changes: Changes,
    fitness: Arc<Fitness>,
    search: SearchPool,
    /// Notified when a text is committed that has to be indexed.
    text_committed: Notify,
    counts: DatabaseCounts,
    append: Cow<'static, str>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Postgres {
    /// Connects, waits for a database that is still starting, and migrates it.
    pub(crate) async fn open(config: &PostgresConfig, language: &str) -> anyhow::Result<Self> {
        let config = &encryption::agree(config).await?;
        let fitness = Arc::<Fitness>::default();
        let shared = SearchPool::rest_of(config.pool_size);
        let pool = connect::builder(config, &fitness, shared, "")?;
        let pool = pool.post_create(epoch::lineage_hook()).build()?;
        drop(connect::first_client(&pool).await?);
        fitness.check_prepared(&pool).await.context("PostgreSQL can't be used")?;
        connect::migrate(&pool).await?;
        // The smallest pool keeps one connection for reads; the writer's lanes then share one.
        let reads = Semaphore::new(shared.saturating_sub(RESERVED).max(1));
        let (amends, changes) = (Semaphore::new(AMENDS), Changes::default());
        let (append, counts) = (append::APPEND.into(), DatabaseCounts::default());
        let (search, text_committed) = (SearchPool::open(config, &fitness)?, Notify::new());
        let postgres =
            Self { pool, reads, amends, changes, fitness, search, text_committed, counts, append };
        postgres.speak(language).await?;
        Ok(postgres)
    }

    /// Checks the connection and describes the server. Changes nothing there.
    pub(crate) async fn look(
        config: &PostgresConfig,
        language: &str,
    ) -> anyhow::Result<(String, Option<Durability>)> {
        let config = &encryption::try_to_agree(config).await?;
        let fitness = Arc::<Fitness>::default();
        let pool = connect::pool(config, &fitness, 2, "")?;
        drop(pool.get().await?);
        fitness.check_prepared(&pool).await?;
        let found = connect::look(&pool, language).await?;
        let way = if config.tls == Tls::Off { "plain text" } else { "TLS" };
        Ok((format!("{found}, {way}"), fitness.durability.get()))
    }

    /// Replaces the counters.
    pub(crate) fn with_counts(self, counts: DatabaseCounts) -> Self {
        Self { counts, ..self }
    }

    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let _turn = self.read_turn().await?;
        self.query_at_once(sql, params).await
    }

    /// Runs a query without waiting for a read permit.
    async fn query_at_once(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        let began = Instant::now();
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let outcome = timeout(DEADLINE, rows).await;
        self.counts.query.took(began.elapsed());
        self.fitness.settle_answer(outcome, client).inspect_err(|error| self.counts.failed(error))
    }

    async fn client(&self) -> Result<Object, StoreError> {
        let began = Instant::now();
        let client = self.pool.get().await.map_err(unavailable);
        self.counts.connection.took(began.elapsed());
        client.inspect_err(|error| self.counts.failed(error))
    }
}

#[async_trait]
impl Store for Postgres {
    async fn append_within(
        &self,
        drafts: &[Draft],
        limit: Duration,
    ) -> Result<Vec<Appended>, StoreError> {
        let appended = self.append_drafts(drafts, limit).await;
        self.text_committed.notify_one();
        appended
    }

    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError> {
        self.open_new(new).await
    }

    async fn open_between(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<Option<SessionId>, StoreError> {
        self.find_open(customer, dentist).await
    }

    async fn session(&self, me: &Person, id: SessionId) -> Result<Option<Session>, StoreError> {
        let params: Params<'_> = &[&me.kind.as_str(), &me.id.as_str(), &id.0];
        self.query(sql::SESSION, params).await?.first().map(rows::session).transpose()
    }

    async fn head(
        &self,
        me: &Person,
        id: SessionId,
    ) -> Result<Option<(Head, EpochId)>, StoreError> {
        self.head_of(me, id).await
    }

    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Listed, StoreError> {
        self.sessions_of(me, page).await
    }

    async fn unread(&self, me: &Person) -> Result<Vec<(SessionId, u64)>, StoreError> {
        self.unread_of(me).await
    }

    async fn history(
        &self,
        me: &Person,
        id: SessionId,
        span: Span,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (sql, seq) = match span {
            Span::After(seq) => (sql::HISTORY_AFTER, seq),
            Span::Before(seq) => (sql::HISTORY_BEFORE, seq),
        };
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let params: Params<'_> =
            &[&me.kind.as_str(), &me.id.as_str(), &id.0, &seq, &i64::from(limit)];
        self.query(sql, params).await?.iter().map(rows::message).collect()
    }

    async fn changes(
        &self,
        me: &Person,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let rev = i64::try_from(rev).unwrap_or(i64::MAX);
        let params: Params<'_> =
            &[&me.kind.as_str(), &me.id.as_str(), &id.0, &rev, &i64::from(limit)];
        self.query(sql::CHANGES, params).await?.iter().map(rows::message).collect()
    }

    async fn amend(
        &self,
        me: &Person,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError> {
        let amended = self.amend_message(me, id, message_id, amendment).await?;
        self.text_committed.notify_one();
        Ok(amended)
    }

    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError> {
        self.note(new).await
    }

    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError> {
        self.find_upload(me, id, key).await
    }

    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError> {
        self.find_orphans(before, limit).await
    }

    async fn forget_uploads(
        &self,
        keys: &[ObjectKey],
        before: Timestamp,
    ) -> Result<(), StoreError> {
        self.forget(keys, before).await
    }

    async fn past_bodies(
        &self,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError> {
        self.bodies_before(id, message_id).await
    }

    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.refuse(key).await
    }

    async fn fill(
        &self,
        id: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = self.query(sql::FILL, &[&id.0, &after, &i64::from(limit)]).await?;
        rows.iter().map(rows::message).collect()
    }

    async fn changed(
        &self,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let rev = i64::try_from(rev).unwrap_or(i64::MAX);
        let rows = self.query(sql::CHANGED, &[&id.0, &rev, &i64::from(limit)]).await?;
        rows.iter().map(rows::message).collect()
    }

    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<Head>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let heads = "select id, last_seq, rev from sessions where id = any($1)";
        self.query(heads, &[&ids]).await?.iter().map(rows::head).collect()
    }

    async fn mark_read(
        &self,
        me: &Person,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError> {
        self.move_read_mark(me, id, seq).await
    }

    async fn search(
        &self,
        me: &Person,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError> {
        self.search_messages(me, terms, offset, limit).await
    }

    async fn set_session(
        &self,
        me: &Person,
        id: SessionId,
        setting: Setting,
    ) -> Result<Option<Set>, StoreError> {
        self.set_session_of(me, id, setting).await
    }

    async fn views(&self, ids: &[SessionId]) -> Result<Vec<(Person, Session)>, StoreError> {
        self.views_of(ids).await
    }

    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError> {
        self.move_delivery_marks(marks).await
    }

    async fn seen(&self, people: &[Person]) -> Result<(), StoreError> {
        self.note_seen(people).await
    }

    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError> {
        self.seen_last(person).await
    }

    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError> {
        people::rename(self, person, name, avatar_url).await
    }

    fn pool(&self) -> Option<Status> {
        Some(self.pool.status())
    }

    fn durability(&self) -> Option<Durability> {
        self.fitness.durability.get()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.fitness.check_prepared(&self.pool).await.map_err(unavailable)?;
        let only_reads = "select current_setting('transaction_read_only') = 'on' as only_reads";
        let rows = self.query_at_once(only_reads, &[]).await?;
        let only_reads = rows.first().map(|row| rows::get(row, "only_reads"));
        if only_reads.transpose()?.unwrap_or(false) {
            self.fitness.demoted();
            return Err(unavailable(Unfit::OnlyReads));
        }
        Ok(())
    }

    fn unfit(&self) -> Option<String> {
        self.fitness.unfit().map(|reason| reason.to_string())
    }
}
