//! Faults, and their effect on users: no acknowledged message is lost.

use std::time::{Duration, Instant};

use frontdesk_test_support::{Client, Desk, Http, Redis, eventually};
use serde_json::json;
use tokio::time::timeout;

use crate::{FRONTDESK, one_node, seqs, two_nodes};

/// Time limit for a message that the bus lost.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

fn text(session: &str, key: &str) -> serde_json::Value {
    json!({ "sessionId": session, "clientId": key, "kind": "text", "body": "x" })
}

#[tokio::test]
async fn f1_f6_i13_a_node_is_killed_amid_sends_and_the_retries_elsewhere_make_one_row_each() {
    let mut desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let mut patient = desk.connect(0, &customer).await;
    for number in 0..200 {
        patient.ask("message:send", &text(&session, &number.to_string())).await;
    }
    let first = patient.any_answer().await["data"]["message"].clone();
    desk.nodes[0].kill().await;
    patient.closed().await;
    let mut acknowledged = vec![first];
    let answers = patient.answers_so_far();
    acknowledged.extend(answers.iter().map(|answer| answer["data"]["message"].clone()));

    let mut elsewhere = desk.connect(1, &customer).await;
    for number in 0..200 {
        elsewhere.send(&session, &number.to_string(), "x").await;
    }
    let mut heard = Vec::new();
    for seq in 1..=200 {
        let message = doctor.message().await;
        assert_eq!(message["seq"], seq, "each message arrives once, in order");
        heard.push(message);
    }
    for message in acknowledged {
        let seq = usize::try_from(message["seq"].as_u64().unwrap()).unwrap();
        assert_eq!(heard[seq - 1], message, "an acknowledged message changed");
    }
    let rows = "select count(*) from messages";
    let database = desk.database.as_ref().unwrap().client().await;
    assert_eq!(database.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), 200);
}

