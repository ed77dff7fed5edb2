//! `/api/chats/{id}/messages` and `/api/chats/{id}/read`.

use std::sync::Arc;

use axum::{Extension, Json as JsonBody, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answers::Answering,
    cursor::{self, Page},
    request::{Authenticated, InSession, Json, OfMessage, OfReaction, Params},
};
use crate::Gateway;
use chat::{reads::Operation, store::HistoryRange};
use model::{
    ids::EpochId,
    message::{Body, Message, Visibility, amend::Amendment},
};
use platform::openapi;
use protocol::{
    Amend, Post,
    answers::{Changed, Position, Sent},
    error::Error,
    problems::{
        Authentication, Body as OfBody, BusyNow, Closed, Input, Late, NoMessage, NoNotes,
        NoSession, NotItsSender, Problems, Unamendable,
    },
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct History {
    #[param(schema_with = openapi::count)]
    before: Option<String>,
    #[param(schema_with = openapi::count)]
    after: Option<String>,
    /// `nextCursor` of the previous page.
    cursor: Option<String>,
    #[param(schema_with = cursor::limit_schema)]
    limit: Option<String>,
}

impl History {
    pub(super) fn range(&self) -> Result<HistoryRange, Error> {
        let seq = |name, text: &str| {
            text.parse().map_err(|_| Error::invalid(name, "must be a seq: a whole number from 0"))
        };
        match (&self.cursor, &self.before, &self.after) {
            (Some(cursor), None, None) => cursor::to_range(cursor),
            (None, Some(before), None) => Ok(HistoryRange::Before(seq("before", before)?)),
            (None, None, Some(after)) => Ok(HistoryRange::After(seq("after", after)?)),
            (None, None, None) => Ok(HistoryRange::Before(u64::MAX)),
            _ => Err(Error::invalid("query", "may contain only one of before, after and cursor")),
        }
    }
}

/// A page of a session's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    #[serde(flatten)]
    page: Page<Message>,
    /// The epoch in which each `seq` counts. If it has changed, earlier pages are no longer valid.
    epoch: EpochId,
}

/// The history, in commit order.
///
/// Gives the messages `before` or `after` a `seq`. Without either it gives the latest page, whose cursor goes
/// backwards. A page ends before its limit if it would exceed 256 KiB.
#[utoipa::path(
    get, path = "", tag = "messages", params(InSession, History),
    responses((status = 200, body = HistoryPage, description = "A page of the history."), Problems<(Authentication, NoSession, Input, BusyNow)>)
)]
pub(crate) async fn history(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
    Params(params): Params<History>,
    Extension(answering): Extension<Answering>,
) -> Result<JsonBody<HistoryPage>, Error> {
    let range = params.range()?;
    let limit = cursor::limit(params.limit.as_deref())?;
    let permit = answering.page(gateway.chat.reads.permit(Operation::History, &me)).await?;
    let (head, epoch) = gateway.chat.store.head(&me, id).await?.ok_or(Error::SessionNotFound)?;
    let items = gateway.chat.history(&permit, &me, id, range, limit).await?;
    let next = match (range, items.first(), items.last()) {
        (HistoryRange::Before(_), Some(first), _) if first.seq > 1 => {
            Some(HistoryRange::Before(first.seq))
        }
        (HistoryRange::After(_), _, Some(last)) if last.seq < head.last_seq => {
            Some(HistoryRange::After(last.seq))
        }
        _ => None,
    };
    let page = Page { items, next_cursor: next.map(cursor::of_range) };
    Ok(JsonBody(HistoryPage { page, epoch }))
}

