//! Server events: one line per event, with its receivers and the type of its data.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use model::{ids::SessionId, message::Message, person::Person, session::Session};
use platform::openapi::Documented;

/// A server event with its name.
pub trait Event: Serialize {
    /// Name of the event.
    const NAME: &'static str;
}

/// A server event, for the AsyncAPI document.
pub struct ServerEvent {
    /// Name of the event.
    pub name: &'static str,
    /// Its receivers, in words.
    pub receivers: &'static str,
    /// Type of its data.
    pub data: Documented,
}

macro_rules! events {
    ($($name:literal $data:ident$(<$life:lifetime>)?, $receivers:literal;)*) => {
        $(impl Event for $data$(<$life>)? {
            const NAME: &'static str = $name;
        })*

        /// All server events.
        pub static EVENTS: &[ServerEvent] = &[$(ServerEvent {
            name: $name,
            receivers: $receivers,
            data: Documented::of::<$data$(<$life>)?>(),
        }),*];
    };
}

events! {
    "message:new" MessageNew<'_>, "Every connection in the session except the sender's, in `seq` order, each message once.";
    "message:updated" MessageUpdated<'_>, "Every connection in the session, including the one that made the change.";
    "message:delivered" MessageDelivered<'_>, "Every connection in the session, when a device of `to` has received the messages up to `seq`.";
    "message:read" MessageRead<'_>, "Every connection in the session, when a read position has moved.";
    "typing" Typing<'_>, "Every connection in the session except those of the person who types.";
    "presence" Presence<'_>, "Every connection that has joined a session with `who`: at once, then at each change.";
    "session:new" SessionNew<'_>, "Every connection of both participants, once.";
    "session:updated" SessionUpdated<'_>, "Every connection of a participant, joined or not, after each change: at once, in a busy session once a second.";
    "notes:updated" NotesUpdated<'_>, "Every connection of a professional who takes part in the session, joined or not, like `session:updated`.";
    "auth:expiring" AuthExpiring, "One connection, 60 s before the end of its token.";
    "server:draining" ServerDraining, "Every connection of a node that shuts down.";
}

/// A committed message.
#[derive(Serialize, ToSchema)]
pub struct MessageNew<'a> {
    /// The message.
    pub message: &'a Message,
}

/// A message that was changed.
#[derive(Serialize, ToSchema)]
pub struct MessageUpdated<'a> {
    /// The message after the change.
    pub message: &'a Message,
}

/// A member's devices have received messages.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageDelivered<'a> {
    /// The session.
    pub session_id: SessionId,
    /// The receiver.
    pub to: &'a Person,
    /// Everything up to this `seq` was received.
    pub seq: u64,
}

/// A member has read messages.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageRead<'a> {
    /// The session.
    pub session_id: SessionId,
    /// The reader.
    pub reader: &'a Person,
    /// Everything up to this `seq` is read.
    pub seq: u64,
}

/// A member types, or has stopped.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Typing<'a> {
    /// The session.
    pub session_id: SessionId,
    /// The member.
    pub who: &'a Person,
    /// Whether they type.
    pub on: bool,
}

/// Whether the other side is connected: once after a join, then at each change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presence<'a> {
    /// The person.
    pub who: &'a Person,
    /// Whether they are connected.
    pub online: bool,
    /// `null` while the person is online, or if they never were.
    #[schema(required)]
    pub last_seen: Option<Timestamp>,
}

/// A session was opened.
#[derive(Serialize, ToSchema)]
pub struct SessionNew<'a> {
    /// The session, as the receiver sees it.
    pub session: &'a Session,
}

/// A session has changed.
#[derive(Serialize, ToSchema)]
pub struct SessionUpdated<'a> {
    /// The session, as the receiver sees it.
    pub session: &'a Session,
}

/// Private notes of a session were opened, or have changed.
#[derive(Serialize, ToSchema)]
pub struct NotesUpdated<'a> {
    /// The notes, as the receiver sees them.
    pub session: &'a Session,
}

/// The token of the connection ends soon.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthExpiring {
    /// End of the token.
    pub expires_at: Timestamp,
}

/// The node shuts down.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerDraining {
    /// Reconnect after this time in milliseconds, with jitter.
    pub reconnect_after_ms: u64,
}
