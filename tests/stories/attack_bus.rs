//! Attacks by somebody who can reach Redis and the network between the nodes, but knows no secret.

use std::net::SocketAddr;

use frontdesk_test_support::{
    Client, Desk, Http, PATIENCE, Redis, Reply, Servers, Victim, eventually, free_port,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::{FRONTDESK, engineio::Poller};

const FORGED: &str = "your appointment is cancelled";

/// Error of a node for an unknown Engine.IO session.
const UNKNOWN_SID: &str = "Session ID unknown";

async fn two_nodes(redis: &Redis) -> Desk {
    Desk::cluster_with(FRONTDESK, 2, redis.port, &[]).await
}

async fn publish(redis: &Redis, channel: &str, envelope: &str) {
    let quoted = serde_json::to_string(envelope).unwrap();
    let told = redis.command(&format!("PUBLISH {channel} {quoted}")).await;
    assert_ne!(told.trim(), ":0", "nobody subscribes to {channel}");
}

/// Value of a key in Redis.
async fn get(redis: &Redis, key: &str) -> String {
    let answer = redis.command(&format!("GET {key}")).await;
    answer.split("\r\n").nth(1).unwrap_or_default().to_owned()
}

/// Count of inputs that a node distrusted for this reason.
async fn distrusted(node: SocketAddr, reason: &str) -> u64 {
    let metrics = Http::new(node, None).get("/metrics").await.text;
    let name = format!("frontdesk_distrusted_total{{reason=\"{reason}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.expect("no such metric").parse().unwrap()
}

/// Node id of an Engine.IO session.
fn node_of(poller: &Poller) -> String {
    let path = poller.path();
    let (_, sid) = path.split_once("sid=").unwrap();
    sid.split_once('.').unwrap().0.to_owned()
}

/// Polls through a node with the token in a header.
async fn poll(by: SocketAddr, poller: &Poller, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    Http::new(by, None).send(Method::GET, &poller.path(), None, &headers).await
}

#[tokio::test]
async fn c14_a_forged_message_is_shown_to_nobody_and_suppresses_none() {
    let redis = Redis::start().await;
    let desk = two_nodes(&redis).await;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let session = victim.session.clone();
    let (person, other) = (victim.person.clone(), victim.other.clone());
    let mut doctor = desk.connect(1, &other).await;
    let joined = doctor.join(&session, None).await;
    let mut seq = joined["messages"].as_array().unwrap().last().unwrap()["seq"].as_u64().unwrap();
    let attack = async {
        for round in 0..40 {
            forge(&redis, &session, &person.id, &other.id, seq + 1).await;
            let heard = doctor.message().await;
            seq += 1;
            assert_eq!(heard["seq"], seq, "round {round}");
            assert_eq!(heard["body"], "the tooth still aches");
        }
    };
    let (beside, ()) = victim.measure_beside(attack).await;
    beside.are_as_if_alone(&alone);
    let shown = forged_events(&mut doctor).await;
    assert!(shown.is_empty(), "{shown:?}");
    for node in &desk.nodes {
        assert!(distrusted(node.address, "unsigned").await >= 40);
        assert!(distrusted(node.address, "forged").await >= 40);
        assert_eq!(distrusted(node.address, "stale").await, 0);
        let told = |line: &&String| line.contains("data rejected");
        assert_eq!(node.log().iter().filter(told).count(), 2, "one line for each reason");
    }
}

/// Publishes a forged message, change, typing event and session summary: unsigned, and for the room
/// also with an invented signature.
async fn forge(redis: &Redis, session: &str, customer: &str, dentist: &str, seq: u64) {
    let sender = json!({ "kind": "dentist", "id": dentist });
    let message = json!({
        "id": "01890a5d-ac96-774b-bcce-b302099a8057", "sessionId": session, "seq": seq,
        "sender": sender, "clientId": "forged", "kind": "text", "body": FORGED,
        "createdAt": "2026-01-01T00:00:00Z",
    });
    let room = format!("frontdesk:session:{session}");
    let new = json!({
        "v": 1, "event": "message:new", "seq": seq, "author": sender, "clientId": "forged",
        "data": { "message": message },
    });
    let updated = json!({
        "v": 1, "event": "message:updated", "rev": 1_000_000, "data": { "message": message },
    });
    let typing = json!({
        "v": 1, "event": "typing", "data": { "sessionId": session, "who": sender, "on": true },
    });
    let inbox = json!({ "v": 1, "event": "session:updated", "data": { "session": FORGED } });
    for envelope in [new, updated, typing] {
        let text = envelope.to_string();
        publish(redis, &room, &text).await;
        // Signed, but by no node.
        let open = text.strip_suffix('}').unwrap();
        publish(redis, &room, &format!("{open},\"seal\":\"{}\"}}", made_up_stamp())).await;
    }
    for user in [format!("customer:{customer}"), format!("dentist:{dentist}")] {
        publish(redis, &format!("frontdesk:user:{user}"), &inbox.to_string()).await;
    }
}

/// A text as long as a signature.
fn made_up_stamp() -> String {
    format!("0123456789ab{}", "0".repeat(79))
}

/// Forged events that the client received.
async fn forged_events(client: &mut Client) -> Vec<Value> {
    // The reply comes after all events for the client.
    drop(client.request("no:such:event", json!({})).await);
    let mut shown = client.events_of("typing");
    for name in ["message:new", "message:updated", "session:updated"] {
        let events = client.events_of(name);
        shown.extend(events.into_iter().filter(|event| event.to_string().contains(FORGED)));
    }
    shown
}

/// Accepts connections, reports their requests, and responds with an HTML page.
async fn trap(listener: TcpListener, heard: mpsc::Sender<String>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut bytes = vec![0; 16 * 1024];
        let length = stream.read(&mut bytes).await.unwrap_or(0);
        heard.send(String::from_utf8_lossy(&bytes[..length]).into_owned()).await.unwrap();
        let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nset-cookie: a=b\r\n\
                    content-length: 8\r\n\r\n<script>";
        drop(stream.write_all(page.as_bytes()).await);
    }
}

fn is_kept_from_the_client(reply: &Reply) {
    assert_eq!((reply.status, &reply.body["message"]), (400, &json!(UNKNOWN_SID)));
    assert!(reply.headers.get("set-cookie").is_none(), "{:?}", reply.headers);
}

#[tokio::test]
async fn c14_a_node_gives_nothing_of_a_client_to_who_is_no_node() {
    let redis = Redis::start().await;
    let mut desk = two_nodes(&redis).await;
    let customer = desk.customer();
    let poller = Poller::enter(desk.nodes[1].address, &customer.token).await;
    assert_eq!(poll(desk.nodes[0].address, &poller, &customer.token).await.status, 200);
    let node = node_of(&poller);
    let signed = get(&redis, &format!("frontdesk:peer:{node}")).await;
    let (address, stamp) = signed.split_once(' ').unwrap();
    assert_eq!(address, desk.nodes[1].address.to_string());

    // The node's entry is replaced by another address. The node rewrites its own every few seconds, so
    // the attack repeats.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = listener.local_addr().unwrap();
    let (heard, mut trapped) = mpsc::channel(256);
    let trap_elsewhere = tokio::spawn(trap(listener, heard.clone()));
    for entry in [format!("\"{elsewhere} {stamp}\""), elsewhere.to_string()] {
        for _ in 0..10 {
            redis.command(&format!("SET frontdesk:node:{node} {elsewhere}")).await;
            redis.command(&format!("SET frontdesk:peer:{node} {entry}")).await;
            let reply = poll(desk.nodes[0].address, &poller, &customer.token).await;
            if reply.status != 200 {
                is_kept_from_the_client(&reply);
            }
        }
    }
    assert!(trapped.try_recv().is_err(), "the other address was contacted");
    trap_elsewhere.abort();

    // The node's own signed entry is kept, but somebody else listens on its address now.
    desk.nodes[1].kill().await;
    let listener = TcpListener::bind(desk.nodes[1].address).await.unwrap();
    tokio::spawn(trap(listener, heard));
    redis.command(&format!("SET frontdesk:peer:{node} \"{signed}\"")).await;
    is_kept_from_the_client(&poll(desk.nodes[0].address, &poller, &customer.token).await);
    let hello = timeout(PATIENCE, trapped.recv()).await.expect("the node never connected").unwrap();
    assert!(hello.starts_with("GET /health/live "), "{hello}");
    for private in ["uthorization", "Bearer", &customer.token, &poller.path()] {
        assert!(!hello.contains(private), "{hello}");
    }
    assert!(trapped.try_recv().is_err(), "a second request arrived");
}

/// Sends a raw request and returns the start of the response in lower case.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 16 * 1024];
    let length = timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes[..length]).to_lowercase()
}

