//! This node's connections, and the only route of delivery to them.
//!
//! Law I4: everything delivered to a connection's room was received from the bus or backfilled from the
//! store, and comes through [`Hub::deliver`]. Law I10: the engine's lock is never held across an await.
//! Frames are enqueued under it, so that they keep the engine's order.

pub mod counts;
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
use rooms::{GoLive, Published, Rooms};
use tokio::sync::{Notify, Semaphore};

use crate::{
    hub::counts::HubCounts,
    outbound::{ConnectionId, Outbound},
    store::{Store, epoch::Epoch},
};
use bus::{
    BusEvent, BusEvents, ControlMessage, PubSub,
    broadcast::{Broadcast, Room},
};
use model::ids::SessionKey;
use platform::{
    jobs::JobsDue,
    tasks::{Stage, Tasks},
};
use protocol::CloseCode;
use revisions::Revisions;
use subscriptions::Subscriptions;

type Engine = Rooms<Room, ConnectionId, Arc<Broadcast>>;

/// This node's side of every room that has a connection here.
pub struct Hub {
    engine: Mutex<Engine>,
    connections: DashMap<ConnectionId, Arc<Outbound>>,
    next_id: AtomicU64,
    subscriptions: Subscriptions,
    bus: Arc<dyn PubSub>,
    store: Arc<dyn Store>,
    counts: HubCounts,
    /// Rooms whose missing messages are being backfilled.
    messages_backfilling: Mutex<HashSet<SessionKey>>,
    revisions: Revisions,
    /// Rooms whose missing changes are being backfilled.
    changes_backfilling: Mutex<HashSet<SessionKey>>,
    backfills: Semaphore,
    /// Epoch found by the last check.
    epoch: Mutex<Option<Epoch>>,
    /// Hint from a node that the list of blocks has changed.
    blocks_changed: Notify,
    /// Hint from a node that the tenants have changed.
    tenants_changed: Notify,
    /// Workers of jobs on this node.
    due: JobsDue,
    tasks: Tasks,
}

/// Parts of the hub.
pub struct HubParts {
    /// Background tasks.
    pub tasks: Tasks,
    /// Subscriptions of rooms.
    pub bus: Arc<dyn PubSub>,
    /// Events of the bus.
    pub events: BusEvents,
    /// Source of lost messages.
    pub store: Arc<dyn Store>,
    /// Deliveries and backfills.
    pub counts: HubCounts,
    /// Workers of jobs on this node.
    pub due: JobsDue,
}

impl Hub {
    /// Waits for the next hint that the list of blocks has changed.
    pub async fn until_blocks_changed(&self) {
        self.blocks_changed.notified().await;
    }

    /// Waits for the next hint that the tenants have changed.
    pub async fn until_tenants_changed(&self) {
        self.tenants_changed.notified().await;
    }

    /// Starts the hub on the events of the bus.
    pub fn start(parts: HubParts) -> Arc<Self> {
        let HubParts { tasks, bus, events, store, counts, due } = parts;
        let hub = Arc::new(Self {
            engine: Mutex::default(),
            connections: DashMap::new(),
            next_id: AtomicU64::new(1),
            subscriptions: Subscriptions::default(),
            bus,
            store,
            counts,
            messages_backfilling: Mutex::default(),
            revisions: Revisions::default(),
            changes_backfilling: Mutex::default(),
            backfills: Semaphore::new(gaps::MAX_CONCURRENT_BACKFILLS),
            epoch: Mutex::default(),
            blocks_changed: Notify::new(),
            tenants_changed: Notify::new(),
            due,
            tasks: tasks.clone(),
        });
        tasks.spawn(Stage::Delivery, "hub.listen", Arc::clone(&hub).listen(events));
        tasks.spawn(Stage::Delivery, "hub.subscriptions", Arc::clone(&hub).keep_subscriptions());
        tasks.spawn(Stage::Delivery, "hub.head_check", Arc::clone(&hub).keep_checking());
        hub
    }

