//! The protocol as clients see it: requests and answers, server events, framings, errors, close codes, and
//! the document of them all.

pub mod answers;
pub mod asyncapi;
pub mod engineio;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod native;
pub mod offset;
pub mod problem;
pub mod problems;
pub mod requests;
pub mod server_events;
pub mod socketio;

use std::fmt;

use axum::extract::ws::Utf8Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Visitor},
};
use serde_json::{json, value::RawValue};
use strum::EnumIter;
use utoipa::openapi::{RefOr, Schema};

use crate::error::Error;
use platform::openapi::schema;
pub use requests::{
    Amend, AuthRefresh, ClientEvent, Content, InSession, Join, Post, Read, Send, What,
};

/// Parses a JSON object. An error names the field.
pub fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    // An array of the right values would also parse: its order must not become part of our API.
    if !is_object(json) {
        return Err(Error::invalid("request", "expected a JSON object"));
    }
    let mut reading = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut reading)
        .map_err(|error| invalid(&error.path().to_string(), error.inner()))?;
    reading.end().map_err(|error| invalid(".", &error))?;
    Ok(value)
}

/// Whether a JSON text is an object, provided that it is valid.
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Parses a count. JSON has one type of number, so `8.0` is a whole number: some clients write it
/// so.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Whole;

    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a whole number")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
            model::person::as_whole(number)
                .ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
        }
    }

    deserializer.deserialize_any(Whole)
}

/// The same for an optional count.
pub fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Count(#[serde(deserialize_with = "whole")] u64);
    Ok(Option::<Count>::deserialize(deserializer)?.map(|Count(count)| count))
}

/// Description of a JSON error, without any part of the input.
///
/// `serde_json` quotes the value (`invalid type: string "…"`, ``unknown variant `…` ``), which may
/// be a body or a token.
fn invalid(path: &str, error: &serde_json::Error) -> Error {
    // For a text that is not JSON, the path may contain a field name of the client.
    let name = if path == "." || !error.is_data() { "request" } else { path };
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let quotes = ["invalid type", "invalid value", "unknown variant", "unknown field"];
    let problem = if !error.is_data() {
        format!("is not JSON (column {})", error.column())
    } else if text.starts_with("UUID") {
        // The original text quotes the wrong character.
        "must be a UUID".to_owned()
    } else if quotes.iter().any(|quoting| text.starts_with(quoting)) {
        let expected = text.rsplit_once("expected ").map_or("another value", |(_, rest)| rest);
        format!("expected {expected}")
    } else {
        text.to_owned()
    };
    Error::invalid(name.to_owned(), problem)
}

/// Format of events on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object in each text frame, as described in `docs/protocol.md`.
    Native,
    /// Socket.IO packets in Engine.IO messages.
    SocketIo,
}

impl Framing {
    /// The answer to the request with this id.
    pub fn answer(self, id: u64, result: Result<&RawValue, &Error>) -> Utf8Bytes {
        match self {
            Self::Native => native::answer(id, result),
            Self::SocketIo => socketio::answer(id, result),
        }
    }

    /// A server event.
    pub fn push(self, event: &str, data: &RawValue) -> Utf8Bytes {
        match self {
            Self::Native => native::push(event, data),
            Self::SocketIo => socketio::push(event, data),
        }
    }
}

/// A parsed frame or packet from a client, in either framing.
#[derive(Debug)]
pub enum Incoming {
    /// A request.
    Request {
        /// Id for the answer, if one is expected.
        id: Option<u64>,
        /// The event, or the error in it.
        event: Result<ClientEvent, Error>,
    },
    /// A sign of life only.
    Alive,
    /// The connection must be closed.
    End(CloseCode),
    /// The client has disconnected.
    Gone,
}

/// Reason why a connection is closed. `docs/protocol.md` describes the client's reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum CloseCode {
    /// A normal close by the client.
    Bye,
    /// The node shuts down: reconnect, with jitter.
    Draining,
    /// A frame over the limit.
    TooBig,
    /// A frame that can't be parsed, or is not of this protocol.
    BadFrame,
    /// The token is missing, invalid or expired.
    Unauthorized,
    /// The person is blocked.
    NotAllowed,
    /// The outbound queue is full: reconnect with `after`.
    SlowReader,
    /// The client continues to exceed a rate limit despite its errors.
    Flooding,
    /// The user or the address has reached its maximum of connections.
    TooManyConnections,
}

impl CloseCode {
    /// Code of the close frame.
    pub fn code(self) -> u16 {
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

    /// Reason in the close frame.
    pub fn reason(self) -> &'static str {
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

/// Schema of a message id.
pub fn message_id() -> RefOr<Schema> {
    schema(&json!({ "type": "string", "format": "uuid" }))
}

/// Token without the scheme `Bearer`, which some clients add in every place.
pub fn without_scheme(token: &str) -> &str {
    token.strip_prefix("Bearer ").unwrap_or(token).trim()
}
