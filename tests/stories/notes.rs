//! Private notes: the professionals of a session write to each other, and its customer learns nothing of it.

use frontdesk_test_support::{Desk, Framing, OneSignal, Person, Servers, eventually};
use serde_json::{Value, json};

use crate::{FRONTDESK, one_node, refusals::is_stranger, seqs, two_nodes};

/// Opens the notes of a session. Returns their id.
async fn opened(desk: &Desk, node: usize, me: &Person, session: &str) -> String {
    let path = format!("/api/chats/{session}/notes");
    let notes = desk.http(node, me).post(&path, &json!({})).await;
    assert!(notes.status == 200 || notes.status == 201, "{}", notes.status);
    notes.body["id"].as_str().unwrap().to_owned()
}

/// Session and number of a message.
fn place(message: &Value) -> (&str, u64) {
    (message["sessionId"].as_str().unwrap(), message["seq"].as_u64().unwrap())
}

/// Number of messages that a person finds by a word.
async fn found(desk: &Desk, me: &Person, word: &str) -> usize {
    let found = desk.http(0, me).get(&format!("/api/chats/search?q={word}")).await.expect(200);
    found["items"].as_array().unwrap().len()
}

/// Of a session with two public messages ("it hurts" and an answer) and notes with "cavity".
async fn customer_sees_nothing(
    desk: &Desk,
    node: usize,
    customer: &Person,
    session: &str,
    notes: &str,
) {
    let http = desk.http(node, customer);
    let path = format!("/api/chats/{session}/notes");
    for refused in [http.get(&path).await, http.post(&path, &json!({})).await] {
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")));
    }
    let messages = format!("/api/chats/{session}/messages");
    let private = json!({ "clientId": "k", "kind": "text", "body": "x", "visibility": "private" });
    assert_eq!(http.post(&messages, &private).await.status, 403);
    let page = http.get(&messages).await.expect(200);
    assert_eq!(seqs(&page["items"]), [1, 2], "without a gap");
    for answer in [page, http.get("/api/chats").await.expect(200)] {
        let text = answer.to_string();
        assert!(!text.contains(notes) && !text.contains("cavity"), "{text}");
    }
    eventually("the customer's text is indexed", async || {
        found(desk, customer, "hurts").await == 1
    })
    .await;
    assert_eq!(found(desk, customer, "cavity").await, 0);
    let unread = http.get("/api/chats/unread").await.expect(200);
    assert_eq!(unread["total"], 1);
}

