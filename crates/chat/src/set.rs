//! A session is closed, opened again, put aside, assigned or muted.

use jiff::{Timestamp, ToSpan};

use crate::{
    Chat,
    store::{PatchOutcome, SessionPatch},
};
use model::{
    ids::SessionId,
    person::Side,
    scope::Scope,
    session::{DeskStatus, Session},
};
use protocol::error::Error;

impl Chat {
    /// Changes a session. Each member mutes for themselves. Only the session's professionals do the rest, and its customer
    /// receives no event of it unless it is closed or opened.
    pub async fn set(
        &self,
        me: &Scope,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Session, Error> {
        check_wake_time(&patch)?;
        if patch.status.is_some() || patch.assignee.is_some() {
            self.check_desk(me, id, &patch).await?;
        }
        match self.store.set_session(me, id, patch).await?.ok_or(Error::SessionNotFound)? {
            PatchOutcome::Done { status: true, .. } => self.inbox.changed(me.session(id)),
            PatchOutcome::Done { desk: false, muted: false, .. } => {}
            PatchOutcome::Done { .. } => self.inbox.changed_for(me.session(id), me.side),
            PatchOutcome::AnotherIsOpen => return Err(Error::AnotherIsOpen),
            PatchOutcome::NoParticipant => {
                return Err(Error::invalid("assigneeId", "names no professional of this session"));
            }
        }
        self.store.session(me, id).await?.ok_or(Error::SessionNotFound)
    }

    /// Only professionals set a status or an assignee. Notes are open or closed, and are nobody's: their session is put
    /// aside and assigned.
    async fn check_desk(
        &self,
        me: &Scope,
        id: SessionId,
        patch: &SessionPatch,
    ) -> Result<(), Error> {
        let waits = patch.status.is_some_and(|status| status.waiting().is_some());
        if me.side == Side::Desk && !waits && patch.assignee.is_none() {
            return Ok(());
        }
        // For a non-member the session does not exist.
        let session = self.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
        if me.side == Side::Contact {
            return Err(Error::Forbidden("only a dentist can set a session's status or assignee"));
        }
        if session.notes_of.is_some() {
            return Err(Error::Forbidden("notes are neither put aside nor assigned"));
        }
        Ok(())
    }
}

/// A session wakes in the future, at most a year ahead, and only if it is put aside.
fn check_wake_time(patch: &SessionPatch) -> Result<(), Error> {
    let Some(until) = patch.snoozed_until else { return Ok(()) };
    if patch.status != Some(DeskStatus::Snoozed) {
        return Err(Error::invalid("snoozedUntil", "needs the status snoozed"));
    }
    let now = Timestamp::now();
    if until <= now || until > now + (365 * 24).hours() {
        return Err(Error::invalid("snoozedUntil", "must be in the future, at most a year ahead"));
    }
    Ok(())
}
