//! Which changes of messages were heard in each live session, so that one that the bus lost is found.
//!
//! Changes come in no order, and where a message changes to and fro not each is told. So there is a
//! revision up to which everything is known, and some beyond it that were heard. Where others are
//! missing, what has changed since is read, and told if it was not heard.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::session::SessionId;

/// How many revisions are kept beyond the first that is missing. What comes on top is told twice.
const BEYOND_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Revisions(Mutex<HashMap<SessionId, Heard>>);

#[derive(Debug)]
struct Heard {
    up_to: u64,
    beyond: BTreeSet<u64>,
}

impl Heard {
    fn from(up_to: u64) -> Self {
        Self { up_to, beyond: BTreeSet::new() }
    }

    fn advance(&mut self) {
        while self.beyond.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
    }
}

impl Revisions {
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone is in the session, and reads it as it is at this revision or later. Who was in it before
    /// may lack earlier ones.
    pub(super) fn begin(&self, id: SessionId, rev: u64) {
        self.sessions().entry(id).or_insert_with(|| Heard::from(rev));
    }

    /// The revisions so far are of another epoch. A change since this one may be sent twice.
    pub(super) fn restart(&self, id: SessionId, rev: u64) {
        if let Some(heard) = self.sessions().get_mut(&id) {
            *heard = Heard::from(rev);
        }
    }

    pub(super) fn hear(&self, id: SessionId, rev: u64) {
        if let Some(heard) = self.sessions().get_mut(&id)
            && rev > heard.up_to
            && heard.beyond.len() < BEYOND_MAX
        {
            heard.beyond.insert(rev);
            heard.advance();
        }
    }

    /// Up to where everything is known.
    pub(super) fn up_to(&self, id: SessionId) -> Option<u64> {
        self.sessions().get(&id).map(|heard| heard.up_to)
    }

    pub(super) fn is_heard(&self, id: SessionId, rev: u64) -> bool {
        let sessions = self.sessions();
        sessions.get(&id).is_none_or(|heard| rev <= heard.up_to || heard.beyond.contains(&rev))
    }

    /// Everything up to here was heard, or is told now.
    pub(super) fn settle(&self, id: SessionId, rev: u64) {
        if let Some(heard) = self.sessions().get_mut(&id)
            && rev > heard.up_to
        {
            heard.up_to = rev;
            heard.beyond = heard.beyond.split_off(&(rev + 1));
            heard.advance();
        }
    }

    /// Forgets the sessions that nobody is in.
    pub(super) fn retain(&self, is_live: impl Fn(SessionId) -> bool) {
        self.sessions().retain(|id, _| is_live(*id));
    }
}
