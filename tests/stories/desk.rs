//! How the desk handles a session: a dentist puts it aside or assigns it, and the customer learns nothing of it.

use frontdesk_test_support::{Client, Desk, Framing, Issuer, Person};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::{one_node, seqs, two_nodes};

async fn set(desk: &Desk, node: usize, me: &Person, session: &str, change: &Value) -> Value {
    desk.http(node, me).patch(&format!("/api/chats/{session}"), change).await.expect(200)
}

/// Waits for an update of the session that fits.
async fn updated(client: &mut Client, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let session = client.event("session:updated").await["session"].take();
        if fits(&session) {
            return session;
        }
    }
}

/// Waits for the end of a snooze, for longer than for other events.
async fn woken(client: &mut Client) {
    for _ in 0..6 {
        if let Some(heard) = client.try_event("session:updated").await
            && heard["session"]["desk"].is_null()
        {
            return;
        }
    }
    panic!("it does not wake");
}

/// Number of sessions in a dentist's list of this status.
async fn listed(desk: &Desk, me: &Person, status: &str) -> usize {
    let list = desk.http(0, me).get(&format!("/api/chats?status={status}")).await.expect(200);
    list["items"].as_array().unwrap().len()
}

/// The customer's answers look as if nobody handled the session.
async fn customer_sees_nothing(desk: &Desk, customer: &Person, session: &str) {
    let http = desk.http(0, customer);
    let one = http.get(&format!("/api/chats/{session}")).await.expect(200);
    assert_eq!((&one["status"], &one["desk"]), (&json!("open"), &Value::Null));
    for path in ["/api/chats", "/api/chats?status=open"] {
        let list = http.get(path).await.expect(200);
        assert_eq!(
            (&list["items"][0]["id"], &list["items"][0]["desk"]),
            (&json!(session), &Value::Null)
        );
    }
    for status in ["pending", "snoozed"] {
        let refused = http.get(&format!("/api/chats?status={status}")).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")));
        let change = json!({ "status": status });
        let refused = http.patch(&format!("/api/chats/{session}"), &change).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")));
    }
}

#[tokio::test]
async fn a_session_is_put_aside_until_its_time_or_until_its_customer_writes() {
    // Side by side: a session wakes within a minute of its time.
    tokio::join!(put_aside(two_nodes().await), put_aside(one_node().await));
}

async fn put_aside(desk: Desk) {
    let other = desk.nodes.len() - 1;
    let (customer, dana, session) = desk.pair().await;
    let mut doctor = desk.connect_by(Framing::SocketIo, other, &dana).await;
    let soon = (Timestamp::now() + 20.seconds()).to_string();
    let change = json!({ "status": "snoozed", "snoozedUntil": soon });
    let seen = set(&desk, 0, &dana, &session, &change).await;
    assert_eq!((&seen["status"], &seen["desk"]["status"]), (&json!("open"), &json!("snoozed")));
    let heard = updated(&mut doctor, |seen| seen["desk"]["status"] == "snoozed").await;
    assert_eq!(heard["desk"], seen["desk"]);
    assert_eq!((listed(&desk, &dana, "snoozed").await, listed(&desk, &dana, "open").await), (1, 1));
    customer_sees_nothing(&desk, &customer, &session).await;
    // Its time comes: whoever looks at the list sees it.
    woken(&mut doctor).await;
    assert!(Timestamp::now().to_string() >= soon, "not before its time");
    assert_eq!(listed(&desk, &dana, "snoozed").await, 0);

    // Without a time only the customer wakes it; the desk's own messages do not.
    set(&desk, other, &dana, &session, &json!({ "status": "snoozed" })).await;
    let mut patient = desk.connect(0, &customer).await;
    patient.join(&session, None).await;
    doctor.join(&session, None).await;
    doctor.send(&session, "1", "we are waiting for the laboratory").await;
    assert_eq!(patient.message().await["seq"], 1);
    assert_eq!(listed(&desk, &dana, "snoozed").await, 1);
    patient.send(&session, "2", "it hurts again").await;
    updated(&mut doctor, |seen| seen["lastSeq"] == 2 && seen["desk"].is_null()).await;
    assert_eq!(listed(&desk, &dana, "snoozed").await, 0);

    // A pending session stays pending.
    set(&desk, 0, &dana, &session, &json!({ "status": "pending" })).await;
    updated(&mut doctor, |seen| seen["desk"]["status"] == "pending").await;
    patient.send(&session, "3", "hello?").await;
    updated(&mut doctor, |seen| seen["lastSeq"] == 3 && seen["desk"]["status"] == "pending").await;
    customer_sees_nothing(&desk, &customer, &session).await;
    set(&desk, 0, &dana, &session, &json!({ "status": "closed" })).await;
    let closed = updated(&mut doctor, |seen| seen["status"] == "closed").await;
    assert_eq!(closed["desk"], Value::Null);
    let closed = updated(&mut patient, |seen| seen["status"] == "closed").await;
    assert_eq!(closed["desk"], Value::Null);
    assert_eq!(listed(&desk, &dana, "pending").await, 0);
    desk.is_unharmed(&[&customer, &dana], &["laboratory", "it hurts"]).await;
}

