//! The group commit: a batch of drafts in one transaction.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, params};

use super::super::rows;
use crate::store::{Appended, Refusal, drafts, sql};
use db::sqlite::{begin, numbered};
use model::{
    message::{Draft, Message},
    person::{Person, Side},
};
use platform::new_id;

/// Commits the drafts in one transaction.
pub(super) fn append(
    db: &mut Connection,
    drafts: &[Draft],
    push_delay: Option<Duration>,
) -> rusqlite::Result<Vec<Appended>> {
    let transaction = begin(db)?;
    let appended = drafts
        .iter()
        .map(|draft| match append_one(&transaction, draft, push_delay) {
            // Only this statement is rolled back: the other drafts of the batch are kept.
            Err(error) if is_constraint(&error) => Ok(Appended::Refused(Refusal::Value)),
            other => other,
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(appended)
}

fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

fn append_one(
    db: &Connection,
    draft: &Draft,
    push_delay: Option<Duration>,
) -> rusqlite::Result<Appended> {
    let session_id = draft.session_id.0.to_string();
    let tenant = draft.sender.tenant.number();
    let sender: [&dyn ToSql; 4] =
        [&session_id, &draft.sender.side.as_str(), &draft.sender.id.as_str(), &tenant];
    let member = db
        .prepare_cached(
            "select c.status, c.last_seq, me.name from participants me \
             join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id \
             where me.tenant_id = ?4 and me.session_id = ?1 and me.kind = ?2 and me.person_id = ?3",
        )?
        .query_row(sender, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((status, last_seq, name)) = member else {
        return Ok(Appended::Refused(Refusal::SessionNotFound));
    };
    if let Some(stored) = stored(db, draft)? {
        return Ok(drafts::found(draft, stored));
    }
    if status != "open" {
        return Ok(Appended::Refused(Refusal::SessionClosed));
    }
    let reply_to = draft.reply_to.map(|id| id.to_string());
    if let Some(reply_to) = &reply_to {
        // A note may answer a message of the session to which it belongs.
        let sql = "select 1 from messages where tenant_id = ?3 and id = ?2 \
            and session_id in (?1, (select notes_of from sessions where tenant_id = ?3 and id = ?1))";
        if !db.prepare_cached(sql)?.exists(params![session_id, reply_to, tenant])? {
            return Ok(Appended::Refused(Refusal::ReplyNotFound));
        }
    }
    if !take_image(db, draft)? {
        return Ok(Appended::Refused(Refusal::ImageNotFound));
    }
    let now = rows::now();
    db.prepare_cached(
        "insert into messages (tenant_id, session_id, seq, id, sender_kind, sender_id, client_id, kind, body, \
         bodiless, image, reply_to, created_at, search_rev) \
         values (?12, ?1, ?2, ?3, ?4, ?5, ?6, 'text', ?7, ?8, ?9, ?10, ?11, 0)",
    )?
    .execute(params![
        session_id,
        last_seq + 1,
        draft.id.to_string(),
        draft.sender.side.as_str(),
        draft.sender.id.as_str(),
        draft.client_id.as_str(),
        sql::body(draft.body.as_ref(), sql::PICTURE),
        draft.body.is_none(),
        draft.image.as_ref().map(sql::json),
        reply_to,
        now.as_microsecond(),
        tenant,
    ])?;
    let bump = "update sessions set last_seq = ?2, active_at = ?3, \
        waiting = case when waiting = 'snoozed' and ?5 then null else waiting end, \
        snoozed_until = case when ?5 then null else snoozed_until end where tenant_id = ?4 and id = ?1";
    db.prepare_cached(bump)?.execute(params![
        session_id,
        last_seq + 1,
        now.as_microsecond(),
        tenant,
        draft.sender.side == Side::Contact,
    ])?;
    if let Some(delay) = push_delay {
        add_push(db, &draft.sender, &session_id, last_seq + 1, delay)?;
    }
    Ok(Appended::Committed(draft.committed(last_seq.unsigned_abs() + 1, name, now)))
}

/// Writes a job for each other member, in the message's transaction, unless one is waiting
/// ([`crate::pushes`]).
fn add_push(
    db: &Connection,
    sender: &Person,
    session_id: &str,
    seq: i64,
    delay: Duration,
) -> rusqlite::Result<()> {
    let (now, kind, tenant) = (rows::now(), sender.side.as_str(), sender.tenant.number());
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    let run_at = now.saturating_add(delay).unwrap_or(Timestamp::MAX);
    let others = "select person_id from participants \
        where tenant_id = ?3 and session_id = ?1 and kind <> ?2 and not muted";
    let others: Vec<String> = db
        .prepare_cached(others)?
        .query_map(params![session_id, kind, tenant], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut insert = db.prepare_cached(
        "insert into jobs (tenant_id, id, queue, kind, key, subject, payload, run_at, created_at) \
         select m.tenant_id, ?1, 'pushes', 'message', m.session_id || ':' || m.kind || ':' || m.person_id, \
           m.kind || ':' || m.person_id, \
           json_object('sessionId', m.session_id, 'kind', m.kind, 'personId', m.person_id, \
             'seq', ?4), ?5, ?6 \
         from participants m where m.tenant_id = ?8 and m.session_id = ?2 and m.kind <> ?3 and m.person_id = ?7 \
         on conflict (tenant_id, queue, key) where state = 'waiting' do nothing",
    )?;
    for person_id in others {
        insert.execute(params![
            new_id().to_string(),
            session_id,
            kind,
            seq,
            run_at.as_microsecond(),
            now.as_microsecond(),
            person_id,
            tenant,
        ])?;
    }
    Ok(())
}

/// Marks the draft's picture as shown. Returns false if it can't be shown.
fn take_image(db: &Connection, draft: &Draft) -> rusqlite::Result<bool> {
    let Some(image) = &draft.image else { return Ok(true) };
    let taken = db
        .prepare_cached(
            "update uploads set message_id = ?5 where key = ?1 and session_id = ?2 and kind = ?3 \
             and person_id = ?4 and tenant_id = ?6 and message_id is null and not refused",
        )?
        .execute(params![
            image.key,
            draft.session_id.0.to_string(),
            draft.sender.side.as_str(),
            draft.sender.id.as_str(),
            draft.id.to_string(),
            draft.sender.tenant.number(),
        ])?;
    Ok(taken == 1)
}

/// The stored message of this draft's `clientId`.
fn stored(db: &Connection, draft: &Draft) -> rusqlite::Result<Option<Message>> {
    let session_id = draft.session_id.0.to_string();
    let seq: Option<i64> = db
        .prepare_cached(
            "select seq from messages where tenant_id = ?5 and session_id = ?1 and sender_kind = ?2 \
             and sender_id = ?3 and client_id = ?4",
        )?
        .query_row(
            params![
                session_id,
                draft.sender.side.as_str(),
                draft.sender.id.as_str(),
                draft.client_id.as_str(),
                draft.sender.tenant.number()
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(seq) = seq else { return Ok(None) };
    let mut statement = db.prepare_cached(&numbered(sql::BACKFILL_MESSAGES))?;
    statement
        .query_row(params![session_id, seq - 1, 1, draft.sender.tenant.number()], rows::message)
        .optional()
}
