//! The databases: one handle for PostgreSQL and one for SQLite, their migrations, the failures of both, and
//! the jobs that follow a commit.

mod changes;
pub mod counts;
mod error;
pub mod jobs;
pub mod postgres;
pub mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod text;

use std::sync::Arc;

pub use error::StoreError;

/// Everything that a node keeps.
#[derive(Clone, Debug)]
pub enum Database {
    /// PostgreSQL, shared by any number of nodes.
    Postgres(Arc<postgres::Postgres>),
    /// A file, for this node alone.
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<sqlite::Sqlite>),
}

impl Database {
    /// The state of the database's server.
    pub fn server(&self) -> Arc<dyn server::Server> {
        match self {
            Self::Postgres(postgres) => Arc::clone(postgres) as _,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => Arc::clone(sqlite) as _,
        }
    }
}
