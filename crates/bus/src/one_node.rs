//! Bus of a single node.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dashmap::DashSet;
use tokio::sync::mpsc;

use super::{
    BusError, BusEvent, BusEvents, ControlChannel, ControlMessage, EVENTS_MAX, NodeAddress,
    NodeRegistry, PresenceTable, PubSub, Quotas, Usage,
};
use crate::{
    broadcast::{Broadcast, Room},
    counts::BusCounts,
    times::DeliveryTimes,
};
use model::person::Person;

/// Returns each broadcast to this node.
#[derive(Debug)]
pub struct OneNode {
    subscribed: DashSet<Room>,
    online: DashSet<Person>,
    events: mpsc::Sender<BusEvent>,
    counts: BusCounts,
}

impl OneNode {
    /// The bus, and the receiver of its events.
    pub fn open(counts: BusCounts) -> (Self, BusEvents) {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let (subscribed, online) = (DashSet::new(), DashSet::new());
        (Self { subscribed, online, events, counts }, received)
    }

    fn receive(&self, event: BusEvent) {
        self.counts.heard.inc();
        if self.events.try_send(event).is_err() {
            self.counts.lost_hub_full.inc();
            tracing::debug!("hub queue full; a broadcast is left to the head check");
        }
    }
}

#[async_trait]
impl PubSub for OneNode {
    fn publish(&self, mut broadcast: Broadcast) {
        self.counts.published.inc();
        broadcast.publish();
        if !self.subscribed.contains(&broadcast.room) {
            return;
        }
        broadcast.begin_delivery();
        broadcast.times = DeliveryTimes::received_now();
        self.receive(BusEvent::Received(Arc::new(broadcast)));
    }

    async fn flush(&self) {}

    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        for room in rooms {
            self.subscribed.insert(room.clone());
        }
        Ok(())
    }

    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        for room in rooms {
            self.subscribed.remove(room);
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), BusError> {
        Ok(())
    }
}

impl ControlChannel for OneNode {
    fn send_control(&self, message: ControlMessage) {
        self.counts.published.inc();
        self.receive(BusEvent::Control(message));
    }
}

#[async_trait]
impl NodeRegistry for OneNode {
    async fn register_node(
        &self,
        _address: SocketAddr,
        _tls: Option<SocketAddr>,
    ) -> Result<(), BusError> {
        Ok(())
    }

    async fn node_address(&self, _node: &str) -> Result<Option<NodeAddress>, BusError> {
        Ok(None)
    }
}

#[async_trait]
impl PresenceTable for OneNode {
    async fn mark_online(&self, people: &[Person]) -> Result<(), BusError> {
        for person in people {
            self.online.insert(person.clone());
        }
        Ok(())
    }

    async fn mark_offline(&self, people: &[Person]) -> Result<(), BusError> {
        for person in people {
            self.online.remove(person);
        }
        Ok(())
    }

    async fn are_online(&self, people: &[Person]) -> Result<Vec<bool>, BusError> {
        Ok(people.iter().map(|person| self.online.contains(person)).collect())
    }
}

#[async_trait]
impl Quotas for OneNode {
    async fn report_usage(&self, usages: &[Usage]) -> Result<Vec<Duration>, BusError> {
        // This node's bucket contains the usage already.
        Ok(vec![Duration::ZERO; usages.len()])
    }

    async fn report_slots(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError> {
        Ok(vec![0; held.len()])
    }
}
