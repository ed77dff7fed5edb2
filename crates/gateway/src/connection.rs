//! A client connection on any transport: reading, writing and its end.

pub(crate) mod engineio;
mod reading;
pub(crate) mod websocket;
mod writing;

use std::sync::Arc;

use futures_util::Stream;
use tokio::time::Instant;

use crate::{
    Gateway,
    caller::{Caller, Typing},
    events::join::Resumed,
};
use bus::broadcast::Broadcast;
use chat::outbound::Outbound;
use identity::auth::Identity;
use protocol::{CloseCode, Incoming};

/// Runs a connection from its handshake to its end. Returns the close code, or `None` if the peer is
/// gone. Outgoing frames go to `outbound`, whose other end writes them. `resumed` holds the client's
/// earlier sessions. `opened` is the time from which the client waits for pings.
pub(crate) async fn live(
    gateway: &Arc<Gateway>,
    identity: Identity,
    outbound: &Arc<Outbound>,
    resumed: Vec<Resumed>,
    incoming: impl Stream<Item = Incoming> + Unpin,
    opened: Instant,
) -> Option<CloseCode> {
    let caller = Caller::new(Arc::clone(gateway), identity, Arc::clone(outbound));
    gateway.counts.connections.opened(outbound.framing());
    let mut connected = Connected {
        gateway: Arc::clone(gateway),
        outbound: Arc::clone(outbound),
        typing: Arc::clone(&caller.typing),
        ended: None,
    };
    gateway.chat.people.seen(outbound.scope());
    // Both wait for the bus, within bounds.
    tokio::join!(
        gateway.chat.hub.connect(outbound),
        gateway.chat.presence.connect(outbound.scope())
    );
    if gateway.is_draining() {
        outbound.close(CloseCode::Draining);
    }
    // The person may have been shut out since the handshake, before this connection could be closed for it.
    if gateway.chat.admission.check(outbound.scope()).is_err() {
        outbound.close(CloseCode::NotAllowed);
    }
    connected.ended = reading::run(&caller, resumed, incoming, opened).await;
    connected.ended
}

/// Cleans up after the connection, however its task ends.
struct Connected {
    gateway: Arc<Gateway>,
    outbound: Arc<Outbound>,
    typing: Arc<Typing>,
    /// Close code, if there is one.
    ended: Option<CloseCode>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.gateway.counts.connections.closed(self.ended);
        self.gateway.chat.hub.disconnect(self.outbound.id());
        for id in self.typing.end() {
            self.gateway.chat.bus.publish(Broadcast::typing(id, self.outbound.scope(), false));
        }
        self.gateway.chat.presence.disconnect(self.outbound.scope(), self.outbound.id());
    }
}
