//! Life of a node: listen, serve, drain, end.

mod admin;
mod connection;
mod nodes;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use crate::{config::Config, modules::Modules, router};
use chat::indexer;
use connection::{From, HEAD_TIMEOUT, PROXY_HEAD_TIMEOUT, Serving, serve_connection, serve_stream};
use gateway::peers;
use media::sweep;
use platform::{
    tasks::Stage,
    traces::{self, export::Exporting},
};

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
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Runs a node until SIGTERM or SIGINT, then drains it, within 25 s in any case. A background task that fails
/// drains it too, and is the error.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    if let Some(refusal) = config.refusal() {
        return Err(refusal.into());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let terminated = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut terminated = pin!(terminated);
    // Opening may wait for the database for a while.
    let node = tokio::select! {
        node = Node::open(config) => node?,
        () = &mut terminated => return Ok(()),
    };
    node.run(terminated).await
}

/// A node that listens, with its background tasks.
struct Node {
    modules: Arc<Modules>,
    listener: TcpListener,
    for_nodes: Option<TcpListener>,
    for_operators: Option<TcpListener>,
    exporting: Option<Exporting>,
}

impl Node {
    async fn open(config: Config) -> anyhow::Result<Self> {
        let listener = listen("PORT", SocketAddr::from((config.host, config.port)))?;
        let address = listener.local_addr()?;
        let for_nodes = nodes::bind(&config)?;
        let for_operators = admin::bind(&config)?;
        let modules = Modules::open(config, address.port()).await?;
        announce(&modules, address);
        let systems = traces::Systems {
            database: if modules.config.postgres.is_some() { "postgresql" } else { "sqlite" },
            messaging: if modules.config.redis.is_some() { "redis" } else { "in_process" },
        };
        let traces = modules.config.traces.as_ref();
        let exporting = traces::start(traces, systems, &modules.gateway.node, &modules.tasks)?;
        let tls = for_nodes.as_ref().and_then(|listener| listener.local_addr().ok());
        if modules.config.redis.is_some() {
            let tls = tls.map(|tls| tls.port());
            let announcing = peers::keep_announcing(Arc::clone(&modules.gateway), address, tls);
            modules.tasks.spawn(Stage::Delivery, "address", announcing);
        }
        modules.tasks.spawn(
            Stage::Jobs,
            "images.sweep",
            sweep::keep_sweeping(Arc::clone(&modules.chat.images), modules.chat.uploads.clone()),
        );
        modules.tasks.spawn(
            Stage::Jobs,
            "search.index",
            indexer::keep_indexing(modules.chat.store.clone(), modules.metrics.search.clone()),
        );
        modules.start_jobs()?;
        Ok(Self { modules, listener, for_nodes, for_operators, exporting })
    }

    /// Serves until this resolves, or a background task fails; then drains.
    async fn run(self, terminated: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { modules, listener, for_nodes, for_operators, exporting } = self;
        let (finishing, connections) = watch::channel(());
        let serving = |router| Serving {
            router,
            finishing: connections.clone(),
            tasks: modules.tasks.clone(),
        };
        let for_clients = serving(router::router(&modules));
        let (of_nodes, operators) = (for_clients.clone(), serving(router::for_operators(&modules)));
        drop(connections);
        let live = async {
            tokio::select! {
                () = terminated => {}
                _ = modules.tasks.failure() => {}
            }
            let deadline = Instant::now() + GRACE;
            // The port stays open, so that clients receive 503 rather than no answer.
            drain(&modules, deadline).await;
            deadline
        };
        let deadline = tokio::select! {
            () = accept(&listener, &modules, for_clients) => Instant::now() + GRACE,
            () = nodes::accept(for_nodes.as_ref(), &modules, of_nodes) => Instant::now() + GRACE,
            () = admin::accept(for_operators.as_ref(), operators) => Instant::now() + GRACE,
            deadline = live => deadline,
        };
        drop((listener, for_nodes, for_operators));
        finish(&modules, &finishing, deadline).await;
        // It logs its losses.
        drop(exporting);
        if let Some(task) = modules.tasks.failed() {
            anyhow::bail!("the background task {task} ended unexpectedly; the node has drained");
        }
        tracing::info!("node ended");
        Ok(())
    }
}

