//! Turns: large answers and history wait here until their reader has room.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use crate::memory::{Charge, Making, Reader};
use crate::outbound::{Frame, Outbound, Queued};
use bus::broadcast::Broadcast;

/// Waiting bytes above which history waits, so that live events have room.
const HISTORY_BYTES: usize = 1024 * 1024;

impl Outbound {
    /// Waits until a large answer may be made: the client has read enough, and it is the turn of this
    /// connection and of its person.
    pub async fn page(&self) -> Option<PageTurn> {
        let turn = Arc::clone(&self.pages).acquire_owned().await.ok()?;
        self.until(|| !self.is_busy()).await;
        let making = self.reader.making().await?;
        Some(PageTurn {
            reader: Arc::clone(&self.reader),
            charge: None,
            taken: Arc::clone(&self.taken),
            making: Some(making),
            _turn: turn,
        })
    }

    /// Waits for room for a history message, at the reader's pace. `None` if nobody reads any more.
    pub async fn history_turn(&self) -> Option<HistoryTurn<'_>> {
        let turn = Arc::clone(&self.history).acquire_owned().await.ok()?;
        self.until(|| self.reader.bytes() <= HISTORY_BYTES).await;
        let place = self.queue.reserve().await.ok()?;
        if self.is_cut_off() {
            return None;
        }
        Some(HistoryTurn { outbound: self, turn, place })
    }

    /// Waits for a condition that only the reader can bring about.
    async fn until(&self, fits: impl Fn() -> bool) {
        loop {
            let taken = self.taken.notified();
            if fits() {
                return;
            }
            taken.await;
        }
    }
}

/// Room in the queue for one history message.
pub struct HistoryTurn<'a> {
    outbound: &'a Outbound,
    turn: OwnedSemaphorePermit,
    place: mpsc::Permit<'a, Queued>,
}

/// Permission to make one large answer.
#[derive(Debug)]
pub struct PageTurn {
    reader: Arc<Reader>,
    charge: Option<Charge>,
    taken: Arc<Notify>,
    making: Option<Making>,
    _turn: OwnedSemaphorePermit,
}

impl Drop for PageTurn {
    fn drop(&mut self) {
        // No write may follow that would wake the waiting tasks.
        drop(self.charge.take());
        self.taken.notify_waiters();
    }
}

impl PageTurn {
    /// Waits for the node's turn, before the database is queried.
    pub async fn begin(&mut self) {
        if let Some(making) = &mut self.making {
            making.begin().await;
        }
    }

    /// Charges the finished answer's bytes until the turn is dropped.
    pub fn made(&mut self, bytes: usize) {
        self.charge = Some(self.reader.charge(bytes));
        self.making = None;
    }
}

impl HistoryTurn<'_> {
    /// Enqueues the message, unless it is this connection's own.
    pub fn send(self, broadcast: Broadcast) {
        if !self.outbound.is_own(&broadcast) {
            let frame = Frame::History(Box::new(broadcast), self.turn);
            self.place.send(self.outbound.charged(frame));
        }
    }
}
