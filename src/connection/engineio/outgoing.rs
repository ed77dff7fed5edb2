//! Packets for a session's client, until a transport takes them.

use tokio::sync::mpsc;

use crate::connection::{outbound::Queued, recovery::Recovery};

/// Packets for the client, and the position that it has by those that were taken.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frames: mpsc::Receiver<Queued>,
    pub(super) recovery: Recovery,
}

impl Outgoing {
    /// Nothing more gets in, nor stays.
    pub(super) fn clear(&mut self) {
        self.frames.close();
        while self.frames.try_recv().is_ok() {}
    }
}
