//! State of the SQLite file.

use async_trait::async_trait;

use super::Sqlite;
use crate::{StoreError, server::Server};

#[async_trait]
impl Server for Sqlite {
    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|db| db.query_row("select 1", [], |_| Ok(()))).await
    }
}
