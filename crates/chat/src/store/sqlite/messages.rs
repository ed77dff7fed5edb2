//! Messages, in SQLite.

mod amend;
mod append;

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Params, params};

use self::{amend::amend, append::append};
use super::{Sqlite, rows};
use crate::store::{
    messages::{Appended, HistoryRange, Messages, PastBody},
    sql,
};
use db::StoreError;
use db::sqlite::{numbered, position};
use model::{
    ids::{MessageId, SessionId, SessionKey},
    message::{
        Draft, Message,
        amend::{Amended, Amendment, Unamendable},
    },
    scope::{AdminScope, Scope},
};

#[async_trait]
impl Messages for Sqlite {
    /// The limit is ignored: only other processes could hold a lock, and they lock the whole file.
    async fn append_within(
        &self,
        drafts: &[Draft],
        _limit: Duration,
    ) -> Result<Vec<Appended>, StoreError> {
        let (drafts, push_delay) = (drafts.to_vec(), self.push_delay);
        let appended = self.db.write(move |db| append(db, &drafts, push_delay)).await;
        self.indexer.text_committed.notify_one();
        appended
    }

    fn job_delay(&self) -> Option<Duration> {
        self.push_delay
    }

    async fn history(
        &self,
        me: &Scope,
        id: SessionId,
        range: HistoryRange,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (sql, seq) = match range {
            HistoryRange::After(seq) => (sql::HISTORY_AFTER, seq),
            HistoryRange::Before(seq) => (sql::HISTORY_BEFORE, seq),
        };
        let (kind, person, id) = (me.side.as_str(), me.id.as_str().to_owned(), id.0.to_string());
        self.read_messages(sql, (kind, person, id, position(seq), limit, me.tenant.number())).await
    }

    async fn changes(
        &self,
        me: &Scope,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (kind, person, id) = (me.side.as_str(), me.id.as_str().to_owned(), id.0.to_string());
        self.read_messages(
            sql::CHANGES,
            (kind, person, id, position(rev), limit, me.tenant.number()),
        )
        .await
    }

    async fn amend(
        &self,
        me: &Scope,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError> {
        let (person, amendment) = (me.clone(), amendment.clone());
        let work = move |db: &mut Connection| amend(db, &person, id, message_id, &amendment);
        let amended = self.db.change(me, id, work).await;
        self.indexer.text_committed.notify_one();
        amended
    }

    async fn past_bodies(
        &self,
        admin: &AdminScope,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError> {
        let tenant = admin.tenant.number();
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(&numbered(sql::PAST_BODIES))?;
                let params = params![id.0.to_string(), message_id.to_string(), tenant];
                let rows: Vec<_> = statement
                    .query_map(params, rows::past_body)?
                    .collect::<rusqlite::Result<_>>()?;
                Ok((!rows.is_empty()).then(|| rows.into_iter().flatten().collect()))
            })
            .await
    }

    async fn backfill_messages(
        &self,
        key: SessionKey,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        self.read_messages(
            sql::BACKFILL_MESSAGES,
            (key.id.0.to_string(), position(after), limit, key.tenant.number()),
        )
        .await
    }

    async fn backfill_changes(
        &self,
        key: SessionKey,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        self.read_messages(
            sql::BACKFILL_CHANGES,
            (key.id.0.to_string(), position(rev), limit, key.tenant.number()),
        )
        .await
    }
}

impl Sqlite {
    async fn read_messages(
        &self,
        sql: &'static str,
        params: impl Params + Send + 'static,
    ) -> Result<Vec<Message>, StoreError> {
        self.db
            .read(move |db| {
                let mut statement = db.prepare_cached(&numbered(sql))?;
                statement.query_map(params, rows::message)?.collect()
            })
            .await
    }
}
