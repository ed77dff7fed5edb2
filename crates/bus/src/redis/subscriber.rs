//! Subscriber of this node on Redis.

use std::{fmt::Display, sync::Arc};

use fred::{clients::Client, interfaces::EventInterface, types::Message};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{BusEvent, pass_on, seals::Seals};
use crate::{
    ControlMessage,
    broadcast::{Broadcast, Room},
    control::CONTROL_CHANNEL,
    counts::BusCounts,
};

/// Forwards received messages, and reports each reconnect as an interruption.
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
                    Some(event) => event,
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
        pass_on(&events, event).await;
    }
}

/// The event of a message that a node signed and that this node can read.
fn read(message: &Message, seals: &Seals, counts: &BusCounts) -> Option<BusEvent> {
    let bytes = message.value.as_bytes()?;
    if message.channel == CONTROL_CHANNEL {
        if !seals.hold_signed(CONTROL_CHANNEL, bytes) {
            return None;
        }
        let message = readable(ControlMessage::from_bytes(bytes), counts)?;
        return Some(BusEvent::Control(message));
    }
    let room = message.channel.parse::<Room>().ok()?;
    if !seals.hold(&message.channel, bytes) {
        return None;
    }
    let mut broadcast = readable(Broadcast::from_bytes(room, bytes), counts)?;
    broadcast.begin_delivery();
    Some(BusEvent::Received(Arc::new(broadcast)))
}

/// Counts a parsed message, readable or not.
fn readable<T>(parsed: Result<T, impl Display>, counts: &BusCounts) -> Option<T> {
    match parsed {
        Ok(message) => {
            counts.heard.inc();
            Some(message)
        }
        Err(error) => {
            counts.unreadable.inc();
            tracing::warn!(%error, "unreadable envelope on the bus");
            None
        }
    }
}
