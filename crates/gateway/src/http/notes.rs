//! `/api/chats/{id}/notes`: private notes of a session.

use std::sync::Arc;

use axum::{Json as JsonBody, extract::State, http::StatusCode};

use super::request::{Authenticated, InSession};
use crate::Gateway;
use model::session::Session;
use protocol::{
    error::Error,
    problems::{Authentication, NoNotes, NoSession, Problems},
};

/// The private notes of a session, for its professionals.
///
/// A session without notes gives the same `session_not_found` as an unknown one.
#[utoipa::path(
    get, path = "", tag = "chats", operation_id = "get_notes", params(InSession),
    responses(
        (status = 200, body = Session, description = "The notes: a session of their own, with `notesOf`."),
        Problems<(Authentication, NoSession, NoNotes)>,
    )
)]
pub(crate) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
) -> Result<JsonBody<Session>, Error> {
    let notes = gateway.chat.notes(&me, id).await?;
    gateway.chat.people.shown(&notes);
    Ok(JsonBody(notes))
}

/// Opens the private notes of a session, or returns them.
///
/// Their id is used like that of any session: join it, write, read, search. Its members are the professionals of the
/// session, now and later; its customer learns nothing of it.
#[utoipa::path(
    post, path = "", tag = "chats", operation_id = "open_notes", params(InSession),
    responses(
        (status = 201, body = Session, description = "The new notes."),
        (status = 200, body = Session, description = "The session had notes."),
        Problems<(Authentication, NoSession, NoNotes)>,
    )
)]
pub(crate) async fn open(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(id): InSession,
) -> Result<(StatusCode, JsonBody<Session>), Error> {
    let (notes, is_new) = gateway.chat.open_notes(&me, id).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonBody(notes)))
}
