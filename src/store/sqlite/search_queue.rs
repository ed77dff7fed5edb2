//! Indexing behind the commit, on a connection of its own. It holds the writer meanwhile: a batch is
//! small.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tokio::{sync::Notify, task::spawn_blocking};

use super::{
    Sqlite, classify, connect, rows,
    search::{is_interrupted, within},
    writes::begin,
};
use crate::store::{
    StoreError,
    search::TIME_LIMIT,
    search_queue::{ATTEMPTS_MAX, COUNTED_MAX, Indexed, SearchBacklog, SearchQueue},
};

/// How many bytes of text are indexed at once: a send that comes meanwhile waits.
const BATCH_BYTES: i64 = 64 * 1024;

/// ?1 how many at most, ?2 how many bytes of text, ?3 how many attempts there are: what waits, new messages first.
const TAKE: &str = "select message, attempts from (select q.message, q.attempts, \
      sum(coalesce(length(m.body), 0)) over next as bytes, row_number() over next as place \
      from (select message, attempts from search_queue where attempts < ?3 \
        order by attempts, message limit ?1) q \
      left join messages m on m.rowid = q.message \
      window next as (order by q.attempts, q.message)) \
    where place = 1 or (bytes <= ?2 and attempts = 0) order by place";

/// Where a batch is indexed, one at a time.
#[derive(Debug)]
pub(super) struct Indexer {
    db: Mutex<Connection>,
    writer: Arc<Mutex<Connection>>,
    pub(super) text_committed: Notify,
}

impl Indexer {
    pub(super) fn open(path: &Path, writer: Arc<Mutex<Connection>>) -> rusqlite::Result<Self> {
        let db = connect(path)?;
        // No commit of its own waits for the disk: a row of the queue stays until the index is on it.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self { db: Mutex::new(db), writer, text_committed: Notify::new() })
    }

    fn index(&self, limit: u32) -> rusqlite::Result<Indexed> {
        // Writers wait here, not for the file's lock: that would be polled for.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        match within(TIME_LIMIT, &mut db, |db| write(db, limit, &mut taken)) {
            Ok(()) => {
                let messages = u32::try_from(taken.len()).unwrap_or(u32::MAX);
                Ok(Indexed { messages, ..Indexed::default() })
            }
            Err(error) if is_interrupted(&error) => {
                let given_up = failed(&db, &taken)?;
                Ok(Indexed { too_costly: true, given_up, ..Indexed::default() })
            }
            Err(error) => Err(error),
        }
    }
}

fn take(db: &Connection, limit: u32) -> rusqlite::Result<Vec<(i64, i16)>> {
    let mut take = db.prepare_cached(TAKE)?;
    take.query_map(params![limit, BATCH_BYTES, ATTEMPTS_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn write(db: &mut Connection, limit: u32, taken: &mut Vec<(i64, i16)>) -> rusqlite::Result<()> {
    let transaction = begin(db)?;
    *taken = take(&transaction, limit)?;
    {
        let mut index = transaction.prepare_cached(
            "insert into message_search (rowid, body) \
             select rowid, body from messages where rowid = ?1 and not bodiless",
        )?;
        let mut done = transaction.prepare_cached("delete from search_queue where message = ?1")?;
        for (message, _) in taken.iter() {
            index.execute([message])?;
            done.execute([message])?;
        }
    }
    transaction.commit()
}

/// One message alone has an attempt fewer; how many have none left. Such a message stays in the queue:
/// an edit takes the words of a text out of the index where it is not in the queue.
fn failed(db: &Connection, taken: &[(i64, i16)]) -> rusqlite::Result<u32> {
    let [(message, attempts)] = taken else { return Ok(0) };
    db.execute("update search_queue set attempts = attempts + 1 where message = ?1", [message])?;
    Ok(u32::from(attempts + 1 >= ATTEMPTS_MAX))
}

#[async_trait]
impl SearchQueue for Sqlite {
    async fn index_waiting(&self, limit: u32) -> Result<Indexed, StoreError> {
        let indexer = Arc::clone(&self.indexer);
        match spawn_blocking(move || indexer.index(limit)).await {
            Ok(outcome) => outcome.map_err(|error| classify(&error)),
            Err(panicked) => Err(StoreError::Refused(Arc::new(panicked))),
        }
    }

    fn text_committed(&self) -> &Notify {
        &self.indexer.text_committed
    }

    async fn search_backlog(&self) -> Result<SearchBacklog, StoreError> {
        self.read(|db| {
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
