//! Throttle for things that change often: each is published at once, and then at most once a second.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

/// Minimum time between two publications of one thing.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for which a round waits for further changes.
const GATHER: Duration = Duration::from_millis(30);
/// Maximum number of changes in one round.
const ROUND: usize = 500;
/// Maximum number of waiting changes. Further ones are dropped: a client reads them when it reconnects.
const WAITING_MAX: usize = 65_536;

/// Changes that wait to be published, by their subject.
#[derive(Debug)]
pub struct Throttle<K, V> {
    state: Mutex<State<K, V>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K, V> {
    waiting: HashMap<K, V>,
    told: HashMap<K, Instant>,
}

impl<K, V> Default for Throttle<K, V> {
    fn default() -> Self {
        let state = State { waiting: HashMap::new(), told: HashMap::new() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Throttle<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a change. It is merged with one that waits already.
    pub fn put(&self, key: K, value: V, merge: impl FnOnce(&mut V, V)) {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.get_mut(&key) {
            merge(waiting, value);
            return;
        }
        if state.waiting.len() < WAITING_MAX {
            state.waiting.insert(key, value);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Waits for changes that are due, and takes them.
    pub async fn take(&self) -> Vec<(K, V)> {
        loop {
            let changed = self.changed.notified();
            let due = match self.due(Instant::now()) {
                Ok(due) => return due,
                Err(due) => due,
            };
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
            }
            sleep(GATHER).await;
        }
    }

    /// Takes everything, for the last time.
    pub fn take_all(&self) -> Vec<(K, V)> {
        self.state().waiting.drain().collect()
    }

    /// Changes that are due now, or the time when the next one will be.
    fn due(&self, now: Instant) -> Result<Vec<(K, V)>, Option<Instant>> {
        let mut state = self.state();
        state.told.retain(|_, told| now < *told + PAUSE);
        let State { waiting, told } = &mut *state;
        let keys: Vec<K> =
            waiting.keys().filter(|key| !told.contains_key(key)).take(ROUND).cloned().collect();
        if keys.is_empty() {
            let next = waiting.keys().filter_map(|key| told.get(key)).min();
            return Err(next.map(|told| *told + PAUSE));
        }
        let due = keys.into_iter().filter_map(|key| {
            told.insert(key.clone(), now);
            waiting.remove_entry(&key)
        });
        Ok(due.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_often_is_told_at_once_and_then_once_a_second() {
        let throttle = Throttle::default();
        let put = |key, value| throttle.put(key, value, |waiting, value| *waiting = value);
        let start = Instant::now();
        put("a", 1);
        assert_eq!(throttle.take().await, [("a", 1)]);
        put("a", 2);
        put("a", 3);
        put("b", 1);
        assert_eq!(throttle.take().await, [("b", 1)], "another one does not wait");
        assert!(start.elapsed() < Duration::from_millis(200));
        assert_eq!(throttle.take().await, [("a", 3)], "the last word is told");
        assert!(start.elapsed() >= PAUSE);
    }
}
