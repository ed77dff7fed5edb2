//! Life of a node: listen, serve, drain, end.

mod admin;
mod nodes;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{StatusCode, body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::{
    Config, app::App, images::sweep, indexer, limits::Accepted, memory::Ending, peers, push,
    retention, router, traces,
};

/// Time limit for a client to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a proxy, whose connections wait for the next request. It is longer than proxies keep
/// connections (ALB: 60 s), because a request that comes while its connection is closed is lost.
const PROXY_HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum size of a request's head in memory, in bytes.
const HEAD_MAX: usize = 32 * 1024;
/// Time limit for a client that takes nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel buffers for each direction of a connection; at most twice as many.
const SOCKET_BUFFER: u32 = 64 * 1024;
/// Maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Time limit of a whole drain, from the signal to the end.
const GRACE: Duration = Duration::from_secs(23);
/// Time limit for the last answers and close frames on sockets, from when the last socket is signalled to
/// close.
const GOODBYES: Duration = Duration::from_secs(9);
/// Time limit for requests to finish, and the same for the writer.
const FINISH: Duration = Duration::from_secs(5);
/// Time limit for the last decisions to reach the clients that wait for them.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Time limit to send the last traces to the collector.
const LAST_TRACES: Duration = Duration::from_secs(2);
/// `EAFNOSUPPORT` on Linux.
const NO_SUCH_FAMILY: i32 = 97;
/// Pause of accepting when descriptors have run out.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// Runs a node until SIGTERM or SIGINT, then drains it, within 25 s in any case.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    if let Some(refusal) = config.refusal() {
        return Err(refusal.into());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = SocketAddr::from((config.host, config.port));
    let listener = listen("PORT", address)?;
    let address = listener.local_addr()?;
    let for_nodes = nodes::bind(&config)?;
    let for_operators = admin::bind(&config)?;
    let terminated = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut terminated = pin!(terminated);
    // Opening may wait for the database for a while.
    let (app, written) = tokio::select! {
        opened = App::open(config, address.port()) => opened?,
        () = &mut terminated => return Ok(()),
    };
    announce(&app, address);
    let exporting = traces::start(&app.config, &app.node)?;
    let tls = for_nodes.as_ref().and_then(|listener| listener.local_addr().ok());
    let announcing = peers::keep_announcing(Arc::clone(&app), address, tls.map(|tls| tls.port()));
    tokio::spawn(announcing);
    tokio::spawn(sweep::keep_sweeping(Arc::clone(&app)));
    tokio::spawn(indexer::keep_indexing(Arc::clone(&app)));
    tokio::spawn(retention::keep_forgetting(Arc::clone(&app)));
    let pushing = push::start(&app)?;
    // Every connection holds a receiver: it is signalled to finish, and its end is noticed.
    let (finishing, connections) = watch::channel(());
    let live = async {
        terminated.await;
        let deadline = Instant::now() + GRACE;
        // The port stays open, so that clients receive 503 rather than no answer.
        drain(&app, deadline).await;
        deadline
    };
    let operators = router::for_operators(&app);
    let deadline = tokio::select! {
        () = accept(&listener, &app, connections.clone()) => Instant::now() + GRACE,
        () = nodes::accept(for_nodes.as_ref(), &app, connections.clone()) => Instant::now() + GRACE,
        () = admin::accept(for_operators.as_ref(), operators, connections) => Instant::now() + GRACE,
        deadline = live => deadline,
    };
    drop((listener, for_nodes, for_operators));
    finish(&app, &finishing, written, deadline).await;
    if let Some(pushing) = pushing {
        // A push that is cut short is taken by another node, or at the next start.
        within(LAST_ANSWERS, deadline, pushing).await;
    }
    if let Some(mut exporting) = exporting {
        within(LAST_TRACES, deadline, exporting.finish()).await;
    }
    tracing::info!("bye");
    Ok(())
}

/// Listens on the port of this variable. An error names the variable that is wrong.
fn listen(variable: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    bind(address).map_err(|error| {
        let (variable, problem) = match error.kind() {
            AddrNotAvailable => ("HOST", "it is no address of this machine"),
            _ if error.raw_os_error() == Some(NO_SUCH_FAMILY) => {
                ("HOST", "this machine has no addresses of that kind")
            }
            AddrInUse => (variable, "another program listens there"),
            PermissionDenied => (variable, "it is for privileged programs"),
            _ => (variable, "it can't be used"),
        };
        anyhow::anyhow!("{variable}: can't listen on {address}: {problem} ({error})")
    })
}

