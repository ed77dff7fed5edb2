//! Acts of administrators, for the audit log: the admin, the act, its object, the address and the request.
//! It is written in the transaction of the act, or before what was looked at is shown, and holds no word
//! of any conversation.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    limits::address::Address, message::MessageId, person::Person, session::SessionId, wire::new_id,
};

/// An administrator, and the request by which they act.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) person: Person,
    pub(crate) address: Address,
    pub(crate) request_id: String,
}

/// A kind of act. A row keeps the name, so a node of an older version lists acts that it doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    BlockUser,
    UnblockUser,
    /// Looked at what a message said before it was changed.
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

/// An entry to be written; the database notes when.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    pub(crate) id: Uuid,
    pub(crate) actor: Actor,
    pub(crate) act: Act,
    pub(crate) user: Option<Person>,
    pub(crate) message: Option<(SessionId, MessageId)>,
}

impl NewEntry {
    /// Something that is done to a user. PostgreSQL writes such an entry in the statement of its act.
    #[cfg(feature = "embedded")]
    pub(crate) fn of_user(actor: &Actor, act: Act, user: &Person) -> Self {
        let (id, actor, user) = (new_id(), actor.clone(), Some(user.clone()));
        Self { id, actor, act, user, message: None }
    }

    /// Something that concerns a message.
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
    /// The admin.
    pub(crate) actor: Person,
    /// `block_user`, `unblock_user` or `read_edits`; more to come.
    pub(crate) act: String,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub(crate) message_id: Option<MessageId>,
    /// The administrator's address; of IPv6 the first 64 bits.
    pub(crate) address: String,
    /// The request's `X-Request-Id`, as in the node's log.
    pub(crate) request_id: String,
}
