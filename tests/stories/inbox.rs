//! Live state of sessions: unread counts, receipts, presence, typing, closing and muting.

use std::time::{Duration, Instant};

use frontdesk_test_support::{Client, Desk, Framing, Person};
use serde_json::{Value, json};

use crate::{one_node, two_nodes};

/// Waits for a `session:updated` event that meets a condition.
async fn told(client: &mut Client, says: impl Fn(&Value) -> bool) -> Value {
    loop {
        let session = client.event("session:updated").await["session"].take();
        if says(&session) {
            return session;
        }
    }
}

#[tokio::test]
async fn unread_counts_and_receipts_are_live_on_every_device_joined_or_not() {
    for desk in [two_nodes().await, one_node().await] {
        for framing in [Framing::Native, Framing::SocketIo] {
            counts_and_receipts(&desk, framing).await;
        }
    }
}

async fn counts_and_receipts(desk: &Desk, framing: Framing) {
    let last = desk.nodes.len() - 1;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect_by(framing, 0, &customer).await;
    let mut doctor = desk.connect_by(framing, last, &dentist).await;
    let mut tablet = desk.connect_by(framing, 0, &dentist).await;
    let joined = patient.join(&session, None).await;
    assert_eq!(joined["session"]["otherDeliveredSeq"], 0);
    for number in 1..=3 {
        patient.send(&session, &number.to_string(), "Hello?").await;
    }
    for device in [&mut doctor, &mut tablet] {
        let session = told(device, |session| session["unread"] == 3).await;
        assert_eq!((&session["lastSeq"], &session["lastMessage"]["seq"]), (&json!(3), &json!(3)));
        assert_eq!(session["deliveredSeq"], 0, "no device has joined yet");
    }
    // The dentist's device receives the messages, so the sender's one tick becomes two.
    doctor.join(&session, None).await;
    let delivered = doctor.listen_while(patient.event("message:delivered")).await;
    let to = json!({ "kind": "dentist", "id": dentist.id });
    assert_eq!(delivered, json!({ "sessionId": session, "to": to, "seq": 3 }));
    let mine = told(&mut patient, |session| session["otherDeliveredSeq"] == 3).await;
    assert_eq!((&mine["unread"], &mine["otherReadSeq"]), (&json!(0), &json!(0)));
    // A read position of one device counts for all devices.
    let read = json!({ "sessionId": session, "seq": 2 });
    doctor.request("message:read", read).await.unwrap();
    assert_eq!(patient.event("message:read").await["seq"], 2);
    told(&mut tablet, |session| session["unread"] == 1).await;
    told(&mut patient, |session| session["otherReadSeq"] == 2).await;
    // A live message is delivered as soon as it arrives.
    patient.send(&session, "4", "Are you there?").await;
    doctor.message().await;
    let delivered = async { while patient.event("message:delivered").await["seq"] != 4 {} };
    let sent = Instant::now();
    doctor.listen_while(delivered).await;
    assert!(sent.elapsed() < Duration::from_secs(12), "the receipt waits for the next ping");
    // A deleted message does not count as unread.
    let gone = patient.send(&session, "5", "Never mind").await;
    let path = format!("/api/chats/{session}/messages/{}", gone["id"].as_str().unwrap());
    desk.http(last, &customer).delete(&path).await.expect(200);
    let all = json!({ "sessionId": session, "seq": 3 });
    doctor.request("message:read", all).await.unwrap();
    told(&mut tablet, |session| session["unread"] == 1 && session["lastSeq"] == 5).await;
    let unread = desk.http(0, &dentist).get("/api/chats/unread").await.expect(200);
    assert_eq!(unread, json!({ "total": 1, "sessions": { session: 1 } }));
}

#[tokio::test]
async fn counts_stay_exact_while_people_send_and_read_at_once() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut tablet = desk.connect(1, &dentist).await;
    let sending = async {
        let mut patient = desk.connect(0, &customer).await;
        for number in 0..150 {
            patient.send(&session, &number.to_string(), "x").await;
        }
    };
    let reading = async {
        let mut doctor = desk.connect(1, &dentist).await;
        for seq in (0..140).step_by(7) {
            let read = json!({ "sessionId": session, "seq": seq });
            doctor.request("message:read", read).await.unwrap();
        }
        drop(doctor.request("message:read", json!({ "sessionId": session, "seq": 100 })).await);
    };
    tokio::join!(sending, reading);
    let path = format!("/api/chats/{session}");
    let read = json!({ "seq": 100 });
    desk.http(0, &dentist).post(&format!("{path}/read"), &read).await.expect(200);
    let now = desk.http(0, &dentist).get(&path).await.expect(200);
    assert_eq!((&now["unread"], &now["readSeq"]), (&json!(50), &json!(100)));
    // The last event has the final state, and each earlier count was true when it was sent.
    let told = told(&mut tablet, |session| session["lastSeq"] == 150 && session["readSeq"] == 100);
    assert_eq!(told.await["unread"], 50);
}

