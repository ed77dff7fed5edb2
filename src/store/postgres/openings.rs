//! Replies between people, in PostgreSQL.

use async_trait::async_trait;

use super::{Postgres, rows};
use crate::{
    person::{Person, PersonId},
    session::SessionId,
    store::{
        StoreError,
        openings::{HAS_WRITTEN, Openings, UNANSWERED},
    },
};

#[async_trait]
impl Openings for Postgres {
    async fn unanswered(&self, customer: &PersonId, limit: u32) -> Result<u32, StoreError> {
        let rows = self.query(UNANSWERED, &[&customer.as_str(), &i64::from(limit)]).await?;
        let count = rows::seq(rows.first().ok_or_else(rows::missing)?, "sessions")?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn has_written(&self, person: &Person, id: SessionId) -> Result<bool, StoreError> {
        let (kind, person) = (person.kind.as_str(), person.id.as_str());
        let rows = self.query(HAS_WRITTEN, &[&id.0, &kind, &person]).await?;
        Ok(!rows.is_empty())
    }
}
