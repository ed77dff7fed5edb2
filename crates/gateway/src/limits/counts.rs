//! Refusals, by limit.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use platform::metrics::counters;

/// A limit that was exceeded.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Sends of a user.
    Sends,
    /// Frames of a connection.
    Frames,
    /// Requests of an address.
    Requests,
    /// Sessions opened by a user.
    Opens,
    /// Sessions of a customer who has too many without an answer.
    Unanswered,
    /// Connections of a user.
    UserConnections,
    /// Connections of an address.
    AddressConnections,
    /// TCP connections that are no sockets.
    Accepted,
    /// Evictions: a Socket.IO session that had not entered made room for another one.
    Strangers,
    /// Evictions: an idle TCP connection made room for another one.
    Idle,
    /// Refusals were ignored, and the connection was closed.
    Flood,
}

/// Number of refusals, by limit.
#[derive(Clone, Debug)]
pub struct Refusals {
    sends: Counter,
    frames: Counter,
    requests: Counter,
    opens: Counter,
    unanswered: Counter,
    user_connections: Counter,
    address_connections: Counter,
    accepted: Counter,
    strangers: Counter,
    idle: Counter,
    flood: Counter,
}

impl Refusals {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let limits = [
            "sends",
            "frames",
            "requests",
            "opens",
            "unanswered",
            "user_connections",
            "address_connections",
            "accepted",
            "strangers",
            "idle",
            "flood",
        ];
        let help = "Refusals of this node, by limit";
        let [
            sends,
            frames,
            requests,
            opens,
            unanswered,
            user_connections,
            address_connections,
            accepted,
            strangers,
            idle,
            flood,
        ] = counters(registry, "refusals", help, "limit", limits);
        Self {
            sends,
            frames,
            requests,
            opens,
            unanswered,
            user_connections,
            address_connections,
            accepted,
            strangers,
            idle,
            flood,
        }
    }

    /// Counts a refusal.
    pub fn count(&self, limit: Limit) {
        self.counter(limit).inc();
    }

    /// The counter of this limit.
    pub fn counter(&self, limit: Limit) -> &Counter {
        match limit {
            Limit::Sends => &self.sends,
            Limit::Frames => &self.frames,
            Limit::Requests => &self.requests,
            Limit::Opens => &self.opens,
            Limit::Unanswered => &self.unanswered,
            Limit::UserConnections => &self.user_connections,
            Limit::AddressConnections => &self.address_connections,
            Limit::Accepted => &self.accepted,
            Limit::Strangers => &self.strangers,
            Limit::Idle => &self.idle,
            Limit::Flood => &self.flood,
        }
    }
}
