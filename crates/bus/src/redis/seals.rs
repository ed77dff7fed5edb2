//! Signatures of published envelopes.
//!
//! The signature is an additional last field of the JSON, which nodes older than signatures ignore. It
//! covers the channel and all bytes before it, so nothing is parsed before the signature is verified.

use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::{ClusterSecret, Distrust, Purpose, Replays, STAMP};

/// Text before the signature.
const OPENING: &[u8] = b",\"seal\":\"";
/// Text after the signature.
const CLOSING: &[u8] = b"\"}";
const SEAL: usize = OPENING.len() + STAMP + CLOSING.len();

/// Signs an envelope for a channel.
pub(super) fn seal(secret: &ClusterSecret, channel: &str, mut envelope: Vec<u8>) -> Bytes {
    // An envelope that could not be serialized is empty, and receivers drop it.
    if envelope.pop() != Some(b'}') {
        return Bytes::new();
    }
    let stamp = secret.sign(Purpose::Envelope, &[channel.as_bytes(), &envelope]);
    envelope.reserve_exact(SEAL);
    for part in [OPENING, stamp.as_bytes(), CLOSING] {
        envelope.extend_from_slice(part);
    }
    envelope.into()
}

/// Verifier of received envelopes. It accepts each one once.
pub(super) struct Seals {
    secret: Arc<ClusterSecret>,
    replays: Replays,
}

impl Seals {
    pub(super) fn new(secret: Arc<ClusterSecret>) -> Self {
        Self { secret, replays: Replays::default() }
    }

    /// Whether a node published this envelope in this channel recently, and it is not a repeat.
    /// Without a signature it counts if nodes older than signatures are accepted.
    pub(super) fn hold(&self, channel: &str, envelope: &[u8]) -> bool {
        let is_unsigned = split(envelope).is_none();
        (is_unsigned && self.secret.accepts_unsigned()) || self.hold_signed(channel, envelope)
    }

    /// The same for a channel that no node older than signatures publishes in.
    pub(super) fn hold_signed(&self, channel: &str, envelope: &[u8]) -> bool {
        let Some((signed, stamp)) = split(envelope) else {
            self.secret.distrust(Purpose::Envelope, Distrust::Unsigned);
            return false;
        };
        let parts = [channel.as_bytes(), signed];
        let Ok(origin) = self.secret.verify(Purpose::Envelope, &parts, stamp) else { return false };
        let first = self.replays.admit(&origin);
        if !first {
            self.secret.distrust(Purpose::Envelope, Distrust::Repeated);
        }
        first
    }
}

/// Signed bytes, and the signature.
fn split(envelope: &[u8]) -> Option<(&[u8], &[u8])> {
    let (signed, seal) = envelope.split_at_checked(envelope.len().checked_sub(SEAL)?)?;
    Some((signed, seal.strip_prefix(OPENING)?.strip_suffix(CLOSING)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broadcast::{Broadcast, Room},
        cluster::tests::secret,
    };
    use model::ids::TenantId;
    use model::{
        ids::SessionId,
        person::{Person, Side},
    };
    use platform::new_id;
    use protocol::Framing;

    #[test]
    fn c14_i12_a_sealed_envelope_is_read_by_nodes_that_know_of_no_seals() {
        let who = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let id = SessionId(new_id());
        let (room, broadcast) = (Room::Session(who.session(id)), Broadcast::typing(id, &who, true));
        let sealed = seal(&secret("0123456789ab"), &room.to_string(), broadcast.to_bytes());
        let read = Broadcast::from_bytes(room, &sealed).unwrap();
        assert_eq!(read.text(Framing::Native), broadcast.text(Framing::Native));
        assert_eq!(read.to_bytes(), broadcast.to_bytes());
    }

    #[test]
    fn c14_an_envelope_is_believed_once_in_the_channel_that_it_was_published_in() {
        let seals = Seals::new(Arc::new(secret("ba9876543210")));
        let node = secret("0123456789ab");
        let seal = |text: &str| seal(&node, "a", text.as_bytes().to_vec());
        let sealed = seal(r#"{"v":1}"#);
        assert!(!seals.hold("b", &sealed), "another channel");
        assert!(seals.hold("a", &sealed));
        assert!(!seals.hold("a", &sealed), "again");
        let other = seal(r#"{"v":1,"data":{}}"#);
        // A seal moved to another text, and bytes added after a seal.
        let swapped = [br#"{"v":1,"data":{"#, &sealed[sealed.len() - SEAL..]].concat();
        let longer = [&other[..], b" "].concat();
        for forged in [&br#"{"v":1}"#[..], b"", b"}", &swapped, &longer] {
            assert!(!seals.hold("a", forged));
        }
        assert!(seals.hold("a", &other));
    }
}
