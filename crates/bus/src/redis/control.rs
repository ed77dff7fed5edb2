//! Channel of the control messages.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::{EventInterface, PubsubInterface},
};
use tokio::{sync::broadcast::error::RecvError, time::timeout};

use super::{Outgoing, Redis};
use crate::{
    ControlChannel, ControlMessage, PubSub, broadcast::Broadcast, control::CONTROL_CHANNEL,
};

/// Interval at which the subscription is made again. On a cluster it ends without a sign when its slot
/// moves.
const RESUBSCRIBE_INTERVAL: Duration = Duration::from_secs(2);

impl ControlChannel for Redis {
    fn send_control(&self, message: ControlMessage) {
        // Law I12: nodes of the version before receive the message in this form only. Nodes of this
        // version receive both forms, and repeat a harmless action.
        if let Some(broadcast) = Broadcast::of_control(&message) {
            self.publish(broadcast);
        }
        self.publisher.publish(Outgoing::Control(message));
    }
}

/// Keeps this node subscribed to the control channel.
pub(super) async fn keep_subscribed(subscriber: Client, is_cluster: bool) {
    let mut reconnects = subscriber.reconnect_rx();
    loop {
        let outcome = if is_cluster {
            subscriber.ssubscribe(CONTROL_CHANNEL).await
        } else {
            subscriber.subscribe(CONTROL_CHANNEL).await
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "redis subscribe to the control channel failed; retrying");
        }
        let reconnect = timeout(RESUBSCRIBE_INTERVAL, reconnects.recv()).await;
        if matches!(reconnect, Ok(Err(RecvError::Closed))) {
            return;
        }
    }
}
