//! Removal of data that is kept for a while only: texts of messages before they were edited or deleted.

use std::time::Duration;

use tokio::time::sleep;

use crate::store::retention::Retention;
use db::StoreError;
use platform::variables::{ConfigError, Variables};

/// Maximum retention: the arithmetic of times must not overflow.
const RETENTION_MAX_DAYS: u64 = 3_650;
/// Maximum number removed in one transaction, so that no send waits for it.
const BATCH: u32 = 200;
/// Pause between two transactions, which leaves the database to others.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes texts of this age. Returns how many there were.
pub(crate) async fn forget(store: &dyn Retention, age: Duration) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        let batch = store.forget_past_bodies(age, BATCH).await?;
        removed += batch;
        if batch < u64::from(BATCH) {
            return Ok(removed);
        }
        sleep(PAUSE).await;
    }
}

/// Retention of the text of a message from before it was edited or deleted. `None`: for ever.
pub fn edits_retention(variables: &Variables) -> Result<Option<Duration>, ConfigError> {
    let unit = "days; 0: for ever";
    let days = variables.number("EDITS_RETENTION_DAYS", 30, 0..=RETENTION_MAX_DAYS, unit)?;
    Ok((days > 0).then(|| Duration::from_hours(days * 24)))
}
