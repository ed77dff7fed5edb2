//! What clients saw: the only thing that the checker goes by, beside what is in the database.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

/// A message as someone was told of it, or as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) session: String,
    pub(crate) seq: u64,
    pub(crate) id: String,
    /// The `clientId`, which no two devices use alike.
    pub(crate) key: String,
    /// Which version of it this is: the session's revision in which it was changed last, or 0.
    pub(crate) rev: u64,
    pub(crate) body: String,
}

impl Told {
    /// Reads a message of the contract's form.
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

/// Something that happened to a device.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// It sent this, for the first time or again.
    Tried { session: String, key: String },
    /// It was told that this is stored.
    Acknowledged(Told),
    /// It was told for good that this is not taken.
    Refused { key: String, code: String },
    /// It came back into its session, having everything up to `after`.
    Joined { session: String, after: u64 },
    /// It was told of a message, live or from history.
    Heard(Told),
    /// It was told that its change of a message is stored.
    Amended(Told),
    /// It was told that a message is now so.
    Updated(Told),
    /// Its connection is gone.
    Gone,
}

/// A fact, when, and whose.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) device: usize,
    pub(crate) fact: Fact,
}

/// All that is known of a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// In the order in which it happened.
    pub(crate) entries: Vec<Entry>,
    /// Whose device each one is.
    pub(crate) devices: Vec<String>,
    /// Who may read each session.
    pub(crate) members: HashMap<String, Vec<String>>,
    /// What the database holds of these sessions in the end, by `seq`.
    pub(crate) stored: Vec<Told>,
    /// When nobody could expect to hear at once: the database was away, or a node stood still.
    pub(crate) troubles: Vec<(Duration, Duration)>,
}

/// Where devices write down what they see.
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
        // Under the lock, so that the entries are in the order of their times.
        entries.push(Entry { at: self.now(), device, fact });
    }

    /// All that was noted so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
