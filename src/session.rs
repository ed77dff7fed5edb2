//! A session: the conversation of one customer and one dentist.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{message::Message, person::Profile};

/// A session's identity, a `UUIDv7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SessionId(pub(crate) Uuid);

/// Whether a session takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A session as one of its members sees it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) status: SessionStatus,
    pub(crate) customer: Profile,
    pub(crate) dentist: Profile,
    pub(crate) last_seq: u64,
    /// How far this member has read.
    pub(crate) read_seq: u64,
    /// How far the other side has read.
    pub(crate) other_read_seq: u64,
    /// Grows by one with each change of a message: by it a client finds what has changed.
    pub(crate) rev: u64,
    /// Up to where this member's devices have had messages.
    pub(crate) delivered_seq: u64,
    /// Up to where the other side's have.
    pub(crate) other_delivered_seq: u64,
    /// Messages of the other side beyond `read_seq`.
    pub(crate) unread: u64,
    pub(crate) muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_message: Option<Message>,
    pub(crate) created_at: Timestamp,
    /// When the last message came, or the session was opened.
    pub(crate) active_at: Timestamp,
}
