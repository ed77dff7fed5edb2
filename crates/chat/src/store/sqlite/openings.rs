//! Replies between people, in SQLite.

use async_trait::async_trait;

use super::Sqlite;
use crate::store::openings::{HAS_WRITTEN, Openings, UNANSWERED};
use db::StoreError;
use db::sqlite::numbered;
use model::{ids::SessionId, person::Person};

#[async_trait]
impl Openings for Sqlite {
    async fn unanswered(&self, customer: &Person, limit: u32) -> Result<u32, StoreError> {
        let customer = customer.clone();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(&numbered(UNANSWERED))?;
                statement
                    .query_row((customer.id.as_str(), limit, customer.tenant.number()), |row| {
                        row.get("sessions")
                    })
            })
            .await
    }

    async fn has_written(&self, person: &Person, id: SessionId) -> Result<bool, StoreError> {
        let person = person.clone();
        self.db
            .read(move |db| {
                let who = (
                    id.0.to_string(),
                    person.side.as_str(),
                    person.id.as_str(),
                    person.tenant.number(),
                );
                db.prepare_cached(&numbered(HAS_WRITTEN))?.exists(who)
            })
            .await
    }
}
