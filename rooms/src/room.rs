//! One room: its subscribers, its position, and the items that came early.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use crate::{GoLive, HELD_MAX, Published};

#[derive(Debug)]
pub(crate) struct Room<C, M> {
    /// The last number delivered.
    position: u64,
    /// The last number read by each subscriber; `None` while it is catching up.
    subscribers: HashMap<C, Option<u64>>,
    /// Items with numbers beyond `position + 1`, at most [`HELD_MAX`].
    held: BTreeMap<u64, M>,
}

impl<C: Copy + Eq + Hash, M> Room<C, M> {
    pub(crate) fn at(position: u64) -> Self {
        Self { position, subscribers: HashMap::new(), held: BTreeMap::new() }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the number up to which `conn` had read, if it was live.
    pub(crate) fn join(&mut self, conn: C) -> Option<u64> {
        self.subscribers.insert(conn, None).flatten()
    }

    /// Returns true if no subscriber is left.
    pub(crate) fn leave(&mut self, conn: C) -> bool {
        self.subscribers.remove(&conn);
        self.subscribers.is_empty()
    }

    pub(crate) fn go_live(&mut self, conn: C, read_up_to: u64) -> GoLive {
        match self.subscribers.get_mut(&conn) {
            None => GoLive::Absent,
            Some(_) if read_up_to < self.position => GoLive::Behind(self.position),
            Some(cursor) => {
                *cursor = Some(read_up_to);
                GoLive::Live
            }
        }
    }

    /// Returns true if the room had delivered more than that.
    pub(crate) fn rewind(&mut self, position: u64) -> bool {
        self.held.clear();
        if self.position <= position {
            return false;
        }
        self.position = position;
        for cursor in self.subscribers.values_mut() {
            *cursor = cursor.map(|read| read.min(position));
        }
        true
    }

    pub(crate) fn subscribers(&self) -> impl Iterator<Item = C> {
        self.subscribers.keys().copied()
    }

    pub(crate) fn publish(
        &mut self,
        seq: u64,
        item: M,
        mut deliver: impl FnMut(C, &M),
    ) -> Published {
        if seq <= self.position {
            return Published::Known;
        }
        if seq > self.position + 1 {
            if self.held.len() < HELD_MAX {
                self.held.insert(seq, item);
            }
            return Published::Early;
        }
        self.deliver(seq, &item, &mut deliver);
        while let Some(item) = self.held.remove(&(self.position + 1)) {
            self.deliver(self.position + 1, &item, &mut deliver);
        }
        Published::Delivered
    }

    fn deliver(&mut self, seq: u64, item: &M, deliver: &mut impl FnMut(C, &M)) {
        self.position = seq;
        for (conn, cursor) in &mut self.subscribers {
            // A subscriber that read ahead of the room while it caught up skips what it has read.
            if cursor.is_some_and(|read| read < seq) {
                *cursor = Some(seq);
                deliver(*conn, item);
            }
        }
    }
}