#[tokio::test]
async fn f7_without_redis_sends_are_acknowledged_and_heard_on_other_nodes_within_5_s() {
    let mut redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    for client in [&mut patient, &mut doctor] {
        client.join(&session, None).await;
    }
    redis.kill().await;
    for round in 1..=2 {
        let sent = patient.send(&session, &format!("down-{round}"), "are you there?").await;
        let heard = timeout(FOUND_WITHIN, doctor.message()).await.expect("not within 5 s");
        assert_eq!(heard, sent);
    }
    // A join during the outage works too.
    let mut late = timeout(FOUND_WITHIN, desk.connect(1, &customer)).await.unwrap();
    let joined = timeout(FOUND_WITHIN, late.join(&session, Some(0))).await.expect("no answer");
    assert_eq!(seqs(&joined["messages"]), [1, 2]);
    let anyone = Http::new(desk.nodes[1].address, None);
    eventually("health is degraded", async || {
        anyone.get("/health").await.body["status"] == "degraded"
    })
    .await;
    assert_eq!(anyone.get("/health").await.expect(200)["services"]["redis"], "down");
    assert_eq!(anyone.get("/health/ready").await.status, 200, "the node must stay ready");

    // F10: Redis comes back empty, and the nodes restore their state.
    redis.revive().await;
    eventually("health is ok", async || anyone.get("/health").await.body["status"] == "ok").await;
    let sent = patient.send(&session, "up", "and again").await;
    for client in [&mut doctor, &mut late] {
        assert_eq!(client.message().await, sent);
    }
    // Typing is never stored, so it proves that the subscriptions are back.
    eventually("typing is received", async || {
        patient.say("typing:start", &json!({ "sessionId": session })).await;
        timeout(Duration::from_millis(300), doctor.event("typing")).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn f8_a_redis_that_hangs_makes_no_acknowledgement_slower() {
    let redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    redis.hang();
    for number in 0..30 {
        let key = number.to_string();
        let sending = patient.send(&session, &key, "no matter");
        timeout(Duration::from_secs(1), sending).await.expect("the send waits for Redis");
    }
    for seq in 1..=30 {
        let heard = timeout(FOUND_WITHIN, doctor.message()).await.expect("not within 5 s");
        assert_eq!(heard["seq"], seq);
    }
    redis.resume();
    patient.send(&session, "back", "x").await;
    assert_eq!(doctor.message().await["seq"], 31);
}

#[tokio::test]
async fn f9_subscribers_that_are_cut_off_miss_nothing() {
    let redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    for round in 0..5 {
        redis.cut_subscribers().await;
        for number in 0..10 {
            patient.send(&session, &format!("{round}-{number}"), "x").await;
        }
        for number in 0..10 {
            let heard = timeout(FOUND_WITHIN, doctor.message()).await.expect("not within 5 s");
            assert_eq!(heard["seq"], round * 10 + number + 1);
        }
        eventually("the node has subscribed again", async || {
            patient.join(&session, None).await;
            patient.say("typing:start", &json!({ "sessionId": session })).await;
            timeout(Duration::from_millis(300), doctor.event("typing")).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn f13_f14_postgres_drops_every_connection_again_and_again_and_no_acknowledgement_is_false() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let admin = desk.database.as_ref().unwrap().client().await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
               where application_name = 'frontdesk' and datname = current_database()";
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let mut patient = desk.connect(0, &customer).await;
    let mut acknowledged = Vec::new();
    for round in 0..10 {
        let mut asked = Vec::new();
        for number in 0..40 {
            asked.push(
                patient.ask("message:send", &text(&session, &format!("{round}-{number}"))).await,
            );
        }
        admin.execute(cut, &[]).await.unwrap();
        for id in asked {
            let sent =
                patient.answer(id).await.expect("the node repeats the append until it succeeds");
            acknowledged.push(sent["message"]["seq"].as_u64().unwrap());
        }
    }
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=400).collect::<Vec<_>>());
    for seq in 1..=400 {
        assert_eq!(doctor.message().await["seq"], seq);
    }
}

#[tokio::test]
async fn f15_a_database_that_became_read_only_is_left_for_the_one_that_is_not() {
    let desk = two_nodes().await;
    let (customer, _, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    patient.send(&session, "before", "x").await;
    let database = desk.database.as_ref().unwrap();
    let admin = database.client().await;
    let read_only = format!(
        "alter database {} set default_transaction_read_only = true; \
         select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'frontdesk' and datname = current_database()",
        database.name
    );
    admin.batch_execute(&read_only).await.unwrap();
    let id = patient.ask("message:send", &text(&session, "during")).await;
    // Only the setting is reset, because a connection opened meanwhile would stay read-only.
    let back =
        format!("alter database {} set default_transaction_read_only = false", database.name);
    eventually("the node reports the read-only error", async || {
        desk.nodes[0].log().iter().any(|line| line.contains("25006"))
    })
    .await;
    admin.batch_execute(&back).await.unwrap();
    assert_eq!(patient.answer(id).await.unwrap()["message"]["seq"], 2);
    let read = json!({ "sessionId": session, "seq": 2 });
    eventually("other writes succeed too", async || {
        patient.request("message:read", read.clone()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn f16_while_postgres_stands_still_the_queue_is_bounded_and_nothing_is_acknowledged() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut admin = desk.database.as_ref().unwrap().client().await;
    let lock = admin.transaction().await.unwrap();
    lock.execute("lock table messages in access exclusive mode", &[]).await.unwrap();
    let started = Instant::now();
    let waiting = patient.ask("message:send", &text(&session, "waiting")).await;
    // It gets an error with a retry time after a bounded wait, although the transaction is still
    // blocked.
    let error = patient.answer(waiting).await.unwrap_err();
    assert_eq!(error["code"], "unavailable");
    assert!(error["retryAfterMs"].as_u64().unwrap() > 0);
    assert!(started.elapsed() < Duration::from_secs(20));
    lock.rollback().await.unwrap();
    patient.send(&session, "waiting", "x").await;
    let history = desk.http(1, &dentist).get(&format!("/api/chats/{session}/messages")).await;
    assert_eq!(seqs(&history.expect(200)["items"]), [1], "the message is stored once");
}

#[tokio::test]
async fn f23_a_stalled_reader_is_closed_with_4408_and_nobody_else_notices() {
    const MESSAGES: u64 = 300;
    // The reader must be closed because of its full queue, not because of a missed ping, even on a slow
    // machine.
    let desk = Desk::embedded_with(FRONTDESK, &[("PING_TIMEOUT_MS", "600000")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut stalled = desk.connect(0, &dentist).await;
    stalled.join(&session, None).await;
    let mut lively = desk.connect(0, &dentist).await;
    lively.join(&session, None).await;
    let mut patient = desk.connect(0, &customer).await;
    // 32 KB each, far more than the sockets and the queue hold.
    let body = "😀".repeat(8_000);
    for number in 1..=MESSAGES {
        patient.send(&session, &number.to_string(), &body).await;
        assert_eq!(lively.message().await["seq"], number);
    }
    let mut seen = Vec::new();
    while let Some(message) = stalled.try_message().await {
        seen.push(message["seq"].as_u64().unwrap());
    }
    assert_eq!(stalled.closed().await, 4408);
    assert!((seen.len() as u64) < MESSAGES);
    // It rejoins with its position and gets the rest.
    let mut back = desk.connect(0, &dentist).await;
    seen.extend(seqs(&back.join(&session, seen.last().copied()).await["messages"]));
    while seen.last() != Some(&MESSAGES) {
        seen.push(back.message().await["seq"].as_u64().unwrap());
    }
    assert_eq!(seen, (1..=MESSAGES).collect::<Vec<_>>());
}

#[tokio::test]
async fn i8_who_asks_for_everything_and_reads_nothing_costs_the_node_little() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let body = "😀".repeat(8_000);
    for number in 0..100 {
        patient.send(&session, &number.to_string(), &body).await;
    }
    let before = desk.nodes[0].memory_kib();
    let mut greedy = desk.connect(0, &dentist).await;
    for _ in 0..2_000 {
        greedy.ask("session:join", &json!({ "sessionId": session, "after": 0 })).await;
    }
    // Other clients are served meanwhile.
    for number in 100..130 {
        patient.send(&session, &number.to_string(), "x").await;
    }
    let grown = desk.nodes[0].memory_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
}

/// Number of open descriptors of a node.
fn descriptors(node: u32) -> usize {
    std::fs::read_dir(format!("/proc/{node}/fd")).unwrap().count()
}

#[tokio::test]
async fn f30_after_a_churn_of_clients_no_descriptor_and_no_subscription_is_left() {
    let redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 1, redis.port, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let pid = desk.nodes[0].pid();
    // The first round opens what stays open for good.
    let mut before = None;
    for _ in 0..5 {
        let mut clients = Vec::new();
        for at in 0..40 {
            let person = if at % 2 == 0 { &customer } else { &dentist };
            let mut client: Client = desk.connect(0, person).await;
            client.join(&session, None).await;
            clients.push(client);
        }
        // Some clients close their connections, the others vanish.
        for client in clients.iter_mut().take(20) {
            client.socket.close(None).await.unwrap();
        }
        drop(clients);
        eventually("no channel has a subscriber", async || {
            redis.command("PUBSUB CHANNELS frontdesk:[su]*").await.starts_with("*0")
        })
        .await;
        let limit = *before.get_or_insert_with(|| descriptors(pid));
        eventually("the descriptors are closed", async || descriptors(pid) <= limit).await;
    }
}

#[tokio::test]
async fn f26_a_node_that_is_out_of_descriptors_goes_on_and_recovers() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    let pid = desk.nodes[0].pid();
    let limit = |files: usize| {
        let set = std::process::Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &format!("--nofile={files}:{files}")])
            .status();
        assert!(set.unwrap().success());
    };
    limit(descriptors(pid) + 3);
    let address = desk.nodes[0].address;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    eventually("the node logs that it cannot accept connections", async || {
        desk.nodes[0].log().iter().any(|line| line.contains("accept failed"))
    })
    .await;
    assert!(desk.nodes[0].log().len() < 200, "the node logs the error in a loop");
    doctor.send(&session, "k", "still here").await;
    drop(crowd);
    let mut patient = timeout(Duration::from_secs(10), desk.connect(0, &customer)).await.unwrap();
    assert_eq!(patient.join(&session, Some(0)).await["lastSeq"], 1);
}
