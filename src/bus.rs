//! Publish and subscribe between the nodes: one channel for each room that someone is in.
//!
//! Law I7: a bus may lose, repeat and reorder. Nobody waits for it: [`Bus::publish`] returns at
//! once, and what it could not carry the hub finds in the store. Nor is it believed: what nodes say by it
//! has their signature ([`crate::cluster`]).

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

/// How many events wait for the hub at most. What doesn't fit is lost, which a bus may do.
const EVENTS: usize = 8_192;

/// What a bus tells the hub.
#[derive(Debug)]
pub(crate) enum BusEvent {
    /// Something was said in a room that this node subscribes to.
    Heard(Arc<Broadcast>),
    /// Subscriptions may stand no more, and anything may have been missed.
    Interrupted,
}

/// The bus did not do it; it may be away.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BusError(pub(crate) String);

/// How long a note of who holds what holds itself.
pub(crate) const HELD: Duration = Duration::from_secs(20);

/// What an account used on one node, in the time that it takes to have as much again.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) account: String,
    pub(crate) used: Duration,
    /// More than that is not owed, whatever was used.
    pub(crate) owed_max: Duration,
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) address: SocketAddr,
    /// Where it shows its certificate.
    pub(crate) tls: Option<SocketAddr>,
    /// The node itself has signed it. One of the version before signatures has not.
    pub(crate) is_signed: bool,
}

pub(crate) type BusEvents = mpsc::Receiver<BusEvent>;

/// A way for nodes to hear each other.
#[async_trait]
pub(crate) trait Bus: Send + Sync + 'static {
    /// Says something in a room, in the order of the calls, without waiting. This node hears it
    /// too, where it subscribes to the room (law I4).
    fn publish(&self, broadcast: Broadcast);

    /// Subscribes to rooms; when it returns, the subscriptions stand.
    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError>;

    /// How much of what was said waits here.
    fn waiting(&self) -> usize {
        0
    }

    /// Ends subscriptions.
    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError>;

    /// Waits, within bounds, until what was said so far is on its way.
    async fn flush(&self);

    /// Tells the other nodes where this one is, and where over TLS, for [`crate::peers::ANNOUNCED_SECS`].
    async fn announce(&self, address: SocketAddr, tls: Option<SocketAddr>) -> Result<(), BusError>;

    /// Where another node is; `None` where it has not told for too long.
    async fn whereabouts(&self, node: &str) -> Result<Option<NodeAddress>, BusError>;

    /// Notes that these people are connected to this node.
    async fn come(&self, people: &[Person]) -> Result<(), BusError>;

    /// Notes that they are no more.
    async fn go(&self, people: &[Person]) -> Result<(), BusError>;

    /// Whether each of these people is connected to a node that is there (it has announced itself).
    async fn present(&self, people: &[Person]) -> Result<Vec<bool>, BusError>;

    /// Charges accounts with what they used on this node; what each owes by now, over all nodes.
    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Duration>, BusError>;

    /// Notes how much of each of these this node holds, for [`HELD`]; how much all others hold.
    async fn hold(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError>;

    /// Whether the bus answers.
    async fn ping(&self) -> Result<(), BusError>;
}
