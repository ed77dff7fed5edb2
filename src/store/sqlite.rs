//! SQLite: the embedded store, in a file, one process at a time.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk before it is acknowledged.

mod audit;
mod blocking;
mod blocks;
mod epoch;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod marks;
mod messages;
mod openings;
mod people;
mod permits;
mod push_jobs;
mod retention;
mod rows;
mod search;
mod search_queue;
mod server;
mod sessions;
mod uploads;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use self::{
    blocking::{blocking, lock, on},
    permits::ChangePermits,
    search::Searchers,
    search_queue::Indexer,
};
use super::StoreError;

refinery::embed_migrations!("migrations/sqlite");

/// Read connections, beside the one that writes.
const READ_CONNECTIONS: usize = 4;

/// The embedded store.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    readers: Vec<Arc<Mutex<Connection>>>,
    next_reader: AtomicUsize,
    permits: ChangePermits,
    searchers: Arc<Searchers>,
    indexer: Arc<Indexer>,
    /// Delay of a push after its message; `None` disables pushes.
    push_delay: Option<Duration>,
}

impl Sqlite {
    /// Opens the file, creates it if missing, and migrates it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("the database {}", path.display());
        let mut writer = connect(path).with_context(context)?;
        migrations::runner()
            .set_abort_missing(false)
            .run(&mut writer)
            .with_context(|| format!("migrating {}", path.display()))?;
        let readers = (0..READ_CONNECTIONS)
            .map(|_| Ok(Arc::new(Mutex::new(connect(path)?))))
            .collect::<rusqlite::Result<_>>()
            .with_context(context)?;
        let writer = Arc::new(Mutex::new(writer));
        let searchers = Arc::new(Searchers::new(path));
        let indexer = Indexer::open(path, Arc::clone(&writer)).with_context(context)?;
        let (next_reader, indexer) = (AtomicUsize::new(0), Arc::new(indexer));
        let permits = ChangePermits::default();
        Ok(Self { writer, readers, next_reader, permits, searchers, indexer, push_delay: None })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let next = self.next_reader.fetch_add(1, Ordering::Relaxed) % READ_CONNECTIONS;
        let in_turn = Arc::clone(self.readers.get(next).unwrap_or(&self.writer));
        let readers = self.readers.clone();
        blocking(move || {
            // A long query delays no other one while a reader is idle.
            let idle = readers.iter().find_map(|reader| reader.try_lock().ok());
            work(&mut idle.unwrap_or_else(|| lock(&in_turn)))
        })
        .await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        on(&self.writer, work).await
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}

/// Begins a transaction that takes the write lock now, so that it can't fail half-way.
fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Numbered parameters are written `?1` in SQLite.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// An SQLite error by its code only: its text may quote a row, and a row holds a body.
#[derive(Debug, thiserror::Error)]
#[error("SQLite: {0}")]
struct Failure(String);

fn classify(error: &rusqlite::Error) -> StoreError {
    use ErrorCode::{ConstraintViolation, DiskFull, SystemIoFailure, TooBig, TypeMismatch};
    let source = Arc::new(Failure(match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        other => other.to_string(),
    }));
    match error.sqlite_error_code() {
        // Other codes concern the file, the disk or another process: busy, read-only …
        Some(ConstraintViolation | TooBig | TypeMismatch) | None => StoreError::Refused(source),
        Some(DiskFull | SystemIoFailure) => StoreError::Disk(source),
        Some(_) => StoreError::Unavailable(source),
    }
}

fn position(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
