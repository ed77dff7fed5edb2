//! Conversion of rows into the types of the rest of the server.

use std::{fmt::Display, str::FromStr, sync::Arc};

use serde::de::DeserializeOwned;
use tokio_postgres::{Row, types::FromSql};

use super::StoreError;
use crate::{
    images::FileName,
    message::{Body, Message, MessageKind},
    person::{Person, PersonKind, Profile},
    session::{EpochId, Member, Session, SessionId},
    store::{Head, PastBody, uploads::Upload},
};

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Refused(Arc::new(error)))
}

/// A number that is never negative.
pub(super) fn seq(row: &Row, column: &str) -> Result<u64, StoreError> {
    get::<i64>(row, column).map(|number| number.try_into().unwrap_or(0))
}

/// Text that was parsed before it was stored.
pub(super) fn parsed<T: FromStr<Err: Display>>(row: &Row, column: &str) -> Result<T, StoreError> {
    get::<&str>(row, column)?.parse().map_err(|error: T::Err| unknown(column, &error))
}

/// Error for a statement that must return a row and returned none.
pub(super) fn missing() -> StoreError {
    unknown("none", &"the statement returned no row")
}

fn unknown(column: &str, problem: &dyn Display) -> StoreError {
    StoreError::Refused(Arc::new(std::io::Error::other(format!("column {column}: {problem}"))))
}

fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = get(row, column)?;
    // serde's own error would quote the value.
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|_| unknown(column, &"has an unexpected value"))
}

fn body(row: &Row) -> Result<Option<Body>, StoreError> {
    if get(row, "bodiless")? {
        return Ok(None);
    }
    get::<String>(row, "body")?.try_into().map(Some).map_err(|error| unknown("body", &error))
}

/// `None` for the row of a message that was never changed.
pub(super) fn past_body(row: &Row) -> Result<Option<PastBody>, StoreError> {
    let Some(body) = get::<Option<String>>(row, "body")? else { return Ok(None) };
    let body = Body::try_from(body).map_err(|error| unknown("body", &error))?;
    Ok(Some(PastBody { body, replaced_at: get(row, "replaced_at")? }))
}

pub(super) fn message(row: &Row) -> Result<Message, StoreError> {
    let image = json(row, "image")?;
    Ok(Message {
        id: get(row, "id")?,
        session_id: SessionId(get(row, "session_id")?),
        seq: seq(row, "seq")?,
        client_id: parsed(row, "client_id")?,
        sender: Profile {
            person: Person::new(parsed(row, "sender_kind")?, parsed(row, "sender_id")?),
            name: get(row, "sender_name")?,
        },
        kind: if image.is_some() { MessageKind::Image } else { MessageKind::Text },
        body: body(row)?,
        image,
        reply_to: get(row, "reply_to")?,
        reactions: json(row, "reactions")?.unwrap_or_default(),
        created_at: get(row, "created_at")?,
        edited_at: get(row, "edited_at")?,
        deleted_at: get(row, "deleted_at")?,
        rev: get::<Option<i64>>(row, "message_rev")?.map(i64::unsigned_abs),
    })
}

pub(super) fn head(row: &Row) -> Result<Head, StoreError> {
    let id = SessionId(get(row, "id")?);
    Ok(Head { id, last_seq: seq(row, "last_seq")?, rev: seq(row, "rev")? })
}

pub(super) fn epoch(row: &Row) -> Result<EpochId, StoreError> {
    get(row, "epoch").map(EpochId)
}

pub(super) fn upload(row: &Row) -> Result<Upload, StoreError> {
    let name: Option<String> = get(row, "file_name")?;
    let name = name.map(FileName::try_from).transpose();
    Ok(Upload {
        format: parsed(row, "content_type")?,
        size: seq(row, "size")?,
        file_name: name.map_err(|error| unknown("file_name", &error))?,
        created_at: get(row, "created_at")?,
        mine: get(row, "mine")?,
        waiting: get(row, "waiting")?,
        shown: get(row, "shown")?,
    })
}

/// One side of a session: `me` or the other member.
fn member(row: &Row, kind: PersonKind, me: PersonKind) -> Result<Member, StoreError> {
    let id = match kind {
        PersonKind::Customer => "customer_id",
        PersonKind::Dentist => "dentist_id",
    };
    let (name, avatar_url) =
        if kind == me { ("my_name", "my_avatar_url") } else { ("other_name", "other_avatar_url") };
    Ok(Member {
        person: Person::new(kind, parsed(row, id)?),
        name: get(row, name)?,
        avatar_url: get::<Option<&str>>(row, avatar_url)?.and_then(|url| url.parse().ok()),
        email: None,
    })
}

pub(super) fn session(row: &Row) -> Result<Session, StoreError> {
    let me: PersonKind = parsed(row, "my_kind")?;
    let last: Option<i64> = get(row, "seq")?;
    Ok(Session {
        id: SessionId(get(row, "chat_id")?),
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
        muted: get(row, "muted")?,
        last_message: last.map(|_| message(row)).transpose()?,
        created_at: get(row, "opened_at")?,
        active_at: get(row, "active_at")?,
    })
}
