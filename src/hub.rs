//! This node's connections, and the one way by which anything reaches them.
//!
//! Law I4: whatever is delivered to a connection's room was heard on the bus or filled in from the
//! store, and comes through [`Hub::deliver`]. Law I10: the engine's lock is never held across an
//! await; what is enqueued is enqueued under it, so that order is the engine's order.

mod epoch;
mod gaps;
mod revisions;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use frontdesk_rooms::{GoLive, Offer, Rooms};
use tokio::sync::{Notify, Semaphore};

use crate::{
    bus::{Bus, BusEvent, BusEvents},
    connection::outbound::{ConnectionId, Outbound},
    metrics::hub::HubCounts,
    session::SessionId,
    store::{Store, epoch::Epoch},
    wire::{
        CloseCode,
        broadcast::{Broadcast, Room},
    },
};
use revisions::Revisions;
use subscriptions::Subscriptions;

type Engine = Rooms<Room, ConnectionId, Arc<Broadcast>>;

/// This node's side of every room that someone on it is in.
pub(crate) struct Hub {
    engine: Mutex<Engine>,
    connections: DashMap<ConnectionId, Arc<Outbound>>,
    next_id: AtomicU64,
    subscriptions: Subscriptions,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    counts: HubCounts,
    /// Rooms whose gap is being filled.
    filling: Mutex<HashSet<SessionId>>,
    revisions: Revisions,
    /// Rooms whose changes are being looked for.
    refilling: Mutex<HashSet<SessionId>>,
    fills: Semaphore,
    /// As the last check found it.
    epoch: Mutex<Option<Epoch>>,
    /// A node says that who is blocked has changed.
    hinted: Notify,
}

impl Hub {
    /// Starts the hub on what the bus hears.
    pub(crate) fn start(
        bus: Arc<dyn Bus>,
        events: BusEvents,
        store: Arc<dyn Store>,
        counts: HubCounts,
    ) -> Arc<Self> {
        let hub = Arc::new(Self {
            engine: Mutex::default(),
            connections: DashMap::new(),
            next_id: AtomicU64::new(1),
            subscriptions: Subscriptions::default(),
            bus,
            store,
            counts,
            filling: Mutex::default(),
            revisions: Revisions::default(),
            refilling: Mutex::default(),
            fills: Semaphore::new(gaps::FILLS),
            epoch: Mutex::default(),
            hinted: Notify::new(),
        });
        tokio::spawn(Arc::clone(&hub).listen(events));
        tokio::spawn(Arc::clone(&hub).keep_subscriptions());
        tokio::spawn(Arc::clone(&hub).keep_checking());
        hub
    }

