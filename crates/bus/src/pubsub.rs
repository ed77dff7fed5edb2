//! Publish and subscribe. Each room with connections has one channel.
//!
//! Law I7: a bus may lose, repeat and reorder. Nothing waits for it: [`PubSub::publish`] returns at once,
//! and the hub finds lost messages in the store.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{BusError, ControlMessage};
use crate::broadcast::{Broadcast, Room};

/// Maximum number of events that wait for the hub. Further ones are lost, which a bus may do.
pub(super) const EVENTS_MAX: usize = 8_192;

/// Event from the bus to the hub.
#[derive(Debug)]
pub enum BusEvent {
    /// A broadcast in a room that this node subscribes to.
    Received(Arc<Broadcast>),
    /// A message for nodes only.
    Control(ControlMessage),
    /// Subscriptions may be gone, and anything may have been missed.
    Interrupted,
}

/// Receiver of the events of the bus.
pub type BusEvents = mpsc::Receiver<BusEvent>;

/// Broadcasts in rooms, between all nodes.
#[async_trait]
pub trait PubSub: Send + Sync + 'static {
    /// Publishes to a room, in the order of the calls, without waiting. This node receives the
    /// broadcast too, if it subscribes to the room (law I4).
    fn publish(&self, broadcast: Broadcast);

    /// Number of broadcasts not published yet.
    fn waiting(&self) -> usize {
        0
    }

    /// Waits, within bounds, until all broadcasts so far are published.
    async fn flush(&self);

    /// Subscribes to rooms. On return the subscriptions stand.
    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError>;

    /// Ends subscriptions.
    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError>;

    /// Whether the bus answers.
    async fn ping(&self) -> Result<(), BusError>;
}
