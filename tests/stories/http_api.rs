//! The HTTP API: its responses, its refusals, and what it never shows.

use frontdesk_test_support::{Desk, Http, Reply, Servers};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{FRONTDESK, one_node, seqs, two_nodes};

#[track_caller]
pub(crate) fn problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)), "{}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.body["status"], status);
    assert_eq!(reply.body["requestId"], reply.header("x-request-id"));
    for field in ["type", "title", "detail"] {
        assert!(!reply.body[field].as_str().unwrap().is_empty(), "{field}");
    }
}

#[tokio::test]
async fn sessions_are_listed_by_activity_a_page_at_a_time() {
    let desk = one_node().await;
    let dentist = desk.dentist();
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(desk.session(&desk.customer(), &dentist).await);
    }
    let http = desk.http(0, &dentist);
    let text = json!({ "clientId": "k", "kind": "text", "body": "hello" });
    http.post(&format!("/api/chats/{}/messages", sessions[1]), &text).await.expect(201);
    let mut listed: Vec<Value> = Vec::new();
    let mut path = "/api/chats?status=open&limit=2".to_owned();
    loop {
        let page = http.get(&path).await.expect(200);
        listed.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/api/chats?status=open&limit=2&cursor={cursor}");
    }
    let ids: Vec<_> = listed.iter().map(|session| session["id"].as_str().unwrap()).collect();
    let expected = [1, 4, 3, 2, 0].map(|at: usize| sessions[at].as_str());
    assert_eq!(ids, expected);
    assert_eq!(listed[0]["lastMessage"]["body"], "hello");
    assert_eq!((&listed[0]["lastSeq"], &listed[0]["unread"]), (&json!(1), &json!(0)));
    let one = http.get(&format!("/api/chats/{}", sessions[1])).await.expect(200);
    assert_eq!(one, listed[0]);
    let closed = http.get("/api/chats?status=closed").await.expect(200);
    assert_eq!(closed, json!({ "items": [], "nextCursor": null }));
}

#[tokio::test]
async fn a_history_is_read_by_seq_from_either_end() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let path = format!("/api/chats/{session}/messages");
    for number in 0..7 {
        let text = json!({ "clientId": number.to_string(), "kind": "text", "body": "x" });
        http.post(&path, &text).await.expect(201);
    }
    let http = desk.http(0, &dentist);
    for (query, expected) in [
        ("", vec![1, 2, 3, 4, 5, 6, 7]),
        ("?limit=2", vec![6, 7]),
        ("?before=4&limit=2", vec![2, 3]),
        ("?after=4&limit=2", vec![5, 6]),
        ("?after=7", vec![]),
        ("?before=1", vec![]),
    ] {
        let page = http.get(&format!("{path}{query}")).await.expect(200);
        assert_eq!(seqs(&page["items"]), expected, "{query}");
    }
    let first = http.get(&format!("{path}?limit=3")).await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = http.get(&format!("{path}?limit=3&cursor={cursor}")).await.expect(200);
    assert_eq!(seqs(&second["items"]), [2, 3, 4]);
}

