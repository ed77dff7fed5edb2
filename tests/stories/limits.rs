//! Floods and crowds: the limits, the errors of refused clients, and no effect on others.

use std::time::Duration;

use frontdesk_test_support::{
    Client, Desk, Framing, Redis, Servers, eventually, tungstenite::Message,
};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{FRONTDESK, places::turned_away};

fn text(session: &str, client_id: &str) -> Value {
    json!({ "sessionId": session, "clientId": client_id, "kind": "text", "body": client_id })
}

/// Sends until a message is refused; returns the error and the number of accepted ones.
async fn send_until_refused(client: &mut Client, session: &str, prefix: &str) -> (Value, usize) {
    for count in 0.. {
        let sent = client.request("message:send", text(session, &format!("{prefix}{count}"))).await;
        if let Err(refused) = sent {
            return (refused, count);
        }
    }
    unreachable!()
}

#[tokio::test]
async fn b50_sends_over_the_limit_are_refused_by_every_way_and_fit_again_later() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_SENDS_PER_USER_S", "1")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut native = desk.connect(0, &customer).await;
    let (refused, sent) = send_until_refused(&mut native, &session, "native").await;
    assert!(sent >= 2, "a burst of two seconds fits: {sent}");
    assert_eq!(refused["code"], "rate_limited");
    assert!((1..=1_000).contains(&refused["retryAfterMs"].as_u64().unwrap()), "{refused}");
    // Each way must refuse. If each had its own bucket, its first send would not be refused.
    let mut socketio = desk.connect_by(Framing::SocketIo, 0, &customer).await;
    let (refused, sent) = send_until_refused(&mut socketio, &session, "socketio").await;
    assert_eq!(refused["code"], "rate_limited");
    let http = desk.http(0, &customer);
    let path = format!("/api/chats/{session}/messages");
    let post = json!({ "clientId": "http", "kind": "text", "body": "by HTTP" });
    let mut reply = http.post(&path, &post).await;
    for _ in 0..100 {
        if reply.status == 429 {
            break;
        }
        let other = json!({ "clientId": "http2", "kind": "text", "body": "by HTTP" });
        reply = http.post(&path, &other).await;
    }
    assert_eq!((reply.status, reply.header("retry-after")), (429, "1"), "{sent}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.body["code"], "rate_limited");

    // Each user has a separate bucket.
    let mut other = desk.connect(0, &dentist).await;
    assert_eq!(other.send(&session, "k", "mine fits").await["body"], "mine fits");
    eventually("the same send is accepted later", async || {
        matches!(http.post(&path, &post).await.status, 200 | 201)
    })
    .await;
}

/// Low enough for a flood even on a busy machine, where the node reads about 70 frames a second.
const FLOOD_LIMIT: &[(&str, &str)] = &[("LIMIT_SENDS_PER_USER_S", "5")];

/// Sends the same frame until the server closes the connection; returns the close code.
async fn flood(mut client: Client, frame: String) -> u16 {
    for _ in 0..4_000 {
        if client.socket.send(Message::text(frame.clone())).await.is_err() {
            break;
        }
    }
    client.closed().await
}

#[tokio::test]
async fn b50_who_floods_all_the_same_is_closed_with_4429_and_others_go_on() {
    let desk = Desk::embedded_with(FRONTDESK, FLOOD_LIMIT).await;
    let (flooder, _, own) = desk.pair().await;
    let (customer, dentist, session) = desk.pair().await;
    let (mut one, mut other) = (desk.connect(0, &customer).await, desk.connect(0, &dentist).await);
    one.join(&session, None).await;
    other.join(&session, None).await;
    let in_own = json!({ "sessionId": own });
    let events = [
        ("typing:start", in_own.clone()),
        ("session:join", in_own.clone()),
        ("message:read", json!({ "sessionId": own, "seq": 0 })),
        ("message:send", text(&own, "again")),
        ("no:such:event", json!({})),
    ];
    for (number, (event, data)) in events.into_iter().enumerate() {
        for framing in [Framing::Native, Framing::SocketIo] {
            let frame = match framing {
                Framing::Native => json!({ "id": 1, "event": event, "data": data }).to_string(),
                Framing::SocketIo => format!("421{}", json!([event, data])),
            };
            let client = desk.connect_by(framing, 0, &flooder).await;
            let flooding = tokio::spawn(flood(client, frame));
            let key = format!("{number}{framing:?}");
            one.send(&session, &key, &key).await;
            assert_eq!(
                other.message().await["body"],
                key,
                "another client's message arrives during the flood"
            );
            assert_eq!(flooding.await.unwrap(), 4429, "{event} {framing:?}");
        }
    }
}

#[tokio::test]
async fn b29_so_is_who_floods_with_pings() {
    let desk = Desk::embedded_with(FRONTDESK, FLOOD_LIMIT).await;
    for framing in [Framing::Native, Framing::SocketIo] {
        let mut client = desk.connect_by(framing, 0, &desk.customer()).await;
        for _ in 0..4_000 {
            if client.socket.send(Message::Ping("x".into())).await.is_err() {
                break;
            }
        }
        assert_eq!(client.closed().await, 4429, "{framing:?}");
    }
}

