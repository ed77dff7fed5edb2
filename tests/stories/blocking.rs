//! A blocked user is disconnected everywhere and cannot reconnect.

use frontdesk_test_support::{
    Client, Desk, Framing, Http, OneSignal, Person, Redis, Reply, Servers, eventually, try_connect,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{FRONTDESK, one_node, seqs, two_nodes};

fn path(person: &Person) -> String {
    format!("/api/admin/users/{}/{}/block", person.kind, person.id)
}

async fn block(desk: &Desk, node: usize, admin: &Person, person: &Person) -> Value {
    desk.http(node, admin).put(&path(person)).await.expect(200)
}

async fn unblock(desk: &Desk, node: usize, admin: &Person, person: &Person) {
    assert_eq!(desk.http(node, admin).delete(&path(person)).await.status, 204);
}

async fn chats(desk: &Desk, node: usize, person: &Person) -> Reply {
    desk.http(node, person).get("/api/chats").await
}

fn is_blocked(reply: &Reply) -> bool {
    (reply.status, reply.body["code"].as_str()) == (403, Some("blocked"))
}

/// First packet that a connecting Socket.IO client receives.
async fn told_by_socketio(desk: &Desk, node: usize, token: &str) -> String {
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut client = try_connect(desk.nodes[node].address, path, &[]).await.unwrap();
    client.frame(&format!("40{}", json!({ "token": token }))).await;
    loop {
        let text = client.text().await.expect("the connection ended without a reason");
        if text.starts_with('4') {
            return text;
        }
    }
}

#[tokio::test]
async fn b41_a_blocked_person_is_cut_off_on_every_node_and_can_not_come_back() {
    let desk = two_nodes().await;
    let admin = desk.admin();
    let (customer, dentist, session) = desk.pair().await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    let mut devices = Vec::new();
    for (framing, node) in
        [(Framing::Native, 0), (Framing::SocketIo, 0), (Framing::Native, 1), (Framing::SocketIo, 1)]
    {
        let mut device = desk.connect_by(framing, node, &customer).await;
        device.join(&session, None).await;
        devices.push(device);
    }
    let sent = devices[0].send(&session, "k", "before").await;
    assert_eq!(doctor.message().await, sent);
    // The session's opening may have reached this connection, too.
    doctor.events_so_far().await;

    let told = block(&desk, 0, &admin, &customer).await;
    assert_eq!(told["user"], json!({ "kind": "customer", "id": customer.id }));
    for device in &mut devices {
        assert_eq!(device.closed().await, 4403);
    }
    // The other node has closed its connections, so it knows of the block.
    for node in [0, 1] {
        assert!(is_blocked(&chats(&desk, node, &customer).await));
        let mut back = desk.connect(node, &customer).await;
        assert_eq!(back.closed().await, 4403);
        let refused = told_by_socketio(&desk, node, &customer.token).await;
        let refused: Value = serde_json::from_str(refused.strip_prefix("44").unwrap()).unwrap();
        assert_eq!(
            (&refused["message"], &refused["data"]["code"]),
            (&json!("blocked"), &json!("blocked"))
        );
    }
    // A new token of the same person is refused too.
    let newer = Person { token: desk.issuer.customer(&customer.id), ..customer.clone() };
    assert!(is_blocked(&chats(&desk, 1, &newer).await));

    // The other side is not affected, and the history stays.
    doctor.send(&session, "k", "are you there?").await;
    let history = desk.http(0, &dentist).get(&format!("/api/chats/{session}/messages")).await;
    let history = history.expect(200);
    assert_eq!((seqs(&history["items"]), &history["items"][0]), (vec![1, 2], &sent));
    let rest = doctor.events_so_far().await;
    assert!(rest.is_empty(), "{rest:?}");
    // A dentist with the same id is another person.
    let twin = frontdesk_test_support::Issuer::dentist(&customer.id);
    assert_eq!(
        desk.http(0, &Person { kind: "dentist", token: twin, ..customer.clone() })
            .get("/api/chats")
            .await
            .status,
        200
    );

    unblock(&desk, 1, &admin, &customer).await;
    eventually("the block is lifted", async || chats(&desk, 0, &customer).await.status == 200)
        .await;
    let mut back = desk.connect(1, &customer).await;
    assert_eq!(seqs(&back.join(&session, Some(1)).await["messages"]), [2]);
}

#[tokio::test]
async fn b41_f7_whoever_is_blocked_while_redis_is_away_is_cut_off_all_the_same() {
    let mut redis = Redis::start().await;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &[]).await;
    let (admin, customer) = (desk.admin(), desk.customer());
    let mut far = desk.connect(1, &customer).await;
    far.events_so_far().await;
    redis.kill().await;
    block(&desk, 0, &admin, &customer).await;
    assert_eq!(far.closed().await, 4403);
    assert!(is_blocked(&chats(&desk, 1, &customer).await));
    unblock(&desk, 0, &admin, &customer).await;
    eventually("the block is lifted", async || chats(&desk, 1, &customer).await.status == 200)
        .await;
}

