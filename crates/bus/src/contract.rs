//! Contract suite for all buses.

mod control;
mod forgeries;
mod quotas;
mod tenants;

use std::{path::PathBuf, sync::Arc};

use frontdesk_test_support::{PATIENCE, Redis as RedisServer, RedisCluster, Servers, free_port};
use tokio::time::timeout;

use control::a_control_message_reaches_every_node;
use quotas::accounts_are_told_one_by_one;
use tenants::i15_the_same_id_in_two_tenants_is_two_people;

use super::{Bus, BusEvent, BusEvents, ControlMessage, one_node::OneNode, redis::Redis};
use crate::{
    broadcast::{Broadcast, Room},
    cluster::tests::secret,
    counts::BusCounts,
    redis::config::{RedisConfig, RedisServers},
};
use model::{
    ids::{SessionId, TenantId},
    person::{Person, Side},
};
use platform::{new_id, tasks::Tasks, tls::Tls};
use protocol::Framing;

/// Two nodes on one bus. On the bus of one node, both are the same.
struct World {
    speaker: Arc<dyn Bus>,
    listener: Arc<dyn Bus>,
    heard: BusEvents,
    _cluster: Option<RedisCluster>,
}

fn local(port: u16) -> (String, u16) {
    ("127.0.0.1".to_owned(), port)
}

async fn redis(port: u16) -> (Arc<dyn Bus>, BusEvents) {
    open(RedisServers::One(local(port))).await
}

async fn open(servers: RedisServers) -> (Arc<dyn Bus>, BusEvents) {
    open_as(&new_node(), &config(servers, None)).await
}

/// Opens a node with this name.
async fn open_as(node: &str, config: &RedisConfig) -> (Arc<dyn Bus>, BusEvents) {
    let secret = Arc::new(secret(node));
    let (bus, events) =
        Redis::open(config, secret, BusCounts::default(), &Tasks::default()).await.unwrap();
    (Arc::new(bus), events)
}

fn new_node() -> String {
    new_id().simple().to_string().split_off(20)
}

/// Node on a cluster, configured with one of its servers.
async fn clustered(cluster: &RedisCluster) -> (Arc<dyn Bus>, BusEvents) {
    open(RedisServers::Cluster(vec![local(cluster.nodes[1].port)])).await
}

impl World {
    async fn on_redis() -> Self {
        let port = Servers::get().await.redis_port;
        let (speaker, _) = redis(port).await;
        let (listener, heard) = redis(port).await;
        Self { speaker, listener, heard, _cluster: None }
    }

    async fn on_redis_cluster() -> Self {
        let cluster = RedisCluster::start().await;
        let (speaker, _) = clustered(&cluster).await;
        let (listener, heard) = clustered(&cluster).await;
        Self { speaker, listener, heard, _cluster: Some(cluster) }
    }

    /// The speaker has the servers' address in its configuration, the listener their name.
    async fn on_encrypted_cluster() -> Self {
        let (certificate, key) = identity().await;
        let cluster = RedisCluster::start_encrypted(&certificate, &key).await;
        let open = async |host: &str| {
            let nodes = cluster.encrypted_ports.iter().map(|port| (host.to_owned(), *port));
            let servers = RedisServers::Cluster(nodes.collect());
            let ca_file = Some(certificate.clone());
            let config = RedisConfig { tls: Tls::Required, ca_file, ..config(servers, None) };
            open_as(&new_node(), &config).await
        };
        let ((speaker, _), (listener, heard)) = (open("127.0.0.1").await, open("localhost").await);
        Self { speaker, listener, heard, _cluster: Some(cluster) }
    }

    fn on_one_node() -> Self {
        let (bus, heard) = OneNode::open(BusCounts::default());
        let bus: Arc<dyn Bus> = Arc::new(bus);
        Self { speaker: Arc::clone(&bus), listener: bus, heard, _cluster: None }
    }

    async fn hear(&mut self) -> String {
        hear(&mut self.heard).await
    }
}

/// Next broadcast, as clients see it.
async fn hear(events: &mut BusEvents) -> String {
    loop {
        match timeout(PATIENCE, events.recv()).await.expect("nothing is heard").unwrap() {
            BusEvent::Received(broadcast) => return broadcast.text(Framing::Native).to_string(),
            BusEvent::Control(_) | BusEvent::Interrupted => {}
        }
    }
}

fn room() -> Room {
    Room::Session(TenantId::MAIN.session(SessionId(new_id())))
}

fn config(servers: RedisServers, password: Option<&str>) -> RedisConfig {
    let password = password.map(|password| password.to_owned().into());
    RedisConfig { servers, user: None, password, tls: Tls::Off, ca_file: None }
}

/// Sample broadcast for a room: a typing event of the person with this number.
fn say(room: &Room, number: usize) -> Broadcast {
    let Room::Session(key) = room else { panic!("not a session's room") };
    let who = Person::new(TenantId::MAIN, Side::Desk, number.to_string().parse().unwrap());
    Broadcast::typing(key.id, &who, true)
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod on_redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::on_redis().await).await;
            })*
        }
        mod on_redis_cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::on_redis_cluster().await).await;
            })*
        }
        mod on_one_node {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::on_one_node()).await;
            })*
        }
    };
}

