//! Token buckets. Each decides at once by the state of this node. Usage on other nodes is added a moment
//! later.

use std::{
    convert::Infallible,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use governor::{
    Quota, RateLimiter,
    clock::MonotonicClock,
    nanos::Nanos,
    state::{
        StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};

use bus::Usage;
use model::account::Account;

/// Maximum debt of an account over all nodes, in bursts: as much as that many nodes can let through before
/// they know of each other.
const OWED_MAX: u32 = 4;

/// Part of an account's rate that debts from Redis can take at most, once [`OWED_MAX`] has been owed. Redis's
/// answers are not signed: a forged debt must not stop an account.
const REMOTE_SHARE: f64 = 0.75;

/// A rate for each account, and a burst.
pub(super) struct Rate {
    name: &'static str,
    limiter: RateLimiter<Account, Buckets, MonotonicClock>,
    buckets: Buckets,
    start: Instant,
    /// Time for which one use fills the bucket.
    cell: Duration,
    burst: NonZeroU32,
    /// Uses that are not reported to other nodes yet.
    used: DashMap<Account, u32>,
    /// Time, since `start`, until which debts from Redis have used up their part.
    raised: DashMap<Account, Duration>,
    report_min: u32,
}

impl Rate {
    /// `burst` is the number of seconds of the rate that may be used at once.
    pub(super) fn new(name: &'static str, a_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let burst = a_second.saturating_mul(burst);
        let quota = Quota::per_second(a_second).allow_burst(burst);
        Self::of(name, quota, (a_second.get() / 4).max(1))
    }

    /// A rate per minute, which may be used at once. Each use is reported to other nodes, because there are
    /// few.
    pub(super) fn per_minute(name: &'static str, a_minute: NonZeroU32) -> Self {
        Self::of(name, Quota::per_minute(a_minute), 1)
    }

    /// `report_min` is the number of uses that suffices for a report to other nodes.
    fn of(name: &'static str, quota: Quota, report_min: u32) -> Self {
        let buckets = Buckets::default();
        Self {
            name,
            limiter: RateLimiter::new(quota, buckets.clone(), MonotonicClock),
            buckets,
            start: Instant::now(),
            cell: quota.replenish_interval(),
            burst: quota.burst_size(),
            used: DashMap::new(),
            raised: DashMap::new(),
            report_min,
        }
    }

    /// Uses one token, or returns the time until there is one.
    pub(super) fn take(&self, account: &Account) -> Result<(), Duration> {
        let taken = self.limiter.check_key(account);
        taken.map_err(|until| until.wait_time_from(Instant::now()))?;
        match self.used.get_mut(account) {
            Some(mut used) => *used += 1,
            None => *self.used.entry(account.clone()).or_default() += 1,
        }
        Ok(())
    }

    /// Uses to report to other nodes. Few uses are not reported: the threshold is a quarter of a second's
    /// rate, and most people never reach it.
    pub(super) fn drain_usage(&self) -> Vec<(Account, Usage)> {
        let enough = self.used.iter().filter(|entry| *entry.value() >= self.report_min);
        let accounts: Vec<Account> = enough.map(|entry| entry.key().clone()).collect();
        let told = accounts.into_iter().filter_map(|account| self.used.remove(&account));
        told.map(|(account, used)| {
            let (name, used) = (format!("{}:{account}", self.name), self.cell * used);
            let owed_max = self.owed_max();
            (account, Usage { account: name, used, owed_max })
        })
        .collect()
    }

    fn owed_max(&self) -> Duration {
        self.cell * self.burst.get() * OWED_MAX
    }

    /// Applies the debt over all nodes, as Redis reports it. A smaller debt never lowers the local one, and a
    /// larger one raises it within bounds.
    pub(super) fn apply_debt(&self, account: &Account, owed: Duration) {
        self.apply_debt_at(self.start.elapsed(), account, owed);
    }

    fn apply_debt_at(&self, now: Duration, account: &Account, owed: Duration) {
        let max = self.owed_max();
        let until = now + owed.min(max);
        let used_until = self.raised.get(account).map_or(now, |until| (*until).max(now));
        let left = max.saturating_sub(used_until.saturating_sub(now).mul_f64(REMOTE_SHARE));
        let raised: Result<Duration, Infallible> =
            self.buckets.measure_and_replace(account, |known| {
                let known = known.map_or(now, |known| Duration::from(known).max(now));
                let raise = until.saturating_sub(known).min(left);
                Ok((raise, Nanos::from(known + raise)))
            });
        let Ok(raised) = raised;
        if !raised.is_zero() {
            self.raised.insert(account.clone(), used_until + raised.div_f64(REMOTE_SHARE));
        }
    }

    /// Removes the buckets that are full again, and uses too few to report, or all uses if nothing can be
    /// reported.
    pub(super) fn shrink(&self, reports: bool) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.used.retain(|_, used| reports && *used >= self.report_min);
        self.used.shrink_to_fit();
        let now = self.start.elapsed();
        self.raised.retain(|_, until| *until > now);
        self.raised.shrink_to_fit();
    }
}

/// The state of the limiter, which does not expose it.
#[derive(Clone, Debug, Default)]
struct Buckets(Arc<DashMapStateStore<Account>>);

impl StateStore for Buckets {
    type Key = Account;

    fn measure_and_replace<T, F, E>(&self, account: &Account, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(account, measure)
    }
}

impl ShrinkableKeyedStateStore<Account> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::account::Address;

    fn account(last: u8) -> Account {
        Account::Address(Address::from(std::net::IpAddr::from([192, 0, 2, last])))
    }

    fn rate(a_second: u32) -> Rate {
        Rate::new("test", NonZeroU32::new(a_second).unwrap(), NonZeroU32::new(2).unwrap())
    }

    #[test]
    fn b50_a_burst_fits_and_no_more_and_others_have_their_own() {
        let rate = rate(4);
        assert!((0..8).all(|_| rate.take(&account(1)).is_ok()));
        let wait = rate.take(&account(1)).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(250), "{wait:?}");
        assert!(rate.take(&account(2)).is_ok());
    }

    #[test]
    fn a_minutes_worth_fits_at_once_and_each_use_is_told() {
        let rate = Rate::per_minute("test", NonZeroU32::new(10).unwrap());
        assert!((0..10).all(|_| rate.take(&account(1)).is_ok()));
        let wait = rate.take(&account(1)).unwrap_err();
        assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(6), "{wait:?}");
        let told = rate.drain_usage();
        assert_eq!(told[0].1.used, Duration::from_secs(60));
        rate.take(&account(2)).unwrap();
        assert_eq!(rate.drain_usage().len(), 1, "one is enough");
    }

    #[test]
    fn b50_what_is_used_elsewhere_is_owed_here_too() {
        let rate = rate(4);
        rate.apply_debt(&account(1), Duration::from_secs(3));
        let wait = rate.take(&account(1)).unwrap_err();
        assert!(wait > Duration::from_millis(900), "the burst is 2 s: {wait:?}");
        // A smaller debt elsewhere does not lower the local one.
        rate.apply_debt(&account(1), Duration::ZERO);
        assert!(rate.take(&account(1)).is_err());
    }

    #[test]
    fn c14_a_debt_that_is_forged_again_and_again_slows_an_account_and_does_not_stop_it() {
        let (rate, burst) = (rate(100), Duration::from_secs(2));
        // Ten uses a second are tried, for a minute.
        let uses = (0..600).filter(|tenth| {
            let now = Duration::from_millis(100 * tenth);
            rate.apply_debt_at(now, &account(1), Duration::MAX);
            let used: Result<bool, Infallible> =
                rate.buckets.measure_and_replace(&account(1), |known| {
                    let known = Duration::from(known.unwrap_or_default());
                    let fits = known <= now + burst;
                    let next = if fits { known + rate.cell } else { known };
                    Ok((fits, Nanos::from(next)))
                });
            let Ok(used) = used;
            used
        });
        // In the first half minute none succeeds, and then most do.
        assert!(uses.count() > 200);
    }

    #[test]
    fn what_is_used_is_told_once_there_is_enough_of_it() {
        let rate = rate(8);
        rate.take(&account(1)).unwrap();
        assert!(rate.drain_usage().is_empty());
        rate.take(&account(1)).unwrap();
        let told = rate.drain_usage();
        let (whose, Usage { account: name, used, .. }) = &told[0];
        assert_eq!((whose, name.as_str()), (&account(1), "test:address:192.0.2.1"));
        assert_eq!(*used, Duration::from_millis(250));
        assert!(rate.drain_usage().is_empty());
    }

    #[test]
    fn a_flood_of_addresses_leaves_nothing_behind() {
        // A bucket of 1,000 a second is full again after a millisecond.
        let rate = rate(1_000);
        for last in 0..=255 {
            rate.take(&account(last)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        rate.shrink(true);
        assert!(rate.buckets.is_empty() && rate.used.is_empty());
    }

    #[test]
    fn what_nobody_is_there_to_be_told_of_is_forgotten() {
        let rate = rate(4);
        rate.take(&account(1)).unwrap();
        rate.shrink(true);
        assert!(!rate.used.is_empty(), "it is enough to tell");
        rate.shrink(false);
        assert!(rate.used.is_empty() && rate.drain_usage().is_empty());
        assert!(!rate.buckets.is_empty(), "but not that it was used here");
    }
}
