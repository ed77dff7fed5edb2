//! Messaging and shared records between the nodes: one trait per noun, one implementation for Redis
//! and one for a single node.
//!
//! The bus is not trusted: nodes sign their data on it ([`crate::cluster`]).

#[cfg(test)]
mod contract;
mod control;
pub(crate) mod counts;
mod node_registry;
pub(crate) mod one_node;
mod presence_table;
mod pubsub;
mod quotas;
pub(crate) mod redis;

pub(crate) use control::{ControlChannel, ControlMessage};
pub(crate) use node_registry::{ADDRESS_LEASE_SECS, NodeAddress, NodeRegistry};
pub(crate) use presence_table::PresenceTable;
use pubsub::EVENTS_MAX;
pub(crate) use pubsub::{BusEvent, BusEvents, PubSub};
pub(crate) use quotas::{Quotas, SLOT_LEASE, Usage};

/// Failed operation of the bus, which may be unavailable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BusError(pub(crate) String);

/// The whole bus. A part that needs one noun takes that trait alone.
pub(crate) trait Bus:
    PubSub + ControlChannel + NodeRegistry + PresenceTable + Quotas
{
}

impl<T: PubSub + ControlChannel + NodeRegistry + PresenceTable + Quotas> Bus for T {}
