//! Connected people of each node, signed by the node. On a cluster each key has its own slot, so no
//! command names two keys.

use std::collections::{HashMap, HashSet};

use fred::{
    clients::Client,
    error::Error,
    interfaces::{HashesInterface, KeysInterface, SetsInterface},
};

use super::nodes;
use crate::{
    cluster::{ClusterSecret, Purpose},
    person::Person,
};

/// Expiry of a presence record in seconds. Nodes renew their records all the time.
const PRESENT_SECS: i64 = 300;

pub(super) async fn come(
    client: &Client,
    secret: &ClusterSecret,
    people: &[Person],
) -> Result<(), Error> {
    let pipeline = client.pipeline();
    for person in people {
        let stamp = secret.sign(Purpose::Presence, &[person.to_string().as_bytes()]);
        let _: () = pipeline.hset(key(person), (secret.node(), stamp)).await?;
        let _: () = pipeline.expire(key(person), PRESENT_SECS, None).await?;
        if secret.accepts_unsigned() {
            let _: () = pipeline.sadd(unsigned_key(person), secret.node()).await?;
            let _: () = pipeline.expire(unsigned_key(person), PRESENT_SECS, None).await?;
        }
    }
    pipeline.all::<Vec<i64>>().await.map(drop)
}

pub(super) async fn go(
    client: &Client,
    secret: &ClusterSecret,
    people: &[Person],
) -> Result<(), Error> {
    let pipeline = client.pipeline();
    for person in people {
        let _: () = pipeline.hdel(key(person), secret.node()).await?;
        if secret.accepts_unsigned() {
            let _: () = pipeline.srem(unsigned_key(person), secret.node()).await?;
        }
    }
    pipeline.all::<Vec<i64>>().await.map(drop)
}

/// Whether each person is connected to a live node.
pub(super) async fn present(
    client: &Client,
    secret: &ClusterSecret,
    people: &[Person],
) -> Result<Vec<bool>, Error> {
    let told = nodes_of(client, secret, people).await?;
    let distinct: HashSet<&str> = told.iter().flatten().map(String::as_str).collect();
    let alive = nodes::alive(client, secret, &distinct).await?;
    Ok(told.iter().map(|nodes| nodes.iter().any(|node| alive.contains(node.as_str()))).collect())
}

/// Nodes that recorded each person, live or not.
async fn nodes_of(
    client: &Client,
    secret: &ClusterSecret,
    people: &[Person],
) -> Result<Vec<Vec<String>>, Error> {
    let asking = client.pipeline();
    for person in people {
        let _: () = asking.hgetall(key(person)).await?;
    }
    let noted: Vec<HashMap<String, String>> = asking.all().await?;
    let mut nodes: Vec<Vec<String>> = people
        .iter()
        .zip(noted)
        .map(|(person, noted)| {
            let person = person.to_string();
            let is_signed = |(node, stamp): &(String, String)| {
                let origin =
                    secret.verify(Purpose::Presence, &[person.as_bytes()], stamp.as_bytes());
                origin.is_ok_and(|origin| origin.node == node)
            };
            noted.into_iter().filter(is_signed).map(|(node, _)| node).collect()
        })
        .collect();
    if secret.accepts_unsigned() {
        let asking = client.pipeline();
        for person in people {
            let _: () = asking.smembers(unsigned_key(person)).await?;
        }
        let unsigned: Vec<Vec<String>> = asking.all().await?;
        nodes.iter_mut().zip(unsigned).for_each(|(nodes, more)| nodes.extend(more));
    }
    Ok(nodes)
}

/// Key of the nodes that a person is connected to, with their signatures.
fn key(person: &Person) -> String {
    format!("frontdesk:here:{person}")
}

/// Key of the same nodes, as written by nodes older than signatures.
fn unsigned_key(person: &Person) -> String {
    format!("frontdesk:present:{person}")
}
