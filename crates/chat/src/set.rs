//! A session is closed, opened again, put aside, assigned or muted.

use jiff::{Timestamp, ToSpan};

use crate::{
    Chat,
    store::{PatchOutcome, SessionPatch},
};
use model::{
    ids::SessionId,
    person::{Person, Side},
    session::{DeskStatus, Session},
};
use protocol::error::Error;

impl Chat {
    /// Changes a session. Each member mutes for themselves. Only the session's professionals do the rest.
    pub async fn set(
        &self,
        me: &Person,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Session, Error> {
        let wakes_after = wakes_after(&patch)?;
        let is_of_desk = patch.status.is_some() || patch.assignee.is_some();
        if is_of_desk && me.side == Side::Contact {
            // For a non-member the session does not exist.
            self.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
            return Err(Error::Forbidden("only a dentist can set a session's status or assignee"));
        }
        match self.store.set_session(me, id, patch).await?.ok_or(Error::SessionNotFound)? {
            PatchOutcome::Done { status, desk, muted } => {
                if status || muted {
                    self.inbox.changed(me.session(id));
                } else if desk {
                    self.inbox.changed_for_desk(me.session(id));
                }
                if let Some(after) = wakes_after {
                    self.due.written(after);
                }
            }
            PatchOutcome::AnotherIsOpen => return Err(Error::AnotherIsOpen),
            PatchOutcome::NoParticipant => {
                return Err(Error::invalid("assigneeId", "names no professional of this session"));
            }
        }
        self.store.session(me, id).await?.ok_or(Error::SessionNotFound)
    }
}

/// Time until the session wakes, if it is put aside until then: at most a year.
fn wakes_after(patch: &SessionPatch) -> Result<Option<std::time::Duration>, Error> {
    let Some(until) = patch.snoozed_until else { return Ok(None) };
    if patch.status != Some(DeskStatus::Snoozed) {
        return Err(Error::invalid("snoozedUntil", "needs the status snoozed"));
    }
    let now = Timestamp::now();
    let latest = now + (365 * 24).hours();
    if until <= now || until > latest {
        return Err(Error::invalid("snoozedUntil", "must be in the future, at most a year ahead"));
    }
    Ok(until.duration_since(now).try_into().ok())
}
