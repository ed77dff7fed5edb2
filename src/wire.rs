//! The one event vocabulary: what clients say, what the server says, and why a connection ends.
//! Framings (`wire/`) carry it.

pub(crate) mod broadcast;
pub(crate) mod engineio;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
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
    message::{Body, ClientId, Emoji, MessageId, MessageKind, amend::Amendment},
    session::SessionId,
};

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    Join(Join),
    Leave(InSession),
    Send(Send),
    Amend(Amend),
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
            "message:send" => parse::<Post>(data)?.into_send().map(Self::Send),
            "message:edit" => parse::<Edit>(data).map(|edit| Self::Amend(edit.into())),
            "message:delete" => parse::<Delete>(data).map(|delete| Self::Amend(delete.into())),
            "message:react" => parse::<React>(data).map(|react| Self::Amend(react.into())),
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
    // Where it is no JSON the path may be the client's own: a field that we don't know.
    let name = if path == "." || !error.is_data() { "request" } else { path };
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let quotes = ["invalid type", "invalid value", "unknown variant", "unknown field"];
    let problem = if !error.is_data() {
        format!("is not JSON (column {})", error.column())
    } else if text.starts_with("UUID") {
        // It quotes the character that is wrong.
        "must be a UUID".to_owned()
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
    /// The session's revision that the client knows: it is told what has changed since.
    #[serde(default)]
    pub(crate) rev: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InSession {
    pub(crate) session_id: SessionId,
}

/// A message to send.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) session_id: SessionId,
    pub(crate) content: Content,
}

/// A message as a client writes it, on a socket or in a body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Post {
    /// On a socket; over HTTP the path has it.
    #[serde(default)]
    session_id: Option<SessionId>,
    client_id: ClientId,
    kind: MessageKind,
    #[serde(default)]
    body: Option<Body>,
    #[serde(default)]
    image_key: Option<String>,
    #[serde(default)]
    reply_to: Option<MessageId>,
}

impl Post {
    fn into_send(self) -> Result<Send, Error> {
        let session_id =
            self.session_id.ok_or_else(|| Error::invalid("sessionId", "is missing"))?;
        Ok(Send { session_id, content: self.into_content()? })
    }

    pub(crate) fn into_content(self) -> Result<Content, Error> {
        let Self { client_id, kind, body, image_key, reply_to, .. } = self;
        let what = match (kind, body, image_key) {
            (MessageKind::Text, Some(body), None) => What::Text(body),
            (MessageKind::Text, None, _) => return Err(Error::invalid("body", "is missing")),
            (MessageKind::Text, ..) => {
                return Err(Error::invalid("imageKey", "belongs to the kind image"));
            }
            (MessageKind::Image, caption, Some(key)) => What::Image { key, caption },
            (MessageKind::Image, ..) => return Err(Error::invalid("imageKey", "is missing")),
        };
        Ok(Content { client_id, what, reply_to })
    }
}

/// What is sent, by whatever way.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) client_id: ClientId,
    pub(crate) what: What,
    pub(crate) reply_to: Option<MessageId>,
}

/// What a message is to hold.
#[derive(Debug)]
pub(crate) enum What {
    Text(Body),
    /// A picture that was uploaded under this key.
    Image {
        key: String,
        caption: Option<Body>,
    },
}

/// A change of one message.
#[derive(Debug)]
pub(crate) struct Amend {
    pub(crate) session_id: SessionId,
    pub(crate) message_id: MessageId,
    pub(crate) amendment: Amendment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Edit {
    session_id: SessionId,
    message_id: MessageId,
    body: Body,
}

impl From<Edit> for Amend {
    fn from(Edit { session_id, message_id, body }: Edit) -> Self {
        Self { session_id, message_id, amendment: Amendment::Edit(body) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delete {
    session_id: SessionId,
    message_id: MessageId,
}

impl From<Delete> for Amend {
    fn from(Delete { session_id, message_id }: Delete) -> Self {
        Self { session_id, message_id, amendment: Amendment::Delete }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct React {
    session_id: SessionId,
    message_id: MessageId,
    emoji: Emoji,
    #[serde(default = "yes")]
    on: bool,
}

fn yes() -> bool {
    true
}

impl From<React> for Amend {
    fn from(React { session_id, message_id, emoji, on }: React) -> Self {
        Self { session_id, message_id, amendment: Amendment::React { emoji, on } }
    }
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
    /// The person is blocked.
    NotAllowed,
    /// The outbound queue is full: come back with `after`.
    SlowReader,
    /// The client goes on asking for too much, though it is told.
    Flooding,
    /// The user or the address has as many connections as it may have.
    TooManyConnections,
}

impl CloseCode {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Bye => 1000,
            Self::Draining => 1001,
            Self::TooBig => 1009,
            Self::BadFrame => 4400,
            Self::Unauthorized => 4401,
            Self::NotAllowed => 4403,
            Self::SlowReader => 4408,
            Self::Flooding | Self::TooManyConnections => 4429,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Draining => "draining: reconnect",
            Self::TooBig => "frame too big",
            Self::BadFrame => "bad frame",
            Self::Unauthorized => "token missing, bad or expired",
            Self::NotAllowed => "not allowed",
            Self::SlowReader => "slow reader: reconnect with after",
            Self::Flooding => "flooding: reconnect later, and send less",
            Self::TooManyConnections => "too many connections",
        }
    }
}

/// A new `UUIDv7`.
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}
