//! The epoch that this node's rooms count in.
//!
//! Once the epoch is another one, no position of a room or of a client is good. The connections in
//! sessions are closed, spread out, so that each client comes back and joins anew: one that knows the
//! old epoch is answered with `resync`, others with everything since the cut.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::Hub;
use crate::store::{StoreError, epoch::Epoch};

/// Time over which the connections are closed. Messages reach the last one within the 5 s that a lost
/// broadcast may take.
const SPREAD: Duration = Duration::from_secs(3);

impl Hub {
    /// The epoch as the last check found it.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the epoch with the store's; true where the rooms must start anew.
    pub(super) async fn check_epoch(self: &Arc<Self>) -> Result<bool, StoreError> {
        let stored = self.store.epoch().await?;
        let Some(known) = self.epoch().filter(|known| known.id != stored.id) else {
            self.note_epoch(stored);
            return Ok(false);
        };
        let epoch = if stored.follows(&known) {
            stored
        } else {
            // The database is older than this node has seen it.
            self.store.renew_epoch(stored.id, known.number).await?
        };
        self.start_anew(epoch);
        Ok(true)
    }

    /// Renews the epoch, as a room is ahead of its session.
    pub(super) async fn renew_epoch(self: &Arc<Self>) -> Result<(), StoreError> {
        let Some(known) = self.epoch() else { return Ok(()) };
        let epoch = self.store.renew_epoch(known.id, known.number).await?;
        self.start_anew(epoch);
        Ok(())
    }

    /// True where this node knew another epoch.
    fn note_epoch(&self, epoch: Epoch) -> bool {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(epoch).is_some_and(|known| known.id != epoch.id)
    }

    fn start_anew(self: &Arc<Self>, epoch: Epoch) {
        // Two checks at the same time find the same epoch.
        if !self.note_epoch(epoch) {
            return;
        }
        self.counts.epochs.inc();
        let connections = self.connections();
        let in_sessions: Vec<_> = {
            let engine = self.engine();
            // Each is in its own user's room too.
            connections.into_iter().filter(|outbound| engine.joined(outbound.id()) > 1).collect()
        };
        tracing::warn!(
            epoch = epoch.number,
            connections = in_sessions.len(),
            "the order has a new epoch: clients in sessions are sent to join anew"
        );
        tokio::spawn(Self::release(in_sessions, SPREAD));
    }
}
