//! Replies between people, in SQLite.

use async_trait::async_trait;

use super::{Sqlite, numbered};
use crate::{
    person::{Person, PersonId},
    session::SessionId,
    store::{
        StoreError,
        openings::{HAS_WRITTEN, Openings, UNANSWERED},
    },
};

#[async_trait]
impl Openings for Sqlite {
    async fn unanswered(&self, customer: &PersonId, limit: u32) -> Result<u32, StoreError> {
        let customer = customer.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(UNANSWERED))?;
            statement.query_row((customer.as_str(), limit), |row| row.get("sessions"))
        })
        .await
    }

    async fn has_written(&self, person: &Person, id: SessionId) -> Result<bool, StoreError> {
        let person = person.clone();
        self.read(move |db| {
            let who = (id.0.to_string(), person.kind.as_str(), person.id.as_str());
            db.prepare_cached(&numbered(HAS_WRITTEN))?.exists(who)
        })
        .await
    }
}
