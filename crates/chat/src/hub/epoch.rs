//! The epoch in which this node's rooms count.
//!
//! When the epoch changes, no position of a room or of a client is valid. The connections in sessions are
//! closed, spread over time, so that each client reconnects and joins anew. A client that knows the old epoch
//! is answered with `resync`; others get everything since the cut.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::Hub;
use crate::store::epoch::Epoch;
use db::StoreError;

/// Time over which the connections are closed. The last one still receives its messages within the 5 s of a
/// lost broadcast.
const SPREAD: Duration = Duration::from_secs(3);

impl Hub {
    /// Epoch found by the last check.
    pub fn epoch(&self) -> Option<Epoch> {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the epoch with the store's. True if the rooms must start anew.
    pub(super) async fn check_epoch(self: &Arc<Self>) -> Result<bool, StoreError> {
        let stored = self.store.epoch().await?;
        let Some(known) = self.epoch().filter(|known| known.id != stored.id) else {
            self.note_epoch(stored);
            return Ok(false);
        };
        let epoch = if stored.follows(&known) {
            stored
        } else {
            // The database is in an earlier state than this node has seen.
            self.store.renew_epoch(stored.id, known.number).await?
        };
        self.start_anew(epoch);
        Ok(true)
    }

    /// Renews the epoch, because a room is ahead of its session.
    pub(super) async fn renew_epoch(self: &Arc<Self>) -> Result<(), StoreError> {
        let Some(known) = self.epoch() else { return Ok(()) };
        let epoch = self.store.renew_epoch(known.id, known.number).await?;
        self.start_anew(epoch);
        Ok(())
    }

    /// Stores the epoch. True if this node knew another one.
    fn note_epoch(&self, epoch: Epoch) -> bool {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(epoch).is_some_and(|known| known.id != epoch.id)
    }

    fn start_anew(self: &Arc<Self>, epoch: Epoch) {
        // Two concurrent checks may find the same epoch.
        if !self.note_epoch(epoch) {
            return;
        }
        self.counts.epochs.inc();
        let connections = self.connections();
        let in_sessions: Vec<_> = {
            let engine = self.engine();
            // Each connection is also in its own user's room.
            connections.into_iter().filter(|outbound| engine.joined(outbound.id()) > 1).collect()
        };
        tracing::warn!(
            epoch = epoch.number,
            connections = in_sessions.len(),
            "message order has a new epoch; clients rejoin their sessions"
        );
        self.tasks.spawn_once("hub.new_epoch", Self::release(in_sessions, SPREAD));
    }
}
