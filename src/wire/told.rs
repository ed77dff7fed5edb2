//! Server events: one line per event, with its receivers and the type of its data.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    message::Message,
    openapi::Documented,
    person::Person,
    session::{Session, SessionId},
};

/// A server event with its name.
pub(crate) trait Event: Serialize {
    const NAME: &'static str;
}

/// A server event, for the AsyncAPI document.
pub(crate) struct ServerEvent {
    pub(crate) name: &'static str,
    pub(crate) receivers: &'static str,
    pub(crate) data: Documented,
}

macro_rules! events {
    ($($name:literal $data:ident$(<$life:lifetime>)?, $receivers:literal;)*) => {
        $(impl Event for $data$(<$life>)? {
            const NAME: &'static str = $name;
        })*

        /// All server events.
        pub(crate) static EVENTS: &[ServerEvent] = &[$(ServerEvent {
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
    "auth:expiring" AuthExpiring, "One connection, 60 s before the end of its token.";
    "server:draining" ServerDraining, "Every connection of a node that shuts down.";
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MessageNew<'a> {
    pub(crate) message: &'a Message,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MessageUpdated<'a> {
    pub(crate) message: &'a Message,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageDelivered<'a> {
    pub(crate) session_id: SessionId,
    pub(crate) to: &'a Person,
    pub(crate) seq: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageRead<'a> {
    pub(crate) session_id: SessionId,
    pub(crate) reader: &'a Person,
    pub(crate) seq: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Typing<'a> {
    pub(crate) session_id: SessionId,
    pub(crate) who: &'a Person,
    pub(crate) on: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Presence<'a> {
    pub(crate) who: &'a Person,
    pub(crate) online: bool,
    /// `null` while the person is online, or if they never were.
    #[schema(required)]
    pub(crate) last_seen: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionNew<'a> {
    pub(crate) session: &'a Session,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionUpdated<'a> {
    pub(crate) session: &'a Session,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthExpiring {
    pub(crate) expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerDraining {
    /// Reconnect after this time in milliseconds, with jitter.
    pub(crate) reconnect_after_ms: u64,
}
