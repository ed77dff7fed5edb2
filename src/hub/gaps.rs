//! Finding what the bus dropped, and filling it in from the store.
//!
//! Law I7: live delivery may lose or reorder. A message that comes early is a gap that shows at
//! once; a quiet room shows none, so the heads of all live rooms are compared with the store's,
//! often enough that nobody waits for a message longer than 5 s.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Hub;
use crate::{
    session::SessionId,
    store::PAGE_MAX,
    wire::broadcast::{Broadcast, Room},
};

/// How many gaps are filled at the same time.
pub(super) const FILLS: usize = 4;
/// How often the heads are compared.
const CHECK: Duration = Duration::from_secs(2);
/// What is on its way on the bus is given this long before it is read from the store.
const GRACE: Duration = Duration::from_millis(150);
/// How many heads one look-up asks for.
const CHUNK: usize = 1_000;

impl Hub {
    pub(super) async fn keep_checking(self: Arc<Self>) {
        let mut ticks = interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check_heads().await;
        }
    }

    /// Compares the position of every live session with its last message.
    pub(super) async fn check_heads(self: &Arc<Self>) {
        let live: Vec<SessionId> = {
            let engine = self.engine();
            let session = |room: &Room| match room {
                Room::Session(id) => Some(*id),
                Room::User(_) => None,
            };
            engine.positions().filter_map(|(room, _)| session(room)).collect()
        };
        for chunk in live.chunks(CHUNK) {
            let heads = match self.store.heads(chunk).await {
                Ok(heads) => heads,
                Err(error) => {
                    tracing::warn!(error = %error, "the heads of the live sessions can't be checked");
                    return;
                }
            };
            for (id, head) in heads {
                let position = self.engine().position(&Room::Session(id));
                if position.is_some_and(|position| position < head) {
                    self.fill(id);
                }
            }
        }
    }

    /// Fills the room's gap, if it doesn't close by itself.
    pub(super) fn fill(self: &Arc<Self>, id: SessionId) {
        if self.filling.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            let hub = Arc::clone(self);
            tokio::spawn(async move {
                sleep(GRACE).await;
                hub.fill_now(id).await;
                hub.filling.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            });
        }
    }

    async fn fill_now(self: &Arc<Self>, id: SessionId) {
        let Ok(_permit) = self.fills.acquire().await else { return };
        let room = Room::Session(id);
        loop {
            let Some(position) = self.engine().position(&room) else { return };
            let missed = match self.store.fill(id, position, PAGE_MAX).await {
                Ok(missed) if missed.is_empty() => return,
                Ok(missed) => missed,
                Err(error) => {
                    // The next check finds the gap again.
                    tracing::warn!(error = %error, "a gap can't be filled for now");
                    return;
                }
            };
            tracing::debug!(session = %id.0, messages = missed.len(), "filling a gap");
            for message in &missed {
                self.deliver(&Arc::new(Broadcast::message_new(message)));
            }
            if self.engine().position(&room) == Some(position) {
                tracing::error!(session = %id.0, position, "the store has a gap of its own");
                return;
            }
        }
    }
}
