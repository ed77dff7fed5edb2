//! Socket.IO, revision 5 of the protocol, which clients of version 4 use: packets in Engine.IO
//! messages.
//!
//! <https://github.com/socketio/socket.io-protocol>

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{ClientEvent, offset::Offset};
use crate::{
    error::{Error, WireError},
    without_scheme,
};

/// The only namespace.
pub const NAMESPACE: &str = "/";
/// Maximum of binary attachments of an event. They are accepted, but never used.
const ATTACHMENTS_MAX: usize = 10;
/// Maximum length of a namespace's name: it is echoed in the error.
const NAMESPACE_MAX: usize = 256;
/// Maximum digits of an id or a count: more than the largest `u64` needs.
const DIGITS_MAX: usize = 20;
/// Events that only the library itself may raise.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A packet from a client.
#[derive(Debug)]
pub enum Packet<'a> {
    /// The client enters a namespace.
    Connect {
        /// Name of the namespace.
        namespace: &'a str,
        /// Its credentials and its offset.
        auth: Auth,
    },
    /// The client leaves the namespace.
    Disconnect,
    /// A request.
    Event {
        /// Id for the acknowledgement, if one is expected.
        id: Option<u64>,
        /// The event, or the error in it.
        event: Result<ClientEvent, Error>,
    },
    /// An event whose bytes follow in this number of Engine.IO packets.
    BinaryEvent {
        /// Id for the acknowledgement, if one is expected.
        id: Option<u64>,
        /// Number of binary packets that follow.
        attachments: usize,
    },
    /// An acknowledgement; the server expects none.
    Ack,
}

/// Payload of a connect packet.
#[derive(Default, Deserialize)]
pub struct Auth {
    #[serde(default)]
    token: Token,
    /// Id of the client's previous connection.
    #[serde(default)]
    pid: serde_json::Value,
    /// The offset that it had received there.
    #[serde(default)]
    offset: serde_json::Value,
}

/// The token field as received.
#[derive(Default)]
enum Token {
    #[default]
    None,
    Text(String),
    /// Another type: it must lead to an error answer, not to a silent close.
    NotText,
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match serde_json::from_str(json.get()) {
            Ok(Some(text)) => Self::Text(text),
            Ok(None) => Self::None,
            Err(_) => Self::NotText,
        })
    }
}

impl Auth {
    /// The token. An empty one counts as none, so that it does not hide a token from the handshake.
    pub fn token(&self) -> Result<Option<&str>, Error> {
        match &self.token {
            Token::None => Ok(None),
            Token::Text(text) => Ok(Some(without_scheme(text)).filter(|token| !token.is_empty())),
            Token::NotText => Err(Error::invalid("auth.token", "expected a string")),
        }
    }

    /// The connection to restore, and its offset. Malformed values count as none: an app may use
    /// these field names for its own purposes.
    pub fn recovery(&self) -> Option<(&str, Offset)> {
        let (pid, offset) = (self.pid.as_str()?, self.offset.as_str()?);
        let sound = pid.len() <= 64 && pid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Some((pid, offset.parse().ok().filter(|_| sound)?))
    }
}

/// Law I14: a token never reaches a log, not even by `{:?}`.
impl std::fmt::Debug for Auth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Auth")
    }
}

/// Text that is not a packet, or not one that a client may send. It ends the connection.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPacket;

/// Parses one packet.
pub fn parse(text: &str) -> Result<Packet<'_>, BadPacket> {
    let kind = text.as_bytes().first().ok_or(BadPacket)?;
    let rest = text.get(1..).ok_or(BadPacket)?;
    let (attachments, rest) = match kind {
        b'5' | b'6' => {
            let (count, rest) = rest.split_once('-').ok_or(BadPacket)?;
            (number(count).ok_or(BadPacket)?, rest)
        }
        _ => (0, rest),
    };
    let attachments = usize::try_from(attachments).map_err(|_| BadPacket)?;
    if attachments > ATTACHMENTS_MAX {
        return Err(BadPacket);
    }
    let (namespace, rest) = match rest.strip_prefix('/') {
        Some(_) => rest.split_once(',').unwrap_or((rest, "")),
        None => (NAMESPACE, rest),
    };
    if namespace.len() > NAMESPACE_MAX {
        return Err(BadPacket);
    }
    if *kind == b'0' {
        return connect(namespace, rest);
    }
    if namespace != NAMESPACE {
        return Err(BadPacket);
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, data) = rest.split_at_checked(digits).ok_or(BadPacket)?;
    let id = if id.is_empty() { None } else { Some(number(id).ok_or(BadPacket)?) };
    match kind {
        b'1' if data.is_empty() => Ok(Packet::Disconnect),
        b'2' => event(id, data),
        b'3' | b'6' => Ok(Packet::Ack),
        b'5' => event(id, data).map(|_| Packet::BinaryEvent { id, attachments }),
        _ => Err(BadPacket),
    }
}

