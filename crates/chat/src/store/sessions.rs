//! Sessions: opening, reading, listing and changing them.

use async_trait::async_trait;
use jiff::Timestamp;

use db::StoreError;
use model::{
    ids::{EpochId, SessionId, SessionKey},
    person::{Person, PersonId, Side},
    scope::Scope,
    session::{DeskStatus, Member, Session},
};

/// A session to open between two people.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Id of the session, if it is new.
    pub id: SessionId,
    /// The customer.
    pub contact: Member,
    /// The professional.
    pub agent: Member,
}

/// Filter of the session list, latest activity first.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// Only sessions with this status. Pending and snoozed ones are open too.
    pub status: Option<DeskStatus>,
    /// Only sessions after this one in the list.
    pub after: Option<(Timestamp, SessionId)>,
    /// Only sessions that were active after this time.
    pub since: Option<Timestamp>,
    /// Maximum of sessions.
    pub limit: u32,
}

/// A page of sessions.
#[derive(Debug)]
pub struct Listed {
    /// Sessions, the latest activity first.
    pub sessions: Vec<Session>,
    /// There are more sessions within the limit, which did not fit into the page.
    pub is_cut: bool,
}

/// Latest `seq` and revision of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The session.
    pub key: SessionKey,
    /// The `seq` of its last message.
    pub last_seq: u64,
    /// Its revision.
    pub rev: u64,
}

/// Changes that a member makes to a session.
#[derive(Clone, Debug, Default)]
pub struct SessionPatch {
    /// New status.
    pub status: Option<DeskStatus>,
    /// Time at which it wakes, if the new status is [`DeskStatus::Snoozed`].
    pub snoozed_until: Option<Timestamp>,
    /// The professional who shall look after it.
    pub assignee: Option<PersonId>,
    /// Whether the caller mutes the session.
    pub muted: Option<bool>,
}

/// Outcome of a [`SessionPatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchOutcome {
    /// The change is stored.
    Done {
        /// Whether it was closed or opened.
        status: bool,
        /// Whether what only professionals see has changed.
        desk: bool,
        /// Whether the mute has changed.
        muted: bool,
    },
    /// It can't be opened again: these two people have another open session.
    AnotherIsOpen,
    /// The assignee does not take part in it.
    NoParticipant,
}

impl NewSession {
    /// Checks that it is a session of `me` with a person of their tenant on the other side.
    pub(super) fn check(&self, me: &Scope) -> Result<(), StoreError> {
        let people = [(&self.contact.person, Side::Contact), (&self.agent.person, Side::Desk)];
        let is_mine = people.iter().any(|(person, _)| *person == me.person());
        let fit =
            |(person, side): &(&Person, Side)| person.side == *side && person.tenant == me.tenant;
        if is_mine && people.iter().all(fit) {
            return Ok(());
        }
        Err(StoreError::refused("a session can be opened by its own people only"))
    }
}

/// Orders two values as contact and agent. `mine` belongs to a person on this side, `theirs` to the other one.
pub(crate) fn sides<T>(side: Side, mine: T, theirs: T) -> (T, T) {
    if side == Side::Contact { (mine, theirs) } else { (theirs, mine) }
}

/// The part of a store that keeps the sessions. Every query for a person checks the membership.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Opens a session between `me` and another person of the tenant, or finds their open one. Returns its id, and
    /// whether it is new. [`StoreError::Refused`] if `me` is neither of its people.
    async fn open_session(
        &self,
        me: &Scope,
        new: &NewSession,
    ) -> Result<(SessionId, bool), StoreError>;

    /// The open session of `me` and a person on the other side.
    async fn open_between(
        &self,
        me: &Scope,
        other: &PersonId,
    ) -> Result<Option<SessionId>, StoreError>;

    /// A session that `me` is a member of.
    async fn session(&self, me: &Scope, id: SessionId) -> Result<Option<Session>, StoreError>;

    /// Head of a session that `me` is a member of, and its epoch.
    async fn head(&self, me: &Scope, id: SessionId) -> Result<Option<(Head, EpochId)>, StoreError>;

    /// The sessions that `me` is a member of.
    async fn sessions(&self, me: &Scope, page: &SessionPage) -> Result<Listed, StoreError>;

    /// Heads of these sessions.
    async fn heads(&self, keys: &[SessionKey]) -> Result<Vec<Head>, StoreError>;

    /// Everyone who takes part in a session.
    async fn members(&self, key: SessionKey) -> Result<Vec<Person>, StoreError>;

    /// Changes a session. `None` if `me` is not a member.
    async fn set_session(
        &self,
        me: &Scope,
        id: SessionId,
        patch: SessionPatch,
    ) -> Result<Option<PatchOutcome>, StoreError>;

    /// Each of these sessions as seen by each of its members, for their inboxes.
    async fn views(&self, keys: &[SessionKey]) -> Result<Vec<(Person, Session)>, StoreError>;
}
