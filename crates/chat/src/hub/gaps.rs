//! Detection of lost broadcasts, and backfill from the store.
//!
//! Law I7: live delivery may lose or reorder. A message that comes early shows a gap at once. A quiet room
//! shows none, so the positions of all live rooms are compared with the store's heads. Nobody waits longer
//! than 5 s for a message or for a change of one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Hub;
use crate::store::{Head, PAGE_MAX};
use bus::broadcast::{Broadcast, Room};
use db::StoreError;
use model::ids::SessionKey;
use platform::traces::{self, Span};
use protocol::CloseCode;

/// Maximum number of concurrent backfills.
pub(super) const MAX_CONCURRENT_BACKFILLS: usize = 4;
/// Interval of the head check.
const CHECK: Duration = Duration::from_secs(2);
/// Time for a message on the bus to arrive before it is read from the store.
const GRACE: Duration = Duration::from_millis(150);
/// The same for a change. A message that changes repeatedly is published once a second.
const CHANGE_GRACE: Duration = Duration::from_millis(1_300);
/// Number of heads in one query.
const CHUNK: usize = 1_000;

/// Entry of a session whose backfill is under way. It is removed when this is dropped, after a panic too, so
/// that the next head check can repeat the backfill.
struct Entry {
    of: fn(&Hub) -> &Mutex<HashSet<SessionKey>>,
    hub: Arc<Hub>,
    key: SessionKey,
}

impl Drop for Entry {
    fn drop(&mut self) {
        (self.of)(&self.hub).lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Hub {
    pub(super) async fn keep_checking(self: Arc<Self>) {
        let mut ticks = interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check_heads().await;
        }
    }

    /// Compares the position of every live session with its head in the store.
    pub(super) async fn check_heads(self: &Arc<Self>) {
        // Positions are taken before the query, so the store has all messages published up to them.
        let live: Vec<(SessionKey, u64)> = {
            let engine = self.engine();
            let session = |(room, position): (&Room, u64)| match room {
                Room::Session(key) => Some((*key, position)),
                Room::User(_) => None,
            };
            self.revisions.retain(|key| engine.contains(&Room::Session(key)));
            engine.positions().filter_map(session).collect()
        };
        match self.compare(&live).await {
            Ok(()) => drop(self.counts.checks.inc()),
            Err(error) => {
                self.counts.checks_failed.inc();
                tracing::warn!(error = %error, "head check failed");
            }
        }
    }

    async fn compare(self: &Arc<Self>, live: &[(SessionKey, u64)]) -> Result<(), StoreError> {
        let mut anew = self.check_epoch().await?;
        let mut heads = Vec::with_capacity(live.len());
        for chunk in live.chunks(CHUNK) {
            let keys: Vec<_> = chunk.iter().map(|(key, _)| *key).collect();
            heads.extend(self.store.heads(&keys).await?);
        }
        let positions: HashMap<_, _> = live.iter().copied().collect();
        let is_ahead = |head: &Head| {
            positions.get(&head.key).is_some_and(|position| *position > head.last_seq)
        };
        if !anew && heads.iter().any(is_ahead) {
            self.renew_epoch().await?;
            anew = true;
        }
        for Head { key, last_seq, rev } in heads {
            if anew {
                self.rewind(key, last_seq);
                self.revisions.restart(key, rev);
            }
            let position = self.engine().position(&Room::Session(key));
            if position.is_some_and(|position| position < last_seq) && self.backfill_messages(key) {
                self.counts.gaps_checked.inc();
            }
            if self.revisions.up_to(key).is_some_and(|up_to| up_to < rev) {
                self.backfill_changes(key, rev);
            }
        }
        Ok(())
    }

    /// Sets the room back to the stored position.
    fn rewind(&self, key: SessionKey, last_seq: u64) {
        if self.engine().rewind(&Room::Session(key), last_seq) {
            self.counts.rewound.inc();
            tracing::warn!(session = %key, last_seq, "delivered message is missing in the store; room position set back");
        }
    }

    /// Backfills the room's missing messages, unless the bus brings them. False if it is under way already.
    pub(super) fn backfill_messages(self: &Arc<Self>, key: SessionKey) -> bool {
        let begun =
            self.messages_backfilling.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        if begun {
            let hub = Arc::clone(self);
            self.tasks.spawn_once("hub.backfill_messages", async move {
                let _entry =
                    Entry { of: |hub| &hub.messages_backfilling, hub: Arc::clone(&hub), key };
                sleep(GRACE).await;
                hub.backfill_messages_now(key).await;
            });
        }
        begun
    }

    async fn backfill_messages_now(self: &Arc<Self>, key: SessionKey) {
        let Ok(_permit) = self.backfills.acquire().await else { return };
        let (room, counts) = (Room::Session(key), &self.counts);
        let mut filled = false;
        let done = |filled| {
            if filled { &counts.filled } else { &counts.closed }.inc();
        };
        loop {
            // The room has no connections any more, so nothing is missing.
            let Some(position) = self.engine().position(&room) else { return done(filled) };
            let since = SystemTime::now();
            let missed = match self.store.backfill_messages(key, position, PAGE_MAX).await {
                Ok(missed) if missed.is_empty() => return done(filled),
                Ok(missed) => missed,
                Err(error) => {
                    // The next check finds the gap again.
                    counts.failed.inc();
                    tracing::warn!(error = %error, "gap fill failed; the next head check retries");
                    return;
                }
            };
            tracing::debug!(session = %key, messages = missed.len(), "missing messages read from the store");
            filled = true;
            counts.messages.inc_by(missed.len() as u64);
            let mut span = Span::sampled_since(since, "fill");
            if let (Some(span), Some(systems)) = (&mut span, traces::systems()) {
                span.set("db.system.name", systems.database);
                span.set("frontdesk.messages", i64::try_from(missed.len()).unwrap_or(i64::MAX));
            }
            for message in &missed {
                let broadcast = Broadcast::message_filled(message);
                let mut broadcast = broadcast.caused_by(span.as_ref().map(Span::parent));
                broadcast.begin_delivery();
                self.deliver(&Arc::new(broadcast));
            }
            if self.engine().position(&room) == Some(position) {
                counts.failed.inc();
                tracing::error!(session = %key, position, "sequence gap in the store");
                return;
            }
        }
    }

    /// Sends the room the changes up to this revision that it has not received, unless the bus brings them.
    fn backfill_changes(self: &Arc<Self>, key: SessionKey, head: u64) {
        if self.changes_backfilling.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            let hub = Arc::clone(self);
            self.tasks.spawn_once("hub.backfill_changes", async move {
                let _entry =
                    Entry { of: |hub| &hub.changes_backfilling, hub: Arc::clone(&hub), key };
                sleep(CHANGE_GRACE).await;
                hub.backfill_changes_now(key, head).await;
            });
        }
    }

