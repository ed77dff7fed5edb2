//! Conversion of rows into the types of the rest of the server.

use rusqlite::{Result, Row};

use crate::store::{Head, PastBody, sql};
use db::sqlite::rows::{broken, json};
pub(super) use db::sqlite::rows::{maybe_time, now, parsed, seq, time, uuid};
use model::{
    ids::{EpochId, SessionId, TenantId},
    message::{Body, Message, MessageKind},
    person::{Person, Profile, Side},
    session::{Desk, Member, Session},
};

fn body(row: &Row<'_>) -> Result<Option<Body>> {
    if row.get("bodiless")? {
        return Ok(None);
    }
    row.get::<_, String>("body")?.try_into().map(Some).map_err(broken)
}

/// A session and its count, from the columns `session_id` and `unread`.
pub(super) fn numbered_session(row: &Row<'_>) -> Result<(SessionId, u64)> {
    Ok((SessionId(uuid(row, "session_id")?), seq(row, "unread")?))
}

pub(super) fn head(row: &Row<'_>) -> Result<Head> {
    let key = tenant(row, "tenant_id")?.session(SessionId(uuid(row, "id")?));
    Ok(Head { key, last_seq: seq(row, "last_seq")?, rev: seq(row, "rev")? })
}

/// `None` for the row of a message that was never changed.
pub(super) fn past_body(row: &Row<'_>) -> Result<Option<PastBody>> {
    let Some(body) = row.get::<_, Option<String>>("body")? else { return Ok(None) };
    let body = Body::try_from(body).map_err(broken)?;
    Ok(Some(PastBody { body, replaced_at: time(row, "replaced_at")? }))
}

/// The tenant of a row.
fn tenant(row: &Row<'_>, column: &str) -> Result<TenantId> {
    TenantId::new(row.get(column)?).ok_or_else(|| broken("is no tenant"))
}

pub(super) fn message(row: &Row<'_>) -> Result<Message> {
    let reply_to: Option<String> = row.get("reply_to")?;
    let (image, tenant) = (json(row, "image")?, tenant(row, "tenant_id")?);
    Ok(Message {
        id: uuid(row, "id")?,
        session_id: SessionId(uuid(row, "session_id")?),
        seq: seq(row, "seq")?,
        client_id: parsed(row, "client_id")?,
        sender: Profile {
            person: Person::new(tenant, parsed(row, "sender_kind")?, parsed(row, "sender_id")?),
            name: row.get("sender_name")?,
        },
        kind: if image.is_some() { MessageKind::Image } else { MessageKind::Text },
        body: body(row)?,
        image,
        reply_to: reply_to.map(|id| id.parse()).transpose().map_err(broken)?,
        reactions: sql::reactions(json(row, "reactions")?, tenant),
        created_at: time(row, "created_at")?,
        edited_at: maybe_time(row, "edited_at")?,
        deleted_at: maybe_time(row, "deleted_at")?,
        rev: row.get::<_, Option<i64>>("message_rev")?.map(i64::unsigned_abs),
    })
}

pub(super) fn epoch(row: &Row<'_>) -> Result<EpochId> {
    uuid(row, "epoch").map(EpochId)
}

/// The member whose view of a session the row is.
pub(super) fn me(row: &Row<'_>) -> Result<Person> {
    Ok(Person::new(tenant(row, "my_tenant")?, parsed(row, "my_kind")?, parsed(row, "my_id")?))
}

/// One side of a session: `me` or the other member. The name of the dentist is missing in the view of another
/// professional: [`crate::store::participants`] reads it.
fn member(row: &Row<'_>, kind: Side, me: &Person) -> Result<Member> {
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
        name: row.get(name)?,
        avatar_url: row.get::<_, Option<String>>(avatar_url)?.and_then(|url| url.parse().ok()),
        email: None,
    })
}

/// As for PostgreSQL.
fn desk(row: &Row<'_>, me: &Person) -> Result<Desk> {
    if me.side == Side::Contact {
        return Ok(Desk::default());
    }
    let text = |column| row.get::<_, Option<String>>(column);
    let inbox: String = row.get("inbox")?;
    let (waiting, assignee) = (text("waiting")?, text("assignee_id")?);
    let until = maybe_time(row, "snoozed_until")?;
    Ok(sql::desk(me.tenant, &inbox, waiting.as_deref(), until, assignee.as_deref()))
}

pub(super) fn session(row: &Row<'_>) -> Result<Session> {
    let me = me(row)?;
    let last: Option<i64> = row.get("seq")?;
    let notes_of: Option<String> = row.get("notes_of")?;
    Ok(Session {
        id: SessionId(uuid(row, "chat_id")?),
        status: parsed(row, "status")?,
        contact: member(row, Side::Contact, &me)?,
        agent: member(row, Side::Desk, &me)?,
        notes_of: notes_of.map(|id| id.parse()).transpose().map_err(broken)?.map(SessionId),
        participants: Vec::new(),
        desk: desk(row, &me)?,
        shared: row.get("shared")?,
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
