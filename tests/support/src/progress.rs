//! Waits for heavy work, whose duration depends on the load of the machine.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::PATIENCE;

/// Time limit of heavy work, on the slowest machine; also the time limit of a single client in a crowd.
pub const LONGEST: Duration = Duration::from_secs(20 * 60);
/// Time limit without progress.
const STANDSTILL: Duration = PATIENCE.saturating_mul(4);
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Waits for heavy work while it makes progress, that is, while this number changes.
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
