//! Memory held for readers: queues of connections, HTTP answers that are not read yet, and answers in
//! preparation.
//!
//! Law I8: there is one budget for the node and one for each account. Over either, the reader whose oldest
//! bytes have waited longest is closed as a slow reader. A client that reads is not affected. A large answer
//! waits for its turn before the database is queried.

mod backlog;
pub mod config;
pub mod counts;
mod ending;
mod machine;
mod reader;
mod share;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, Entry};
use tokio::{
    sync::{Notify, Semaphore},
    time::sleep,
};

pub use ending::Ending;
pub use reader::{Charge, Making, Reader};

use crate::memory::counts::MemoryCounts;
use backlog::Backlog;
use model::account::Account;
use platform::tasks::{Stage, Tasks};
use share::{Share, evict};

const MIB: usize = 1024 * 1024;
/// Divisor of the process's memory for the default budget.
const PART: u64 = 4;
/// Minimum of the default budget.
const LEAST: usize = 64 * MIB;
/// Maximum bytes that wait for all readers of one account. One further answer may wait.
pub(crate) const OF_ACCOUNT: usize = 8 * MIB;
/// Maximum memory of one large answer in preparation: two pages as messages, as JSON, and as a frame of the
/// framing that has its fields twice.
const PAGE: usize = 2 * MIB;
/// Maximum number of large answers in preparation for one account.
const PAGES_OF_ACCOUNT: usize = 2;
/// Time for evicted readers to give back their bytes before the next are chosen.
const PAUSE: Duration = Duration::from_millis(20);

/// Memory budget of one node.
#[derive(Debug)]
pub struct Memory {
    budget: usize,
    /// Maximum bytes that may wait. The rest of the budget is for answers in preparation.
    most: usize,
    of_account: usize,
    waiting: AtomicUsize,
    shares: DashMap<Account, Arc<Share>>,
    next_id: AtomicU64,
    /// One permit for each large answer in preparation.
    making: Arc<Semaphore>,
    over: Notify,
    counts: MemoryCounts,
}

impl Memory {
    /// Starts to enforce the budget: this one in bytes, or a part of the available memory.
    pub fn start(tasks: &Tasks, budget: Option<usize>, counts: MemoryCounts) -> Arc<Self> {
        let (budget, from) = budget.map_or_else(default_budget, |bytes| (bytes, "variable"));
        tracing::info!(mib = budget / MIB, from, "outbound memory budget");
        let memory = Self::new(budget, counts);
        tasks.spawn(Stage::Delivery, "memory", Arc::clone(&memory).keep_within());
        memory
    }

    /// A budget of this many bytes, without its background task.
    pub fn new(budget: usize, counts: MemoryCounts) -> Arc<Self> {
        let pages = (budget / 4 / PAGE).max(PAGES_OF_ACCOUNT);
        let most = budget.saturating_sub(pages * PAGE);
        Arc::new(Self {
            budget,
            most,
            of_account: OF_ACCOUNT.min(most / 2),
            waiting: AtomicUsize::new(0),
            shares: DashMap::new(),
            next_id: AtomicU64::new(1),
            making: Arc::new(Semaphore::new(pages)),
            over: Notify::new(),
            counts,
        })
    }

    /// A new reader of an account. It is closed by `ending`.
    pub fn reader(self: &Arc<Self>, account: Account, ending: &Arc<Ending>) -> Arc<Reader> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // Locked until the reader is in it, because a share without readers is removed.
        let share = self.shares.entry(account.clone()).or_insert_with(|| Arc::new(Share::new()));
        let reader = Arc::new(Reader {
            id,
            account,
            memory: Arc::clone(self),
            share: Arc::clone(&share),
            ending: Arc::clone(ending),
            backlog: Backlog::new(),
        });
        share.insert(id, &reader);
        reader
    }

    fn forget(&self, reader: &Reader) {
        if let Entry::Occupied(share) = self.shares.entry(reader.account.clone())
            && share.get().remove(reader.id)
        {
            share.remove();
        }
    }

    /// Whether this many bytes more would exceed an account's budget.
    pub fn is_full(&self, account: &Account, bytes: usize) -> bool {
        let waiting = self.shares.get(account).map_or(0, |share| share.waiting());
        let full = waiting + bytes > self.of_account;
        if full {
            self.counts.refused.inc();
        }
        full
    }

    /// Number of bytes that wait, and the budget.
    pub fn usage(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::Relaxed), self.budget)
    }

    /// Counters of the readers that are evicted.
    pub fn counts(&self) -> &MemoryCounts {
        &self.counts
    }

    fn grown(&self, share: &Share, of_account: usize, bytes: usize) {
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most {
            self.over.notify_one();
        }
        if of_account > self.of_account {
            let ended = evict(share.readers(), of_account - self.of_account);
            self.counts.of_account.inc_by(ended);
        }
    }

    fn shrunk(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    async fn keep_within(self: Arc<Self>) {
        loop {
            self.over.notified().await;
            self.evict();
            sleep(PAUSE).await;
        }
    }

    /// Evicts the readers of the oldest bytes, of any account.
    fn evict(&self) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let Some(over) = waiting.checked_sub(self.most).filter(|over| *over > 0) else { return };
        let shares: Vec<_> = self.shares.iter().map(|share| Arc::clone(share.value())).collect();
        let readers = shares.iter().flat_map(|share| share.readers()).collect();
        let ended = evict(readers, over);
        if ended > 0 {
            tracing::warn!(
                ended,
                mib = waiting / MIB,
                "outbound memory budget exceeded; slowest readers disconnected"
            );
        }
        self.counts.of_node.inc_by(ended);
    }
}

