//! Events for all subscribers of a room, and the envelope in which they travel between nodes.
//!
//! Law I9: each node encodes an event once for each framing, however many connections receive it.
//! Law I12: the envelope carries a version. A node ignores unknown fields, and whole envelopes of
//! an unknown version (the head check recovers their content).

mod spans;
mod version_0;

use std::{fmt, str::FromStr, sync::OnceLock};

use axum::extract::ws::Utf8Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    person,
    span::BusSpan,
    times::{DeliveryTimes, SendTime},
};
use model::{
    ids::{SessionId, SessionKey},
    message::{ClientId, Message},
    person::Person,
    session::{Delivered, Session},
};
use platform::{json::lenient, traces::TraceParent};
use protocol::{
    Framing,
    server_events::{
        Event, MessageDelivered, MessageNew, MessageRead, MessageUpdated, NotesUpdated, Presence,
        SessionNew, SessionUpdated, Typing,
    },
};
use version_0::VERSION_0;

/// Envelope version that this node writes.
const VERSION: u32 = 1;

/// Target of an event: a session's room, or all connections of one person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// The connections that have joined a session.
    Session(SessionKey),
    /// All connections of a person.
    User(Person),
}

/// The room's channel on the bus.
impl fmt::Display for Room {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(key) => write!(out, "frontdesk:session:{key}"),
            Self::User(person) => write!(out, "frontdesk:user:{person}"),
        }
    }
}

/// A channel name that is not the name of a room.
#[derive(Debug, thiserror::Error)]
#[error("not the name of a room")]
pub struct NotARoom;

impl FromStr for Room {
    type Err = NotARoom;

    fn from_str(channel: &str) -> Result<Self, Self::Err> {
        let rest = channel.strip_prefix("frontdesk:").ok_or(NotARoom)?;
        if let Some(key) = rest.strip_prefix("session:") {
            return key.parse().map(Self::Session).map_err(|_| NotARoom);
        }
        let person = rest.strip_prefix("user:").ok_or(NotARoom)?;
        person.parse().map(Self::User).map_err(|_| NotARoom)
    }
}

/// One event for a room.
#[derive(Debug)]
pub struct Broadcast {
    /// The receivers.
    pub room: Room,
    envelope: Envelope,
    /// Boxed: few are traced.
    span: Option<Box<BusSpan>>,
    /// Delivery times that this node measures.
    pub times: DeliveryTimes,
    native: OnceLock<Utf8Bytes>,
    socketio: OnceLock<Utf8Bytes>,
}

/// The message on the bus. The head is for the hubs; `data` holds the bytes that clients receive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    v: u32,
    event: String,
    /// The message's `seq`, in an event that is delivered in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The session's revision, in an event about a changed message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<u64>,
    /// The person who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "person::optional")]
    author: Option<Person>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    /// The span of its publish, if its trace is sampled.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "TraceParent::lenient"
    )]
    traceparent: Option<TraceParent>,
    /// Time when the message was received, for measurements only.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    sent: Option<SendTime>,
    data: Box<RawValue>,
}

/// An envelope that this node can't read.
#[derive(Debug, thiserror::Error)]
pub enum BadEnvelope {
    /// Bytes that are no envelope.
    #[error("not an envelope")]
    Malformed,
    /// An envelope of a version that this node does not know.
    #[error("an envelope of version {0}")]
    Version(u32),
}

impl Broadcast {
    fn of(room: Room, envelope: Envelope) -> Self {
        let (span, times) = (None, DeliveryTimes::default());
        let (native, socketio) = (OnceLock::new(), OnceLock::new());
        Self { room, envelope, span, times, native, socketio }
    }

    fn new<E: Event>(room: Room, author: Option<Person>, data: &E) -> Self {
        Self::named(room, E::NAME, author, data)
    }

    fn named(room: Room, event: &str, author: Option<Person>, data: &impl Serialize) -> Self {
        let data = serde_json::value::to_raw_value(data).unwrap_or_default();
        let event = event.to_owned();
        let (v, seq, rev, client_id) = (VERSION, None, None, None);
        let (traceparent, sent) = (None, None);
        let envelope = Envelope { v, event, seq, rev, author, client_id, traceparent, sent, data };
        Self::of(room, envelope)
    }