#[tokio::test]
async fn b41_f13_who_is_known_to_be_blocked_stays_so_while_the_list_can_not_be_read() {
    let desk = two_nodes().await;
    let (admin, customer) = (desk.admin(), desk.customer());
    block(&desk, 0, &admin, &customer).await;
    eventually("the other node knows the block", async || {
        is_blocked(&chats(&desk, 1, &customer).await)
    })
    .await;
    let database = desk.database.as_ref().unwrap().client().await;
    database.batch_execute("alter table block_changes rename to gone").await.unwrap();
    eventually("the list of blocks cannot be read", async || {
        desk.nodes[1].log().iter().any(|line| line.contains("query of changes failed"))
    })
    .await;
    assert!(is_blocked(&chats(&desk, 1, &customer).await));
    assert_eq!(chats(&desk, 1, &desk.customer()).await.status, 200, "others are not affected");
    database.batch_execute("alter table gone rename to block_changes").await.unwrap();
    unblock(&desk, 0, &admin, &customer).await;
    eventually("the block is lifted", async || chats(&desk, 1, &customer).await.status == 200)
        .await;
    // A node that starts knows the blocks before it serves.
    block(&desk, 0, &admin, &customer).await;
    let mut desk = desk;
    desk.nodes[1].restart().await;
    assert!(is_blocked(&chats(&desk, 1, &customer).await));
}

#[tokio::test]
async fn b41_a_send_under_way_is_committed_and_acknowledged_or_neither() {
    let desk = two_nodes().await;
    let (admin, (customer, dentist, session)) = (desk.admin(), desk.pair().await);
    let mut patient = desk.connect(1, &customer).await;
    // A lock in the database holds the sends up until the block comes.
    let mut database = desk.database.as_ref().unwrap().client().await;
    let held = database.transaction().await.unwrap();
    let lock = format!("select 1 from sessions where id = '{session}' for update");
    held.batch_execute(&lock).await.unwrap();
    for number in 0..100 {
        let text = json!({
            "sessionId": session, "clientId": number.to_string(), "kind": "text", "body": "x",
        });
        patient.ask("message:send", &text).await;
    }
    let node = Http::new(desk.nodes[1].address, None);
    eventually("a send waits", async || {
        node.get("/metrics").await.text.contains("\nfrontdesk_writer_troubled_sessions 1\n")
    })
    .await;
    block(&desk, 0, &admin, &customer).await;
    held.commit().await.unwrap();
    assert_eq!(patient.closed().await, 4403);
    let answers = patient.answers_so_far();
    let mut acknowledged: Vec<u64> = answers
        .iter()
        .filter(|answer| answer["ok"] == true)
        .map(|answer| answer["data"]["message"]["seq"].as_u64().unwrap())
        .collect();
    acknowledged.sort_unstable();
    let path = format!("/api/chats/{session}/messages?limit=200");
    let history = desk.http(0, &dentist).get(&path).await.expect(200);
    assert_eq!(seqs(&history["items"]), acknowledged);
    assert!((1..100).contains(&acknowledged.len()), "{}", acknowledged.len());
}

#[tokio::test]
async fn b41_a_client_that_polls_is_told_that_it_is_over() {
    let desk = one_node().await;
    let (admin, customer) = (desk.admin(), desk.customer());
    let http = Http::new(desk.nodes[0].address, None);
    let poll = "/socket.io/?EIO=4&transport=polling";
    let open = http.get(poll).await.text;
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let path = format!("{poll}&sid={}", open["sid"].as_str().unwrap());
    let plain = [("content-type", "text/plain")];
    let enter = format!("40{}", json!({ "token": customer.token }));
    assert_eq!(http.send(Method::POST, &path, Some(enter), &plain).await.text, "ok");
    let heard = async || http.get(&path).await.text;
    assert!(heard().await.contains("40{"));
    block(&desk, 0, &admin, &customer).await;
    // DISCONNECT: a stock client does not reconnect by itself after it.
    eventually("the client receives DISCONNECT", async || {
        heard().await.split('\x1e').any(|packet| packet == "41")
    })
    .await;
}

