//! Pushes: outcomes of attempts, and times of the push service.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use platform::metrics::{Histogram, counters, durations};

/// Pushes and their outcomes.
#[derive(Clone, Debug)]
pub struct PushCounts {
    /// Pushes that OneSignal has accepted.
    pub made: Counter,
    /// No device of the person accepts pushes.
    pub(crate) no_device: Counter,
    /// The push service does not know the id, or refuses it as an id.
    pub invalid_alias: Counter,
    /// To be tried again later.
    pub put_off: Counter,
    /// The member was connected, or had nothing new.
    pub spared: Counter,
    /// Jobs that became dead letters.
    pub given_up: Counter,
    /// Durations of OneSignal's answers.
    pub took: Histogram,
}

impl PushCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let help = "Push attempts of this node, by outcome";
        let outcomes = ["made", "no_device", "invalid_alias", "put_off", "spared", "given_up"];
        let [made, no_device, invalid_alias, put_off, spared, given_up] =
            counters(registry, "push_attempts", help, "outcome", outcomes);
        let took = durations(registry, "push_seconds", "Duration of requests to the push service");
        Self { made, no_device, invalid_alias, put_off, spared, given_up, took }
    }
}
