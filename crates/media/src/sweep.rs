//! Removal of pictures that no message shows. Pictures of deleted messages, and files that are no pictures,
//! are removed at once; uploads that nobody has sent are removed after a day.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    images::Images,
    uploads::{UploadTable, orphaned},
};
use protocol::error::Error;

/// Interval of the sweep on each node. A node sweeps at once for what it has withdrawn itself.
const EVERY: Duration = Duration::from_mins(1);
/// Maximum number of pictures removed at a time.
const BATCH: u32 = 100;

/// Sweeps at the start and then at intervals. Several nodes may sweep at once.
pub async fn keep_sweeping(images: Arc<Images>, uploads: UploadTable) {
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = minutes.tick() => {}
            () = images.withdrawn.notified() => {}
        }
        match sweep(&images, &uploads).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "unused pictures removed"),
            Err(error) => {
                error.log_cause();
                tracing::warn!(code = error.code(), "removal of unused pictures failed");
            }
        }
    }
}

/// Removes the objects before their rows: the rows are needed to find them.
async fn sweep(images: &Images, uploads: &UploadTable) -> Result<usize, Error> {
    let mut removed = 0;
    loop {
        let before = orphaned();
        let orphans = uploads.orphans(before, BATCH).await?;
        for (_, orphan) in &orphans {
            images.remove(orphan).await?;
        }
        uploads.forget_uploads(&orphans, before).await?;
        removed += orphans.len();
        if orphans.len() < BATCH as usize {
            return Ok(removed);
        }
    }
}
