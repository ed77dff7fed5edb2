//! Native framing on a WebSocket.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Error as SocketError,
    extract::ws::{CloseFrame, Message, WebSocket},
};
use futures_util::{StreamExt, future::ready};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    live,
    writing::{self, Encoding},
};
use crate::{Gateway, limits::Slot};
use chat::outbound::{Outbound, OutboundParts, QUEUE, Written};
use identity::auth::Identity;
use protocol::{CloseCode, Framing, Incoming, native};

/// Time limit for the last frames of a closing connection.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);
/// Time limit for a slow reader, which needs longer to take the close frame.
const SLOW_GOODBYE: Duration = Duration::from_secs(10);
/// Time limit for a connection whose memory is needed.
const EVICTED_GOODBYE: Duration = Duration::from_secs(1);

/// Time limit for the last frames, by close code.
pub(super) fn goodbye(code: CloseCode, outbound: &Outbound) -> Duration {
    match code {
        CloseCode::SlowReader if outbound.is_evicted() => EVICTED_GOODBYE,
        CloseCode::SlowReader => SLOW_GOODBYE,
        _ => GOODBYE,
    }
}

/// Serves a socket until it ends, and holds its slots for as long.
pub(crate) async fn run(
    gateway: Arc<Gateway>,
    socket: WebSocket,
    identity: Identity,
    _slots: Vec<Slot>,
) {
    // Held to the end: a draining node waits for the last frames.
    let _open = gateway.sockets.subscribe();
    let (queue, mut frames) = mpsc::channel(QUEUE);
    let (id, scope) = (gateway.chat.hub.new_connection_id(), identity.scope.clone());
    let (receipts, counts) =
        (Arc::clone(&gateway.chat.receipts), Arc::clone(&gateway.counts.connections));
    let outbound = Outbound::new(OutboundParts {
        id,
        scope,
        framing: Framing::Native,
        queue,
        receipts,
        counts,
        memory: Arc::clone(&gateway.chat.memory),
    });
    let (mut sink, mut stream) = socket.split();
    let (finish, finished) = oneshot::channel();
    let limit = gateway.config.ping_timeout;
    let written = |written: Written| outbound.written(written);
    let write = writing::run(Encoding::Native, &written, &mut frames, &mut sink, finished, limit);
    let mut write = pin!(write);
    let incoming = stream.by_ref().map(incoming);
    // If the peer is gone, the read loop or the write's time limit ends the connection.
    let code = tokio::select! {
        ended = live(&gateway, identity, &outbound, Vec::new(), incoming, Instant::now()) => ended,
        () = &mut write => None,
    };
    let Some(code) = code else { return };
    let limit = goodbye(code, &outbound);
    if finish.send(code).is_ok() && timeout(limit, &mut write).await.is_ok() {
        // The peer answers the close. Dropping the socket earlier could cut off the last frames.
        drop(timeout(GOODBYE, stream.for_each(|_| ready(()))).await);
    }
}

/// Accepts a socket only to send a close code, as browsers do not show the status of a refused handshake.
pub(crate) async fn refuse(mut socket: WebSocket, code: CloseCode) {
    let goodbye = async {
        if socket.send(close_frame(code)).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    drop(timeout(GOODBYE, goodbye).await);
}

/// Close frame of the WebSocket.
pub(super) fn close_frame(code: CloseCode) -> Message {
    Message::Close(Some(CloseFrame { code: code.code(), reason: code.reason().into() }))
}

fn incoming(frame: Result<Message, SocketError>) -> Incoming {
    match frame {
        Ok(Message::Text(text)) => native::parse(&text),
        Ok(Message::Ping(_) | Message::Pong(_)) => Incoming::Alive,
        Ok(Message::Binary(_)) => Incoming::End(CloseCode::BadFrame),
        Ok(Message::Close(_)) => Incoming::End(CloseCode::Bye),
        Err(error) => broken(error).map_or(Incoming::Gone, Incoming::End),
    }
}

/// Close code for a frame that could not be read, or `None` if the connection broke.
pub(super) fn broken(error: SocketError) -> Option<CloseCode> {
    use tungstenite::{Error as E, error::ProtocolError::ResetWithoutClosingHandshake};
    match *error.into_inner().downcast::<E>().ok()? {
        E::Capacity(_) => Some(CloseCode::TooBig),
        E::Protocol(ResetWithoutClosingHandshake) => None,
        E::Utf8(_) | E::Protocol(_) => Some(CloseCode::BadFrame),
        _ => None,
    }
}
