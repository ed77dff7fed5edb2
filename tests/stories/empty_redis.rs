//! A Redis that comes back empty: the nodes restore their entries.

use std::time::Duration;

use frontdesk_test_support::{Client, Desk, Http, OneSignal, Person, Redis, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::FRONTDESK;

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

async fn connected(desk: &Desk, node: usize, person: &Person, session: &str) -> Client {
    let mut client = desk.connect(node, person).await;
    client.join(session, None).await;
    // Longer than two presence checks, which are needed to detect an absence.
    client.patience = Duration::from_secs(30);
    client
}

/// Checks that no offline event arrives for some time.
async fn stays_here(client: &mut Client) {
    while let Some(presence) = client.try_event("presence").await {
        assert_eq!(presence["data"]["online"], true, "{presence}");
    }
}

/// Waits for the entries of both nodes and both people.
async fn is_noted_again(redis: &Redis, people: [&Person; 2]) {
    eventually("all entries are restored", async || {
        let nodes = redis.command("KEYS frontdesk:peer:*").await;
        let mut noted = nodes.starts_with("*2");
        for Person { kind, id, .. } in people {
            noted &= redis.command(&format!("HLEN frontdesk:here:{kind}:{id}")).await == ":1\r\n";
        }
        noted
    })
    .await;
}

async fn typing_is_heard(typist: &mut Client, reader: &mut Client, session: &str) {
    eventually("typing is received", async || {
        typist.say("typing:start", &json!({ "sessionId": session })).await;
        timeout(Duration::from_millis(300), reader.event("typing")).await.is_ok()
    })
    .await;
}

/// Opens a Socket.IO session on one node, and connects through the other.
async fn polls_are_carried(desk: &Desk, from: usize, to: usize, token: &str) {
    let opened = Http::new(desk.nodes[to].address, None).get(POLL).await;
    let open: Value = serde_json::from_str(opened.text.strip_prefix('0').unwrap()).unwrap();
    let path = format!("{POLL}&sid={}", open["sid"].as_str().unwrap());
    let carrier = Http::new(desk.nodes[from].address, None);
    let text = [("content-type", "text/plain;charset=UTF-8")];
    let enter = format!("40{}", json!({ "token": token }));
    let entered = carrier.send(Method::POST, &path, Some(enter), &text).await;
    assert_eq!(entered.text, "ok", "node {from} does not know where node {to} is");
    assert!(carrier.get(&path).await.text.starts_with("40"));
}

#[tokio::test]
async fn f10_a_redis_that_comes_back_empty_is_told_everything_again() {
    let (service, mut redis) = (OneSignal::start().await, Redis::start().await);
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &service.variables()).await;
    let (customer, dentist, session) = desk.pair().await;
    let database = desk.database.as_ref().unwrap().client().await;
    let mut patient = connected(&desk, 0, &customer, &session).await;
    let mut doctor = connected(&desk, 1, &dentist, &session).await;
    // Each receives the other's presence once the other has written.
    for (client, body) in [(&mut patient, "x"), (&mut doctor, "y")] {
        client.send(&session, "greeting", body).await;
    }
    for client in [&mut patient, &mut doctor] {
        while client.event("presence").await["online"] != true {}
    }
    let spared = "delete from jobs where error = 'connected'";
    let mut found = 0;
    eventually("both count as connected", async || {
        found += database.execute(spared, &[]).await.unwrap();
        found == 2
    })
    .await;
    // First with a restart, which closes connections, then with a flush.
    for is_restarted in [true, false] {
        if is_restarted {
            redis.kill().await;
            redis.revive().await;
        } else {
            redis.command("FLUSHALL").await;
        }
        is_noted_again(&redis, [&customer, &dentist]).await;
        // This direction between the nodes was not used before.
        let (from, to) = if is_restarted { (0, 1) } else { (1, 0) };
        polls_are_carried(&desk, from, to, &desk.customer().token).await;
        typing_is_heard(&mut patient, &mut doctor, &session).await;
        typing_is_heard(&mut doctor, &mut patient, &session).await;
        tokio::join!(stays_here(&mut patient), stays_here(&mut doctor));
        patient.send(&session, &is_restarted.to_string(), "x").await;
        eventually("the dentist counts as connected", async || {
            database.execute(spared, &[]).await.unwrap() == 1
        })
        .await;
    }
    for person in [&customer, &dentist] {
        assert!(service.made_to(&person.id).is_empty(), "a connected person got a push");
    }
}
