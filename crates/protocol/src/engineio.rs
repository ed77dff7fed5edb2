//! Engine.IO, revision 4: the packets that carry Socket.IO over WebSockets and HTTP long polling.
//!
//! <https://github.com/socketio/engine.io-protocol>

use axum::extract::ws::Utf8Bytes;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

/// Separator between the packets of one poll.
const SEPARATOR: u8 = 0x1e;
/// Maximum bytes of a client's packet.
pub const PACKET_MAX: usize = 64 * 1024;
/// Version of the protocol, as sent in `EIO`.
pub const VERSION: &str = "4";

/// The server's ping.
pub const PING: Utf8Bytes = Utf8Bytes::from_static("2");
/// An empty packet, which ends a poll.
pub const NOOP: &str = "6";
/// The end of the session.
pub const CLOSE: &str = "1";
/// The client probes a WebSocket, and the server's answer.
pub const PROBE: &str = "2probe";
/// Answer to a client's probe of a WebSocket.
pub const PROBED: &str = "3probe";
/// The client has moved to the WebSocket.
pub const UPGRADE: &str = "5";

/// A packet that a client may send once its session is open.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The client closes the session.
    Close,
    /// The answer to a ping.
    Pong,
    /// A message, which holds a packet of Socket.IO.
    Message(&'a str),
    /// Bytes that belong to the message before. Their content is not used.
    Binary,
    /// Nothing.
    Noop,
}

/// Text that is not a packet, or not one that a client may send.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPacket;

/// Parses one packet in its text form.
pub fn parse(text: &str) -> Result<Packet<'_>, BadPacket> {
    let mut letters = text.chars();
    match letters.next() {
        Some('1') if letters.as_str().is_empty() => Ok(Packet::Close),
        Some('3') => Ok(Packet::Pong),
        Some('4') => Ok(Packet::Message(letters.as_str())),
        Some('6') => Ok(Packet::Noop),
        Some('b') => {
            BASE64_STANDARD.decode(letters.as_str()).map(|_| Packet::Binary).map_err(|_| BadPacket)
        }
        _ => Err(BadPacket),
    }
}

/// Splits a body that arrives in pieces. It buffers at most one packet.
#[derive(Debug, Default)]
pub struct Packets {
    part: Vec<u8>,
}

/// A packet, or a body, over its limit.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Packets {
    /// Consumes a piece up to the end of a packet. Returns the packet, or `None` if it continues in
    /// the next piece.
    pub fn take(&mut self, piece: &mut &[u8]) -> Result<Option<Vec<u8>>, TooLarge> {
        let whole = *piece;
        let mut halves = whole.splitn(2, |byte| *byte == SEPARATOR);
        let part = halves.next().unwrap_or_default();
        let rest = halves.next();
        if self.part.len() + part.len() > PACKET_MAX {
            return Err(TooLarge);
        }
        self.part.extend_from_slice(part);
        *piece = rest.unwrap_or_default();
        Ok(rest.map(|_| std::mem::take(&mut self.part)))
    }

    /// The last packet, after the end of the body.
    pub fn end(self) -> Vec<u8> {
        self.part
    }
}

/// The body of a poll.
pub fn join(packets: &[Utf8Bytes]) -> String {
    let mut body = String::with_capacity(packets.iter().map(|packet| packet.len() + 1).sum());
    for packet in packets {
        if !body.is_empty() {
            body.push(char::from(SEPARATOR));
        }
        body.push_str(packet.as_str());
    }
    body
}

/// Content of the packet that opens a session.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Open<'a> {
    /// Id of the session.
    pub sid: &'a str,
    /// Transports to which the client may change.
    pub upgrades: &'a [&'a str],
    /// Milliseconds.
    pub ping_interval: u128,
    /// Time limit for a pong, in milliseconds.
    pub ping_timeout: u128,
    /// Bytes.
    pub max_payload: usize,
}

impl Open<'_> {
    /// The packet.
    pub fn to_packet(&self) -> Utf8Bytes {
        format!("0{}", serde_json::to_string(self).unwrap_or_default()).into()
    }
}

/// The packets of a body that arrives in pieces of this size.
#[cfg(any(test, feature = "fuzzing"))]
pub fn split(body: &[u8], size: usize) -> Vec<String> {
    let (mut packets, mut split) = (Packets::default(), Vec::new());
    let text = |packet: Vec<u8>| String::from_utf8_lossy(&packet).into_owned();
    for mut piece in body.chunks(size) {
        while let Ok(Some(packet)) = packets.take(&mut piece) {
            split.push(text(packet));
        }
    }
    split.push(text(packets.end()));
    split
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_is_known_by_its_first_letter() {
        assert_eq!(parse("1"), Ok(Packet::Close));
        assert_eq!(parse("3"), Ok(Packet::Pong));
        assert_eq!(parse("42[\"x\"]"), Ok(Packet::Message("2[\"x\"]")));
        assert_eq!(parse("bAQID"), Ok(Packet::Binary));
        assert_eq!(parse("6"), Ok(Packet::Noop));
        for bad in ["", "0{}", "1x", "2", "2probe", "5", "7", "b!", "é", "hello"] {
            assert_eq!(parse(bad), Err(BadPacket), "{bad}");
        }
    }

    #[test]
    fn b38_each_packet_has_its_limit_and_a_body_is_never_held_as_a_whole() {
        let mut packets = Packets::default();
        let longest = vec![b'x'; PACKET_MAX];
        let body = [&longest[..], &longest].join(&SEPARATOR);
        let mut piece = &body[..];
        assert_eq!(packets.take(&mut piece), Ok(Some(longest.clone())));
        assert_eq!(packets.take(&mut piece), Ok(None));
        assert_eq!(packets.take(&mut &b"x"[..]), Err(TooLarge));
        assert_eq!(packets.end(), longest);
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_again_however_it_is_cut(
            packets in prop::collection::vec("[a-z0-9\u{1f600}]{1,20}", 1..8),
            size in 1..30_usize,
        ) {
            let texts: Vec<Utf8Bytes> = packets.iter().map(|packet| packet.as_str().into()).collect();
            prop_assert_eq!(split(join(&texts).as_bytes(), size), packets);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,100}") {
            drop(parse(&text));
        }
    }
}
