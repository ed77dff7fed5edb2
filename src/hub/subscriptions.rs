//! Which subscriptions stand on the bus, kept in step with the rooms that someone is in.
//!
//! Nothing is queued: a room whose state may have changed is marked, and one task brings the bus in
//! step with what the engine says at that moment. So a leave that overtakes a join can't undo it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

use super::Hub;
use crate::wire::broadcast::Room;

/// How long a join waits for its subscription, before it is answered without one.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How soon a subscription that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How many channels one command names.
const CHUNK: usize = 512;

#[derive(Default)]
pub(super) struct Subscriptions {
    state: Mutex<State>,
    changed: Notify,
}

/// A room to look at again, with those who wait for it.
type Marked = (Room, Vec<oneshot::Sender<()>>);

#[derive(Default)]
struct State {
    standing: HashSet<Room>,
    /// Counts the times that the bus lost them all: a subscription of an earlier time is none.
    times_lost: u64,
    /// Rooms to look at again, with those who wait for them.
    marked: HashMap<Room, Vec<oneshot::Sender<()>>>,
    /// The bus was cut off: when all stands again, all heads are checked.
    interrupted: bool,
    /// The last round failed, so joins need not wait.
    failing: bool,
}

impl Subscriptions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks rooms that may need a subscription no longer.
    pub(super) fn reconsider(&self, rooms: impl IntoIterator<Item = Room>) {
        let mut state = self.state();
        for room in rooms {
            state.marked.entry(room).or_default();
        }
        drop(state);
        self.changed.notify_one();
    }
}

impl Hub {
    /// Returns when the room's subscription stands, or can't be had.
    pub(super) async fn subscription(&self, room: &Room) {
        let stands = {
            let mut state = self.subscriptions.state();
            if state.standing.contains(room) && !state.marked.contains_key(room) {
                return;
            }
            let (waiter, stands) = oneshot::channel();
            let failing = state.failing;
            state.marked.entry(room.clone()).or_default().push(waiter);
            (!failing).then_some(stands)
        };
        self.subscriptions.changed.notify_one();
        if let Some(stands) = stands
            && timeout(PATIENCE, stands).await.is_err()
        {
            tracing::warn!("a join is answered before its subscription stands");
        }
    }

    /// The bus lost every subscription: make them again, then look for what was missed.
    pub(super) fn resubscribe_all(&self) {
        let mut state = self.subscriptions.state();
        state.standing.clear();
        state.times_lost += 1;
        state.interrupted = true;
        for (room, _) in self.engine().positions() {
            state.marked.entry(room.clone()).or_default();
        }
        drop(state);
        self.subscriptions.changed.notify_one();
    }

    pub(super) async fn keep_subscriptions(self: Arc<Self>) {
        loop {
            self.subscriptions.changed.notified().await;
            while let Some(interrupted) = self.bring_in_step().await {
                if interrupted {
                    self.check_heads().await;
                }
            }
        }
    }

    /// One round; `None` where nothing is marked.
    async fn bring_in_step(self: &Arc<Self>) -> Option<bool> {
        let (wanted, unwanted, interrupted) = self.marked_rooms()?;
        for chunk in unwanted.chunks(CHUNK) {
            // One that stays by mistake costs what is published in it, and nothing else.
            if let Err(error) = self.bus.unsubscribe(chunk).await {
                tracing::debug!(error = %error, "could not unsubscribe");
            }
        }
        self.subscribe(wanted, interrupted).await;
        Some(interrupted)
    }

    /// The rooms that were marked, by whether someone is in them, and whether the bus was cut off.
    ///
    /// The engine is asked under the state's lock: whoever enters a room looks at the state after, and
    /// finds it standing, or no longer standing, but never about to fall.
    fn marked_rooms(&self) -> Option<(Vec<Marked>, Vec<Room>, bool)> {
        let mut state = self.subscriptions.state();
        let marked = std::mem::take(&mut state.marked);
        let interrupted = std::mem::take(&mut state.interrupted);
        if marked.is_empty() && !interrupted {
            return None;
        }
        let engine = self.engine();
        let (wanted, unwanted): (Vec<Marked>, Vec<Marked>) =
            marked.into_iter().partition(|(room, _)| engine.contains(room));
        drop(engine);
        let unwanted: Vec<Room> = unwanted.into_iter().map(|(room, _)| room).collect();
        for room in &unwanted {
            state.standing.remove(room);
        }
        Some((wanted, unwanted, interrupted))
    }

    async fn subscribe(self: &Arc<Self>, wanted: Vec<Marked>, interrupted: bool) {
        let (rooms, waiters): (Vec<Room>, Vec<_>) = wanted.into_iter().unzip();
        let (missing, times_lost): (Vec<Room>, _) = {
            let state = self.subscriptions.state();
            let missing = rooms.into_iter().filter(|room| !state.standing.contains(room));
            (missing.collect(), state.times_lost)
        };
        let mut failed = None;
        for chunk in missing.chunks(CHUNK) {
            match self.bus.subscribe(chunk).await {
                Ok(()) => {
                    let mut state = self.subscriptions.state();
                    // Otherwise they are marked again already.
                    if state.times_lost == times_lost {
                        state.standing.extend(chunk.iter().cloned());
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let was_failing = {
            let mut state = self.subscriptions.state();
            if failed.is_some() {
                for room in missing {
                    if !state.standing.contains(&room) {
                        state.marked.entry(room).or_default();
                    }
                }
                state.interrupted |= interrupted;
            }
            std::mem::replace(&mut state.failing, failed.is_some())
        };
        // Whoever waits goes on: with the subscription, or with the check of the heads in its place.
        drop(waiters);
        if let Some(error) = failed {
            if !was_failing {
                tracing::warn!(error = %error, "the bus takes no subscriptions");
            }
            sleep(RETRY).await;
        }
    }
}