#[tokio::test]
async fn b50_an_app_that_flushes_what_it_has_and_waits_as_it_is_told_is_no_flood() {
    const WRITTEN: usize = 140;
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_SENDS_PER_USER_S", "20")]).await;
    let (customer, _, session) = desk.pair().await;
    let mut client = desk.connect(0, &customer).await;
    let text = |number: usize| {
        json!({
            "sessionId": session, "clientId": number.to_string(), "kind": "text", "body": "x",
        })
    };
    let mut asked = Vec::new();
    for number in 0..WRITTEN {
        asked.push((number, client.ask("message:send", &text(number)).await));
    }
    let mut waiting = Vec::new();
    for (number, id) in asked {
        if let Err(error) = client.answer(id).await {
            assert_eq!(error["code"], "rate_limited");
            waiting.push((Instant::now() + retry_after(&error), number));
        }
    }
    assert!(waiting.len() > WRITTEN / 2, "{}", waiting.len());
    let mut tries = 0;
    while !waiting.is_empty() {
        waiting.sort_unstable();
        let (due, number) = waiting.remove(0);
        sleep_until(due).await;
        tries += 1;
        if let Err(error) = client.request("message:send", text(number)).await {
            waiting.push((Instant::now() + retry_after(&error), number));
        }
    }
    assert!(tries < 2 * WRITTEN, "most retries at the given time are accepted: {tries} attempts");
    let joined = client.join(&session, None).await;
    assert_eq!(joined["lastSeq"], WRITTEN);
}

/// Time that a refusal asks the client to wait.
fn retry_after(error: &Value) -> Duration {
    Duration::from_millis(error["retryAfterMs"].as_u64().unwrap())
}

#[tokio::test]
async fn an_app_that_joins_all_its_sessions_at_once_is_no_flood() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_SENDS_PER_USER_S", "20")]).await;
    let (customer, _, session) = desk.pair().await;
    let mut client = desk.connect(0, &customer).await;
    let mut asked = Vec::new();
    for _ in 0..1_000 {
        asked.push(client.ask("session:join", &json!({ "sessionId": session })).await);
    }
    for id in asked {
        client.answer(id).await.unwrap();
    }
}

/// Sends until the given time, and pauses after each refusal; returns the number of accepted sends.
async fn press(mut client: Client, session: String, prefix: &str, until: Instant) -> usize {
    let mut sent = 0;
    for number in 0.. {
        if Instant::now() >= until {
            break;
        }
        let message = text(&session, &format!("{prefix}{number}"));
        match client.request("message:send", message).await {
            Ok(_) => sent += 1,
            Err(refused) => {
                assert_eq!(refused["code"], "rate_limited");
                sleep(Duration::from_millis(25)).await;
            }
        }
    }
    sent
}

#[tokio::test]
async fn f7_f10_limits_hold_on_each_node_without_redis_and_on_all_when_it_is_back() {
    let mut redis = Redis::start().await;
    let limits = [("LIMIT_CONNECTIONS_PER_USER", "2"), ("LIMIT_SENDS_PER_USER_S", "1")];
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &limits).await;
    let (person, _, session) = desk.pair().await;
    let mut open = [desk.connect(0, &person).await, desk.connect(0, &person).await];
    assert_eq!(turned_away(&desk, 1, &person, "").await, Some(4429), "all nodes count together");

    redis.kill().await;
    assert_eq!(turned_away(&desk, 0, &person, "").await, Some(4429), "this node still counts");
    eventually("the other node counts for itself", async || {
        turned_away(&desk, 1, &person, "").await.is_none()
    })
    .await;
    let (refused, _) = send_until_refused(&mut open[0], &session, "away").await;
    assert_eq!(refused["code"], "rate_limited");

    redis.revive().await;
    eventually("all nodes count together again", async || {
        turned_away(&desk, 1, &person, "").await == Some(4429)
    })
    .await;
}

#[tokio::test]
async fn b50_one_user_on_two_nodes_gets_the_limit_and_not_twice() {
    let redis_port = Servers::get().await.redis_port;
    let limit = [("LIMIT_SENDS_PER_USER_S", "20")];
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &limit).await;
    let (customer, _, session) = desk.pair().await;
    let [one, two] = [desk.connect(0, &customer).await, desk.connect(1, &customer).await];
    let started = Instant::now();
    let until = started + Duration::from_secs(6);
    let (one, two) = tokio::join!(
        press(one, session.clone(), "one", until),
        press(two, session.clone(), "two", until)
    );
    let (sent, seconds) = (one + two, started.elapsed().as_secs_f64());
    // The burst is 40. Two separate buckets would allow 80, and 40 a second.
    let most = 40.0 + 20.0 * seconds;
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let sent_f = sent as f64;
    assert!(sent >= 40 && sent_f < most * 1.4, "{one} + {two} in {seconds} s, {most} are due");
    let http = desk.http(0, &customer);
    let last = http.get(&format!("/api/chats/{session}")).await.expect(200)["lastSeq"].clone();
    assert_eq!(last, sent, "a refused message was stored");
}
