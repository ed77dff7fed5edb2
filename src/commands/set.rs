//! `PATCH /api/chats/{id}`: close, reopen and mute.

use crate::{
    app::App,
    error::Error,
    person::{Person, PersonKind},
    session::{Session, SessionId},
    store::{Set, Setting},
};

/// Changes a session. Each member mutes for themselves. Only the professional closes and reopens.
pub(crate) async fn run(
    app: &App,
    me: &Person,
    id: SessionId,
    setting: Setting,
) -> Result<Session, Error> {
    if setting.status.is_some() && me.kind == PersonKind::Customer {
        // For a non-member the session does not exist.
        app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
        return Err(Error::Forbidden("a dentist closes and opens sessions"));
    }
    match app.store.set_session(me, id, setting).await?.ok_or(Error::SessionNotFound)? {
        Set::Done { status: false, muted: false } => {}
        Set::Done { .. } => app.inbox.changed(id),
        Set::AnotherIsOpen => return Err(Error::AnotherIsOpen),
    }
    app.store.session(me, id).await?.ok_or(Error::SessionNotFound)
}
