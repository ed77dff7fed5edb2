//! Each node holds in memory who may use the desk: blocks, and tenants.
//!
//! No request queries the database for it. A small query checks for changes at a fixed interval, so that nothing
//! depends on the bus; a hint on the bus triggers it at once. While the database is unavailable, what was last
//! known counts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{MissedTickBehavior, interval};

use db::StoreError;
use model::person::Person;

/// Interval of checks: a person who may no longer stay is disconnected within a second.
const REFRESH_INTERVAL: Duration = Duration::from_millis(700);

/// The connections of all nodes, as far as they are closed for what has changed here.
#[async_trait]
pub trait Connections: Send + Sync + 'static {
    /// Resolves when another node has changed the list of blocks.
    async fn until_blocks_changed(&self);

    /// Hints to other nodes that the list of blocks has changed for this person. The hint may be lost.
    fn hint_blocks(&self, person: &Person);

    /// Resolves when another node has changed the tenants.
    async fn until_tenants_changed(&self);

    /// Hints to other nodes that the tenants have changed. The hint may be lost.
    fn hint_tenants(&self);

    /// Closes this node's connections of people who may not stay.
    fn close_refused(&self, is_refused: &(dyn Fn(&Person) -> bool + Sync));
}

/// Part of a table that a node holds in memory.
#[async_trait]
pub(crate) trait Held: Send + Sync + 'static {
    /// Name in the log, and of the background task.
    const NAME: &'static str;

    /// Resolves at the next hint of another node.
    async fn until_hinted(&self);

    /// Loads what has changed.
    async fn refresh(&self) -> Result<(), StoreError>;
}

/// Refreshes at intervals, and on each hint, for ever.
pub(crate) async fn keep_refreshing<T: Held>(held: Arc<T>) {
    let mut ticks = interval(REFRESH_INTERVAL);
    // No burst of checks after a slow database.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = held.until_hinted() => {}
        }
        let outcome = held.refresh().await;
        if let Err(error) = &outcome
            && !failed
        {
            let what = T::NAME;
            tracing::warn!(%error, what, "query of changes failed; what was last known applies");
        }
        failed = outcome.is_err();
    }
}
