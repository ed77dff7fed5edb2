//! SQLite: a database in a file, for one process at a time.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk before it is acknowledged.

pub mod blocking;
mod permits;
pub mod rows;
mod server;

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
};
use crate::StoreError;

use embedded::migrations;

mod embedded {
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// Read connections, beside the one that writes.
const READ_CONNECTIONS: usize = 4;

/// A handle of one database file.
#[derive(Debug)]
pub struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    readers: Vec<Arc<Mutex<Connection>>>,
    next_reader: AtomicUsize,
    permits: ChangePermits,
}

impl Sqlite {
    /// Opens the file, creates it if missing, and migrates it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("the database {}", path.display());
        let mut writer = connect(path).with_context(context)?;
        migrate(&mut writer).with_context(|| format!("migrating {}", path.display()))?;
        let readers = (0..READ_CONNECTIONS)
            .map(|_| Ok(Arc::new(Mutex::new(connect(path)?))))
            .collect::<rusqlite::Result<_>>()
            .with_context(context)?;
        let writer = Arc::new(Mutex::new(writer));
        let (next_reader, permits) = (AtomicUsize::new(0), ChangePermits::default());
        Ok(Self { writer, readers, next_reader, permits })
    }

    /// The connection that writes.
    pub fn writer(&self) -> Arc<Mutex<Connection>> {
        Arc::clone(&self.writer)
    }

    /// Reads, on a thread that may block.
    pub async fn read<T: Send + 'static>(
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

    /// Writes, on a thread that may block.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        on(&self.writer, work).await
    }
}

/// Applies missing migrations. A file that a newer version has migrated stays usable.
pub fn migrate(db: &mut Connection) -> Result<(), refinery::Error> {
    migrations::runner().set_abort_missing(false).run(db).map(drop)
}

/// Applies the migrations up to a version, as an earlier program would have.
#[cfg(test)]
pub(crate) fn migrate_to(db: &mut Connection, version: i32) -> Result<(), refinery::Error> {
    migrations::runner().set_target(refinery::Target::Version(version)).run(db).map(drop)
}

/// Opens a connection to the file.
pub fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}

/// Begins a transaction that takes the write lock now, so that it can't fail half-way.
pub fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Numbered parameters are written `?1` in SQLite.
pub fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// An SQLite error by its code only: its text may quote a row, and a row holds a body.
#[derive(Debug, thiserror::Error)]
#[error("SQLite: {0}")]
struct Failure(String);

/// Classifies an error for the caller.
pub fn classify(error: &rusqlite::Error) -> StoreError {
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

/// A position as a column holds it.
pub fn position(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
