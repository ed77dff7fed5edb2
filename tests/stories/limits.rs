//! Floods and crowds: what is too much, how it is told, and that nobody else notices.

use std::time::Duration;

use frontdesk_test_support::{
    Client, Desk, Framing, Http, PATIENCE, Person, Redis, Servers, eventually, try_connect,
    tungstenite::Message,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::FRONTDESK;

fn text(session: &str, client_id: &str) -> Value {
    json!({ "sessionId": session, "clientId": client_id, "kind": "text", "body": client_id })
}

/// Sends until one is refused: the refusal, and how many were not.
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
    // Each way refuses sooner or later, and had there been a bucket a way none would refuse the first.
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

    // Others have buckets of their own.
    let mut other = desk.connect(0, &dentist).await;
    assert_eq!(other.send(&session, "k", "mine fits").await["body"], "mine fits");
    eventually("the same send fits later", async || {
        matches!(http.post(&path, &post).await.status, 200 | 201)
    })
    .await;
}

/// Says the same without listening, until the server has had enough.
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
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_SENDS_PER_USER_S", "20")]).await;
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
            assert_eq!(other.message().await["body"], key, "meanwhile");
            assert_eq!(flooding.await.unwrap(), 4429, "{event} {framing:?}");
        }
    }
}

#[tokio::test]
async fn b29_so_is_who_floods_with_pings() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_SENDS_PER_USER_S", "20")]).await;
    let mut client = desk.connect(0, &desk.customer()).await;
    for _ in 0..4_000 {
        if client.socket.send(Message::Ping("x".into())).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await, 4429);
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

/// The code with which the server closes a new socket, or nothing where it lets it in.
async fn turned_away(desk: &Desk, node: usize, person: &Person, forwarded: &str) -> Option<u16> {
    let bearer = format!("Bearer {}", person.token);
    let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", forwarded)];
    let headers = if forwarded.is_empty() { &headers[..1] } else { &headers[..] };
    let mut client = try_connect(desk.nodes[node].address, "/ws", headers).await.unwrap();
    let answer = client.try_request("auth:refresh", &json!({ "token": person.token })).await;
    if answer.is_some() { None } else { Some(client.closed().await) }
}

#[tokio::test]
async fn b21_one_connection_too_many_for_a_user_is_turned_away_on_every_node() {
    let redis_port = Servers::get().await.redis_port;
    let limit = [("LIMIT_CONNECTIONS_PER_USER", "2")];
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &limit).await;
    let person = desk.customer();
    let first = desk.connect(0, &person).await;
    let _second = desk.connect_by(Framing::SocketIo, 1, &person).await;
    for node in [0, 1] {
        assert_eq!(turned_away(&desk, node, &person, "").await, Some(4429));
        let path = "/socket.io/?EIO=4&transport=websocket";
        let mut client = try_connect(desk.nodes[node].address, path, &[]).await.unwrap();
        client.frame(&format!("40{}", json!({ "token": person.token }))).await;
        let refusal = loop {
            let Message::Text(text) = client.socket.next().await.unwrap().unwrap() else {
                continue;
            };
            if let Some(refusal) = text.strip_prefix("44") {
                break serde_json::from_str::<Value>(refusal).unwrap();
            }
        };
        assert_eq!(refusal["message"], "too_many_connections");
        assert_eq!(refusal["data"]["code"], "too_many_connections");
    }
    assert_eq!(turned_away(&desk, 1, &desk.customer(), "").await, None, "others have their own");
    drop(first);
    eventually("there is room again", async || turned_away(&desk, 1, &person, "").await.is_none())
        .await;
}

