//! The other nodes: where they are, and how a request gets to the one that it is for.
//!
//! A load balancer without stickiness brings a poll to any node. Its session's id names the node that
//! holds it, and that is where the request is carried; an upgrade to a WebSocket becomes a tunnel.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{body::Body, extract::Request, http::StatusCode, response::Response};
use hyper::{client::conn::http1, http::HeaderName};
use hyper_util::rt::TokioIo;
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

use crate::{app::App, config::Config};

/// How long an announcement holds.
pub(crate) const ANNOUNCED_SECS: i64 = 30;
/// How often a node announces itself.
const ANNOUNCE: Duration = Duration::from_secs(10);
/// How soon it tries again, where the bus is away.
const RETRY: Duration = Duration::from_secs(1);
/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Marks a request that another node has carried here: it is not carried on.
pub(crate) const CARRIED: HeaderName = HeaderName::from_static("x-frontdesk-carried");

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
    let Some(address) = address(&app.config, listening).await else { return };
    loop {
        let announced = app.bus.announce(&app.node, address).await;
        if let Err(error) = &announced {
            tracing::debug!(%error, "can't tell the other nodes where this one is");
        }
        sleep(if announced.is_ok() { ANNOUNCE } else { RETRY }).await;
    }
}

/// Where the others reach this node: as it was told, or by the address with which it reaches Redis.
async fn address(config: &Config, listening: SocketAddr) -> Option<SocketAddr> {
    let redis = config.redis.as_ref()?;
    if config.node_address.is_some() {
        return config.node_address;
    }
    if !listening.ip().is_unspecified() {
        return Some(listening);
    }
    let ip = way_to(&redis.host, redis.port).await;
    if ip.is_none() {
        tracing::warn!("NODE_ADDRESS: is not set, and can't be found out");
    }
    Some(SocketAddr::new(ip?, listening.port()))
}

/// The address of this machine on the way to another; nothing is sent.
async fn way_to(host: &str, port: u16) -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect((host, port)).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Carries a request to a node, and its answer back.
pub(crate) async fn carry(
    app: &App,
    node: &str,
    mut request: Request,
) -> Result<Response, PeerError> {
    let address = match app.bus.whereabouts(node).await {
        Ok(Some(address)) => address,
        Ok(None) => return Err(PeerError::Unknown),
        Err(error) => {
            tracing::warn!(%error, "can't find out where a node is");
            return Err(PeerError::Unreachable);
        }
    };
    let unreachable = |error: &dyn std::error::Error| {
        tracing::warn!(%address, error = %error, "a node can't be reached");
        PeerError::Unreachable
    };
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream =
        stream.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    tokio::spawn(connection.with_upgrades());
    request.headers_mut().insert(CARRIED, axum::http::HeaderValue::from_static("1"));
    let from_client = hyper::upgrade::on(&mut request);
    // A poll is answered by the next ping at the latest.
    let patience = app.config.ping_interval + app.config.ping_timeout;
    let response = timeout(patience, sender.send_request(request)).await;
    let mut response =
        response.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let to_node = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(node)) = tokio::join!(from_client, to_node) {
                // It ends when either end does.
                drop(copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(node)).await);
            }
        });
    }
    Ok(response.map(Body::new))
}
