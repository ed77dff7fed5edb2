//! Redis pub/sub and records, with two clients: one for commands and publishing, one that subscribes.
//!
//! One Redis, or a Redis Cluster. In a cluster each room's channel belongs to the node with its slot
//! (sharded pub/sub), so that the load is spread over all nodes.

pub mod config;
mod connect;
mod control;
mod encryption;
mod node_registry;
mod presence_table;
mod publisher;
mod pubsub;
mod quotas;
mod seals;
mod slots;
mod subscriber;
mod watch;

use std::{sync::Arc, time::Duration};

use fred::{
    clients::{Client, Pipeline},
    error::Error,
    interfaces::ClientLike,
    types::{FromValue, Value},
};
use tokio::sync::mpsc;

use self::config::{RedisConfig, RedisServers};
use super::{BusError, BusEvent, BusEvents, EVENTS_MAX};
use crate::{cluster::ClusterSecret, counts::BusCounts};
use platform::tasks::{Stage, Tasks};
use publisher::{Outgoing, Publisher};
use seals::Seals;
use watch::Watch;

/// Time limit of one round trip.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(1);

/// Bus between several nodes.
#[derive(Debug)]
pub struct Redis {
    is_cluster: bool,
    secret: Arc<ClusterSecret>,
    publisher: Publisher,
    watch: Arc<Watch>,
    /// Client for commands. The publisher uses it too.
    commands: Client,
    subscriber: Client,
}

impl Redis {
    /// Starts to connect. The node starts without Redis too: the store has everything.
    pub async fn open(
        config: &RedisConfig,
        secret: Arc<ClusterSecret>,
        counts: BusCounts,
        tasks: &Tasks,
    ) -> anyhow::Result<(Self, BusEvents)> {
        let is_cluster = matches!(config.servers, RedisServers::Cluster(_));
        let config = &encryption::agree(config).await;
        let (commands, subscriber) = (connect::client(config)?, connect::client(config)?);
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let seals = Seals::new(Arc::clone(&secret));
        let receiving =
            subscriber::receive(subscriber.clone(), seals, events.clone(), counts.clone());
        tasks.spawn(Stage::Bus, "redis.subscriber", receiving);
        for client in [&commands, &subscriber] {
            tasks.spawn(Stage::Bus, "redis.connect", connect::keep_connected(client.clone()));
        }
        for client in [&commands, &subscriber] {
            if !connect::is_connected(client).await {
                // Reconnecting clients do not report the reason.
                let reason = connect::probe(config).await.err().map(|error| format!("{error:#}"));
                let reason = reason.unwrap_or_else(|| "it was slow".to_owned());
                tracing::warn!(reason, "redis unreachable; the node starts without it");
                break;
            }
        }
        let watch = Watch::new(commands.clone(), subscriber.clone(), is_cluster, &secret);
        let watch = Arc::new(watch);
        let watching = Arc::clone(&watch).keep_watching(counts.clone());
        tasks.spawn(Stage::Bus, "redis.watch", watching);
        let control = control::keep_subscribed(subscriber.clone(), is_cluster);
        tasks.spawn(Stage::Bus, "redis.control", control);
        if is_cluster {
            let (commands, subscriber) = (commands.clone(), subscriber.clone());
            let moved = counts.slots_moved.clone();
            let detecting = slots::keep_detecting_moves(commands, subscriber, events, moved);
            tasks.spawn(Stage::Bus, "redis.slots", detecting);
        }
        let publisher =
            Publisher::start(tasks, commands.clone(), is_cluster, Arc::clone(&secret), counts);
        Ok((Self { is_cluster, secret, publisher, watch, commands, subscriber }, received))
    }

    /// Connects once. Reports version and transport, and changes nothing.
    pub async fn probe(config: &RedisConfig) -> anyhow::Result<String> {
        encryption::probe(config).await
    }
}

/// Sends a pipeline of so many commands in one round trip. The client (fred 10.1) writes each command by itself if none
/// waits behind the pipeline. So a PING waits there: most commands are then written together. On a cluster the PING goes
/// to one of the servers, and when it is written, the client writes to all.
async fn at_once<R: FromValue>(
    pipeline: &Pipeline<Client>,
    commands: usize,
    client: &Client,
) -> Result<R, Error> {
    if commands < 2 {
        return pipeline.all().await;
    }
    let behind = async {
        drop(client.ping::<Value>(None).await);
        std::future::pending().await
    };
    tokio::select! {
        biased;
        replies = pipeline.all() => replies,
        never = behind => never,
    }
}

/// Passes an event on. When nobody receives events any more, a drain has ended the hub: the task then waits for the end
/// of its own stage, because a task that ends by itself counts as failed (law I19).
async fn pass_on(events: &mpsc::Sender<BusEvent>, event: BusEvent) {
    if events.send(event).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl From<Error> for BusError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}
