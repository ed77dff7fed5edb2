//! The one event vocabulary: what clients say, what the server says, and why a connection ends.
//! Framings (`wire/`) carry it.

pub(crate) mod broadcast;
pub(crate) mod engineio;
pub(crate) mod native;
pub(crate) mod offset;
pub(crate) mod socketio;

use axum::extract::ws::Utf8Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    error::Error,
    message::{Body, ClientId, MessageId, MessageKind},
    session::SessionId,
};

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    Join(Join),
    Leave(InSession),
    Send(Send),
    Read(Read),
    TypingStart(InSession),
    TypingStop(InSession),
    AuthRefresh(AuthRefresh),
}

impl ClientEvent {
    /// Parses an event's data; what is wrong is told by the field's name.
    pub(crate) fn parse(name: &str, data: Option<&RawValue>) -> Result<Self, Error> {
        fn parse<T: DeserializeOwned>(data: Option<&RawValue>) -> Result<T, Error> {
            object(data.map_or("{}", RawValue::get).as_bytes())
        }
        match name {
            "session:join" => parse(data).map(Self::Join),
            "session:leave" => parse(data).map(Self::Leave),
            "message:send" => parse(data).map(Self::Send),
            "message:read" => parse(data).map(Self::Read),
            "typing:start" => parse(data).map(Self::TypingStart),
            "typing:stop" => parse(data).map(Self::TypingStop),
            "auth:refresh" => parse(data).map(Self::AuthRefresh),
            _ => Err(Error::UnknownEvent),
        }
    }
}

/// Reads a JSON object; what is wrong with it is told by the field's name.
pub(crate) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    // An array of the right values would pass for an object: its order must not become our API.
    if !is_object(json) {
        return Err(Error::invalid("request", "expected a JSON object"));
    }
    let mut reading = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut reading)
        .map_err(|error| invalid(&error.path().to_string(), error.inner()))?;
    reading.end().map_err(|error| invalid(".", &error))?;
    Ok(value)
}

/// Whether JSON is an object, if it is anything.
pub(crate) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// What is wrong with a piece of JSON, without a word of what it held.
///
/// `serde_json` quotes what it found (`invalid type: string "…"`, ``unknown variant `…` ``): that may
/// be a body or a token.
fn invalid(path: &str, error: &serde_json::Error) -> Error {
    let name = if path == "." { "request" } else { path };
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let quotes = ["invalid type", "invalid value", "unknown variant", "unknown field"];
    let problem = if !error.is_data() {
        format!("is not JSON (column {})", error.column())
    } else if quotes.iter().any(|quoting| text.starts_with(quoting)) {
        let expected = text.rsplit_once("expected ").map_or("another value", |(_, rest)| rest);
        format!("expected {expected}")
    } else {
        text.to_owned()
    };
    Error::invalid(name.to_owned(), problem)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Join {
    pub(crate) session_id: SessionId,
    /// The last `seq` that the client has; without it, the join answers with the latest page.
    #[serde(default)]
    pub(crate) after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InSession {
    pub(crate) session_id: SessionId,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Send {
    pub(crate) session_id: SessionId,
    client_id: ClientId,
    kind: MessageKind,
    body: Body,
    #[serde(default)]
    reply_to: Option<MessageId>,
}

impl Send {
    pub(crate) fn into_content(self) -> Content {
        let Self { client_id, kind, body, reply_to, .. } = self;
        Content { client_id, kind, body, reply_to }
    }
}

/// What is sent, by whatever way.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Content {
    pub(crate) client_id: ClientId,
    pub(crate) kind: MessageKind,
    pub(crate) body: Body,
    #[serde(default)]
    pub(crate) reply_to: Option<MessageId>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Read {
    pub(crate) session_id: SessionId,
    pub(crate) seq: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthRefresh {
    pub(crate) token: String,
}

/// Law I14: a token never reaches a log, not by `{:?}` either.
impl std::fmt::Debug for AuthRefresh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AuthRefresh")
    }
}

/// What the server says to one connection of its own accord. What goes to many is a
/// [`broadcast::Broadcast`].
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Notice {
    AuthExpiring { expires_at: Timestamp },
    Draining { reconnect_after_ms: u64 },
}

impl Notice {
    pub(crate) fn event(&self) -> &'static str {
        match self {
            Self::AuthExpiring { .. } => "auth:expiring",
            Self::Draining { .. } => "server:draining",
        }
    }
}

/// How events are written for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON object in each text frame, as `docs/protocol.md` says.
    Native,
    /// Socket.IO packets in Engine.IO messages.
    SocketIo,
}

impl Framing {
    /// The answer to the request of this id.
    pub(crate) fn answer(self, id: u64, result: Result<&RawValue, &Error>) -> Utf8Bytes {
        match self {
            Self::Native => native::answer(id, result),
            Self::SocketIo => socketio::answer(id, result),
        }
    }

    /// Something that the server says.
    pub(crate) fn push(self, event: &str, data: &RawValue) -> Utf8Bytes {
        match self {
            Self::Native => native::push(event, data),
            Self::SocketIo => socketio::push(event, data),
        }
    }
}

/// What a connection hears from its client, whatever carries it.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Something to do, or what is wrong with it, and the id under which the client waits for it.
    Request { id: Option<u64>, event: Result<ClientEvent, Error> },
    /// A sign of life and no more.
    Alive,
    /// The connection is to end.
    End(CloseCode),
    /// Nobody is there any more.
    Gone,
}

/// Why a connection is closed; `docs/protocol.md` says what a client does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// The client said goodbye.
    Bye,
    /// The node shuts down: come back, with jitter.
    Draining,
    /// A frame over the limit.
    TooBig,
    /// A frame that is none, or not of this protocol.
    BadFrame,
    /// The token is missing, bad or expired.
    Unauthorized,
    /// The outbound queue is full: come back with `after`.
    SlowReader,
}

impl CloseCode {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Bye => 1000,
            Self::Draining => 1001,
            Self::TooBig => 1009,
            Self::BadFrame => 4400,
            Self::Unauthorized => 4401,
            Self::SlowReader => 4408,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Draining => "draining: reconnect",
            Self::TooBig => "frame too big",
            Self::BadFrame => "bad frame",
            Self::Unauthorized => "token missing, bad or expired",
            Self::SlowReader => "slow reader: reconnect with after",
        }
    }
}

/// A new `UUIDv7`.
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}
