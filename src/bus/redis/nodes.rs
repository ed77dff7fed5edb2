//! Registered addresses of the nodes, signed by them.

use std::{collections::HashSet, net::SocketAddr};

use fred::{clients::Client, error::Error, interfaces::KeysInterface, types::Expiration};

use crate::{
    bus::NodeAddress,
    cluster::{ClusterSecret, Purpose},
    peers::ANNOUNCED_SECS,
};

/// Key of the bare address, for nodes older than signatures.
fn unsigned_key(node: &str) -> String {
    format!("frontdesk:node:{node}")
}

/// Key of the signed addresses: `<address>[,<TLS address>] <signature>`.
fn key(node: &str) -> String {
    format!("frontdesk:peer:{node}")
}

pub(super) async fn announce(
    client: &Client,
    secret: &ClusterSecret,
    address: SocketAddr,
    tls: Option<SocketAddr>,
) -> Result<(), Error> {
    let (node, address) = (secret.node(), address.to_string());
    let both = tls.map_or_else(|| address.clone(), |tls| format!("{address},{tls}"));
    let stamp = secret.sign(Purpose::NodeAddress, &[both.as_bytes()]);
    let lasts = || Some(Expiration::EX(ANNOUNCED_SECS));
    let pipeline = client.pipeline();
    let signed = format!("{both} {stamp}");
    let _: () = pipeline.set(key(node), signed, lasts(), None, false).await?;
    let _: () = pipeline.set(unsigned_key(node), address, lasts(), None, false).await?;
    pipeline.all::<Vec<String>>().await.map(drop)
}

pub(super) async fn whereabouts(
    client: &Client,
    secret: &ClusterSecret,
    node: &str,
) -> Result<Option<NodeAddress>, Error> {
    let told: Option<String> = client.get(key(node)).await?;
    let known = told.and_then(|told| signed(secret, node, &told));
    if known.is_some() {
        return Ok(known);
    }
    if !secret.accepts_unsigned() {
        return Ok(None);
    }
    let told: Option<String> = client.get(unsigned_key(node)).await?;
    let address = told.and_then(|address| address.parse().ok());
    Ok(address.map(|address| NodeAddress { address, tls: None, is_signed: false }))
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
    let asking = client.pipeline();
    for node in &nodes {
        let _: () = asking.get(key(node)).await?;
    }
    let told: Vec<Option<String>> = asking.all().await?;
    let mut alive: HashSet<&str> = nodes
        .iter()
        .zip(told)
        .filter(|(node, told)| {
            told.as_ref().is_some_and(|told| signed(secret, node, told).is_some())
        })
        .map(|(node, _)| *node)
        .collect();
    if secret.accepts_unsigned() {
        let asking = client.pipeline();
        for node in &nodes {
            let _: () = asking.exists(unsigned_key(node)).await?;
        }
        let there: Vec<i64> = asking.all().await?;
        alive
            .extend(nodes.iter().zip(there).filter(|(_, there)| *there > 0).map(|(node, _)| *node));
    }
    Ok(alive)
}

/// The address, if this node signed it recently.
fn signed(secret: &ClusterSecret, node: &str, told: &str) -> Option<NodeAddress> {
    let (both, stamp) = told.split_once(' ')?;
    let origin = secret.verify(Purpose::NodeAddress, &[both.as_bytes()], stamp.as_bytes()).ok()?;
    let (address, tls) = both.split_once(',').map_or((both, None), |(one, tls)| (one, Some(tls)));
    let tls = tls.map(str::parse).transpose().ok()?;
    let address = NodeAddress { address: address.parse().ok()?, tls, is_signed: true };
    (origin.node == node).then_some(address)
}
