//! Rows into what the rest of the house knows.

use std::{fmt::Display, str::FromStr, sync::Arc};

use tokio_postgres::{Row, types::FromSql};

use super::StoreError;
use crate::{
    message::Message,
    person::{Person, PersonKind, Profile},
    session::{Session, SessionId, SessionStatus},
};

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Refused(Arc::new(error)))
}

/// A number that is never negative.
pub(super) fn seq(row: &Row, column: &str) -> Result<u64, StoreError> {
    get::<i64>(row, column).map(|number| number.try_into().unwrap_or(0))
}

/// Text that was parsed before it was stored.
fn parsed<T: FromStr<Err: Display>>(row: &Row, column: &str) -> Result<T, StoreError> {
    get::<&str>(row, column)?.parse().map_err(|error: T::Err| unknown(column, &error))
}

fn unknown(column: &str, problem: &dyn Display) -> StoreError {
    StoreError::Refused(Arc::new(std::io::Error::other(format!("column {column}: {problem}"))))
}

pub(super) fn message(row: &Row) -> Result<Message, StoreError> {
    Ok(Message {
        id: get(row, "id")?,
        session_id: SessionId(get(row, "session_id")?),
        seq: seq(row, "seq")?,
        client_id: parsed(row, "client_id")?,
        sender: Profile {
            person: Person::new(parsed(row, "sender_kind")?, parsed(row, "sender_id")?),
            name: get(row, "sender_name")?,
        },
        kind: parsed(row, "kind")?,
        body: get::<String>(row, "body")?.try_into().map_err(|error| unknown("body", &error))?,
        reply_to: get(row, "reply_to")?,
        created_at: get(row, "created_at")?,
    })
}

pub(super) fn session(row: &Row) -> Result<Session, StoreError> {
    let (mine, other) = (get(row, "my_name")?, get(row, "other_name")?);
    let me: PersonKind = parsed(row, "my_kind")?;
    let (customer, dentist) =
        if me == PersonKind::Customer { (mine, other) } else { (other, mine) };
    let profile =
        |kind, column, name| Ok(Profile { person: Person::new(kind, parsed(row, column)?), name });
    let last: Option<i64> = get(row, "seq")?;
    Ok(Session {
        id: SessionId(get(row, "chat_id")?),
        status: match get(row, "status")? {
            "open" => SessionStatus::Open,
            _ => SessionStatus::Closed,
        },
        customer: profile(PersonKind::Customer, "customer_id", customer)?,
        dentist: profile(PersonKind::Dentist, "dentist_id", dentist)?,
        last_seq: seq(row, "last_seq")?,
        read_seq: seq(row, "read_seq")?,
        other_read_seq: seq(row, "other_read_seq")?,
        unread: seq(row, "unread")?,
        muted: get(row, "muted")?,
        last_message: last.map(|_| message(row)).transpose()?,
        created_at: get(row, "opened_at")?,
        active_at: get(row, "active_at")?,
    })
}
