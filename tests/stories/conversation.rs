//! A customer and a dentist talk.

use frontdesk_test_support::{Desk, Framing, unique};
use serde_json::json;

use crate::{one_node, two_nodes};

#[tokio::test]
async fn a_message_sent_on_one_node_reaches_a_member_on_another() {
    let desk = two_nodes().await;
    for framings in FRAMINGS {
        two_people_talk(&desk, framings).await;
    }
}

#[tokio::test]
async fn two_people_talk_on_a_node_that_is_alone() {
    let desk = one_node().await;
    for framings in FRAMINGS {
        two_people_talk(&desk, framings).await;
    }
}

/// Framings of the two people.
const FRAMINGS: [[Framing; 2]; 3] = [
    [Framing::Native, Framing::Native],
    [Framing::SocketIo, Framing::SocketIo],
    [Framing::SocketIo, Framing::Native],
];

/// The dentist is on the last node, which may also be the customer's.
async fn two_people_talk(desk: &Desk, framings: [Framing; 2]) {
    let last = desk.nodes.len() - 1;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect_by(framings[0], 0, &customer).await;
    let mut doctor = desk.connect_by(framings[1], last, &dentist).await;
    for client in [&mut patient, &mut doctor] {
        let joined = client.join(&session, None).await;
        assert_eq!((&joined["lastSeq"], &joined["messages"]), (&json!(0), &json!([])));
        assert_eq!(joined["session"]["id"], *session);
    }

    patient.say("typing:start", &json!({ "sessionId": session })).await;
    let typing = doctor.event("typing").await;
    let who = json!({ "kind": "customer", "id": customer.id });
    assert_eq!(typing, json!({ "sessionId": session, "who": who, "on": true }));

    let sent = patient.send(&session, "k-1", "Does it hurt?").await;
    let received = doctor.message().await;
    assert_eq!(sent, received, "the acknowledgement and the event contain the same message");
    assert_eq!((&sent["seq"], &sent["clientId"]), (&json!(1), &json!("k-1")));
    assert_eq!((&sent["kind"], &sent["body"]), (&json!("text"), &json!("Does it hurt?")));
    assert_eq!(sent["sender"], json!({ "kind": "customer", "id": customer.id, "name": "Patient" }));
    assert!(sent["createdAt"].as_str().unwrap().ends_with('Z'));

    let unread = desk.http(last, &dentist).get("/api/chats/unread").await.expect(200);
    assert_eq!(unread, json!({ "total": 1, "sessions": { session.clone(): 1 } }));
    let read = json!({ "sessionId": session, "seq": 1 });
    assert_eq!(doctor.request("message:read", read.clone()).await.unwrap(), read);
    let seen = patient.event("message:read").await;
    assert_eq!((&seen["reader"]["id"], &seen["seq"]), (&json!(dentist.id), &json!(1)));
    // A read position never moves back, and an unchanged one sends no event.
    let back = json!({ "sessionId": session, "seq": 0 });
    assert_eq!(doctor.request("message:read", back).await.unwrap()["seq"], 1);
    let unread = desk.http(0, &dentist).get("/api/chats/unread").await.expect(200);
    assert_eq!(unread["total"], 0);

    let reply = json!({
        "sessionId": session, "clientId": "k-1", "kind": "text", "body": "A little.",
        "replyTo": sent["id"],
    });
    let reply = doctor.request("message:send", reply).await.unwrap();
    assert_eq!(reply["message"]["replyTo"], sent["id"]);
    assert_eq!(patient.message().await, reply["message"], "a clientId belongs to its sender");
    assert!(
        patient.events_so_far().await.is_empty(),
        "each message arrives once, and own messages never"
    );
    // A read position is sent to the reader's other devices too.
    let rest = doctor.events_so_far().await;
    let rest: Vec<_> = rest.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(rest, ["typing", "message:read"], "a send ends typing");
}