/// Sends a message. It is safe to repeat with the same `clientId`, on any node and at any time.
///
/// A private one goes into the notes of the session, and its `sessionId` is theirs.
#[utoipa::path(
    post, path = "", tag = "messages", params(InSession), request_body = Post,
    responses(
        (status = 201, body = Sent, description = "The message is committed."),
        (status = 200, body = Sent, description = "The `clientId` was used before. This is the first result."),
        Problems<(Authentication, NoSession, OfBody, Closed, BusyNow, NoNotes)>,
    )
)]
pub(crate) async fn send(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
    Json(post): Json<Post>,
) -> Result<(StatusCode, JsonBody<Sent>), Error> {
    let (content, visibility) = post.into_content()?;
    let sent = match visibility {
        Visibility::Public => gateway.send(&me, id, content).await?,
        Visibility::Private => {
            let notes = gateway.notes_to_write(&me, id).await?;
            gateway.chat.send(&me, notes, content).await?
        }
    };
    let status = if sent.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(sent)))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MessageEdit)]
pub(crate) struct Edit {
    body: Body,
}

/// Edits the caller's own message, up to 20 times within 24 hours.
#[utoipa::path(
    patch, path = "", tag = "messages", params(OfMessage), request_body = Edit,
    responses(
        (status = 200, body = Changed, description = "The message after the change."),
        Problems<((Authentication, NoMessage, OfBody), (NotItsSender, Unamendable, Late))>,
    )
)]
pub(crate) async fn edit(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    OfMessage(session_id, message_id): OfMessage,
    Json(edit): Json<Edit>,
) -> Result<JsonBody<Changed>, Error> {
    let amendment = Amendment::Edit(edit.body);
    let amend = Amend { session_id, message_id, amendment };
    gateway.amend(&me, amend).await.map(JsonBody)
}

/// Deletes the caller's own message within 24 hours. A tombstone remains.
#[utoipa::path(
    delete, path = "", tag = "messages", params(OfMessage),
    responses(
        (status = 200, body = Changed, description = "The message after the change."),
        Problems<(Authentication, NoMessage, NotItsSender, Unamendable, Late)>,
    )
)]
pub(crate) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    OfMessage(session_id, message_id): OfMessage,
) -> Result<JsonBody<Changed>, Error> {
    let amend = Amend { session_id, message_id, amendment: Amendment::Delete };
    gateway.amend(&me, amend).await.map(JsonBody)
}

/// Reacts with an emoji. Each person may have up to 10 on a message.
#[utoipa::path(
    put, path = "", tag = "messages", params(OfReaction),
    responses(
        (status = 200, body = Changed, description = "The message after the change."),
        Problems<(Authentication, NoMessage, Input, Unamendable)>,
    )
)]
pub(crate) async fn react(
    gateway: State<Arc<Gateway>>,
    me: Authenticated,
    reaction: OfReaction,
) -> Result<JsonBody<Changed>, Error> {
    set_reaction(gateway, me, reaction, true).await
}

/// Removes a reaction.
#[utoipa::path(
    delete, path = "", tag = "messages", params(OfReaction),
    responses(
        (status = 200, body = Changed, description = "The message after the change."),
        Problems<(Authentication, NoMessage, Input, Unamendable)>,
    )
)]
pub(crate) async fn unreact(
    gateway: State<Arc<Gateway>>,
    me: Authenticated,
    reaction: OfReaction,
) -> Result<JsonBody<Changed>, Error> {
    set_reaction(gateway, me, reaction, false).await
}

async fn set_reaction(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    OfReaction(session_id, message_id, emoji): OfReaction,
    on: bool,
) -> Result<JsonBody<Changed>, Error> {
    let amendment = Amendment::React { emoji, on };
    let amend = Amend { session_id, message_id, amendment };
    gateway.amend(&me, amend).await.map(JsonBody)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ReadUpTo)]
pub(crate) struct Read {
    #[serde(deserialize_with = "protocol::whole")]
    #[schema(schema_with = openapi::count)]
    seq: u64,
}

/// Sets the caller's read position. It never moves backwards, nor beyond the end.
#[utoipa::path(
    post, path = "", tag = "messages", params(InSession), request_body = Read,
    responses((status = 200, body = Position, description = "The read position."), Problems<(Authentication, NoSession, OfBody)>)
)]
pub(crate) async fn read(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
    Json(read): Json<Read>,
) -> Result<JsonBody<Position>, Error> {
    gateway.chat.read(&me, id, read.seq).await.map(JsonBody)
}
