//! A session is closed, opened again or muted.

use crate::{
    Chat,
    store::{PatchOutcome, SessionPatch},
};
use model::{
    ids::SessionId,
    person::{Person, Side},
    session::Session,
};
use protocol::error::Error;

impl Chat {
    /// Changes a session. Each member mutes for themselves. Only the professional closes and reopens.
    pub async fn set(
        &self,
        me: &Person,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Session, Error> {
        if patch.status.is_some() && me.side == Side::Contact {
            // For a non-member the session does not exist.
            self.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
            return Err(Error::Forbidden("only a dentist can close or reopen a session"));
        }
        match self.store.set_session(me, id, patch).await?.ok_or(Error::SessionNotFound)? {
            PatchOutcome::Done { status: false, muted: false } => {}
            PatchOutcome::Done { .. } => self.inbox.changed(me.session(id)),
            PatchOutcome::AnotherIsOpen => return Err(Error::AnotherIsOpen),
        }
        self.store.session(me, id).await?.ok_or(Error::SessionNotFound)
    }
}