#[tokio::test]
async fn c14_a_carried_request_that_is_sent_again_is_a_strangers() {
    let redis = Redis::start().await;
    let mut desk = Desk::cluster_with(FRONTDESK, 1, redis.port, &[]).await;
    // The way to the second node goes through a spy.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spied = listener.local_addr().unwrap();
    let carried_to = desk.nodes[0].another(&[("NODE_ADDRESS", spied.to_string())]).await;
    desk.nodes.push(carried_to);
    let (near, far) = (desk.nodes[0].address, desk.nodes[1].address);
    let (tell, mut told) = mpsc::channel(256);
    tokio::spawn(spy(listener, far, tell));

    let customer = desk.customer();
    let poller = Poller::enter(far, &customer.token).await;
    let key = format!("frontdesk:peer:{}", node_of(&poller));
    eventually("the node is registered", async || !get(&redis, &key).await.is_empty()).await;
    let (path, text) = (poller.path(), [("content-type", "text/plain;charset=UTF-8")]);
    let ponged = Http::new(near, None).send(Method::POST, &path, Some("3".to_owned()), &text).await;
    assert_eq!(ponged.text, "ok");
    let mut carried = String::new();
    while !carried.contains("POST /socket.io/") {
        carried =
            timeout(PATIENCE, told.recv()).await.expect("the request was never carried").unwrap();
    }
    let carried = &carried[carried.find("POST /socket.io/").unwrap()..];
    assert!(carried.contains("x-frontdesk-carried") && carried.contains("x-frontdesk-client"));

    assert_eq!(distrusted(far, "repeated").await, 0);
    let again = raw(far, carried).await;
    assert!(!again.contains("x-frontdesk-answer"), "{again}");
    eventually("the repetition is counted", async || distrusted(far, "repeated").await == 1).await;
    // The same request to another node, or with another client address, is forged.
    for (address, text) in [
        (near, carried.to_owned()),
        (far, carried.replacen("x-frontdesk-client: ", "x-frontdesk-client: 20", 1)),
    ] {
        let before = distrusted(address, "forged").await;
        assert!(!raw(address, &text).await.contains("x-frontdesk-answer"));
        eventually("the forgery is counted", async || distrusted(address, "forged").await > before)
            .await;
    }
}

