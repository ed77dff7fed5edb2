//! State of the PostgreSQL server.

use async_trait::async_trait;
use deadpool_postgres::Status;

use super::{Postgres, durability::Durability, failure::unavailable, fitness::Unfit, rows};
use crate::{StoreError, server::Server};

#[async_trait]
impl Server for Postgres {
    async fn ping(&self) -> Result<(), StoreError> {
        self.fitness.check_prepared(&self.pool).await.map_err(unavailable)?;
        let only_reads = "select current_setting('transaction_read_only') = 'on' as only_reads";
        let rows = self.query_at_once(only_reads, &[]).await?;
        let only_reads = rows.first().map(|row| rows::get(row, "only_reads"));
        if only_reads.transpose()?.unwrap_or(false) {
            self.fitness.demoted();
            return Err(unavailable(Unfit::OnlyReads));
        }
        Ok(())
    }

    fn unfit(&self) -> Option<String> {
        self.fitness.unfit().map(|reason| reason.to_string())
    }

    fn pool(&self) -> Option<Status> {
        Some(self.pool.status())
    }

    fn durability(&self) -> Option<Durability> {
        self.fitness.durability.get()
    }
}
