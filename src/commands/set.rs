//! `PATCH /api/chats/{id}`: close, reopen and mute.

use crate::{
    app::App,
    error::Error,
    person::{Person, PersonKind},
    session::{Session, SessionId},
    store::{PatchOutcome, SessionPatch},
};

/// Changes a session. Each member mutes for themselves. Only the professional closes and reopens.
pub(crate) async fn run(
    app: &App,
    me: &Person,
    id: SessionId,
    patch: SessionPatch,
) -> Result<Session, Error> {
    if patch.status.is_some() && me.kind == PersonKind::Customer {
        // For a non-member the session does not exist.
        app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
        return Err(Error::Forbidden("only a dentist can close or reopen a session"));
    }
    match app.store.set_session(me, id, patch).await?.ok_or(Error::SessionNotFound)? {
        PatchOutcome::Done { status: false, muted: false } => {}
        PatchOutcome::Done { .. } => app.inbox.changed(id),
        PatchOutcome::AnotherIsOpen => return Err(Error::AnotherIsOpen),
    }
    app.store.session(me, id).await?.ok_or(Error::SessionNotFound)
}
