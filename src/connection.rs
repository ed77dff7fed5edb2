//! A client connection on any transport: reading, writing and its end.

pub(crate) mod counts;
pub(crate) mod engineio;
pub(crate) mod joins;
pub(crate) mod outbound;
mod reading;
pub(crate) mod recovery;
pub(crate) mod strangers;
mod token;
pub(crate) mod typing;
pub(crate) mod websocket;
mod writing;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::Stream;
use tokio::time::Instant;

use crate::{
    app::App,
    auth::Identity,
    commands::join::Resumed,
    person::Person,
    session::SessionId,
    wire::{
        CloseCode, Incoming,
        broadcast::{Broadcast, Room},
    },
};
use joins::{JoinNumber, Joins};
use outbound::{ConnectionId, Outbound};
use recovery::Mark;
use strangers::{Met, OtherSide};
use token::{Older, Token};
use typing::Typing;

/// Context of a command: the person and their connection.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) app: Arc<App>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) joins: Arc<Joins>,
    pub(crate) typing: Arc<Typing>,
    token: Arc<RwLock<Token>>,
}

impl Caller {
    pub(crate) fn person(&self) -> &Person {
        self.outbound.person()
    }

    pub(crate) fn conn(&self) -> ConnectionId {
        self.outbound.id()
    }

    /// End of the current token in seconds since 1970, and the time for which it still counts.
    fn token(&self, now: Instant) -> (i64, Duration) {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        (token.expires_at(), token.left(now))
    }

    /// Publishes that the client stopped typing in the session, if it was typing.
    pub(crate) fn stop_typing(&self, id: SessionId) {
        if self.typing.stop(id) {
            self.app.bus.publish(Broadcast::typing(id, self.person(), false));
        }
    }

    /// Leaves the session, and stops presence events of its other side.
    pub(crate) fn leave(&self, id: SessionId) {
        if let Some(other) = self.joins.end(id) {
            self.app.presence.unwatch(&other, self.conn());
        }
        self.outbound.strangers().forget(id);
        self.app.hub.leave(&Room::Session(id), self.conn());
        self.outbound.mark(Mark::Left { session_id: id });
    }

    /// Starts presence events of the session's other side, at once or from their first message on.
    pub(crate) fn watch(&self, id: SessionId, number: JoinNumber, other: &OtherSide) {
        if other.is_known() {
            self.met(&Met { session_id: id, number, person: other.person.clone() });
        } else if self.joins.is_current(id, number) {
            self.outbound.strangers().wait_for(id, number, other.person.clone());
        }
    }

    /// The other side of the session has written.
    fn met(&self, met: &Met) {
        if self.joins.watch(met.session_id, met.number, &met.person) {
            self.app.presence.watch(&met.person, self.conn());
        }
    }

    /// Replaces the token by a newer one of the same person.
    pub(crate) fn refresh(&self, identity: Identity) -> Result<(), Older> {
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        token.refresh(identity, Instant::now())
    }
}

/// Runs a connection from its handshake to its end. Returns the close code, or `None` if the peer is
/// gone. Outgoing frames go to `outbound`, whose other end writes them. `resumed` holds the client's
/// earlier sessions. `opened` is the time from which the client waits for pings.
pub(crate) async fn live(
    app: &Arc<App>,
    identity: Identity,
    outbound: &Arc<Outbound>,
    resumed: Vec<Resumed>,
    incoming: impl Stream<Item = Incoming> + Unpin,
    opened: Instant,
) -> Option<CloseCode> {
    let token = Token::new(identity, Instant::now());
    let typing = Arc::<Typing>::default();
    app.metrics.connections.opened(outbound.framing());
    let mut connected = Connected {
        app: Arc::clone(app),
        outbound: Arc::clone(outbound),
        typing: Arc::clone(&typing),
        ended: None,
    };
    app.people.seen(outbound.person());
    // Both wait for the bus, within bounds.
    tokio::join!(app.hub.connect(outbound), app.presence.connect(outbound.person()));
    if app.is_draining() {
        outbound.close(CloseCode::Draining);
    }
    // The person may have been blocked since the handshake, before this connection could be closed for it.
    if app.blocks.is_blocked(outbound.person()) {
        outbound.close(CloseCode::NotAllowed);
    }
    let caller = Caller {
        app: Arc::clone(app),
        outbound: Arc::clone(outbound),
        joins: Arc::default(),
        typing,
        token: Arc::new(RwLock::new(token)),
    };
    connected.ended = reading::run(&caller, resumed, incoming, opened).await;
    connected.ended
}

/// Cleans up after the connection, however its task ends.
struct Connected {
    app: Arc<App>,
    outbound: Arc<Outbound>,
    typing: Arc<Typing>,
    /// Close code, if there is one.
    ended: Option<CloseCode>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.app.metrics.connections.closed(self.ended);
        self.app.hub.disconnect(self.outbound.id());
        for id in self.typing.end() {
            self.app.bus.publish(Broadcast::typing(id, self.outbound.person(), false));
        }
        self.app.presence.disconnect(self.outbound.person(), self.outbound.id());
    }
}
