//! A histogram without a lock.
//!
//! The one of `prometheus-client` has a mutex. This one is updated for every copy of every message, by all
//! threads at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

const MICROS: u64 = 1_000;
const MILLIS: u64 = 1_000_000;
const SECS: u64 = 1_000_000_000;
/// Maximum duration. By other nodes' clocks a duration may be of any length, and the sum must hold all.
const HOUR: u64 = 3_600 * SECS;
/// Upper bounds in nanoseconds, from 100 µs to 10 s.
const DURATIONS: [u64; 16] = [
    100 * MICROS,
    250 * MICROS,
    500 * MICROS,
    MILLIS,
    2_500 * MICROS,
    5 * MILLIS,
    10 * MILLIS,
    25 * MILLIS,
    50 * MILLIS,
    100 * MILLIS,
    250 * MILLIS,
    500 * MILLIS,
    SECS,
    2_500 * MILLIS,
    5 * SECS,
    10 * SECS,
];
/// Upper bounds of counts.
const SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counts of observations by size. Clones share their state.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [u64],
    /// Number of observed units in one exported unit.
    per_unit: f64,
    /// One for each bound, and one for larger values.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    /// A histogram of durations, exported in seconds.
    pub fn durations() -> Self {
        Self::of(&DURATIONS, 1e9)
    }

    /// A histogram of counts.
    pub fn sizes() -> Self {
        Self::of(&SIZES, 1.0)
    }

    fn of(bounds: &'static [u64], per_unit: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, per_unit, counts, sum: AtomicU64::new(0) }))
    }

    /// Observes a duration.
    pub fn took(&self, duration: Duration) {
        self.took_each(duration, 1);
    }

    /// Observes the same duration for each of so many.
    pub fn took_each(&self, duration: Duration, times: usize) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(HOUR);
        self.add(nanos.min(HOUR), times as u64);
    }

    /// Observes a number.
    pub fn count(&self, size: usize) {
        self.add(size as u64, 1);
    }

    /// Number of observations.
    pub fn total(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn add(&self, value: u64, times: u64) {
        let inner = &self.0;
        let at = inner.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = inner.counts.get(at) {
            count.fetch_add(times, Ordering::Relaxed);
            inner.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        }
    }
}

/// Families create their members by this.
impl Default for Histogram {
    fn default() -> Self {
        Self::durations()
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    #[expect(clippy::cast_precision_loss, reason = "what is told is a float")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Inner { bounds, per_unit, counts, sum } = &*self.0;
        let bounds = bounds.iter().map(|bound| *bound as f64 / per_unit).chain([f64::INFINITY]);
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // From the same moment as the buckets, because they must agree.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = sum.load(Ordering::Relaxed) as f64 / per_unit;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn what_was_observed_is_told_in_the_right_buckets() {
        let (mut registry, histogram) = (Registry::default(), Histogram::durations());
        registry.register("wait_seconds", "How long", histogram.clone());
        histogram.took(Duration::from_micros(100));
        histogram.took_each(Duration::from_millis(3), 2);
        histogram.took(Duration::from_secs(60));
        // Clocks of other nodes may give such durations. The sum grows all the same.
        histogram.took(Duration::MAX);
        histogram.took(Duration::from_secs(400 * 365 * 86_400));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE wait_seconds histogram",
            r#"wait_seconds_bucket{le="0.0001"} 1"#,
            r#"wait_seconds_bucket{le="0.0025"} 1"#,
            r#"wait_seconds_bucket{le="0.005"} 3"#,
            r#"wait_seconds_bucket{le="10.0"} 3"#,
            r#"wait_seconds_bucket{le="+Inf"} 6"#,
            "wait_seconds_count 6",
            "wait_seconds_sum 7260.0061",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }
}