contract!(
    what_is_said_in_a_room_is_heard_in_its_order,
    what_is_said_elsewhere_is_not_heard,
    subscribing_again_is_harmless,
    many_rooms_are_subscribed_to_at_once,
    whoever_is_connected_is_present,
    accounts_are_told_one_by_one,
    a_control_message_reaches_every_node,
    i15_the_same_id_in_two_tenants_is_two_people,
);

async fn what_is_said_in_a_room_is_heard_in_its_order(mut world: World) {
    let rooms = [room(), room()];
    world.listener.subscribe(&rooms).await.unwrap();
    let said: Vec<_> = (0..600).map(|n| (n, &rooms[n % 2])).collect();
    for (n, room) in &said {
        world.speaker.publish(say(room, *n));
    }
    let mut heard = Vec::new();
    for _ in &said {
        heard.push(world.hear().await);
    }
    // On a cluster the order holds within one room only.
    for room in &rooms {
        let said = said.iter().filter(|(_, said_in)| *said_in == room);
        let said: Vec<_> =
            said.map(|(n, room)| say(room, *n).text(Framing::Native).to_string()).collect();
        let Room::Session(key) = room else { panic!("not a session's room") };
        let heard: Vec<_> =
            heard.iter().filter(|text| text.contains(&key.id.0.to_string())).collect();
        assert_eq!(heard, said.iter().collect::<Vec<_>>());
    }
    world.speaker.flush().await;
    world.listener.ping().await.unwrap();
}

async fn what_is_said_elsewhere_is_not_heard(mut world: World) {
    let (mine, left, foreign) = (room(), room(), room());
    world.listener.subscribe(&[mine.clone(), left.clone()]).await.unwrap();
    world.listener.unsubscribe(std::slice::from_ref(&left)).await.unwrap();
    for (n, room) in [&left, &foreign, &mine].into_iter().enumerate() {
        world.speaker.publish(say(room, n));
    }
    assert_eq!(world.hear().await, say(&mine, 2).text(Framing::Native).as_str());
}

async fn subscribing_again_is_harmless(mut world: World) {
    let room = room();
    for _ in 0..2 {
        world.listener.subscribe(std::slice::from_ref(&room)).await.unwrap();
    }
    world.speaker.publish(say(&room, 1));
    world.speaker.publish(say(&room, 2));
    assert_eq!(world.hear().await, say(&room, 1).text(Framing::Native).as_str());
    assert_eq!(world.hear().await, say(&room, 2).text(Framing::Native).as_str());
}

async fn many_rooms_are_subscribed_to_at_once(mut world: World) {
    // The rooms have different slots.
    let rooms: Vec<_> = (0..300).map(|_| room()).collect();
    world.listener.subscribe(&rooms).await.unwrap();
    for (n, room) in rooms.iter().enumerate() {
        world.speaker.publish(say(room, n));
    }
    let mut heard = Vec::new();
    for _ in &rooms {
        heard.push(world.hear().await);
    }
    // The order holds within one room only.
    heard.sort_unstable();
    let said = rooms.iter().enumerate();
    let mut said: Vec<_> =
        said.map(|(n, room)| say(room, n).text(Framing::Native).to_string()).collect();
    said.sort_unstable();
    assert_eq!(heard, said);
    world.listener.unsubscribe(&rooms).await.unwrap();
}

async fn whoever_is_connected_is_present(world: World) {
    let person = |n: usize| {
        let id = format!("{n}-{}", new_id().simple());
        Person::new(TenantId::MAIN, Side::Contact, id.parse().unwrap())
    };
    let people: Vec<_> = (0..20).map(person).collect();
    let (here, away) = people.split_at(10);
    world.speaker.register_node(([127, 0, 0, 1], 1).into(), None).await.unwrap();
    world.speaker.mark_online(here).await.unwrap();
    let mut expected = vec![true; 10];
    expected.extend([false; 10]);
    assert_eq!(world.listener.are_online(&people).await.unwrap(), expected);
    world.speaker.mark_offline(here).await.unwrap();
    assert_eq!(world.listener.are_online(here).await.unwrap(), vec![false; 10]);
    assert_eq!(world.listener.are_online(away).await.unwrap(), vec![false; 10]);
}

#[tokio::test]
async fn a_redis_that_asks_for_a_password_gets_it() {
    let server = RedisServer::start_with(&["--requirepass", "a secret"]).await;
    let servers = RedisServers::One(local(server.port));
    let wrong = config(servers.clone(), None);
    let right = config(servers, Some("a secret"));
    let (node, _) = open_as(&new_node(), &right).await;
    node.ping().await.unwrap();
    let (node, _) = open_as(&new_node(), &wrong).await;
    assert!(node.ping().await.is_err());
}

