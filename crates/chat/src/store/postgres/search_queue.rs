//! Indexing after the commit: rows of the queue, their texts' words, and the index, in one
//! transaction.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use deadpool_postgres::{Object, Transaction};
use jiff::Timestamp;
use tokio::{sync::Notify, time::timeout};
use tokio_postgres::{Row, error::SqlState};
use uuid::Uuid;

use super::{Params, Postgres, rows, search::is_of_its_input};
use crate::store::{
    search::tokens::cleaned,
    search_queue::{ATTEMPTS_MAX, COUNTED_MAX, Indexed, SearchBacklog, SearchQueue},
};
use db::StoreError;
use db::postgres::{
    STATEMENT_TIMEOUT,
    failure::{classify, unavailable},
};
use model::ids::TenantId;

const TIDY: [&str; 2] = ["select frontdesk_tidy_search()", "select frontdesk_look_at_growth()"];

/// Takes waiting rows, new messages first. Rows locked by another node are left to it. A row that
/// has failed before is taken alone.
const TAKE: &str = "with next as materialized ( \
      select attempts, id, tenant_id, session_id, seq from search_queue order by attempts, id limit $1 \
      for no key update skip locked \
    ), taken as (select * from next where attempts = 0 union all \
      (select * from next where not exists (select from next where attempts = 0) limit 1)) \
    select t.attempts, t.id, t.tenant_id, t.session_id, t.seq, m.body, m.edited_at from taken t \
    left join messages m on m.tenant_id = t.tenant_id and m.session_id = t.session_id and m.seq = t.seq \
      and not m.bodiless";

/// A text that was edited meanwhile waits in a row of its own. The comparison uses the edit time,
/// because a reaction changes the revision but not the text. Most texts that are indexed again have
/// the same index as before, and are not written.
const INDEX: &str = "update messages m set search = t.search \
    from (select distinct on (tenant_id, session_id, seq) tenant_id, session_id, seq, edited_at, \
        to_tsvector('frontdesk', words) as search \
      from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[], $5::int[]) \
        as t(session_id, seq, edited_at, words, tenant_id)) t \
    where m.tenant_id = t.tenant_id and m.session_id = t.session_id and m.seq = t.seq \
      and m.edited_at is not distinct from t.edited_at and not m.bodiless \
      and m.search is distinct from t.search";

const DONE: &str = "delete from search_queue where (attempts, id) in \
    (select * from unnest($1::smallint[], $2::bigint[]))";

/// $1 and $2 the row, $3 the last attempt: adds an attempt, or deletes the row after the last one.
const FAILED: &str = "with over as (delete from search_queue where attempts = $1 and id = $2 \
      and attempts + 1 >= $3 returning id) \
    update search_queue set attempts = attempts + 1 where attempts = $1 and id = $2 and attempts + 1 < $3";

/// Moves a message that another transaction has locked to the end of the queue.
const HELD: &str = "update search_queue set id = default where attempts = $1 and id = $2";

const BACKLOG: &str = "select count(*) as messages, \
    coalesce(extract(epoch from now() - min(queued_at)), 0)::float8 as oldest \
    from (select queued_at from search_queue order by attempts, id limit $1) waiting";

/// Progress of putting the messages from before the migration into `search_again`; one node at a
/// time. They are all of tenant `main`.
const BACKFILL: &str = "select session_id, seq from search_backfill for no key update skip locked";

const BACKFILL_NEXT: &str = "with next as (select tenant_id, session_id, seq from messages \
      where tenant_id = $4 and (session_id, seq) < ($1, $2) order by session_id desc, seq desc limit $3), \
    added as (insert into search_again (tenant_id, session_id, seq) select tenant_id, session_id, seq from next) \
    select session_id, seq from next order by session_id, seq limit 1";

const BACKFILL_MOVED: &str = "update search_backfill set session_id = $1, seq = $2";

const BACKFILL_DONE: &str = "delete from search_backfill";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Waiting,
    Again,
}

impl Queue {
    /// Both queues have the same columns.
    fn of(self, sql: &'static str) -> Cow<'static, str> {
        match self {
            Self::Waiting => Cow::Borrowed(sql),
            Self::Again => Cow::Owned(sql.replace("search_queue", "search_again")),
        }
    }
}

/// Rows of a queue, column by column.
#[derive(Default)]
struct Taken {
    attempts: Vec<i16>,
    ids: Vec<i64>,
    tenants: Vec<i32>,
    session_ids: Vec<Uuid>,
    seqs: Vec<i64>,
    edited_at: Vec<Option<Timestamp>>,
    words: Vec<String>,
}

#[async_trait]
impl SearchQueue for Postgres {
    async fn index_waiting(&self, limit: u32) -> Result<Indexed, StoreError> {
        self.tidy().await;
        self.index_queued(Queue::Waiting, limit).await
    }

    async fn index_again(&self, limit: u32) -> Result<Indexed, StoreError> {
        let indexed = self.index_queued(Queue::Again, limit).await?;
        if indexed != Indexed::default() || !self.backfill(limit).await? {
            return Ok(indexed);
        }
        self.index_queued(Queue::Again, limit).await
    }

    fn text_committed(&self) -> &Notify {
        &self.text_committed
    }

    async fn search_backlog(&self) -> Result<SearchBacklog, StoreError> {
        let rows = self.db.query_at_once(BACKLOG, &[&COUNTED_MAX]).await?;
        let Some(row) = rows.first() else { return Ok(SearchBacklog::default()) };
        let oldest = Duration::try_from_secs_f64(rows::get(row, "oldest")?).unwrap_or_default();
        Ok(SearchBacklog { messages: rows::seq(row, "messages")?, oldest })
    }
}

impl Postgres {
    /// Moves the new entries of the search index into its tree, and has the database look at tables that have grown. What a
    /// failure leaves is done the next time.
    async fn tidy(&self) {
        for sql in TIDY {
            let Ok(client) = self.search.pool.get().await else { return };
            let tidied = timeout(STATEMENT_TIMEOUT, client.execute(sql, &[])).await;
            if let Err(error) = self.db.settle_answer(tidied, client) {
                tracing::debug!(%error, "search index or statistics not tidied; retried later");
            }
        }
    }

