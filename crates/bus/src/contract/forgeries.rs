//! Values in Redis count only if a node of the cluster signed them.

use std::{sync::Arc, time::Duration};

use frontdesk_test_support::unique;

use super::{
    Bus, Framing, Person, RedisServer, RedisServers, Side, config, hear, local, new_node, open_as,
    room, say,
};
use crate::cluster::STAMP;
use model::ids::TenantId;

async fn named(node: &str, server: &RedisServer) -> (Arc<dyn Bus>, super::BusEvents) {
    open_as(node, &config(RedisServers::One(local(server.port)), None)).await
}

/// Value in the reply to a command, without its length.
fn text(answer: &str) -> String {
    answer.split("\r\n").nth(1).expect("there is an answer").to_owned()
}

#[tokio::test]
async fn c14_what_no_node_has_said_is_not_heard() {
    let server = RedisServer::start().await;
    let ((node, mut heard), room) = (named(&new_node(), &server).await, room());
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    for forged in [String::new(), format!(r#","seal":"{}""#, "0".repeat(STAMP))] {
        let envelope = format!(r#"{{"v":1,"event":"typing","data":{{}}{forged}}}"#);
        let quoted = serde_json::to_string(&envelope).unwrap();
        let told = server.command(&format!("PUBLISH {room} {quoted}")).await;
        assert_eq!(told.trim(), ":1", "the node subscribes");
    }
    node.publish(say(&room, 7));
    assert_eq!(hear(&mut heard).await, say(&room, 7).text(Framing::Native).as_str());
}

#[tokio::test]
async fn c14_an_address_counts_where_the_node_has_signed_it() {
    let server = RedisServer::start().await;
    let (name, other) = (new_node(), new_node());
    let ((one, _), (two, _)) = (named(&name, &server).await, named(&other, &server).await);
    let (plain, tls) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
    one.register_node(plain, Some(tls)).await.unwrap();
    let known = two.node_address(&name).await.unwrap().unwrap();
    assert_eq!((known.address, known.tls, known.is_signed), (plain, Some(tls), true));
    let signed = text(&server.command(&format!("GET frontdesk:peer:{name}")).await);
    let (_, stamp) = signed.split_once(' ').unwrap();
    for forged in [format!("203.0.113.9:1 {stamp}"), "203.0.113.9:1".to_owned()] {
        server.command(&format!("SET frontdesk:peer:{name} \"{forged}\"")).await;
        server.command(&format!("SET frontdesk:node:{name} 203.0.113.9:1")).await;
        assert_eq!(two.node_address(&name).await.unwrap(), None, "{forged}");
    }
    // Record of one node under the key of another.
    server.command(&format!("SET frontdesk:peer:{other} \"{signed}\"")).await;
    assert_eq!(one.node_address(&other).await.unwrap(), None);
}

#[tokio::test]
async fn c14_nobody_is_here_whom_no_node_has_noted() {
    let server = RedisServer::start().await;
    let name = new_node();
    let ((one, _), (two, _)) = (named(&name, &server).await, named(&new_node(), &server).await);
    let person = || Person::new(TenantId::MAIN, Side::Contact, unique("p").parse().unwrap());
    let people = [person(), person()];
    one.register_node(([127, 0, 0, 1], 1).into(), None).await.unwrap();
    one.mark_online(&people[..1]).await.unwrap();
    let stamp = server.command(&format!("HGET frontdesk:here:{} {name}", people[0])).await;
    for forged in [text(&stamp), "x".repeat(STAMP)] {
        server.command(&format!("HSET frontdesk:here:{} {name} {forged}", people[1])).await;
        assert_eq!(two.are_online(&people).await.unwrap(), [true, false]);
    }
    server.command(&format!("SADD frontdesk:present:{} {name}", people[1])).await;
    assert_eq!(two.are_online(&people).await.unwrap(), [true, false]);
}

#[tokio::test]
async fn c14_places_that_no_node_holds_do_not_count() {
    let server = RedisServer::start().await;
    let ((one, _), (two, _)) =
        (named(&new_node(), &server).await, named(&new_node(), &server).await);
    let hold = async |node: &Arc<dyn Bus>, account: &str, count: u32| {
        node.report_slots(&[(account.to_owned(), count)]).await.unwrap()[0]
    };
    assert_eq!(hold(&one, "user:a", 2).await, 0);
    let until = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(15);
    let forged = format!("{}:1000:{}", until.as_secs(), "x".repeat(STAMP));
    server.command(&format!("HSET frontdesk:slots:user:a forged {forged}")).await;
    assert_eq!(hold(&two, "user:a", 1).await, 2);
    let noted = server.command("HVALS frontdesk:slots:user:a").await;
    assert!(noted.starts_with("*3"), "it is not there, so nothing was tried: {noted}");
}
