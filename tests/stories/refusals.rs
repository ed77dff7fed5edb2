//! Requests that a client may not make, over HTTP and sockets: each is refused and has no effect.

use frontdesk_test_support::{Desk, Framing, Http, Person};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{FRONTDESK, http_api::problem, one_node, two_nodes};

const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Responses to every request about a session and a message in it, without the parts that always
/// differ.
async fn everything(
    http: &Http,
    id: &str,
    message: &str,
) -> Vec<(u16, Vec<String>, Map<String, Value>)> {
    let path = format!("/api/chats/{id}");
    let one = format!("{path}/messages/{message}");
    let text = json!({ "clientId": "k", "kind": "text", "body": "x" });
    let private = json!({ "clientId": "p", "kind": "text", "body": "x", "visibility": "private" });
    let picture = json!({ "contentType": "image/png", "size": 9 });
    let key = "0".repeat(32);
    let replies = [
        http.get(&path).await,
        http.patch(&path, &json!({ "muted": true })).await,
        http.patch(&path, &json!({ "status": "closed" })).await,
        http.get(&format!("{path}/messages")).await,
        http.get(&format!("{path}/messages?after=0&limit=1")).await,
        http.post(&format!("{path}/messages"), &text).await,
        http.post(&format!("{path}/read"), &json!({ "seq": 1 })).await,
        http.patch(&one, &json!({ "body": "y" })).await,
        http.delete(&one).await,
        http.put(&format!("{one}/reactions/%F0%9F%91%8D")).await,
        http.delete(&format!("{one}/reactions/%F0%9F%91%8D")).await,
        http.post(&format!("{path}/images"), &picture).await,
        http.get(&format!("{path}/images/{key}")).await,
        http.get(&format!("{path}/images/{key}?size=thumbnail")).await,
        http.get(&format!("{path}/notes")).await,
        http.post(&format!("{path}/notes"), &json!({})).await,
        http.post(&format!("{path}/messages"), &private).await,
    ];
    let told = |reply: frontdesk_test_support::Reply| {
        let Value::Object(mut body) = reply.body else { panic!("{id}: {}", reply.status) };
        body.remove("requestId");
        let mut headers: Vec<_> = reply.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        (reply.status, headers, body)
    };
    replies.map(told).into()
}

/// Errors of every event about a session and a message in it.
async fn every_event(
    desk: &Desk,
    framing: Framing,
    who: &Person,
    id: &str,
    message: &str,
) -> Vec<Value> {
    let mut socket = desk.connect_by(framing, 1, who).await;
    let mut answers = Vec::new();
    for event in [
        "session:join",
        "message:send",
        "message:edit",
        "message:delete",
        "message:react",
        "message:read",
        "typing:start",
        "typing:stop",
    ] {
        let data = json!({
            "sessionId": id, "messageId": message, "seq": 1, "clientId": "k", "kind": "text",
            "body": "x", "emoji": "👍",
        });
        answers.push(socket.request(event, data).await.unwrap_err());
    }
    answers
}

/// Checks that a session, and a message in it, are for this person like ones that do not exist.
pub(crate) async fn is_stranger(desk: &Desk, person: &Person, session: &str, message: &str) {
    let http = desk.http(1, person);
    let answers = everything(&http, session, message).await;
    assert!(answers.iter().all(|(status, ..)| *status == 404), "{answers:?}");
    assert_eq!(answers[0].2["code"], "session_not_found");
    for (id, message) in [(NOWHERE, message), (session, NOWHERE), (NOWHERE, NOWHERE)] {
        let like = everything(&http, id, message).await;
        assert_eq!(like, answers, "an unknown session looks different");
    }
    for framing in [Framing::Native, Framing::SocketIo] {
        let answers = every_event(desk, framing, person, session, message).await;
        assert!(
            answers.iter().all(|error| error["code"].as_str().unwrap().ends_with("_not_found"))
        );
        assert_eq!(every_event(desk, framing, person, NOWHERE, NOWHERE).await, answers);
    }
}

