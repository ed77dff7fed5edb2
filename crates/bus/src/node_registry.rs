//! Addresses of the live nodes.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::BusError;

/// Lease of a node's address on the bus, in seconds.
pub const ADDRESS_LEASE_SECS: i64 = 20;

/// Address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Address for requests without TLS.
    pub address: SocketAddr,
    /// Address of the node's TLS listener.
    pub tls: Option<SocketAddr>,
    /// Whether the node signed its address. Nodes older than signatures do not.
    pub is_signed: bool,
}

/// Registrations of the nodes. A node is live while its registration lasts.
#[async_trait]
pub trait NodeRegistry: Send + Sync + 'static {
    /// Registers this node's addresses, plain and TLS, for [`crate::ADDRESS_LEASE_SECS`].
    async fn register_node(
        &self,
        address: SocketAddr,
        tls: Option<SocketAddr>,
    ) -> Result<(), BusError>;

    /// Address of another node, or `None` if its registration has expired.
    async fn node_address(&self, node: &str) -> Result<Option<NodeAddress>, BusError>;
}
