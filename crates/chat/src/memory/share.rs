//! Bytes that wait for the readers of one account.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Semaphore;

use super::{PAGES_OF_ACCOUNT, reader::Reader};

#[derive(Debug)]
pub(super) struct Share {
    waiting: AtomicUsize,
    readers: Mutex<HashMap<u64, Weak<Reader>>>,
    /// One permit for each answer in preparation.
    pub(super) making: Arc<Semaphore>,
}

impl Share {
    pub(super) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            readers: Mutex::default(),
            making: Arc::new(Semaphore::new(PAGES_OF_ACCOUNT)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, id: u64, reader: &Arc<Reader>) {
        self.lock().insert(id, Arc::downgrade(reader));
    }

    /// Removes a reader. Returns whether it was the last one.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut readers = self.lock();
        readers.remove(&id);
        readers.is_empty()
    }

    /// The readers. The caller drops them, because dropping the last reference takes the lock.
    pub(super) fn readers(&self) -> Vec<Arc<Reader>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Adds waiting bytes. Returns their total.
    pub(super) fn grow(&self, bytes: usize) -> usize {
        self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    pub(super) fn shrink(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Evicts the readers whose oldest bytes have waited longest, until enough bytes are due to come back.
/// Returns how many were evicted.
pub(super) fn evict(readers: Vec<Arc<Reader>>, over: usize) -> u64 {
    let mut over = over;
    let mut live = Vec::new();
    for reader in readers {
        let (oldest, bytes) = reader.age();
        if reader.is_ending() {
            over = over.saturating_sub(bytes);
        } else if bytes > 0 {
            live.push((oldest, bytes, reader));
        }
    }
    live.sort_unstable_by_key(|(oldest, ..)| *oldest);
    let mut ended = 0;
    for (_, bytes, reader) in live {
        if over == 0 {
            break;
        }
        ended += u64::from(reader.evict());
        over = over.saturating_sub(bytes);
    }
    ended
}