#[tokio::test]
async fn b39_someone_elses_session_is_like_one_that_does_not_exist() {
    let desk = two_nodes().await;
    let (owner, _, theirs) = desk.pair().await;
    let (customer, _, mine) = desk.pair().await;
    let message = desk.connect(0, &owner).await.send(&theirs, "k", "for two").await;
    let message = message["id"].as_str().unwrap();
    // Somebody who took part for a while is a stranger again.
    let (admin, former) = (desk.http(0, &desk.admin()), desk.dentist());
    let participants = format!("/api/admin/chats/{theirs}/participants");
    admin.post(&participants, &json!({ "dentistId": former.id })).await.expect(201);
    assert_eq!(admin.delete(&format!("{participants}/{}", former.id)).await.status, 204);
    for stranger in [&customer, &desk.dentist(), &former] {
        is_stranger(&desk, stranger, &theirs, message).await;
        for id in ["1", "..", "%00", "%2e%2e%2f"] {
            assert_eq!(desk.http(1, stranger).get(&format!("/api/chats/{id}")).await.status, 404);
        }
    }
    // The time must not differ either: only members notice that a session is locked.
    let mut database = desk.database.as_ref().unwrap().client().await;
    let busy = database.transaction().await.unwrap();
    let lock = "select 1 from sessions where id = $1::text::uuid for update";
    busy.query_one(lock, &[&theirs]).await.unwrap();
    for stranger in [&customer, &former] {
        let http = desk.http(1, stranger);
        let answers = everything(&http, NOWHERE, message).await;
        assert_eq!(
            everything(&http, &theirs, message).await,
            answers,
            "a stranger's request waited for the lock"
        );
        let answers = every_event(&desk, Framing::Native, stranger, NOWHERE, NOWHERE).await;
        let held = every_event(&desk, Framing::Native, stranger, &theirs, message).await;
        assert_eq!(held, answers, "a stranger's event waited for the lock");
    }
    busy.rollback().await.unwrap();
    // Counts and lists contain only the user's own sessions.
    let list = desk.http(0, &customer).get("/api/chats").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["id"], *mine);
    // A cursor of another user is only a position in the user's own list.
    let cursor = "czE3NjMwMDAwMDAwMDAwMDAuMTc2MzAwMDAwMDAwMDAwMC4wMTg5MGE1ZGFjOTY3NzRiYmNjZWIzMDIwOTlhODA1Nw";
    let unread = desk.http(0, &customer).get("/api/chats/unread").await.expect(200);
    assert_eq!(unread, json!({ "total": 0, "sessions": {} }));
    let page = desk.http(0, &customer).get(&format!("/api/chats?cursor={cursor}")).await;
    assert!(page.expect(200)["items"].as_array().unwrap().iter().all(|item| item["id"] == *mine));
    // The requests changed nothing.
    let page = desk.http(0, &owner).get(&format!("/api/chats/{theirs}/messages")).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&page["items"][0]["body"], &page["items"][0]["reactions"]),
        (&json!("for two"), &json!([]))
    );
    desk.is_unharmed(&[&customer, &owner], &["for two"]).await;
}

