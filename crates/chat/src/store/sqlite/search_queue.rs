//! Indexing after the commit, on a connection of its own. It blocks the writer meanwhile, so a
//! batch is small.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::{sync::Notify, task::spawn_blocking};

use super::{
    Sqlite, rows,
    search::{is_interrupted, within},
};
use crate::store::{
    search::{SEARCH_TIMEOUT, tokens::cleaned_unless_plain},
    search_queue::{ATTEMPTS_MAX, COUNTED_MAX, Indexed, SearchBacklog, SearchQueue},
};
use db::StoreError;
use db::sqlite::{begin, classify, connect};

/// Maximum size of the texts in one batch: a send that arrives meanwhile waits.
const BATCH_BYTES: i64 = 64 * 1024;

pub(super) const SEARCH_QUEUE: &str = "search_queue";
const SEARCH_AGAIN: &str = "search_again";

/// ?1 maximum of messages, ?2 maximum of bytes, ?3 maximum of attempts. Returns waiting
/// messages, new ones first.
const TAKE: &str = "select message, attempts from (select q.message, q.attempts, \
      sum(coalesce(octet_length(m.body), 0)) over next as bytes, row_number() over next as place \
      from (select message, attempts from search_queue where attempts < ?3 \
        order by attempts, message limit ?1) q \
      left join messages m on m.rowid = q.message \
      window next as (order by q.attempts, q.message)) \
    where place = 1 or (bytes <= ?2 and attempts = 0) order by place";

/// Indexes batches, one at a time.
#[derive(Debug)]
pub(super) struct Indexer {
    db: Mutex<Connection>,
    writer: Arc<Mutex<Connection>>,
    pub(super) text_committed: Notify,
}

impl Indexer {
    pub(super) fn open(path: &Path, writer: Arc<Mutex<Connection>>) -> rusqlite::Result<Self> {
        let db = connect(path)?;
        // Its commits do not wait for the disk: a lost commit also restores the queue's row.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self { db: Mutex::new(db), writer, text_committed: Notify::new() })
    }

    /// Indexes the next batch of a queue.
    fn index(&self, queue: &'static str, limit: u32) -> rusqlite::Result<Indexed> {
        // Writers wait for this mutex, not for the file's lock, which they would have to poll.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        match within(SEARCH_TIMEOUT, &mut db, |db| write(db, queue, limit, &mut taken)) {
            Ok(()) => {
                let messages = u32::try_from(taken.len()).unwrap_or(u32::MAX);
                Ok(Indexed { messages, ..Indexed::default() })
            }
            Err(error) if is_interrupted(&error) => {
                let given_up = failed(&db, queue, &taken)?;
                Ok(Indexed { too_costly: true, given_up, ..Indexed::default() })
            }
            Err(error) => Err(error),
        }
    }
}