#[tokio::test]
async fn a_session_is_closed_opened_again_and_muted() {
    for desk in [two_nodes().await, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let path = format!("/api/chats/{session}");
        let (patient, doctor) = (desk.http(0, &customer), desk.http(0, &dentist));
        let mut phone = desk.connect_by(Framing::SocketIo, 0, &customer).await;
        let closed = doctor.patch(&path, &json!({ "status": "closed" })).await.expect(200);
        assert_eq!(closed["status"], "closed");
        doctor.patch(&path, &json!({ "status": "closed" })).await.expect(200);
        told(&mut phone, |session| session["status"] == "closed").await;
        let text = json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": "x" });
        let refused = phone.request("message:send", text.clone()).await.unwrap_err();
        assert_eq!(refused["code"], "session_closed");
        let list = patient.get("/api/chats?status=closed").await.expect(200);
        assert_eq!(list["items"][0]["id"], *session);
        // B40: only a dentist may open and close a session.
        for status in ["open", "closed"] {
            let refused = patient.patch(&path, &json!({ "status": status })).await.expect(403);
            assert_eq!(refused["code"], "forbidden");
        }
        // A closed session allows a new one, and cannot be opened again beside it.
        let second = desk.session(&customer, &dentist).await;
        let refused = doctor.patch(&path, &json!({ "status": "open" })).await.expect(409);
        assert_eq!(refused["code"], "another_is_open");
        let second = format!("/api/chats/{second}");
        doctor.patch(&second, &json!({ "status": "closed" })).await.expect(200);
        let opened = doctor.patch(&path, &json!({ "status": "open" })).await.expect(200);
        assert_eq!(opened["status"], "open");
        phone.request("message:send", text).await.unwrap();
        // Muting concerns only the person who mutes.
        let muted = patient.patch(&path, &json!({ "muted": true })).await.expect(200);
        assert_eq!(muted["muted"], true);
        told(&mut phone, |session| session["muted"] == true).await;
        assert_eq!(doctor.get(&path).await.expect(200)["muted"], false);
        for odd in [json!({ "status": "ajar" }), json!({ "muted": "yes" })] {
            patient.patch(&path, &odd).await.expect(400);
        }
        let (stranger, ..) = desk.pair().await;
        for change in [json!({ "muted": true }), json!({ "status": "closed" })] {
            desk.http(0, &stranger).patch(&path, &change).await.expect(404);
        }
    }
}

/// The next presence event of a person.
async fn presence(client: &mut Client, of: &Person) -> Value {
    loop {
        let presence = client.event("presence").await;
        if presence["who"]["id"] == of.id {
            return presence;
        }
    }
}

#[tokio::test]
async fn f22_people_see_each_other_come_and_go_over_nodes_and_devices() {
    for desk in [two_nodes().await, one_node().await] {
        let last = desk.nodes.len() - 1;
        let (customer, dentist, session) = desk.acquaintances().await;
        let mut patient = desk.connect(0, &customer).await;
        patient.join(&session, None).await;
        let never = json!({
            "who": { "kind": "dentist", "id": dentist.id }, "online": false, "lastSeen": null,
        });
        assert_eq!(
            presence(&mut patient, &dentist).await,
            never,
            "a join sends the current presence"
        );
        let doctor = desk.connect_by(Framing::SocketIo, last, &dentist).await;
        assert_eq!(presence(&mut patient, &dentist).await["online"], true);
        // A second device keeps the person online.
        let tablet = desk.connect(0, &dentist).await;
        drop(doctor);
        let mut second = desk.connect(last, &customer).await;
        second.join(&session, None).await;
        assert_eq!(presence(&mut second, &dentist).await["online"], true);
        drop(tablet);
        let gone = presence(&mut patient, &dentist).await;
        assert_eq!(gone["online"], false);
        assert!(gone["lastSeen"].as_str().is_some_and(|seen| seen.ends_with('Z')), "{gone}");
        // A phone that reconnects at once does not go offline for others.
        let phone = desk.connect(0, &dentist).await;
        assert_eq!(presence(&mut patient, &dentist).await["online"], true);
        drop(phone);
        let _again = desk.connect(last, &dentist).await;
        let waiting = tokio::time::timeout(
            std::time::Duration::from_secs(9),
            presence(&mut patient, &dentist),
        );
        assert!(waiting.await.is_err(), "the presence changed");
    }
}

