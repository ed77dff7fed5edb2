//! Slots for clients that are not authenticated yet. When they are full, the oldest client of the network
//! with most slots is evicted, never the newcomer.
//!
//! A stranger costs little and leaves soon, so the slots fill with clients that stay. Eviction goes down from
//! wide networks to narrow ones, because an attacker with one network has all that are in it. A network with
//! few slots is not singled out: many people are behind one address of a carrier. If no network has many, the
//! oldest client of all is evicted, and that is one of those that stay.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;

use super::address::networks;
use model::account::Address;

/// A network with at most this many slots is not singled out.
const FEW: usize = 16;
/// Minimum time for a stranger to enter, however full the slots are.
pub(crate) const ENTRY_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// A bounded number of slots.
pub(super) struct Crowd {
    bound: usize,
    evictions: Counter,
    guests: Mutex<Guests>,
}

/// The holders of slots, by age: slot numbers grow.
#[derive(Default)]
struct Guests {
    last: u64,
    all: BTreeMap<u64, (Address, Arc<Notify>)>,
    /// The holders in each network, wide and narrow ones.
    members: HashMap<IpNet, BTreeSet<u64>>,
    /// The networks directly inside each network, and the widest ones (`None`), by their number of holders.
    inside: HashMap<Option<IpNet>, BTreeSet<(usize, IpNet)>>,
}

impl Guests {
    fn enter(&mut self, address: Address, evicted: Arc<Notify>) -> u64 {
        self.last += 1;
        self.all.insert(self.last, (address, evicted));
        let number = self.last;
        self.change(address, |members| {
            members.insert(number);
        });
        number
    }

    fn leave(&mut self, number: u64) -> Option<Arc<Notify>> {
        let (address, evicted) = self.all.remove(&number)?;
        self.change(address, |members| {
            members.remove(&number);
        });
        Some(evicted)
    }

    /// Changes the members of all networks that contain an address.
    fn change(&mut self, address: Address, change: impl Fn(&mut BTreeSet<u64>)) {
        let mut outer = None;
        for network in networks(address) {
            let members = self.members.entry(network).or_default();
            let before = members.len();
            change(members);
            let now = members.len();
            if now == 0 {
                self.members.remove(&network);
            }
            let siblings = self.inside.entry(outer).or_default();
            siblings.remove(&(before, network));
            if now > 0 {
                siblings.insert((now, network));
            } else if siblings.is_empty() {
                self.inside.remove(&outer);
            }
            outer = Some(network);
        }
    }

    fn oldest_of_most(&self) -> Option<u64> {
        let mut most = None;
        while let Some((size, network)) = self.inside.get(&most).and_then(BTreeSet::last)
            && *size > FEW
        {
            most = Some(*network);
        }
        match most {
            Some(network) => self.members.get(&network).and_then(BTreeSet::first).copied(),
            None => self.all.keys().next().copied(),
        }
    }
}

impl Crowd {
    pub(super) fn new(bound: usize, evictions: &Counter) -> Arc<Self> {
        Arc::new(Self { bound, evictions: evictions.clone(), guests: Mutex::default() })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a holder. If the slots are full, another one is evicted.
    pub(super) fn enter(self: &Arc<Self>, address: Address) -> Guest {
        let evicted = Arc::<Notify>::default();
        let place = Mutex::new(Some(self.take(address, &evicted)));
        Guest { crowd: Arc::clone(self), address, place, evicted }
    }

    fn take(&self, address: Address, evicted: &Arc<Notify>) -> u64 {
        let mut guests = self.guests();
        let number = guests.enter(address, Arc::clone(evicted));
        while guests.all.len() > self.bound
            && let Some(oldest) = guests.oldest_of_most()
            && let Some(evicted) = guests.leave(oldest)
        {
            self.evictions.inc();
            evicted.notify_one();
        }
        number
    }

    /// Time limit of a new holder. The fewer slots are free, the shorter it is.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no precision")]
    pub(super) fn limit(&self, most: Duration) -> Duration {
        let free = self.bound.saturating_sub(self.guests().all.len());
        let share = free as f64 / self.bound.max(1) as f64;
        most.mul_f64(share).max(ENTRY_TIMEOUT_MIN.min(most))
    }
}

/// One slot, until it is given back or dropped.
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    address: Address,
    place: Mutex<Option<u64>>,
    evicted: Arc<Notify>,
}

