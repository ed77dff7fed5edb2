//! Changes of sessions and messages, one at a time for each person and session: a person who makes
//! many delays only themselves. A waiting change holds no permit and no connection.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::StoreError;
use model::{ids::SessionId, person::Person};

type Key = (Person, SessionId);

/// The changes under way.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<HashMap<Key, Arc<Semaphore>>>);

/// A change that is under way, or waits for the previous one of its person.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    changes: &'a Changes,
    key: Key,
    gate: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Changes {
    fn gates(&self) -> MutexGuard<'_, HashMap<Key, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this person has no other change under way in this session.
    pub(crate) async fn begin(
        &self,
        me: &Person,
        id: SessionId,
        give_up: Instant,
    ) -> Result<Change<'_>, StoreError> {
        let key = (me.clone(), id);
        let gate = {
            let mut gates = self.gates();
            Arc::clone(gates.entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let mut change = Change { changes: self, key, gate, permit: None };
        let permit = timeout_at(give_up, Arc::clone(&change.gate).acquire_owned()).await;
        change.permit = Some(permit.map_err(contended)?.map_err(contended)?);
        Ok(change)
    }
}

fn contended(error: impl StdError + Send + Sync + 'static) -> StoreError {
    StoreError::Contended(Arc::new(error))
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut gates = self.changes.gates();
        self.permit = None;
        // Waiting changes at this gate hold a reference too: two are the map's and this one's.
        if Arc::strong_count(&self.gate) == 2 {
            gates.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::ids::TenantId;
    use std::time::Duration;

    use super::*;
    use model::person::Side;
    use platform::new_id;

    #[tokio::test(start_paused = true)]
    async fn a_persons_changes_of_a_session_are_made_one_by_one_and_leave_nothing() {
        let changes = Changes::default();
        let me = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
        let other = Person::new(TenantId::MAIN, Side::Contact, "7".parse().unwrap());
        let (id, soon) = (SessionId(new_id()), Instant::now() + Duration::from_secs(5));
        let first = changes.begin(&me, id, soon).await.unwrap();
        assert!(changes.begin(&me, id, soon).await.is_err(), "it waits for the first");
        let others = changes.begin(&other, id, soon).await.unwrap();
        drop(first);
        let next = changes.begin(&me, id, soon).await.unwrap();
        drop((next, others));
        assert!(changes.gates().is_empty());
    }
}
