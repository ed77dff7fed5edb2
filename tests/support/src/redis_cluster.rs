//! A Redis Cluster of one test: three masters, and a replica of the first.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{Redis, eventually, free_port};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// Time without a master until its replica replaces it.
const NODE_TIMEOUT_MS: &str = "1500";

/// The servers of a cluster; dropping it kills them.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters, then the replica of the first.
    pub nodes: Vec<Redis>,
    /// TLS port of each server; empty without TLS.
    pub encrypted_ports: Vec<u16>,
    /// Cluster bus port of each server.
    ports: Vec<u16>,
    dir: TempDir,
}

impl RedisCluster {
    /// Starts the servers and waits until they form a cluster.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Like [`RedisCluster::start`], with TLS ports too, with this certificate and key.
    pub async fn start_encrypted(certificate: &Path, key: &Path) -> Self {
        Self::start_with(Some([certificate, key])).await
    }

    async fn start_with(identity: Option<[&Path; 2]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut nodes, mut ports, mut encrypted_ports) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..=MASTERS {
            // The default bus port is 10,000 above the data port, which may exceed the highest port.
            let among_them = free_port();
            let mut arguments = arguments(dir.path(), number, among_them).to_vec();
            let encrypted = identity.map(|identity| (free_port(), identity));
            arguments.extend(encrypted.iter().flat_map(|(port, it)| encryption(*port, *it)));
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let node = Redis::start_with(&arguments).await;
            if number < MASTERS {
                let (from, to) = (SLOTS * number / MASTERS, SLOTS * (number + 1) / MASTERS - 1);
                ask(&node, &["cluster", "set-config-epoch", &(number + 1).to_string()]).await;
                ask(&node, &["cluster", "addslotsrange", &from.to_string(), &to.to_string()]).await;
            }
            if let Some(first) = nodes.first() {
                // Servers with TLS know each other by their TLS ports.
                let port = encrypted.map_or(node.port, |(port, _)| port).to_string();
                let among_them = among_them.to_string();
                ask(first, &["cluster", "meet", "127.0.0.1", &port, &among_them]).await;
            }
            nodes.push(node);
            ports.push(among_them);
            encrypted_ports.extend(encrypted.map(|(port, _)| port));
        }
        let cluster = Self { nodes, encrypted_ports, ports, dir };
        cluster.await_well(0..=MASTERS).await;
        let first = ask(&cluster.nodes[0], &["cluster", "myid"]).await;
        ask(&cluster.nodes[MASTERS], &["cluster", "replicate", &first]).await;
        eventually("the replica is known", async || {
            let mut known = true;
            for node in &cluster.nodes {
                let nodes = ask(node, &["cluster", "nodes"]).await;
                known &= nodes.lines().any(|line| line.contains(&format!("slave {first}")));
            }
            let replica = &cluster.nodes[MASTERS];
            known && ask(replica, &["info", "replication"]).await.contains("link_status:up")
        })
        .await;
        cluster
    }

    /// Variables of a node that uses this cluster.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let nodes: Vec<_> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        [("REDIS_HOST", String::new()), ("REDIS_CLUSTER_NODES", nodes.join(","))]
    }

    /// Slot of a key or channel.
    pub async fn slot(&self, key: &str) -> usize {
        ask(&self.nodes[1], &["cluster", "keyslot", key]).await.parse().unwrap()
    }

    /// The first master of this slot.
    #[must_use]
    pub fn first_owner(slot: usize) -> usize {
        (0..MASTERS).find(|number| slot < SLOTS * (number + 1) / MASTERS).unwrap()
    }

    /// Moves a slot and its keys, as a resharding does.
    pub async fn move_slot(&self, slot: usize, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let slot = slot.to_string();
        let (source_id, target_id) =
            (ask(source, &["cluster", "myid"]).await, ask(target, &["cluster", "myid"]).await);
        ask(target, &["cluster", "setslot", &slot, "importing", &source_id]).await;
        ask(source, &["cluster", "setslot", &slot, "migrating", &target_id]).await;
        let keys = ask(source, &["cluster", "getkeysinslot", &slot, "1000"]).await;
        for key in keys.lines() {
            let port = target.port.to_string();
            ask(source, &["migrate", "127.0.0.1", &port, key, "0", "1000"]).await;
        }
        for node in [target, source] {
            ask(node, &["cluster", "setslot", &slot, "node", &target_id]).await;
        }
    }

    /// Waits until the first master's replica is a master.
    pub async fn await_failover(&self) {
        let replica = &self.nodes[MASTERS];
        eventually("the replica is a master", async || {
            ask(replica, &["role"]).await.starts_with("master")
        })
        .await;
        self.await_well(1..=MASTERS).await;
    }

    /// Kills all servers.
    pub async fn kill(&mut self) {
        for node in &mut self.nodes {
            node.kill().await;
        }
    }

    /// Starts the servers again, empty; each keeps its slots.
    pub async fn revive(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let arguments = arguments(self.dir.path(), number, self.ports[number]);
            node.revive_with(&arguments.each_ref().map(String::as_str)).await;
        }
        self.await_well(0..=MASTERS).await;
    }

    async fn await_well(&self, nodes: RangeInclusive<usize>) {
        for node in &self.nodes[nodes] {
            eventually("the cluster is well", async || {
                let state = ask(node, &["cluster", "info"]).await;
                state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:4")
            })
            .await;
        }
    }
}

fn arguments(dir: &Path, number: usize, port: u16) -> [String; 12] {
    [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &port.to_string(),
        "--cluster-node-timeout",
        NODE_TIMEOUT_MS,
        "--cluster-replica-validity-factor",
        "0",
        "--cluster-config-file",
        &format!("nodes-{number}.conf"),
        "--dir",
        dir.to_str().unwrap(),
    ]
    .map(str::to_owned)
}

fn encryption(port: u16, [certificate, key]: [&Path; 2]) -> [String; 14] {
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    [
        "--tls-port",
        &port.to_string(),
        "--tls-cluster",
        "yes",
        "--tls-replication",
        "yes",
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        certificate,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
    ]
    .map(str::to_owned)
}

/// Sends a command and returns its result, one item a line.
async fn ask(node: &Redis, command: &[&str]) -> String {
    let asking = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &node.port.to_string()])
        .args(command)
        .kill_on_drop(true)
        .output();
    let asked = tokio::time::timeout(Duration::from_secs(10), asking).await.expect("no answer");
    let answer = String::from_utf8(asked.expect("redis-cli is not installed").stdout).unwrap();
    let is_error = ["ERR", "CLUSTERDOWN", "NOAUTH"].iter().any(|kind| answer.starts_with(kind));
    assert!(!is_error, "{command:?}: {answer}");
    answer.trim().to_owned()
}
