//! The database server itself: its health, its connections and its settings.

use async_trait::async_trait;
use deadpool_postgres::Status;

use super::{StoreError, postgres::durability::Durability};

/// The part of a store that reports the state of its database server.
#[async_trait]
pub trait Server: Send + Sync + 'static {
    /// Checks that the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Known reason why the database can't be used now: a plain sentence.
    fn unfit(&self) -> Option<String> {
        None
    }

    /// State of the connection pool, if there is one.
    fn pool(&self) -> Option<Status> {
        None
    }

    /// Durability of commits, if it depends on the operator's settings.
    fn durability(&self) -> Option<Durability> {
        None
    }
}