#[tokio::test]
async fn a_dentist_assigns_a_session_to_a_colleague_who_takes_part() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        let path = format!("/api/chats/{session}");
        let assign = json!({ "assigneeId": eve.id });
        let refused = desk.http(0, &dana).patch(&path, &assign).await;
        assert_eq!(
            (refused.status, &refused.body["detail"]),
            (400, &json!("assigneeId: names no professional of this session"))
        );
        let participants = format!("/api/admin/chats/{session}/participants");
        let add = json!({ "dentistId": eve.id });
        desk.http(0, &admin).post(&participants, &add).await.expect(201);
        let mut cover = desk.connect(other, &eve).await;
        set(&desk, 0, &dana, &session, &assign).await;
        let expected = json!({ "kind": "dentist", "id": eve.id });
        updated(&mut cover, |seen| seen["desk"]["assignee"] == expected).await;
        for me in [&dana, &eve] {
            let list = desk.http(other, me).get("/api/chats").await.expect(200);
            assert_eq!(list["items"][0]["desk"], json!({ "assignee": expected }));
        }
        let roster = desk.http(0, &admin).post(&participants, &add).await.expect(200);
        assert_eq!(roster["desk"]["assignee"], expected);
        customer_sees_nothing(&desk, &customer, &session).await;
        for refused in
            [json!({ "assigneeId": customer.id }), json!({ "assigneeId": "bot:assistant" })]
        {
            assert_eq!(desk.http(0, &dana).patch(&path, &refused).await.status, 400, "{refused}");
        }
        assert_eq!(desk.http(0, &customer).patch(&path, &assign).await.status, 403);
        assert_eq!(desk.http(0, &desk.dentist()).patch(&path, &assign).await.status, 404);
        // Its dentist takes it back.
        set(&desk, 0, &dana, &session, &json!({ "assigneeId": dana.id })).await;
        updated(&mut cover, |seen| seen["desk"].is_null()).await;
        desk.is_unharmed(&[&customer, &dana, &eve, &admin], &[]).await;
    }
}

