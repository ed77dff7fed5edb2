//! Conversion of rows into the types of the rest of the server.

use tokio_postgres::Row;

use crate::store::{Head, PastBody, sql};
use db::StoreError;
pub(super) use db::postgres::rows::{get, missing, parsed, seq};
use db::postgres::rows::{json, unknown};
use model::{
    ids::{EpochId, SessionId, TenantId},
    message::{Body, Message, MessageKind},
    person::{Person, Profile, Side},
    session::{Desk, Member, Session},
};

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

/// The tenant of a row.
pub(super) fn tenant(row: &Row, column: &str) -> Result<TenantId, StoreError> {
    TenantId::new(get(row, column)?).ok_or_else(|| unknown(column, &"is no tenant"))
}

pub(super) fn message(row: &Row) -> Result<Message, StoreError> {
    let (image, tenant) = (json(row, "image")?, tenant(row, "tenant_id")?);
    Ok(Message {
        id: get(row, "id")?,
        session_id: SessionId(get(row, "session_id")?),
        seq: seq(row, "seq")?,
        client_id: parsed(row, "client_id")?,
        sender: Profile {
            person: Person::new(tenant, parsed(row, "sender_kind")?, parsed(row, "sender_id")?),
            name: get(row, "sender_name")?,
        },
        kind: if image.is_some() { MessageKind::Image } else { MessageKind::Text },
        body: body(row)?,
        image,
        reply_to: get(row, "reply_to")?,
        reactions: sql::reactions(json(row, "reactions")?, tenant),
        created_at: get(row, "created_at")?,
        edited_at: get(row, "edited_at")?,
        deleted_at: get(row, "deleted_at")?,
        rev: get::<Option<i64>>(row, "message_rev")?.map(i64::unsigned_abs),
    })
}

pub(super) fn head(row: &Row) -> Result<Head, StoreError> {
    let key = tenant(row, "tenant_id")?.session(SessionId(get(row, "id")?));
    Ok(Head { key, last_seq: seq(row, "last_seq")?, rev: seq(row, "rev")? })
}

pub(super) fn epoch(row: &Row) -> Result<EpochId, StoreError> {
    get(row, "epoch").map(EpochId)
}

/// The member whose view of a session the row is.
pub(super) fn me(row: &Row) -> Result<Person, StoreError> {
    Ok(Person::new(tenant(row, "my_tenant")?, parsed(row, "my_kind")?, parsed(row, "my_id")?))
}

/// One side of a session: `me` or the other member. The name of the dentist is missing in the view of another
/// professional: [`crate::store::participants`] reads it.
fn member(row: &Row, kind: Side, me: &Person) -> Result<Member, StoreError> {
    let id = match kind {
        Side::Contact => "customer_id",
        Side::Desk => "dentist_id",
    };
    let (name, avatar_url) = if kind == me.side {
        ("my_name", "my_avatar_url")
    } else {
        ("other_name", "other_avatar_url")
    };
    Ok(Member {
        person: Person::new(me.tenant, kind, parsed(row, id)?),
        name: get(row, name)?,
        avatar_url: get::<Option<&str>>(row, avatar_url)?.and_then(|url| url.parse().ok()),
        email: None,
    })
}

/// Customers see nothing of it.
fn desk(row: &Row, me: &Person) -> Result<Desk, StoreError> {
    if me.side == Side::Contact {
        return Ok(Desk::default());
    }
    let text = |column| get::<Option<&str>>(row, column);
    let (waiting, until) = (text("waiting")?, get(row, "snoozed_until")?);
    Ok(sql::desk(me.tenant, get(row, "inbox")?, waiting, until, text("assignee_id")?))
}

pub(super) fn session(row: &Row) -> Result<Session, StoreError> {
    let me = me(row)?;
    let last: Option<i64> = get(row, "seq")?;
    Ok(Session {
        id: SessionId(get(row, "chat_id")?),
        status: parsed(row, "status")?,
        contact: member(row, Side::Contact, &me)?,
        agent: member(row, Side::Desk, &me)?,
        notes_of: get::<Option<uuid::Uuid>>(row, "notes_of")?.map(SessionId),
        participants: Vec::new(),
        desk: desk(row, &me)?,
        shared: get(row, "shared")?,
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