/// Listens on the port of this variable. An error names the variable that is wrong.
fn listen(variable: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    bind(address).map_err(|error| {
        let (variable, problem) = match error.kind() {
            AddrNotAvailable => ("HOST", "this machine does not have this address"),
            _ if error.raw_os_error() == Some(NO_SUCH_FAMILY) => {
                ("HOST", "this machine has no addresses of this family")
            }
            AddrInUse => (variable, "another program listens there"),
            PermissionDenied => (variable, "the port needs privileges"),
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

fn announce(modules: &Modules, address: SocketAddr) {
    for warning in modules.config.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(%address, node = %modules.gateway.node, version = env!("CARGO_PKG_VERSION"), "listening");
    #[cfg(feature = "embedded")]
    for (part, stand_in) in crate::embedded::stand_ins(&modules.config, &modules.embedded) {
        tracing::info!(part, %stand_in, "embedded stand-in");
    }
    #[cfg(feature = "embedded")]
    if modules.embedded.issuer.is_some() {
        if !address.ip().is_loopback() {
            tracing::warn!(
                "DEV_ISSUER: the development issuer is reachable from other machines and gives any \
                 token to anyone; configure an issuer"
            );
        }
        tracing::info!(link = %format!("http://{address}/"), "demo page");
    }
}

async fn accept(listener: &TcpListener, modules: &Modules, serving: Serving) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A connection over the limit is closed without an answer, because no head was read.
                let Some(accepted) = modules.gateway.limits.accept(peer.ip()) else { continue };
                let proxy = modules.gateway.limits.trusts(peer.ip());
                let head_timeout = if proxy {
                    PROXY_HEAD_TIMEOUT
                } else {
                    modules.gateway.limits.idle_timeout(HEAD_TIMEOUT)
                };
                let accepted = Arc::new(accepted);
                let from = From { peer, accepted, head_timeout, place: None };
                serve_connection(stream, from, serving.clone());
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors: open connections stay, and new ones wait in the backlog.
                tracing::error!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Readiness becomes 503 and no socket is accepted. Open sockets are notified, and closed spread over time.
async fn drain(modules: &Modules, deadline: Instant) {
    modules.gateway.begin_draining();
    modules.tasks.begin_ending(Stage::Jobs);
    tracing::info!(connections = modules.chat.hub.connection_count(), "draining");
    modules.chat.hub.drain(modules.config.drain_spread).await;
    if !within(GOODBYES, deadline, modules.gateway.sockets.closed()).await {
        tracing::warn!("drain timed out with open answers on sockets");
    }
}

/// Waits for requests, then for the writer, then for the rest of the node.
async fn finish(modules: &Modules, finishing: &watch::Sender<()>, deadline: Instant) {
    let end = async |stage, limit| {
        let is_in_time = within(limit, deadline, modules.tasks.end(stage)).await;
        if !is_in_time {
            tracing::warn!(?stage, "drain timed out with running background tasks");
        }
    };
    finishing.send_replace(());
    if !within(FINISH, deadline, finishing.closed()).await {
        tracing::warn!("drain timed out with open requests");
    }
    // A job that is cut short runs on another node, or at the next start.
    end(Stage::Jobs, LAST_ANSWERS).await;
    modules.tasks.begin_ending(Stage::Commits);
    modules.chat.writer.close();
    // A send that is not decided by then is repeated by its sender.
    end(Stage::Commits, FINISH).await;
    let answered = async { tokio::join!(finishing.closed(), modules.gateway.sockets.closed()) };
    within(LAST_ANSWERS, deadline, answered).await;
    modules.chat.presence.end().await;
    within(LAST_ANSWERS, deadline, modules.chat.inbox.flush(&*modules.chat.store, &*modules.bus))
        .await;
    end(Stage::Delivery, LAST_ANSWERS).await;
    // The last commits are still to be published.
    modules.bus.flush().await;
    end(Stage::Bus, LAST_ANSWERS).await;
    end(Stage::Observation, LAST_TRACES).await;
}
