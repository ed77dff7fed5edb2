//! Conversion of rows into the types of the rest of the server.

use std::{error::Error, fmt::Display, str::FromStr};

use jiff::Timestamp;
use rusqlite::{Result, Row, types::Type};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    images::FileName,
    message::{Body, Message, MessageKind},
    person::{Person, PersonKind, Profile},
    session::{EpochId, Member, Session, SessionId},
    store::{Head, PastBody, uploads::Upload},
};

/// Now, in the precision of a row (microseconds).
pub(super) fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default()
}

fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
}

pub(super) fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| broken(format!("column {column}: {error}")))
}

pub(super) fn uuid(row: &Row<'_>, column: &str) -> Result<Uuid> {
    parsed(row, column)
}

pub(super) fn seq(row: &Row<'_>, column: &str) -> Result<u64> {
    row.get::<_, i64>(column).map(|number| number.try_into().unwrap_or(0))
}

pub(super) fn maybe_time(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(Timestamp::from_microsecond).transpose().map_err(broken)
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    // serde's own error would quote the value.
    let value = text.map(|text| serde_json::from_str(&text)).transpose();
    value.map_err(|_| broken(format!("column {column}: has an unexpected value")))
}

fn body(row: &Row<'_>) -> Result<Option<Body>> {
    if row.get("bodiless")? {
        return Ok(None);
    }
    row.get::<_, String>("body")?.try_into().map(Some).map_err(broken)
}

pub(super) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(broken)
}

/// A session and its count, from the columns `session_id` and `unread`.
pub(super) fn numbered_session(row: &Row<'_>) -> Result<(SessionId, u64)> {
    Ok((SessionId(uuid(row, "session_id")?), seq(row, "unread")?))
}

pub(super) fn head(row: &Row<'_>) -> Result<Head> {
    let id = SessionId(uuid(row, "id")?);
    Ok(Head { id, last_seq: seq(row, "last_seq")?, rev: seq(row, "rev")? })
}

/// `None` for the row of a message that was never changed.
pub(super) fn past_body(row: &Row<'_>) -> Result<Option<PastBody>> {
    let Some(body) = row.get::<_, Option<String>>("body")? else { return Ok(None) };
    let body = Body::try_from(body).map_err(broken)?;
    Ok(Some(PastBody { body, replaced_at: time(row, "replaced_at")? }))
}

pub(super) fn message(row: &Row<'_>) -> Result<Message> {
    let reply_to: Option<String> = row.get("reply_to")?;
    let image = json(row, "image")?;
    Ok(Message {
        id: uuid(row, "id")?,
        session_id: SessionId(uuid(row, "session_id")?),
        seq: seq(row, "seq")?,
        client_id: parsed(row, "client_id")?,
        sender: Profile {
            person: Person::new(parsed(row, "sender_kind")?, parsed(row, "sender_id")?),
            name: row.get("sender_name")?,
        },
        kind: if image.is_some() { MessageKind::Image } else { MessageKind::Text },
        body: body(row)?,
        image,
        reply_to: reply_to.map(|id| id.parse()).transpose().map_err(broken)?,
        reactions: json(row, "reactions")?.unwrap_or_default(),
        created_at: time(row, "created_at")?,
        edited_at: maybe_time(row, "edited_at")?,
        deleted_at: maybe_time(row, "deleted_at")?,
        rev: row.get::<_, Option<i64>>("message_rev")?.map(i64::unsigned_abs),
    })
}

pub(super) fn epoch(row: &Row<'_>) -> Result<EpochId> {
    uuid(row, "epoch").map(EpochId)
}

pub(super) fn upload(row: &Row<'_>) -> Result<Upload> {
    let name: Option<String> = row.get("file_name")?;
    Ok(Upload {
        format: parsed(row, "content_type")?,
        size: seq(row, "size")?,
        file_name: name.map(FileName::try_from).transpose().map_err(broken)?,
        created_at: time(row, "created_at")?,
        mine: row.get("mine")?,
        waiting: row.get("waiting")?,
        shown: row.get("shown")?,
    })
}

/// One side of a session: `me` or the other member.
fn member(row: &Row<'_>, kind: PersonKind, me: PersonKind) -> Result<Member> {
    let id = match kind {
        PersonKind::Customer => "customer_id",
        PersonKind::Dentist => "dentist_id",
    };
    let (name, avatar_url) =
        if kind == me { ("my_name", "my_avatar_url") } else { ("other_name", "other_avatar_url") };
    Ok(Member {
        person: Person::new(kind, parsed(row, id)?),
        name: row.get(name)?,
        avatar_url: row.get::<_, Option<String>>(avatar_url)?.and_then(|url| url.parse().ok()),
        email: None,
    })
}

pub(super) fn session(row: &Row<'_>) -> Result<Session> {
    let me: PersonKind = parsed(row, "my_kind")?;
    let last: Option<i64> = row.get("seq")?;
    Ok(Session {
        id: SessionId(uuid(row, "chat_id")?),
        status: parsed(row, "status")?,
        customer: member(row, PersonKind::Customer, me)?,
        dentist: member(row, PersonKind::Dentist, me)?,
        last_seq: seq(row, "last_seq")?,
        epoch: epoch(row)?,
        read_seq: seq(row, "read_seq")?,
        other_read_seq: seq(row, "other_read_seq")?,
        rev: seq(row, "rev")?,
        delivered_seq: seq(row, "delivered_seq")?,
        other_delivered_seq: seq(row, "other_delivered_seq")?,
        unread: seq(row, "unread")?,
        muted: row.get("muted")?,
        last_message: last.map(|_| message(row)).transpose()?,
        created_at: time(row, "opened_at")?,
        active_at: time(row, "active_at")?,
    })
}
