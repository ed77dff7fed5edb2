//! Envelopes: properties that hold for all bytes.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a finding is a panic")]

use std::str::from_utf8;

use super::broadcast::{Broadcast, Room};
use protocol::Framing;

/// A Redis channel, a line break, and an envelope.
pub fn envelopes(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (channel, envelope) = bytes.split_at(at);
    let Some(room) = from_utf8(channel).ok().and_then(|channel| channel.parse::<Room>().ok())
    else {
        return;
    };
    assert_eq!(room.to_string().parse::<Room>().unwrap(), room);
    let Ok(broadcast) = Broadcast::from_bytes(room.clone(), envelope) else { return };
    let again = Broadcast::from_bytes(room, &broadcast.to_bytes()).unwrap();
    assert_eq!(
        (again.seq(), again.author(), again.client_id(), again.size()),
        (broadcast.seq(), broadcast.author(), broadcast.client_id(), broadcast.size())
    );
    assert_eq!(again.to_bytes(), broadcast.to_bytes());
    for framing in [Framing::Native, Framing::SocketIo] {
        let text = broadcast.text(framing);
        assert_eq!(again.text(framing), text);
        // A character of an event's name takes at most six.
        assert!(text.len() <= 6 * broadcast.size() + 64);
        let json = text.strip_prefix("42").unwrap_or(text.as_str());
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(json).is_ok());
    }
}
