//! Publisher of this node's broadcasts and control messages on Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{clients::Client, error::Error, interfaces::PubsubInterface};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{ROUND_TRIP_TIMEOUT, at_once, seals::seal};
use crate::{
    ControlMessage, broadcast::Broadcast, cluster::ClusterSecret, control::CONTROL_CHANNEL,
    counts::BusCounts,
};
use platform::tasks::{Stage, Tasks};

/// Maximum number of messages that wait for Redis. Further ones are left to the head check.
const QUEUE_MAX: usize = 8_192;
/// Maximum number of messages in one round trip.
const BATCH_MAX: usize = 256;
/// Interval at which a flush checks for unpublished messages.
const FLUSH_INTERVAL: Duration = Duration::from_millis(5);

/// Message to publish.
#[expect(clippy::large_enum_variant, reason = "almost every message is a broadcast")]
pub(super) enum Outgoing {
    Broadcast(Broadcast),
    Control(ControlMessage),
}

impl Outgoing {
    fn channel(&self) -> String {
        match self {
            Self::Broadcast(broadcast) => broadcast.room.to_string(),
            Self::Control(_) => CONTROL_CHANNEL.to_owned(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Broadcast(broadcast) => broadcast.to_bytes(),
            Self::Control(message) => message.to_bytes(),
        }
    }

    /// Marks the publish as failed. A lost control message is made up for by the nodes' own checks.
    fn lost(&mut self, code: &'static str) {
        if let Self::Broadcast(broadcast) = self {
            broadcast.lost(code);
        }
    }
}

/// Queue of messages. It never waits.
#[derive(Debug)]
pub(super) struct Publisher {
    queue: mpsc::Sender<Outgoing>,
    /// Number of messages that are queued and not yet published.
    pending: Arc<AtomicUsize>,
    counts: BusCounts,
}

impl Publisher {
    pub(super) fn start(
        tasks: &Tasks,
        client: Client,
        is_cluster: bool,
        secret: Arc<ClusterSecret>,
        counts: BusCounts,
    ) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let pending = Arc::new(AtomicUsize::new(0));
        let channels = Channels { client, is_cluster, secret };
        let publishing = publish_queue(channels, messages, Arc::clone(&pending), counts.clone());
        tasks.spawn(Stage::Bus, "redis.publisher", publishing);
        Self { queue, pending, counts }
    }

    /// Queues a message. If the queue is full, the message is lost.
    pub(super) fn publish(&self, message: Outgoing) {
        self.counts.published.inc();
        self.pending.fetch_add(1, Ordering::Relaxed);
        if let Err(unsent) = self.queue.try_send(message) {
            unsent.into_inner().lost("queue_full");
            self.pending.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost_queue_full.inc();
            tracing::debug!("redis publish queue full; a broadcast is left to the head check");
        }
    }

    /// Number of messages that wait or are being published.
    pub(super) fn waiting(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) async fn flush(&self) {
        let published = async {
            while self.pending.load(Ordering::Relaxed) > 0 {
                sleep(FLUSH_INTERVAL).await;
            }
        };
        if timeout(ROUND_TRIP_TIMEOUT * 2, published).await.is_err() {
            tracing::warn!(
                "redis publish queue not empty at the end; other nodes read the rest from the store"
            );
        }
    }
}

/// Publishes the queue in order, many messages in one round trip.
async fn publish_queue(
    channels: Channels,
    mut messages: mpsc::Receiver<Outgoing>,
    pending: Arc<AtomicUsize>,
    counts: BusCounts,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut reported = false;
    while messages.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let began = Instant::now();
        let outcome = channels.publish(&batch).await;
        counts.publish.took(began.elapsed());
        counts.batch.count(batch.len());
        if let Err(error) = &outcome {
            counts.lost_refused.inc_by(batch.len() as u64);
            if !reported {
                let lost = batch.len();
                tracing::warn!(%error, lost, "redis publish failed; delivery falls back to the head check");
            }
            for message in &mut batch {
                message.lost("unavailable");
            }
        }
        reported = outcome.is_err();
        pending.fetch_sub(batch.len(), Ordering::Relaxed);
        batch.clear();
    }
}

/// Channels of Redis. Everything published there is signed.
struct Channels {
    client: Client,
    is_cluster: bool,
    secret: Arc<ClusterSecret>,
}

impl Channels {
    async fn publish(&self, batch: &[Outgoing]) -> Result<(), Error> {
        // On a cluster the client routes each message to the node with the channel's slot.
        let pipeline = self.client.pipeline();
        for message in batch {
            let channel = message.channel();
            let bytes = seal(&self.secret, &channel, message.to_bytes());
            // In a pipeline this only queues.
            if self.is_cluster {
                pipeline.spublish::<(), _, _>(channel, bytes).await?;
            } else {
                pipeline.publish::<(), _, _>(channel, bytes).await?;
            }
        }
        let _: Vec<i64> = at_once(&pipeline, batch.len(), &self.client).await?;
        Ok(())
    }
}
