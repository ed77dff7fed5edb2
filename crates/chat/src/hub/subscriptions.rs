//! Subscriptions on the bus, kept in step with the rooms that have connections.
//!
//! Nothing is queued. A room whose state may have changed is marked, and one task brings the bus in step with
//! the engine's present state. So a leave that overtakes a join can't undo it.

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
use bus::broadcast::Room;

/// Time limit for a join to wait for its subscription. After that it is answered without one.
const SUBSCRIPTION_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Delay before a failed subscription is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Maximum number of channels in one command.
const CHUNK: usize = 512;

#[derive(Default)]
pub(super) struct Subscriptions {
    state: Mutex<State>,
    changed: Notify,
}

/// A room to check again, with the joins that wait for it.
type Marked = (Room, Vec<oneshot::Sender<()>>);

#[derive(Default)]
struct State {
    standing: HashSet<Room>,
    /// Number of times that the bus lost all subscriptions. Subscriptions of earlier times do not stand.
    times_lost: u64,
    /// Rooms to check again, with the joins that wait for them.
    marked: HashMap<Room, Vec<oneshot::Sender<()>>>,
    /// The bus was interrupted. When all subscriptions stand again, all heads are checked.
    interrupted: bool,
    /// The last round failed, so joins do not wait.
    failing: bool,
}

impl Subscriptions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks rooms that may no longer need a subscription.
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
    /// Waits until the room's subscription stands, or can't be made.
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
            && timeout(SUBSCRIPTION_TIMEOUT, stands).await.is_err()
        {
            tracing::warn!("join answered before its bus subscription was confirmed");
        }
    }

    /// Subscribes to everything again after the bus lost all subscriptions. A head check follows.
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

    /// Runs one round. Returns whether the bus was interrupted, or `None` if nothing is marked.
    async fn bring_in_step(self: &Arc<Self>) -> Option<bool> {
        let (wanted, unwanted, interrupted) = self.marked_rooms()?;
        for chunk in unwanted.chunks(CHUNK) {
            // A subscription left by mistake only costs the traffic of its room.
            if let Err(error) = self.bus.unsubscribe(chunk).await {
                tracing::debug!(error = %error, "bus unsubscribe failed");
            }
        }
        self.subscribe(wanted, interrupted).await;
        Some(interrupted)
    }

    /// Marked rooms, by whether they have connections, and whether the bus was interrupted.
    ///
    /// The engine is read under the state's lock. A connection that enters a room reads the state afterwards:
    /// it finds the subscription standing or removed, but never about to be removed.
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
                    // Otherwise they are already marked again.
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
        // Waiting joins continue: with the subscription, or with the head check in its place.
        drop(waiters);
        if let Some(error) = failed {
            if !was_failing {
                tracing::warn!(error = %error, "bus subscribe failed; delivery falls back to the head check");
            }
            sleep(RETRY).await;
        }
    }
}
