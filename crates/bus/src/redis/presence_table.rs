//! Connected people of each node, signed by the node. On a cluster each key has its own slot, so no
//! command names two keys.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use fred::{
    clients::Client,
    error::Error,
    interfaces::{HashesInterface, KeysInterface, SetsInterface},
};

use super::{Redis, at_once, node_registry};
use crate::{
    BusError, PresenceTable,
    cluster::{ClusterSecret, Purpose},
};
use model::person::Person;

/// Expiry of a presence record in seconds. Nodes renew their records all the time.
const PRESENCE_LEASE_SECS: i64 = 300;

#[async_trait]
impl PresenceTable for Redis {
    async fn mark_online(&self, people: &[Person]) -> Result<(), BusError> {
        let pipeline = self.commands.pipeline();
        for person in people {
            let stamp = self.secret.sign(Purpose::Presence, &[person.to_string().as_bytes()]);
            let _: () = pipeline.hset(key(person), (self.secret.node(), stamp)).await?;
            let _: () = pipeline.expire(key(person), PRESENCE_LEASE_SECS, None).await?;
            if self.secret.accepts_unsigned() {
                let _: () = pipeline.sadd(unsigned_key(person), self.secret.node()).await?;
                let _: () =
                    pipeline.expire(unsigned_key(person), PRESENCE_LEASE_SECS, None).await?;
            }
        }
        let _: Vec<i64> = at_once(&pipeline, 2 * people.len(), &self.commands).await?;
        Ok(())
    }

    async fn mark_offline(&self, people: &[Person]) -> Result<(), BusError> {
        let pipeline = self.commands.pipeline();
        for person in people {
            let _: () = pipeline.hdel(key(person), self.secret.node()).await?;
            if self.secret.accepts_unsigned() {
                let _: () = pipeline.srem(unsigned_key(person), self.secret.node()).await?;
            }
        }
        let _: Vec<i64> = at_once(&pipeline, people.len(), &self.commands).await?;
        Ok(())
    }

    async fn are_online(&self, people: &[Person]) -> Result<Vec<bool>, BusError> {
        let found = nodes_of(&self.commands, &self.secret, people).await?;
        let distinct: HashSet<&str> = found.iter().flatten().map(String::as_str).collect();
        let alive = node_registry::alive(&self.commands, &self.secret, &distinct).await?;
        let is_alive = |node: &String| alive.contains(node.as_str());
        Ok(found.iter().map(|nodes| nodes.iter().any(is_alive)).collect())
    }
}

/// Nodes that recorded each person, live or not.
async fn nodes_of(
    client: &Client,
    secret: &ClusterSecret,
    people: &[Person],
) -> Result<Vec<Vec<String>>, Error> {
    let pipeline = client.pipeline();
    for person in people {
        let _: () = pipeline.hgetall(key(person)).await?;
    }
    let records: Vec<HashMap<String, String>> = at_once(&pipeline, people.len(), client).await?;
    let mut nodes: Vec<Vec<String>> = people
        .iter()
        .zip(records)
        .map(|(person, record)| {
            let person = person.to_string();
            let is_signed = |(node, stamp): &(String, String)| {
                let origin =
                    secret.verify(Purpose::Presence, &[person.as_bytes()], stamp.as_bytes());
                origin.is_ok_and(|origin| origin.node == node)
            };
            record.into_iter().filter(is_signed).map(|(node, _)| node).collect()
        })
        .collect();
    if secret.accepts_unsigned() {
        let pipeline = client.pipeline();
        for person in people {
            let _: () = pipeline.smembers(unsigned_key(person)).await?;
        }
        let unsigned: Vec<Vec<String>> = at_once(&pipeline, people.len(), client).await?;
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