fn take(db: &Connection, queue: &str, limit: u32) -> rusqlite::Result<Vec<(i64, i16)>> {
    let mut take = db.prepare_cached(&TAKE.replace(SEARCH_QUEUE, queue))?;
    take.query_map(params![limit, BATCH_BYTES, ATTEMPTS_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Indexes the next batch of a queue in one transaction. `taken` is filled even on failure.
pub(super) fn write(
    db: &mut Connection,
    queue: &str,
    limit: u32,
    taken: &mut Vec<(i64, i16)>,
) -> rusqlite::Result<()> {
    let transaction = begin(db)?;
    if queue == SEARCH_AGAIN {
        backfill(&transaction, limit)?;
    }
    *taken = take(&transaction, queue, limit)?;
    for (message, _) in taken.iter() {
        write_one(&transaction, *message)?;
        transaction
            .prepare_cached("delete from search_queue where message = ?1")?
            .execute([message])?;
        // The deletion above has added a row here, as it looks like the indexing of an earlier
        // version.
        transaction
            .prepare_cached("delete from search_again where message = ?1")?
            .execute([message])?;
    }
    transaction.commit()
}

/// Replaces the index of a message's text.
fn write_one(db: &Connection, message: i64) -> rusqlite::Result<()> {
    let sql = "select m.body, m.words, q.message is null from messages m \
        left join search_queue q on q.message = m.rowid where m.rowid = ?1 and not m.bodiless";
    let text = db.prepare_cached(sql)?.query_row([message], |row| {
        let text: (String, Option<String>, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(text)
    });
    let Some((body, before, is_indexed)) = text.optional()? else { return Ok(()) };
    let words = cleaned_unless_plain(&body);
    if is_indexed {
        if words == before {
            return Ok(());
        }
        let sql =
            "insert into message_search (message_search, rowid, body) values ('delete', ?1, ?2)";
        db.prepare_cached(sql)?.execute(params![message, before.as_ref().unwrap_or(&body)])?;
    }
    db.prepare_cached("insert into message_search (rowid, body) values (?1, ?2)")?
        .execute(params![message, words.as_ref().unwrap_or(&body)])?;
    if words != before {
        db.prepare_cached("update messages set words = ?2 where rowid = ?1")?
            .execute(params![message, words])?;
    }
    Ok(())
}

/// Puts the next messages from before the migration into `search_again`, if none wait there.
fn backfill(db: &Connection, limit: u32) -> rusqlite::Result<()> {
    let waits = "select exists (select 1 from search_again where attempts < ?1)";
    if db.prepare_cached(waits)?.query_row([ATTEMPTS_MAX], |row| row.get(0))? {
        return Ok(());
    }
    let here = "select before from search_backfill";
    let before: Option<i64> =
        db.prepare_cached(here)?.query_row([], |row| row.get(0)).optional()?;
    let Some(before) = before else { return Ok(()) };
    let next = "select min(rowid) from (select rowid from messages where rowid < ?1 \
        order by rowid desc limit ?2)";
    let next: Option<i64> = db.query_row(next, params![before, limit], |row| row.get(0))?;
    let Some(next) = next else {
        return db.execute("delete from search_backfill", []).map(drop);
    };
    let again = "insert or ignore into search_again (message, queued_at) \
        select rowid, created_at from messages where rowid >= ?1 and rowid < ?2";
    db.execute(again, [next, before])?;
    db.execute("update search_backfill set before = ?1", [next]).map(drop)
}

/// Counts an attempt if the batch is a single message. Returns the number of messages without
/// attempts left. Such a message stays in the queue: an edit removes a text's words from the index
/// only if it is not in the queue.
fn failed(db: &Connection, queue: &str, taken: &[(i64, i16)]) -> rusqlite::Result<u32> {
    let [(message, attempts)] = taken else { return Ok(0) };
    let sql = "update search_queue set attempts = attempts + 1 where message = ?1";
    db.execute(&sql.replace(SEARCH_QUEUE, queue), [message])?;
    Ok(u32::from(attempts + 1 >= ATTEMPTS_MAX))
}

impl Sqlite {
    async fn index_queued(&self, queue: &'static str, limit: u32) -> Result<Indexed, StoreError> {
        let indexer = Arc::clone(&self.indexer);
        match spawn_blocking(move || indexer.index(queue, limit)).await {
            Ok(outcome) => outcome.map_err(|error| classify(&error)),
            Err(panicked) => Err(StoreError::Refused(Arc::new(panicked))),
        }
    }
}

#[async_trait]
impl SearchQueue for Sqlite {
    async fn index_waiting(&self, limit: u32) -> Result<Indexed, StoreError> {
        self.index_queued(SEARCH_QUEUE, limit).await
    }

    async fn index_again(&self, limit: u32) -> Result<Indexed, StoreError> {
        self.index_queued(SEARCH_AGAIN, limit).await
    }

    fn text_committed(&self) -> &Notify {
        &self.indexer.text_committed
    }

    async fn search_backlog(&self) -> Result<SearchBacklog, StoreError> {
        self.db
            .read(|db| {
                let sql = "select count(*), min(queued_at) \
                from (select queued_at from search_queue where attempts < ?2 \
                order by attempts, message limit ?1)";
                db.query_row(sql, params![COUNTED_MAX, ATTEMPTS_MAX], |row| {
                    let (messages, since): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
                    let micros = since.map_or(0, |since| rows::now().as_microsecond() - since);
                    let oldest = Duration::from_micros(micros.try_into().unwrap_or(0));
                    Ok(SearchBacklog { messages: messages.unsigned_abs(), oldest })
                })
            })
            .await
    }
}
