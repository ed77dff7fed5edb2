//! Client events: one line per event, for parsing and documentation.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    answers::{Changed, Joined, Nothing, Position, Refreshed, Sent},
    object, whole, whole_or_none,
};
use crate::error::Error;
use model::{
    ids::{EpochId, MessageId, SessionId},
    image::ImageKey,
    message::{Body, ClientId, Emoji, MessageKind, Visibility, amend::Amendment},
};
use platform::openapi::{self, Documented, reference};

/// A client event.
pub struct Request {
    /// Name of the event.
    pub name: &'static str,
    read: fn(&[u8]) -> Result<ClientEvent, Error>,
    /// Types of its data and of its answer, for the AsyncAPI document.
    pub data: Documented,
    /// Type of the answer's data.
    pub answer: Documented,
}

macro_rules! requests {
    ($($name:literal $data:ty, $event:expr, $answer:ty;)*) => {
        &[$(Request {
            name: $name,
            read: |data| object::<$data>(data).and_then($event),
            data: Documented::of::<$data>(),
            answer: Documented::of::<$answer>(),
        }),*]
    };
}

/// All client events: the type of the data, its conversion, and the type of the answer.
pub static REQUESTS: &[Request] = requests! {
    "session:join" Join, |data| Ok(ClientEvent::Join(data)), Joined<'_>;
    "session:leave" InSession, |data| Ok(ClientEvent::Leave(data)), Nothing;
    "message:send" SessionPost, |data| data.0.into_send().map(ClientEvent::Send), Sent;
    "message:edit" Edit, |data| Ok(ClientEvent::Amend(data.into())), Changed;
    "message:delete" Delete, |data| Ok(ClientEvent::Amend(data.into())), Changed;
    "message:react" React, |data| Ok(ClientEvent::Amend(data.into())), Changed;
    "message:read" Read, |data| Ok(ClientEvent::Read(data)), Position;
    "typing:start" InSession, |data| Ok(ClientEvent::TypingStart(data)), Nothing;
    "typing:stop" InSession, |data| Ok(ClientEvent::TypingStop(data)), Nothing;
    "auth:refresh" AuthRefresh, |data| Ok(ClientEvent::AuthRefresh(data)), Refreshed;
};

/// A request of a client; [`ClientEvent::parse`] reads it.
#[derive(Debug)]
pub enum ClientEvent {
    /// `session:join`
    Join(Join),
    /// `session:leave`
    Leave(InSession),
    /// `message:send`
    Send(Send),
    /// `message:edit`, `message:delete` and `message:react`
    Amend(Amend),
    /// `message:read`
    Read(Read),
    /// `typing:start`
    TypingStart(InSession),
    /// `typing:stop`
    TypingStop(InSession),
    /// `auth:refresh`
    AuthRefresh(AuthRefresh),
}

impl ClientEvent {
    /// Parses an event's data. An error names the field.
    pub fn parse(name: &str, data: Option<&RawValue>) -> Result<Self, Error> {
        let request = REQUESTS.iter().find(|request| request.name == name);
        let read = request.ok_or(Error::UnknownEvent)?.read;
        read(data.map_or("{}", RawValue::get).as_bytes())
    }
}

/// Data of `session:join`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = JoinData)]
pub struct Join {
    /// The session.
    pub session_id: SessionId,
    /// The last `seq` that the client has. Without it, the answer has the latest page.
    #[serde(default, deserialize_with = "whole_or_none")]
    #[schema(schema_with = openapi::count, required = false)]
    pub after: Option<u64>,
    /// The epoch of `after`, as received from the server. Without it the server can't detect that
    /// the client's numbers are outdated.
    #[serde(default)]
    #[schema(required = false)]
    pub epoch: Option<EpochId>,
    /// The session's revision that the client has. The answer contains the messages changed since.
    #[serde(default, deserialize_with = "whole_or_none")]
    #[schema(schema_with = openapi::count, required = false)]
    pub rev: Option<u64>,
}

/// Data of an event that names a session alone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InSessionData)]
pub struct InSession {
    /// The session.
    pub session_id: SessionId,
}

/// A message to send.
#[derive(Debug)]
pub struct Send {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    pub content: Content,
    /// Whether it goes into the session or into its notes.
    pub visibility: Visibility,
}

/// A message as written by a client, on a socket or in an HTTP body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    /// Only on a socket; over HTTP it is in the path.
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
    /// `private`: into the notes of the session.
    #[serde(default)]
    visibility: Option<Visibility>,
}

/// A text has a body; a picture has a key, and optionally a body.
impl PartialSchema for Post {
    fn schema() -> RefOr<Schema> {
        let in_both = |kind: &str, required: &str, body: Value, image_key: Value| {
            json!({
                "type": "object",
                "required": ["clientId", "kind", required],
                "properties": {
                    "clientId": reference::<ClientId>(),
                    "kind": { "type": "string", "enum": [kind] },
                    "body": body,
                    "imageKey": image_key,
                    "replyTo": { "type": ["string", "null"], "format": "uuid" },
                    "visibility": { "oneOf": [{ "type": "null" }, reference::<Visibility>()] },
                },
            })
        };
        let (body, nothing) = (json!(reference::<Body>()), json!({ "type": "null" }));
        let or_none = json!({ "oneOf": [nothing, body] });
        openapi::schema(&json!({ "oneOf": [
            in_both("text", "body", body, nothing),
            in_both("image", "imageKey", or_none, json!(reference::<ImageKey>())),
        ] }))
    }
}

