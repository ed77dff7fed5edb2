//! Redis pub/sub: one connection that publishes, one that subscribes.

mod accounts;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fred::{
    clients::Client,
    interfaces::{ClientLike, EventInterface, KeysInterface, PubsubInterface, SetsInterface},
    types::{
        Builder, Expiration, Message, Value,
        config::{Config, ReconnectPolicy, Server, ServerConfig, UnresponsiveConfig},
    },
};
use secrecy::ExposeSecret;
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{sleep, timeout},
};

use super::{Bus, BusError, BusEvent, BusEvents, Charge, EVENTS};
use crate::{
    config::RedisConfig,
    peers::ANNOUNCED_SECS,
    person::Person,
    wire::broadcast::{Broadcast, Room},
};

/// How many broadcasts wait for Redis at most; what doesn't fit is left to the check of the heads.
const QUEUE: usize = 8_192;
/// How many go out in one round trip.
const BATCH: usize = 256;
/// How long Redis may take for one round trip.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long it is noted that someone is connected; nodes note it again all the time.
const PRESENT_SECS: i64 = 300;
/// How long a connection may stay silent with a command on it before it is made anew.
const UNRESPONSIVE: Duration = Duration::from_secs(3);

/// The bus of a node among others.
#[derive(Debug)]
pub(crate) struct Redis {
    queue: mpsc::Sender<Broadcast>,
    /// Broadcasts that were queued and are not on their way yet.
    unsaid: Arc<AtomicUsize>,
    publisher: Client,
    subscriber: Client,
}

impl Redis {
    /// Starts to connect. A Redis that is away is no reason not to start: the store has everything.
    pub(crate) async fn open(config: &RedisConfig) -> anyhow::Result<(Self, BusEvents)> {
        let builder = builder(config);
        let publisher = builder.build()?;
        let subscriber = builder.build()?;
        let (events, heard) = mpsc::channel(EVENTS);
        let (queue, broadcasts) = mpsc::channel(QUEUE);
        tokio::spawn(hear(subscriber.clone(), events));
        publisher.connect();
        subscriber.connect();
        for client in [&publisher, &subscriber] {
            let connected = timeout(DEADLINE * 3, client.wait_for_connect()).await;
            if !matches!(connected, Ok(Ok(()))) {
                tracing::warn!("Redis can't be reached yet; the node starts without it");
                break;
            }
        }
        let unsaid = Arc::new(AtomicUsize::new(0));
        tokio::spawn(say(publisher.clone(), broadcasts, Arc::clone(&unsaid)));
        Ok((Self { queue, unsaid, publisher, subscriber }, heard))
    }
}

fn builder(config: &RedisConfig) -> Builder {
    let mut builder = Builder::from_config(Config {
        server: ServerConfig::Centralized { server: Server::new(&config.host, config.port) },
        password: config.password.as_ref().map(|secret| secret.expose_secret().to_owned()),
        fail_fast: false,
        ..Config::default()
    });
    builder.set_policy(ReconnectPolicy::new_exponential(0, 100, 2_000, 2));
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = DEADLINE;
        performance.broadcast_channel_capacity = EVENTS;
    });
    builder.with_connection_config(|connection| {
        connection.connection_timeout = DEADLINE * 3;
        connection.internal_command_timeout = DEADLINE * 3;
        connection.max_command_attempts = 1;
        connection.unresponsive =
            UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: DEADLINE };
        connection.tcp.nodelay = Some(true);
    });
    builder
}

/// Publishes what is queued, in order, many in one round trip.
async fn say(
    publisher: Client,
    mut broadcasts: mpsc::Receiver<Broadcast>,
    unsaid: Arc<AtomicUsize>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut reported = false;
    while broadcasts.recv_many(&mut batch, BATCH).await > 0 {
        let outcome = publish(&publisher, &batch).await;
        if let Err(error) = &outcome
            && !reported
        {
            tracing::warn!(error = %error, lost = batch.len(), "Redis does not take what is said");
        }
        reported = outcome.is_err();
        unsaid.fetch_sub(batch.len(), Ordering::Relaxed);
        batch.clear();
    }
}

async fn publish(publisher: &Client, batch: &[Broadcast]) -> Result<(), fred::error::Error> {
    let pipeline = publisher.pipeline();
    for broadcast in batch {
        // In a pipeline this only queues.
        let _: () = pipeline.publish(broadcast.room.to_string(), broadcast.to_bytes()).await?;
    }
    let _: Vec<i64> = pipeline.all().await?;
    Ok(())
}

