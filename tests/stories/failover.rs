//! Failovers that leave open connections to the old server.

use std::time::Duration;

use frontdesk_test_support::{
    Client, Desk, Http, Person, Postgres, Redis, Relay, Servers, eventually, unique,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{FRONTDESK, cluster::typing_is_heard, people::new_customer, seqs};

/// Time limit for a message that the bus lost.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

/// Value of a line in a node's metrics.
async fn metric(desk: &Desk, node: usize, line: &str) -> u64 {
    let metrics = Http::new(desk.nodes[node].address, None).get("/metrics").await.text;
    let value = metrics.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {line}")).parse().unwrap()
}

async fn health(desk: &Desk, node: usize) -> Value {
    Http::new(desk.nodes[node].address, None).get("/health").await.body
}

async fn is_ready(desk: &Desk, node: usize) -> bool {
    Http::new(desk.nodes[node].address, None).get("/health/ready").await.status == 200
}

async fn is_well(desk: &Desk) {
    for node in 0..desk.nodes.len() {
        eventually("health is ok", async || health(desk, node).await["status"] == "ok").await;
    }
}

/// Checks that health, log and metrics of a node report that Redis refuses writes, with the reason.
async fn says_that_redis_refuses(desk: &Desk, node: usize, code: &str) {
    eventually("health reports the reason", async || {
        let health = health(desk, node).await;
        let reason = health["reasons"]["redis"].as_str().unwrap_or_default().to_owned();
        health["services"]["redis"] == "down" && reason.contains(code)
    })
    .await;
    assert_eq!(health(desk, node).await["status"], "degraded");
    assert!(is_ready(desk, node).await, "the node must stay ready");
    let refused = "frontdesk_bus_interruptions_total{reason=\"refused\"}";
    eventually("the interruption is counted", async || metric(desk, node, refused).await > 0).await;
    let told = |line: &String| line.contains("bus interrupted") && line.contains(code);
    eventually("the log reports the reason", async || desk.nodes[node].log().iter().any(told))
        .await;
}

struct Talk {
    patient: Client,
    doctor: Client,
    people: [Person; 2],
    session: String,
}

impl Talk {
    /// Two people on different nodes who see each other's presence.
    async fn on(desk: &Desk) -> Self {
        let (customer, dentist, session) = desk.acquaintances().await;
        let mut patient = desk.connect(0, &customer).await;
        let mut doctor = desk.connect(1, &dentist).await;
        for client in [&mut patient, &mut doctor] {
            client.patience = Duration::from_secs(40);
            client.join(&session, None).await;
        }
        let mut talk = Self { patient, doctor, people: [customer, dentist], session };
        talk.is_live().await;
        talk
    }

    /// Checks that the bus works in both directions; the head check alone would not deliver typing.
    async fn is_live(&mut self) {
        typing_is_heard(&mut self.patient, &mut self.doctor, &self.session).await;
        typing_is_heard(&mut self.doctor, &mut self.patient, &self.session).await;
    }

    async fn a_message_arrives(&mut self) {
        let sent = self.patient.send(&self.session, &unique("key"), "are you there?").await;
        let heard = timeout(FOUND_WITHIN, self.doctor.message()).await.expect("not within 5 s");
        assert_eq!(heard, sent);
    }

    /// Waits until both people are registered in this Redis by the nodes of their connections.
    async fn is_noted(&self, redis: &Redis) {
        for Person { kind, id, .. } in &self.people {
            eventually("the person is registered", async || {
                redis.command(&format!("HLEN frontdesk:here:{kind}:{id}")).await == ":1\r\n"
            })
            .await;
        }
    }
}

async fn is_replica_of(redis: &Redis, master: &Redis) {
    redis.command(&format!("REPLICAOF 127.0.0.1 {}", master.port)).await;
    eventually("the replica is connected", async || {
        redis.command("ROLE").await.contains("connected")
    })
    .await;
}

async fn nobody_subscribes(redis: &Redis) {
    eventually("no node is subscribed", async || {
        redis.command("PUBSUB CHANNELS frontdesk:*").await.starts_with("*0")
    })
    .await;
}

#[tokio::test]
async fn f15_open_connections_to_a_redis_that_became_a_replica_are_made_anew() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    let way = Relay::start(old.port).await;
    let desk = Desk::cluster_with(FRONTDESK, 2, way.port, &[]).await;
    let mut talk = Talk::on(&desk).await;

    // The server is a replica for a while, and a master again; no connection ends.
    is_replica_of(&old, &new).await;
    for node in [0, 1] {
        says_that_redis_refuses(&desk, node, "READONLY").await;
    }
    talk.a_message_arrives().await;
    old.command("REPLICAOF NO ONE").await;
    is_well(&desk).await;
    talk.is_live().await;
    talk.is_noted(&old).await;
    // A master without replicas may refuse writes.
    old.command("CONFIG SET min-replicas-to-write 1").await;
    says_that_redis_refuses(&desk, 0, "NOREPLICAS").await;
    old.command("CONFIG SET min-replicas-to-write 0").await;
    is_well(&desk).await;

    // The name now points to another server, but open connections stay with the old one.
    is_replica_of(&old, &new).await;
    way.lead_new_to(new.port);
    nobody_subscribes(&old).await;
    is_well(&desk).await;
    talk.is_live().await;
    talk.is_noted(&new).await;
    // A connected person stays online, and a person who leaves goes offline.
    while let Some(presence) = talk.patient.try_event("presence").await {
        assert_eq!(presence["data"]["online"], true, "{presence}");
    }
    talk.doctor.socket.close(None).await.unwrap();
    while talk.patient.event("presence").await["online"] != false {}
}

