//! Stories: tests of the real binary with real servers, from the view of its users.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attack_bus;
mod attack_changes;
mod attack_doors;
mod attack_key_sets;
mod attack_locks;
mod attack_memory;
mod attack_openings;
mod attack_pictures;
mod attack_reads;
mod attack_search;
mod audit;
mod blocking;
mod carried;
mod catching_up;
mod changes;
mod clock;
mod cluster;
mod command_line;
mod composed;
mod conversation;
mod crowd;
mod deploying;
mod desk;
mod documents;
mod draining;
mod durability;
mod empty_redis;
mod engineio;
mod epoch;
mod failover;
mod faults;
mod frames;
mod full_disk;
mod handshake;
mod http_api;
mod inbox;
mod jobs;
mod least_rights;
mod limits;
mod loadtest;
mod metrics;
mod notes;
mod operators;
mod packets;
mod page;
mod participants;
mod people;
mod pictures;
mod pictures_checked;
mod places;
mod pooler;
mod privacy;
mod production;
mod pushes;
mod refusals;
mod search;
mod starting;
mod stock_clients;
mod tenants;
mod tokens;
mod traces;
mod upgrading;

use frontdesk_test_support::Desk;

/// The binary under test.
const FRONTDESK: &str = env!("CARGO_BIN_EXE_frontdesk");

/// One embedded node.
async fn one_node() -> Desk {
    Desk::embedded(FRONTDESK).await
}

/// Two nodes on PostgreSQL and Redis.
async fn two_nodes() -> Desk {
    Desk::cluster(FRONTDESK, 2).await
}

/// `seq` of each message.
fn seqs(messages: &serde_json::Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}
