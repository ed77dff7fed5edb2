//! Audit log of administrators' acts: the admin, the act, its object, the address and the request. An
//! entry is written in the transaction of the act, or before the data in question is shown. It holds no
//! text of any conversation.

pub mod table;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use model::{account::Address, scope::AdminScope};
use model::{
    ids::{MessageId, SessionId},
    person::{Person, PersonName},
};
use platform::new_id;

/// Administrator, and the request by which they act.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The administrator.
    pub scope: AdminScope,
    /// Address of their request.
    pub address: Address,
    /// Id of their request.
    pub request_id: String,
}

/// Kind of act. A row stores its name, so a node of an older version can list unknown acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A person was blocked.
    BlockUser,
    /// A block was removed.
    UnblockUser,
    /// Reading the versions of a message from before it was changed.
    ReadEdits,
    /// A professional was let into a session.
    AddParticipant,
    /// A professional does not take part in a session any more.
    RemoveParticipant,
    /// A session was handed over to another professional.
    TransferSession,
}

impl Act {
    /// Name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlockUser => "block_user",
            Self::UnblockUser => "unblock_user",
            Self::ReadEdits => "read_edits",
            Self::AddParticipant => "add_participant",
            Self::RemoveParticipant => "remove_participant",
            Self::TransferSession => "transfer_session",
        }
    }
}

/// Entry to write. The database sets the time.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Id of the entry.
    pub id: Uuid,
    /// The administrator.
    pub actor: Actor,
    /// The act.
    pub act: Act,
    /// The affected person of the same tenant.
    pub user: Option<PersonName>,
    /// The affected session.
    pub session_id: Option<SessionId>,
    /// The affected message, in that session.
    pub message_id: Option<MessageId>,
}

impl NewEntry {
    /// Entry for an act on a user.
    pub fn of_user(actor: &Actor, act: Act, user: PersonName) -> Self {
        let (id, actor, user) = (new_id(), actor.clone(), Some(user));
        Self { id, actor, act, user, session_id: None, message_id: None }
    }

    /// Entry for an act on a member of a session.
    pub fn of_member(actor: &Actor, act: Act, session_id: SessionId, member: PersonName) -> Self {
        Self { session_id: Some(session_id), ..Self::of_user(actor, act, member) }
    }

    /// Entry for an act on a message.
    pub fn of_message(
        actor: &Actor,
        act: Act,
        session_id: SessionId,
        message_id: MessageId,
    ) -> Self {
        let (id, actor) = (new_id(), actor.clone());
        let (session_id, message_id) = (Some(session_id), Some(message_id));
        Self { id, actor, act, user: None, session_id, message_id }
    }
}

/// An act of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct Entry {
    /// Id of the entry.
    #[schema(value_type = Uuid)]
    pub id: Uuid,
    /// Time of the act.
    pub at: Timestamp,
    /// The administrator.
    pub actor: Person,
    /// `block_user`, `unblock_user`, `read_edits`, `add_participant` or `transfer_session`. More values may be added.
    pub act: String,
    /// The affected user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Person>,
    /// Session of the affected message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The affected message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub message_id: Option<MessageId>,
    /// The administrator's address. An IPv6 address is cut to its first 64 bits.
    pub address: String,
    /// The request's `X-Request-Id`, as in the node's log.
    pub request_id: String,
}
