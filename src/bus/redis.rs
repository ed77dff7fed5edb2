//! Redis pub/sub with two clients: a publisher and a subscriber.
//!
//! One Redis, or a Redis Cluster. In a cluster each room's channel belongs to the node with its slot
//! (sharded pub/sub), so that the load is spread over all nodes.

mod accounts;
pub(crate) mod config;
mod connect;
mod encryption;
mod hearing;
mod nodes;
mod people;
mod seals;
mod slots;
mod speaking;
mod watch;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use fred::clients::Client;
use tokio::sync::mpsc;

use self::config::{RedisConfig, RedisServers};
use super::{Bus, BusError, BusEvent, BusEvents, Charge, EVENTS, NodeAddress};
use crate::{
    cluster::ClusterSecret,
    metrics::bus::BusCounts,
    person::Person,
    platform::tasks::{Stage, Tasks},
    wire::broadcast::{Broadcast, Room},
};
use seals::Seals;
use speaking::Voice;
use watch::Watch;

/// Time limit of one round trip.
const DEADLINE: Duration = Duration::from_secs(1);

/// Bus between several nodes.
#[derive(Debug)]
pub(crate) struct Redis {
    is_cluster: bool,
    secret: Arc<ClusterSecret>,
    voice: Voice,
    watch: Arc<Watch>,
    publisher: Client,
    subscriber: Client,
}

impl Redis {
    /// Starts to connect. The node starts without Redis too: the store has everything.
    pub(crate) async fn open(
        config: &RedisConfig,
        secret: Arc<ClusterSecret>,
        counts: BusCounts,
        tasks: &Tasks,
    ) -> anyhow::Result<(Self, BusEvents)> {
        let is_cluster = matches!(config.servers, RedisServers::Cluster(_));
        let config = &encryption::agree(config).await;
        let (publisher, subscriber) = (connect::client(config)?, connect::client(config)?);
        let (events, heard) = mpsc::channel(EVENTS);
        let seals = Seals::new(Arc::clone(&secret));
        let hearing = hearing::hear(subscriber.clone(), seals, events.clone(), counts.clone());
        tasks.spawn(Stage::Bus, "redis.subscriber", hearing);
        for client in [&publisher, &subscriber] {
            tasks.spawn(Stage::Bus, "redis.connect", connect::keep_connected(client.clone()));
        }
        for client in [&publisher, &subscriber] {
            if !connect::is_connected(client).await {
                // Reconnecting clients do not report the reason.
                let reason = connect::look(config).await.err().map(|error| format!("{error:#}"));
                let reason = reason.unwrap_or_else(|| "it was slow".to_owned());
                tracing::warn!(reason, "Redis can't be reached yet; the node starts without it");
                break;
            }
        }
        let watch = Watch::new(publisher.clone(), subscriber.clone(), is_cluster, &secret);
        let watch = Arc::new(watch);
        let watching = Arc::clone(&watch).keep_watching(counts.clone(), events.clone());
        tasks.spawn(Stage::Bus, "redis.watch", watching);
        if is_cluster {
            let (publisher, subscriber) = (publisher.clone(), subscriber.clone());
            let moved = counts.slots_moved.clone();
            let looking = slots::keep_looking(publisher, subscriber, events, moved);
            tasks.spawn(Stage::Bus, "redis.slots", looking);
        }
        let voice = Voice::start(tasks, publisher.clone(), is_cluster, Arc::clone(&secret), counts);
        Ok((Self { is_cluster, secret, voice, watch, publisher, subscriber }, heard))
    }

    /// Reports version and transport. Changes nothing.
    pub(crate) async fn look(config: &RedisConfig) -> anyhow::Result<String> {
        encryption::look(config).await
    }
}

fn failed(error: &fred::error::Error) -> BusError {
    BusError(error.to_string())
}

#[async_trait]
impl Bus for Redis {
    fn publish(&self, mut broadcast: Broadcast) {
        broadcast.publish();
        self.voice.say(broadcast);
    }

    fn waiting(&self) -> usize {
        self.voice.waiting()
    }

    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        let outcome = if self.is_cluster {
            hearing::subscribe_sharded(&self.subscriber, rooms).await
        } else {
            hearing::subscribe(&self.subscriber, rooms).await
        };
        outcome.map_err(|error| failed(&error))
    }

    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        let outcome = if self.is_cluster {
            hearing::unsubscribe_sharded(&self.subscriber, rooms).await
        } else {
            hearing::unsubscribe(&self.subscriber, rooms).await
        };
        outcome.map_err(|error| failed(&error))
    }

    async fn flush(&self) {
        self.voice.flush().await;
    }

    async fn announce(&self, address: SocketAddr, tls: Option<SocketAddr>) -> Result<(), BusError> {
        nodes::announce(&self.publisher, &self.secret, address, tls)
            .await
            .map_err(|error| failed(&error))
    }

    async fn whereabouts(&self, node: &str) -> Result<Option<NodeAddress>, BusError> {
        nodes::whereabouts(&self.publisher, &self.secret, node)
            .await
            .map_err(|error| failed(&error))
    }

    async fn come(&self, people: &[Person]) -> Result<(), BusError> {
        people::come(&self.publisher, &self.secret, people).await.map_err(|error| failed(&error))
    }

    async fn go(&self, people: &[Person]) -> Result<(), BusError> {
        people::go(&self.publisher, &self.secret, people).await.map_err(|error| failed(&error))
    }

    async fn present(&self, people: &[Person]) -> Result<Vec<bool>, BusError> {
        people::present(&self.publisher, &self.secret, people).await.map_err(|error| failed(&error))
    }

    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Duration>, BusError> {
        accounts::charge(&self.publisher, charges).await.map_err(|error| failed(&error))
    }

    async fn hold(&self, held: &[(String, u32)]) -> Result<Vec<u32>, BusError> {
        accounts::hold(&self.publisher, &self.secret, held).await.map_err(|error| failed(&error))
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.watch.ask().await.map_err(|trouble| BusError(trouble.to_string()))
    }
}