/// Relays connections and reports the bytes from clients.
async fn spy(listener: TcpListener, to: SocketAddr, tell: mpsc::Sender<String>) {
    while let Ok((client, _)) = listener.accept().await {
        let (tell, node) = (tell.clone(), TcpStream::connect(to).await.unwrap());
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_node, mut to_node) = node.into_split();
            let back = tokio::spawn(async move {
                drop(tokio::io::copy(&mut from_node, &mut to_client).await);
            });
            let (mut bytes, mut all) = (vec![0; 16 * 1024], String::new());
            while let Ok(length) = from_client.read(&mut bytes).await
                && length > 0
            {
                all.push_str(&String::from_utf8_lossy(&bytes[..length]));
                drop(tell.try_send(all.clone()));
                to_node.write_all(&bytes[..length]).await.unwrap();
            }
            back.abort();
        });
    }
}

#[tokio::test]
async fn b20_c14_a_pass_that_stands_in_redis_lifts_no_limit() {
    let redis = Redis::start().await;
    let limit = [("LIMIT_REQUESTS_PER_ADDRESS_S", "2")];
    let desk = Desk::cluster_with(FRONTDESK, 1, redis.port, &limit).await;
    let http = Http::new(desk.nodes[0].address, None);
    let pass = "0123456789abcdef".repeat(2);
    redis.command(&format!("SET frontdesk:pass {pass}")).await;
    let stamp = made_up_stamp();
    for number in 0..10_000 {
        let client = format!("198.51.100.{}", number % 250);
        let carried = if number % 2 == 0 { &pass } else { &stamp };
        let headers =
            [("x-frontdesk-carried", carried.as_str()), ("x-frontdesk-client", client.as_str())];
        let reply = http.send(Method::GET, "/version", None, &headers).await;
        if reply.status != 200 {
            assert_eq!(reply.body["code"], "rate_limited");
            return;
        }
    }
    panic!("no request was refused");
}

