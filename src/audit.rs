//! Audit log of administrators' acts: the admin, the act, its object, the address and the request. An
//! entry is written in the transaction of the act, or before the data in question is shown. It holds no
//! text of any conversation.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    limits::address::Address, message::MessageId, person::Person, session::SessionId, wire::new_id,
};

/// Administrator, and the request by which they act.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) person: Person,
    pub(crate) address: Address,
    pub(crate) request_id: String,
}

/// Kind of act. A row stores its name, so a node of an older version can list unknown acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    BlockUser,
    UnblockUser,
    /// Reading the versions of a message from before it was changed.
    ReadEdits,
}

impl Act {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BlockUser => "block_user",
            Self::UnblockUser => "unblock_user",
            Self::ReadEdits => "read_edits",
        }
    }
}

/// Entry to write. The database sets the time.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    pub(crate) id: Uuid,
    pub(crate) actor: Actor,
    pub(crate) act: Act,
    pub(crate) user: Option<Person>,
    pub(crate) message: Option<(SessionId, MessageId)>,
}

impl NewEntry {
    /// Entry for an act on a user. PostgreSQL writes it in the statement of the act itself.
    #[cfg(feature = "embedded")]
    pub(crate) fn of_user(actor: &Actor, act: Act, user: &Person) -> Self {
        let (id, actor, user) = (new_id(), actor.clone(), Some(user.clone()));
        Self { id, actor, act, user, message: None }
    }

    /// Entry for an act on a message.
    pub(crate) fn of_message(
        actor: &Actor,
        act: Act,
        session_id: SessionId,
        message_id: MessageId,
    ) -> Self {
        let (id, actor, message) = (new_id(), actor.clone(), Some((session_id, message_id)));
        Self { id, actor, act, user: None, message }
    }
}

/// An act of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub(crate) struct Entry {
    #[schema(value_type = Uuid)]
    pub(crate) id: Uuid,
    pub(crate) at: Timestamp,
    /// The administrator.
    pub(crate) actor: Person,
    /// `block_user`, `unblock_user` or `read_edits`. More values may be added.
    pub(crate) act: String,
    /// The affected user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub(crate) message_id: Option<MessageId>,
    /// The administrator's address. An IPv6 address is cut to its first 64 bits.
    pub(crate) address: String,
    /// The request's `X-Request-Id`, as in the node's log.
    pub(crate) request_id: String,
}
