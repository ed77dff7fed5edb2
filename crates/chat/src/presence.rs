//! Presence of people on any node, sent to those who share a joined session with them.
//!
//! Each node writes its people to the bus, and reads there, every few seconds, the state of those whom its
//! connections watch. Reading at intervals needs no notifications: a killed node is noticed because its lease
//! runs out ([`bus::ADDRESS_LEASE_SECS`]), and a bus that comes back empty is filled again. A person who
//! disconnects is kept for a while, and is offline for others after two reads, so that a phone that loses its
//! connection for a moment does not flicker.

mod leaving;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dashmap::{DashMap, Entry};
use jiff::Timestamp;
use rooms::Rooms;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use self::leaving::Leaving;
use crate::{hub::Hub, outbound::ConnectionId, pushes::PushTable};
use bus::{BusError, PresenceTable, broadcast::Broadcast};
use identity::people_table::PeopleTable;
use model::person::Person;
use platform::{
    jobs::JobsDue,
    tasks::{Stage, Tasks},
};

/// Interval at which a node reads the state of the watched people.
const READ_INTERVAL: Duration = Duration::from_secs(3);
/// Interval at which a node writes its own people again.
const WRITE_INTERVAL: Duration = Duration::from_secs(15);
/// Interval at which a node stores the time of its people's presence, for the case that the node is killed.
const SEEN_INTERVAL: Duration = Duration::from_secs(60);
/// Time for which a person without a connection here is kept.
pub const GRACE: Duration = Duration::from_secs(5);
/// Time limit to read when a person was last seen. Other people's states wait for it.
const LAST_SEEN_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum number of people in one request to the bus or the store.
const CHUNK: usize = 500;
/// Number of its own people that a node reads from the bus, to detect that the bus has lost them: enough to
/// notice if one of several servers has.
const SAMPLE: usize = 32;
/// Time for a new entry to be visible on all nodes.
const SETTLE: Duration = Duration::from_millis(200);
/// Time for which nobody counts as gone after the bus was away or came back empty: other nodes detect this by
/// themselves, and write their people then.
const CALM: Duration = Duration::from_secs(10);

/// One node's side of presence.
pub struct Presence {
    table: Arc<dyn PresenceTable>,
    seen: PeopleTable,
    pushes: PushTable,
    due: JobsDue,
    hub: Arc<Hub>,
    /// Number of connections of each person here.
    here: DashMap<Person, usize>,
    leaving: Leaving,
    tasks: Tasks,
    watched: Mutex<Watched>,
    /// Wakes the reader: the state of a watched person is unknown.
    asked: Notify,
    /// The bus has lost this node's people and its address.
    forgotten: Notify,
}

#[derive(Default)]
struct Watched {
    watchers: Rooms<Person, ConnectionId, ()>,
    known: HashMap<Person, State>,
}

/// State of a person as sent to their watchers.
#[derive(Clone, Copy, Debug)]
struct State {
    online: bool,
    /// The last read did not find them.
    missed: bool,
    last_seen: Option<Timestamp>,
}

/// Parts of presence.
pub struct PresenceParts {
    /// Background tasks.
    pub tasks: Tasks,
    /// People online on all nodes.
    pub table: Arc<dyn PresenceTable>,
    /// Time at which each person was last online.
    pub seen: PeopleTable,
    /// Pushes of people who were taken for connected.
    pub pushes: PushTable,
    /// Wakes the workers of these pushes.
    pub due: JobsDue,
    /// This node's connections.
    pub hub: Arc<Hub>,
}

