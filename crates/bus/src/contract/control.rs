//! Contract of the control channel.

use std::{sync::Arc, time::Duration};

use frontdesk_test_support::{PATIENCE, eventually, unique};
use tokio::time::timeout;

use super::{
    Bus, BusCounts, BusEvent, BusEvents, ControlMessage, Framing, Person, Redis, RedisServer,
    RedisServers, Room, Servers, Side, World, config, local, new_node, redis, room, say, secret,
};
use crate::{ControlChannel, cluster::STAMP};
use model::ids::TenantId;
use platform::tasks::Tasks;

fn life_expected(person: &Person) -> ControlMessage {
    ControlMessage::LifeExpected { person: person.clone() }
}

fn person() -> Person {
    Person::new(TenantId::MAIN, Side::Contact, unique("p").parse().unwrap())
}

/// Sends a control message until it is received, because a subscription that is just being made misses it.
async fn arrives(from: &dyn Bus, events: &mut BusEvents) {
    let message = life_expected(&person());
    let received = async {
        loop {
            from.send_control(message.clone());
            let next = timeout(Duration::from_millis(100), events.recv()).await;
            // Other tests use the same channel.
            if matches!(next, Ok(Some(BusEvent::Control(next))) if next == message) {
                return;
            }
        }
    };
    timeout(PATIENCE, received).await.expect("no control message arrives");
}

pub(super) async fn a_control_message_reaches_every_node(mut world: World) {
    arrives(&*world.speaker, &mut world.heard).await;
    let message = ControlMessage::BlocksChanged { person: person() };
    world.speaker.send_control(message.clone());
    let received = async {
        loop {
            if let BusEvent::Control(next) = world.heard.recv().await.unwrap()
                && next == message
            {
                return;
            }
        }
    };
    timeout(PATIENCE, received).await.expect("it is not received");
}

#[tokio::test]
async fn i19_no_task_fails_when_a_drain_has_ended_the_receiver_of_events() {
    let port = Servers::get().await.redis_port;
    let (tasks, counts) = (Tasks::default(), BusCounts::default());
    let config = config(RedisServers::One(local(port)), None);
    let secret = Arc::new(secret(&new_node()));
    let (bus, mut events) = Redis::open(&config, secret, counts.clone(), &tasks).await.unwrap();
    arrives(&bus, &mut events).await;
    drop(events);
    // The subscriber reads a message that nobody receives.
    let before = counts.heard.get();
    eventually("a message is read", async || {
        bus.send_control(life_expected(&person()));
        counts.heard.get() > before
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(tasks.failed(), None);
}

#[tokio::test]
async fn i12_a_node_of_the_version_before_receives_a_control_message_in_its_room() {
    let port = Servers::get().await.redis_port;
    let ((node, _), (before, mut heard)) = (redis(port).await, redis(port).await);
    let person = person();
    before.subscribe(&[Room::User(person.clone())]).await.unwrap();
    node.send_control(life_expected(&person));
    let received = async {
        loop {
            if let BusEvent::Received(broadcast) = heard.recv().await.unwrap() {
                return broadcast;
            }
        }
    };
    let broadcast = timeout(PATIENCE, received).await.expect("it is not received");
    assert!(broadcast.is_for_nodes());
    assert_eq!(broadcast.to_bytes(), br#"{"v":0,"event":"life:expected","data":null}"#);
}

#[tokio::test]
async fn f9_a_subscriber_that_is_cut_off_receives_control_messages_again() {
    let server = RedisServer::start().await;
    let ((node, _), (other, mut heard)) = (redis(server.port).await, redis(server.port).await);
    arrives(&*node, &mut heard).await;
    server.cut_subscribers().await;
    while !matches!(heard.recv().await, Some(BusEvent::Interrupted)) {}
    arrives(&*node, &mut heard).await;
    other.ping().await.unwrap();
}

#[tokio::test]
async fn c14_a_control_message_that_no_node_has_sent_is_ignored() {
    let server = RedisServer::start().await;
    let (node, mut heard) = redis(server.port).await;
    arrives(&*node, &mut heard).await;
    while heard.try_recv().is_ok() {}
    for forged in [String::new(), format!(r#","seal":"{}""#, "0".repeat(STAMP))] {
        let person = r#"{"kind":"dentist","id":"7"}"#;
        let message = format!(r#"{{"kind":"life_expected","person":{person}{forged}}}"#);
        let quoted = serde_json::to_string(&message).unwrap();
        let published = server.command(&format!("PUBLISH frontdesk:control {quoted}")).await;
        assert_eq!(published.trim(), ":1", "the node subscribes");
    }
    // Redis delivers in order, so the forged messages came before this one.
    let room = room();
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    node.publish(say(&room, 1));
    let forged = Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap());
    loop {
        match timeout(PATIENCE, heard.recv()).await.expect("nothing is heard").unwrap() {
            BusEvent::Control(message) => assert_ne!(message, life_expected(&forged)),
            BusEvent::Received(broadcast) => {
                let expected = say(&room, 1);
                assert_eq!(broadcast.text(Framing::Native), expected.text(Framing::Native));
                return;
            }
            BusEvent::Interrupted => {}
        }
    }
}
