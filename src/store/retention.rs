//! Data that is kept for a while only.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// A store's side of it.
#[async_trait]
pub(crate) trait Retention: Send + Sync + 'static {
    /// Removes up to `limit` texts that were edited or deleted so long ago, the oldest first: how many. Two
    /// nodes at once remove different ones.
    ///
    /// A message can be changed for 24 hours: a text that is older than that has no part any more in how
    /// often its message may be edited.
    async fn forget_past_bodies(&self, age: Duration, limit: u32) -> Result<u64, StoreError>;
}
