//! Messages change: edits, deletions, reactions, replies.

use std::time::Duration;

use frontdesk_test_support::{Client, Desk, Framing, Person, Redis};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{FRONTDESK, one_node, two_nodes};

#[tokio::test]
async fn a_message_is_edited_reacted_to_and_deleted_and_everyone_sees_it() {
    for desk in [two_nodes().await, one_node().await] {
        for framing in [Framing::Native, Framing::SocketIo] {
            messages_change(&desk, framing).await;
        }
    }
}

async fn messages_change(desk: &Desk, framing: Framing) {
    let last = desk.nodes.len() - 1;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect_by(framing, 0, &customer).await;
    let mut doctor = desk.connect_by(framing, last, &dentist).await;
    patient.join(&session, None).await;
    doctor.join(&session, None).await;
    let sent = patient.send(&session, "k", "It hurst").await;
    doctor.message().await;
    let of = |more: Value| {
        let mut data = json!({ "sessionId": session, "messageId": sent["id"] });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };

    let edited = patient.request("message:edit", of(json!({ "body": "It hurts" }))).await.unwrap();
    let message = &edited["message"];
    assert_eq!((&message["body"], &message["seq"]), (&json!("It hurts"), &sent["seq"]));
    assert!(message["editedAt"].is_string() && sent["editedAt"].is_null());
    assert_eq!(doctor.event("message:updated").await, edited, "the other side sees the same");

    let liked = doctor.request("message:react", of(json!({ "emoji": "👍" }))).await.unwrap();
    let by = json!([{ "kind": "dentist", "id": dentist.id }]);
    assert_eq!(liked["message"]["reactions"], json!([{ "emoji": "👍", "by": by }]));
    patient.event("message:updated").await;
    assert_eq!(patient.event("message:updated").await, liked);
    let not_one = doctor.request("message:react", of(json!({ "emoji": "no" }))).await.unwrap_err();
    assert_eq!(not_one["code"], "invalid_request");

    // A client that was away gets the changes after the revision that it knows.
    let after = |rev: u64| json!({ "sessionId": session, "after": 1, "rev": rev });
    let mut back = desk.connect_by(framing, last, &dentist).await;
    let joined = back.request("session:join", after(1)).await.unwrap();
    assert_eq!((&joined["session"]["rev"], &joined["messages"]), (&json!(2), &json!([])));
    assert_eq!(joined["updated"], json!([liked["message"]]));
    let joined = back.request("session:join", after(2)).await.unwrap();
    assert_eq!(joined["updated"], json!([]));

    // The same operations over HTTP are safe to repeat.
    let http = desk.http(last, &customer);
    let path = format!("/api/chats/{session}/messages/{}", sent["id"].as_str().unwrap());
    let thumb = format!("{path}/reactions/%F0%9F%91%8D");
    desk.http(0, &dentist).delete(&thumb).await.expect(200);
    http.put(&thumb).await.expect(200);
    let again = http.put(&thumb).await.expect(200);
    assert_eq!(again["message"]["reactions"][0]["by"][0]["kind"], "customer");
    let patched = http.patch(&path, &json!({ "body": "It hurts a lot" })).await.expect(200);
    assert_eq!(patched["message"]["body"], "It hurts a lot");
    // A late retry of the send finds the current message, and does not count as different.
    let late = json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": "It hurst" });
    let late = patient.request("message:send", late).await.unwrap();
    assert_eq!((&late["message"], &late["duplicate"]), (&patched["message"], &json!(true)));
    assert_eq!(late["differs"], Value::Null);
    let deleted = http.delete(&path).await.expect(200)["message"].take();
    assert_eq!((&deleted["body"], &deleted["reactions"]), (&json!(""), &json!([])));
    assert!(deleted["deletedAt"].is_string());
    assert_eq!(http.delete(&path).await.expect(200)["message"], deleted);
    loop {
        let updated = doctor.event("message:updated").await;
        if updated["message"] == deleted {
            break;
        }
    }
    let history = http.get(&format!("/api/chats/{session}/messages")).await.expect(200);
    assert_eq!(history["items"], json!([deleted]), "it leaves a tombstone");
    // A reply to a deleted message still names it, and the deleted message cannot be changed.
    let reply = json!({
        "sessionId": session, "clientId": "r", "kind": "text", "body": "Why?", "replyTo": sent["id"],
    });
    let replied = doctor.request("message:send", reply).await.unwrap();
    assert_eq!(replied["message"]["replyTo"], sent["id"]);
    let late = patient.request("message:edit", of(json!({ "body": "x" }))).await.unwrap_err();
    assert_eq!(late["code"], "message_deleted");
    refusals(desk, &session, &sent, &dentist).await;
}