#[tokio::test]
async fn c14_what_nodes_carry_over_tls_is_not_read_on_its_way() {
    let redis = Redis::start().await;
    let certificate = &Servers::get().await.certificate;
    let key = certificate.with_file_name("postgres").join("server.key");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = [
        ("NODE_TLS_CERT_FILE", certificate),
        ("NODE_TLS_KEY_FILE", key),
        ("NODE_TLS_CA_FILE", certificate),
        ("NODE_TLS_NAME", "localhost"),
        ("NODE_TLS_PORT", "0"),
    ];
    let mut desk = Desk::cluster_with(FRONTDESK, 1, redis.port, &tls).await;
    // The way to the second node goes through a spy on another address of this machine.
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let spied = [("NODE_ADDRESS", "127.0.0.2:1".to_owned()), ("NODE_TLS_PORT", port.to_string())];
    let encrypted = desk.nodes[0].another(&spied).await;
    let none = ["NODE_TLS_CERT_FILE", "NODE_TLS_KEY_FILE"].map(|name| (name, String::new()));
    let plain = desk.nodes[0].another(&none).await;
    desk.nodes.extend([encrypted, plain]);
    let (tell, mut told) = mpsc::channel(256);
    tokio::spawn(spy(listener, ([127, 0, 0, 1], port).into(), tell));

    let (near, customer) = (desk.nodes[0].address, desk.customer());
    let poller = Poller::enter(desk.nodes[1].address, &customer.token).await;
    let key = format!("frontdesk:peer:{}", node_of(&poller));
    eventually("the node is registered", async || !get(&redis, &key).await.is_empty()).await;
    let answered = poll(near, &poller, &customer.token).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let mut seen = timeout(PATIENCE, told.recv()).await.expect("nothing was relayed").unwrap();
    while let Ok(more) = told.try_recv() {
        seen = more;
    }
    assert!(seen.starts_with('\x16'), "it does not begin with a TLS handshake");
    for private in ["socket.io", "uthorization", "x-frontdesk", &customer.token] {
        assert!(!seen.contains(private));
    }

    // A node without a certificate receives nothing of a client.
    let poller = Poller::enter(desk.nodes[2].address, &customer.token).await;
    let key = format!("frontdesk:peer:{}", node_of(&poller));
    eventually("the node is registered", async || !get(&redis, &key).await.is_empty()).await;
    is_kept_from_the_client(&poll(near, &poller, &customer.token).await);
}
