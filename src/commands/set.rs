//! `PATCH /api/chats/{id}`: closing, opening again, muting.

use crate::{
    app::App,
    error::Error,
    person::{Person, PersonKind},
    session::{Session, SessionId},
    store::{Set, Setting},
};

/// Changes a session; muting is each member's own, closing and opening the professional's.
pub(crate) async fn run(
    app: &App,
    me: &Person,
    id: SessionId,
    setting: Setting,
) -> Result<Session, Error> {
    if setting.status.is_some() && me.kind == PersonKind::Customer {
        // Whoever is no member hears that there is no session.
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
