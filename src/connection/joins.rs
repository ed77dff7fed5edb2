//! Which sessions a connection is in, or about to be.
//!
//! A client does not wait for the answer to a join before it leaves or joins again. So a join
//! is noted when it arrives, and an earlier one finds out that it has been overtaken.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::session::SessionId;

/// How many sessions one connection may be in.
pub(crate) const JOINS_MAX: usize = 1_000;

/// One join of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinNumber(u64);

/// The joins of one connection.
#[derive(Debug, Default)]
pub(crate) struct Joins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    current: HashMap<SessionId, JoinNumber>,
}

impl Joins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a join, which overtakes earlier ones of the session; `None` for one too many.
    pub(crate) fn begin(&self, id: SessionId) -> Option<JoinNumber> {
        let mut state = self.state();
        if state.current.len() >= JOINS_MAX && !state.current.contains_key(&id) {
            return None;
        }
        state.last += 1;
        let number = JoinNumber(state.last);
        state.current.insert(id, number);
        Some(number)
    }

    /// Whether neither a leave nor a later join has overtaken this one.
    pub(crate) fn is_current(&self, id: SessionId, number: JoinNumber) -> bool {
        self.state().current.get(&id) == Some(&number)
    }

    /// The connection leaves the session.
    pub(crate) fn end(&self, id: SessionId) {
        self.state().current.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::new_id;

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
}
