//! Frames, packets and envelopes: properties that hold for all bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a finding is a panic"
)]

use std::str::from_utf8;

use axum::http::HeaderValue;
use serde_json::{Value, json};

use super::{
    Amend, ClientEvent, Content, Incoming, Send, What, engineio, native, offset::Offset, socketio,
};
use crate::error::Error;
use model::{
    message::{Body, ClientId, Emoji, Visibility, amend::Amendment},
    person::PersonId,
    profile::{AvatarUrl, Email},
};

/// Names of fields that clients send, and of errors about the whole request.
const NAMES: [&str; 41] = [
    "Host",
    "after",
    "assigneeId",
    "auth.token",
    "before",
    "body",
    "clientId",
    "clientIds",
    "contentType",
    "cursor",
    "customerId",
    "dentistId",
    "emoji",
    "epoch",
    "fileName",
    "id",
    "imageKey",
    "issuer",
    "jwksUrl",
    "kind",
    "limit",
    "messageId",
    "muted",
    "name",
    "on",
    "q",
    "query",
    "replyTo",
    "request",
    "rev",
    "role",
    "secret",
    "seq",
    "sessionId",
    "size",
    "snoozedUntil",
    "status",
    "suspended",
    "token",
    "user",
    "visibility",
];

/// All words that occur in error texts.
const WORDS: &str = "a an and any at or of is in it not be no to the this that than must have hold contain may one least \
    missing field duplicate expected string integer boolean sequence map struct option JSON object column \
    number formatted u64 u32 i64 UUID variant identifier value another belongs for without required has wrong type customer \
    dentist empty only blanks most characters character visible ASCII control slashes NUL text image \
    open pending snoozed closed public private from A Z z begin bot system time such as 2026 01 31T09 00 00Z whole nextCursor page list parameter can t read bytes invalid length element \
    elements Post Join InSession Edit Delete React Read AuthRefresh Open Change Ask emoji imageKey \
    service URL query unless ALLOW_INSECURE start line one starts with https http user password slash its end django cognito texts most jpeg png webp heic gif supported picture choose PNG WebP HEIC GIF";

/// An error names a field of ours and quotes nothing.
pub fn is_plain(error: &Error) {
    let Error::Invalid(name, problem) = error else { return };
    // An item of a list is named by its place.
    let field = name.split('[').next().unwrap_or_default();
    assert!(NAMES.contains(&field), "the name {name:?}");
    for word in problem.split(|letter: char| !letter.is_alphanumeric()) {
        let known = word.is_empty()
            || word.bytes().all(|byte| byte.is_ascii_digit())
            || NAMES.contains(&word)
            || WORDS.split_whitespace().any(|known| known == word);
        assert!(known, "the word {word:?} in {problem:?}");
    }
}

/// An event as a client writes it.
fn written(event: &ClientEvent) -> (&'static str, Value) {
    let in_session = |session_id| json!({ "sessionId": session_id });
    match event {
        ClientEvent::Join(join) => (
            "session:join",
            json!({
                "sessionId": join.session_id,
                "after": join.after,
                "epoch": join.epoch,
                "rev": join.rev,
            }),
        ),
        ClientEvent::Leave(leave) => ("session:leave", in_session(leave.session_id)),
        ClientEvent::Send(send) => ("message:send", sent(send)),
        ClientEvent::Amend(amend) => amended(amend),
        ClientEvent::Read(read) => {
            ("message:read", json!({ "sessionId": read.session_id, "seq": read.seq }))
        }
        ClientEvent::TypingStart(typing) => ("typing:start", in_session(typing.session_id)),
        ClientEvent::TypingStop(typing) => ("typing:stop", in_session(typing.session_id)),
        ClientEvent::AuthRefresh(refresh) => ("auth:refresh", json!({ "token": refresh.token })),
    }
}

fn sent(Send { session_id, content, visibility }: &Send) -> Value {
    let mut post = posted(content, *visibility);
    post["sessionId"] = json!(session_id);
    post
}

/// A message as a client writes it, over any transport.
pub fn posted(Content { client_id, what, reply_to }: &Content, visibility: Visibility) -> Value {
    assert!((1..=64).contains(&client_id.as_str().len()));
    let (kind, body, key) = match what {
        What::Text(body) => ("text", Some(body), None),
        What::Image { key, caption } => ("image", caption.as_ref(), Some(key)),
    };
    body.map(is_bounded);
    json!({
        "clientId": client_id,
        "kind": kind,
        "body": body,
        "imageKey": key,
        "replyTo": reply_to,
        "visibility": visibility,
    })
}

fn amended(Amend { session_id, message_id, amendment }: &Amend) -> (&'static str, Value) {
    let mut data = json!({ "sessionId": session_id, "messageId": message_id });
    let event = match amendment {
        Amendment::Edit(body) => {
            is_bounded(body);
            data["body"] = json!(body);
            "message:edit"
        }
        Amendment::Delete => "message:delete",
        Amendment::React { emoji, on } => {
            data["emoji"] = json!(emoji);
            data["on"] = json!(on);
            "message:react"
        }
    };
    (event, data)
}

/// A body obeys its length limit, and its JSON is not longer than `json_len`.
fn is_bounded(body: &Body) {
    let count = body.as_str().chars().count();
    assert!((1..=model::message::BODY_MAX_CHARS).contains(&count));
    let json = json!(body).to_string();
    assert!(json.len() - 2 <= body.json_len());
}

