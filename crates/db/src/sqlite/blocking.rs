//! Work that blocks its thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::{StoreError, classify};

/// Runs the work on a thread that may block. No lock is held across an await (law I10).
pub async fn on<T: Send + 'static>(
    connection: &Arc<Mutex<Connection>>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let connection = Arc::clone(connection);
    blocking(move || work(&mut lock(&connection))).await
}

/// A panic inside a transaction rolls it back: the connection stays usable.
pub fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the work on a thread that may block.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| classify(&error)),
        Err(panicked) => Err(StoreError::Refused(Arc::new(panicked))),
    }
}