#[tokio::test]
async fn dentists_write_notes_that_their_customer_never_sees() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        let participants = format!("/api/admin/chats/{session}/participants");
        let add = json!({ "dentistId": eve.id });
        desk.http(0, &admin).post(&participants, &add).await.expect(201);
        let mut patient = desk.connect(0, &customer).await;
        patient.join(&session, None).await;
        patient.send(&session, "1", "it hurts").await;
        let mut doctor = desk.connect(0, &dana).await;
        let mut cover = desk.connect_by(Framing::SocketIo, other, &eve).await;
        for client in [&mut doctor, &mut cover] {
            client.join(&session, None).await;
        }
        // Nobody has notes until a dentist opens them.
        let path = format!("/api/chats/{session}/notes");
        assert_eq!(desk.http(0, &dana).get(&path).await.status, 404);
        let made = desk.http(0, &dana).post(&path, &json!({})).await.expect(201);
        let notes = made["id"].as_str().unwrap();
        assert_eq!((&made["notesOf"], &made["lastSeq"]), (&json!(session), &json!(0)));
        assert_eq!(made["customer"]["id"], customer.id.as_str());
        assert_eq!(desk.http(other, &eve).get(&path).await.expect(200)["id"], notes);
        // They work like a session, and each connection of a dentist learns of them.
        for client in [&mut doctor, &mut cover] {
            assert_eq!(client.event("notes:updated").await["session"]["id"], notes);
            let joined = client.join(notes, None).await;
            assert_eq!(joined["session"]["notesOf"], session.as_str());
        }
        let first = doctor.send(notes, "1", "cavity suspected").await;
        assert_eq!(place(&first), (notes, 1));
        let heard = cover.message().await;
        assert_eq!(
            (&heard["body"], &heard["sessionId"]),
            (&json!("cavity suspected"), &json!(notes))
        );
        // A message that is marked as private goes there by itself.
        let mark = json!({
            "sessionId": session, "clientId": "2", "kind": "text", "body": "call the lab", "visibility": "private",
        });
        for duplicate in [Value::Null, json!(true)] {
            let sent = cover.request("message:send", mark.clone()).await.unwrap();
            assert_eq!(place(&sent["message"]), (notes, 2));
            assert_eq!(sent["duplicate"], duplicate);
        }
        assert_eq!(doctor.message().await["body"], "call the lab");
        let mut over_http = mark.clone();
        over_http["clientId"] = json!("3");
        let messages = format!("/api/chats/{session}/messages");
        let sent = desk.http(other, &dana).post(&messages, &over_http).await.expect(201);
        assert_eq!(place(&sent["message"]), (notes, 3));
        assert_eq!(cover.message().await["seq"], 3);
        let unread = async || desk.http(0, &eve).get(&path).await.expect(200)["unread"].clone();
        assert_eq!(unread().await, 2);
        cover.request("message:read", json!({ "sessionId": notes, "seq": 3 })).await.unwrap();
        assert_eq!(unread().await, 0);

        doctor.send(&session, "9", "we call you").await;
        let next = patient.message().await;
        assert_eq!((&next["body"], &next["seq"]), (&json!("we call you"), &json!(2)));
        let refused = patient.request("message:send", mark).await.unwrap_err();
        assert_eq!(refused["code"], "forbidden");
        customer_sees_nothing(&desk, other, &customer, &session, notes).await;
        eventually("a dentist finds the note", async || found(&desk, &eve, "cavity").await == 1)
            .await;
        // Today's apps of dentists see one session, as before.
        let list = desk.http(0, &eve).get("/api/chats").await.expect(200);
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        desk.is_unharmed(&[&customer, &dana, &eve, &admin], &["cavity suspected", "call the lab"])
            .await;
    }
}

#[tokio::test]
async fn b39_the_id_of_notes_is_no_use_to_a_customer() {
    let desk = two_nodes().await;
    let (customer, dana, session) = desk.pair().await;
    let notes = opened(&desk, 0, &dana, &session).await;
    let message = desk.connect(0, &dana).await.send(&notes, "k", "for dentists").await;
    is_stranger(&desk, &customer, &notes, message["id"].as_str().unwrap()).await;
    is_stranger(&desk, &desk.dentist(), &notes, message["id"].as_str().unwrap()).await;
    desk.is_unharmed(&[&customer, &dana], &["for dentists"]).await;
}

#[tokio::test]
async fn a_removed_dentist_leaves_the_notes_too() {
    let desk = two_nodes().await;
    let (admin, eve) = (desk.admin(), desk.dentist());
    let (_, dana, session) = desk.pair().await;
    let participants = format!("/api/admin/chats/{session}/participants");
    desk.http(0, &admin).post(&participants, &json!({ "dentistId": eve.id })).await.expect(201);
    let notes = opened(&desk, 0, &dana, &session).await;
    let mut cover = desk.connect(1, &eve).await;
    cover.join(&notes, None).await;
    desk.http(0, &admin).delete(&format!("{participants}/{}", eve.id)).await;
    assert_eq!(cover.closed().await, 1001);
    let sent = desk.connect(0, &dana).await.send(&notes, "k", "between us").await;
    is_stranger(&desk, &eve, &notes, sent["id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn notes_send_no_push() {
    let service = OneSignal::start().await;
    let redis_port = Servers::get().await.redis_port;
    for desk in [
        Desk::cluster_with(FRONTDESK, 2, redis_port, &service.variables()).await,
        Desk::embedded_with(FRONTDESK, &service.variables()).await,
    ] {
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        let participants = format!("/api/admin/chats/{session}/participants");
        let add = json!({ "dentistId": eve.id });
        desk.http(0, &admin).post(&participants, &add).await.expect(201);
        let notes = opened(&desk, 0, &dana, &session).await;
        let before = service.made_so_far();
        desk.greet(&dana, &notes).await;
        desk.greet(&dana, &session).await;
        eventually("the customer's push", async || !service.made_to(&customer.id).is_empty()).await;
        assert_eq!(service.made_so_far(), before + 1, "for the message to the customer alone");
    }
}
