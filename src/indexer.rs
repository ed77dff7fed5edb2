//! Indexing for search, behind the commits: a task of each node that empties the queues of the store.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::store::{
    StoreError,
    search::counts::SearchCounts,
    search_queue::{Indexed, SearchQueue},
};

/// How many messages are indexed at once.
const BATCH: u32 = 64;
/// How often the queue is read where nothing was committed here: other nodes may have left something.
const POLL: Duration = Duration::from_secs(1);
/// How long commits gather before they are indexed together.
const GATHER: Duration = Duration::from_millis(100);

/// How a round of indexing ended.
enum Round {
    /// Nothing waits.
    Empty,
    /// More may wait.
    More,
    /// A smaller batch may pass.
    TooCostly,
}

/// Runs as long as the node. A text is indexed in less than 2 s after its commit, unless the database is
/// away or has more to do than it can.
pub(crate) async fn keep_indexing(store: Arc<dyn SearchQueue>, counts: SearchCounts) {
    let (mut batch, mut failing) = (BATCH, false);
    let mut again_at = Instant::now();
    loop {
        let round = round(&*store, &counts, batch, &mut again_at).await;
        match (&round, failing) {
            (Ok(_), true) => tracing::info!("search indexing works again"),
            (Err(error), false) => {
                tracing::warn!(%error, "search indexing failed; search scans the newest messages");
            }
            _ => {}
        }
        failing = round.is_err();
        match round {
            Ok(Round::TooCostly) if batch > 1 => batch /= 2,
            Ok(Round::More) => batch = batch.saturating_mul(2).min(BATCH),
            Ok(_) | Err(_) => {
                if !failing {
                    batch = batch.saturating_mul(2).min(BATCH);
                }
                drop(timeout(POLL, store.text_committed().notified()).await);
                sleep(GATHER).await;
            }
        }
    }
}

/// Indexes a batch. What is to be indexed again is looked for at `again_at`: not behind every commit.
async fn round(
    store: &dyn SearchQueue,
    counts: &SearchCounts,
    batch: u32,
    again_at: &mut Instant,
) -> Result<Round, StoreError> {
    let Indexed { messages, too_costly, given_up } = store.index_waiting(batch).await?;
    counts.indexed.inc_by(messages.into());
    counts.given_up.inc_by(given_up.into());
    if given_up > 0 {
        tracing::warn!("text not indexable; search does not find its message");
    }
    if too_costly && batch > 1 {
        return Ok(Round::TooCostly);
    }
    if messages >= batch {
        return Ok(Round::More);
    }
    let began = Instant::now();
    if began < *again_at {
        return Ok(Round::Empty);
    }
    let Indexed { messages, too_costly, given_up } = store.index_again(batch).await?;
    counts.indexed_again.inc_by(messages.into());
    if given_up > 0 {
        tracing::warn!("text not indexable again; search finds only part of it");
    }
    if messages == 0 && !too_costly {
        *again_at = began + POLL;
        return Ok(Round::Empty);
    }
    // Nobody waits for these: half of the time is left to others.
    sleep(began.elapsed()).await;
    Ok(if too_costly { Round::TooCostly } else { Round::More })
}
