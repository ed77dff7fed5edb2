//! A dentist is covered by another one: who takes part in a session, or takes it over.

use frontdesk_test_support::{Client, Desk, OneSignal, Person, Reply, Servers, eventually};
use serde_json::{Value, json};

use crate::{FRONTDESK, one_node, seqs, tenants::operated, two_nodes};

/// Sends an administrative request about a session.
async fn ask(desk: &Desk, admin: &Person, session: &str, act: &str, dentist: &Person) -> Reply {
    let path = format!("/api/admin/chats/{session}/{act}");
    desk.http(0, admin).post(&path, &json!({ "dentistId": dentist.id })).await
}

/// The only session in a person's list, as they see it.
async fn listed(desk: &Desk, node: usize, person: &Person) -> Value {
    let list = desk.http(node, person).get("/api/chats").await.expect(200);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    items[0].clone()
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

fn ids(members: &Value) -> Vec<&str> {
    let members = members.as_array().map(Vec::as_slice).unwrap_or_default();
    members.iter().map(|member| member["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn another_dentist_takes_part_with_the_history_and_everyone_is_told() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        let mut doctor = desk.connect(other, &dana).await;
        let mut cover = desk.connect(other, &eve).await;
        patient.join(&session, None).await;
        doctor.join(&session, None).await;
        for number in 1..=3 {
            patient.send(&session, &number.to_string(), "it hurts").await;
            doctor.message().await;
        }
        doctor.request("message:read", json!({ "sessionId": session, "seq": 1 })).await.unwrap();
        let before = desk.http(0, &eve).get(&format!("/api/chats/{session}")).await;
        assert_eq!(before.status, 404);

        let roster = ask(&desk, &admin, &session, "participants", &eve).await.expect(201);
        assert_eq!(
            (&roster["dentist"]["id"], ids(&roster["participants"])),
            (&json!(dana.id), vec![eve.id.as_str()])
        );
        let again = ask(&desk, &admin, &session, "participants", &eve).await.expect(200);
        assert_eq!(again, roster);
        let opened = cover.event("session:new").await["session"].take();
        assert_eq!((&opened["id"], &opened["unread"]), (&json!(session), &json!(2)));
        for client in [&mut patient, &mut doctor, &mut cover] {
            let seen = updated(client, |seen| !seen["participants"].is_null()).await;
            assert_eq!(
                (&seen["dentist"]["id"], ids(&seen["participants"])),
                (&json!(dana.id), vec![eve.id.as_str()])
            );
            assert_eq!(seen["customer"]["id"], customer.id.as_str());
        }
        // With the whole history, and a position of their own.
        let joined = cover.join(&session, Some(0)).await;
        assert_eq!(seqs(&joined["messages"]), [1, 2, 3]);
        let answer = cover.send(&session, "from-eve", "I am here today").await;
        assert_eq!(answer["seq"], 4);
        for client in [&mut patient, &mut doctor] {
            let heard = client.message().await;
            assert_eq!(
                (&heard["body"], &heard["sender"]["id"]),
                (&json!("I am here today"), &json!(eve.id))
            );
        }
        patient.send(&session, "4", "thank you").await;
        for client in [&mut doctor, &mut cover] {
            assert_eq!(client.message().await["body"], "thank you");
        }
        cover.request("message:read", json!({ "sessionId": session, "seq": 5 })).await.unwrap();
        let (of_dana, of_eve) = (listed(&desk, 0, &dana).await, listed(&desk, other, &eve).await);
        assert_eq!((&of_dana["unread"], &of_dana["readSeq"]), (&json!(3), &json!(1)));
        assert_eq!((&of_eve["unread"], &of_eve["readSeq"]), (&json!(0), &json!(5)));
        assert_eq!(of_eve["dentist"]["name"], of_dana["dentist"]["name"]);
        let of_customer = listed(&desk, other, &customer).await;
        assert_eq!(of_customer["otherReadSeq"], 5, "either of them has read it");
        let unread = desk.http(0, &dana).get("/api/chats/unread").await.expect(200);
        assert_eq!(unread["total"], 3);
        let found = async || {
            let found = desk.http(0, &eve).get("/api/chats/search?q=thank").await.expect(200);
            found["items"].as_array().unwrap().len() == 1
        };
        eventually("eve finds what was written", found).await;
        desk.is_unharmed(&[&customer, &dana, &eve, &admin], &["it hurts"]).await;
    }
}

#[tokio::test]
async fn a_session_is_handed_over_and_the_list_shows_it_once() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        let mut patient = desk.connect(other, &customer).await;
        patient.join(&session, None).await;
        let roster = ask(&desk, &admin, &session, "transfer", &eve).await.expect(200);
        assert_eq!(
            (&roster["dentist"]["id"], ids(&roster["participants"])),
            (&json!(eve.id), vec![dana.id.as_str()])
        );
        let seen = updated(&mut patient, |seen| seen["dentist"]["id"] == eve.id.as_str()).await;
        assert_eq!(ids(&seen["participants"]), [dana.id.as_str()]);
        let (of_dana, of_eve) = (listed(&desk, 0, &dana).await, listed(&desk, other, &eve).await);
        assert_eq!((&of_dana["muted"], &of_eve["muted"]), (&json!(true), &json!(false)));
        assert_eq!(listed(&desk, 0, &customer).await["dentist"]["id"], eve.id.as_str());
        // Both still talk in it; it is Eve's, so Dana's next one with the patient is another.
        desk.greet(&dana, &session).await;
        desk.greet(&eve, &session).await;
        let open = async |with: &Person| {
            desk.http(0, &customer).post("/api/chats", &json!({ "dentistId": with.id })).await
        };
        assert_eq!(open(&eve).await.expect(200)["id"], session.as_str());
        let second = open(&dana).await.expect(201)["id"].clone();
        assert_ne!(second, session.as_str());
        let refused = ask(&desk, &admin, &session, "transfer", &dana).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("another_is_open")));
        let close = json!({ "status": "closed" });
        let path = format!("/api/chats/{}", second.as_str().unwrap());
        desk.http(0, &dana).patch(&path, &close).await.expect(200);
        ask(&desk, &admin, &session, "transfer", &dana).await.expect(200);
        let back = ask(&desk, &admin, &session, "transfer", &dana).await.expect(200);
        assert_eq!(
            (&back["dentist"]["id"], ids(&back["participants"])),
            (&json!(dana.id), vec![eve.id.as_str()])
        );
        let path = format!("/api/chats/{session}");
        let seen = desk.http(0, &dana).get(&path).await.expect(200);
        assert_eq!(seen["muted"], false, "who takes over hears of it");
        // Eve closes it like any dentist, and each act is in the log once.
        desk.http(0, &eve).patch(&path, &close).await.expect(200);
        let log = desk.http(0, &admin).get("/api/admin/audit").await.expect(200);
        let acts: Vec<_> =
            log["items"].as_array().unwrap().iter().map(|entry| &entry["act"]).collect();
        assert_eq!(acts, ["transfer_session", "transfer_session"]);
        assert_eq!(log["items"][1]["user"]["id"], eve.id.as_str());
        assert_eq!(log["items"][1]["sessionId"], session.as_str());
    }
}

