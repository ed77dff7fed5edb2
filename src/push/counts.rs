//! Pushes: outcomes of attempts, and times of the push service.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::platform::metrics::{Histogram, counters, durations};

#[derive(Clone, Debug)]
pub(crate) struct PushCounts {
    pub(crate) made: Counter,
    /// No device of the person accepts pushes.
    pub(crate) no_device: Counter,
    /// The push service does not know the id, or refuses it as an id.
    pub(crate) invalid_alias: Counter,
    /// To be tried again later.
    pub(crate) put_off: Counter,
    /// The member was connected, or had nothing new.
    pub(crate) spared: Counter,
    pub(crate) given_up: Counter,
    pub(crate) took: Histogram,
}

impl PushCounts {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let help = "Push attempts of this node, by outcome";
        let outcomes = ["made", "no_device", "invalid_alias", "put_off", "spared", "given_up"];
        let [made, no_device, invalid_alias, put_off, spared, given_up] =
            counters(registry, "push_attempts", help, "outcome", outcomes);
        let took = durations(registry, "push_seconds", "Duration of requests to the push service");
        Self { made, no_device, invalid_alias, put_off, spared, given_up, took }
    }
}
