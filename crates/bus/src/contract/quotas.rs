//! Contract of debts and connection slots on the bus.

use std::{sync::Arc, time::Duration};

use frontdesk_test_support::{PATIENCE, unique};
use tokio::time::timeout;

use super::{RedisServer, Servers, World, redis};
use crate::{Bus, Usage};

fn usage(account: &str, millis: u64) -> Usage {
    let (used, owed_max) = (Duration::from_millis(millis), Duration::from_secs(100));
    Usage { account: account.to_owned(), used, owed_max }
}

pub(super) async fn accounts_are_told_one_by_one(world: World) {
    let (mine, other) = (unique("user:a"), unique("user:b"));
    let owed = world.speaker.report_usage(&[usage(&mine, 1), usage(&other, 2)]).await.unwrap();
    assert_eq!(owed.len(), 2);
    let held = [(mine, 1), (other, 0)];
    assert_eq!(world.speaker.report_slots(&held).await.unwrap(), [0, 0], "there are no others");
}

#[tokio::test]
async fn what_is_used_on_two_nodes_is_owed_on_both() {
    let port = Servers::get().await.redis_port;
    let ((one, _), (two, _)) = (redis(port).await, redis(port).await);
    let account = unique("send:user");
    one.report_usage(&[usage(&account, 20_000)]).await.unwrap();
    let owed = two.report_usage(&[usage(&account, 30_000)]).await.unwrap()[0];
    // The debt decreases as time passes.
    let about = Duration::from_secs(10)..=Duration::from_secs(50);
    assert!(about.contains(&owed), "{owed:?}");
    let most = one.report_usage(&[usage(&account, 500_000)]).await.unwrap()[0];
    assert_eq!(most, Duration::from_secs(100), "no account is closed for ever");
}

#[tokio::test]
async fn an_account_that_owes_nothing_is_forgotten() {
    let server = RedisServer::start().await;
    let (node, _) = redis(server.port).await;
    node.report_usage(&[usage("a", 1)]).await.unwrap();
    node.report_slots(&[("a".to_owned(), 3)]).await.unwrap();
    node.report_slots(&[("a".to_owned(), 0)]).await.unwrap();
    let forgotten = async { while server.command("DBSIZE").await.trim() != ":0" {} };
    timeout(PATIENCE, forgotten).await.expect("something stays");
}

#[tokio::test]
async fn f1_f30_places_of_other_nodes_count_while_their_note_holds() {
    let server = RedisServer::start().await;
    let ((one, _), (two, _)) = (redis(server.port).await, redis(server.port).await);
    let hold = async |node: &Arc<dyn Bus>, count: u32| {
        node.report_slots(&[("user:a".to_owned(), count)]).await.unwrap()[0]
    };
    assert_eq!(hold(&one, 2).await, 0);
    assert_eq!(hold(&two, 3).await, 2);
    assert_eq!(hold(&one, 1).await, 3, "the latest note counts");
    assert_eq!(hold(&two, 0).await, 1);
    // Expired field, as a killed node leaves it.
    server.command("HSET frontdesk:slots:user:a killed 1:7:x").await;
    assert_eq!(hold(&two, 1).await, 1);
    assert_eq!(server.command("HEXISTS frontdesk:slots:user:a killed").await.trim(), ":0");
}
