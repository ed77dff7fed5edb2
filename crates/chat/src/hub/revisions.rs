//! Revisions received in each live session, so that changes lost by the bus are found.
//!
//! Changes come in any order, and of a message that changes repeatedly not every change is published. So each
//! session has a revision up to which everything is known, and a set of later ones that were received. If
//! others are missing, the changes since are read, and sent if they were not received.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::ids::SessionKey;

/// Maximum number of revisions kept beyond the first missing one. Later ones may be sent twice.
const BEYOND_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Revisions(Mutex<HashMap<SessionKey, SessionRevisions>>);

#[derive(Debug)]
struct SessionRevisions {
    up_to: u64,
    beyond: BTreeSet<u64>,
}

impl SessionRevisions {
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
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionKey, SessionRevisions>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins at the revision that a joining connection has read. A session that is known already keeps its
    /// state, because earlier connections may lack earlier revisions.
    pub(super) fn begin(&self, key: SessionKey, rev: u64) {
        self.sessions().entry(key).or_insert_with(|| SessionRevisions::from(rev));
    }

    /// Begins anew at this revision in a new epoch. A change since this revision may be sent twice.
    pub(super) fn restart(&self, key: SessionKey, rev: u64) {
        if let Some(session) = self.sessions().get_mut(&key) {
            *session = SessionRevisions::from(rev);
        }
    }

    pub(super) fn received(&self, key: SessionKey, rev: u64) {
        if let Some(session) = self.sessions().get_mut(&key)
            && rev > session.up_to
            && session.beyond.len() < BEYOND_MAX
        {
            session.beyond.insert(rev);
            session.advance();
        }
    }

    /// The revision up to which everything is known.
    pub(super) fn up_to(&self, key: SessionKey) -> Option<u64> {
        self.sessions().get(&key).map(|session| session.up_to)
    }

    pub(super) fn is_heard(&self, key: SessionKey, rev: u64) -> bool {
        let sessions = self.sessions();
        sessions
            .get(&key)
            .is_none_or(|session| rev <= session.up_to || session.beyond.contains(&rev))
    }

    /// Marks everything up to this revision as received, or sent now.
    pub(super) fn settle(&self, key: SessionKey, rev: u64) {
        if let Some(session) = self.sessions().get_mut(&key)
            && rev > session.up_to
        {
            session.up_to = rev;
            session.beyond = session.beyond.split_off(&(rev + 1));
            session.advance();
        }
    }

    /// Removes the sessions without connections.
    pub(super) fn retain(&self, is_live: impl Fn(SessionKey) -> bool) {
        self.sessions().retain(|key, _| is_live(*key));
    }
}
