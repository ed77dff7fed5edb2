//! Registered addresses of the nodes, signed by them.

use std::{collections::HashSet, net::SocketAddr};

use async_trait::async_trait;
use fred::{clients::Client, error::Error, interfaces::KeysInterface, types::Expiration};

use super::{Redis, at_once};
use crate::{
    ADDRESS_LEASE_SECS, BusError, NodeAddress, NodeRegistry,
    cluster::{ClusterSecret, Purpose},
};

/// Key of the bare address, for nodes older than signatures.
fn unsigned_key(node: &str) -> String {
    format!("frontdesk:node:{node}")
}

/// Key of the signed addresses: `<address>[,<TLS address>] <signature>`.
fn key(node: &str) -> String {
    format!("frontdesk:peer:{node}")
}

#[async_trait]
impl NodeRegistry for Redis {
    async fn register_node(
        &self,
        address: SocketAddr,
        tls: Option<SocketAddr>,
    ) -> Result<(), BusError> {
        let (node, address) = (self.secret.node(), address.to_string());
        let both = tls.map_or_else(|| address.clone(), |tls| format!("{address},{tls}"));
        let stamp = self.secret.sign(Purpose::NodeAddress, &[both.as_bytes()]);
        let lasts = || Some(Expiration::EX(ADDRESS_LEASE_SECS));
        let pipeline = self.commands.pipeline();
        let signed = format!("{both} {stamp}");
        let _: () = pipeline.set(key(node), signed, lasts(), None, false).await?;
        let _: () = pipeline.set(unsigned_key(node), address, lasts(), None, false).await?;
        let _: Vec<String> = pipeline.all().await?;
        Ok(())
    }

    async fn node_address(&self, node: &str) -> Result<Option<NodeAddress>, BusError> {
        let record: Option<String> = self.commands.get(key(node)).await?;
        let known = record.and_then(|record| signed(&self.secret, node, &record));
        if known.is_some() {
            return Ok(known);
        }
        if !self.secret.accepts_unsigned() {
            return Ok(None);
        }
        let record: Option<String> = self.commands.get(unsigned_key(node)).await?;
        let address = record.and_then(|address| address.parse().ok());
        Ok(address.map(|address| NodeAddress { address, tls: None, is_signed: false }))
    }
}

/// Subset of these nodes that is live: their registrations have not expired.
pub(super) async fn alive<'a>(
    client: &Client,
    secret: &ClusterSecret,
    nodes: &HashSet<&'a str>,
) -> Result<HashSet<&'a str>, Error> {
    if nodes.is_empty() {
        return Ok(HashSet::new());
    }
    let nodes: Vec<&str> = nodes.iter().copied().collect();
    let pipeline = client.pipeline();
    for node in &nodes {
        let _: () = pipeline.get(key(node)).await?;
    }
    let records: Vec<Option<String>> = at_once(&pipeline, nodes.len(), client).await?;
    let mut alive: HashSet<&str> = nodes
        .iter()
        .zip(records)
        .filter(|(node, record)| {
            record.as_ref().is_some_and(|record| signed(secret, node, record).is_some())
        })
        .map(|(node, _)| *node)
        .collect();
    if secret.accepts_unsigned() {
        let pipeline = client.pipeline();
        for node in &nodes {
            let _: () = pipeline.exists(unsigned_key(node)).await?;
        }
        let there: Vec<i64> = at_once(&pipeline, nodes.len(), client).await?;
        alive
            .extend(nodes.iter().zip(there).filter(|(_, there)| *there > 0).map(|(node, _)| *node));
    }
    Ok(alive)
}

/// The address, if this node signed it recently.
fn signed(secret: &ClusterSecret, node: &str, record: &str) -> Option<NodeAddress> {
    let (both, stamp) = record.split_once(' ')?;
    let origin = secret.verify(Purpose::NodeAddress, &[both.as_bytes()], stamp.as_bytes()).ok()?;
    let (address, tls) = both.split_once(',').map_or((both, None), |(one, tls)| (one, Some(tls)));
    let tls = tls.map(str::parse).transpose().ok()?;
    let address = NodeAddress { address: address.parse().ok()?, tls, is_signed: true };
    (origin.node == node).then_some(address)
}
