//! SQLite: the statements in its own dialect.

mod epoch;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod marks;
mod messages;
mod openings;
mod retention;
mod rows;
mod search;
mod search_queue;
mod sessions;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;

use self::{search::Searchers, search_queue::Indexer};

/// The embedded store.
#[derive(Debug)]
pub struct Sqlite {
    /// The handle, which other tables share.
    pub db: Arc<db::sqlite::Sqlite>,
    searchers: Arc<Searchers>,
    indexer: Arc<Indexer>,
    /// Delay of a push after its message; `None` disables pushes.
    push_delay: Option<Duration>,
}

impl Sqlite {
    /// Writes a job beside each message, due after `delay`; `None` disables pushes.
    pub fn with_pushes(mut self, delay: Option<Duration>) -> Self {
        self.push_delay = delay;
        self
    }

    /// Opens the file, creates it if missing, and migrates it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let db = Arc::new(db::sqlite::Sqlite::open(path)?);
        let searchers = Arc::new(Searchers::new(path));
        let indexer = Indexer::open(path, db.writer());
        let indexer = indexer.with_context(|| format!("the database {}", path.display()))?;
        Ok(Self { db, searchers, indexer: Arc::new(indexer), push_delay: None })
    }
}