    async fn index_queued(&self, queue: Queue, limit: u32) -> Result<Indexed, StoreError> {
        let mut client = self.search.pool.get().await.map_err(unavailable)?;
        let work = timeout(STATEMENT_TIMEOUT, index(&mut client, queue, limit));
        let outcome = work.await.unwrap_or_else(|late| Err(unavailable(late)));
        self.db.give_back(outcome, client)
    }

    /// Puts the next messages into `search_again`. Returns false if there are none, or another node
    /// does it.
    async fn backfill(&self, limit: u32) -> Result<bool, StoreError> {
        let mut client = self.search.pool.get().await.map_err(unavailable)?;
        let work = timeout(STATEMENT_TIMEOUT, backfill(&mut client, limit));
        let outcome = work.await.map_err(unavailable).and_then(|done| done.map_err(classify));
        self.db.give_back(outcome, client)
    }
}

async fn backfill(client: &mut Object, limit: u32) -> Result<bool, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let Some(at) = transaction.query_opt(BACKFILL, &[]).await? else { return Ok(false) };
    let (session_id, seq): (Uuid, i64) = (at.try_get(0)?, at.try_get(1)?);
    let next = transaction.prepare_cached(BACKFILL_NEXT).await?;
    let main = TenantId::MAIN.number();
    let last = transaction.query_opt(&next, &[&session_id, &seq, &i64::from(limit), &main]).await?;
    if let Some(last) = &last {
        let (session_id, seq): (Uuid, i64) = (last.try_get(0)?, last.try_get(1)?);
        transaction.execute(BACKFILL_MOVED, &[&session_id, &seq]).await?;
    } else {
        transaction.execute(BACKFILL_DONE, &[]).await?;
    }
    transaction.commit().await?;
    Ok(last.is_some())
}

async fn index(client: &mut Object, queue: Queue, limit: u32) -> Result<Indexed, StoreError> {
    let transaction = client.transaction().await.map_err(classify)?;
    // The commit does not wait for the disk: a lost commit also restores the queue's row.
    transaction.batch_execute("set local synchronous_commit = off").await.map_err(classify)?;
    let take = transaction.prepare_cached(&queue.of(TAKE)).await.map_err(classify)?;
    let taken = transaction.query(&take, &[&i64::from(limit)]).await.map_err(classify)?;
    let taken = Taken::read(&taken)?;
    let messages = u32::try_from(taken.ids.len()).unwrap_or(u32::MAX);
    if messages == 0 {
        return Ok(Indexed::default());
    }
    match write(transaction, queue, &taken).await {
        Ok(()) => Ok(Indexed { messages, ..Indexed::default() }),
        Err(error) => {
            let code = error.code().cloned();
            let Some(failure) = code.as_ref().and_then(Failure::of) else {
                return Err(classify(error));
            };
            let given_up = failure.note(client, queue, &taken).await?;
            Ok(Indexed { too_costly: true, given_up, ..Indexed::default() })
        }
    }
}

async fn write(
    transaction: Transaction<'_>,
    queue: Queue,
    taken: &Taken,
) -> Result<(), tokio_postgres::Error> {
    let index = transaction.prepare_cached(INDEX).await?;
    let done = transaction.prepare_cached(&queue.of(DONE)).await?;
    let rows: Params<'_> =
        &[&taken.session_ids, &taken.seqs, &taken.edited_at, &taken.words, &taken.tenants];
    transaction.execute(&index, rows).await?;
    transaction.execute(&done, &[&taken.attempts, &taken.ids]).await?;
    transaction.commit().await
}

/// A failure that a smaller batch may avoid.
enum Failure {
    Costly,
    /// Another transaction has locked one of the messages.
    Held,
}

impl Failure {
    fn of(code: &SqlState) -> Option<Self> {
        let held = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code);
        if held { Some(Self::Held) } else { is_of_its_input(code).then_some(Self::Costly) }
    }

    /// Records the failure if the batch is a single message. Returns the number of messages without
    /// attempts left.
    async fn note(self, client: &Object, queue: Queue, taken: &Taken) -> Result<u32, StoreError> {
        let ([attempts], [id]) = (taken.attempts.as_slice(), taken.ids.as_slice()) else {
            return Ok(0);
        };
        if matches!(self, Self::Held) {
            client.execute(&*queue.of(HELD), &[attempts, id]).await.map_err(classify)?;
            return Ok(0);
        }
        client
            .execute(&*queue.of(FAILED), &[attempts, id, &ATTEMPTS_MAX])
            .await
            .map_err(classify)?;
        Ok(u32::from(attempts + 1 >= ATTEMPTS_MAX))
    }
}

impl Taken {
    fn read(rows: &[Row]) -> Result<Self, StoreError> {
        let mut taken = Self::default();
        for row in rows {
            taken.attempts.push(rows::get(row, "attempts")?);
            taken.ids.push(rows::get(row, "id")?);
            taken.tenants.push(rows::get(row, "tenant_id")?);
            taken.session_ids.push(rows::get(row, "session_id")?);
            taken.seqs.push(rows::get(row, "seq")?);
            taken.edited_at.push(rows::get(row, "edited_at")?);
            taken.words.push(cleaned(rows::get::<Option<&str>>(row, "body")?.unwrap_or_default()));
        }
        Ok(taken)
    }
}
