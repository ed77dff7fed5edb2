//! Sessions: opening, reading, listing and changing them.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::{
    person::{Person, PersonId},
    session::{EpochId, Member, Session, SessionId, SessionStatus},
};

/// A session to open between two people.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) customer: Member,
    pub(crate) dentist: Member,
}

/// Filter of the session list, latest activity first.
#[derive(Clone, Debug)]
pub(crate) struct SessionPage {
    pub(crate) status: Option<SessionStatus>,
    /// Only sessions after this one in the list.
    pub(crate) after: Option<(Timestamp, SessionId)>,
    /// Only sessions that were active after this time.
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: u32,
}

/// A page of sessions.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) sessions: Vec<Session>,
    /// There are more sessions within the limit, which did not fit into the page.
    pub(crate) is_cut: bool,
}

/// Latest `seq` and revision of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: SessionId,
    pub(crate) last_seq: u64,
    pub(crate) rev: u64,
}

/// Changes that a member makes to a session: close or open it, mute or unmute it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SessionPatch {
    pub(crate) status: Option<SessionStatus>,
    pub(crate) muted: Option<bool>,
}

/// Outcome of a [`SessionPatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchOutcome {
    Done {
        /// Whether the status has changed.
        status: bool,
        muted: bool,
    },
    /// It can't be opened again: these two people have another open session.
    AnotherIsOpen,
}

/// The part of a store that keeps the sessions. Every query for a person checks the membership.
#[async_trait]
pub(crate) trait Sessions: Send + Sync + 'static {
    /// Opens a session, or finds the open one of these two people. Returns its id, and whether it
    /// is new.
    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError>;

    /// The open session of these two people.
    async fn open_between(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<Option<SessionId>, StoreError>;

    /// A session that `me` is a member of.
    async fn session(&self, me: &Person, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// Head of a session that `me` is a member of, and its epoch.
    async fn head(&self, me: &Person, id: SessionId)
    -> Result<Option<(Head, EpochId)>, StoreError>;

    /// The sessions that `me` is a member of.
    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Listed, StoreError>;

    /// Heads of these sessions.
    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<Head>, StoreError>;

    /// Changes a session. `None` if `me` is not a member.
    async fn set_session(
        &self,
        me: &Person,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Option<PatchOutcome>, StoreError>;

    /// Each of these sessions as seen by each of its members, for their inboxes.
    async fn views(&self, ids: &[SessionId]) -> Result<Vec<(Person, Session)>, StoreError>;
}
