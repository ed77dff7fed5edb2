//! The pure engine: which connection is in which room, and what a publish becomes.
//!
//! Law I1: no I/O, no clock, no async, and nothing in here can fail. Whoever drives the engine (the
//! hub, a model test, a benchmark) passes everything in and does what comes out.
//!
//! Law I2: `room → connections` and `connection → rooms` are inverses of one another, and neither
//! keeps an empty set.
//!
//! A room numbers what is published in it: 1, 2, 3 … A room has a **position**: the number up to
//! which it has delivered. What arrives twice is dropped, what arrives early is held until the
//! numbers between have come. A subscriber starts out *catching up*: it hears no number until
//! [`Rooms::go_live`] has been told how far it has read, and from then on each number once.

mod room;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use room::Room;

/// How many early items a room holds at most. What comes on top is forgotten; whoever fills the gap
/// reads it again from where it is stored.
pub const HELD_MAX: usize = 256;

/// What became of an item that was offered to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was next, and has been delivered, with all that had been held for it.
    Delivered,
    /// It came early: numbers between the room's position and this one are missing.
    Early,
    /// The room had delivered this number before.
    Known,
    /// Nobody on this node is in the room.
    NoRoom,
}

/// Whether a subscriber that was catching up hears the room live now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoLive {
    /// It does, from the number after the one it named.
    Live,
    /// The room has moved on to this position meanwhile: read up to there, then ask again.
    Behind(u64),
    /// It is not in the room (it left, or disconnected, while it was reading).
    Absent,
}

/// Rooms `R` with connections `C` in them, through which items `M` are published.
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
    /// Puts `conn` into `room`, catching up. A room that nobody was in starts at `position`; one
    /// that exists keeps its own. Joining again starts the catching-up anew; the number up to which
    /// `conn` has heard everything, if it was live.
    pub fn join(&mut self, room: &R, conn: C, position: u64) -> Option<u64> {
        self.joined.entry(conn).or_default().insert(room.clone());
        self.rooms.entry(room.clone()).or_insert_with(|| Room::at(position)).join(conn)
    }

    /// Tells the room that `conn` has read everything up to and including `read_up_to`.
    pub fn go_live(&mut self, room: &R, conn: C, read_up_to: u64) -> GoLive {
        self.rooms.get_mut(room).map_or(GoLive::Absent, |room| room.go_live(conn, read_up_to))
    }

    /// Takes `conn` out of `room`; true where that was the last one and the room is gone.
    pub fn leave(&mut self, room: &R, conn: C) -> bool {
        if let Some(rooms) = self.joined.get_mut(&conn) {
            rooms.remove(room);
            if rooms.is_empty() {
                self.joined.remove(&conn);
            }
        }
        self.remove(room, conn)
    }

    /// Takes `conn` out of every room; the rooms that are gone with it.
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

    /// Offers number `seq` to the room. `deliver` is called for each subscriber and each item that
    /// is due now, item by item in the order of their numbers.
    pub fn offer(&mut self, room: &R, seq: u64, item: M, deliver: impl FnMut(C, &M)) -> Offer {
        match self.rooms.get_mut(room) {
            Some(room) => room.offer(seq, item, deliver),
            None => Offer::NoRoom,
        }
    }

    /// Everyone in a room, for what carries no number (typing, read marks): one that is catching up
    /// hears it too, as it could not be told later.
    pub fn subscribers(&self, room: &R) -> impl Iterator<Item = C> {
        self.rooms.get(room).into_iter().flat_map(Room::subscribers)
    }

    /// Whether anyone is in the room.
    #[must_use]
    pub fn contains(&self, room: &R) -> bool {
        self.rooms.contains_key(room)
    }

    /// Whether `conn` is in the room, live or catching up.
    #[must_use]
    pub fn is_in(&self, room: &R, conn: C) -> bool {
        self.joined.get(&conn).is_some_and(|rooms| rooms.contains(room))
    }

    /// The number up to which the room has delivered.
    #[must_use]
    pub fn position(&self, room: &R) -> Option<u64> {
        self.rooms.get(room).map(Room::position)
    }

    /// Takes the room back to `position` where it is beyond, and forgets the items that came early: their
    /// numbers belong to other items now, and are delivered anew. True where it was beyond.
    pub fn rewind(&mut self, room: &R, position: u64) -> bool {
        self.rooms.get_mut(room).is_some_and(|room| room.rewind(position))
    }

    /// Every room with its position.
    pub fn positions(&self) -> impl Iterator<Item = (&R, u64)> {
        self.rooms.iter().map(|(room, state)| (room, state.position()))
    }

    /// How many rooms `conn` is in.
    #[must_use]
    pub fn joined(&self, conn: C) -> usize {
        self.joined.get(&conn).map_or(0, HashSet::len)
    }

    /// How many rooms there are.
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