/// Asks to end a dentist's part in a session.
async fn remove(desk: &Desk, admin: &Person, session: &str, dentist: &Person) -> Reply {
    let path = format!("/api/admin/chats/{session}/participants/{}", dentist.id);
    desk.http(0, admin).delete(&path).await
}

#[tokio::test]
async fn a_removed_participant_finds_the_session_no_longer() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        ask(&desk, &admin, &session, "participants", &eve).await.expect(201);
        let mut patient = desk.connect(0, &customer).await;
        let mut cover = desk.connect(other, &eve).await;
        for client in [&mut patient, &mut cover] {
            client.join(&session, None).await;
        }
        patient.send(&session, "1", "thank you").await;
        assert_eq!(cover.message().await["body"], "thank you");
        let found = async || {
            let found = desk.http(0, &eve).get("/api/chats/search?q=thank").await.expect(200);
            found["items"].as_array().unwrap().len()
        };
        eventually("eve finds it", async || found().await == 1).await;

        let refused = remove(&desk, &admin, &session, &dana).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("session_is_theirs")));
        for who in [&eve, &eve, &desk.dentist()] {
            let removed = remove(&desk, &admin, &session, who).await;
            assert_eq!(removed.status, 204, "a repeat is the same, and a stranger takes no part");
        }
        // At once for requests, and soon for a connection that has joined.
        let absent = json!("session_not_found");
        for (event, data) in [
            (
                "message:send",
                json!({ "sessionId": session, "clientId": "2", "kind": "text", "body": "hello" }),
            ),
            ("message:read", json!({ "sessionId": session, "seq": 1 })),
        ] {
            assert_eq!(cover.request(event, data).await.unwrap_err()["code"], absent, "{event}");
        }
        for part in ["", "/messages"] {
            let path = format!("/api/chats/{session}{part}");
            let refused = desk.http(0, &eve).get(&path).await;
            assert_eq!((refused.status, &refused.body["code"]), (404, &absent));
        }
        assert_eq!(found().await, 0);
        let list = desk.http(other, &eve).get("/api/chats").await.expect(200);
        assert_eq!(list["items"], json!([]));
        assert_eq!(desk.http(0, &eve).get("/api/chats/unread").await.expect(200)["total"], 0);
        assert_eq!(cover.closed().await, 1001);
        let mut cover = desk.connect(other, &eve).await;
        let join = json!({ "sessionId": session, "after": 0 });
        assert_eq!(cover.request("session:join", join).await.unwrap_err()["code"], absent);
        desk.is_unharmed(&[&customer, &dana, &eve, &admin], &["thank you"]).await;
    }
}

