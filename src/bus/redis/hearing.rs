//! Subscriber of this node on Redis.

use std::sync::Arc;

use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message, Value},
};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{BusEvent, seals::Seals, slots};
use crate::{
    metrics::bus::BusCounts,
    wire::broadcast::{Broadcast, Room},
};

/// Forwards received broadcasts, and reports each reconnect as an interruption.
pub(super) async fn hear(
    subscriber: Client,
    seals: Seals,
    events: mpsc::Sender<BusEvent>,
    counts: BusCounts,
) {
    let mut messages = subscriber.message_rx();
    let mut reconnects = subscriber.reconnect_rx();
    loop {
        let event = tokio::select! {
            message = messages.recv() => match message {
                Ok(message) => match read(&message, &seals, &counts) {
                    Some(broadcast) => BusEvent::Heard(Arc::new(broadcast)),
                    None => continue,
                },
                Err(RecvError::Lagged(_)) => {
                    counts.lagged.inc();
                    BusEvent::Interrupted
                }
                Err(RecvError::Closed) => return,
            },
            reconnect = reconnects.recv() => {
                if matches!(reconnect, Err(RecvError::Closed)) {
                    return;
                }
                counts.reconnected.inc();
                BusEvent::Interrupted
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

fn read(message: &Message, seals: &Seals, counts: &BusCounts) -> Option<Broadcast> {
    let room = message.channel.parse::<Room>().ok()?;
    let bytes = message.value.as_bytes()?;
    if !seals.hold(&message.channel, bytes) {
        return None;
    }
    match Broadcast::from_bytes(room, bytes) {
        Ok(mut broadcast) => {
            counts.heard.inc();
            broadcast.hear();
            Some(broadcast)
        }
        Err(error) => {
            counts.unreadable.inc();
            tracing::warn!(error = %error, "an envelope on the bus can't be read");
            None
        }
    }
}

/// Subscribes on a single Redis.
pub(super) async fn subscribe(subscriber: &Client, rooms: &[Room]) -> Result<(), Error> {
    let names: Vec<_> = rooms.iter().map(ToString::to_string).collect();
    subscriber.subscribe(names).await?;
    // The client returns when the command is sent. Redis answers in order, so the reply to a later PING
    // shows that the subscription stands (law I5).
    ping(subscriber).await
}

/// Subscribes on a cluster, with one command per room, as each room has its own slot. The client waits
/// for each command's reply from the node with the slot: then the subscription stands (law I5).
pub(super) async fn subscribe_sharded(subscriber: &Client, rooms: &[Room]) -> Result<(), Error> {
    let asked = rooms.iter().map(|room| subscriber.ssubscribe(room.to_string()));
    try_join_all(asked).await.map(drop)
}

pub(super) async fn unsubscribe(subscriber: &Client, rooms: &[Room]) -> Result<(), Error> {
    let names: Vec<_> = rooms.iter().map(ToString::to_string).collect();
    subscriber.unsubscribe(names).await
}

pub(super) async fn unsubscribe_sharded(subscriber: &Client, rooms: &[Room]) -> Result<(), Error> {
    let asked = rooms.iter().map(|room| subscriber.sunsubscribe(room.to_string()));
    try_join_all(asked).await.map(drop)
}

/// Whether Redis answers.
pub(super) async fn ping(subscriber: &Client) -> Result<(), Error> {
    // A subscribing connection gets an array, any other a string.
    subscriber.ping::<Value>(None).await.map(drop)
}

/// Whether every cluster node with slots answers.
pub(super) async fn ping_sharded(subscriber: &Client) -> Result<(), Error> {
    let servers = slots::primaries(subscriber);
    if servers.is_empty() {
        return ping(subscriber).await;
    }
    let asked = servers.iter().map(async |server| {
        subscriber.with_cluster_node(server).ping::<Value>(None).await.map(drop)
    });
    join_all(asked).await.into_iter().collect()
}