#[tokio::test]
async fn f1_f30_the_places_of_a_node_that_is_killed_are_free_again() {
    let redis_port = Servers::get().await.redis_port;
    let limit = [("LIMIT_CONNECTIONS_PER_USER", "2")];
    let mut desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &limit).await;
    let person = desk.customer();
    let _open = [desk.connect(0, &person).await, desk.connect(0, &person).await];
    assert_eq!(turned_away(&desk, 1, &person, "").await, Some(4429));
    desk.nodes[0].kill().await;
    eventually("the other node has room", async || {
        turned_away(&desk, 1, &person, "").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn b20_b21_so_is_one_too_many_for_an_address_whatever_it_says_of_itself() {
    let limit = [("LIMIT_CONNECTIONS_PER_ADDRESS", "4")];
    let desk = Desk::embedded_with(FRONTDESK, &limit).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(desk.connect(0, &desk.customer()).await);
    }
    for forged in ["", "203.0.113.1", "127.0.0.2, 10.0.0.1", "::1"] {
        assert_eq!(turned_away(&desk, 0, &desk.customer(), forged).await, Some(4429), "{forged}");
    }
    let http = desk.http(0, &desk.customer());
    let refused = http.get("/socket.io/?EIO=4&transport=polling").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "10"));
    assert_eq!(refused.body["code"], "too_many_connections");
    open.pop();
    eventually("there is room again", async || {
        turned_away(&desk, 0, &desk.customer(), "").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn b20_behind_a_trusted_proxy_each_client_counts_for_itself() {
    let limits = [("LIMIT_CONNECTIONS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let desk = Desk::embedded_with(FRONTDESK, &limits).await;
    let connect = async |forwarded: &'static str| {
        let bearer = format!("Bearer {}", desk.customer().token);
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", forwarded)];
        try_connect(desk.nodes[0].address, "/ws", &headers).await.unwrap()
    };
    let mut open = Vec::new();
    for address in ["203.0.113.1", "203.0.113.2", "2001:db8::1", "203.0.113.1, 203.0.113.3"] {
        let mut client = connect(address).await;
        assert!(client.events_so_far().await.is_empty(), "{address}");
        open.push(client);
    }
    for address in ["203.0.113.1", "198.51.100.1, 203.0.113.2", "2001:db8::2", "203.0.113.3"] {
        let closed = turned_away(&desk, 0, &desk.customer(), address).await;
        assert_eq!(closed, Some(4429), "{address}");
    }
}

#[tokio::test]
async fn b18_b21_connections_that_ask_for_nothing_are_bounded_for_an_address() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_CONNECTIONS_PER_ADDRESS", "3")]).await;
    let address = desk.nodes[0].address;
    // The desk's own client has one that is idle, or not.
    let mut open = Vec::new();
    let closed = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut byte = [0];
            match timeout(Duration::from_millis(300), stream.read(&mut byte)).await {
                Ok(_) => return open.len(),
                Err(_) => open.push(stream),
            }
        }
    };
    let count = timeout(PATIENCE, closed).await.expect("nobody is turned away");
    assert!((1..=3).contains(&count), "{count}");
    open.clear();
    eventually("there is room again", async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let asked = b"GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        stream.write_all(asked).await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn b20_requests_over_the_limit_are_refused_whatever_they_say_of_themselves() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_REQUESTS_PER_ADDRESS_S", "2")]).await;
    let http = Http::new(desk.nodes[0].address, None);
    let mut statuses = Vec::new();
    let refused = loop {
        let number = statuses.len() % 250;
        let (address, forged) = (format!("203.0.113.{number}"), format!("198.51.100.{number}"));
        let headers = [
            ("x-forwarded-for", address.as_str()),
            ("x-frontdesk-carried", "1"),
            ("x-frontdesk-client", forged.as_str()),
        ];
        let reply = http.send(reqwest::Method::GET, "/version", None, &headers).await;
        if reply.status != 200 {
            break reply;
        }
        statuses.push(reply.status);
        assert!(statuses.len() < 10_000, "nothing is ever refused");
    };
    assert!(statuses.len() >= 8, "a burst of four seconds fits: {}", statuses.len());
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.body["code"], "rate_limited");
    assert_eq!(refused.body["requestId"], refused.header("x-request-id"));
    for _ in 0..20 {
        for probe in ["/health/live", "/health/ready"] {
            assert_eq!(http.get(probe).await.status, 200, "probes are always answered");
        }
    }
    eventually("it is counted, and told once there is room", async || {
        let metrics = http.get("/metrics").await.text;
        metrics.contains(r#"frontdesk_refusals_total{limit="Requests"}"#)
    })
    .await;
}

/// Sends all the time, and listens to refusals; how many sends went through.
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
    // The burst is 40. Two buckets that know nothing of each other come to 80 and 40 a second.
    let most = 40.0 + 20.0 * seconds;
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let sent_f = sent as f64;
    assert!(sent >= 40 && sent_f < most * 1.4, "{one} + {two} in {seconds} s, {most} are due");
    let http = desk.http(0, &customer);
    let last = http.get(&format!("/api/chats/{session}")).await.expect(200)["lastSeq"].clone();
    assert_eq!(last, sent, "what was refused was not done");
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