#[tokio::test]
async fn what_a_removed_participant_has_written_stays_and_they_may_return() {
    for desk in [two_nodes().await, one_node().await] {
        let other = desk.nodes.len() - 1;
        let (admin, eve) = (desk.admin(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        ask(&desk, &admin, &session, "participants", &eve).await.expect(201);
        let mut patient = desk.connect(0, &customer).await;
        let mut doctor = desk.connect(other, &dana).await;
        for client in [&mut patient, &mut doctor] {
            client.join(&session, None).await;
        }
        let mut cover = desk.connect(other, &eve).await;
        cover.join(&session, None).await;
        cover.send(&session, "from-eve", "I have looked at it").await;
        patient.send(&session, "1", "thanks").await;
        cover.request("message:read", json!({ "sessionId": session, "seq": 2 })).await.unwrap();
        for client in [&mut patient, &mut doctor] {
            updated(client, |seen| seen["lastSeq"] == 2).await;
        }
        remove(&desk, &admin, &session, &eve).await;
        for client in [&mut patient, &mut doctor] {
            updated(client, |seen| seen["participants"].is_null()).await;
        }
        patient.send(&session, "2", "only for Dana").await;
        for body in ["I have looked at it", "thanks", "only for Dana"] {
            assert_eq!(doctor.message().await["body"], body);
        }
        assert_eq!(cover.closed().await, 1001);
        let path = format!("/api/chats/{session}/messages");
        let history = desk.http(other, &customer).get(&path).await.expect(200);
        assert_eq!(seqs(&history["items"]), [1, 2, 3]);
        let seen = listed(&desk, other, &customer).await;
        assert_eq!(seen["otherReadSeq"], 2, "what was read stays read");
        assert_eq!(history["items"][0]["sender"]["id"], eve.id.as_str());
        // She reads on from where she left off.
        let mut cover = desk.connect(other, &eve).await;
        ask(&desk, &admin, &session, "participants", &eve).await.expect(201);
        cover.event("session:new").await;
        assert_eq!(listed(&desk, other, &eve).await["unread"], 1);
        let joined = cover.join(&session, Some(2)).await;
        assert_eq!(joined["messages"][0]["body"], "only for Dana");
        let log = desk.http(0, &admin).get("/api/admin/audit").await.expect(200);
        let acts: Vec<_> =
            log["items"].as_array().unwrap().iter().map(|entry| &entry["act"]).collect();
        assert_eq!(acts, ["add_participant", "remove_participant", "add_participant"]);
    }
}

#[tokio::test]
async fn only_an_admin_of_the_tenant_shares_a_session_and_only_with_a_professional() {
    let desk = operated(1).await;
    let (admin, eve) = (desk.admin(), desk.dentist());
    let (customer, dana, session) = desk.pair().await;
    for (who, status) in [(&customer, 403), (&dana, 403), (&eve, 403)] {
        for act in ["participants", "transfer"] {
            assert_eq!(ask(&desk, who, &session, act, &eve).await.status, status, "{act}");
        }
    }
    let platform = frontdesk_test_support::Platform::of(&desk.nodes[0]);
    let practice = frontdesk_test_support::Practice::open(&platform, "Another").await;
    practice.known(&desk.nodes[0]).await;
    let theirs = practice.admin("1");
    for act in ["participants", "transfer"] {
        let refused = ask(&desk, &theirs, &session, act, &eve).await;
        assert_eq!((refused.status, &refused.body["code"]), (404, &json!("session_not_found")));
        let none = ask(&desk, &admin, "01890000-0000-7000-8000-000000000000", act, &eve).await;
        assert_eq!((none.status, &none.body["code"]), (404, &json!("session_not_found")));
        for (body, part) in [
            (json!({}), "dentistId"),
            (json!({ "dentistId": "a b" }), "dentistId"),
            (json!({ "dentistId": [] }), "dentistId"),
        ] {
            let path = format!("/api/admin/chats/{session}/{act}");
            let refused = desk.http(0, &admin).post(&path, &body).await;
            assert!(refused.status == 400 && refused.text.contains(part), "{}", refused.text);
        }
    }
    let path = format!("/api/admin/chats/{session}/participants/{}", dana.id);
    for (who, status) in [(&customer, 403), (&dana, 403), (&eve, 403), (&theirs, 404)] {
        assert_eq!(desk.http(0, who).delete(&path).await.status, status);
    }
    // Nobody got in on the way.
    let roster = ask(&desk, &admin, &session, "participants", &dana).await.expect(200);
    assert_eq!(roster["participants"], json!([]));
    for number in 0..18 {
        let added = Person { id: format!("cover-{number}"), ..eve.clone() };
        ask(&desk, &admin, &session, "participants", &added).await.expect(201);
    }
    for act in ["participants", "transfer"] {
        let full = ask(&desk, &admin, &session, act, &eve).await;
        assert_eq!((full.status, &full.body["code"]), (409, &json!("limit_reached")), "{act}");
    }
    let member = Person { id: "cover-0".into(), ..eve.clone() };
    ask(&desk, &admin, &session, "transfer", &member).await.expect(200);
    let block = format!("/api/admin/users/dentist/{}/block", eve.id);
    desk.http(0, &admin).put(&block).await.expect(200);
    let second = desk.session(&desk.customer(), &dana).await;
    let blocked = ask(&desk, &admin, &second, "transfer", &eve).await;
    assert!(blocked.status == 400 && blocked.text.contains("blocked"), "{}", blocked.text);
    desk.is_unharmed(&[&customer, &dana, &admin, &theirs], &[]).await;
}

#[tokio::test]
async fn pushes_go_to_who_covers_and_not_to_who_is_on_holiday() {
    let service = OneSignal::start().await;
    let redis_port = Servers::get().await.redis_port;
    for desk in [
        Desk::cluster_with(FRONTDESK, 2, redis_port, &service.variables()).await,
        Desk::embedded_with(FRONTDESK, &service.variables()).await,
    ] {
        let (admin, eve, finn) = (desk.admin(), desk.dentist(), desk.dentist());
        let (customer, dana, session) = desk.pair().await;
        // A message that waits is told to who takes over.
        let (gus, other) = (desk.dentist(), desk.customer());
        let waiting = desk.session(&other, &desk.dentist()).await;
        desk.greet(&other, &waiting).await;
        ask(&desk, &admin, &waiting, "transfer", &gus).await.expect(200);
        eventually("a push", async || service.made_to(&gus.id).len() == 1).await;
        ask(&desk, &admin, &session, "participants", &finn).await.expect(201);
        ask(&desk, &admin, &session, "transfer", &eve).await.expect(200);
        desk.greet(&customer, &session).await;
        for person in [&eve, &finn] {
            eventually("a push", async || service.made_to(&person.id).len() == 1).await;
        }
        assert!(service.made_to(&dana.id).is_empty() && service.made_to(&customer.id).is_empty());
        desk.greet(&finn, &session).await;
        eventually("a push", async || service.made_to(&customer.id).len() == 1).await;
        assert_eq!(
            service.made_to(&eve.id).len(),
            1,
            "colleagues get none for each other's answers"
        );
        // Back from the holiday. To be added again changes nothing, not even a mute.
        ask(&desk, &admin, &session, "participants", &dana).await.expect(200);
        ask(&desk, &admin, &session, "transfer", &dana).await.expect(200);
        desk.greet(&customer, &session).await;
        eventually("a push", async || !service.made_to(&dana.id).is_empty()).await;
    }
}
