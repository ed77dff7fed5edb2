//! Waiting for heavy work, whose time depends on what the machine has left for it.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::PATIENCE;

/// The longest time that heavy work may take, on the slowest machine; also the patience of a single
/// client among many.
pub const LONGEST: Duration = Duration::from_secs(20 * 60);
/// The longest time without progress.
const STANDSTILL: Duration = PATIENCE.saturating_mul(4);
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Waits for heavy work as long as it makes progress: as long as this number changes.
pub async fn while_it_progresses<T>(
    what: &str,
    work: impl Future<Output = T>,
    mut progress: impl AsyncFnMut() -> u64,
) -> T {
    let mut work = pin!(work);
    let begin = Instant::now();
    let (mut reached, mut since) = (None, begin);
    loop {
        if let Ok(outcome) = timeout(PROBE_EVERY, &mut work).await {
            return outcome;
        }
        let now = Some(progress().await);
        if now != reached {
            (reached, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < STANDSTILL, "{what}: no progress, at {reached:?}");
        assert!(begin.elapsed() < LONGEST, "{what}: too slow, at {reached:?}");
    }
}