/// Certificate and key of the test servers.
async fn identity() -> (PathBuf, PathBuf) {
    let certificate = &Servers::get().await.certificate;
    (certificate.clone(), certificate.with_file_name("postgres").join("server.key"))
}

#[tokio::test]
async fn a_cluster_may_be_spoken_to_over_tls() {
    many_rooms_are_subscribed_to_at_once(World::on_encrypted_cluster().await).await;
}

#[tokio::test]
async fn over_tls_only_an_authority_that_is_trusted_vouches_for_redis() {
    let (certificate, key) = identity().await;
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let port = free_port();
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let unknown =
        RedisConfig { tls: Tls::Required, ..config(RedisServers::One(local(port)), None) };
    let trusted = RedisConfig { ca_file: Some(certificate.into()), ..unknown.clone() };
    let (node, mut heard) = open_as(&new_node(), &trusted).await;
    let room = room();
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    node.publish(say(&room, 1));
    assert_eq!(hear(&mut heard).await, say(&room, 1).text(Framing::Native).as_str());
    assert!(Redis::probe(&trusted).await.unwrap().starts_with("Redis "));
    let problem = format!("{:#}", Redis::probe(&unknown).await.unwrap_err());
    assert!(problem.contains("InvalidCertificate"), "{problem}");
    let plain = config(RedisServers::One(local(port)), None);
    assert!(Redis::probe(&plain).await.is_err(), "it speaks TLS only");

    // Without a setting, TLS is found and verified.
    let preferred = RedisConfig { tls: Tls::Preferred, ..trusted };
    let (other, _events) = open_as(&new_node(), &preferred).await;
    other.publish(say(&room, 2));
    assert_eq!(hear(&mut heard).await, say(&room, 2).text(Framing::Native).as_str());
    assert!(Redis::probe(&preferred).await.unwrap().ends_with(", TLS"));
    let unverified = RedisConfig { tls: Tls::Preferred, ..unknown };
    let problem = format!("{:#}", Redis::probe(&unverified).await.unwrap_err());
    assert!(problem.contains("InvalidCertificate"), "{problem}");
}

#[tokio::test]
async fn a_redis_without_tls_is_spoken_to_in_plain_text_where_nothing_is_set() {
    let server = RedisServer::start().await;
    let plain = config(RedisServers::One(local(server.port)), None);
    let preferred = RedisConfig { tls: Tls::Preferred, ..plain };
    assert!(Redis::probe(&preferred).await.unwrap().ends_with(", plain text"));
    let (node, mut heard) = open_as(&new_node(), &preferred).await;
    let room = room();
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    node.publish(say(&room, 1));
    assert_eq!(hear(&mut heard).await, say(&room, 1).text(Framing::Native).as_str());
    let insisting = RedisConfig { tls: Tls::Required, ..preferred };
    assert!(Redis::probe(&insisting).await.is_err());
}

#[tokio::test]
async fn i4_a_node_hears_itself_from_the_bus() {
    let (node, mut heard) = redis(Servers::get().await.redis_port).await;
    let room = room();
    node.publish(say(&room, 1));
    node.flush().await;
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    node.publish(say(&room, 2));
    assert_eq!(hear(&mut heard).await, say(&room, 2).text(Framing::Native).as_str());
}

#[tokio::test]
async fn f9_a_subscriber_that_is_cut_off_says_so_and_comes_back() {
    let server = RedisServer::start().await;
    let (node, mut heard) = redis(server.port).await;
    let room = room();
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    while heard.try_recv().is_ok() {}
    server.cut_subscribers().await;
    let interrupted = timeout(PATIENCE, heard.recv()).await.expect("it never says so").unwrap();
    assert!(matches!(interrupted, BusEvent::Interrupted));
    node.subscribe(std::slice::from_ref(&room)).await.unwrap();
    node.publish(say(&room, 3));
    assert_eq!(hear(&mut heard).await, say(&room, 3).text(Framing::Native).as_str());
}

#[tokio::test]
async fn f7_f8_a_redis_that_is_away_or_hangs_holds_nobody_up() {
    let mut server = RedisServer::start().await;
    let (node, mut heard) = redis(server.port).await;
    for hang in [true, false] {
        if hang {
            server.hang();
        } else {
            server.kill().await;
        }
        let started = std::time::Instant::now();
        (0..100).for_each(|n| node.publish(say(&room(), n)));
        assert!(started.elapsed().as_millis() < 500, "saying something waits for nobody");
        assert!(node.subscribe(&[room()]).await.is_err());
        assert!(node.ping().await.is_err());
        assert!(started.elapsed() < PATIENCE, "every wait is bounded");
        if hang {
            server.resume();
        } else {
            server.revive().await;
        }
        let room = room();
        let back = async {
            while node.subscribe(std::slice::from_ref(&room)).await.is_err() {}
            node.publish(say(&room, 1));
            hear(&mut heard).await
        };
        assert_eq!(
            timeout(PATIENCE, back).await.unwrap(),
            say(&room, 1).text(Framing::Native).as_str()
        );
    }
}
