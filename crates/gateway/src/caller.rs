//! The person on a connection: context of an event, with their token.

mod token;
mod typing;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::Gateway;
use bus::broadcast::{Broadcast, Room};
use chat::joins::{JoinNumber, Joins};
use chat::outbound::{ConnectionId, Mark, Outbound};
use chat::strangers::{Met, OtherSide};
use identity::auth::Identity;
use model::{ids::SessionId, scope::Scope};
use token::{Older, Token};
pub(crate) use typing::Typing;

/// Context of a command: the person and their connection.
#[derive(Clone)]
pub(crate) struct Caller {
    pub gateway: Arc<Gateway>,
    pub outbound: Arc<Outbound>,
    pub joins: Arc<Joins>,
    pub typing: Arc<Typing>,
    token: Arc<RwLock<Token>>,
}

impl Caller {
    /// A person with this token, on this connection.
    pub(crate) fn new(gateway: Arc<Gateway>, identity: Identity, outbound: Arc<Outbound>) -> Self {
        let token = Arc::new(RwLock::new(Token::new(identity, Instant::now())));
        Self { gateway, outbound, joins: Arc::default(), typing: Arc::default(), token }
    }

    /// The person, without grants.
    pub(crate) fn scope(&self) -> &Scope {
        self.outbound.scope()
    }

    pub(crate) fn conn(&self) -> ConnectionId {
        self.outbound.id()
    }

    /// End of the current token in seconds since 1970, and the time for which it still counts.
    pub(crate) fn token(&self, now: Instant) -> (i64, Duration) {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        (token.expires_at(), token.left(now))
    }

    /// Publishes that the client stopped typing in the session, if it was typing.
    pub(crate) fn stop_typing(&self, id: SessionId) {
        if self.typing.stop(id) {
            self.gateway.chat.bus.publish(Broadcast::typing(id, self.scope(), false));
        }
    }

    /// Leaves the session, and stops presence events of its other side.
    pub(crate) fn leave(&self, id: SessionId) {
        if let Some(other) = self.joins.end(id) {
            self.gateway.chat.presence.unwatch(&other, self.conn());
        }
        self.outbound.strangers().forget(id);
        self.gateway.chat.hub.leave(&Room::Session(self.scope().session(id)), self.conn());
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
    pub(crate) fn met(&self, met: &Met) {
        if self.joins.watch(met.session_id, met.number, &met.person) {
            self.gateway.chat.presence.watch(&met.person, self.conn());
        }
    }

    /// Replaces the token by a newer one of the same person.
    pub(crate) fn refresh(&self, identity: Identity) -> Result<(), Older> {
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        token.refresh(identity, Instant::now())
    }
}
