//! Removes pictures that were uploaded, or might have been, and that no message shows.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{app::App, error::Error, store::uploads};

/// How often it looks for them.
const EVERY: Duration = Duration::from_hours(1);
/// How many are removed at a time.
const BATCH: u32 = 100;

/// At the start, and then each hour. Several nodes may do it at once.
pub(crate) async fn keep_sweeping(app: Arc<App>) {
    let mut hours = interval(EVERY);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        hours.tick().await;
        match sweep(&app).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "pictures that no message shows"),
            Err(error) => tracing::warn!(code = error.code(), "pictures were not removed"),
        }
    }
}

/// The objects go first: their rows are how they are found.
async fn sweep(app: &App) -> Result<usize, Error> {
    let mut removed = 0;
    loop {
        let orphans = app.store.orphans(uploads::orphaned(), BATCH).await?;
        for orphan in &orphans {
            app.images.remove(orphan).await?;
        }
        app.store.forget_uploads(&orphans).await?;
        removed += orphans.len();
        if orphans.len() < BATCH as usize {
            return Ok(removed);
        }
    }
}