fn connect<'a>(namespace: &'a str, data: &str) -> Result<Packet<'a>, BadPacket> {
    let auth = match data {
        "" => Auth::default(),
        data if super::is_object(data.as_bytes()) => {
            serde_json::from_str(data).map_err(|_| BadPacket)?
        }
        _ => return Err(BadPacket),
    };
    Ok(Packet::Connect { namespace, auth })
}

fn event(id: Option<u64>, data: &str) -> Result<Packet<'_>, BadPacket> {
    let parts: Vec<&RawValue> = serde_json::from_str(data).map_err(|_| BadPacket)?;
    let name: String =
        parts.first().and_then(|name| serde_json::from_str(name.get()).ok()).ok_or(BadPacket)?;
    if RESERVED.contains(&name.as_str()) {
        return Err(BadPacket);
    }
    let event = ClientEvent::parse(&name, parts.get(1).copied());
    Ok(Packet::Event { id, event })
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A server event, as an Engine.IO message.
pub fn push(event: &str, data: &RawValue) -> Utf8Bytes {
    // `concat` allocates the exact size: a growing string may have twice the capacity.
    ["42[", &json(&event), ",", data.get(), "]"].concat().into()
}

/// The acknowledgement of the event with this id. The data's fields are repeated at its top level.
pub fn answer(id: u64, result: Result<&RawValue, &Error>) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Failed {
        ok: bool,
        error: WireError,
    }
    match result {
        Ok(data) => {
            let data = data.get();
            let fields = data.strip_prefix('{').and_then(|data| data.strip_suffix('}'));
            let begin = format!(r#"43{id}[{{"ok":true,"data":"#);
            match fields.filter(|fields| !fields.trim().is_empty()) {
                Some(fields) => [&begin, data, ",", fields, "}]"].concat(),
                None => [&begin, data, "}]"].concat(),
            }
        }
        Err(error) => {
            format!("43{id}[{}]", json(&Failed { ok: false, error: error.to_wire() }))
        }
    }
    .into()
}

/// Accepts the client in the namespace, under this id. If `pid` equals the previous one, the client
/// knows that its connection is restored.
pub fn connected(id: &str, pid: &str) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Connected<'a> {
        sid: &'a str,
        pid: &'a str,
    }
    format!("40{}", json(&Connected { sid: id, pid })).into()
}

/// Sends the offset that the client must present when it reconnects.
pub fn offset(offset: &Offset) -> Utf8Bytes {
    format!(r#"42["session:offset","{offset}"]"#).into()
}

/// Rejects the connection to the namespace.
pub fn connect_error(namespace: &str, message: &str, error: Option<&Error>) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Refused<'a> {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<WireError>,
    }
    let refused = json(&Refused { message, data: error.map(Error::to_wire) });
    match namespace {
        NAMESPACE => format!("44{refused}"),
        other => format!("44{other},{refused}"),
    }
    .into()
}

