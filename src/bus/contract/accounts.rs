//! What limits keep on the bus.

use std::time::Duration;

use frontdesk_test_support::{PATIENCE, unique};
use tokio::time::timeout;

use super::{RedisServer, Servers, World, redis};
use crate::bus::Charge;

fn charge(account: &str, millis: u64) -> Charge {
    let (used, owed_max) = (Duration::from_millis(millis), Duration::from_secs(100));
    Charge { account: account.to_owned(), used, owed_max }
}

pub(super) async fn accounts_are_told_one_by_one(world: World) {
    let (mine, other) = (unique("user:a"), unique("user:b"));
    let owed = world.speaker.charge(&[charge(&mine, 1), charge(&other, 2)]).await.unwrap();
    assert_eq!(owed.len(), 2);
    let held = [(mine, 1), (other, 0)];
    assert_eq!(world.speaker.hold("node", &held).await.unwrap(), [0, 0], "there are no others");
    let pass = world.speaker.pass("0123456789abcdef0123456789abcdef").await.unwrap();
    assert_eq!(world.listener.pass(&pass).await.unwrap(), pass, "nodes agree");
}

#[tokio::test]
async fn what_is_used_on_two_nodes_is_owed_on_both() {
    let port = Servers::get().await.redis_port;
    let ((one, _), (two, _)) = (redis(port).await, redis(port).await);
    let account = unique("send:user");
    one.charge(&[charge(&account, 20_000)]).await.unwrap();
    let owed = two.charge(&[charge(&account, 30_000)]).await.unwrap()[0];
    // What was owed is paid by the time that goes by.
    let about = Duration::from_secs(10)..=Duration::from_secs(50);
    assert!(about.contains(&owed), "{owed:?}");
    let most = one.charge(&[charge(&account, 500_000)]).await.unwrap()[0];
    assert_eq!(most, Duration::from_secs(100), "no account is closed for ever");
}

#[tokio::test]
async fn an_account_that_owes_nothing_is_forgotten() {
    let server = RedisServer::start().await;
    let (node, _) = redis(server.port).await;
    node.charge(&[charge("a", 1)]).await.unwrap();
    node.hold("node", &[("a".to_owned(), 3)]).await.unwrap();
    node.hold("node", &[("a".to_owned(), 0)]).await.unwrap();
    let forgotten = async { while server.command("DBSIZE").await.trim() != ":0" {} };
    timeout(PATIENCE, forgotten).await.expect("something stays");
}

#[tokio::test]
async fn f1_f30_places_of_other_nodes_count_while_their_note_holds() {
    let server = RedisServer::start().await;
    let (node, _) = redis(server.port).await;
    let hold = async |name: &str, count: u32| {
        node.hold(name, &[("user:a".to_owned(), count)]).await.unwrap()[0]
    };
    assert_eq!(hold("one", 2).await, 0);
    assert_eq!(hold("two", 3).await, 2);
    assert_eq!(hold("one", 1).await, 3, "the latest note counts");
    assert_eq!(hold("two", 0).await, 1);
    // A node that was killed notes nothing any more: this is what it leaves.
    server.command("HSET frontdesk:held:user:a killed 7:1").await;
    assert_eq!(hold("two", 1).await, 1);
    assert_eq!(server.command("HEXISTS frontdesk:held:user:a killed").await.trim(), ":0");
}

#[tokio::test]
async fn f10_nodes_keep_their_pass_when_redis_comes_back_empty() {
    let mut server = RedisServer::start().await;
    let (node, _) = redis(server.port).await;
    let agreed = node.pass("the first").await.unwrap();
    server.kill().await;
    server.revive().await;
    let back = async {
        loop {
            if let Ok(pass) = node.pass(&agreed).await {
                return pass;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, back).await.expect("Redis is back"), "the first");
    assert_eq!(node.pass("another node's").await.unwrap(), "the first");
}