#[tokio::test]
async fn whoever_has_left_a_session_or_finds_it_closed_is_told_of_nobodys_presence() {
    let desk = two_nodes().await;
    let (customer, dentist, session) = desk.acquaintances().await;
    let mut patient = desk.connect(0, &customer).await;
    patient.join(&session, None).await;
    assert_eq!(presence(&mut patient, &dentist).await["online"], false);
    patient.request("session:leave", json!({ "sessionId": session })).await.unwrap();
    let path = format!("/api/chats/{session}");
    let closed = json!({ "status": "closed" });
    desk.http(0, &dentist).patch(&path, &closed).await.expect(200);
    let mut late = desk.connect(1, &customer).await;
    late.join(&session, None).await;
    let _doctor = desk.connect(1, &dentist).await;
    // Another patient of the dentist receives the event; by then the first one would have received it
    // too.
    let other = desk.customer();
    let theirs = desk.session(&other, &dentist).await;
    desk.greet(&dentist, &theirs).await;
    let mut told = desk.connect(0, &other).await;
    told.join(&theirs, None).await;
    while presence(&mut told, &dentist).await["online"] != true {}
    for client in [&mut patient, &mut late] {
        client.patience = std::time::Duration::from_secs(4);
        let heard = client.try_event("presence").await;
        assert!(heard.is_none(), "{heard:?}");
    }
}

#[tokio::test]
async fn f1_the_people_of_a_node_that_is_killed_are_gone_within_30_s() {
    let mut desk = two_nodes().await;
    let (customer, dentist, session) = desk.acquaintances().await;
    let mut patient = desk.connect(0, &customer).await;
    patient.join(&session, None).await;
    let _doctor = desk.connect(1, &dentist).await;
    while presence(&mut patient, &dentist).await["online"] != true {}
    desk.nodes[1].kill().await;
    patient.patience = std::time::Duration::from_secs(30);
    while presence(&mut patient, &dentist).await["online"] != false {}
}

#[tokio::test]
async fn b50_typing_ends_by_itself_and_a_flood_of_it_is_told_seldom() {
    for desk in [two_nodes().await, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let mut patient = desk.connect_by(Framing::SocketIo, 0, &customer).await;
        let mut doctor = desk.connect(desk.nodes.len() - 1, &dentist).await;
        patient.join(&session, None).await;
        doctor.join(&session, None).await;
        let here = json!({ "sessionId": session });
        for _ in 0..50 {
            patient.say("typing:start", &here).await;
        }
        assert_eq!(doctor.event("typing").await["on"], true);
        // Typing ends by itself, and no other event was sent meanwhile.
        assert_eq!(doctor.event("typing").await["on"], false);
        patient.say("typing:start", &here).await;
        assert_eq!(doctor.event("typing").await["on"], true);
        patient.send(&session, "k", "done").await;
        assert_eq!(doctor.event("typing").await["on"], false, "a message ends typing");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        patient.say("typing:start", &here).await;
        assert_eq!(doctor.event("typing").await["on"], true);
        drop(patient);
        assert_eq!(
            doctor.event("typing").await["on"],
            false,
            "the end of a connection ends typing"
        );
    }
}

#[tokio::test]
async fn a_list_that_is_paged_misses_no_session_that_becomes_active_meanwhile() {
    for desk in [two_nodes().await, one_node().await] {
        let dentist = desk.dentist();
        let mut sessions = Vec::new();
        for _ in 0..6 {
            let customer = desk.customer();
            let session = desk.session(&customer, &dentist).await;
            sessions.push((desk.connect(0, &customer).await, session));
        }
        let http = desk.http(0, &dentist);
        let mut path = "/api/chats?limit=2".to_owned();
        let mut listed = Vec::new();
        for page in 0.. {
            let list = http.get(&path).await.expect(200);
            let ids = list["items"].as_array().unwrap().iter().map(|item| item["id"].clone());
            listed.extend(ids);
            let Some(cursor) = list["nextCursor"].as_str() else { break };
            path = format!("/api/chats?limit=2&cursor={cursor}");
            // The last session moves to the top, past the cursor.
            if page == 0 {
                let (patient, session) = &mut sessions[0];
                patient.send(session, "k", "Me first").await;
            }
        }
        for (_, session) in &sessions {
            assert!(listed.contains(&json!(session)), "{session} is missing in {listed:?}");
        }
    }
}
