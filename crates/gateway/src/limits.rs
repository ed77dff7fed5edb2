//! Limits of one user and one address: token buckets, and slots for connections ([`Slot`]).
//!
//! A node decides at once by its own counts, and reports its usage to the bus in the background. The bus
//! returns the debt over all nodes, which is set against the local bucket. No send waits for Redis. While
//! Redis is away each node counts for itself, and begins anew when it is back.

pub mod address;
pub mod config;
mod connection_slots;
pub mod counts;
mod crowd;
mod descriptors;
pub mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod rate;

use std::{
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

use self::config::LimitsConfig;
use crate::limits::counts::{Limit, Refusals};
use address::FORWARDED_FOR;
use bus::{BusError, Quotas, SLOT_LEASE};
pub use connection_slots::{Accepted, Slot, Stranger};
use connection_slots::{ConnectionSlots, Counted};
use crowd::Crowd;
pub(crate) use crowd::ENTRY_TIMEOUT_MIN as IDLE_TIMEOUT_MIN;
use frames::Frames;
use model::account::{Account, Address};
use model::person::Person;
use platform::tasks::{Stage, Tasks};
use protocol::error::Error;
use rate::Rate;

/// Burst of sends, in seconds of the rate: apps send what was written offline.
const SENDS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// Burst of requests, in seconds of the rate. An gateway sends many when it starts, and people share addresses.
const REQUESTS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);
/// Interval of the reports to the bus.
const REPORT_INTERVAL: Duration = Duration::from_millis(150);
/// Time limit of a call to the bus. A slower bus counts as away.
const BUS_TIMEOUT: Duration = Duration::from_secs(1);
/// Retry interval while the bus is away.
const BUS_RETRY: Duration = Duration::from_secs(1);
/// Interval to renew this node's slots on the bus. A lease survives one failed renewal.
const RENEW_INTERVAL: Duration = Duration::from_secs(7);
const _: () = assert!(RENEW_INTERVAL.as_secs() * 2 < SLOT_LEASE.as_secs());
/// Interval to remove buckets that are no longer needed.
const SHRINK_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of accounts in one round trip.
const REPORT_MAX: usize = 256;
/// Account of nobody, to check that Redis can run the limits' script.
const PROBE_ACCOUNT: &str = "probe";
/// Maximum number of Socket.IO sessions of one address that have not entered yet, so that no address takes
/// the slots of all.
const ENTERING_MAX: u32 = 128;
/// Maximum number of strangers (Socket.IO sessions that have not entered yet) and of idle TCP connections,
/// over all addresses. Each is at most a quarter of the descriptors.
const STRANGERS_MAX: usize = 4_096;
const IDLE_MAX: usize = 8_192;

/// One node's side of all limits.
pub struct Limits {
    sends: Option<Rate>,
    sends_a_second: Option<NonZeroU32>,
    requests: Option<Rate>,
    /// Sessions opened by a user.
    opens: Option<Rate>,
    /// Maximum number of a customer's sessions that wait for their first answer.
    unanswered: Option<NonZeroU32>,
    of_user: Option<NonZeroU32>,
    of_address: Option<NonZeroU32>,
    trusted_proxies: Vec<IpNet>,
    /// Slots of sockets.
    slots: ConnectionSlots,
    /// Slots of TCP connections that are not sockets: idle ones, and those whose request is still to come.
    accepted: ConnectionSlots,
    /// Socket.IO sessions that have not entered yet: of each address, and of all.
    entering: ConnectionSlots,
    strangers: Arc<Crowd>,
    /// Idle TCP connections, without those of trusted proxies and of nodes.
    idle: Arc<Crowd>,
    refusals: Refusals,
    /// `None` if this node is alone.
    quotas: Option<Arc<dyn Quotas>>,
    away: AtomicBool,
    /// Whether the warning about a missing proxy was logged.
    warned: AtomicBool,
}

