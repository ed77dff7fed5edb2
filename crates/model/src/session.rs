//! A session: the conversation of one customer and one dentist, in which further professionals may take part.

use std::{borrow::Cow, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ids::{EpochId, SessionId, SessionKey},
    message::Message,
    person::{Person, Side},
    profile::{AvatarUrl, Email},
};

/// Whether a session accepts messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionStatus {
    /// Messages may be sent.
    Open,
    /// No message is accepted.
    Closed,
}

impl SessionStatus {
    /// Name in rows and answers.
    pub fn as_str(self) -> &'static str {
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
pub struct InvalidStatus;

/// Status of a session as the desk sees it. For the customer the first three are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeskStatus {
    /// The desk has to act.
    Open,
    /// Somebody else has to act.
    Pending,
    /// Put aside until a time, or until the customer writes.
    Snoozed,
    /// No message is accepted.
    Closed,
}

impl DeskStatus {
    /// Name in rows and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Snoozed => "snoozed",
            Self::Closed => "closed",
        }
    }

    /// The status that customers see.
    pub fn plain(self) -> SessionStatus {
        match self {
            Self::Open | Self::Pending | Self::Snoozed => SessionStatus::Open,
            Self::Closed => SessionStatus::Closed,
        }
    }

    /// Its name, if customers do not see it.
    pub fn waiting(self) -> Option<&'static str> {
        matches!(self, Self::Pending | Self::Snoozed).then(|| self.as_str())
    }
}

impl FromStr for DeskStatus {
    type Err = InvalidDeskStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Open, Self::Pending, Self::Snoozed, Self::Closed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(InvalidDeskStatus)
    }
}

/// Error for a text that is no status of the desk.
#[derive(Debug, thiserror::Error)]
#[error("must be open, pending, snoozed or closed")]
pub struct InvalidDeskStatus;

/// Name of an inbox: the channel by which a session's customer writes. 1 to 40 of `a–z 0–9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^[a-z0-9_-]{1,40}$", examples("app"))]
pub struct InboxId(Cow<'static, str>);

impl InboxId {
    /// Inbox of the apps.
    pub const APP: Self = Self(Cow::Borrowed("app"));

    fn is_app(&self) -> bool {
        *self == Self::APP
    }
}

impl FromStr for InboxId {
    type Err = InvalidInbox;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let fits = (1..=40).contains(&text.len()) && text.bytes().all(allowed);
        match text {
            "app" => Ok(Self::APP),
            _ if fits => Ok(Self(Cow::Owned(text.to_owned()))),
            _ => Err(InvalidInbox),
        }
    }
}

/// Error for a text that names no inbox.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 40 of a-z 0-9 _ -")]
pub struct InvalidInbox;

/// How the desk handles a session, as professionals see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Desk {
    /// The inbox. Absent for `app`.
    #[serde(skip_serializing_if = "InboxId::is_app")]
    #[schema(inline, required = false)]
    pub inbox: InboxId,
    /// `pending` or `snoozed`. Absent if it is the session's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub status: Option<DeskStatus>,
    /// Time at which a snoozed session wakes. Absent if only a message of its customer wakes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<Timestamp>,
    /// The professional who looks after it. Absent if it is the session's dentist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Person>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { inbox: InboxId::APP, status: None, snoozed_until: None, assignee: None }
    }
}

impl Desk {
    /// Whether nothing of it differs from other sessions.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// A person as the members of a session see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The person.
    #[serde(flatten)]
    pub person: Person,
    /// The latest name from the directory.
    pub name: String,
    /// Picture of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<AvatarUrl>,
    /// Never stored: it comes from the directory, for members who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
}

impl Member {
    /// Picture of the person.
    pub fn avatar_url(&self) -> Option<&str> {
        self.avatar_url.as_ref().map(AvatarUrl::as_str)
    }
}

/// A session as one of its members sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Id of the session.
    pub id: SessionId,
    /// Open or closed.
    pub status: SessionStatus,
    /// The customer.
    #[serde(rename = "customer")]
    pub contact: Member,
    /// The professional.
    #[serde(rename = "dentist")]
    pub agent: Member,
    /// The session to which these private notes belong. Absent in a session with a customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_of: Option<SessionId>,
    /// Further professionals who take part. Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub participants: Vec<Member>,
    /// How the desk handles it. Absent for customers, and if nothing differs from other sessions.
    #[serde(skip_serializing_if = "Desk::is_plain")]
    #[schema(required = false)]
    pub desk: Desk,
    /// Whether it has had further professionals.
    #[serde(skip)]
    #[schema(ignore)]
    pub shared: bool,
    /// The `seq` of the last message.
    pub last_seq: u64,
    /// The epoch in which `lastSeq` and every other `seq` count.
    pub epoch: EpochId,
    /// Position up to which this member has read.
    pub read_seq: u64,
    /// Position up to which the other side has read.
    pub other_read_seq: u64,
    /// Grows by one with each change of a message, so that a client can find the changes.
    pub rev: u64,
    /// Position up to which this member's devices have received messages.
    pub delivered_seq: u64,
    /// Position up to which the other side's devices have received messages.
    pub other_delivered_seq: u64,
    /// Number of messages of the other side beyond `read_seq`.
    pub unread: u64,
    /// Whether the caller gets no pushes for it.
    pub muted: bool,
    /// The last message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
    /// Time of its opening.
    pub created_at: Timestamp,
    /// Time of the last message, or of the session's opening.
    pub active_at: Timestamp,
}

impl Session {
    /// Key of the session.
    pub fn key(&self) -> SessionKey {
        self.contact.person.session(self.id)
    }

    /// The member on this side of the desk.
    pub fn member(&self, side: Side) -> &Person {
        match side {
            Side::Contact => &self.contact.person,
            Side::Desk => &self.agent.person,
        }
    }

    /// Person whose presence is sent to `me`, once that person has written: the other side, while the session
    /// is open.
    pub fn watched_by(&self, me: &Person) -> Option<Person> {
        (self.status == SessionStatus::Open).then(|| self.other(me).clone())
    }

    /// The member on the other side of `me`.
    pub fn other(&self, me: &Person) -> &Person {
        self.member(match me.side {
            Side::Contact => Side::Desk,
            Side::Desk => Side::Contact,
        })
    }
}

/// The `seq` up to which a member's devices have received a session's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The session.
    pub session_id: SessionId,
    /// The receiver.
    pub to: Person,
    /// Everything up to this `seq` was received.
    pub seq: u64,
}