#[tokio::test]
async fn a_customer_receives_no_event_of_what_the_desk_does() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        let mut doctor = desk.connect(other, &dana).await;
        let participants = format!("/api/admin/chats/{session}/participants");
        let add = json!({ "dentistId": eve.id });
        desk.http(0, &admin).post(&participants, &add).await.expect(201);
        updated(&mut doctor, |seen| !seen["participants"].is_null()).await;
        let mut patient = desk.connect(0, &customer).await;
        let later = (Timestamp::now() + 1.hour()).to_string();
        for (change, field, value) in [
            (json!({ "status": "pending" }), "status", json!("pending")),
            (json!({ "status": "snoozed", "snoozedUntil": later }), "status", json!("snoozed")),
            (
                json!({ "assigneeId": eve.id, "muted": true }),
                "assignee",
                json!({ "kind": "dentist", "id": eve.id }),
            ),
            (json!({ "assigneeId": dana.id, "muted": false }), "assignee", Value::Null),
            (json!({ "status": "open" }), "status", Value::Null),
        ] {
            set(&desk, 0, &dana, &session, &change).await;
            updated(&mut doctor, |seen| seen["desk"][field] == value).await;
        }
        // The first event that they receive is of the next message.
        let answer = json!({ "clientId": "1", "kind": "text", "body": "Come on Monday" });
        let messages = format!("/api/chats/{session}/messages");
        desk.http(other, &dana).post(&messages, &answer).await.expect(201);
        let heard = patient.event("session:updated").await;
        assert_eq!(
            (&heard["session"]["lastSeq"], &heard["session"]["rev"]),
            (&json!(1), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_wrong_change_of_a_session_is_refused_and_names_its_field() {
    let desk = one_node().await;
    let (_, dana, session) = desk.pair().await;
    let path = format!("/api/chats/{session}");
    let later = (Timestamp::now() + 1.hour()).to_string();
    for (change, field) in [
        (json!({ "status": "asleep" }), "status"),
        (json!({ "snoozedUntil": later }), "snoozedUntil"),
        (json!({ "status": "pending", "snoozedUntil": later }), "snoozedUntil"),
        (json!({ "status": "snoozed", "snoozedUntil": "2026-01-01T00:00:00Z" }), "snoozedUntil"),
        (json!({ "status": "snoozed", "snoozedUntil": "2999-01-01T00:00:00Z" }), "snoozedUntil"),
        (json!({ "status": "snoozed", "snoozedUntil": "tomorrow" }), "snoozedUntil"),
        (json!({ "status": "snoozed", "snoozedUntil": 7 }), "snoozedUntil"),
        (json!({ "assigneeId": "a b" }), "assigneeId"),
        (json!({ "assigneeId": "system:frontdesk" }), "assigneeId"),
        (json!({ "assigneeId": "nobody" }), "assigneeId"),
    ] {
        let refused = desk.http(0, &dana).patch(&path, &change).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (400, &json!("invalid_request")),
            "{change}"
        );
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("{field}: ")), "{change}: {detail}");
    }
    // Notes are neither put aside nor assigned.
    let notes = desk.http(0, &dana).post(&format!("{path}/notes"), &json!({})).await.expect(201);
    let notes = format!("/api/chats/{}", notes["id"].as_str().unwrap());
    for change in [json!({ "status": "pending" }), json!({ "assigneeId": dana.id })] {
        let refused = desk.http(0, &dana).patch(&notes, &change).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")));
    }
    let kept = desk.http(0, &dana).get(&path).await.expect(200);
    assert_eq!((&kept["status"], &kept["desk"]), (&json!("open"), &Value::Null));
}

/// Rows as a later version writes them, which has bots.
const BOT: &str = "
    insert into members (session_id, kind, person_id, name, muted)
        values ('SESSION', 'dentist', 'bot:assistant', 'Assistant', true);
    update sessions set shared = true, last_seq = last_seq + 1, rev = rev + 1, active_at = now() where id = 'SESSION';
    insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, created_at)
        select id, last_seq, gen_random_uuid(), 'dentist', 'bot:assistant', 'k', 'text', 'We open at nine', now()
        from sessions where id = 'SESSION'";

#[tokio::test]
async fn i12_a_bot_of_a_later_version_writes_as_one_of_the_desk() {
    let desk = two_nodes().await;
    let (customer, dana, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dana).await;
    for client in [&mut patient, &mut doctor] {
        client.join(&session, None).await;
    }
    let database = desk.database.as_ref().unwrap().client().await;
    database.batch_execute(&BOT.replace("SESSION", &session)).await.unwrap();
    let sender =
        json!({ "kind": "dentist", "id": "bot:assistant", "actor": "bot", "name": "Assistant" });
    for client in [&mut patient, &mut doctor] {
        let heard = client.message().await;
        assert_eq!((&heard["body"], &heard["sender"]), (&json!("We open at nine"), &sender));
    }
    for (me, unread) in [(&customer, 1), (&dana, 0)] {
        let seen = desk.http(0, me).get(&format!("/api/chats/{session}")).await.expect(200);
        assert_eq!(
            (&seen["unread"], &seen["participants"][0]["actor"]),
            (&json!(unread), &json!("bot"))
        );
        let page =
            desk.http(1, me).get(&format!("/api/chats/{session}/messages")).await.expect(200);
        assert_eq!(seqs(&page["items"]), [1]);
    }
    // Nobody is a bot by their token, and nobody opens a session with one.
    let posing = Issuer::dentist("bot:assistant");
    let refused = desk.http(0, &Person { token: posing, ..desk.dentist() }).get("/api/chats").await;
    assert_eq!((refused.status, &refused.body["code"]), (401, &json!("token_invalid")));
    let open = json!({ "dentistId": "bot:assistant" });
    let refused = desk.http(0, &customer).post("/api/chats", &open).await;
    assert_eq!((refused.status, &refused.body["code"]), (400, &json!("invalid_request")));
    desk.is_unharmed(&[&customer, &dana], &["We open at nine"]).await;
}
