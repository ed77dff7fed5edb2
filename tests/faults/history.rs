//! Records of a round: the checker's only input besides the database.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

/// A message as a device received it, or as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) session: String,
    pub(crate) seq: u64,
    pub(crate) id: String,
    /// The `clientId`, unique to a device.
    pub(crate) key: String,
    /// Version of the message: the session's revision at its last change, or 0.
    pub(crate) rev: u64,
    pub(crate) body: String,
}

impl Told {
    /// Reads a message of the API.
    pub(crate) fn read(message: &Value) -> Self {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        Self {
            session: text("sessionId"),
            seq: message["seq"].as_u64().unwrap_or_default(),
            id: text("id"),
            key: text("clientId"),
            rev: message["rev"].as_u64().unwrap_or_default(),
            body: text("body"),
        }
    }
}

/// An event of a device.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// Sent the message, for the first time or again.
    Tried { session: String, key: String },
    /// Received the acknowledgement.
    Acknowledged(Told),
    /// Received a final refusal.
    Refused { key: String, code: String },
    /// Joined its session, with every message up to `after`.
    Joined { session: String, after: u64 },
    /// Received a message, live or from history.
    Heard(Told),
    /// Received the acknowledgement of its edit.
    Amended(Told),
    /// Received a changed version of a message.
    Updated(Told),
    /// Lost the connection.
    Gone,
}

/// A fact with its time and device.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) device: usize,
    pub(crate) fact: Fact,
}

/// Everything recorded in a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Entries in order of time.
    pub(crate) entries: Vec<Entry>,
    /// Person id of each device.
    pub(crate) devices: Vec<String>,
    /// Members of each session.
    pub(crate) members: HashMap<String, Vec<String>>,
    /// Rows of these sessions in the database at the end, by `seq`.
    pub(crate) stored: Vec<Told>,
    /// Periods in which delivery may be late, because the database was away or a node stopped.
    pub(crate) troubles: Vec<(Duration, Duration)>,
}

/// Collects the facts of all devices.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    entries: Mutex<Vec<Entry>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), entries: Mutex::default() }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn note(&self, device: usize, fact: Fact) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // The time is read under the lock, so that entries are in order of time.
        entries.push(Entry { at: self.now(), device, fact });
    }

    /// All entries so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