#[tokio::test]
async fn b40_b41_only_admins_block_and_none_themselves() {
    let desk = one_node().await;
    let (admin, other) = (desk.admin(), desk.admin());
    let (customer, dentist) = (desk.customer(), desk.dentist());
    for nobody in [&customer, &dentist] {
        let http = desk.http(0, nobody);
        for refused in [
            http.put(&path(&admin)).await,
            http.delete(&path(&admin)).await,
            http.get("/api/admin/users/blocked").await,
        ] {
            assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")));
        }
    }
    let http = desk.http(0, &admin);
    let own = http.put(&path(&admin)).await;
    assert_eq!((own.status, &own.body["code"]), (409, &json!("cannot_block_yourself")));
    for nobody in ["/api/admin/users/cat/1/block", "/api/admin/users/dentist/a%20b/block"] {
        assert_eq!(http.put(nobody).await.status, 404, "{nobody}");
    }
    let put = async |person: &Person, body: &str| {
        http.send(Method::PUT, &path(person), Some(body.to_owned()), &[]).await
    };
    let wordy = json!({ "reason": "x".repeat(201) }).to_string();
    for bad in [r#"{"reason":""}"#, r#"{"reason":"a\nb"}"#, r#"{"reason":7}"#, "[]", &wordy] {
        assert_eq!(put(&customer, bad).await.status, 400, "{bad}");
    }
    let reason = r#"{"reason":"wrote what-nobody-should-read"}"#;
    let first = put(&customer, reason).await.expect(200);
    assert_eq!(first["blockedBy"], json!({ "kind": "dentist", "id": admin.id }));
    assert_eq!(first["reason"], "wrote what-nobody-should-read");
    assert!(first["blockedAt"].as_str().unwrap().ends_with('Z'));
    let again = desk.http(0, &other).put(&path(&customer)).await.expect(200);
    assert_eq!(again, first, "a second block changes nothing");
    block(&desk, 0, &admin, &dentist).await;

    let listed = http.get("/api/admin/users/blocked?limit=1").await.expect(200);
    assert_eq!(listed["items"][0]["user"]["id"], *dentist.id);
    let next = listed["nextCursor"].as_str().unwrap();
    let listed = http.get(&format!("/api/admin/users/blocked?limit=1&cursor={next}")).await;
    let listed = listed.expect(200);
    assert_eq!(listed["items"], json!([first]));
    for _ in 0..2 {
        unblock(&desk, 0, &admin, &customer).await;
        unblock(&desk, 0, &admin, &dentist).await;
    }
    let none = http.get("/api/admin/users/blocked").await.expect(200);
    assert_eq!(none, json!({ "items": [], "nextCursor": null }));

    let log = desk.nodes[0].log();
    let told: Vec<&String> =
        log.iter().filter(|line| line.contains("user blocked by an admin")).collect();
    assert_eq!(told.len(), 3, "one line for each block: {told:?}");
    assert!(told[0].contains(&admin.id) && told[0].contains(&customer.id));
    assert!(log.iter().all(|line| !line.contains("what-nobody-should-read")));
}

#[tokio::test]
async fn b41_a_blocked_person_gets_no_push() {
    let service = OneSignal::start().await;
    let redis_port = Servers::get().await.redis_port;
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &service.variables()).await;
    let (admin, (customer, dentist, session)) = (desk.admin(), desk.pair().await);
    block(&desk, 0, &admin, &dentist).await;
    eventually("the other node knows the block", async || {
        is_blocked(&chats(&desk, 1, &dentist).await)
    })
    .await;
    let mut patient = Client::connect(desk.nodes[0].address, &customer.token).await;
    patient.send(&session, "1", "x").await;
    let database = desk.database.as_ref().unwrap().client().await;
    eventually("the push job is finished", async || {
        let jobs = database
            .query_one("select count(*) from jobs where queue = 'pushes'", &[])
            .await
            .unwrap();
        jobs.get::<_, i64>(0) == 0
    })
    .await;
    assert!(service.made_to(&dentist.id).is_empty());
    unblock(&desk, 0, &admin, &dentist).await;
    eventually("the other node knows that the block is lifted", async || {
        chats(&desk, 1, &dentist).await.status == 200
    })
    .await;
    patient.send(&session, "2", "y").await;
    eventually("a push", async || service.made_to(&dentist.id).len() == 1).await;
}

#[tokio::test]
async fn b41_a_body_that_drips_in_behind_a_block_is_not_sent() {
    let desk = one_node().await;
    let admin = desk.admin();
    let (customer, dentist, session) = desk.pair().await;
    let mut stream = TcpStream::connect(desk.nodes[0].address).await.unwrap();
    let body =
        json!({ "clientId": "drip", "kind": "text", "body": "and another thing" }).to_string();
    let head = format!(
        "POST /api/chats/{session}/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        customer.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    // The server has read the head by the time it has answered a later request.
    chats(&desk, 0, &dentist).await.expect(200);
    block(&desk, 0, &admin, &customer).await;
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("blocked"), "{answer}");
    let history = desk.http(0, &dentist).get(&format!("/api/chats/{session}/messages")).await;
    assert_eq!(history.expect(200)["items"], json!([]));
}
