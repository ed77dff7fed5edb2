//! A session: the conversation of one customer and one dentist.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    message::Message,
    person::{AvatarUrl, Email, Person, PersonKind},
};

/// Identity of a session, a `UUIDv7`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub(crate) struct SessionId(pub(crate) Uuid);

/// Epoch of the order, within which `seq` counts. Clients only compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct EpochId(pub(crate) Uuid);

/// Whether a session accepts messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionStatus {
    Open,
    Closed,
}

impl SessionStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for SessionStatus {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err(InvalidStatus),
        }
    }
}

/// Error for a text that is no status.
#[derive(Debug, thiserror::Error)]
#[error("must be open or closed")]
pub(crate) struct InvalidStatus;

/// A person as the members of a session see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    #[serde(flatten)]
    pub(crate) person: Person,
    /// The latest name from the directory.
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) avatar_url: Option<AvatarUrl>,
    /// Never stored: it comes from the directory, for members who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<Email>,
}

impl Member {
    pub(crate) fn avatar_url(&self) -> Option<&str> {
        self.avatar_url.as_ref().map(AvatarUrl::as_str)
    }
}

/// A session as one of its members sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) status: SessionStatus,
    pub(crate) customer: Member,
    pub(crate) dentist: Member,
    pub(crate) last_seq: u64,
    /// The epoch in which `lastSeq` and every other `seq` count.
    pub(crate) epoch: EpochId,
    /// Position up to which this member has read.
    pub(crate) read_seq: u64,
    /// Position up to which the other side has read.
    pub(crate) other_read_seq: u64,
    /// Grows by one with each change of a message, so that a client can find the changes.
    pub(crate) rev: u64,
    /// Position up to which this member's devices have received messages.
    pub(crate) delivered_seq: u64,
    /// Position up to which the other side's devices have received messages.
    pub(crate) other_delivered_seq: u64,
    /// Number of messages of the other side beyond `read_seq`.
    pub(crate) unread: u64,
    pub(crate) muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_message: Option<Message>,
    pub(crate) created_at: Timestamp,
    /// Time of the last message, or of the session's opening.
    pub(crate) active_at: Timestamp,
}

impl Session {
    /// The member on this side of the desk.
    pub(crate) fn member(&self, kind: PersonKind) -> &Person {
        match kind {
            PersonKind::Customer => &self.customer.person,
            PersonKind::Dentist => &self.dentist.person,
        }
    }

    /// Person whose presence is sent to `me`, once that person has written: the other side, while the session
    /// is open.
    pub(crate) fn watched_by(&self, me: &Person) -> Option<Person> {
        (self.status == SessionStatus::Open).then(|| self.other(me).clone())
    }

    /// The member on the other side of `me`.
    pub(crate) fn other(&self, me: &Person) -> &Person {
        self.member(match me.kind {
            PersonKind::Customer => PersonKind::Dentist,
            PersonKind::Dentist => PersonKind::Customer,
        })
    }
}
