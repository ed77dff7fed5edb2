//! One client connection, whatever carries it: what comes in, what goes out, and when it ends.

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

/// Who asks, and on which connection: what a command needs to know.
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

    /// When the token ends, as it was last refreshed, in seconds since 1970; and how long it counts.
    fn token(&self, now: Instant) -> (i64, Duration) {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        (token.expires_at(), token.left(now))
    }

    /// Tells the session that its typist has stopped, if it was typing.
    pub(crate) fn stop_typing(&self, id: SessionId) {
        if self.typing.stop(id) {
            self.app.bus.publish(Broadcast::typing(id, self.person(), false));
        }
    }

    /// Hears the session no more, nor who is on its other side.
    pub(crate) fn leave(&self, id: SessionId) {
        if let Some(other) = self.joins.end(id) {
            self.app.presence.unwatch(&other, self.conn());
        }
        self.outbound.strangers().forget(id);
        self.app.hub.leave(&Room::Session(id), self.conn());
        self.outbound.mark(Mark::Left { session_id: id });
    }

    /// From now on hears when the other side of the session comes and goes, or from their first message
    /// on.
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

    /// A newer token of the same person.
    pub(crate) fn refresh(&self, identity: Identity) -> Result<(), Older> {
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        token.refresh(identity, Instant::now())
    }
}

/// Lives from its handshake until it is to end for this reason, or (`None`) nobody is there any more.
/// What it says goes to `outbound`, whose other end writes it. `resumed` are the sessions in which its
/// client was before, and `opened` is when it began to wait for pings.
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
    // Blocked between the handshake and here, where it was not among those that were closed.
    if app.blocks.hold(outbound.person()) {
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

/// Takes the connection out of everything however its task ends.
struct Connected {
    app: Arc<App>,
    outbound: Arc<Outbound>,
    typing: Arc<Typing>,
    /// Why it ends.
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
