//! Carrying a request to the node that it is for, and its answer back.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::{Version, body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy, split},
    time::{sleep, timeout},
};

use super::{PeerError, answer, connections::Sender, node_address, proof, spans};
use crate::Gateway;
use bus::NodeAddress;

/// Time limit for a node to accept a connection, and then to prove its identity.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit for the other end of a tunnel to close too.
const GOODBYE: Duration = Duration::from_secs(2);
/// Maximum size of the answer by which a node proves its identity, in bytes.
const HELLO_MAX: usize = 4 * 1024;

/// Carries a request to a node. Returns its answer.
pub(crate) async fn carry(
    gateway: &Arc<Gateway>,
    node: &str,
    mut request: Request,
) -> Result<Response, PeerError> {
    let to = node_address(gateway, node).await?;
    let span = spans::carry(&mut request, to.address);
    let outcome = carry_to(gateway, node, to, request).await;
    if let Err(error) = &outcome {
        tracing::warn!(address = %to.address, %error, "request not carried to its node");
        gateway.peers.remove(node);
        gateway.node_connections.forget(node);
    }
    spans::carried(span, outcome.as_ref().ok().map(Response::status));
    outcome
}

async fn carry_to(
    gateway: &Arc<Gateway>,
    node: &str,
    to: NodeAddress,
    mut request: Request,
) -> Result<Response, PeerError> {
    let method = request.method().clone();
    let from_client = hyper::upgrade::on(&mut request);
    keep_alive(&mut request);
    let (sender, mut response) = exchange(gateway, node, to, request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let to_node = hyper::upgrade::on(&mut response);
        let gateway = Arc::clone(gateway);
        gateway.tasks.clone().spawn_once("connection.tunnel", async move {
            let _open = gateway.sockets.subscribe();
            if let (Ok(client), Ok(node)) = tokio::join!(from_client, to_node) {
                tokio::select! {
                    () = tunnel(client, node) => {}
                    () = leave(&gateway) => {}
                }
            }
        });
    } else {
        keep(gateway, node.to_owned(), to, sender);
    }
    answer::relayed(&method, response.map(Body::new)).ok_or(PeerError::Unproven)
}

/// Removes the client's wish for its own connection from a request that is no upgrade: the connection between
/// the nodes stays open for others.
fn keep_alive(request: &mut Request) {
    if !request.headers().contains_key(header::UPGRADE) {
        request.headers_mut().remove(header::CONNECTION);
        *request.version_mut() = Version::HTTP_11;
    }
}

/// Sends the request, by an idle connection if there is one. Returns the connection and the node's answer.
async fn exchange(
    gateway: &Arc<Gateway>,
    node: &str,
    to: NodeAddress,
    mut request: Request,
) -> Result<(Sender, axum::http::Response<Incoming>), PeerError> {
    // A poll is answered with the next ping at the latest.
    let limit = gateway.config.ping_interval + gateway.config.ping_timeout;
    loop {
        let idle = gateway.node_connections.take(node, to);
        let is_reused = idle.is_some();
        let mut sender = match idle {
            Some(sender) => sender,
            None => open(gateway, node, to).await?,
        };
        let stamp = proof::mark(&gateway.secret, node, &mut request);
        let answered = timeout(limit, sender.try_send_request(request)).await;
        match answered.map_err(|_| PeerError::Unreachable)? {
            Ok(response) => {
                let is_proven =
                    !to.is_signed || proof::is_answer(&gateway.secret, node, &stamp, &response);
                return if is_proven { Ok((sender, response)) } else { Err(PeerError::Unproven) };
            }
            // No byte of this request was sent: the connection had ended. It is the only one that is sent
            // again.
            Err(mut error) => match error.take_message() {
                Some(unsent) if is_reused => request = unsent,
                _ => return Err(unreachable(error.error())),
            },
        }
    }
}

/// Makes a connection on which the node has proved its identity.
async fn open(gateway: &Gateway, node: &str, to: NodeAddress) -> Result<Sender, PeerError> {
    let mut sender = within(CONNECT_TIMEOUT, connect(gateway, to)).await?;
    if to.is_signed {
        // Another process that has its address now gets nothing of a request.
        within(CONNECT_TIMEOUT, greet(gateway, node, to.address, &mut sender)).await?;
    }
    Ok(sender)
}

/// Keeps a connection for other requests, once the answer on it has been read.
fn keep(gateway: &Arc<Gateway>, node: String, to: NodeAddress, mut sender: Sender) {
    let gateway = Arc::clone(gateway);
    gateway.tasks.clone().spawn_once("connection.idle", async move {
        if sender.ready().await.is_ok() {
            gateway.node_connections.put(node, to, sender);
        }
    });
}

async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, PeerError>>,
) -> Result<T, PeerError> {
    timeout(limit, what).await.unwrap_or(Err(PeerError::Unreachable))
}

fn unreachable(error: &dyn std::error::Error) -> PeerError {
    tracing::debug!(%error, "connection to a node failed");
    PeerError::Unreachable
}

async fn connect(gateway: &Gateway, to: NodeAddress) -> Result<Sender, PeerError> {
    let stream = gateway.node_tls.connect(to).await.map_err(|error| unreachable(&error))?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| unreachable(&error))?;
    gateway.tasks.spawn_once("connection.to_node", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a node ended with an error");
        }
    });
    Ok(sender)
}

/// Lets the other end prove that it is this node, by a request that contains nothing from a client.
async fn greet(
    gateway: &Gateway,
    node: &str,
    address: SocketAddr,
    sender: &mut Sender,
) -> Result<(), PeerError> {
    let mut hello = Request::new(Body::empty());
    *hello.uri_mut() = axum::http::Uri::from_static("/health/live");
    if let Ok(host) = HeaderValue::from_str(&address.to_string()) {
        hello.headers_mut().insert(header::HOST, host);
    }
    let stamp = proof::mark(&gateway.secret, node, &mut hello);
    let answered = sender.send_request(hello).await.map_err(|error| unreachable(&error))?;
    if !proof::is_answer(&gateway.secret, node, &stamp, &answered) {
        return Err(PeerError::Unproven);
    }
    let body = to_bytes(Body::new(answered.into_body()), HELLO_MAX).await;
    body.map_err(|error| unreachable(&error))?;
    sender.ready().await.map_err(|error| unreachable(&error))
}

/// Resolves when a tunnel of a draining node must end: spread over time, as sockets are.
async fn leave(gateway: &Gateway) {
    gateway.until_draining().await;
    sleep(gateway.config.drain_spread.mul_f64(rand::random::<f64>())).await;
}

/// Carries bytes both ways. When one end has closed, the other gets a little time to close too.
async fn tunnel(client: Upgraded, node: Upgraded) {
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_node, mut to_node) = split(TokioIo::new(node));
    let up = async {
        drop(copy(&mut from_client, &mut to_node).await);
        drop(to_node.shutdown().await);
    };
    let down = async {
        drop(copy(&mut from_node, &mut to_client).await);
        drop(to_client.shutdown().await);
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    tokio::select! {
        () = &mut up => drop(timeout(GOODBYE, down).await),
        () = &mut down => drop(timeout(GOODBYE, up).await),
    }
}