fn default_budget() -> (usize, &'static str) {
    let (memory, from) = machine::memory().unwrap_or((0, "default"));
    (usize::try_from(memory / PART).unwrap_or(usize::MAX).max(LEAST), from)
}

#[cfg(test)]
mod tests {
    use model::ids::TenantId;
    use tokio::time::advance;

    use super::*;
    use model::person::{Person, Side};
    use protocol::CloseCode;

    fn account(id: &str) -> Account {
        Account::User(Person::new(TenantId::MAIN, Side::Contact, id.parse().unwrap()))
    }

    fn reader(memory: &Arc<Memory>, id: &str) -> (Arc<Reader>, Arc<Ending>) {
        let ending = Arc::default();
        (memory.reader(account(id), &ending), ending)
    }

    #[tokio::test(start_paused = true)]
    async fn i8_over_a_persons_budget_their_oldest_backlog_goes_and_nobody_elses() {
        let memory = Memory::new(64 * MIB, MemoryCounts::default());
        let (other, spared) = reader(&memory, "other");
        let _older = other.charge(MIB);
        let mut held = Vec::new();
        for _ in 0..3 {
            advance(Duration::from_secs(1)).await;
            let (reader, ending) = reader(&memory, "flood");
            held.push((reader.charge(3 * MIB), ending));
        }
        let codes: Vec<_> = held.iter().map(|(_, ending)| ending.code()).collect();
        assert_eq!(codes, [Some(CloseCode::SlowReader), None, None]);
        assert_eq!((spared.code(), memory.usage().0), (None, 10 * MIB));
        // The first reader is ending already, so the bytes that it still holds evict no second one.
        let (third, ending) = reader(&memory, "flood");
        let _more = third.charge(1);
        assert!(held.iter().skip(1).all(|(_, ending)| ending.code().is_none()));
        assert_eq!((ending.code(), memory.counts.of_account.get()), (None, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn i8_over_the_nodes_budget_the_oldest_backlog_of_all_goes() {
        let memory = Memory::new(64 * MIB, MemoryCounts::default());
        let mut held = Vec::new();
        for number in 0..9 {
            advance(Duration::from_secs(1)).await;
            let (reader, ending) = reader(&memory, &format!("p{number}"));
            held.push((reader.charge(6 * MIB), ending));
        }
        memory.evict();
        let ended = held.iter().filter(|(_, ending)| ending.is_evicted()).count();
        assert_eq!((ended, held[0].1.code()), (1, Some(CloseCode::SlowReader)));
        memory.evict();
        assert_eq!(memory.counts.of_node.get(), 1, "it is on its way out");
    }

    #[tokio::test]
    async fn i8_every_byte_is_given_back_and_no_account_is_kept() {
        let memory = Memory::new(64 * MIB, MemoryCounts::default());
        let (reader, _) = reader(&memory, "p");
        let mut charge = reader.charge(100);
        charge.absorb(reader.charge(50));
        assert_eq!((reader.bytes(), memory.usage().0), (150, 150));
        charge.shrink_to(20);
        assert_eq!((reader.bytes(), memory.usage().0), (20, 20));
        assert!(memory.is_full(&account("p"), OF_ACCOUNT));
        assert!(!memory.is_full(&account("q"), OF_ACCOUNT));
        drop(reader);
        drop(charge);
        assert_eq!((memory.usage().0, memory.shares.len()), (0, 0));
    }

    #[tokio::test]
    async fn i8_large_answers_of_one_person_take_turns_and_leave_others_theirs() {
        let memory = Memory::new(64 * MIB, MemoryCounts::default());
        let (many, _) = reader(&memory, "many");
        let mut making = Vec::new();
        for _ in 0..PAGES_OF_ACCOUNT {
            making.push(many.making().await.unwrap());
        }
        let next = tokio::spawn({
            let many = Arc::clone(&many);
            async move { many.making().await.is_some() }
        });
        let (other, _) = reader(&memory, "other");
        assert!(other.making().await.is_some());
        assert!(!next.is_finished());
        making.pop();
        assert!(next.await.unwrap());
    }
}
