//! The other nodes: their addresses, and how a request reaches the node that it is for.
//!
//! A load balancer without stickiness sends a poll to any node. The session's id names the node that holds
//! the session, and the request is carried there. An upgrade to a WebSocket becomes a tunnel. A node receives
//! nothing from a client before it has proved that it knows the cluster's secret.

mod answer;
mod carry;
pub mod config;
mod connections;
mod proof;
mod spans;
mod tls;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UdpSocket, lookup_host},
    time::sleep,
};

pub(crate) use carry::carry;
pub(crate) use connections::NodeConnections;
pub(crate) use proof::{CARRIED, Carried};
pub use tls::NodeTls;

use crate::Gateway;
use bus::{NodeAddress, redis::config::HostPort};

/// Interval at which a node renews its address.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// Retry delay while the bus is away.
const RETRY: Duration = Duration::from_secs(1);

/// Reason why a request could not be carried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("no node has this name now")]
    Unknown,
    #[error("the node does not answer")]
    Unreachable,
    #[error("it did not prove that it is a node of this cluster")]
    Unproven,
}

/// Publishes this node's address to the others, at intervals.
pub async fn keep_announcing(gateway: Arc<Gateway>, listening: SocketAddr, tls_port: Option<u16>) {
    let Some(hosts) = &gateway.config.redis_hosts else { return };
    let mut warned = false;
    loop {
        let address = match gateway.config.node_address {
            Some(address) => Some(address),
            None if listening.ip().is_unspecified() => {
                way_to(hosts).await.map(|ip| SocketAddr::new(ip, listening.port()))
            }
            None => Some(listening),
        };
        if address.is_none() && !warned {
            tracing::warn!("NODE_ADDRESS: is not set, and could not be detected yet");
            warned = true;
        }
        let announced = match address {
            Some(address) => {
                let tls = tls_port.map(|port| SocketAddr::new(address.ip(), port));
                gateway.registry.register_node(address, tls).await.is_ok()
            }
            None => false,
        };
        tokio::select! {
            () = sleep(if announced { ANNOUNCE } else { RETRY }) => {}
            () = gateway.chat.presence.until_forgotten() => {}
        }
    }
}

/// Address of this machine on the route to one of these hosts. Nothing is sent.
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

/// Address of a node, or its last known address if the bus can't be queried.
async fn node_address(gateway: &Gateway, node: &str) -> Result<NodeAddress, PeerError> {
    match gateway.registry.node_address(node).await {
        Ok(Some(address)) => drop(gateway.peers.insert(node.to_owned(), address)),
        // Another process may be at the old address, and must not receive requests for this node.
        Ok(None) => drop(gateway.peers.remove(node)),
        Err(_) => {}
    }
    gateway.peers.get(node).map(|address| *address).ok_or(PeerError::Unknown)
}
