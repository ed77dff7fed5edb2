//! Constructors of metrics for Prometheus. Each part of a node holds its counters, made in advance for every
//! value of a label, so counting is an addition, and every series exists from the start.

mod histogram;
#[cfg(target_os = "linux")]
pub mod resources;
pub mod runtime;
pub mod text;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub use histogram::Histogram;
pub use text::Format;

/// One label.
pub type Label = [(&'static str, &'static str); 1];

/// Counters of one name, by the values of one label.
pub fn counters<const N: usize>(
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

/// Counters of one name, by the values of one label that the configuration names.
pub fn counters_of(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = String>,
) -> Vec<Counter> {
    let family = Family::<[(&'static str, String); 1], Counter>::default();
    let counters =
        values.into_iter().map(|value| family.get_or_create_owned(&[(label, value)])).collect();
    registry.register(name, help, family);
    counters
}

/// Registers a counter.
pub fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Gauges of one name, by the values of one label.
pub fn gauges<const N: usize>(
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

/// Gauges of one name, by the values of one label that the configuration names.
pub fn gauges_of(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = String>,
) -> Vec<Gauge> {
    let family = Family::<[(&'static str, String); 1], Gauge>::default();
    let gauges =
        values.into_iter().map(|value| family.get_or_create_owned(&[(label, value)])).collect();
    registry.register(name, help, family);
    gauges
}

/// Registers a gauge.
pub fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Histograms of one name, by the values of one label.
pub fn histograms<const N: usize>(
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
pub fn durations(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::durations();
    registry.register(name, help, histogram.clone());
    histogram
}

/// A histogram of sizes.
pub fn sizes(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::sizes();
    registry.register(name, help, histogram.clone());
    histogram
}

/// A count as a gauge value.
pub fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
