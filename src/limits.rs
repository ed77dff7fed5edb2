//! How much one user and one address may have: token buckets, and places for connections.
//!
//! A node decides at once by what it knows itself, and tells the bus in its own time; what comes back,
//! the account over all nodes, is set against the local one. Nothing that is sent waits for Redis.
//! While Redis is away each node counts for itself, and begins anew with it when it is back.

pub(crate) mod address;
mod crowd;
mod descriptors;
pub(crate) mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod places;
mod rate;
pub(crate) mod reads;

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::HeaderMap;
use ipnet::IpNet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::{
    bus::{Bus, BusError},
    config::Config,
    error::Error,
    metrics::limits::{Limit, Refusals},
    person::Person,
};
use address::{Address, FORWARDED_FOR};
use crowd::Crowd;
use frames::Frames;
pub(crate) use places::{Accepted, Place, Stranger};
use places::{Counted, Places};
use rate::Rate;

/// How many seconds' worth of sends fit at once: what was written offline is flushed.
const SENDS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// How many of requests: an app asks for much when it starts, and many people share an address.
const REQUESTS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);
/// How often the bus is told.
const TELL: Duration = Duration::from_millis(150);
/// How long the bus may take. One that took longer is away.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a bus that is away is tried.
const RETRY: Duration = Duration::from_secs(1);
/// How often the places of this node are noted again; a note holds for [`crate::bus::HELD`].
const RENEW: Duration = Duration::from_secs(7);
/// How often what is of no use any more is forgotten.
const SHRINK: Duration = Duration::from_secs(5);
/// How many accounts are told of in one round trip.
const CHUNK: usize = 256;
/// An account that nobody has, to see whether Redis does what limits need.
const PROBE: &str = "probe";
/// How many Socket.IO sessions of one address may be on their way in, so that no address takes the
/// places of all.
const ENTERING: u32 = 128;
/// How many strangers may be on their way in by Socket.IO, and how many TCP connections may be idle, of
/// all addresses together. Each is a quarter of the descriptors at most.
const STRANGERS_MAX: usize = 4_096;
const IDLE_MAX: usize = 8_192;
/// When a client that has too many connections may try again.
pub(crate) const PLACES_RETRY: Duration = Duration::from_secs(10);

/// Who is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    User(Person),
    Address(Address),
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(person) => write!(out, "user:{person}"),
            Self::Address(address) => write!(out, "address:{address}"),
        }
    }
}

/// One node's side of all limits.
pub(crate) struct Limits {
    sends: Option<Rate>,
    sends_a_second: Option<NonZeroU32>,
    requests: Option<Rate>,
    /// Sessions that a user opens.
    opens: Option<Rate>,
    /// How many sessions of a customer may wait for their first answer.
    unanswered: Option<NonZeroU32>,
    of_user: Option<NonZeroU32>,
    of_address: Option<NonZeroU32>,
    trusted_proxies: Vec<IpNet>,
    /// Sockets.
    places: Places,
    /// TCP connections that are not sockets: idle ones, and those whose request is still to come.
    accepted: Places,
    /// Socket.IO sessions on their way in, of each address and of all.
    entering: Places,
    strangers: Arc<Crowd>,
    /// TCP connections that ask for nothing, but those of trusted proxies and of nodes.
    idle: Arc<Crowd>,
    refusals: Refusals,
    /// None where this node is alone.
    bus: Option<Arc<dyn Bus>>,
    away: AtomicBool,
    /// It was said that proxies seem to be missing from the configuration.
    warned: AtomicBool,
}

impl Limits {
    pub(crate) fn start(config: &Config, bus: &Arc<dyn Bus>, refusals: Refusals) -> Arc<Self> {
        let limits = &config.limits;
        let rate = |name, a_second: Option<NonZeroU32>, burst| {
            a_second.map(|a_second| Rate::new(name, a_second, burst))
        };
        let crowd = |most, limit| Crowd::new(descriptors::share(most), refusals.counter(limit));
        let limits = Arc::new(Self {
            sends: rate("send", limits.sends_per_user_s, SENDS_BURST),
            sends_a_second: limits.sends_per_user_s,
            requests: rate("request", limits.requests_per_address_s, REQUESTS_BURST),
            opens: limits.opens_per_user_min.map(|opens| Rate::per_minute("open", opens)),
            unanswered: limits.unanswered_per_user,
            of_user: limits.connections_per_user,
            of_address: limits.connections_per_address,
            trusted_proxies: limits.trusted_proxies.clone(),
            places: Places::default(),
            accepted: Places::default(),
            entering: Places::default(),
            strangers: crowd(STRANGERS_MAX, Limit::Strangers),
            idle: crowd(IDLE_MAX, Limit::Idle),
            refusals,
            bus: config.redis.is_some().then(|| Arc::clone(bus)),
            away: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        });
        tokio::spawn(Arc::clone(&limits).keep_telling());
        limits
    }

