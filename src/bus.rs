//! Publish and subscribe between the nodes. Each room with connections has one channel.
//!
//! Law I7: a bus may lose, repeat and reorder. Nothing waits for it: [`Bus::publish`] returns at once,
//! and the hub finds lost messages in the store. The bus is not trusted: nodes sign their data on it
//! ([`crate::cluster`]).

#[cfg(test)]
mod contract;
pub(crate) mod one_node;
pub(crate) mod redis;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    person::Person,
    wire::broadcast::{Broadcast, Room},
};

/// Maximum number of events that wait for the hub. Further ones are lost, which a bus may do.
const EVENTS: usize = 8_192;

/// Event from the bus to the hub.
#[derive(Debug)]
pub(crate) enum BusEvent {
    /// A broadcast in a room that this node subscribes to.
    Heard(Arc<Broadcast>),
    /// Subscriptions may be gone, and anything may have been missed.
    Interrupted,
}

/// Failed operation of the bus, which may be unavailable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BusError(pub(crate) String);

/// Lease of a connection slot in Redis.
pub(crate) const HELD: Duration = Duration::from_secs(20);

/// Usage of an account on one node, as the time in which its bucket refills that much.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) account: String,
    pub(crate) used: Duration,
    /// Upper bound of the debt, whatever the usage.
    pub(crate) owed_max: Duration,
}

/// Address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) address: SocketAddr,
    /// Address of the node's TLS listener.
    pub(crate) tls: Option<SocketAddr>,
    /// Whether the node signed its address. Nodes older than signatures do not.
    pub(crate) is_signed: bool,
}

pub(crate) type BusEvents = mpsc::Receiver<BusEvent>;

/// Messaging and shared records between nodes.
#[async_trait]
pub(crate) trait Bus: Send + Sync + 'static {
    /// Publishes to a room, in the order of the calls, without waiting. This node receives the
    /// broadcast too, if it subscribes to the room (law I4).
    fn publish(&self, broadcast: Broadcast);

    /// Subscribes to rooms. On return the subscriptions stand.
    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError>;

    /// Number of broadcasts not published yet.
    fn waiting(&self) -> usize {
        0
    }

    /// Ends subscriptions.
    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError>;

    /// Waits, within bounds, until all broadcasts so far are published.
    async fn flush(&self);

    /// Registers this node's addresses, plain and TLS, for [`crate::peers::ANNOUNCED_SECS`].
    async fn announce(&self, address: SocketAddr, tls: Option<SocketAddr>) -> Result<(), BusError>;

    /// Address of another node, or `None` if its registration has expired.
    async fn whereabouts(&self, node: &str) -> Result<Option<NodeAddress>, BusError>;

    /// Records that these people are connected to this node.
    async fn come(&self, people: &[Person]) -> Result<(), BusError>;

    /// Records that these people are no longer connected to this node.
    async fn go(&self, people: &[Person]) -> Result<(), BusError>;

    /// Whether each of these people is connected to a live node, that is, a registered one.
    async fn present(&self, people: &[Person]) -> Result<Vec<bool>, BusError>;

    /// Adds this node's usage to accounts. Returns the debt of each over all nodes.
    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Duration>, BusError>;

    /// Records how many slots of each account this node holds, for [`HELD`]. Returns the sum of all
    /// other nodes.
    async fn hold(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError>;

    /// Whether the bus answers.
    async fn ping(&self) -> Result<(), BusError>;
}
