//! `/api/chats/{id}/messages` and `/api/chats/{id}/read`.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use serde::Deserialize;

use super::{
    cursor::{self, Page},
    request::{Caller, InSession, Json, OfMessage, OfReaction, Params},
};
use crate::{
    app::App,
    commands::{self, amend::Changed, read::Position, send::Sent},
    error::Error,
    message::{Body, Message, amend::Amendment},
    store::Span,
    wire::{Amend, Post},
};

#[derive(Deserialize)]
pub(crate) struct History {
    before: Option<String>,
    after: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

impl History {
    pub(super) fn span(&self) -> Result<Span, Error> {
        let seq = |name, text: &str| {
            text.parse().map_err(|_| Error::invalid(name, "must be a seq: 0, 1, 2 …"))
        };
        match (&self.cursor, &self.before, &self.after) {
            (Some(cursor), None, None) => cursor::to_span(cursor),
            (None, Some(before), None) => Ok(Span::Before(seq("before", before)?)),
            (None, None, Some(after)) => Ok(Span::After(seq("after", after)?)),
            (None, None, None) => Ok(Span::Before(u64::MAX)),
            _ => Err(Error::invalid("query", "takes one of before, after and cursor")),
        }
    }
}

pub(crate) async fn history(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    InSession(id): InSession,
    Params(params): Params<History>,
) -> Result<JsonBody<Page<Message>>, Error> {
    let span = params.span()?;
    let limit = cursor::limit(params.limit.as_deref())?;
    let session = app.store.session(&me.person, id).await?.ok_or(Error::SessionNotFound)?;
    let items = commands::history::page(&app, &me.person, id, span, limit).await?;
    let next = match (span, items.first(), items.last()) {
        (Span::Before(_), Some(first), _) if first.seq > 1 => Some(Span::Before(first.seq)),
        (Span::After(_), _, Some(last)) if last.seq < session.last_seq => {
            Some(Span::After(last.seq))
        }
        _ => None,
    };
    Ok(JsonBody(Page { items, next_cursor: next.map(cursor::of_span) }))
}

pub(crate) async fn send(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    InSession(id): InSession,
    Json(post): Json<Post>,
) -> Result<(StatusCode, JsonBody<Sent>), Error> {
    let sent = commands::send::run(&app, me.person, id, post.into_content()?).await?;
    let status = if sent.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, JsonBody(sent)))
}

#[derive(Deserialize)]
pub(crate) struct Edit {
    body: Body,
}

pub(crate) async fn edit(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    OfMessage(session_id, message_id): OfMessage,
    Json(edit): Json<Edit>,
) -> Result<JsonBody<Changed>, Error> {
    let amendment = Amendment::Edit(edit.body);
    let amend = Amend { session_id, message_id, amendment };
    commands::amend::run(&app, &me.person, amend).await.map(JsonBody)
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    OfMessage(session_id, message_id): OfMessage,
) -> Result<JsonBody<Changed>, Error> {
    let amend = Amend { session_id, message_id, amendment: Amendment::Delete };
    commands::amend::run(&app, &me.person, amend).await.map(JsonBody)
}

pub(crate) async fn react(
    app: State<Arc<App>>,
    me: Caller,
    reaction: OfReaction,
) -> Result<JsonBody<Changed>, Error> {
    set_reaction(app, me, reaction, true).await
}

pub(crate) async fn unreact(
    app: State<Arc<App>>,
    me: Caller,
    reaction: OfReaction,
) -> Result<JsonBody<Changed>, Error> {
    set_reaction(app, me, reaction, false).await
}

async fn set_reaction(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    OfReaction(session_id, message_id, emoji): OfReaction,
    on: bool,
) -> Result<JsonBody<Changed>, Error> {
    let amendment = Amendment::React { emoji, on };
    let amend = Amend { session_id, message_id, amendment };
    commands::amend::run(&app, &me.person, amend).await.map(JsonBody)
}

#[derive(Deserialize)]
pub(crate) struct Read {
    seq: u64,
}

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(me): Caller,
    InSession(id): InSession,
    Json(read): Json<Read>,
) -> Result<JsonBody<Position>, Error> {
    commands::read::run(&app, &me.person, id, read.seq).await.map(JsonBody)
}
