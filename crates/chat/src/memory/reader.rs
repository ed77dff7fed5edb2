//! One reader (a connection, or the client of an HTTP answer), with the bytes that wait for it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Memory, backlog::Backlog, ending::Ending, share::Share};
use model::account::Account;

/// A connection, or the client of an HTTP answer.
#[derive(Debug)]
pub struct Reader {
    pub(super) id: u64,
    pub(super) account: Account,
    pub(super) memory: Arc<Memory>,
    pub(super) share: Arc<Share>,
    pub(super) ending: Arc<Ending>,
    pub(super) backlog: Backlog,
}

/// Permission to make one large answer, whose bytes do not wait yet. The account's permit comes first, so
/// that one account is never far ahead in the node's queue; then the node's.
#[derive(Debug)]
pub struct Making {
    memory: Arc<Memory>,
    _of_account: OwnedSemaphorePermit,
    of_node: Option<OwnedSemaphorePermit>,
}

impl Making {
    /// Waits for the node's permit. This value must be dropped before the answer waits for its client.
    pub async fn begin(&mut self) {
        self.of_node = Arc::clone(&self.memory.making).acquire_owned().await.ok();
    }
}

impl Reader {
    /// Adds waiting bytes, until the charge is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let charge = Charge { reader: Arc::clone(self), bytes };
        if bytes > 0 {
            self.backlog.grow(bytes);
            let of_account = self.share.grow(bytes);
            self.memory.grown(&self.share, of_account, bytes);
        }
        charge
    }

    /// Bytes that wait for it.
    pub fn bytes(&self) -> usize {
        self.backlog.bytes()
    }

    /// Number of waiting bytes, and the time since the last was taken; `None` if nothing waits.
    pub fn waiting(&self) -> Option<(usize, Duration)> {
        self.backlog.waiting()
    }

    /// Waits for the account's permit to make a large answer.
    pub async fn making(&self) -> Option<Making> {
        let of_account = Arc::clone(&self.share.making).acquire_owned().await.ok()?;
        Some(Making { memory: Arc::clone(&self.memory), _of_account: of_account, of_node: None })
    }

    pub(super) fn age(&self) -> (Instant, usize) {
        self.backlog.age()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.code().is_some()
    }

    pub(super) fn evict(&self) -> bool {
        self.ending.evict()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.memory.forget(self);
    }
}

/// Bytes that wait for a reader. They are given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    reader: Arc<Reader>,
    bytes: usize,
}

impl Charge {
    /// Takes over another charge of the same reader.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all but this many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.give_back(self.bytes.saturating_sub(bytes));
    }

    fn give_back(&mut self, bytes: usize) {
        if bytes > 0 {
            self.bytes -= bytes;
            self.reader.backlog.shrink(bytes);
            self.reader.share.shrink(bytes);
            self.reader.memory.shrunk(bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