    async fn listen(self: Arc<Self>, mut events: BusEvents) {
        while let Some(event) = events.recv().await {
            self.counts.queue.set(i64::try_from(events.len()).unwrap_or(i64::MAX));
            match event {
                BusEvent::Heard(broadcast) => {
                    self.counts.delivery.heard(&broadcast);
                    self.deliver(&broadcast);
                }
                BusEvent::Interrupted => self.resubscribe_all(),
            }
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in; from here on its person's inbox is heard.
    pub(crate) async fn connect(&self, outbound: &Arc<Outbound>) {
        self.connections.insert(outbound.id(), Arc::clone(outbound));
        let inbox = Room::User(outbound.person().clone());
        self.enter(&inbox, outbound.id()).await;
        self.go_live(&inbox, outbound.id(), 0);
    }

    /// An id for a connection, unique on this node.
    pub(crate) fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a connection into a session's room, catching up, that has read the session as it is at these
    /// positions. How far it had heard the room live before.
    pub(crate) async fn enter_session(
        &self,
        id: SessionId,
        conn: ConnectionId,
        last_seq: u64,
        rev: u64,
    ) -> Option<u64> {
        let room = Room::Session(id);
        let heard = self.engine().join(&room, conn, last_seq);
        // Behind the join: the sessions of rooms that nobody is in are forgotten.
        self.revisions.begin(id, rev);
        self.subscription(&room).await;
        heard
    }

    /// Puts a connection into a room, catching up. Law I5: when it returns, the bus subscription
    /// stands (or the bus is away, and the check of the heads covers for it); history is read after.
    async fn enter(&self, room: &Room, conn: ConnectionId) {
        self.engine().join(room, conn, 0);
        self.subscription(room).await;
    }

    /// See [`Rooms::go_live`].
    pub(crate) fn go_live(&self, room: &Room, conn: ConnectionId, read_up_to: u64) -> GoLive {
        self.engine().go_live(room, conn, read_up_to)
    }

    /// Whether the connection is in the room.
    pub(crate) fn is_in(&self, room: &Room, conn: ConnectionId) -> bool {
        self.engine().is_in(room, conn)
    }

    /// Takes a connection out of a room.
    pub(crate) fn leave(&self, room: &Room, conn: ConnectionId) {
        let emptied = self.engine().leave(room, conn);
        if emptied {
            self.subscriptions.reconsider([room.clone()]);
        }
    }

    /// Takes a connection out of everything.
    pub(crate) fn disconnect(&self, conn: ConnectionId) {
        let emptied = self.engine().disconnect(conn);
        self.connections.remove(&conn);
        self.subscriptions.reconsider(emptied);
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Tells of each room that someone is in.
    pub(crate) fn each_room(&self, mut tell: impl FnMut(&Room)) {
        self.engine().positions().for_each(|(room, _)| tell(room));
    }

    /// Every connection, for what concerns them all.
    pub(crate) fn connections(&self) -> Vec<Arc<Outbound>> {
        self.connections.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Brings a broadcast to the room's subscribers: at once, or when its turn has come.
    pub(crate) fn deliver(self: &Arc<Self>, broadcast: &Arc<Broadcast>) {
        if broadcast.expects_life() {
            for conn in self.engine().subscribers(&broadcast.room) {
                if let Some(outbound) = self.connections.get(&conn) {
                    outbound.expect_life();
                }
            }
            return;
        }
        if broadcast.is_for_nodes() {
            self.hinted.notify_one();
            return;
        }
        let mut engine = self.engine();
        let offer = if let Some(seq) = broadcast.seq() {
            engine.offer(&broadcast.room, seq, Arc::clone(broadcast), |conn, due| {
                self.enqueue(conn, due);
            })
        } else if self.is_known_change(broadcast) {
            Offer::Known
        } else {
            engine.subscribers(&broadcast.room).for_each(|conn| self.enqueue(conn, broadcast));
            Offer::Delivered
        };
        drop(engine);
        if let Some(heard) = broadcast.heard() {
            heard.offered(offer);
        }
        if let Room::Session(id) = &broadcast.room {
            if offer == Offer::Early && self.fill(*id) {
                self.counts.gaps_early.inc();
            }
            if let Some(rev) = broadcast.rev() {
                self.revisions.hear(*id, rev);
            }
        }
    }

    /// Whether it tells of a change that the room has heard of: an older one would undo a newer one.
    fn is_known_change(&self, broadcast: &Broadcast) -> bool {
        let Room::Session(id) = &broadcast.room else { return false };
        broadcast.rev().is_some_and(|rev| self.revisions.is_heard(*id, rev))
    }

    /// Resolves when a node has said so since the last time.
    pub(crate) async fn until_hinted(&self) {
        self.hinted.notified().await;
    }

    fn enqueue(&self, conn: ConnectionId, broadcast: &Arc<Broadcast>) {
        self.counts.delivery.queued(broadcast);
        if let Some(outbound) = self.connections.get(&conn) {
            outbound.push(broadcast);
        }
    }

    /// Tells one connection something that it shares with others.
    pub(crate) fn tell(&self, conn: ConnectionId, broadcast: &Arc<Broadcast>) {
        self.enqueue(conn, broadcast);
    }

    /// Ends every connection, spread out, so that they do not come back elsewhere all at once.
    pub(crate) async fn drain(&self, spread: Duration) {
        Self::release(self.connections(), spread).await;
        // Connections that came in while the node began to drain.
        self.connections().iter().for_each(|outbound| outbound.close(CloseCode::Draining));
    }

    /// Ends these connections, spread out.
    async fn release(connections: Vec<Arc<Outbound>>, spread: Duration) {
        let mut leaving: Vec<_> = connections
            .into_iter()
            .map(|outbound| (spread.mul_f64(rand::random::<f64>()), outbound))
            .collect();
        leaving.sort_unstable_by_key(|(after, _)| *after);
        for (after, outbound) in &leaving {
            outbound.tell_draining(*after);
        }
        let start = tokio::time::Instant::now();
        for (after, outbound) in leaving {
            tokio::time::sleep_until(start + after).await;
            outbound.close(CloseCode::Draining);
        }
    }
}