impl Guest {
    /// Resolves when the slot is taken away, and never if it was given back before.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Gives the slot back: the client is authenticated now, or its request is being served.
    pub(super) fn leave(&self) {
        if let Some(number) = self.place().take() {
            self.crowd.guests().leave(number);
        }
    }

    /// Takes a slot again, as the youngest holder.
    pub(super) fn come_back(&self) {
        self.leave();
        let number = self.crowd.take(self.address, &self.evicted);
        *self.place() = Some(number);
    }

    fn place(&self) -> MutexGuard<'_, Option<u64>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use futures_util::FutureExt;

    use super::*;

    fn crowd(bound: usize) -> Arc<Crowd> {
        Crowd::new(bound, &Counter::default())
    }

    fn v4(a: u8, b: u8, c: u8, d: u8) -> Address {
        IpAddr::from(Ipv4Addr::new(a, b, c, d)).into()
    }

    /// An address in this network of a /48 site.
    fn v6(site: u16, network: u16) -> Address {
        IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, 1)).into()
    }

    fn is_evicted(guest: &Guest) -> bool {
        guest.evicted().now_or_never().is_some()
    }

    fn evicted(guests: &[Guest]) -> usize {
        guests.iter().filter(|guest| is_evicted(guest)).count()
    }

    fn all(crowd: &Arc<Crowd>, addresses: impl Iterator<Item = Address>) -> Vec<Guest> {
        addresses.map(|address| crowd.enter(address)).collect()
    }

    #[test]
    fn c5_a_full_house_evicts_of_the_network_that_has_most_however_it_is_cut() {
        for attackers in [
            (0..500).map(|n| v6(700, n % 4)).collect::<Vec<_>>(),
            (0..500).map(|n| v6(700, n * 64)).collect(),
            (0..500).map(|n| v4(198, 51, 100, u8::try_from(n % 5).unwrap())).collect(),
            (0..500).map(|n| v4(198, 51, u8::try_from(n % 250).unwrap(), 1)).collect(),
        ] {
            let crowd = crowd(100);
            let honest = all(&crowd, (0..40).map(|n| v6(n, 1)));
            let carrier = all(&crowd, (0..16).map(|_| v4(203, 0, 113, 9)));
            let attackers = all(&crowd, attackers.into_iter());
            assert_eq!((evicted(&honest), evicted(&carrier)), (0, 0));
            assert_eq!(evicted(&attackers), 456);
            let newcomer = crowd.enter(v6(99, 1));
            assert!(!is_evicted(&newcomer) && evicted(&attackers) == 1);
            assert_eq!(crowd.evictions.get(), 457);
        }
    }

    #[test]
    fn c5_where_every_network_has_few_the_oldest_goes() {
        let crowd = crowd(100);
        let attackers = all(&crowd, (0..100).map(|n| v6(n, 1)));
        let carrier = all(&crowd, (0..16).map(|_| v4(203, 0, 113, 9)));
        assert_eq!(evicted(&carrier), 0, "people behind one address don't evict each other");
        assert!(attackers.iter().take(16).all(is_evicted));
        assert_eq!(evicted(&attackers), 0, "each is told once");
    }

    #[test]
    fn a_place_that_is_given_back_is_free_and_leaves_nothing_behind() {
        let crowd = crowd(2);
        let guests = all(&crowd, [v4(1, 2, 3, 4), v6(1, 1)].into_iter());
        guests.first().unwrap().leave();
        let third = crowd.enter(v6(2, 2));
        assert_eq!(crowd.evictions.get(), 0, "there was a place");
        guests.first().unwrap().come_back();
        assert!(is_evicted(guests.get(1).unwrap()) && !is_evicted(&third));
        drop((guests, third));
        let left = crowd.guests();
        assert!(left.all.is_empty() && left.members.is_empty() && left.inside.is_empty());
    }

    #[test]
    fn patience_shrinks_as_places_fill() {
        let crowd = crowd(4);
        let most = Duration::from_secs(20);
        assert_eq!(crowd.limit(most), most);
        let _guests = all(&crowd, (0..2).map(|n| v6(n, n)));
        assert_eq!(crowd.limit(most), Duration::from_secs(10));
        let _more = all(&crowd, (2..4).map(|n| v6(n, n)));
        assert_eq!(crowd.limit(most), ENTRY_TIMEOUT_MIN);
        assert_eq!(crowd.limit(Duration::from_millis(300)), Duration::from_millis(300));
    }
}
