//! Removes pictures that no message shows: those of deleted messages and those that are no pictures at
//! once, those that nobody has sent after a day.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{app::App, error::Error, store::uploads};

/// How often each node looks for them. A node looks at once for what it has withdrawn itself.
const EVERY: Duration = Duration::from_mins(1);
/// How many are removed at a time.
const BATCH: u32 = 100;

/// At the start, and then again and again. Several nodes may do it at once.
pub(crate) async fn keep_sweeping(app: Arc<App>) {
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = minutes.tick() => {}
            () = app.images.withdrawn.notified() => {}
        }
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
        let before = uploads::orphaned();
        let orphans = app.store.orphans(before, BATCH).await?;
        for orphan in &orphans {
            app.images.remove(orphan).await?;
        }
        app.store.forget_uploads(&orphans, before).await?;
        removed += orphans.len();
        if orphans.len() < BATCH as usize {
            return Ok(removed);
        }
    }
}
