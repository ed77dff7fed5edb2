//! Limits on the connections of a user and of an address.

use std::time::Duration;

use frontdesk_test_support::{
    Desk, Framing, Http, PATIENCE, Person, Servers, eventually, try_connect, tungstenite::Message,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::FRONTDESK;

/// Close code of a new socket; `None` if the server accepts it.
pub(crate) async fn turned_away(
    desk: &Desk,
    node: usize,
    person: &Person,
    forwarded: &str,
) -> Option<u16> {
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
        // No CONNECT_ERROR, after which a stock client would not reconnect.
        let closed = loop {
            match client.socket.next().await.unwrap().unwrap() {
                Message::Close(frame) => break frame.unwrap().code,
                frame => assert!(frame.to_text().unwrap().starts_with('0'), "{frame}"),
            }
        };
        assert_eq!(u16::from(closed), 4429);
    }
    assert_eq!(
        turned_away(&desk, 1, &desk.customer(), "").await,
        None,
        "other users have limits of their own"
    );
    drop(first);
    eventually("a slot is free again", async || turned_away(&desk, 1, &person, "").await.is_none())
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
    eventually("the slots of the dead node are free", async || {
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
    eventually("a slot is free again", async || {
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
    // The desk's own client may have an idle connection.
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
    let count = timeout(PATIENCE, closed).await.expect("no connection is closed");
    assert!((1..=3).contains(&count), "{count}");
    open.clear();
    eventually("a slot is free again", async || {
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
        assert!(statuses.len() < 10_000, "no request was refused");
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
    eventually("the refusals are counted", async || {
        let metrics = http.get("/metrics").await.text;
        let refused = |line: &str| {
            let count = line.strip_prefix(r#"frontdesk_refusals_total{limit="requests"} "#);
            count.is_some_and(|count| count != "0")
        };
        metrics.lines().any(refused)
    })
    .await;
}

#[tokio::test]
async fn b21_a_session_is_upgraded_by_one_websocket_at_a_time() {
    let desk = Desk::embedded(FRONTDESK).await;
    let opened = desk.http(0, &desk.customer()).get("/socket.io/?EIO=4&transport=polling").await;
    let opened: Value = serde_json::from_str(&opened.text[1..]).unwrap();
    let sid = opened["sid"].as_str().unwrap();
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    let address = desk.nodes[0].address;
    let first = try_connect(address, &path, &[]).await.unwrap();
    assert!(try_connect(address, &path, &[]).await.is_err(), "a second upgrade was accepted");
    drop(first);
    eventually("another upgrade is accepted", async || {
        try_connect(address, &path, &[]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn b21_one_address_does_not_take_the_turns_of_all_who_come_in() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LIMIT_CONNECTIONS_PER_ADDRESS", "1000")]).await;
    let anyone = Http::new(desk.nodes[0].address, None);
    let mut let_in = 0;
    let refused = loop {
        let opened = anyone.get("/socket.io/?EIO=4&transport=polling").await;
        if opened.status != 200 {
            break opened;
        }
        let_in += 1;
        assert!(let_in < 1_000, "no session was refused");
    };
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too_many_connections")));
    assert!(let_in >= 100, "{let_in}");
}
