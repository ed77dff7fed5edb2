//! Whether the process gets its turn: how late a timer is.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::durations;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(100);

/// Begins to look, for as long as the process lives. Where the machine has too little for it, or
/// something holds a thread, everything that the node does is as late as this timer.
pub(super) fn start(registry: &mut Registry) {
    let late = durations(registry, "runtime_delay_seconds", "How late a timer was that is due");
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = ticks.tick().await;
            late.took(Instant::now() - due);
        }
    });
}