    async fn backfill_changes_now(self: &Arc<Self>, key: SessionKey, head: u64) {
        let Ok(_permit) = self.backfills.acquire().await else { return };
        while let Some(up_to) = self.revisions.up_to(key).filter(|up_to| *up_to < head) {
            let changed = match self.store.backfill_changes(key, up_to, PAGE_MAX).await {
                Ok(changed) => changed,
                Err(error) => {
                    // The next check finds it again.
                    tracing::warn!(error = %error, "query of missed changes failed; the next head check retries");
                    return;
                }
            };
            for message in &changed {
                if !self.revisions.is_heard(key, message.rev.unwrap_or(0)) {
                    self.counts.changes.inc();
                    tracing::debug!(session = %key, "missed change delivered from the store");
                    self.deliver(&Arc::new(Broadcast::message_updated(message)));
                }
            }
            if let Err(error) = self.close_former(key).await {
                tracing::warn!(%error, "query of members failed; the next head check retries");
                return;
            }
            // After the last page nothing is left: the remaining revisions were changed again later, or
            // belong to the session itself.
            let last = changed.last().and_then(|message| message.rev);
            self.revisions.settle(key, last.unwrap_or(head));
        }
    }

    /// Closes the connections in a room whose people take part no longer: an end of membership is a revision
    /// that no message has. Their clients reconnect, and don't find the session.
    async fn close_former(&self, key: SessionKey) -> Result<(), StoreError> {
        let members = self.store.members(key).await?;
        let subscribers: Vec<_> = self.engine().subscribers(&Room::Session(key)).collect();
        for conn in subscribers {
            let outbound = self.connections.get(&conn).map(|entry| Arc::clone(entry.value()));
            if let Some(outbound) = outbound.filter(|it| !members.contains(it.scope())) {
                tracing::info!(session = %key, person = %outbound.scope().person(), "connection of a former participant closed");
                // A close waits for answers that are under way; nothing more may come meanwhile.
                self.leave(&Room::Session(key), conn);
                outbound.close(CloseCode::Draining);
            }
        }
        Ok(())
    }
}