#[tokio::test]
async fn whoever_the_directory_does_not_know_can_not_be_written_to() {
    let legacy = Servers::get().await.mysql_database();
    let port = legacy.port.to_string();
    let desk = Desk::embedded_with(FRONTDESK, &legacy.variables(&port)).await;
    let ada = Http::new(desk.nodes[0].address, Some(&desk.issuer.customer("sub-ada")));
    let opened = ada.post("/api/chats", &json!({ "dentistId": 7 })).await.expect(201);
    assert_eq!(opened["dentist"], json!({ "kind": "dentist", "id": "7", "name": "Dana Drill" }));
    assert_eq!(opened["customer"]["name"], "Ada Lovelace");
    problem(&ada.post("/api/chats", &json!({ "dentistId": 8 })).await, 404, "person_not_found");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_as_a_problem() {
    let desk = one_node().await;
    let customer = desk.customer();
    let http = desk.http(0, &customer);
    let nobody = Http::new(desk.nodes[0].address, None);
    problem(&nobody.get("/api/chats").await, 401, "token_missing");
    assert_eq!(nobody.get("/api/chats").await.header("www-authenticate"), "Bearer");
    let forged = Http::new(desk.nodes[0].address, Some("a.b.c"));
    problem(&forged.get("/api/chats").await, 401, "token_invalid");
    let mut claims = desk.issuer.customer_claims("ada");
    claims["exp"] = (frontdesk_test_support::now() - 90).into();
    let late = Http::new(desk.nodes[0].address, Some(&desk.issuer.sign(&claims)));
    problem(&late.get("/api/chats").await, 401, "token_expired");
    problem(&http.get("/api/nothing").await, 404, "not_found");
    problem(&http.send(Method::DELETE, "/api/chats", None, &[]).await, 405, "method_not_allowed");
    let plain =
        http.send(Method::POST, "/api/chats", None, &[("content-type", "text/plain")]).await;
    problem(&plain, 415, "unsupported_media_type");
    for broken in ["{", "", "nonsense", "{\"dentistId\":\"7\"", &"[".repeat(10_000)] {
        let reply = http.send(Method::POST, "/api/chats", Some(broken.into()), &[]).await;
        problem(&reply, 400, "invalid_request");
    }
    let huge = json!({ "dentistId": "x".repeat(200_000) }).to_string();
    problem(&http.send(Method::POST, "/api/chats", Some(huge), &[]).await, 413, "too_large");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let desk = one_node().await;
    let mut stream = tokio::net::TcpStream::connect(desk.nodes[0].address).await.unwrap();
    let head = format!(
        "POST /api/chats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
        desk.customer().token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(frontdesk_test_support::PATIENCE, reading).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn every_answer_has_its_request_id_and_its_security_headers() {
    let desk = one_node().await;
    let customer = desk.customer();
    let http = desk.http(0, &customer);
    for path in ["/api/chats", "/health/live", "/nowhere"] {
        let reply = http.get(path).await;
        assert!(reply.header("x-request-id").len() >= 32, "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("x-frame-options"), "DENY");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert!(reply.header("content-security-policy").starts_with("default-src 'none'"));
    }
    let with = |id: &'static str| {
        let http = http.clone();
        async move { http.send(Method::GET, "/version", None, &[("x-request-id", id)]).await }
    };
    assert_eq!(with("trace-7.a_b").await.header("x-request-id"), "trace-7.a_b");
    for odd in ["a b", "<x>", "x\u{9}y"] {
        assert_ne!(with(odd).await.header("x-request-id"), odd, "b49: it would go into the log");
    }
    assert_eq!(http.get("/version").await.expect(200)["name"], "frontdesk");
}

#[tokio::test]
async fn only_the_origins_that_are_set_may_use_the_api_from_a_browser() {
    let origins = "https://portal.example, https://*.clinic.example, capacitor://localhost";
    let origins = [("CORS_ORIGINS", origins)];
    let desk = Desk::embedded_with(FRONTDESK, &origins).await;
    let customer = desk.customer();
    let http = desk.http(0, &customer);
    for (origin, allowed) in [
        ("https://portal.example", true),
        ("https://admin.clinic.example", true),
        ("capacitor://localhost", true),
        ("https://clinic.example", false),
        ("https://portal.example.evil.test", false),
        ("null", false),
    ] {
        let reply = http.send(Method::GET, "/api/chats", None, &[("origin", origin)]).await;
        let expected = if allowed { (origin, "true") } else { ("", "") };
        assert_eq!(allowed_by(&reply), expected);
        let preflight = http.send(Method::OPTIONS, "/api/chats", None, &preflight(origin)).await;
        assert_eq!(allowed_by(&preflight), expected);
    }
}

fn allowed_by(reply: &Reply) -> (&str, &str) {
    let headers = ["access-control-allow-origin", "access-control-allow-credentials"];
    let [origin, credentials] = headers.map(|name| reply.header(name));
    (origin, credentials)
}

/// Headers of a page that sends a token, is traced by Sentry and has a header of its own.
const HEADERS: &str = "authorization,baggage,content-type,sentry-trace,x-portal-version";

fn preflight(origin: &str) -> [(&'static str, &str); 3] {
    [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", HEADERS),
    ]
}

#[tokio::test]
async fn a_page_may_send_any_header_and_credentials_only_where_its_origin_is_listed() {
    let page = "https://portal.example";
    let listed = Desk::embedded_with(FRONTDESK, &[("CORS_ORIGINS", page)]).await;
    let any = Desk::embedded_with(FRONTDESK, &[("CORS_ORIGINS", "*")]).await;
    for (desk, expected) in [(&listed, (page, "true")), (&any, ("*", ""))] {
        let http = Http::new(desk.nodes[0].address, None);
        for path in ["/api/chats", "/socket.io/?EIO=4&transport=polling"] {
            let answered = http.send(Method::OPTIONS, path, None, &preflight(page)).await;
            assert_eq!((answered.status, allowed_by(&answered)), (200, expected), "{path}");
            assert_eq!(answered.header("access-control-allow-headers"), HEADERS);
        }
        let path = "/socket.io/?EIO=4&transport=polling";
        let polled = http.send(Method::GET, path, None, &[("origin", page)]).await;
        assert_eq!((polled.status, allowed_by(&polled)), (200, expected));
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_can_read_that() {
    let desk = one_node().await;
    let (customer, _, session) = desk.pair().await;
    let (http, path) = (desk.http(0, &customer), format!("/api/chats/{session}/messages"));
    let text = json!({ "clientId": "k", "kind": "text", "body": "again ".repeat(1_000) });
    http.post(&path, &text).await.expect(201);
    let gzip = http.send(Method::GET, &path, None, &[("accept-encoding", "gzip")]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    let plain = http.get(&path).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(plain.header("vary").contains("accept-encoding"));
}

#[tokio::test]
async fn health_says_what_is_up_and_what_stands_in() {
    let desk = one_node().await;
    let anyone = Http::new(desk.nodes[0].address, None);
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(anyone.get(path).await.status, 200);
    }
    let health = anyone.get("/health").await.expect(200);
    let embedded =
        json!({ "postgres": "embedded", "redis": "off", "mysql": "embedded", "s3": "embedded" });
    assert_eq!((&health["status"], &health["services"]), (&json!("ok"), &embedded));
    assert!(health["uptime"].is_u64() && health["node"].is_string());

    let desk = two_nodes().await;
    let customer = desk.customer();
    let _connected = desk.connect(0, &customer).await;
    let anyone = Http::new(desk.nodes[0].address, None);
    let services = anyone.get("/health").await.expect(200)["services"].clone();
    assert_eq!((&services["postgres"], &services["redis"]), (&json!("up"), &json!("up")));
}
