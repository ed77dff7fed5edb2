//! One change of a message: one transaction, which locks the session's row first, as sends do. It does
//! not wait for the row: a change that finds it locked is tried again, and holds no connection
//! meanwhile.

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio::time::timeout;

use super::super::{Postgres, rows};
use crate::store::{drafts, sql};
use db::StoreError;
use db::postgres::{
    STATEMENT_TIMEOUT,
    failure::{classify, unavailable},
};
use media::uploads::WITHDRAW;
use model::{
    ids::{MessageId, SessionId},
    message::{
        Message,
        amend::{Amended, Amendment, Unamendable},
    },
    scope::Scope,
};

const SESSION: &str = "select c.status, c.rev, statement_timestamp() as now \
    from sessions c join participants me on me.tenant_id = c.tenant_id and me.session_id = c.id \
    where me.tenant_id = $4 and me.kind = $1 and me.person_id = $2 and c.id = $3 for no key update of c, me nowait";

const EDITS: &str = "select count(*) as edits from message_edits where tenant_id = $3 and session_id = $1 and seq = $2";

const KEEP: &str = "insert into message_edits \
    (tenant_id, session_id, seq, number, body, replaced_at) \
    select tenant_id, session_id, seq, $3::bigint::integer, body, $4 from messages \
    where tenant_id = $5 and session_id = $1 and seq = $2 and not bodiless";

const CHANGE: &str = "update messages set body = $3, bodiless = $4, image = $5::text::jsonb, \
    reactions = $6::text::jsonb, edited_at = $7, deleted_at = $8, rev = $9 \
    where tenant_id = $10 and session_id = $1 and seq = $2";

const REVISE: &str = "update sessions set rev = $2 where tenant_id = $3 and id = $1";

impl Postgres {
    pub(super) async fn amend_once(
        &self,
        me: &Scope,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError> {
        let (_amend, _read) = (self.db.permit(&self.amends).await?, self.db.read_permit().await?);
        let mut client = self.db.client().await?;
        let work = async {
            let transaction = client.transaction().await.map_err(classify)?;
            let amended = amend(&transaction, me, id, message_id, amendment).await?;
            transaction.commit().await.map_err(classify)?;
            Ok(amended)
        };
        let outcome =
            timeout(STATEMENT_TIMEOUT, work).await.map_err(unavailable).and_then(|done| done);
        self.db.give_back(outcome, client)
    }
}

async fn amend(
    db: &Transaction<'_>,
    me: &Scope,
    id: SessionId,
    message_id: MessageId,
    amendment: &Amendment,
) -> Result<Result<Amended, Unamendable>, StoreError> {
    let tenant = me.tenant.number();
    let session = db
        .query_opt(SESSION, &[&me.side.as_str(), &me.id.as_str(), &id.0, &tenant])
        .await
        .map_err(classify)?;
    let Some(session) = session else { return Ok(Err(Unamendable::NotFound)) };
    let message =
        db.query_opt(sql::MESSAGE, &[&id.0, &message_id, &tenant]).await.map_err(classify)?;
    let Some(mut message) = message.as_ref().map(rows::message).transpose()? else {
        return Ok(Err(Unamendable::NotFound));
    };
    if rows::get::<&str>(&session, "status")? != "open" {
        return Ok(Err(Unamendable::SessionClosed));
    }
    let seq = i64::try_from(message.seq).unwrap_or(i64::MAX);
    let edits = db.query_one(EDITS, &[&id.0, &seq, &tenant]).await.map_err(classify)?;
    let edits = u32::try_from(rows::get::<i64>(&edits, "edits")?).unwrap_or(u32::MAX);
    let now: Timestamp = rows::get(&session, "now")?;
    let shown = message.image.clone();
    match message.amend(me, amendment, edits, now) {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(Amended { message, changed: false })),
        Err(unamendable) => return Ok(Err(unamendable)),
    }
    if !matches!(amendment, Amendment::React { .. }) {
        let number = i64::from(edits) + 1;
        db.execute(KEEP, &[&id.0, &seq, &number, &now, &tenant]).await.map_err(classify)?;
    }
    let rev = rows::get::<i64>(&session, "rev")? + 1;
    message.rev = Some(rev.unsigned_abs());
    write(db, &message, seq, rev).await?;
    if let (Some(image), None) = (shown, &message.image) {
        db.execute(WITHDRAW, &[&image.key, &id.0, &now, &tenant]).await.map_err(classify)?;
    }
    Ok(Ok(Amended { message, changed: true }))
}

async fn write(
    db: &Transaction<'_>,
    message: &Message,
    seq: i64,
    rev: i64,
) -> Result<(), StoreError> {
    let tenant = message.session().tenant.number();
    let body = sql::body(message.body.as_ref(), drafts::placeholder(message));
    let image = message.image.as_ref().map(sql::json);
    let reactions = (!message.reactions.is_empty()).then(|| sql::json(&message.reactions));
    db.execute(
        CHANGE,
        &[
            &message.session_id.0,
            &seq,
            &body,
            &message.body.is_none(),
            &image,
            &reactions,
            &message.edited_at,
            &message.deleted_at,
            &rev,
            &tenant,
        ],
    )
    .await
    .map_err(classify)?;
    db.execute(REVISE, &[&message.session_id.0, &rev, &tenant]).await.map_err(classify).map(drop)
}
