//! Constructors of metrics for Prometheus. Each part of a node holds its counters, made in advance for every
//! value of a label, so counting is an addition, and every series exists from the start.

mod histogram;
#[cfg(target_os = "linux")]
pub(crate) mod resources;
pub(crate) mod runtime;
pub(crate) mod text;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub(crate) use histogram::Histogram;
pub(crate) use text::Format;

/// One label.
pub(crate) type Label = [(&'static str, &'static str); 1];

/// Counters of one name, by the values of one label.
pub(crate) fn counters<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family = Family::<Label, Counter>::default();
    let counters = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    counters
}

pub(crate) fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Gauges of one name, by the values of one label.
pub(crate) fn gauges<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Gauge; N] {
    let family = Family::<Label, Gauge>::default();
    let gauges = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    gauges
}

pub(crate) fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Histograms of one name, by the values of one label.
pub(crate) fn histograms<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Histogram; N] {
    let family = Family::<Label, Histogram>::default();
    let histograms = values.map(|value| family.get_or_create_owned(&[(label, value)]));
    registry.register(name, help, family);
    histograms
}

/// A histogram of durations.
pub(crate) fn durations(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::durations();
    registry.register(name, help, histogram.clone());
    histogram
}

/// A histogram of sizes.
pub(crate) fn sizes(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::sizes();
    registry.register(name, help, histogram.clone());
    histogram
}

/// A count as a gauge value.
pub(crate) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