    /// Whom a request is from.
    pub(crate) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Address {
        let proxies = &self.trusted_proxies;
        let unbelieved = !address::is_trusted(peer, proxies) && headers.contains_key(FORWARDED_FOR);
        if unbelieved && !self.warned.swap(true, Ordering::Relaxed) {
            // Behind a proxy that is not set everyone is one address. Its own is told where it can't be
            // that of a stranger who says such things.
            let from = if is_inside(peer) { peer.to_string() } else { "elsewhere".to_owned() };
            tracing::warn!(from, "TRUSTED_PROXIES: does not name who sends X-Forwarded-For");
        }
        Address::of(peer, headers, proxies)
    }

    /// Whether what this peer says of others is believed.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        address::is_trusted(peer, &self.trusted_proxies)
    }

    /// One send, by whatever way.
    pub(crate) fn send(&self, sender: &Person) -> Result<(), Error> {
        let Some(sends) = &self.sends else { return Ok(()) };
        sends.take(&Account::User(sender.clone())).map_err(|wait| self.refuse(Limit::Sends, wait))
    }

    /// One session more, with whomever: finding the one that is open is none.
    pub(crate) fn open(&self, opener: &Person) -> Result<(), Error> {
        let Some(opens) = &self.opens else { return Ok(()) };
        opens.take(&Account::User(opener.clone())).map_err(|wait| self.refuse(Limit::Opens, wait))
    }

    /// How many open sessions of a customer may have no answer yet; one more is
    /// [`Limits::refuse_unanswered`].
    pub(crate) fn unanswered(&self) -> Option<NonZeroU32> {
        self.unanswered
    }

    pub(crate) fn refuse_unanswered(&self) -> Error {
        self.refusals.count(Limit::Unanswered);
        Error::LimitReached("too many of your sessions wait for an answer")
    }

    /// One request over HTTP, a handshake among them.
    pub(crate) fn request(&self, address: Address) -> Result<(), Error> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let taken = requests.take(&Account::Address(address));
        taken.map_err(|wait| self.refuse(Limit::Requests, wait))
    }

    /// The frames of a new connection.
    pub(crate) fn frames(&self) -> Option<Frames> {
        self.sends_a_second.map(Frames::new)
    }

    /// One frame was too much.
    pub(crate) fn refuse_frame(&self, wait: Duration) -> Error {
        self.refuse(Limit::Frames, wait)
    }

    /// A connection is closed, as its client goes on though it is told.
    pub(crate) fn flooded(&self) {
        self.refusals.count(Limit::Flood);
    }

    fn refuse(&self, limit: Limit, wait: Duration) -> Error {
        self.refusals.count(limit);
        Error::RateLimited(wait)
    }

    /// Takes in a TCP connection, unless its address has too many that ask for nothing. A proxy has
    /// as many as it needs.
    pub(crate) fn accept(self: &Arc<Self>, peer: IpAddr) -> Option<Accepted> {
        if self.trusts(peer) {
            return Some(Accepted::unlimited());
        }
        let address = Address::from(peer);
        let mut of_address = None;
        if let Some(limit) = self.of_address {
            let (place, count) =
                Counted::take(self, Account::Address(address), |all| &all.accepted);
            if count > limit.get() {
                self.refusals.count(Limit::Accepted);
                return None;
            }
            of_address = Some(place);
        }
        Some(Accepted::new(of_address, self.idle.enter(address)))
    }

    /// How long a TCP connection that comes now may ask for nothing.
    pub(crate) fn idle_patience(&self, most: Duration) -> Duration {
        self.idle.patience(most)
    }

    /// Lets a Socket.IO session of this address try to come in, unless there are many of it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Address,
        patience: Duration,
    ) -> Result<Stranger, Error> {
        let (place, count) = Counted::take(self, Account::Address(address), |all| &all.entering);
        if self.of_address.is_some() && count > ENTERING {
            self.refusals.count(Limit::AddressConnections);
            return Err(Error::TooManyConnections);
        }
        let patience = self.strangers.patience(patience);
        Ok(Stranger::new(self.strangers.enter(address), patience, place))
    }

    /// A place for a connection on each of these accounts, for as long as they are held. Waits for the
    /// bus within bounds, and not where it is known to be away.
    pub(crate) async fn places(
        self: &Arc<Self>,
        accounts: impl IntoIterator<Item = Account>,
    ) -> Result<Vec<Place>, Error> {
        let (mut places, mut held) = (Vec::new(), Vec::new());
        for account in accounts {
            let (limit, kind) = match &account {
                Account::User(_) => (self.of_user, Limit::UserConnections),
                Account::Address(_) => (self.of_address, Limit::AddressConnections),
            };
            let Some(limit) = limit.map(NonZeroU32::get) else { continue };
            let (place, count) = Place::take(self, account.clone());
            places.push(place);
            held.push((account, count, limit, kind));
            if count > limit {
                return Err(self.too_many(kind));
            }
        }
        let told: Vec<_> = held.iter().map(|(who, count, ..)| (who.to_string(), *count)).collect();
        let elsewhere = self.hold(&told).await.unwrap_or_default();
        for ((account, count, limit, kind), elsewhere) in held.into_iter().zip(elsewhere) {
            if count.saturating_add(elsewhere) > limit {
                return Err(self.too_many(kind));
            }
            // Another one came or went meanwhile, and may have been noted before.
            self.places.changed_since(&account, count);
        }
        Ok(places)
    }

    fn too_many(&self, kind: Limit) -> Error {
        self.refusals.count(kind);
        Error::TooManyConnections
    }

    /// Notes on the bus how many places are held here; how many are held elsewhere, if it says so.
    async fn hold(&self, held: &[(String, u32)]) -> Option<Vec<u32>> {
        let bus = self.bus.as_ref().filter(|_| !self.is_away() && !held.is_empty())?;
        self.within(bus.hold(held)).await
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    async fn within<T>(&self, asked: impl Future<Output = Result<T, BusError>>) -> Option<T> {
        let answer = timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
        if answer.is_none() && !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis does not answer: each node counts for itself");
        }
        answer
    }

    async fn keep_telling(self: Arc<Self>) {
        let mut ticks = interval(TELL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        let (mut renew_at, mut shrink_at, mut try_at) = (now + RENEW, now + SHRINK, now);
        loop {
            let now = ticks.tick().await;
            if now >= shrink_at {
                shrink_at = now + SHRINK;
                let tells = self.bus.is_some() && !self.is_away();
                self.rates().for_each(|rate| rate.shrink(tells));
            }
            let Some(bus) = &self.bus else { continue };
            if self.is_away() {
                // Whoever goes meanwhile is not noted: a note runs out by itself.
                self.places.forget_changes();
                if now < try_at {
                    continue;
                }
                try_at = now + RETRY;
                // What limits need is a script that writes: not every Redis that answers runs it.
                let probe = [(PROBE.to_owned(), 0)];
                if self.within(bus.hold(&probe)).await.is_none() {
                    continue;
                }
                self.away.store(false, Ordering::Relaxed);
                tracing::info!("Redis answers again: limits count over all nodes");
                // It may be empty.
                renew_at = now;
            }
            for rate in self.rates() {
                self.charge(&**bus, rate).await;
            }
            if now >= renew_at {
                renew_at = now + RENEW;
                self.note(self.places.all()).await;
            } else {
                self.note(self.places.changes()).await;
            }
        }
    }

    fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.sends.iter().chain(&self.requests).chain(&self.opens)
    }

    async fn charge(&self, bus: &dyn Bus, rate: &Rate) {
        for chunk in rate.untold().chunks(CHUNK) {
            let (accounts, charges): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
            let Some(owed) = self.within(bus.charge(&charges)).await else { return };
            for (account, owed) in accounts.iter().zip(owed) {
                rate.owe(account, owed);
            }
        }
    }

    async fn note(&self, held: Vec<(Account, u32)>) {
        for chunk in held.chunks(CHUNK) {
            let named: Vec<_> =
                chunk.iter().map(|(account, count)| (account.to_string(), *count)).collect();
            if self.hold(&named).await.is_none() {
                return;
            }
        }
    }
}

/// Whether an address is one of a private network, or of this machine.
fn is_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}
