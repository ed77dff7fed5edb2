//! Messages for nodes only, in one channel that every node subscribes to. No client receives them.
//!
//! Law I7: a control message may be lost, repeated or late. So each one only hastens an action that the
//! nodes take without it too, and each action may be repeated.

use serde::{Deserialize, Serialize};

use model::person::Person;

/// Channel of the control messages.
pub(super) const CONTROL_CHANNEL: &str = "frontdesk:control";

/// Message from one node to all nodes.
///
/// Law I12: a node ignores unknown fields, and whole messages of an unknown kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ControlMessage {
    /// A block of this person was added or removed: read the list again.
    BlocksChanged {
        /// The person.
        #[serde(with = "crate::person")]
        person: Person,
    },
    /// A tenant or an issuer was added, changed or removed: read them again.
    TenantsChanged,
    /// A sign of life is due from this person's connections.
    LifeExpected {
        /// The person.
        #[serde(with = "crate::person")]
        person: Person,
    },
    /// A node has written jobs.
    JobsDue {
        /// Milliseconds until they are due.
        after_ms: u64,
    },
}

impl ControlMessage {
    /// The bytes on the bus: a JSON object.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses a message from another node.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, BadControlMessage> {
        serde_json::from_slice(bytes).map_err(|_| BadControlMessage)
    }
}

/// A control message that this node can't read.
#[derive(Debug, thiserror::Error)]
#[error("a malformed control message, or one of an unknown kind")]
pub(super) struct BadControlMessage;

/// Control messages between all nodes.
pub trait ControlChannel: Send + Sync + 'static {
    /// Sends to all nodes, this one included, without waiting.
    fn send_control(&self, message: ControlMessage);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::TenantId;
    use model::person::Side;

    #[test]
    fn i12_a_control_message_with_more_in_it_is_read_and_one_of_another_kind_is_not() {
        let person = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let message = ControlMessage::LifeExpected { person };
        let bytes = message.to_bytes();
        let text = r#"{"kind":"life_expected","person":{"kind":"dentist","id":"7"}}"#;
        assert_eq!(str::from_utf8(&bytes).unwrap(), text);
        // A person of another tenant is named with it.
        let tenant = TenantId::new(7).unwrap();
        let theirs = Person::new(tenant, Side::Desk, "7".parse().unwrap());
        let theirs = ControlMessage::LifeExpected { person: theirs };
        assert!(str::from_utf8(&theirs.to_bytes()).unwrap().contains(r#""tenant":7"#));
        assert_eq!(ControlMessage::from_bytes(&theirs.to_bytes()).unwrap(), theirs);
        let none = text.replace(r#""id":"7""#, r#""id":"7","tenant":0"#);
        assert!(ControlMessage::from_bytes(none.as_bytes()).is_err());
        let more = text.replace('{', r#"{"later":true,"#);
        assert_eq!(ControlMessage::from_bytes(more.as_bytes()).unwrap(), message);
        for other in [&b""[..], b"{}", b"[1]", br#"{"kind":"later","person":null}"#] {
            assert!(ControlMessage::from_bytes(other).is_err());
        }
    }
}
