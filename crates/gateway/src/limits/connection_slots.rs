//! Connection slots. Each is given back however its connection ends.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, DashSet, Entry};

use super::{Limits, crowd::Guest};
use model::account::Account;

/// Number of slots that each account has here.
#[derive(Debug, Default)]
pub(super) struct ConnectionSlots {
    held: DashMap<Account, u32>,
    /// Accounts whose count is still to be reported to other nodes.
    changed: DashSet<Account>,
}

impl ConnectionSlots {
    fn enter(&self, account: &Account) -> u32 {
        let mut count = self.held.entry(account.clone()).or_default();
        *count += 1;
        *count
    }

    fn leave(&self, account: &Account) {
        if let Entry::Occupied(mut count) = self.held.entry(account.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn count(&self, account: &Account) -> u32 {
        self.held.get(account).map_or(0, |count| *count)
    }

    /// Marks the account for another report if its count has changed.
    pub(super) fn changed_since(&self, account: &Account, count: u32) {
        if self.count(account) != count {
            self.changed.insert(account.clone());
        }
    }

    pub(super) fn forget_changes(&self) {
        self.changed.clear();
    }

    /// Takes the accounts to report, with their present counts.
    pub(super) fn changes(&self) -> Vec<(Account, u32)> {
        let changed: Vec<Account> = self.changed.iter().map(|account| account.clone()).collect();
        let taken = changed.into_iter().filter_map(|account| self.changed.remove(&account));
        taken.map(|account| (account.clone(), self.count(&account))).collect()
    }

    /// Takes the accounts to report, and all others.
    pub(super) fn all(&self) -> Vec<(Account, u32)> {
        let mut all = self.changes();
        all.retain(|(_, count)| *count == 0);
        all.extend(self.held.iter().map(|entry| (entry.key().clone(), *entry.value())));
        all
    }
}

/// Slot of one connection, until it is dropped.
pub struct Slot {
    limits: Arc<Limits>,
    account: Account,
}

impl Slot {
    /// Takes a slot. Returns it with the number of slots taken, this one included.
    pub(super) fn take(limits: &Arc<Limits>, account: Account) -> (Self, u32) {
        let count = limits.slots.enter(&account);
        (Self { limits: Arc::clone(limits), account }, count)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limits.slots.leave(&self.account);
        if self.limits.quotas.is_some() {
            self.limits.slots.changed.insert(self.account.clone());
        }
    }
}

/// A slot that is counted on this node only, until it is dropped.
pub(super) struct Counted {
    limits: Arc<Limits>,
    account: Account,
    among: fn(&Limits) -> &ConnectionSlots,
}

impl Counted {
    /// Takes a slot. Returns it with the number of slots taken, this one included.
    pub(super) fn take(
        limits: &Arc<Limits>,
        account: Account,
        among: fn(&Limits) -> &ConnectionSlots,
    ) -> (Self, u32) {
        let count = among(limits).enter(&account);
        (Self { limits: Arc::clone(limits), account, among }, count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.among)(&self.limits).leave(&self.account);
    }
}

/// Slots of a TCP connection, until they are given back or dropped: one of its address, and, while it has no
/// request, one of all idle connections.
pub struct Accepted {
    of_address: Mutex<Option<Counted>>,
    /// `None` if it takes no slot.
    idle: Option<Guest>,
    is_exempt: AtomicBool,
}

impl Accepted {
    /// A connection that takes no slot.
    pub fn unlimited() -> Self {
        Self { of_address: Mutex::new(None), idle: None, is_exempt: AtomicBool::new(true) }
    }

    pub(super) fn new(of_address: Option<Counted>, idle: Guest) -> Self {
        let of_address = Mutex::new(of_address);
        Self { of_address, idle: Some(idle), is_exempt: AtomicBool::new(false) }
    }

    /// Gives the slots back: the client of this connection is not limited.
    pub fn give_back(&self) {
        drop(self.of_address.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.is_exempt.store(true, Ordering::Relaxed);
        self.begin();
    }

    /// A request is being served, so the connection is not idle.
    pub fn begin(&self) {
        if let Some(idle) = &self.idle {
            idle.leave();
        }
    }

    /// The connection waits for the next request.
    pub fn rest(&self) {
        if let Some(idle) = &self.idle
            && !self.is_exempt.load(Ordering::Relaxed)
        {
            idle.come_back();
        }
    }

    /// Resolves when its slot is needed.
    pub async fn evicted(&self) {
        match &self.idle {
            Some(idle) => idle.evicted().await,
            None => pending().await,
        }
    }
}

/// A client that is not authenticated yet, and has not entered.
pub struct Stranger {
    guest: Guest,
    limit: Duration,
    _of_address: Counted,
}

impl Stranger {
    pub(super) fn new(guest: Guest, limit: Duration, of_address: Counted) -> Self {
        Self { guest, limit, _of_address: of_address }
    }

    /// Time limit to enter, from when it came.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Resolves when its slot is needed.
    pub async fn evicted(&self) {
        self.guest.evicted().await;
    }
}