impl Limits {
    /// Starts to share usage by the bus; `None` if this node is alone.
    pub fn start(
        tasks: &Tasks,
        limits: &LimitsConfig,
        quotas: Option<Arc<dyn Quotas>>,
        refusals: Refusals,
    ) -> Arc<Self> {
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
            slots: ConnectionSlots::default(),
            accepted: ConnectionSlots::default(),
            entering: ConnectionSlots::default(),
            strangers: crowd(STRANGERS_MAX, Limit::Strangers),
            idle: crowd(IDLE_MAX, Limit::Idle),
            refusals,
            quotas,
            away: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        });
        tasks.spawn(Stage::Delivery, "limits", Arc::clone(&limits).keep_reporting());
        limits
    }

    /// Address of a request's client.
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Address {
        let proxies = &self.trusted_proxies;
        let unbelieved = !address::is_trusted(peer, proxies) && headers.contains_key(FORWARDED_FOR);
        if unbelieved && !self.warned.swap(true, Ordering::Relaxed) {
            // Behind a proxy that is not configured, all clients have one address. The proxy's address is
            // logged only if it is private: otherwise the peer may be a stranger who forged the header.
            let from = if is_inside(peer) { peer.to_string() } else { "elsewhere".to_owned() };
            tracing::warn!(
                from,
                "TRUSTED_PROXIES: does not contain the address that sends X-Forwarded-For"
            );
        }
        address::client(peer, headers, proxies)
    }

    /// Whether this peer's forwarding headers are trusted.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        address::is_trusted(peer, &self.trusted_proxies)
    }

    /// Counts one send, from HTTP or a socket.
    pub fn send(&self, sender: &Person) -> Result<(), Error> {
        let Some(sends) = &self.sends else { return Ok(()) };
        sends.take(&Account::User(sender.clone())).map_err(|wait| self.refuse(Limit::Sends, wait))
    }

    /// Counts one new session. Returning an open one does not count.
    pub fn open(&self, opener: &Person) -> Result<(), Error> {
        let Some(opens) = &self.opens else { return Ok(()) };
        opens.take(&Account::User(opener.clone())).map_err(|wait| self.refuse(Limit::Opens, wait))
    }

    /// Maximum number of a customer's open sessions without an answer. For one more, see
    /// [`Limits::refuse_unanswered`].
    pub fn unanswered(&self) -> Option<NonZeroU32> {
        self.unanswered
    }

    pub(crate) fn refuse_unanswered(&self) -> Error {
        self.refusals.count(Limit::Unanswered);
        Error::LimitReached("too many of your sessions wait for a first answer")
    }

    /// Counts one HTTP request. Handshakes are requests too.
    pub fn request(&self, address: Address) -> Result<(), Error> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let taken = requests.take(&Account::Address(address));
        taken.map_err(|wait| self.refuse(Limit::Requests, wait))
    }

    /// Limit of the frames of a new connection.
    pub fn frames(&self) -> Option<Frames> {
        self.sends_a_second.map(Frames::new)
    }

    /// Error for a frame over the limit. Counts the refusal.
    pub(crate) fn refuse_frame(&self, wait: Duration) -> Error {
        self.refuse(Limit::Frames, wait)
    }

    /// Counts a connection that is closed because its client continues despite refusals.
    pub(crate) fn flooded(&self) {
        self.refusals.count(Limit::Flood);
    }

    fn refuse(&self, limit: Limit, wait: Duration) -> Error {
        self.refusals.count(limit);
        Error::RateLimited(wait)
    }

    /// Accepts a TCP connection, unless its address has too many idle ones. Proxies are not limited.
    pub fn accept(self: &Arc<Self>, peer: IpAddr) -> Option<Accepted> {
        if self.trusts(peer) {
            return Some(Accepted::unlimited());
        }
        let address = Address::from(peer);
        let mut of_address = None;
        if let Some(limit) = self.of_address {
            let (slot, count) = Counted::take(self, Account::Address(address), |all| &all.accepted);
            if count > limit.get() {
                self.refusals.count(Limit::Accepted);
                return None;
            }
            of_address = Some(slot);
        }
        Some(Accepted::new(of_address, self.idle.enter(address)))
    }

    /// Time limit for a new TCP connection to send a request.
    pub fn idle_timeout(&self, most: Duration) -> Duration {
        self.idle.limit(most)
    }

    /// Lets a Socket.IO session of this address begin to enter, unless the address has too many of them.
    pub fn enter(self: &Arc<Self>, address: Address, limit: Duration) -> Result<Stranger, Error> {
        let (slot, count) = Counted::take(self, Account::Address(address), |all| &all.entering);
        if self.of_address.is_some() && count > ENTERING_MAX {
            self.refusals.count(Limit::AddressConnections);
            return Err(Error::TooManyConnections);
        }
        let limit = self.strangers.limit(limit);
        Ok(Stranger::new(self.strangers.enter(address), limit, slot))
    }

    /// Takes a slot for a connection on each of these accounts, for as long as the slots are held. The wait
    /// for the bus is bounded, and left out if the bus is known to be away.
    pub async fn slots(
        self: &Arc<Self>,
        accounts: impl IntoIterator<Item = Account>,
    ) -> Result<Vec<Slot>, Error> {
        let (mut slots, mut held) = (Vec::new(), Vec::new());
        for account in accounts {
            let (limit, kind) = match &account {
                Account::User(_) => (self.of_user, Limit::UserConnections),
                Account::Address(_) => (self.of_address, Limit::AddressConnections),
            };
            let Some(limit) = limit.map(NonZeroU32::get) else { continue };
            let (slot, count) = Slot::take(self, account.clone());
            slots.push(slot);
            held.push((account, count, limit, kind));
            if count > limit {
                return Err(self.too_many(kind));
            }
        }
        let report: Vec<_> =
            held.iter().map(|(who, count, ..)| (who.to_string(), *count)).collect();
        let elsewhere = self.report_slots(&report).await.unwrap_or_default();
        for ((account, count, limit, kind), elsewhere) in held.into_iter().zip(elsewhere) {
            if count.saturating_add(elsewhere) > limit {
                return Err(self.too_many(kind));
            }
            // Another connection may have come or gone meanwhile, and its count may be on the bus already.
            self.slots.changed_since(&account, count);
        }
        Ok(slots)
    }

    fn too_many(&self, kind: Limit) -> Error {
        self.refusals.count(kind);
        Error::TooManyConnections
    }

    /// Reports to the bus how many slots are held here. Returns how many are held elsewhere, if it answers.
    async fn report_slots(&self, held: &[(String, u32)]) -> Option<Vec<u32>> {
        let quotas = self.quotas.as_ref().filter(|_| !self.is_away() && !held.is_empty())?;
        self.within(quotas.report_slots(held)).await
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, BusError>>) -> Option<T> {
        let answer = timeout(BUS_TIMEOUT, call).await.ok().and_then(Result::ok);
        if answer.is_none() && !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!("redis unavailable for limits; each node counts alone");
        }
        answer
    }

    async fn keep_reporting(self: Arc<Self>) {
        let mut ticks = interval(REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        let (mut renew_at, mut shrink_at, mut try_at) =
            (now + RENEW_INTERVAL, now + SHRINK_INTERVAL, now);
        loop {
            let now = ticks.tick().await;
            if now >= shrink_at {
                shrink_at = now + SHRINK_INTERVAL;
                let reports = self.quotas.is_some() && !self.is_away();
                self.rates().for_each(|rate| rate.shrink(reports));
            }
            let Some(quotas) = &self.quotas else { continue };
            if self.is_away() {
                // Released slots are not reported meanwhile: their leases run out.
                self.slots.forget_changes();
                if now < try_at {
                    continue;
                }
                try_at = now + BUS_RETRY;
                // Limits need a script that writes. Not every Redis that answers runs it.
                let probe = [(PROBE_ACCOUNT.to_owned(), 0)];
                if self.within(quotas.report_slots(&probe)).await.is_none() {
                    continue;
                }
                self.away.store(false, Ordering::Relaxed);
                tracing::info!("redis available for limits; nodes count together again");
                // Redis may be empty now.
                renew_at = now;
            }
            for rate in self.rates() {
                self.report_usage(&**quotas, rate).await;
            }
            if now >= renew_at {
                renew_at = now + RENEW_INTERVAL;
                self.report_all(self.slots.all()).await;
            } else {
                self.report_all(self.slots.changes()).await;
            }
        }
    }

    fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.sends.iter().chain(&self.requests).chain(&self.opens)
    }

    async fn report_usage(&self, quotas: &dyn Quotas, rate: &Rate) {
        for chunk in rate.drain_usage().chunks(REPORT_MAX) {
            let (accounts, usages): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
            let Some(owed) = self.within(quotas.report_usage(&usages)).await else { return };
            for (account, owed) in accounts.iter().zip(owed) {
                rate.apply_debt(account, owed);
            }
        }
    }

    async fn report_all(&self, held: Vec<(Account, u32)>) {
        for chunk in held.chunks(REPORT_MAX) {
            let named: Vec<_> =
                chunk.iter().map(|(account, count)| (account.to_string(), *count)).collect();
            if self.report_slots(&named).await.is_none() {
                return;
            }
        }
    }
}

/// Whether an address belongs to a private network or to this machine.
fn is_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}
