//! Search indexing after the commits: a background task of each node that empties the queues of the store.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::store::{
    search::counts::SearchCounts,
    search_queue::{Indexed, SearchQueue},
};
use db::StoreError;

/// Maximum number of messages in a batch.
const BATCH: u32 = 256;
/// Interval at which the queue is read without a commit on this node: other nodes may have left rows.
const POLL: Duration = Duration::from_secs(1);
/// Time for commits to gather into one batch.
const GATHER: Duration = Duration::from_millis(500);

/// Outcome of a round of indexing.
enum Round {
    /// The queue is empty.
    Empty,
    /// The queue may have more rows.
    More,
    /// The batch exceeded its time limit; a smaller one may pass.
    TooCostly,
}

/// Indexes texts for as long as the node runs. A text is indexed in less than 2 s after its commit, unless the
/// database is away or overloaded.
pub async fn keep_indexing(store: Arc<dyn SearchQueue>, counts: SearchCounts) {
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

/// Indexes a batch. Texts of older versions are read at `again_at`, not after each commit.
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
    // No client waits for these texts, so half of the time is left to other work.
    sleep(began.elapsed()).await;
    Ok(if too_costly { Round::TooCostly } else { Round::More })
}
