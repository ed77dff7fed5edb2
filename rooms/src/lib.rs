//! The pure engine: connections in rooms, and the deliveries of a publish.
//!
//! Law I1: no I/O, no clock, no async, and no operation can fail. The caller (the hub, a model
//! test, a benchmark) passes in every input and acts on the result.
//!
//! Law I2: `room → connections` and `connection → rooms` are inverses of one another, and neither
//! keeps an empty set.
//!
//! A room numbers its items: 1, 2, 3 … Its **position** is the last number that it has delivered. A
//! repeated number is dropped. An early item is held until the missing numbers have arrived. A new
//! subscriber is *catching up*: it receives no item until [`Rooms::go_live`] passes the number up
//! to which it has read. From then on it receives each number once.

mod room;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use room::Room;

/// Maximum of early items that a room holds. Further ones are dropped; the backfill reads them
/// again from the store.
pub const HELD_MAX: usize = 256;

/// Outcome of publishing an item in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was the next number. It has been delivered, with the held items that follow it.
    Delivered,
    /// Early: numbers between the room's position and this one are missing.
    Early,
    /// The room had already delivered this number.
    Known,
    /// No connection of this node is in the room.
    NoRoom,
}

/// Outcome of [`Rooms::go_live`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoLive {
    /// The subscriber is live, from the number after the one that it named.
    Live,
    /// The room has moved on to this position: read up to it, then try again.
    Behind(u64),
    /// The connection is not in the room: it left or disconnected while it was reading.
    Absent,
}

/// Rooms `R` with connections `C` as subscribers and items `M`.
#[derive(Debug)]
pub struct Rooms<R, C, M> {
    rooms: HashMap<R, Room<C, M>>,
    joined: HashMap<C, HashSet<R>>,
}

impl<R, C, M> Default for Rooms<R, C, M> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), joined: HashMap::new() }
    }
}

impl<R, C, M> Rooms<R, C, M>
where
    R: Clone + Eq + Hash,
    C: Copy + Eq + Hash,
{
    /// Puts `conn` into `room`, catching up. A new room starts at `position`; an existing room
    /// keeps its own. Joining again restarts the catching up. Returns the number up to which `conn`
    /// had read, if it was live.
    pub fn join(&mut self, room: &R, conn: C, position: u64) -> Option<u64> {
        self.joined.entry(conn).or_default().insert(room.clone());
        self.rooms.entry(room.clone()).or_insert_with(|| Room::at(position)).join(conn)
    }

    /// Makes `conn` live, after it has read everything up to and including `read_up_to`.
    pub fn go_live(&mut self, room: &R, conn: C, read_up_to: u64) -> GoLive {
        self.rooms.get_mut(room).map_or(GoLive::Absent, |room| room.go_live(conn, read_up_to))
    }

    /// Takes `conn` out of `room`. Returns true if it was the last one and the room is removed.
    pub fn leave(&mut self, room: &R, conn: C) -> bool {
        if let Some(rooms) = self.joined.get_mut(&conn) {
            rooms.remove(room);
            if rooms.is_empty() {
                self.joined.remove(&conn);
            }
        }
        self.remove(room, conn)
    }

    /// Takes `conn` out of every room. Returns the rooms that are removed with it.
    pub fn disconnect(&mut self, conn: C) -> Vec<R> {
        let rooms = self.joined.remove(&conn).unwrap_or_default();
        rooms.into_iter().filter(|room| self.remove(room, conn)).collect()
    }

    fn remove(&mut self, room: &R, conn: C) -> bool {
        let Some(found) = self.rooms.get_mut(room) else { return false };
        let emptied = found.leave(conn);
        if emptied {
            self.rooms.remove(room);
        }
        emptied
    }

    /// Offers number `seq` to the room. Calls `deliver` for each subscriber and each item that is
    /// due now, item by item in the order of their numbers.
    pub fn publish(
        &mut self,
        room: &R,
        seq: u64,
        item: M,
        deliver: impl FnMut(C, &M),
    ) -> Published {
        match self.rooms.get_mut(room) {
            Some(room) => room.publish(seq, item, deliver),
            None => Published::NoRoom,
        }
    }

    /// All subscribers of a room, for events without a number (typing, read marks). It includes
    /// those that are catching up: such an event cannot be sent later.
    pub fn subscribers(&self, room: &R) -> impl Iterator<Item = C> {
        self.rooms.get(room).into_iter().flat_map(Room::subscribers)
    }

    /// Whether any connection is in the room.
    #[must_use]
    pub fn contains(&self, room: &R) -> bool {
        self.rooms.contains_key(room)
    }

    /// Whether `conn` is in the room, live or catching up.
    #[must_use]
    pub fn is_in(&self, room: &R, conn: C) -> bool {
        self.joined.get(&conn).is_some_and(|rooms| rooms.contains(room))
    }

    /// The last number that the room has delivered.
    #[must_use]
    pub fn position(&self, room: &R) -> Option<u64> {
        self.rooms.get(room).map(Room::position)
    }

    /// Takes the room back to `position` if it is beyond, and drops its early items: their numbers
    /// belong to other items now, and are delivered again. Returns true if it was beyond.
    pub fn rewind(&mut self, room: &R, position: u64) -> bool {
        self.rooms.get_mut(room).is_some_and(|room| room.rewind(position))
    }

    /// Every room with its position.
    pub fn positions(&self) -> impl Iterator<Item = (&R, u64)> {
        self.rooms.iter().map(|(room, state)| (room, state.position()))
    }

    /// Number of rooms that `conn` is in.
    #[must_use]
    pub fn joined(&self, conn: C) -> usize {
        self.joined.get(&conn).map_or(0, HashSet::len)
    }

    /// Number of rooms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is no room at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}
