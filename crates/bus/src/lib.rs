//! Messaging and shared records between the nodes: one trait per noun, one implementation for Redis
//! and one for a single node.
//!
//! The bus is not trusted: nodes sign their data on it ([`crate::cluster`]).

pub mod broadcast;
pub mod cluster;
#[cfg(test)]
mod contract;
mod control;
pub mod counts;
pub mod delivery;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod node_registry;
pub mod one_node;
mod person;
mod presence_table;
mod pubsub;
mod quotas;
pub mod redis;
pub mod span;
pub mod times;

pub use control::{ControlChannel, ControlMessage};
pub use node_registry::{ADDRESS_LEASE_SECS, NodeAddress, NodeRegistry};
pub use presence_table::PresenceTable;
use pubsub::EVENTS_MAX;
pub use pubsub::{BusEvent, BusEvents, PubSub};
pub use quotas::{Quotas, SLOT_LEASE, Usage};

/// Failed operation of the bus, which may be unavailable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BusError(pub String);

/// The whole bus. A part that needs one noun takes that trait alone.
pub trait Bus: PubSub + ControlChannel + NodeRegistry + PresenceTable + Quotas {}

impl<T: PubSub + ControlChannel + NodeRegistry + PresenceTable + Quotas> Bus for T {}
