//! Packets for a session's client that wait for a transport.

use tokio::sync::mpsc;

use chat::{outbound::Queued, recovery::Recovery};

/// Packets for the client, and the client's position by those that were taken.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frames: mpsc::Receiver<Queued>,
    pub(super) recovery: Recovery,
}

impl Outgoing {
    /// Rejects further packets and drops the waiting ones.
    pub(super) fn clear(&mut self) {
        self.frames.close();
        while self.frames.try_recv().is_ok() {}
    }
}