#[tokio::test]
async fn b40_b42_what_a_client_may_not_say_counts_for_nothing() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let forged = json!({
        "clientId": "k", "kind": "text", "body": "x", "seq": 99, "createdAt": "1999-01-01T00:00:00Z",
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "sender": { "kind": "dentist", "id": dentist.id, "name": "Dr. Evil" },
    });
    let sent = http.post(&format!("/api/chats/{session}/messages"), &forged).await.expect(201);
    let message = &sent["message"];
    assert_eq!((&message["seq"], &message["sender"]["id"]), (&json!(1), &json!(customer.id)));
    assert_eq!(message["sender"]["name"], "Patient");
    assert_ne!(message["id"], forged["id"]);
    assert!(message["createdAt"].as_str().unwrap() > "2020");
    // A customer opens sessions with dentists, and only for themselves.
    for wrong in [
        json!({ "customerId": customer.id }),
        json!({ "customerId": "someone", "dentistId": dentist.id }),
        json!({}),
        json!({ "dentistId": "" }),
        json!({ "dentistId": "a b" }),
        json!({ "dentistId": -7 }),
        json!({ "dentistId": null }),
        json!({ "dentistId": true }),
        json!([null, "55"]),
    ] {
        problem(&http.post("/api/chats", &wrong).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn b44_b45_a_body_is_checked_by_name_and_kept_as_it_is() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LOG_LEVEL", "trace")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let (http, path) = (desk.http(0, &customer), format!("/api/chats/{session}/messages"));
    let text = |key: &str, body: &str| json!({ "clientId": key, "kind": "text", "body": body });
    for (bad, named) in [
        (text("k", ""), "body"),
        (text("k", " \n\t"), "body"),
        (text("k", &"x".repeat(8_001)), "body"),
        (text("k", "a\0b"), "body"),
        (text("", "x"), "clientId"),
        (text("k k", "x"), "clientId"),
        (text(&"k".repeat(65), "x"), "clientId"),
        (json!({ "clientId": 7, "kind": "text", "body": "x" }), "clientId"),
        (json!({ "clientId": "k", "kind": "spell", "body": "x" }), "kind"),
        (json!({ "clientId": "k", "kind": "text", "body": 7 }), "body"),
        (json!({ "clientId": "k", "kind": "text", "body": "x", "replyTo": "1" }), "replyTo"),
        (json!({ "clientId": "k", "kind": "text", "body": "x", "replyTo": NOWHERE }), "replyTo"),
        (json!({ "clientId": "k", "kind": "text" }), "body: is missing"),
        (json!(["k", "text", "x"]), "request"),
        (json!("x"), "request"),
    ] {
        let refused = http.post(&path, &bad).await;
        problem(&refused, 400, "invalid_request");
        assert!(refused.body["detail"].as_str().unwrap().starts_with(named), "{}", refused.body);
    }
    for (number, kept) in
        ["<script>alert(1)</script>", "\u{202e}txt", " a\r\nb ", "e\u{301}😀"].iter().enumerate()
    {
        let sent = http.post(&path, &text(&number.to_string(), kept)).await.expect(201);
        assert_eq!(sent["message"]["body"], *kept);
    }
    let widest = "😀".repeat(8_000);
    assert_eq!(http.post(&path, &text("w", &widest)).await.expect(201)["message"]["body"], widest);
    let read = desk.http(0, &dentist).get(&path).await.expect(200);
    assert_eq!(read["items"].as_array().unwrap().len(), 5);
    desk.is_unharmed(&[&customer, &dentist], &["<script>", "😀😀"]).await;
}

#[tokio::test]
async fn b44_b45_text_that_is_none_and_text_that_is_too_much_are_refused_by_every_way() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let (http, path) = (desk.http(0, &customer), format!("/api/chats/{session}/messages"));
    for framing in [Framing::Native, Framing::SocketIo] {
        let mut socket = desk.connect_by(framing, 0, &customer).await;
        // Unpaired surrogates: alone, at the end, twice, and in the wrong order.
        for half in [r"\ud800", r"x\udc00", r"\ud83d\ud83d", r"\ude00\ud83d", r"\ud83dx"] {
            let post = format!(r#"{{"clientId":"k","kind":"text","body":"{half}"}}"#);
            let refused = http.send(Method::POST, &path, Some(post.clone()), &[]).await;
            problem(&refused, 400, "invalid_request");
            let data = post.replacen('{', &format!(r#"{{"sessionId":"{session}","#), 1);
            socket
                .frame(&match framing {
                    Framing::Native => {
                        format!(r#"{{"id":9,"event":"message:send","data":{data}}}"#)
                    }
                    Framing::SocketIo => format!(r#"429["message:send",{data}]"#),
                })
                .await;
            assert_eq!(socket.any_answer().await["error"]["code"], "invalid_request", "{half}");
        }
        for body in ["", " \u{3000}\n", "a\0b", &"x".repeat(8_001)] {
            let data =
                json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": body });
            let refused = socket.request("message:send", data).await.unwrap_err();
            assert_eq!(refused["code"], "invalid_request");
            assert!(refused["detail"].as_str().unwrap().starts_with("body: "), "{refused}");
        }
        // As many combining marks as a message holds are valid; a million exceed the limit.
        let marks = format!("a{}", "\u{301}".repeat(7_999));
        let sent = socket.send(&session, &format!("{framing:?}"), &marks).await;
        assert_eq!(sent["body"], marks);
        let data = json!({
            "sessionId": session, "clientId": "k", "kind": "text", "body": "\u{301}".repeat(1_000_000),
        });
        drop(socket.try_request("message:send", &data).await);
        let code = socket.closed().await;
        assert!(framing == Framing::SocketIo || [1006, 1009].contains(&code), "{code}");
    }
    let million = json!({ "clientId": "k", "kind": "text", "body": "\u{301}".repeat(1_000_000) });
    problem(&http.post(&path, &million).await, 413, "too_large");
    let read = desk.http(0, &dentist).get(&path).await.expect(200);
    assert_eq!(read["items"].as_array().unwrap().len(), 2, "another message was stored");
    desk.is_unharmed(&[&customer, &dentist], &["\u{301}\u{301}"]).await;
}

#[tokio::test]
async fn b46_b47_odd_queries_are_refused_by_name() {
    let desk = one_node().await;
    let (customer, _, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "cursor=-1",
        // a+1, b01 and a number out of range: the server issued none of these.
        "cursor=YSsx",
        "cursor=YjAx",
        "cursor=YTE4NDQ2NzQ0MDczNzA5NTUxNjE2",
        "cursor=xyz",
        "before=-1",
        "after=1e9",
        "after=99999999999999999999",
        "before=1&after=2",
        "cursor=YTE&after=2",
        "limit=1&limit=2",
    ] {
        let reply = http.get(&format!("/api/chats/{session}/messages?{query}")).await;
        problem(&reply, 400, "invalid_request");
    }
    for query in ["status=ajar", "cursor=xyz", "limit=0"] {
        problem(&http.get(&format!("/api/chats?{query}")).await, 400, "invalid_request");
    }
    http.get(&format!("/api/chats/{session}/messages?limit=1000000000")).await.expect(200);
    for query in ["limit=0", "limit=-1", "cursor=-1", "cursor=ZisxCg", "cursor=Zi0x"] {
        let reply = http.get(&format!("/api/chats/search?q=x&{query}")).await;
        problem(&reply, 400, "invalid_request");
    }
    http.get("/api/chats/search?q=x&limit=1000000000").await.expect(200);
    http.get("/api/chats?limit=1000000000").await.expect(200);
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn b46_anothers_cursor_is_only_a_place_in_ones_own_list() {
    let desk = one_node().await;
    let (busy, dentist, _) = desk.pair().await;
    let theirs = desk.session(&busy, &desk.dentist()).await;
    desk.connect(0, &busy).await.send(&theirs, "k", "not for anyone").await;
    let page = desk.http(0, &busy).get("/api/chats?limit=1").await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let (customer, _, mine) = desk.pair().await;
    for who in [&customer, &dentist] {
        let page = desk.http(0, who).get(&format!("/api/chats?cursor={cursor}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|session| session["id"] != *theirs), "{page}");
    }
    // An edited cursor is refused, or is a position in the user's own list.
    for at in 0..cursor.len() {
        for letter in ["A", "z", "-"] {
            let edited = format!("{}{letter}{}", &cursor[..at], &cursor[at + 1..]);
            let reply = desk.http(0, &customer).get(&format!("/api/chats?cursor={edited}")).await;
            match reply.status {
                400 => assert_eq!(reply.body["code"], "invalid_request"),
                200 => {
                    let items = reply.body["items"].as_array().unwrap().clone();
                    assert!(items.iter().all(|session| session["id"] == *mine));
                }
                other => panic!("{other}"),
            }
        }
    }
    desk.is_unharmed(&[&customer, &busy], &["not for anyone"]).await;
}

#[tokio::test]
async fn b49_line_ends_make_no_lines_in_a_log() {
    let desk = Desk::embedded_with(FRONTDESK, &[("LOG_LEVEL", "trace")]).await;
    let (customer, _, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    for path in [
        "/api/%0D%0AFORGED%20line",
        "/api/chats/%0D%0AFORGED",
        "/api/chats?cursor=%0D%0AFORGED",
        "/api/chats/search?q=%0D%0AFORGED",
        "/socket.io/?EIO=4&transport=polling&sid=%0D%0AFORGED",
        "/ws?token=%0D%0AFORGED",
    ] {
        http.get(path).await;
    }
    http.send(Method::GET, "/version", None, &[("x-request-id", "a\tFORGED")]).await;
    let named =
        json!({ "contentType": "image/png\r\nFORGED", "size": 9, "fileName": "\r\nFORGED" });
    http.post(&format!("/api/chats/{session}/images"), &named).await.expect(400);
    for framing in [Framing::Native, Framing::SocketIo] {
        let mut socket = desk.connect_by(framing, 0, &customer).await;
        for (event, data) in [
            ("x\r\nFORGED", json!({})),
            ("message:send", json!({ "sessionId": "\r\nFORGED" })),
            (
                "message:send",
                json!({ "sessionId": session, "clientId": "\r\nFORGED", "kind": "\r\nFORGED" }),
            ),
            ("auth:refresh", json!({ "token": "\r\nFORGED" })),
        ] {
            socket.request(event, data).await.unwrap_err();
        }
        socket.send(&session, &format!("{framing:?}"), "\r\nFORGED").await;
    }
    desk.is_unharmed(&[&customer], &["FORGED"]).await;
}
