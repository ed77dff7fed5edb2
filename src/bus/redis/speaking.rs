//! Publisher of this node's broadcasts on Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{clients::Client, interfaces::PubsubInterface};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{DEADLINE, seals::seal};
use crate::{
    cluster::ClusterSecret,
    metrics::bus::BusCounts,
    platform::tasks::{Stage, Tasks},
    wire::broadcast::Broadcast,
};

/// Maximum number of broadcasts that wait for Redis. Further ones are left to the head check.
const QUEUE: usize = 8_192;
/// Maximum number of broadcasts in one round trip.
const BATCH: usize = 256;

/// Queue of broadcasts. It never waits.
#[derive(Debug)]
pub(super) struct Voice {
    queue: mpsc::Sender<Broadcast>,
    /// Broadcasts that are queued and not yet published.
    unsaid: Arc<AtomicUsize>,
    counts: BusCounts,
}

impl Voice {
    pub(super) fn start(
        tasks: &Tasks,
        publisher: Client,
        is_cluster: bool,
        secret: Arc<ClusterSecret>,
        counts: BusCounts,
    ) -> Self {
        let (queue, broadcasts) = mpsc::channel(QUEUE);
        let unsaid = Arc::new(AtomicUsize::new(0));
        let mouth = Mouth { publisher, is_cluster, secret };
        let saying = say(mouth, broadcasts, Arc::clone(&unsaid), counts.clone());
        tasks.spawn(Stage::Bus, "redis.publisher", saying);
        Self { queue, unsaid, counts }
    }

    pub(super) fn say(&self, broadcast: Broadcast) {
        self.counts.published.inc();
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        if let Err(unsent) = self.queue.try_send(broadcast) {
            unsent.into_inner().lost("queue_full");
            self.unsaid.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost_queue_full.inc();
            tracing::debug!("Redis is behind: a broadcast is left to the check of the heads");
        }
    }

    /// Number of broadcasts that wait or are being published.
    pub(super) fn waiting(&self) -> usize {
        self.unsaid.load(Ordering::Relaxed)
    }

    pub(super) async fn flush(&self) {
        let said = async {
            while self.unsaid.load(Ordering::Relaxed) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(DEADLINE * 2, said).await.is_err() {
            tracing::warn!("Redis did not take everything; other nodes find it in the store");
        }
    }
}

/// Signs and publishes.
struct Mouth {
    publisher: Client,
    is_cluster: bool,
    secret: Arc<ClusterSecret>,
}

/// Publishes the queue in order, many broadcasts in one round trip.
async fn say(
    mouth: Mouth,
    mut broadcasts: mpsc::Receiver<Broadcast>,
    unsaid: Arc<AtomicUsize>,
    counts: BusCounts,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut reported = false;
    while broadcasts.recv_many(&mut batch, BATCH).await > 0 {
        let began = Instant::now();
        let outcome = mouth.publish(&batch).await;
        counts.publish.took(began.elapsed());
        counts.batch.count(batch.len());
        if let Err(error) = &outcome {
            counts.lost_refused.inc_by(batch.len() as u64);
            if !reported {
                tracing::warn!(error = %error, lost = batch.len(), "Redis does not take what is said");
            }
            for broadcast in &mut batch {
                broadcast.lost("unavailable");
            }
        }
        reported = outcome.is_err();
        unsaid.fetch_sub(batch.len(), Ordering::Relaxed);
        batch.clear();
    }
}

impl Mouth {
    async fn publish(&self, batch: &[Broadcast]) -> Result<(), fred::error::Error> {
        // On a cluster the client routes each broadcast to the node with the room's slot.
        let pipeline = self.publisher.pipeline();
        for broadcast in batch {
            let room = broadcast.room.to_string();
            let bytes = seal(&self.secret, &room, broadcast.to_bytes());
            // In a pipeline this only queues.
            if self.is_cluster {
                pipeline.spublish::<(), _, _>(room, bytes).await?;
            } else {
                pipeline.publish::<(), _, _>(room, bytes).await?;
            }
        }
        let _: Vec<i64> = pipeline.all().await?;
        Ok(())
    }
}
