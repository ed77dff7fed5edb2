//! Replies between people, in PostgreSQL.

use async_trait::async_trait;

use super::{Params, Postgres, rows};
use crate::store::openings::{HAS_WRITTEN, Openings, UNANSWERED};
use db::StoreError;
use model::{ids::SessionId, person::PersonName, scope::Scope};

#[async_trait]
impl Openings for Postgres {
    async fn unanswered(&self, me: &Scope, limit: u32) -> Result<u32, StoreError> {
        let rows = self
            .db
            .query(UNANSWERED, &[&me.id.as_str(), &i64::from(limit), &me.tenant.number()])
            .await?;
        let count = rows::seq(rows.first().ok_or_else(rows::missing)?, "sessions")?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn has_written(
        &self,
        me: &Scope,
        id: SessionId,
        person: &PersonName,
    ) -> Result<bool, StoreError> {
        let params: Params<'_> = &[
            &id.0,
            &person.side.as_str(),
            &person.id.as_str(),
            &me.tenant.number(),
            &me.side.as_str(),
            &me.id.as_str(),
        ];
        let rows = self.db.query(HAS_WRITTEN, params).await?;
        Ok(!rows.is_empty())
    }
}