    /// `message:new`, delivered in order, but not to the connection that sent the message.
    pub fn message_new(message: &Message) -> Self {
        let room = Room::Session(message.session());
        let author = Some(message.sender.person.clone());
        let mut broadcast = Self::new(room, author, &MessageNew { message });
        broadcast.envelope.seq = Some(message.seq);
        broadcast.envelope.client_id = Some(message.client_id.clone());
        broadcast
    }

    /// The same with the time of receipt, so that receiving nodes can measure the delivery time.
    pub fn message_sent(message: &Message, sent: SendTime) -> Self {
        let mut broadcast = Self::message_new(message);
        broadcast.envelope.sent = Some(sent);
        broadcast
    }

    /// The same, read from the store because the bus has lost it.
    pub fn message_filled(message: &Message) -> Self {
        let times = DeliveryTimes::filled(message.created_at);
        Self { times, ..Self::message_new(message) }
    }

    /// `message:updated`: edited, deleted or reacted to.
    pub fn message_updated(message: &Message) -> Self {
        let room = Room::Session(message.session());
        let mut broadcast = Self::new(room, None, &MessageUpdated { message });
        broadcast.envelope.rev = message.rev;
        broadcast
    }

    /// `message:read` for the session.
    pub fn message_read(session_id: SessionId, reader: &Person, seq: u64) -> Self {
        let data = MessageRead { session_id, reader, seq };
        Self::new(Room::Session(reader.session(session_id)), Some(reader.clone()), &data)
    }

    /// `message:delivered`: a device of a member has received the messages up to this one.
    pub fn message_delivered(mark: &Delivered) -> Self {
        let data = MessageDelivered { session_id: mark.session_id, to: &mark.to, seq: mark.seq };
        Self::new(Room::Session(mark.to.session(mark.session_id)), None, &data)
    }

    /// `typing` for the session.
    pub fn typing(session_id: SessionId, who: &Person, on: bool) -> Self {
        let data = Typing { session_id, who, on };
        Self::new(Room::Session(who.session(session_id)), Some(who.clone()), &data)
    }

    /// `presence`, for the connections that watch this person.
    pub fn presence(who: &Person, online: bool, last_seen: Option<Timestamp>) -> Self {
        Self::new(Room::User(who.clone()), None, &Presence { who, online, last_seen })
    }

    /// `session:new`, with the session as seen by the receiver.
    pub fn session_new(to: Person, session: &Session) -> Self {
        Self::new(Room::User(to), None, &SessionNew { session })
    }

    /// `session:updated`, with the session as seen by the receiver. For notes it is `notes:updated`: an app that does not
    /// know them must not list them as a session.
    pub fn session_updated(to: Person, session: &Session) -> Self {
        if session.notes_of.is_some() {
            return Self::new(Room::User(to), None, &NotesUpdated { session });
        }
        Self::new(Room::User(to), None, &SessionUpdated { session })
    }

    /// The message's `seq`, in an event that is delivered in order.
    pub fn seq(&self) -> Option<u64> {
        self.envelope.seq
    }

    /// The session's revision, in an event about a changed message.
    pub fn rev(&self) -> Option<u64> {
        self.envelope.rev
    }

    /// Times of the send, if its node measures them.
    pub fn sent(&self) -> Option<SendTime> {
        self.envelope.sent
    }

    /// The person who caused it.
    pub fn author(&self) -> Option<&Person> {
        self.envelope.author.as_ref()
    }

