//! Places for connections: each is given back however its connection ends.

use std::sync::{Arc, Mutex, PoisonError};

use dashmap::{DashMap, DashSet, Entry};

use super::{Account, Limits};

/// How many places each account has here.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: DashMap<Account, u32>,
    /// Those of whom other nodes are still to hear.
    changed: DashSet<Account>,
}

impl Places {
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

    /// Tells of the account again where it has not so many places any more.
    pub(super) fn changed_since(&self, account: &Account, count: u32) {
        if self.count(account) != count {
            self.changed.insert(account.clone());
        }
    }

    pub(super) fn forget_changes(&self) {
        self.changed.clear();
    }

    /// Takes those who are to be told of, as they are now.
    pub(super) fn changes(&self) -> Vec<(Account, u32)> {
        let changed: Vec<Account> = self.changed.iter().map(|account| account.clone()).collect();
        let taken = changed.into_iter().filter_map(|account| self.changed.remove(&account));
        taken.map(|account| (account.clone(), self.count(&account))).collect()
    }

    /// Takes those who are to be told of, and all others.
    pub(super) fn all(&self) -> Vec<(Account, u32)> {
        let mut all = self.changes();
        all.retain(|(_, count)| *count == 0);
        all.extend(self.held.iter().map(|entry| (entry.key().clone(), *entry.value())));
        all
    }
}

/// One connection's place, until it is dropped.
pub(crate) struct Place {
    limits: Arc<Limits>,
    account: Account,
}

impl Place {
    /// Takes a place; and how many there are with it.
    pub(super) fn take(limits: &Arc<Limits>, account: Account) -> (Self, u32) {
        let count = limits.places.enter(&account);
        (Self { limits: Arc::clone(limits), account }, count)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.places.leave(&self.account);
        if self.limits.bus.is_some() {
            self.limits.places.changed.insert(self.account.clone());
        }
    }
}

/// A place that is counted here alone, until it is dropped.
pub(crate) struct Counted {
    limits: Arc<Limits>,
    account: Account,
    among: fn(&Limits) -> &Places,
}

impl Counted {
    /// Takes a place; and how many there are with it.
    pub(super) fn take(
        limits: &Arc<Limits>,
        account: Account,
        among: fn(&Limits) -> &Places,
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

/// A TCP connection's place among those of its address, until it is given back or dropped.
pub(crate) struct Accepted(Mutex<Option<Counted>>);

impl Accepted {
    /// One that takes no place.
    pub(crate) fn unlimited() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn take(limits: &Arc<Limits>, account: Account) -> (Self, u32) {
        let (place, count) = Counted::take(limits, account, |all| &all.accepted);
        (Self(Mutex::new(Some(place))), count)
    }

    /// Whoever it is from may have as many as it needs.
    pub(crate) fn give_back(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
