//! Messages, in PostgreSQL.

mod amend;
mod append;

use std::time::Duration;

use async_trait::async_trait;

pub(super) use self::append::APPEND;
use super::{Params, Postgres, rows};
use crate::store::{
    drafts,
    messages::{Appended, HistoryRange, Messages, PastBody, Refusal},
    sql,
};
use db::StoreError;
use model::{
    ids::{MessageId, SessionId, SessionKey},
    message::{
        Draft, Message,
        amend::{Amended, Amendment, Unamendable},
    },
    scope::{AdminScope, Scope},
};

#[async_trait]
impl Messages for Postgres {
    async fn append_within(
        &self,
        drafts: &[Draft],
        limit: Duration,
    ) -> Result<Vec<Appended>, StoreError> {
        let rows = self.append_rows(drafts, limit).await;
        self.text_committed.notify_one();
        let rows = rows?;
        let mut repeats = Vec::new();
        for (draft, row) in drafts.iter().zip(&rows) {
            if rows::get::<&str>(row, "outcome")? == "repeat" {
                repeats.push((draft.session(), rows::get(row, "seq")?));
            }
        }
        let stored = self.stored(&repeats).await?;
        let mut appended = Vec::with_capacity(drafts.len());
        for (draft, row) in drafts.iter().zip(&rows) {
            let outcome: String = rows::get(row, "outcome")?;
            appended.push(match outcome.as_str() {
                "new" => Appended::Committed(draft.committed(
                    rows::seq(row, "seq")?,
                    rows::get(row, "name")?,
                    rows::get(row, "created_at")?,
                )),
                "repeat" => match stored.get(&(draft.session(), rows::get(row, "seq")?)) {
                    Some(message) => drafts::found(draft, message.clone()),
                    None => Appended::Refused(Refusal::SessionNotFound),
                },
                "locked" => Appended::Locked,
                "closed" => Appended::Refused(Refusal::SessionClosed),
                "no_image" => Appended::Refused(Refusal::ImageNotFound),
                "no_reply" => Appended::Refused(Refusal::ReplyNotFound),
                _ => Appended::Refused(Refusal::SessionNotFound),
            });
        }
        Ok(appended)
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
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let params: Params<'_> = &[
            &me.side.as_str(),
            &me.id.as_str(),
            &id.0,
            &seq,
            &i64::from(limit),
            &me.tenant.number(),
        ];
        self.db.query(sql, params).await?.iter().map(rows::message).collect()
    }

    async fn changes(
        &self,
        me: &Scope,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let rev = i64::try_from(rev).unwrap_or(i64::MAX);
        let params: Params<'_> = &[
            &me.side.as_str(),
            &me.id.as_str(),
            &id.0,
            &rev,
            &i64::from(limit),
            &me.tenant.number(),
        ];
        self.db.query(sql::CHANGES, params).await?.iter().map(rows::message).collect()
    }

    async fn amend(
        &self,
        me: &Scope,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError> {
        let attempt = || self.amend_once(me, id, message_id, amendment);
        let amended = self.db.retry_contended(me, id, attempt).await?;
        self.text_committed.notify_one();
        Ok(amended)
    }

    async fn past_bodies(
        &self,
        admin: &AdminScope,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError> {
        let rows =
            self.db.query(sql::PAST_BODIES, &[&id.0, &message_id, &admin.tenant.number()]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let past: Result<Vec<_>, _> = rows.iter().map(rows::past_body).collect();
        Ok(Some(past?.into_iter().flatten().collect()))
    }

    async fn backfill_messages(
        &self,
        key: SessionKey,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = self
            .db
            .query(
                sql::BACKFILL_MESSAGES,
                &[&key.id.0, &after, &i64::from(limit), &key.tenant.number()],
            )
            .await?;
        rows.iter().map(rows::message).collect()
    }

    async fn backfill_changes(
        &self,
        key: SessionKey,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let rev = i64::try_from(rev).unwrap_or(i64::MAX);
        let rows = self
            .db
            .query(
                sql::BACKFILL_CHANGES,
                &[&key.id.0, &rev, &i64::from(limit), &key.tenant.number()],
            )
            .await?;
        rows.iter().map(rows::message).collect()
    }
}
