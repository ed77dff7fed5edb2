//! WebSocket transport of a session, from the start or after an upgrade from polling.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{
    SinkExt, StreamExt,
    future::ready,
    stream::{SplitSink, SplitStream},
};
use tokio::{sync::oneshot, time::timeout};

use super::{EngineSession, Inbound, Outgoing};
use crate::{
    Gateway,
    connection::{
        websocket::{GOODBYE, broken, goodbye},
        writing::{self, Encoding},
    },
};
use chat::outbound::Written;
use protocol::engineio;

/// Time limit of an upgrade.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries a session that began on this WebSocket.
pub(crate) async fn carry(gateway: Arc<Gateway>, session: Arc<EngineSession>, socket: WebSocket) {
    session.on_websocket.store(true, Ordering::SeqCst);
    let (sink, stream) = socket.split();
    run(&gateway, &session, sink, stream).await;
}

/// WebSocket that is being probed for a session. Only one at a time.
pub(crate) struct Upgrading(Arc<EngineSession>);

impl Upgrading {
    pub(crate) fn begin(session: Arc<EngineSession>) -> Option<Self> {
        let begun = !session.upgrading.swap(true, Ordering::SeqCst);
        begun.then_some(Self(session))
    }
}

impl Drop for Upgrading {
    fn drop(&mut self) {
        self.0.upgrading.store(false, Ordering::SeqCst);
    }
}

/// Carries a session that has been polling, if the client completes the upgrade.
pub(crate) async fn upgrade(gateway: Arc<Gateway>, upgrading: Upgrading, socket: WebSocket) {
    let session = &upgrading.0;
    let (mut sink, mut stream) = socket.split();
    let probing = async {
        tokio::select! {
            upgraded = probe(session, &mut sink, &mut stream) => upgraded,
            _ = session.until_ended() => false,
        }
    };
    if timeout(UPGRADE_TIMEOUT, probing).await != Ok(true)
        || session.on_websocket.swap(true, Ordering::SeqCst)
    {
        session.probing.send_replace(false);
        return;
    }
    // The client moved after the answer to its last poll, so it is alive.
    session.alive();
    run(&gateway, session, sink, stream).await;
}

/// Handshake of the upgrade: the client probes the WebSocket, waits for its last poll to end, and moves.
async fn probe(
    session: &EngineSession,
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
) -> bool {
    let mut next = async || match stream.next().await {
        Some(Ok(Message::Text(text))) => Some(text),
        _ => None,
    };
    if next().await.is_none_or(|text| text.as_str() != engineio::PROBE) {
        return false;
    }
    if sink.send(Message::text(engineio::PROBED)).await.is_err() {
        return false;
    }
    session.probing.send_replace(true);
    next().await.is_some_and(|text| text.as_str() == engineio::UPGRADE)
}

async fn run(
    gateway: &Gateway,
    session: &EngineSession,
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
) {
    let _open = gateway.sockets.subscribe();
    // A pending poll ended at once when the session was probed.
    let mut outgoing = session.outgoing.lock().await;
    let Outgoing { frames, recovery } = &mut *outgoing;
    let (finish, finished) = oneshot::channel();
    let written = |written: Written| session.written(written);
    let limit = gateway.config.ping_timeout;
    let encoding = Encoding::SocketIo(recovery);
    let write = writing::run(encoding, &written, frames, &mut sink, finished, limit);
    let mut write = pin!(write);
    let ended = async {
        // A client that sends nothing more may still receive, until the session has ended.
        tokio::select! {
            () = read(session, &mut stream) => {}
            _ = session.until_ended() => {}
        }
        session.until_ended().await
    };
    let code = tokio::select! {
        code = ended => code,
        () = &mut write => {
            session.receive(Inbound::Closed).await;
            return;
        }
    };
    let limit = session.outbound().map_or(GOODBYE, |outbound| goodbye(code, outbound));
    if finish.send(code).is_ok() && timeout(limit, &mut write).await.is_ok() {
        drop(timeout(GOODBYE, stream.for_each(|_| ready(()))).await);
    }
}

/// Passes on the client's packets until there are no more.
async fn read(session: &EngineSession, stream: &mut SplitStream<WebSocket>) {
    loop {
        let open = match stream.next().await {
            Some(Ok(Message::Text(text))) => session.receive_text(&text).await,
            Some(Ok(Message::Binary(_))) => session.receive(Inbound::Binary).await,
            // Control frames count towards the frame limit.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => session.receive(Inbound::Pong).await,
            Some(Ok(Message::Close(_))) | None => {
                session.receive(Inbound::Closed).await;
                false
            }
            Some(Err(error)) => {
                session.receive(broken(error).map_or(Inbound::Closed, Inbound::Bad)).await;
                false
            }
        };
        if !open {
            return;
        }
    }
}
