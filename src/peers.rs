//! The other nodes: where they are, and how a request gets to the one that it is for.
//!
//! A load balancer without stickiness brings a poll to any node. Its session's id names the node that
//! holds it, and that is where the request is carried; an upgrade to a WebSocket becomes a tunnel.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
};
use hyper::{client::conn::http1, http::HeaderName, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncWriteExt, copy, split},
    net::{TcpStream, UdpSocket, lookup_host},
    time::{sleep, timeout},
};

use crate::{app::App, auth::same, bus::Bus, config::HostPort, limits::address::Address, traces};

/// How long an announcement holds.
pub(crate) const ANNOUNCED_SECS: i64 = 20;
/// How often a node announces itself.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// How soon it tries again, where the bus is away.
const RETRY: Duration = Duration::from_secs(1);
/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the other end of a tunnel may take to end too.
const GOODBYE: Duration = Duration::from_secs(2);
/// Marks a request that another node has carried here: it is not carried on. It holds the nodes' pass,
/// by which it is known that it was a node.
pub(crate) const CARRIED: HeaderName = HeaderName::from_static("x-frontdesk-carried");
/// From which address the client came to that node. From anyone else it says nothing.
const CLIENT: HeaderName = HeaderName::from_static("x-frontdesk-client");

/// The secret by which nodes know each other: they share it on the bus. One that has not yet, or holds
/// another for the moment, carries all the same, and is taken for the client.
pub(crate) struct Pass(RwLock<SecretString>);

impl Pass {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(format!("{:032x}", rand::random::<u128>()).into()))
    }

    fn get(&self) -> SecretString {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Agrees with the others. A bus that has come back empty is told the one that was.
    async fn share(&self, bus: &dyn Bus) {
        if let Ok(pass) = bus.pass(self.get().expose_secret()).await {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = pass.into();
        }
    }

    /// For which client another node has carried the request here, if one has.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Option<Address> {
        let pass = headers.get(CARRIED)?.as_bytes();
        if !same(pass, self.get().expose_secret().as_bytes()) {
            return None;
        }
        let client: IpAddr = headers.get(CLIENT)?.to_str().ok()?.parse().ok()?;
        Some(client.into())
    }

    /// Notes on a request that a node carries it, and for which client.
    fn mark(&self, request: &mut Request) {
        let client = request.extensions().get::<Address>().copied();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let pass = value(self.get().expose_secret()).unwrap_or(HeaderValue::from_static("1"));
        request.headers_mut().insert(CARRIED, pass);
        match client.and_then(|client| value(&client.to_string())) {
            Some(client) => request.headers_mut().insert(CLIENT, client),
            None => request.headers_mut().remove(CLIENT),
        };
    }
}

/// Why a request could not be carried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("there is no such node now")]
    Unknown,
    #[error("the node does not answer")]
    Unreachable,
}

/// Tells the others where this node is, again and again.
pub(crate) async fn keep_announcing(app: Arc<App>, listening: SocketAddr) {
    let Some(redis) = &app.config.redis else { return };
    let mut warned = false;
    loop {
        let address = match app.config.node_address {
            Some(address) => Some(address),
            None if listening.ip().is_unspecified() => {
                way_to(redis.hosts()).await.map(|ip| SocketAddr::new(ip, listening.port()))
            }
            None => Some(listening),
        };
        if address.is_none() && !warned {
            tracing::warn!("NODE_ADDRESS: is not set, and can't be found out yet");
            warned = true;
        }
        let announced = match address {
            Some(address) => {
                app.pass.share(&*app.bus).await;
                app.bus.announce(&app.node, address).await.is_ok()
            }
            None => false,
        };
        tokio::select! {
            () = sleep(if announced { ANNOUNCE } else { RETRY }) => {}
            () = app.presence.until_forgotten() => {}
        }
    }
}

/// The address of this machine on the way to one of these; nothing is sent.
async fn way_to(hosts: &[HostPort]) -> Option<IpAddr> {
    for (host, port) in hosts {
        if let Some(address) = way_to_one(host, *port).await {
            return Some(address);
        }
    }
    None
}

async fn way_to_one(host: &str, port: u16) -> Option<IpAddr> {
    for target in lookup_host((host, port)).await.ok()? {
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let Ok(socket) = UdpSocket::bind((any, 0)).await else { continue };
        if socket.connect(target).await.is_ok()
            && let Ok(address) = socket.local_addr()
        {
            return Some(address.ip());
        }
    }
    None
}

/// Where a node is, or was when the bus was last asked with success.
async fn whereabouts(app: &App, node: &str) -> Result<SocketAddr, PeerError> {
    match app.bus.whereabouts(node).await {
        Ok(Some(address)) => drop(app.peers.insert(node.to_owned(), address)),
        // Whoever is at its address now is not to have what was for it.
        Ok(None) => drop(app.peers.remove(node)),
        Err(_) => {}
    }
    app.peers.get(node).map(|address| *address).ok_or(PeerError::Unknown)
}

/// Carries a request to a node, and its answer back.
pub(crate) async fn carry(
    app: &Arc<App>,
    node: &str,
    mut request: Request,
) -> Result<Response, PeerError> {
    let address = whereabouts(app, node).await?;
    let span = traces::carry(&mut request, address);
    let outcome = carry_to(app, node, address, request).await;
    traces::carried(span, outcome.as_ref().ok().map(Response::status));
    outcome
}

async fn carry_to(
    app: &Arc<App>,
    node: &str,
    address: SocketAddr,
    mut request: Request,
) -> Result<Response, PeerError> {
    let unreachable = |error: &dyn std::error::Error| {
        tracing::warn!(%address, error = %error, "a node can't be reached");
        app.peers.remove(node);
        PeerError::Unreachable
    };
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream =
        stream.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    tokio::spawn(connection.with_upgrades());
    app.pass.mark(&mut request);
    let from_client = hyper::upgrade::on(&mut request);
    // A poll is answered by the next ping at the latest.
    let patience = app.config.ping_interval + app.config.ping_timeout;
    let response = timeout(patience, sender.send_request(request)).await;
    let mut response =
        response.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let to_node = hyper::upgrade::on(&mut response);
        let app = Arc::clone(app);
        tokio::spawn(async move {
            let _open = app.sockets.subscribe();
            if let (Ok(client), Ok(node)) = tokio::join!(from_client, to_node) {
                tokio::select! {
                    () = tunnel(client, node) => {}
                    () = leave(&app) => {}
                }
            }
        });
    }
    Ok(response.map(Body::new))
}

/// When a tunnel of a node that drains ends: spread out, as sockets do.
async fn leave(app: &App) {
    app.until_draining().await;
    sleep(app.config.drain_spread.mul_f64(rand::random::<f64>())).await;
}

/// Carries bytes both ways. When one end has closed, the other gets a little time for its goodbye.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b20_only_a_node_is_believed_for_whom_it_carries() {
        let (node, stranger) = (Pass::new(), Pass::new());
        let client = Address::from(IpAddr::from([203, 0, 113, 9]));
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(CLIENT, HeaderValue::from_static("198.51.100.1"));
        request.extensions_mut().insert(client);
        assert_eq!(node.client(request.headers()), None);
        node.mark(&mut request);
        assert_eq!(node.client(request.headers()), Some(client));
        assert_eq!(stranger.client(request.headers()), None);
        for forged in ["1", ""] {
            request.headers_mut().insert(CARRIED, HeaderValue::from_static(forged));
            assert_eq!(node.client(request.headers()), None);
        }
    }
}
