//! Envelopes of version 0: control messages as the version before sends and receives them.
//!
//! Law I12: nodes of the version before know no control channel. So each control message is also
//! published as such an envelope, in the person's room, and one that arrives is treated as its control
//! message. This file can go in the version after the next release, when no node without a control
//! channel runs beside a new one. From then on a node ignores version 0, as any unknown version.

use super::{Broadcast, Room};
use crate::ControlMessage;

/// Version of these envelopes. Nodes that don't know it ignore them.
pub(super) const VERSION_0: u32 = 0;
const BLOCKS_CHANGED: &str = "blocks:changed";
const LIFE_EXPECTED: &str = "life:expected";

impl Broadcast {
    /// Envelope of version 0 for this control message, if the version before knows its kind.
    pub fn of_control(message: &ControlMessage) -> Option<Self> {
        let (person, event) = match message {
            ControlMessage::BlocksChanged { person } => (person, BLOCKS_CHANGED),
            ControlMessage::LifeExpected { person } => (person, LIFE_EXPECTED),
            ControlMessage::TenantsChanged | ControlMessage::JobsDue { .. } => return None,
        };
        let mut broadcast = Self::named(Room::User(person.clone()), event, None, &());
        broadcast.envelope.v = VERSION_0;
        Some(broadcast)
    }

    /// Whether it is for nodes only; clients never receive it.
    pub fn is_for_nodes(&self) -> bool {
        self.envelope.v == VERSION_0
    }

    /// Its control message, if it is for nodes only. Any event but a known one is a change of blocks, as for
    /// the version before.
    pub fn control_message(&self) -> Option<ControlMessage> {
        let Room::User(person) = &self.room else { return None };
        let person = person.clone();
        self.is_for_nodes().then_some(if self.envelope.event == LIFE_EXPECTED {
            ControlMessage::LifeExpected { person }
        } else {
            ControlMessage::BlocksChanged { person }
        })
    }
}