#[tokio::test]
async fn f9_f15_a_subscriber_that_stays_with_another_redis_than_the_publisher_follows_it() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    let way = Relay::start(old.port).await;
    let desk = Desk::cluster_with(FRONTDESK, 2, way.port, &[]).await;
    let mut talk = Talk::on(&desk).await;
    way.lead_new_to(new.port);
    assert_ne!(
        old.command("CLIENT KILL TYPE normal").await.trim(),
        ":0",
        "there was no publishing connection"
    );
    nobody_subscribes(&old).await;
    is_well(&desk).await;
    talk.is_live().await;
    talk.is_noted(&new).await;
    let split = metric(&desk, 0, "frontdesk_bus_interruptions_total{reason=\"split\"}").await;
    assert!(split > 0, "the split was not counted");
}

#[tokio::test]
async fn f8_f15_a_redis_that_is_gone_without_a_word_is_left_for_the_next_one() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    let way = Relay::start(old.port).await;
    let desk = Desk::cluster_with(FRONTDESK, 2, way.port, &[]).await;
    let mut talk = Talk::on(&desk).await;
    way.lead_new_to(new.port);
    way.desert();
    talk.a_message_arrives().await;
    is_well(&desk).await;
    talk.is_live().await;
    talk.is_noted(&new).await;
}

#[tokio::test]
async fn f15_open_connections_to_a_postgres_that_only_reads_are_not_used_again() {
    let old = Postgres::start(60).await;
    let new = old.standby().await;
    let way = Relay::start(old.port).await;
    let (port, redis) = (way.port.to_string(), Servers::get().await.redis_port);
    let env = [("POSTGRES_PORT", port.as_str()), ("POSTGRES_DB", "postgres")];
    let desk = Desk::cluster_with(FRONTDESK, 2, redis, &env).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    patient.send(&session, "before", "x").await;
    let path = format!("/api/chats/{session}/messages?after=0");
    let histories = || [0, 1, 0, 1].map(|node| (desk.http(node, &dentist), path.clone()));
    let read = async || {
        let reading = histories().map(async |(http, path)| http.get(&path).await);
        join_all(reading).await
    };
    // Each node has several connections for reads.
    for reply in read().await {
        assert_eq!(seqs(&reply.expect(200)["items"]), [1]);
    }
    let copied = new.database().client().await;
    eventually("the standby has the message", async || {
        let rows = copied.query_one("select count(*) from messages", &[]).await;
        rows.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    })
    .await;
    new.promote().await;
    old.demote().await;
    // The nodes detect it without a write, and none is ready while the name points to the old server.
    for node in [0, 1] {
        eventually("the node is not ready", async || !is_ready(&desk, node).await).await;
        eventually("health reports the reason", async || {
            let health = health(&desk, node).await;
            let reason = health["reasons"]["postgres"].as_str().unwrap_or_default().to_owned();
            health["status"] == "down" && reason.contains("it is read-only")
        })
        .await;
        let told = |line: &String| line.contains("PostgreSQL refuses writes");
        assert!(desk.nodes[node].log().iter().any(told), "the log does not report it");
    }
    way.lead_new_to(new.port);
    for node in [0, 1] {
        eventually("the node is ready", async || is_ready(&desk, node).await).await;
    }
    assert_eq!(patient.send(&session, "after", "y").await["seq"], 2);
    for reply in read().await {
        assert_eq!(
            seqs(&reply.expect(200)["items"]),
            [1, 2],
            "a read was answered by the old server"
        );
    }
    eventually("no connection to the old server is left", async || {
        desk.http(0, &dentist).get("/api/chats/search?q=y").await.expect(200);
        desk.http(1, &dentist).get("/api/chats/search?q=y").await.expect(200);
        old.connections_of_nodes().await == 0
    })
    .await;
}

#[tokio::test]
async fn f18_connections_to_a_mysql_that_is_gone_without_a_word_fail_once() {
    let legacy = Servers::get().await.mysql_database();
    let way = Relay::start(legacy.port).await;
    let port = way.port.to_string();
    let desk = Desk::embedded_with(FRONTDESK, &legacy.variables(&port)).await;
    let token = desk.issuer.customer(&new_customer(&legacy, "Ada").await);
    let http = Http::new(desk.nodes[0].address, Some(&token));
    let look_up = async || {
        let with = json!({ "dentistId": unique("nobody") });
        http.post("/api/chats", &with).await.body["code"].as_str().unwrap_or_default().to_owned()
    };
    // Several look-ups at once open several connections.
    let found = join_all((0..5).map(|_| look_up())).await;
    assert!(found.iter().all(|code| code == "person_not_found"), "{found:?}");
    way.desert();
    eventually("look-ups use new connections", async || look_up().await == "person_not_found")
        .await;
    for _ in 0..5 {
        assert_eq!(look_up().await, "person_not_found");
    }
    let failed = metric(&desk, 0, "frontdesk_directory_lookups_total{outcome=\"failed\"}").await;
    assert!(failed <= 1, "{failed} look-ups failed: each dead connection cost one");
    eventually("health is ok", async || health(&desk, 0).await["services"]["mysql"] == "up").await;
}
