//! Joined sessions of a connection, and joins in progress.
//!
//! A client does not wait for the answer to a join before it leaves or joins again. So a join is
//! registered when it arrives, and an earlier one detects that it is overtaken.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{ids::SessionId, person::Person};

/// Maximum number of sessions of a connection.
pub const JOINS_MAX: usize = 1_000;

/// Number of a join on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinNumber(u64);

/// Joins of one connection.
#[derive(Debug, Default)]
pub struct Joins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    current: HashMap<SessionId, Current>,
}

#[derive(Debug)]
struct Current {
    number: JoinNumber,
    resumed: Option<Resumed>,
    /// Person whose presence events the connection receives for this session.
    watched: Option<Person>,
}

/// Session that the connection has resumed, until the client joins it itself. Messages sent since must
/// not be repeated.
#[derive(Clone, Copy, Debug)]
struct Resumed {
    from: u64,
    sent: u64,
}

impl Joins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a join, which overtakes earlier ones of the session. `None` if there are too many.
    pub fn begin(&self, id: SessionId) -> Option<JoinNumber> {
        let mut state = self.state();
        if state.current.len() >= JOINS_MAX && !state.current.contains_key(&id) {
            return None;
        }
        state.last += 1;
        let number = JoinNumber(state.last);
        let current =
            state.current.entry(id).or_insert(Current { number, resumed: None, watched: None });
        current.number = number;
        Some(number)
    }

    /// Registers that the client resumes a session of which it has everything up to `from`.
    pub fn resume(&self, id: SessionId, from: u64) -> Option<JoinNumber> {
        let number = self.begin(id)?;
        if let Some(current) = self.state().current.get_mut(&id) {
            current.resumed = Some(Resumed { from, sent: from });
        }
        Some(number)
    }

    /// Records that everything up to here has been sent.
    pub fn sent(&self, id: SessionId, seq: u64) {
        let mut state = self.state();
        let resumed = state.current.get_mut(&id).and_then(|current| current.resumed.as_mut());
        if let Some(resumed) = resumed {
            resumed.sent = resumed.sent.max(seq);
        }
    }

    /// Position from which to answer a client that has everything up to `after`.
    pub fn beyond_resumed(&self, id: SessionId, after: u64) -> u64 {
        let state = self.state();
        match state.current.get(&id).and_then(|current| current.resumed) {
            Some(Resumed { from, sent }) if after >= from => after.max(sent),
            _ => after,
        }
    }

    /// Marks the client's own join as answered: from now on its own positions count. False if the join
    /// has been overtaken.
    pub fn answered(&self, id: SessionId, number: JoinNumber) -> bool {
        let mut state = self.state();
        let current = state.current.get_mut(&id).filter(|current| current.number == number);
        current.map(|current| current.resumed = None).is_some()
    }

    /// Whether neither a leave nor a later join has overtaken this one.
    pub fn is_current(&self, id: SessionId, number: JoinNumber) -> bool {
        self.state().current.get(&id).is_some_and(|current| current.number == number)
    }

    /// Records the person whose presence events belong to this join. False if the connection has left,
    /// or joined anew.
    pub fn watch(&self, id: SessionId, number: JoinNumber, person: &Person) -> bool {
        let mut state = self.state();
        let current = state.current.get_mut(&id).filter(|current| current.number == number);
        current.map(|current| current.watched = Some(person.clone())).is_some()
    }

    /// Ends the join. Returns the person whose presence events are no longer needed.
    pub fn end(&self, id: SessionId) -> Option<Person> {
        let mut state = self.state();
        let watched = state.current.remove(&id)?.watched?;
        let elsewhere =
            state.current.values().any(|current| current.watched.as_ref() == Some(&watched));
        (!elsewhere).then_some(watched)
    }
}

#[cfg(test)]
mod tests {
    use crate::joins::*;
    use platform::new_id;

    #[test]
    fn b48_joins_are_bounded_and_the_latest_counts() {
        let joins = Joins::default();
        let ids: Vec<_> = (0..=JOINS_MAX).map(|_| SessionId(new_id())).collect();
        let first = joins.begin(ids[0]).unwrap();
        assert!(ids[1..JOINS_MAX].iter().all(|id| joins.begin(*id).is_some()));
        assert_eq!(joins.begin(ids[JOINS_MAX]), None);
        let again = joins.begin(ids[0]).unwrap();
        assert!(!joins.is_current(ids[0], first) && joins.is_current(ids[0], again));
        joins.end(ids[0]);
        assert!(!joins.is_current(ids[0], again));
        assert!(joins.begin(ids[JOINS_MAX]).is_some());
    }

    #[test]
    fn the_first_join_after_coming_back_goes_on_from_what_has_been_sent() {
        let (joins, id) = (Joins::default(), SessionId(new_id()));
        joins.resume(id, 10).unwrap();
        joins.sent(id, 14);
        let overtaken = joins.begin(id).unwrap();
        let join = joins.begin(id).unwrap();
        joins.sent(id, 12);
        assert_eq!((joins.beyond_resumed(id, 10), joins.beyond_resumed(id, 20)), (14, 20));
        // A client that requests messages before its own offset gets them.
        assert_eq!(joins.beyond_resumed(id, 9), 9);
        assert!(!joins.answered(id, overtaken) && joins.answered(id, join));
        assert_eq!(joins.beyond_resumed(id, 10), 10);
    }
}