impl Presence {
    /// Starts the background tasks that read and write the table.
    pub fn start(parts: PresenceParts) -> Arc<Self> {
        let PresenceParts { tasks, table, seen, pushes, due, hub } = parts;
        let presence = Arc::new(Self {
            table,
            seen,
            pushes,
            due,
            hub,
            here: DashMap::new(),
            leaving: Leaving::default(),
            tasks: tasks.clone(),
            watched: Mutex::default(),
            asked: Notify::new(),
            forgotten: Notify::new(),
        });
        tasks.spawn(Stage::Delivery, "presence.watched", Arc::clone(&presence).keep_refreshing());
        tasks.spawn(Stage::Delivery, "presence.here", Arc::clone(&presence).keep_noting());
        tasks.spawn(Stage::Delivery, "presence.leaving", Arc::clone(&presence).keep_removing());
        presence
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more connection of a person on this node, until [`Presence::disconnect`].
    pub async fn connect(&self, person: &Person) {
        let first = {
            let mut count = self.here.entry(person.clone()).or_default();
            *count += 1;
            *count == 1
        };
        if first && let Err(error) = self.table.mark_online(std::slice::from_ref(person)).await {
            tracing::debug!(%error, "online mark not stored; retried later");
        }
    }

    /// Removes a connection of a person, with everything that it watched.
    pub fn disconnect(&self, person: &Person, conn: ConnectionId) {
        let mut watched = self.watched();
        for nobody_watches in watched.watchers.disconnect(conn) {
            watched.known.remove(&nobody_watches);
        }
        drop(watched);
        let last = match self.here.entry(person.clone()) {
            Entry::Occupied(mut count) => {
                *count.get_mut() = count.get().saturating_sub(1);
                *count.get() == 0
            }
            Entry::Vacant(_) => false,
        };
        if last {
            self.leaving.put(person);
        }
    }

    /// Removes this node's people from the bus, as the node ends.
    pub async fn end(&self) {
        let people = self.people();
        for chunk in people.chunks(CHUNK) {
            let noted =
                async { tokio::join!(self.seen.seen(chunk), self.table.mark_offline(chunk)) };
            if timeout(GRACE, noted).await.is_err() {
                return;
            }
        }
    }

    fn people(&self) -> Vec<Person> {
        self.here.iter().map(|entry| entry.key().clone()).collect()
    }

    /// Sends the connection this person's present state, and each change from now on.
    pub fn watch(&self, person: &Person, conn: ConnectionId) {
        let mut watched = self.watched();
        watched.watchers.join(person, conn, 0);
        // Sent under the lock, as all states are: the last one sent is the known one.
        match watched.known.get(person) {
            Some(state) => self.hub.tell(conn, &Self::broadcast(person, *state)),
            None => self.asked.notify_one(),
        }
    }

    /// Stops sending this person's state to the connection.
    pub fn unwatch(&self, person: &Person, conn: ConnectionId) {
        let mut watched = self.watched();
        if watched.watchers.leave(person, conn) {
            watched.known.remove(person);
        }
    }

    /// Whether a person is connected to any node.
    pub async fn is_online(&self, person: &Person) -> Result<bool, BusError> {
        if self.here.get(person).is_some_and(|count| *count > 0) {
            return Ok(true);
        }
        let found = self.table.are_online(std::slice::from_ref(person)).await?;
        Ok(found.first().copied().unwrap_or(false))
    }

    fn broadcast(person: &Person, state: State) -> Arc<Broadcast> {
        Arc::new(Broadcast::presence(person, state.online, state.last_seen))
    }

    async fn keep_refreshing(self: Arc<Self>) {
        let mut failed = false;
        let mut read_at = Instant::now();
        let mut calm_until = read_at;
        loop {
            let full = tokio::select! {
                () = sleep_until(read_at + READ_INTERVAL) => true,
                () = self.asked.notified() => false,
            };
            if full {
                read_at = Instant::now();
            }
            if failed {
                if self.note().await.is_err() {
                    sleep(READ_INTERVAL).await;
                    continue;
                }
                failed = false;
                calm_until = Instant::now() + CALM;
            }
            if full && self.is_forgotten().await {
                // The bus came back empty: write everyone again, and this node's address.
                calm_until = Instant::now() + CALM;
                self.forgotten.notify_one();
                failed = self.note().await.is_err();
                sleep(SETTLE).await;
            }
            let is_calm = Instant::now() < calm_until;
            failed |= self.refresh(full, is_calm).await.is_err();
        }
    }

    /// Resolves when the bus has lost this node's entries.
    pub async fn until_forgotten(&self) {
        self.forgotten.notified().await;
    }

    /// Whether the bus has lost a person who is here.
    async fn is_forgotten(&self) -> bool {
        let some: Vec<Person> =
            self.here.iter().take(SAMPLE).map(|entry| entry.key().clone()).collect();
        let missing = self.missing(some).await;
        if missing.is_empty() {
            return false;
        }
        // The entry of a person who has just come may be on its way.
        sleep(SETTLE).await;
        !self.missing(missing).await.is_empty()
    }

    /// The people in this list who are here but missing on the bus.
    async fn missing(&self, people: Vec<Person>) -> Vec<Person> {
        if people.is_empty() {
            return people;
        }
        let Ok(found) = self.table.are_online(&people).await else { return Vec::new() };
        let here = people.into_iter().zip(found);
        let missing = here.filter(|(person, found)| !found && self.here.contains_key(person));
        missing.map(|(person, _)| person).collect()
    }

    /// Reads the state of all watched people, or only of those whose state is unknown. While `is_calm`,
    /// nobody counts as gone.
    async fn refresh(&self, full: bool, is_calm: bool) -> Result<(), BusError> {
        let people: Vec<Person> = {
            let watched = self.watched();
            let all = watched.watchers.positions().map(|(person, _)| person);
            all.filter(|person| full || !watched.known.contains_key(person)).cloned().collect()
        };
        for chunk in people.chunks(CHUNK) {
            let present = self.table.are_online(chunk).await?;
            for (person, online) in chunk.iter().zip(present) {
                self.found(person, online, is_calm).await;
            }
        }
        Ok(())
    }

    /// Sends a new state to the watchers.
    async fn found(&self, person: &Person, online: bool, is_calm: bool) {
        let online = online || self.here.contains_key(person);
        let before = {
            let mut watched = self.watched();
            let before = watched.known.get(person).copied();
            if let Some(state) = watched.known.get_mut(person) {
                let waits = state.online && !online && (is_calm || !state.missed);
                state.missed = !online && !is_calm;
                if state.online == online || waits {
                    return;
                }
            } else if is_calm && !online {
                // Offline is not certain yet.
                return;
            }
            before
        };
        let last_seen = if online {
            None
        } else {
            match timeout(LAST_SEEN_TIMEOUT, self.seen.last_seen(person)).await {
                Ok(Ok(last_seen)) => last_seen,
                // The next read finds it, or the one after that.
                _ => return,
            }
        };
        let state = State { online, missed: !online, last_seen };
        let mut watched = self.watched();
        // All watchers may have left meanwhile.
        let watchers: Vec<ConnectionId> = watched.watchers.subscribers(person).collect();
        if watchers.is_empty() {
            return;
        }
        watched.known.insert(person.clone(), state);
        if before.is_none_or(|before| before.online != online) {
            let broadcast = Self::broadcast(person, state);
            for conn in watchers {
                self.hub.tell(conn, &broadcast);
            }
        }
    }

    async fn note(&self) -> Result<(), BusError> {
        for chunk in self.people().chunks(CHUNK) {
            self.table.mark_online(chunk).await?;
        }
        Ok(())
    }

    async fn keep_noting(self: Arc<Self>) {
        let mut seen = Instant::now();
        loop {
            sleep(WRITE_INTERVAL).await;
            if let Err(error) = self.note().await {
                tracing::debug!(%error, "presence not refreshed; retried later");
            }
            if seen.elapsed() < SEEN_INTERVAL {
                continue;
            }
            seen = Instant::now();
            for chunk in self.people().chunks(CHUNK) {
                if let Err(error) = self.seen.seen(chunk).await {
                    tracing::debug!(%error, "presence times not stored");
                }
            }
        }
    }
}
