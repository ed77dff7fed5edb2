//! Indexing for search, behind the commits: a task of each node that empties the queue of the store.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::app::App;

/// How many messages are indexed at once.
const BATCH: u32 = 64;
/// How often the queue is read where nothing was committed here: other nodes may have left something.
const POLL: Duration = Duration::from_secs(1);
/// How long commits gather before they are indexed together.
const GATHER: Duration = Duration::from_millis(100);

/// Runs as long as the node. A text is indexed in less than 2 s after its commit, unless the database is
/// away or has more to do than it can.
pub(crate) async fn keep_indexing(app: Arc<App>) {
    let counts = &app.metrics.search;
    let (mut batch, mut failing) = (BATCH, false);
    loop {
        match app.store.index_waiting(batch).await {
            Ok(indexed) => {
                counts.indexed.inc_by(indexed.messages.into());
                counts.given_up.inc_by(indexed.given_up.into());
                if indexed.given_up > 0 {
                    tracing::warn!("a text could not be indexed: search does not find its message");
                }
                if failing {
                    tracing::info!("texts are indexed again");
                }
                failing = false;
                if indexed.too_costly && batch > 1 {
                    batch /= 2;
                    continue;
                }
                let is_full = indexed.messages >= batch;
                batch = batch.saturating_mul(2).min(BATCH);
                if is_full {
                    continue;
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "texts are not indexed; search finds the newest by reading");
                }
                failing = true;
            }
        }
        drop(timeout(POLL, app.store.text_committed().notified()).await);
        sleep(GATHER).await;
    }
}
