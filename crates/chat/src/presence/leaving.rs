//! People without a connection here: after their time of grace they are removed from the bus, many at once.

use std::{
    collections::VecDeque,
    iter::zip,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{CHUNK, GRACE, Presence};
use db::StoreError;
use model::person::Person;

/// Time for which further people who leave are gathered.
const GATHER: Duration = Duration::from_millis(100);

/// People without a connection here, and the end of their time of grace. Those who come back stay in it until then.
#[derive(Default)]
pub(super) struct Leaving {
    queue: Mutex<VecDeque<(Instant, Person)>>,
    /// Wakes the task that removes them.
    added: Notify,
}

impl Leaving {
    pub(super) fn put(&self, person: &Person) {
        self.queue().push_back((Instant::now() + GRACE, person.clone()));
        self.added.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(Instant, Person)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Removes the people whose time of grace is over, many at once.
    pub(super) async fn keep_removing(self: Arc<Self>) {
        loop {
            let next = self.leaving.queue().front().map(|(due, _)| *due);
            let Some(next) = next else {
                self.leaving.added.notified().await;
                continue;
            };
            sleep_until(next + GATHER).await;
            let gone = self.take_gone(Instant::now());
            if !gone.is_empty() {
                self.remove(&gone).await;
                // A slow database holds up nobody's removal.
                let noting = Arc::clone(&self).note_gone(gone);
                self.tasks.spawn_once("presence.gone", noting);
            }
        }
    }

    /// People whose time of grace has ended by `now`, without those who are back.
    fn take_gone(&self, now: Instant) -> Vec<Person> {
        let mut leaving = self.leaving.queue();
        let due = leaving.iter().take(CHUNK).take_while(|(due, _)| *due <= now).count();
        let due = leaving.drain(..due).map(|(_, person)| person);
        due.filter(|person| self.here.remove_if(person, |_, count| *count == 0).is_some()).collect()
    }

    async fn remove(&self, gone: &[Person]) {
        // If this does not reach the bus, the entries end with the node or with their lease.
        let mut noted = self.table.mark_offline(gone).await;
        // Someone who is back may have been written before the removal.
        let back: Vec<Person> =
            gone.iter().filter(|person| self.here.contains_key(person)).cloned().collect();
        if !back.is_empty() {
            noted = self.table.mark_online(&back).await;
        }
        if let Err(error) = noted {
            tracing::debug!(%error, "offline marks not stored");
        }
    }

    /// Releases the pushes of people who are on no other node, and stores when these people left.
    async fn note_gone(self: Arc<Self>, gone: Vec<Person>) {
        let gone = gone.as_slice();
        // A person's last connection on any node decides.
        let missing = match self.table.are_online(gone).await {
            Ok(online) => {
                zip(gone, online).filter(|(_, online)| !online).map(|(who, _)| who).collect()
            }
            Err(_) => gone.iter().collect::<Vec<_>>(),
        };
        let away: Vec<Person> =
            missing.into_iter().filter(|person| !self.here.contains_key(person)).cloned().collect();
        if let Err(error) = self.hasten_pushes(&away).await {
            tracing::debug!(%error, "push jobs not released early");
        }
        if let Err(error) = self.seen.seen(gone).await {
            tracing::debug!(%error, "times of leaving not stored");
        }
    }

    /// These people are gone: pushes that wait for that become due.
    async fn hasten_pushes(&self, people: &[Person]) -> Result<(), StoreError> {
        if self.pushes.hasten(people).await? {
            self.due.written(Duration::ZERO);
        }
        Ok(())
    }
}
