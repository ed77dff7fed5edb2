//! Sessions without presence events yet. A person's presence is shown only after they have written in
//! the session. Otherwise anyone could watch a stranger by opening a session with them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::joins::JoinNumber;
use crate::store::openings::Openings;
use db::StoreError;
use model::{ids::SessionId, message::Message, person::Person, scope::Scope, session::Session};

/// Other side of an open session, as seen by a member who joins it.
#[derive(Clone, Debug)]
pub struct OtherSide {
    /// The person.
    pub person: Person,
    has_written: bool,
}

impl OtherSide {
    /// `read` holds messages read after `session`. A message of the other side in neither of them has a
    /// higher number and arrives later.
    pub async fn of(
        store: &dyn Openings,
        me: &Scope,
        session: &Session,
        read: &[Message],
    ) -> Result<Option<Self>, StoreError> {
        let Some(person) = session.watched_by(me) else { return Ok(None) };
        let mut at_hand = session.last_message.iter().chain(read);
        let has_written = at_hand.any(|message| message.sender.person == person)
            || (session.last_seq > 0 && store.has_written(me, session.id, &person.name()).await?);
        Ok(Some(Self { person, has_written }))
    }

    /// Whether their presence may be shown.
    pub fn is_known(&self) -> bool {
        self.has_written
    }
}

/// Session whose other side has just written for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The session.
    pub session_id: SessionId,
    /// The join that waits for them.
    pub number: JoinNumber,
    /// The person.
    pub person: Person,
}

/// Sessions of a connection whose other side has not written yet. At most as many as it has joined.
#[derive(Debug, Default)]
pub struct Strangers {
    state: Mutex<State>,
    met: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<SessionId, (JoinNumber, Person)>,
    met: Vec<Met>,
}

impl Strangers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first message of `person`, for this join.
    pub fn wait_for(&self, id: SessionId, number: JoinNumber, person: Person) {
        self.state().waiting.insert(id, (number, person));
    }

    /// Removes a session that the connection has left.
    pub fn forget(&self, id: SessionId) {
        self.state().waiting.remove(&id);
    }

    /// Records that the client has a message of this person. A colleague of the person who is waited for shows nothing
    /// of them.
    pub fn has_written(&self, session_id: SessionId, author: &Person) {
        let mut state = self.state();
        if state.waiting.get(&session_id).is_none_or(|(_, person)| person != author) {
            return;
        }
        let Some((number, person)) = state.waiting.remove(&session_id) else { return };
        state.met.push(Met { session_id, number, person });
        self.met.notify_one();
    }

    /// Resolves when the other side of a session has written. Cancellation loses nothing.
    pub async fn until_met(&self) -> Met {
        loop {
            if let Some(met) = self.state().met.pop() {
                return met;
            }
            self.met.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use model::ids::TenantId;

    use crate::joins::Joins;
    use crate::strangers::*;
    use model::person::Side;
    use platform::new_id;

    #[test]
    fn a_stranger_is_met_once_with_their_first_message() {
        let (strangers, joins, id) = (Strangers::default(), Joins::default(), SessionId(new_id()));
        let (number, other) = (joins.begin(id).unwrap(), SessionId(new_id()));
        let person = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        strangers.wait_for(id, number, person.clone());
        strangers.has_written(other, &person);
        let colleague = Person::new(TenantId::MAIN, Side::Desk, "8".parse().unwrap());
        strangers.has_written(id, &colleague);
        assert_eq!(strangers.until_met().now_or_never(), None);
        strangers.has_written(id, &person);
        strangers.has_written(id, &person);
        let met = Met { session_id: id, number, person: person.clone() };
        assert_eq!(strangers.until_met().now_or_never(), Some(met));
        assert_eq!(strangers.until_met().now_or_never(), None);
        // A session that was left reports nothing.
        strangers.wait_for(id, number, person.clone());
        strangers.forget(id);
        strangers.has_written(id, &person);
        assert_eq!(strangers.until_met().now_or_never(), None);
    }
}
