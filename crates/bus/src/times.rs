//! Times that a message carries on its way. [`crate::delivery`] makes durations of them.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Time and node of a message's acceptance. It is sent over the bus, and no client sees it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SendTime {
    /// Number of the process that accepted it, which differs after each start.
    pub(crate) by: u64,
    /// Time of acceptance, in microseconds since that process began.
    pub(crate) accepted: u64,
    /// Time of publishing, in microseconds since that process began.
    pub(crate) published: u64,
    /// Time of acceptance by that node's wall clock, in microseconds since 1970.
    pub(crate) at: i64,
}

/// Times of one message on its way through a node.
#[derive(Debug, Default)]
pub struct DeliveryTimes {
    /// Time when it was received from the bus.
    pub(crate) received: Option<Instant>,
    /// Time of its commit by the database's clock, if it was read from there for a gap.
    pub(crate) committed: Option<Timestamp>,
    /// Time when it was put into the queues of its subscribers.
    pub(crate) queued: OnceLock<Instant>,
}

impl DeliveryTimes {
    pub(crate) fn received_now() -> Self {
        Self { received: Some(Instant::now()), ..Self::default() }
    }

    /// Times of a message that a backfill has read, by its commit.
    pub fn filled(committed: Timestamp) -> Self {
        Self { committed: Some(committed), ..Self::default() }
    }
}
