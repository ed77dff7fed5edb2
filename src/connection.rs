//! One client connection of the native framing: what comes in, what goes out, and when it ends.

pub(crate) mod joins;
pub(crate) mod outbound;
mod reading;
mod writing;

use std::{
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::StreamExt;
use tokio::{sync::oneshot, time::timeout};

use crate::{app::App, auth::Identity, person::Person, wire::CloseCode};
use joins::Joins;
use outbound::{ConnectionId, Outbound};

/// How long a closing connection may take to hand over what it has still to say.
const GOODBYE: Duration = Duration::from_secs(2);
/// A slow reader gets longer to take the frame that says so.
const SLOW_GOODBYE: Duration = Duration::from_secs(10);

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

/// Serves one socket until it ends.
pub(crate) async fn run(app: Arc<App>, socket: WebSocket, identity: Identity) {
    // Held to the end: a node that drains waits for what is still to be said.
    let _open = app.sockets.subscribe();
    let (id, person) = (app.hub.new_connection_id(), identity.person.clone());
    let (outbound, queue) = Outbound::new(id, person);
    let (mut sink, mut stream) = socket.split();
    let _connected = Connected { app: Arc::clone(&app), id };
    app.hub.connect(&outbound).await;
    if app.is_draining() {
        outbound.close(CloseCode::Draining);
    }
    let identity = Arc::new(RwLock::new(identity));
    let caller = Caller { app, outbound: Arc::clone(&outbound), joins: Arc::default(), identity };
    let (finish, finished) = oneshot::channel();
    let patience = caller.app.config.ping_timeout;
    let mut write = pin!(writing::run(&outbound, queue, &mut sink, finished, patience));
    // Whoever sends while the other end is gone finds out by the read loop or the write's patience.
    let code = tokio::select! {
        ended = reading::run(&caller, &mut stream) => ended,
        () = &mut write => None,
    };
    let Some(code) = code else { return };
    caller.app.hub.disconnect(id);
    let patience = if code == CloseCode::SlowReader { SLOW_GOODBYE } else { GOODBYE };
    if finish.send(code).is_ok() && timeout(patience, &mut write).await.is_ok() {
        // The peer answers the close; dropping the socket before could cut off what was just said.
        let rest = async { while let Some(Ok(_)) = stream.next().await {} };
        drop(timeout(GOODBYE, rest).await);
    }
}

/// Accepts a socket only to say why it ends, as a browser sees no status of a refused handshake.
pub(crate) async fn refuse(mut socket: WebSocket, code: CloseCode) {
    let goodbye = async {
        if socket.send(close_frame(code)).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    drop(timeout(GOODBYE, goodbye).await);
}

fn close_frame(code: CloseCode) -> Message {
    Message::Close(Some(CloseFrame { code: code.code(), reason: code.reason().into() }))
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
