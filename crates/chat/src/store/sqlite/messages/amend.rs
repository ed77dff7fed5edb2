//! One change of a message, in one transaction.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::rows;
use crate::store::{drafts, sql};
use db::sqlite::{begin, numbered};
use media::uploads::WITHDRAW;
use model::{
    ids::{MessageId, SessionId},
    message::amend::{Amended, Amendment, Unamendable},
    scope::Scope,
};

pub(super) fn amend(
    db: &mut Connection,
    me: &Scope,
    id: SessionId,
    message_id: MessageId,
    amendment: &Amendment,
) -> rusqlite::Result<Result<Amended, Unamendable>> {
    let transaction = begin(db)?;
    let (id, tenant) = (id.0.to_string(), me.tenant.number());
    let session: Option<(String, i64)> = transaction
        .query_row(
            "select c.status, c.rev from sessions c \
             join participants me on me.tenant_id = c.tenant_id and me.session_id = c.id \
             where me.tenant_id = ?4 and me.kind = ?1 and me.person_id = ?2 and c.id = ?3",
            params![me.side.as_str(), me.id.as_str(), id, tenant],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((status, rev)) = session else { return Ok(Err(Unamendable::NotFound)) };
    let message = transaction
        .query_row(
            &numbered(sql::MESSAGE),
            params![id, message_id.to_string(), tenant],
            rows::message,
        )
        .optional()?;
    let Some(mut message) = message else { return Ok(Err(Unamendable::NotFound)) };
    if status != "open" {
        return Ok(Err(Unamendable::SessionClosed));
    }
    let seq = i64::try_from(message.seq).unwrap_or(i64::MAX);
    let edits: u32 = transaction.query_row(
        "select count(*) from message_edits where tenant_id = ?3 and session_id = ?1 and seq = ?2",
        params![id, seq, tenant],
        |row| row.get(0),
    )?;
    let (now, shown) = (rows::now(), message.image.clone());
    match message.amend(me, amendment, edits, now) {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(Amended { message, changed: false })),
        Err(unamendable) => return Ok(Err(unamendable)),
    }
    if !matches!(amendment, Amendment::React { .. }) {
        transaction.execute(
            "insert into message_edits (tenant_id, session_id, seq, number, body, replaced_at) \
             select tenant_id, session_id, seq, ?3, body, ?4 from messages \
             where tenant_id = ?5 and session_id = ?1 and seq = ?2 and not bodiless",
            params![id, seq, edits + 1, now.as_microsecond(), tenant],
        )?;
    }
    message.rev = Some(rev.unsigned_abs() + 1);
    transaction.execute(
        "update messages set body = ?3, bodiless = ?4, image = ?5, reactions = ?6, edited_at = ?7, \
         deleted_at = ?8, rev = ?9, search_rev = ?9 where tenant_id = ?10 and session_id = ?1 and seq = ?2",
        params![
            id,
            seq,
            sql::body(message.body.as_ref(), drafts::placeholder(&message)),
            message.body.is_none(),
            message.image.as_ref().map(sql::json),
            (!message.reactions.is_empty()).then(|| sql::json(&message.reactions)),
            message.edited_at.map(Timestamp::as_microsecond),
            message.deleted_at.map(Timestamp::as_microsecond),
            rev + 1,
            tenant,
        ],
    )?;
    if let (Some(image), None) = (shown, &message.image) {
        transaction
            .execute(&numbered(WITHDRAW), params![image.key, id, now.as_microsecond(), tenant])?;
    }
    transaction.execute(
        "update sessions set rev = ?2 where tenant_id = ?3 and id = ?1",
        params![id, rev + 1, tenant],
    )?;
    transaction.commit()?;
    Ok(Ok(Amended { message, changed: true }))
}
