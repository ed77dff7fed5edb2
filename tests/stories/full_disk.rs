//! The disk of an embedded node is full: a message that cannot be stored is not acknowledged.

use std::{path::Path, process::Command, time::Duration};

use frontdesk_test_support::{Client, Desk, Node, PATIENCE, Person};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{FRONTDESK, seqs};

/// Script that runs a node whose file sizes can be limited.
const BOUNDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/bounded");
/// Time limit of a send on a full disk.
const DECIDED_WITHIN: Duration = Duration::from_secs(20);

fn limit_files(node: &Node, size: &str) {
    let limit = format!("--fsize={size}:unlimited");
    let set = Command::new("prlimit").args(["--pid", &node.pid().to_string(), &limit]).status();
    assert!(set.expect("prlimit is not installed").success());
}

fn size_of(desk: &Desk, file: &str) -> u64 {
    desk.data.path().join(Path::new(file)).metadata().unwrap().len()
}

fn text(session: &str, key: &str, body: &str) -> Value {
    json!({ "sessionId": session, "clientId": key, "kind": "text", "body": body })
}

/// Sends a message and returns it, or the error.
async fn send(client: &mut Client, session: &str, key: &str, body: &str) -> Result<Value, Value> {
    let sending = client.request("message:send", text(session, key, body));
    let sent = timeout(DECIDED_WITHIN, sending).await.expect("the send gets no reply");
    sent.map(|mut sent| sent["message"].take())
}

fn assert_is_for_later(error: &Value) {
    assert_eq!(error["code"], "unavailable", "{error}");
    assert!(error["retryAfterMs"].as_u64().unwrap() > 0);
}

/// All messages of a session, read in pages.
async fn history(desk: &Desk, person: &Person, session: &str) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let after = messages.len();
        let path = format!("/api/chats/{session}/messages?after={after}&limit=200");
        let page = desk.http(0, person).get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        if items.is_empty() {
            return messages;
        }
        messages.extend(items.iter().cloned());
    }
}

async fn put(invited: &Value, bytes: &[u8]) -> StatusCode {
    let upload = &invited["upload"];
    let url = upload["url"].as_str().unwrap();
    let mut request = reqwest::Client::new().put(url).timeout(PATIENCE).body(bytes.to_vec());
    for (name, value) in upload["headers"].as_object().unwrap() {
        if name != "content-length" {
            request = request.header(name, value.as_str().unwrap());
        }
    }
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn f29_on_a_full_disk_nothing_is_acknowledged_reading_goes_on_and_room_is_all_it_needs() {
    let desk = Desk::embedded_with(BOUNDED, &[("FRONTDESK", FRONTDESK)]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    let before = send(&mut patient, &session, "before", "x").await.unwrap();
    assert_eq!(doctor.message().await, before);
    let http = desk.http(0, &customer);
    let picture = vec![7; 3 * 1024 * 1024];
    let place = json!({ "contentType": "image/png", "size": picture.len() });
    let images = format!("/api/chats/{session}/images");
    let place = http.post(&images, &place).await.expect(201);

    limit_files(&desk.nodes[0], &size_of(&desk, "frontdesk.db-wal").to_string());
    let logged = desk.nodes[0].log().len();
    assert_is_for_later(&send(&mut patient, &session, "full", "y").await.unwrap_err());
    // HTTP and all other writes fail too.
    let by_http = json!({ "clientId": "http", "kind": "text", "body": "z" });
    let messages = format!("/api/chats/{session}/messages");
    let refused = http.post(&messages, &by_http).await;
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(refused.expect(503)["code"], "unavailable");
    let edit = json!({ "sessionId": session, "messageId": before["id"], "body": "xx" });
    assert_is_for_later(&patient.request("message:edit", edit.clone()).await.unwrap_err());
    let with = json!({ "dentistId": "another" });
    assert_eq!(http.post("/api/chats", &with).await.expect(503)["code"], "unavailable");
    assert!(put(&place, &picture).await.is_server_error());
    // Reads still work.
    let joined = desk.connect(0, &dentist).await.join(&session, Some(0)).await;
    assert_eq!(seqs(&joined["messages"]), [1]);
    assert_eq!(history(&desk, &dentist, &session).await, std::slice::from_ref(&before));
    http.get("/api/chats").await.expect(200);
    let health = http.get("/health").await;
    assert_eq!(health.expect(503)["commits"], "disk_full");
    assert_eq!(http.get("/health/ready").await.status, 503, "the node must not be ready");
    let lines = desk.nodes[0].log().len() - logged;
    assert!(lines < 400, "the node logs in a loop: {lines} lines");

    limit_files(&desk.nodes[0], "unlimited");
    let sent = send(&mut patient, &session, "full", "y").await.expect("there is room again");
    assert_eq!(sent["seq"], 2, "the message is stored once");
    assert_eq!(doctor.message().await, sent);
    http.post(&messages, &by_http).await.expect(201);
    assert_eq!(doctor.message().await["seq"], 3);
    patient.request("message:edit", edit).await.unwrap();
    assert_eq!(
        put(&place, &picture).await,
        StatusCode::OK,
        "the incomplete upload blocks a new one"
    );
    assert_eq!(http.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn f29_a_node_that_fills_its_disk_and_is_killed_has_all_that_it_acknowledged() {
    const LARGEST: u64 = 5 * 1024 * 1024;
    let mut desk = Desk::embedded_with(BOUNDED, &[("FRONTDESK", FRONTDESK)]).await;
    let (customer, dentist, session) = desk.pair().await;
    let body = "😀".repeat(8_000);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut patient = desk.connect(0, &customer).await;
        // Enough for checkpoints of the write-ahead log, which happen every 4 MB, and for one that
        // fails because the disk is full.
        limit_files(&desk.nodes[0], &(LARGEST + round * LARGEST / 2).to_string());
        let full = loop {
            let key = acknowledged.len().to_string();
            match send(&mut patient, &session, &key, &body).await {
                Ok(sent) => acknowledged.push(sent),
                Err(error) => break error,
            }
            assert!(acknowledged.len() < 5_000, "the disk never fills");
        };
        assert_is_for_later(&full);
        if round == 1 {
            // There is space again while the node runs, and the refused message is stored once.
            limit_files(&desk.nodes[0], "unlimited");
            let key = acknowledged.len().to_string();
            acknowledged.push(send(&mut patient, &session, &key, &body).await.unwrap());
        }
        desk.nodes[0].restart().await;
        let mut kept = history(&desk, &dentist, &session).await;
        // One unacknowledged message may be stored too.
        assert!(kept.len() - acknowledged.len() <= 1);
        kept.truncate(acknowledged.len());
        assert!(kept == acknowledged, "a message acknowledged in round {round} is missing");
        let mut patient = desk.connect(0, &customer).await;
        let key = acknowledged.len().to_string();
        acknowledged.push(send(&mut patient, &session, &key, &body).await.unwrap());
    }
}
