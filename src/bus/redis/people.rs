//! Who is connected to which node. On a cluster each key has a slot of its own, so no command names two.

use std::collections::BTreeSet;

use fred::{
    clients::Client,
    error::Error,
    interfaces::{KeysInterface, SetsInterface},
};

use super::node_key;
use crate::person::Person;

/// How long it is noted that someone is connected; nodes note it again all the time.
const PRESENT_SECS: i64 = 300;

pub(super) async fn come(client: &Client, node: &str, people: &[Person]) -> Result<(), Error> {
    let pipeline = client.pipeline();
    for person in people {
        let _: () = pipeline.sadd(key(person), node).await?;
        let _: () = pipeline.expire(key(person), PRESENT_SECS, None).await?;
    }
    pipeline.all::<Vec<i64>>().await.map(drop)
}

pub(super) async fn go(client: &Client, node: &str, people: &[Person]) -> Result<(), Error> {
    let pipeline = client.pipeline();
    for person in people {
        let _: () = pipeline.srem(key(person), node).await?;
    }
    pipeline.all::<Vec<i64>>().await.map(drop)
}

/// The nodes of each person, less those that have not announced themselves for too long.
pub(super) async fn present(client: &Client, people: &[Person]) -> Result<Vec<bool>, Error> {
    let asking = client.pipeline();
    for person in people {
        let _: () = asking.smembers(key(person)).await?;
    }
    let nodes: Vec<Vec<String>> = asking.all().await?;
    let distinct: BTreeSet<&String> = nodes.iter().flatten().collect();
    let asking = client.pipeline();
    for node in &distinct {
        let _: () = asking.exists(node_key(node)).await?;
    }
    let there: Vec<i64> = if distinct.is_empty() { Vec::new() } else { asking.all().await? };
    let alive: BTreeSet<&String> = distinct
        .into_iter()
        .zip(there)
        .filter(|(_, there)| *there > 0)
        .map(|(node, _)| node)
        .collect();
    Ok(nodes.iter().map(|nodes| nodes.iter().any(|node| alive.contains(node))).collect())
}

/// Where the nodes are kept that a person is connected to.
fn key(person: &Person) -> String {
    format!("frontdesk:present:{person}")
}