    /// The sender's `clientId`.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.envelope.client_id.as_ref()
    }

    /// Whether the author's own connections are skipped: nobody needs to see themselves type.
    pub fn is_for_others_only(&self) -> bool {
        self.envelope.event == Typing::NAME
    }

    /// Approximate bytes in any framing.
    pub fn size(&self) -> usize {
        self.envelope.event.len() + self.envelope.data.get().len()
    }

    /// The frame in a framing, encoded on first use.
    pub fn text(&self, framing: Framing) -> Utf8Bytes {
        let made = match framing {
            Framing::Native => &self.native,
            Framing::SocketIo => &self.socketio,
        };
        made.get_or_init(|| framing.push(&self.envelope.event, &self.envelope.data)).clone()
    }

    /// The bytes on the bus.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.envelope).unwrap_or_default()
    }

    /// Parses an envelope from another node.
    pub fn from_bytes(room: Room, bytes: &[u8]) -> Result<Self, BadEnvelope> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let envelope = serde_json::from_slice::<Envelope>(bytes);
        match envelope {
            Ok(envelope) if matches!(envelope.v, VERSION | VERSION_0) => {
                Ok(Self { times: DeliveryTimes::received_now(), ..Self::of(room, envelope) })
            }
            _ => Err(serde_json::from_slice::<Version>(bytes)
                .ok()
                .filter(|version| version.v != VERSION)
                .map_or(BadEnvelope::Malformed, |version| BadEnvelope::Version(version.v))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ControlMessage;
    use model::ids::TenantId;
    use model::person::Side;
    use platform::new_id;

    #[test]
    fn i9_a_broadcast_is_encoded_once() {
        let session_id = SessionId(new_id());
        let who = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let broadcast = Broadcast::typing(session_id, &who, true);
        for framing in [Framing::Native, Framing::SocketIo] {
            let (first, second) = (broadcast.text(framing), broadcast.text(framing));
            assert_eq!(first.as_str().as_ptr(), second.as_str().as_ptr(), "the same bytes");
        }
    }

    #[test]
    fn i12_an_envelope_with_more_in_it_is_read_and_one_of_another_version_is_not() {
        let room = Room::Session(TenantId::MAIN.session(SessionId(new_id())));
        let more = br#"{"v":1,"event":"x","data":{"a":1},"later":true}"#;
        let broadcast = Broadcast::from_bytes(room.clone(), more).unwrap();
        assert_eq!(broadcast.text(Framing::Native).as_str(), r#"{"event":"x","data":{"a":1}}"#);
        // An event for nodes only has a version that earlier nodes ignore, and clients never
        // receive it.
        let person = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        for (message, event) in [
            (ControlMessage::BlocksChanged { person: person.clone() }, "blocks:changed"),
            (ControlMessage::LifeExpected { person: person.clone() }, "life:expected"),
        ] {
            let hint = Broadcast::of_control(&message).unwrap().to_bytes();
            let text = format!(r#"{{"v":0,"event":"{event}","data":null}}"#);
            assert_eq!(str::from_utf8(&hint).unwrap(), text);
            let inbox = Broadcast::from_bytes(Room::User(person.clone()), &hint).unwrap();
            assert_eq!((inbox.is_for_nodes(), inbox.control_message()), (true, Some(message)));
            assert!(Broadcast::from_bytes(room.clone(), &hint).unwrap().is_for_nodes());
        }
        assert!(!broadcast.is_for_nodes() && broadcast.control_message().is_none());
        // A traced event carries the span of its publish. Without one, or with nonsense, it is
        // delivered all the same.
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (told, kept) in [
            (format!(r#""{parent}""#), Some(parent)),
            ("null".to_owned(), None),
            ("7".to_owned(), None),
            (r#"{"of":["more"]}"#.to_owned(), None),
            (r#""00-x-y-01""#.to_owned(), None),
        ] {
            let envelope = format!(
                r#"{{"v":1,"event":"x","traceparent":{told},"sent":{told},"data":{{"a":1}}}}"#
            );
            let traced = Broadcast::from_bytes(room.clone(), envelope.as_bytes()).unwrap();
            assert_eq!(traced.text(Framing::Native), broadcast.text(Framing::Native));
            let again = String::from_utf8(traced.to_bytes()).unwrap();
            assert_eq!(again.contains("traceparent"), kept.is_some());
            assert!(kept.is_none_or(|kept| again.contains(kept)));
        }
        let newer = Broadcast::from_bytes(room.clone(), br#"{"v":2,"body":{}}"#);
        assert!(matches!(newer, Err(BadEnvelope::Version(2))));
        for bad in [&b""[..], b"{}", b"\xff", b"[1]", br#"{"v":1,"event":"x"}"#] {
            let bad = Broadcast::from_bytes(room.clone(), bad);
            assert!(matches!(bad, Err(BadEnvelope::Malformed)));
        }
    }

    #[test]
    fn a_rooms_name_is_the_room() {
        let person = Person::new(TenantId::MAIN, Side::Contact, "a:b".parse().unwrap());
        for room in [Room::Session(TenantId::MAIN.session(SessionId(new_id()))), Room::User(person)]
        {
            assert_eq!(room.to_string().parse::<Room>().unwrap(), room);
        }
        for bad in ["", "frontdesk:session:1", "frontdesk:user:x:1", "other:session:1"] {
            assert!(bad.parse::<Room>().is_err());
        }
    }
}