/// The server ends the connection, and the client must not reconnect by itself.
pub const DISCONNECT: Utf8Bytes = Utf8Bytes::from_static("41");

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_read_as_the_protocol_has_them() {
        let Ok(Packet::Connect { namespace: "/", auth }) = parse(r#"0{"token":"t"}"#) else {
            panic!()
        };
        assert_eq!(auth.token().unwrap(), Some("t"));
        let admin = parse(r#"0/admin,{"token":"t"}"#);
        assert!(matches!(admin, Ok(Packet::Connect { namespace: "/admin", .. })));
        assert!(matches!(parse("0"), Ok(Packet::Connect { namespace: "/", .. })));
        assert!(matches!(parse("1"), Ok(Packet::Disconnect)));
        let refresh = parse(r#"212["auth:refresh",{"token":"t"},"more"]"#);
        assert!(matches!(refresh, Ok(Packet::Event { id: Some(12), event: Ok(_) })));
        let named = parse(r#"2/,["x"]"#);
        assert!(matches!(named, Ok(Packet::Event { id: None, event: Err(_) })));
        let bytes = parse(r#"51-7["message:send",{"_placeholder":true,"num":0}]"#);
        assert!(matches!(bytes, Ok(Packet::BinaryEvent { id: Some(7), attachments: 1 })));
        assert!(matches!(parse("37[1]"), Ok(Packet::Ack)));
    }

    #[test]
    fn b31_to_b37_what_is_none_ends_its_connection() {
        let deep = format!("2[\"x\",{}1{}]", "[".repeat(9_999), "]".repeat(9_999));
        for bad in [
            "",
            "7",
            "é",
            r#"2[{"toString":"x"}]"#,
            "2[1]",
            "2[]",
            "2",
            "2{}",
            r#"2["connect"]"#,
            r#"2["disconnect"]"#,
            r#"299999999999999999999["x"]"#,
            r#"2-1["x"]"#,
            r#"2["x",NaN]"#,
            r#"599999-["x"]"#,
            r#"5["x"]"#,
            r#"5x-["x"]"#,
            r#"2/admin,["x"]"#,
            "1x",
            "4{}",
            "0[]",
            "0\"token\"",
            r#"0{"token":"a","token":"b"}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        // Data nested too deep is skipped by the parser, then rejected as data.
        assert!(!matches!(parse(&deep), Ok(Packet::Event { event: Ok(_), .. })));
    }

    #[test]
    fn a_token_that_is_empty_is_none_and_one_that_is_no_text_is_said_to_be() {
        let token = |auth: &str| match parse(&format!("0{auth}")) {
            Ok(Packet::Connect { auth, .. }) => {
                let token = auth.token().map(|token| token.map(str::to_owned));
                token.map_err(|error| error.to_string())
            }
            other => panic!("{other:?}"),
        };
        for none in ["", "{}", r#"{"token":null}"#, r#"{"token":""}"#, r#"{"token":"Bearer "}"#] {
            assert_eq!(token(none), Ok(None), "{none}");
        }
        assert_eq!(token(r#"{"token":"Bearer a.b.c"}"#), Ok(Some("a.b.c".to_owned())));
        for odd in ["5", "true", "[]", r#"{"a":"secret"}"#, r#"["secret"]"#] {
            let refused = token(&format!(r#"{{"token":{odd}}}"#));
            assert_eq!(refused, Err("auth.token: expected a string".to_owned()), "{odd}");
        }
    }

    #[test]
    fn answers_carry_their_fields_twice() {
        let data = RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
        assert_eq!(answer(7, Ok(&data)).as_str(), r#"437[{"ok":true,"data":{"a":1},"a":1}]"#);
        let none = RawValue::from_string("{}".into()).unwrap();
        assert_eq!(answer(7, Ok(&none)).as_str(), r#"437[{"ok":true,"data":{}}]"#);
        let error = answer(0, Err(&Error::SessionNotFound));
        assert!(
            error.as_str().starts_with(r#"430[{"ok":false,"error":{"code":"session_not_found""#)
        );
        assert_eq!(push("a\"b", &none).as_str(), r#"42["a\"b",{}]"#);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-6]{0,2}.{0,80}") {
            drop(parse(&text));
        }

        /// Written packets can be parsed: clients use the same grammar.
        #[test]
        fn what_is_written_can_be_read(event in "[a-z:]{1,12}", number in any::<u64>()) {
            prop_assume!(!RESERVED.contains(&event.as_str()));
            let data = serde_json::value::to_raw_value(&serde_json::json!({ "n": number })).unwrap();
            let pushed = push(&event, &data);
            let message = pushed.as_str().strip_prefix('4').unwrap();
            prop_assert!(matches!(parse(message), Ok(Packet::Event { id: None, .. })), "{message}");
            let answered = answer(number, Ok(&data));
            prop_assert!(matches!(parse(&answered.as_str()[1..]), Ok(Packet::Ack)));
        }
    }
}