/// Binds with bounded buffers of the kernel: accepted connections inherit them from the listener. Linux
/// doubles the size for its own overhead.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Waits at most this long, and not beyond the deadline. False if the result did not come.
async fn within<T>(limit: Duration, deadline: Instant, what: impl Future<Output = T>) -> bool {
    timeout_at(deadline.min(Instant::now() + limit), what).await.is_ok()
}

fn announce(app: &App, address: SocketAddr) {
    for warning in app.config.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(%address, node = %app.node, version = env!("CARGO_PKG_VERSION"), "listening");
    #[cfg(feature = "embedded")]
    for (part, stand_in) in crate::embedded::stand_ins(app) {
        tracing::info!(part, %stand_in, "embedded");
    }
    #[cfg(feature = "embedded")]
    if app.issuer.is_some() {
        if !address.ip().is_loopback() {
            tracing::warn!(
                "DEV_ISSUER: this node gives any token to anyone who reaches it: set up an issuer"
            );
        }
        tracing::info!(link = %format!("http://{address}/"), "open this page");
    }
}

async fn accept(listener: &TcpListener, app: &Arc<App>, connections: watch::Receiver<()>) {
    let router = router::router(Arc::clone(app));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A connection over the limit is closed without an answer, because no head was read.
                let Some(accepted) = app.limits.accept(peer.ip()) else { continue };
                let proxy = app.limits.trusts(peer.ip());
                let head_timeout =
                    if proxy { PROXY_HEAD_TIMEOUT } else { app.limits.idle_patience(HEAD_TIMEOUT) };
                let from = From { peer, accepted: Arc::new(accepted), head_timeout };
                serve_connection(stream, from, router.clone(), connections.clone());
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors: open connections stay, and new ones wait in the backlog.
                tracing::error!(%error, "can't accept connections");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The other end of a connection, and its slot among those of its address, until the connection ends or
/// becomes a socket.
struct From {
    peer: SocketAddr,
    accepted: Arc<Accepted>,
    head_timeout: Duration,
}

fn serve_connection(
    stream: TcpStream,
    from: From,
    router: Router,
    finishing: watch::Receiver<()>,
) -> JoinHandle<()> {
    // Small frames are sent at once. A socket without this option is slower, not wrong.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    serve_stream(stream, from, router, finishing)
}

fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    from: From,
    router: Router,
    mut finishing: watch::Receiver<()>,
) -> JoinHandle<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let (head_timeout, place) = (from.head_timeout, Arc::clone(&from.accepted));
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
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            _ = ending.until() => return,
            // Others need the slot, and this connection is idle.
            () = place.evicted() => return,
            _ = finishing.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    })
}

/// Readiness becomes 503 and no socket is accepted. Open sockets are notified, and closed spread over time.
async fn drain(app: &App, deadline: Instant) {
    app.begin_draining();
    tracing::info!(connections = app.hub.len(), "draining");
    app.hub.drain(app.config.drain_spread).await;
    if !within(GOODBYES, deadline, app.sockets.closed()).await {
        tracing::warn!("answers on sockets were still under way");
    }
}

/// Waits for requests, then for the writer, then for the rest of the node.
async fn finish(
    app: &App,
    finishing: &watch::Sender<()>,
    written: JoinHandle<()>,
    deadline: Instant,
) {
    finishing.send_replace(());
    if !within(FINISH, deadline, finishing.closed()).await {
        tracing::warn!("requests were still under way");
    }
    app.writer.close();
    if !within(FINISH, deadline, written).await {
        tracing::warn!("sends were still under way; their senders will try again");
    }
    let answered = async { tokio::join!(finishing.closed(), app.sockets.closed()) };
    within(LAST_ANSWERS, deadline, answered).await;
    app.presence.end().await;
    within(LAST_ANSWERS, deadline, app.inbox.flush(&*app.store, &*app.bus)).await;
    // The last commits are still on their way to the bus.
    app.bus.flush().await;
}
