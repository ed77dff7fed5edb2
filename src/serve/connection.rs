//! One HTTP connection: its limits, and its end.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{StatusCode, body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use chat::memory::Ending;
use gateway::limits::Accepted;
use platform::tasks::Tasks;

/// Time limit for a client to send the head of its request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a proxy, whose connections wait for the next request. It is longer than proxies keep
/// connections (ALB: 60 s), because a request that comes while its connection is closed is lost.
pub(super) const PROXY_HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum size of a request's head in memory, in bytes.
const HEAD_MAX: usize = 32 * 1024;
/// Time limit for a client that takes nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The other end of a connection, and its slot among those of its address, until the connection ends or
/// becomes a socket.
pub(super) struct From {
    pub(super) peer: SocketAddr,
    pub(super) accepted: Arc<Accepted>,
    pub(super) head_timeout: Duration,
    /// Slot of the operators' listener.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// State that all connections of a listener share.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    /// Each connection holds a receiver: it is told to finish, and its end is seen.
    pub(super) finishing: watch::Receiver<()>,
    pub(super) tasks: Tasks,
}

pub(super) fn serve_connection(stream: TcpStream, from: From, serving: Serving) {
    // Small frames go out at once. A socket that can't be set so is slower, not wrong.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    serve_stream(stream, from, serving);
}

pub(super) fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    from: From,
    serving: Serving,
) {
    let Serving { router, mut finishing, tasks } = serving;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let (head_timeout, crowd) = (from.head_timeout, Arc::clone(&from.accepted));
    let place = from.place;
    // A connection whose answers wait unread may be closed to free their memory.
    let ending = Arc::<Ending>::default();
    let of_answers = Arc::clone(&ending);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(axum::extract::ConnectInfo(from.peer));
        request.extensions_mut().insert(Arc::clone(&from.accepted));
        request.extensions_mut().insert(Arc::clone(&of_answers));
        from.accepted.begin();
        let (answering, accepted) = (router.clone().oneshot(request), Arc::clone(&from.accepted));
        async move {
            let answer = answering.await;
            let is_socket =
                answer.as_ref().is_ok_and(|it| it.status() == StatusCode::SWITCHING_PROTOCOLS);
            if !is_socket {
                accepted.rest();
            }
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    tasks.spawn_once("connection.http", async move {
        let _place = place;
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            _ = ending.until() => return,
            // Others need the slot, and this connection is idle.
            () = crowd.evicted() => return,
            _ = finishing.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "HTTP connection ended with an error");
        }
    });
}
