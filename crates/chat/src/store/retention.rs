//! Data that is kept for a limited time.

use std::time::Duration;

use async_trait::async_trait;

use db::StoreError;

/// The part of a store that removes expired data.
#[async_trait]
pub trait Retention: Send + Sync + 'static {
    /// Removes up to `limit` texts that were edited or deleted longer ago than `age`, the oldest
    /// first. Returns how many. Two nodes at once remove different ones.
    ///
    /// A message can be changed for 24 hours. Texts older than that no longer count for the limit
    /// of edits.
    async fn forget_past_bodies(&self, age: Duration, limit: u32) -> Result<u64, StoreError>;
}