    async fn listen(self: Arc<Self>, mut events: BusEvents) {
        while let Some(event) = events.recv().await {
            self.counts.queue.set(i64::try_from(events.len()).unwrap_or(i64::MAX));
            match event {
                BusEvent::Received(broadcast) => {
                    self.counts.delivery.received(&broadcast);
                    self.deliver(&broadcast);
                }
                BusEvent::Control(message) => self.control(message),
                BusEvent::Interrupted => self.resubscribe_all(),
            }
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection and subscribes it to its person's inbox.
    pub async fn connect(&self, outbound: &Arc<Outbound>) {
        self.connections.insert(outbound.id(), Arc::clone(outbound));
        let inbox = Room::User(outbound.scope().person().clone());
        self.enter(&inbox, outbound.id()).await;
        self.go_live(&inbox, outbound.id(), 0);
    }

    /// New id for a connection, unique on this node.
    pub fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a connection into a session's room, in the state of catching up. It has read the session at these
    /// positions. Returns the position up to which it received the room live before.
    pub async fn enter_session(
        &self,
        key: SessionKey,
        conn: ConnectionId,
        last_seq: u64,
        rev: u64,
    ) -> Option<u64> {
        let room = Room::Session(key);
        let joined_at = self.engine().join(&room, conn, last_seq);
        // After the join, because the revisions of rooms without connections are removed.
        self.revisions.begin(key, rev);
        self.subscription(&room).await;
        joined_at
    }

    /// Puts a connection into a room, in the state of catching up. Law I5: when it returns, the bus
    /// subscription stands (or the bus is away, and the head check covers for it). History is read after.
    async fn enter(&self, room: &Room, conn: ConnectionId) {
        self.engine().join(room, conn, 0);
        self.subscription(room).await;
    }

    /// See [`Rooms::go_live`].
    pub fn go_live(&self, room: &Room, conn: ConnectionId, read_up_to: u64) -> GoLive {
        self.engine().go_live(room, conn, read_up_to)
    }

    /// Whether the connection is in the room.
    pub fn is_in(&self, room: &Room, conn: ConnectionId) -> bool {
        self.engine().is_in(room, conn)
    }

    /// Removes a connection from a room.
    pub fn leave(&self, room: &Room, conn: ConnectionId) {
        let emptied = self.engine().leave(room, conn);
        if emptied {
            self.subscriptions.reconsider([room.clone()]);
        }
    }

    /// Removes a connection from all rooms and from this node.
    pub fn disconnect(&self, conn: ConnectionId) {
        let emptied = self.engine().disconnect(conn);
        self.connections.remove(&conn);
        self.subscriptions.reconsider(emptied);
    }

    /// Number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Calls `tell` with each room that has a connection.
    pub fn each_room(&self, mut tell: impl FnMut(&Room)) {
        self.engine().positions().for_each(|(room, _)| tell(room));
    }

    /// All connections.
    pub fn connections(&self) -> Vec<Arc<Outbound>> {
        self.connections.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Acts on a control message.
    fn control(&self, message: ControlMessage) {
        match message {
            ControlMessage::BlocksChanged { .. } => self.blocks_changed.notify_one(),
            ControlMessage::TenantsChanged => self.tenants_changed.notify_one(),
            ControlMessage::JobsDue { after_ms } => {
                self.due.hinted(Duration::from_millis(after_ms));
            }
            ControlMessage::LifeExpected { person } => {
                for conn in self.engine().subscribers(&Room::User(person)) {
                    if let Some(outbound) = self.connections.get(&conn) {
                        outbound.expect_life();
                    }
                }
            }
        }
    }

    /// Delivers a broadcast to the room's subscribers: at once, or when the messages before it have come.
    pub fn deliver(self: &Arc<Self>, broadcast: &Arc<Broadcast>) {
        if broadcast.is_for_nodes() {
            if let Some(message) = broadcast.control_message() {
                self.control(message);
            }
            return;
        }
        let mut engine = self.engine();
        let published = if let Some(seq) = broadcast.seq() {
            engine.publish(&broadcast.room, seq, Arc::clone(broadcast), |conn, due| {
                self.enqueue(conn, due);
            })
        } else if self.is_known_change(broadcast) {
            Published::Known
        } else {
            engine.subscribers(&broadcast.room).for_each(|conn| self.enqueue(conn, broadcast));
            Published::Delivered
        };
        drop(engine);
        if let Some(span) = broadcast.delivery_span() {
            span.published(published);
        }
        if let Room::Session(key) = &broadcast.room {
            if published == Published::Early && self.backfill_messages(*key) {
                self.counts.gaps_early.inc();
            }
            if let Some(rev) = broadcast.rev() {
                self.revisions.received(*key, rev);
            }
        }
    }

    /// Whether the room already received this change or a newer one: an older one would undo a newer one.
    fn is_known_change(&self, broadcast: &Broadcast) -> bool {
        let Room::Session(key) = &broadcast.room else { return false };
        broadcast.rev().is_some_and(|rev| self.revisions.is_heard(*key, rev))
    }

    fn enqueue(&self, conn: ConnectionId, broadcast: &Arc<Broadcast>) {
        self.counts.delivery.queued(broadcast);
        if let Some(outbound) = self.connections.get(&conn) {
            outbound.push(broadcast);
        }
    }

    /// Sends a shared broadcast to one connection.
    pub fn tell(&self, conn: ConnectionId, broadcast: &Arc<Broadcast>) {
        self.enqueue(conn, broadcast);
    }

    /// Closes every connection, spread over this time, so that clients do not reconnect all at once.
    pub async fn drain(&self, spread: Duration) {
        Self::release(self.connections(), spread).await;
        // Connections accepted while the drain began.
        self.connections().iter().for_each(|outbound| outbound.close(CloseCode::Draining));
    }

    /// Closes these connections, spread over this time.
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