/// A parsed event parses to the same again after serialization, in either framing.
fn is_understood(event: &Result<ClientEvent, Error>) {
    let event = match event {
        Err(error) => return is_plain(error),
        Ok(event) => event,
    };
    let (name, data) = written(event);
    let frame = json!({ "id": 1, "event": name, "data": data }).to_string();
    let Incoming::Request { id: Some(1), event: Ok(again) } = native::parse(&frame) else {
        panic!("a frame of our own: {name}")
    };
    assert_eq!(written(&again), (name, data.clone()));
    let packet = format!("21{}", json!([name, data]));
    let Ok(socketio::Packet::Event { id: Some(1), event: Ok(again) }) = socketio::parse(&packet)
    else {
        panic!("a packet of our own: {name}")
    };
    assert_eq!(written(&again), (name, data));
}

/// A frame of the native framing.
pub fn frames(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    match native::parse(text) {
        Incoming::Request { id, event } => {
            is_understood(&event);
            if let (Some(id), Err(error)) = (id, &event) {
                let answer: Value =
                    serde_json::from_str(native::answer(id, Err(error)).as_str()).unwrap();
                assert_eq!((&answer["id"], &answer["ok"]), (&json!(id), &json!(false)));
            }
        }
        Incoming::End(code) => assert_eq!(code.code(), 4400),
        other => panic!("{other:?}"),
    }
}

/// A poll's body, and each of its Engine.IO and Socket.IO packets.
pub fn packets(bytes: &[u8]) {
    let Ok(body) = from_utf8(bytes) else { return };
    if bytes.len() > engineio::PACKET_MAX {
        return;
    }
    let packets = engineio::split(bytes, bytes.len().max(1));
    assert_eq!(engineio::split(bytes, 7), packets, "however it is cut");
    let packets: Vec<_> = packets.into_iter().map(Into::into).collect();
    if packets.iter().all(|packet: &axum::extract::ws::Utf8Bytes| !packet.is_empty()) {
        assert_eq!(engineio::join(&packets), body);
    }
    for packet in &packets {
        if let Ok(engineio::Packet::Message(message)) = engineio::parse(packet) {
            assert_eq!(packet.strip_prefix('4'), Some(message));
            message_of(message);
        }
    }
    if let Ok(offset) = body.parse() {
        is_brought_back(&offset);
    }
}

fn message_of(message: &str) {
    match socketio::parse(message) {
        Ok(socketio::Packet::Connect { namespace, auth }) => {
            assert!(namespace.starts_with('/') && !namespace.contains(','));
            match auth.token() {
                Ok(token) => assert_ne!(token, Some("")),
                Err(error) => is_plain(&error),
            }
            if let Some((pid, offset)) = auth.recovery() {
                assert!(pid.len() <= 64 && pid.is_ascii());
                is_brought_back(&offset);
            }
            let refused = socketio::connect_error(namespace, "no", Some(&Error::TokenMissing));
            let rest = refused.strip_prefix("44").unwrap();
            let (to, why) = rest.split_at(rest.find('{').unwrap());
            if namespace == socketio::NAMESPACE {
                assert_eq!(to, "");
            } else if !namespace.contains('{') {
                assert_eq!(to.strip_suffix(','), Some(namespace));
                assert!(serde_json::from_str::<Value>(why).is_ok());
            }
        }
        Ok(socketio::Packet::Event { id, event }) => {
            is_understood(&event);
            if let (Some(id), Err(error)) = (id, &event) {
                let answer = socketio::answer(id, Err(error));
                let json = answer.strip_prefix(&format!("43{id}")).unwrap();
                assert_eq!(serde_json::from_str::<Value>(json).unwrap()[0]["ok"], false);
            }
        }
        Ok(socketio::Packet::BinaryEvent { attachments, .. }) => assert!(attachments <= 10),
        Ok(socketio::Packet::Disconnect) => assert!(message.starts_with('1')),
        Ok(socketio::Packet::Ack) | Err(socketio::BadPacket) => {}
    }
}

/// An offset is small, and survives serialization.
fn is_brought_back(offset: &Offset) {
    assert!(offset.positions.len() <= super::offset::SESSIONS_MAX);
    assert!(offset.positions.values().all(|place| place.beyond.len() <= 32));
    assert_eq!(&offset.to_string().parse::<Offset>().unwrap(), offset);
}

/// Names and texts of people.
pub fn names(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<PersonId>() {
        assert_eq!(id.as_str(), text);
        assert!(HeaderValue::from_str(text).is_ok());
    }
    if let Ok(id) = text.parse::<ClientId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(url) = text.parse::<AvatarUrl>() {
        assert!(url.as_str().starts_with("http") && url.as_str().is_ascii());
        assert!(url.as_str().len() <= 2_000);
        assert_eq!(url.as_str().parse::<AvatarUrl>().ok().as_ref(), Some(&url));
    }
    if text.parse::<Email>().is_ok() {
        assert!(text.contains('@') && !text.trim().contains(char::is_control));
    }
    if let Ok(emoji) = text.parse::<Emoji>() {
        let json = serde_json::to_value(&emoji).unwrap();
        assert_eq!(json.as_str().unwrap().parse::<Emoji>().ok().as_ref(), Some(&emoji));
    }
    if let Ok(body) = Body::try_from(text.to_owned()) {
        assert_eq!(body.as_str(), text);
    }
}

#[cfg(test)]
mod tests {
    use platform::openapi::Schemas;

    use super::*;
    use crate::requests::REQUESTS;

    /// A field added to a request is known here before a fuzzer meets it.
    #[test]
    fn all_fields_of_requests_are_known() {
        let mut schemas = Schemas::new();
        for request in REQUESTS {
            request.data.tell(&mut schemas);
        }
        let mut count = 0;
        for (name, schema) in schemas {
            let schema = json!(schema);
            for field in
                schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys())
            {
                assert!(NAMES.contains(&field.as_str()), "{field} of {name}");
                count += 1;
            }
        }
        assert!(count >= 15, "{count}");
    }
}
