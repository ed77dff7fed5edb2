//! Bus of a single node.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dashmap::DashSet;
use tokio::sync::mpsc;

use super::{Bus, BusError, BusEvent, BusEvents, Charge, EVENTS, NodeAddress};
use crate::{
    metrics::{bus::BusCounts, delivery::Passage},
    person::Person,
    wire::broadcast::{Broadcast, Room},
};

/// Returns each broadcast to this node.
#[derive(Debug)]
pub(crate) struct OneNode {
    subscribed: DashSet<Room>,
    present: DashSet<Person>,
    events: mpsc::Sender<BusEvent>,
    counts: BusCounts,
}

impl OneNode {
    pub(crate) fn open(counts: BusCounts) -> (Self, BusEvents) {
        let (events, heard) = mpsc::channel(EVENTS);
        let (subscribed, present) = (DashSet::new(), DashSet::new());
        (Self { subscribed, present, events, counts }, heard)
    }
}

#[async_trait]
impl Bus for OneNode {
    fn publish(&self, mut broadcast: Broadcast) {
        self.counts.published.inc();
        broadcast.publish();
        if !self.subscribed.contains(&broadcast.room) {
            return;
        }
        broadcast.hear();
        broadcast.passage = Passage::heard_now();
        self.counts.heard.inc();
        if self.events.try_send(BusEvent::Heard(Arc::new(broadcast))).is_err() {
            self.counts.lost_hub_full.inc();
            tracing::debug!("the hub is behind: a broadcast is left to the check of the heads");
        }
    }

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

    async fn flush(&self) {}

    async fn announce(
        &self,
        _address: SocketAddr,
        _tls: Option<SocketAddr>,
    ) -> Result<(), BusError> {
        Ok(())
    }

    async fn whereabouts(&self, _node: &str) -> Result<Option<NodeAddress>, BusError> {
        Ok(None)
    }

    async fn come(&self, people: &[Person]) -> Result<(), BusError> {
        for person in people {
            self.present.insert(person.clone());
        }
        Ok(())
    }

    async fn go(&self, people: &[Person]) -> Result<(), BusError> {
        for person in people {
            self.present.remove(person);
        }
        Ok(())
    }

    async fn present(&self, people: &[Person]) -> Result<Vec<bool>, BusError> {
        Ok(people.iter().map(|person| self.present.contains(person)).collect())
    }

    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Duration>, BusError> {
        // This node's bucket contains the usage already.
        Ok(vec![Duration::ZERO; charges.len()])
    }

    async fn hold(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError> {
        Ok(vec![0; held.len()])
    }

    async fn ping(&self) -> Result<(), BusError> {
        Ok(())
    }
}
