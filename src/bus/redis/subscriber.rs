//! Subscriber of this node on Redis.

use std::sync::Arc;

use fred::{clients::Client, interfaces::EventInterface, types::Message};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{BusEvent, seals::Seals};
use crate::{
    metrics::bus::BusCounts,
    wire::broadcast::{Broadcast, Room},
};

/// Forwards received broadcasts, and reports each reconnect as an interruption.
pub(super) async fn receive(
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
