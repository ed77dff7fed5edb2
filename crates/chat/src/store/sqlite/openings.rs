//! Replies between people, in SQLite.

use async_trait::async_trait;
use rusqlite::params;

use super::Sqlite;
use crate::store::openings::{HAS_WRITTEN, Openings, UNANSWERED};
use db::StoreError;
use db::sqlite::numbered;
use model::{ids::SessionId, person::PersonName, scope::Scope};

#[async_trait]
impl Openings for Sqlite {
    async fn unanswered(&self, me: &Scope, limit: u32) -> Result<u32, StoreError> {
        let me = me.clone();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(&numbered(UNANSWERED))?;
                statement.query_row((me.id.as_str(), limit, me.tenant.number()), |row| {
                    row.get("sessions")
                })
            })
            .await
    }

    async fn has_written(
        &self,
        me: &Scope,
        id: SessionId,
        person: &PersonName,
    ) -> Result<bool, StoreError> {
        let (me, person) = (me.clone(), person.clone());
        self.db
            .read(move |db| {
                let who = params![
                    id.0.to_string(),
                    person.side.as_str(),
                    person.id.as_str(),
                    me.tenant.number(),
                    me.side.as_str(),
                    me.id.as_str(),
                ];
                db.prepare_cached(&numbered(HAS_WRITTEN))?.exists(who)
            })
            .await
    }
}