impl ToSchema for Post {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ClientId::name().into(), ClientId::schema()));
        schemas.push((Body::name().into(), Body::schema()));
        schemas.push((ImageKey::name().into(), ImageKey::schema()));
        schemas.push((Visibility::name().into(), Visibility::schema()));
    }
}

/// The same on a socket, with the session in the data.
#[derive(Deserialize)]
#[serde(transparent)]
struct SessionPost(Post);

impl PartialSchema for SessionPost {
    fn schema() -> RefOr<Schema> {
        openapi::schema(&json!({ "allOf": [reference::<Post>(), {
            "type": "object",
            "required": ["sessionId"],
            "properties": { "sessionId": reference::<SessionId>() },
        }] }))
    }
}

impl ToSchema for SessionPost {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Post::name().into(), Post::schema()));
        schemas.push((SessionId::name().into(), SessionId::schema()));
        Post::schemas(schemas);
    }
}

impl Post {
    fn into_send(self) -> Result<Send, Error> {
        let session_id =
            self.session_id.ok_or_else(|| Error::invalid("sessionId", "is missing"))?;
        let (content, visibility) = self.into_content()?;
        Ok(Send { session_id, content, visibility })
    }

    /// Checks that the fields fit the kind.
    pub fn into_content(self) -> Result<(Content, Visibility), Error> {
        let Self { client_id, kind, body, image_key, reply_to, visibility, .. } = self;
        let what = match (kind, body, image_key) {
            (MessageKind::Text, Some(body), None) => What::Text(body),
            (MessageKind::Text, None, _) => return Err(Error::invalid("body", "is missing")),
            (MessageKind::Text, ..) => {
                return Err(Error::invalid("imageKey", "belongs to the kind image"));
            }
            (MessageKind::Image, caption, Some(key)) => What::Image { key, caption },
            (MessageKind::Image, ..) => return Err(Error::invalid("imageKey", "is missing")),
        };
        Ok((Content { client_id, what, reply_to }, visibility.unwrap_or_default()))
    }
}

/// Content of a send, over any transport.
#[derive(Debug)]
pub struct Content {
    /// The sender's own id.
    pub client_id: ClientId,
    /// The text or the picture.
    pub what: What,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
}

/// Content of a message.
#[derive(Debug)]
pub enum What {
    /// A text.
    Text(Body),
    /// A picture that was uploaded under this key.
    Image {
        /// Name of the uploaded picture.
        key: String,
        /// Text below the picture.
        caption: Option<Body>,
    },
}

/// A change of one message.
#[derive(Debug)]
pub struct Amend {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    pub message_id: MessageId,
    /// The change.
    pub amendment: Amendment,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EditData)]
struct Edit {
    session_id: SessionId,
    #[schema(schema_with = super::message_id)]
    message_id: MessageId,
    body: Body,
}

impl From<Edit> for Amend {
    fn from(Edit { session_id, message_id, body }: Edit) -> Self {
        Self { session_id, message_id, amendment: Amendment::Edit(body) }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeleteData)]
struct Delete {
    session_id: SessionId,
    #[schema(schema_with = super::message_id)]
    message_id: MessageId,
}

impl From<Delete> for Amend {
    fn from(Delete { session_id, message_id }: Delete) -> Self {
        Self { session_id, message_id, amendment: Amendment::Delete }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReactData)]
struct React {
    session_id: SessionId,
    #[schema(schema_with = super::message_id)]
    message_id: MessageId,
    emoji: Emoji,
    #[serde(default = "yes")]
    #[schema(required = false, default = true)]
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

/// Data of `message:read`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReadData)]
pub struct Read {
    /// The session.
    pub session_id: SessionId,
    /// Everything up to this `seq` is read.
    #[serde(deserialize_with = "whole")]
    #[schema(schema_with = openapi::count)]
    pub seq: u64,
}

/// Data of `auth:refresh`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuthRefreshData)]
pub struct AuthRefresh {
    /// The new token.
    pub token: String,
}

/// Law I14: a token never reaches a log, not even by `{:?}`.
impl std::fmt::Debug for AuthRefresh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AuthRefresh")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let read = |seq: &str| {
            let data =
                format!(r#"{{"sessionId":"0193c3a0-0000-7000-8000-000000000000","seq":{seq}}}"#);
            let data = RawValue::from_string(data).unwrap();
            match ClientEvent::parse("message:read", Some(&data)) {
                Ok(ClientEvent::Read(read)) => Ok(read.seq),
                Ok(event) => panic!("{event:?}"),
                Err(error) => Err(error.to_string()),
            }
        };
        for (written, seq) in [("8", 8), ("8.0", 8), ("0.0", 0), ("1e3", 1_000)] {
            assert_eq!(read(written), Ok(seq));
        }
        assert_eq!(read("18446744073709551615"), Ok(u64::MAX));
        for odd in ["8.5", "-1", "-1.0", "9007199254740993.0", "\"8\"", "null", "[8]"] {
            assert_eq!(read(odd), Err("seq: expected a whole number".to_owned()), "{odd}");
        }
    }
}
