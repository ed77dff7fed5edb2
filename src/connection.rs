//! One client connection, whatever carries it: what comes in, what goes out, and when it ends.

pub(crate) mod engineio;
pub(crate) mod joins;
pub(crate) mod outbound;
mod reading;
pub(crate) mod recovery;
pub(crate) mod websocket;
mod writing;

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::Stream;
use tokio::time::Instant;

use crate::{
    app::App,
    auth::Identity,
    commands::join::Resumed,
    person::Person,
    wire::{CloseCode, Incoming},
};
use joins::Joins;
use outbound::{ConnectionId, Outbound};

/// Who asks, and on which connection: what a command needs to know.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) app: Arc<App>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) joins: Arc<Joins>,
    identity: Arc<RwLock<Identity>>,
}

impl Caller {
    pub(crate) fn person(&self) -> &Person {
        self.outbound.person()
    }

    pub(crate) fn conn(&self) -> ConnectionId {
        self.outbound.id()
    }

    /// The token as it was last refreshed.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A newer token of the same person.
    pub(crate) fn refresh(&self, identity: Identity) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
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
    let _connected = Connected { app: Arc::clone(app), id: outbound.id() };
    app.hub.connect(outbound).await;
    if app.is_draining() {
        outbound.close(CloseCode::Draining);
    }
    let caller = Caller {
        app: Arc::clone(app),
        outbound: Arc::clone(outbound),
        joins: Arc::default(),
        identity: Arc::new(RwLock::new(identity)),
    };
    reading::run(&caller, resumed, incoming, opened).await
}

/// Takes the connection out of the hub however its task ends.
struct Connected {
    app: Arc<App>,
    id: ConnectionId,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.app.hub.disconnect(self.id);
    }
}