#[tokio::test]
async fn f27_all_devices_of_both_hear_everything_once() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut devices = Vec::new();
    for node in [0, 1] {
        for person in [&customer, &dentist] {
            let mut device = desk.connect(node, person).await;
            device.join(&session, None).await;
            devices.push(device);
        }
    }
    let sent = devices[0].send(&session, "k", "to all").await;
    for device in &mut devices[1..] {
        assert_eq!(device.message().await, sent, "every other device receives it");
    }
    // After a send over HTTP all sockets of the sender receive the message.
    let text = json!({ "clientId": "h", "kind": "text", "body": "by HTTP" });
    let path = format!("/api/chats/{session}/messages");
    let sent = desk.http(1, &customer).post(&path, &text).await.expect(201);
    for device in &mut devices {
        assert_eq!(device.message().await, sent["message"]);
        assert!(device.events_so_far().await.is_empty());
    }
    // One device reads, and the person's other device receives the position.
    let read = json!({ "sessionId": session, "seq": 2 });
    devices[0].request("message:read", read).await.unwrap();
    assert_eq!(devices[2].event("message:read").await["seq"], 2);
}

#[tokio::test]
async fn a_new_session_is_announced_to_those_who_have_not_joined_it() {
    let desk = two_nodes().await;
    let (customer, dentist) = (desk.customer(), desk.dentist());
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.events_so_far().await;
    let session = desk.session(&customer, &dentist).await;
    let announced = doctor.event("session:new").await;
    assert_eq!(announced["session"]["id"], *session);
    assert_eq!(announced["session"]["customer"]["id"], *customer.id);
    // A second request from either side returns the existing session.
    let with = json!({ "customerId": customer.id });
    let again = desk.http(1, &dentist).post("/api/chats", &with).await.expect(200);
    assert_eq!(again["id"], *session);
    assert!(doctor.events_so_far().await.is_empty());
}

#[tokio::test]
async fn whoever_leaves_hears_no_more_and_may_come_back() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    doctor.request("session:leave", json!({ "sessionId": session })).await.unwrap();
    patient.send(&session, "1", "unheard").await;
    assert!(doctor.events_so_far().await.is_empty());
    let back = doctor.join(&session, Some(0)).await;
    assert_eq!(back["messages"][0]["body"], "unheard");
    patient.send(&session, "2", "heard").await;
    assert_eq!(doctor.message().await["body"], "heard");
}

#[tokio::test]
async fn b43_a_client_id_gives_its_first_result_for_ever_on_any_node_and_by_any_way() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let key = unique("key");
    let first = patient.send(&session, &key, "first").await;
    assert_eq!(doctor.message().await, first);

    let mut elsewhere = desk.connect(1, &customer).await;
    let text =
        |body: &str| json!({ "sessionId": session, "clientId": key, "kind": "text", "body": body });
    let again = elsewhere.request("message:send", text("first")).await.unwrap();
    assert_eq!(again, json!({ "message": first, "duplicate": true }));
    let other = elsewhere.request("message:send", text("second")).await.unwrap();
    assert_eq!(other, json!({ "message": first, "duplicate": true, "differs": true }));
    let path = format!("/api/chats/{session}/messages");
    let by_http = desk.http(0, &customer).post(&path, &text("first")).await.expect(200);
    assert_eq!(by_http, json!({ "message": first, "duplicate": true }));

    assert_eq!(patient.send(&session, &unique("key"), "next").await["seq"], 2);
    assert_eq!(doctor.message().await["seq"], 2, "the repetitions were delivered");
}

#[tokio::test]
async fn the_same_send_many_times_at_once_is_one_message() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let text = json!({ "clientId": "once", "kind": "text", "body": "only once" });
    let path = format!("/api/chats/{session}/messages");
    let https = [desk.http(0, &customer), desk.http(1, &customer)];
    let sending = (0..20).map(|at| https[at % 2].post(&path, &text));
    let replies = futures_util::future::join_all(sending).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert!(replies.iter().all(|reply| reply.body["message"] == replies[0].body["message"]));
    let history = desk.http(0, &dentist).get(&path).await.expect(200);
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
}
