//! What is for a session's client, until a transport takes it.

use tokio::sync::mpsc;

use crate::connection::{outbound::Queued, recovery::Recovery};

/// What is for the client, and what it has by what was taken from there.
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