/// A member without the right gets the reason; a stranger gets "not found".
async fn refusals(desk: &Desk, session: &str, sent: &Value, dentist: &Person) {
    let id = sent["id"].as_str().unwrap();
    let path = format!("/api/chats/{session}/messages/{id}");
    let body = json!({ "body": "mine now" });
    let other_side = desk.http(0, dentist).patch(&path, &body).await.expect(403);
    assert_eq!(other_side["code"], "forbidden");
    let (stranger, _, own) = desk.pair().await;
    let stranger = desk.http(0, &stranger);
    let unknown = "01900000-0000-7000-8000-000000000000";
    for path in [
        path.clone(),
        format!("/api/chats/{own}/messages/{id}"),
        format!("/api/chats/{session}/messages/{unknown}"),
        format!("/api/chats/{unknown}/messages/{id}"),
        "/api/chats/x/messages/y".to_owned(),
    ] {
        assert_eq!(stranger.patch(&path, &body).await.expect(404)["code"], "message_not_found");
        assert_eq!(stranger.delete(&path).await.expect(404)["code"], "message_not_found");
        let thumb = format!("{path}/reactions/%F0%9F%91%8D");
        assert_eq!(stranger.put(&thumb).await.expect(404)["code"], "message_not_found");
    }
    let odd = desk.http(0, dentist).put(&format!("{path}/reactions/%3Cb%3E")).await.expect(400);
    assert!(odd["detail"].as_str().unwrap().starts_with("emoji: "), "{odd}");
}

#[tokio::test]
async fn b40_admins_and_nobody_else_see_what_a_message_said_before() {
    for desk in [two_nodes().await, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        let sent = patient.send(&session, "k", "first").await;
        let id = sent["id"].as_str().unwrap();
        let (path, mine) = (format!("/api/chats/{session}/messages/{id}"), desk.http(0, &customer));
        let edits = format!("/api/admin/chats/{session}/messages/{id}/edits");
        let admin = desk.admin();
        let admin = desk.http(desk.nodes.len() - 1, &admin);
        assert_eq!(admin.get(&edits).await.expect(200), json!({ "items": [] }));
        mine.patch(&path, &json!({ "body": "second" })).await.expect(200);
        mine.delete(&path).await.expect(200);
        let kept = admin.get(&edits).await.expect(200);
        let bodies: Vec<_> = kept["items"].as_array().unwrap().iter().collect();
        assert_eq!((&bodies[0]["body"], &bodies[1]["body"]), (&json!("first"), &json!("second")));
        assert!(bodies.len() == 2 && bodies[0]["replacedAt"].is_string());
        for person in [&customer, &dentist] {
            let refused = desk.http(0, person).get(&edits).await.expect(403);
            assert_eq!(refused["code"], "forbidden");
        }
        let unknown = edits.replace(id, &session);
        assert_eq!(admin.get(&unknown).await.expect(404)["code"], "message_not_found");
        // The log names who read which message, but not its text.
        let log = desk.nodes[desk.nodes.len() - 1].log().join("\n");
        assert!(log.contains("message edits read by an admin") && !log.contains("second"));
    }
}

#[tokio::test]
async fn what_has_changed_comes_in_pieces_that_a_client_can_take() {
    for desk in [two_nodes().await, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        // Each is about 48 KB in JSON.
        let body = "\u{1}".repeat(8_000);
        for number in 0..12 {
            let sent = patient.send(&session, &number.to_string(), &body).await;
            let liked = json!({ "sessionId": session, "messageId": sent["id"], "emoji": "👍" });
            patient.request("message:react", liked).await.unwrap();
        }
        let mut doctor = desk.connect(desk.nodes.len() - 1, &dentist).await;
        let (mut rev, mut changed, mut joins) = (0, 0, 0);
        while rev < 12 {
            let join = json!({ "sessionId": session, "after": 12, "rev": rev });
            let joined = doctor.request("session:join", join).await.unwrap();
            assert!(joined.to_string().len() < 400 * 1024, "{}", joined.to_string().len());
            let updated = joined["updated"].as_array().unwrap();
            (changed, joins) = (changed + updated.len(), joins + 1);
            rev = updated.last().unwrap()["rev"].as_u64().unwrap();
        }
        assert!(changed == 12 && joins > 1, "{changed} in {joins}");
    }
}

#[tokio::test]
async fn f7_f9_a_change_that_the_bus_did_not_carry_is_heard_within_5_s() {
    let mut redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let sent = patient.send(&session, "k", "It hurst").await;
    doctor.message().await;
    let of = |more: Value| {
        let mut data = json!({ "sessionId": session, "messageId": sent["id"] });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    redis.cut_subscribers().await;
    let edit = of(json!({ "body": "It hurts" }));
    let cut = patient.request("message:edit", edit).await.unwrap();
    heard_in_time(&mut doctor, &cut).await;
    redis.kill().await;
    let like = of(json!({ "emoji": "👍" }));
    let away = patient.request("message:react", like).await.unwrap();
    heard_in_time(&mut doctor, &away).await;
    let deleted = patient.request("message:delete", of(json!({}))).await.unwrap();
    heard_in_time(&mut doctor, &deleted).await;
    // A later join contains the change, which is not sent again.
    let mut late = desk.connect(1, &dentist).await;
    late.patience = Duration::from_secs(12);
    let joined = late.join(&session, Some(0)).await;
    assert_eq!(joined["messages"][0], deleted["message"]);
    assert_eq!(late.try_event("message:updated").await, None);
}

async fn heard_in_time(client: &mut Client, changed: &Value) {
    // A change may arrive twice.
    let hearing = async { while client.event("message:updated").await != *changed {} };
    timeout(Duration::from_secs(5), hearing).await.expect("not within 5 s");
}