/// Hands on what the subscriber hears, and tells of each time that its connection was made anew.
async fn hear(subscriber: Client, events: mpsc::Sender<BusEvent>) {
    let mut messages = subscriber.message_rx();
    let mut reconnects = subscriber.reconnect_rx();
    loop {
        let event = tokio::select! {
            message = messages.recv() => match message {
                Ok(message) => match read(&message) {
                    Some(broadcast) => BusEvent::Heard(Arc::new(broadcast)),
                    None => continue,
                },
                Err(RecvError::Lagged(_)) => BusEvent::Interrupted,
                Err(RecvError::Closed) => return,
            },
            reconnect = reconnects.recv() => match reconnect {
                Err(RecvError::Closed) => return,
                _ => BusEvent::Interrupted,
            },
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

fn read(message: &Message) -> Option<Broadcast> {
    let room = message.channel.parse::<Room>().ok()?;
    match Broadcast::from_bytes(room, message.value.as_bytes()?) {
        Ok(broadcast) => Some(broadcast),
        Err(error) => {
            tracing::warn!(error = %error, "an envelope on the bus can't be read");
            None
        }
    }
}

/// The nodes of each person, less those that have not announced themselves for too long.
async fn present(client: &Client, people: &[Person]) -> Result<Vec<bool>, fred::error::Error> {
    let asking = client.pipeline();
    for person in people {
        let _: () = asking.smembers(present_key(person)).await?;
    }
    let nodes: Vec<Vec<String>> = asking.all().await?;
    let distinct: BTreeSet<&String> = nodes.iter().flatten().collect();
    let asking = client.pipeline();
    for node in &distinct {
        let _: () = asking.exists(key(node)).await?;
    }
    let there: Vec<i64> = if distinct.is_empty() { Vec::new() } else { asking.all().await? };
    let alive: BTreeSet<&String> = distinct
        .into_iter()
        .zip(there)
        .filter(|(_, there)| *there > 0)
        .map(|(node, _)| node)
        .collect();
    Ok(nodes.iter().map(|nodes| nodes.iter().any(|node| alive.contains(node))).collect())
}

/// Where the nodes are kept that a person is connected to.
fn present_key(person: &Person) -> String {
    format!("frontdesk:present:{person}")
}

/// Where a node's address is kept.
fn key(node: &str) -> String {
    format!("frontdesk:node:{node}")
}

fn names(rooms: &[Room]) -> Vec<String> {
    rooms.iter().map(ToString::to_string).collect()
}

fn failed(error: &fred::error::Error) -> BusError {
    BusError(error.to_string())
}

#[async_trait]
impl Bus for Redis {
    fn publish(&self, broadcast: Broadcast) {
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(broadcast).is_err() {
            self.unsaid.fetch_sub(1, Ordering::Relaxed);
            tracing::debug!("Redis is behind: a broadcast is left to the check of the heads");
        }
    }

    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        self.subscriber.subscribe(names(rooms)).await.map_err(|error| failed(&error))?;
        // The client returns when the command is on its way. Redis answers in order: what it says
        // behind the subscription shows that it stands (law I5).
        self.ping().await
    }

    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        self.subscriber.unsubscribe(names(rooms)).await.map_err(|error| failed(&error))
    }

    async fn flush(&self) {
        let said = async {
            while self.unsaid.load(Ordering::Relaxed) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(DEADLINE * 2, said).await.is_err() {
            tracing::warn!("Redis did not take everything; other nodes find it in the store");
        }
    }

    async fn announce(&self, node: &str, address: SocketAddr) -> Result<(), BusError> {
        let lasts = Some(Expiration::EX(ANNOUNCED_SECS));
        let told = self.publisher.set(key(node), address.to_string(), lasts, None, false).await;
        told.map_err(|error| failed(&error))
    }

    async fn whereabouts(&self, node: &str) -> Result<Option<SocketAddr>, BusError> {
        let told: Option<String> =
            self.publisher.get(key(node)).await.map_err(|error| failed(&error))?;
        Ok(told.and_then(|address| address.parse().ok()))
    }

    async fn come(&self, node: &str, people: &[Person]) -> Result<(), BusError> {
        let pipeline = self.publisher.pipeline();
        let noted = async {
            for person in people {
                let _: () = pipeline.sadd(present_key(person), node).await?;
                let _: () = pipeline.expire(present_key(person), PRESENT_SECS, None).await?;
            }
            pipeline.all::<Vec<i64>>().await
        };
        noted.await.map(drop).map_err(|error| failed(&error))
    }

    async fn go(&self, node: &str, people: &[Person]) -> Result<(), BusError> {
        let pipeline = self.publisher.pipeline();
        let noted = async {
            for person in people {
                let _: () = pipeline.srem(present_key(person), node).await?;
            }
            pipeline.all::<Vec<i64>>().await
        };
        noted.await.map(drop).map_err(|error| failed(&error))
    }

    async fn present(&self, people: &[Person]) -> Result<Vec<bool>, BusError> {
        present(&self.publisher, people).await.map_err(|error| failed(&error))
    }

    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Duration>, BusError> {
        accounts::charge(&self.publisher, charges).await.map_err(|error| failed(&error))
    }

    async fn hold(&self, node: &str, held: &[(String, u32)]) -> Result<Vec<u32>, BusError> {
        accounts::hold(&self.publisher, node, held).await.map_err(|error| failed(&error))
    }

    async fn pass(&self, offered: &str) -> Result<String, BusError> {
        accounts::pass(&self.publisher, offered).await.map_err(|error| failed(&error))
    }

    async fn ping(&self) -> Result<(), BusError> {
        // A connection that subscribes gets an array, any other one a word.
        let answer: Result<Value, _> = self.subscriber.ping(None).await;
        answer.map(drop).map_err(|error| failed(&error))
    }
}
