//! Delay of a timer, which shows whether the process gets its CPU time.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Histogram, durations};

/// Interval of the timer.
const EVERY: Duration = Duration::from_millis(100);

/// Registers the histogram of the runtime's delay.
pub fn histogram(registry: &mut Registry) -> Histogram {
    durations(registry, "runtime_delay_seconds", "Delay of a due timer")
}

/// Measures for as long as the process lives. If the machine has too little CPU time for it, or a task holds
/// a thread, everything on the node is as late as this timer.
pub async fn measure(delay: Histogram) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = ticks.tick().await;
        delay.took(Instant::now() - due);
    }
}
