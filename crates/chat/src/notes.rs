//! Private notes of a session: its professionals write to each other, and its customer learns nothing of it.

use crate::Chat;
use model::{ids::SessionId, person::Side, scope::Scope, session::Session};
use protocol::error::Error;

impl Chat {
    /// Notes of a session, if it has any. Notes have themselves.
    pub async fn notes(&self, me: &Scope, id: SessionId) -> Result<Session, Error> {
        let found = self.notes.find(me, id).await?;
        let Some(found) = found else { return Err(self.without_notes(me, id).await) };
        self.store.session(me, found).await?.ok_or(Error::SessionNotFound)
    }

    /// Finds or makes the notes of a session. Also returns whether they are new. All members receive new ones.
    pub async fn open_notes(&self, me: &Scope, id: SessionId) -> Result<(Session, bool), Error> {
        let (notes, is_new) = self.notes_id(me, id).await?;
        let session = self.store.session(me, notes).await?.ok_or(Error::SessionNotFound)?;
        Ok((session, is_new))
    }

    /// The same, by id.
    pub async fn notes_id(&self, me: &Scope, id: SessionId) -> Result<(SessionId, bool), Error> {
        let opened = self.notes.open(me, id).await?;
        let Some((notes, is_new)) = opened else { return Err(self.without_notes(me, id).await) };
        if is_new {
            self.inbox.changed(me.session(notes));
        }
        Ok((notes, is_new))
    }

    /// Reason why this person finds no notes. For a non-member the session does not exist.
    async fn without_notes(&self, me: &Scope, id: SessionId) -> Error {
        match self.store.head(me, id).await {
            Ok(Some(_)) if me.side == Side::Contact => Error::Forbidden("only a dentist has notes"),
            Ok(_) => Error::SessionNotFound,
            Err(error) => error.into(),
        }
    }
}
