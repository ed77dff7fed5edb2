//! Law I14: no token, message body or key reaches a log or an error.

use frontdesk_test_support::{DJANGO_SECRET, Desk, Http, Servers, eventually, try_connect};
use reqwest::Method;
use serde_json::{Value, json};

use crate::FRONTDESK;

const BODY: &str = "my-tooth-hurts-and-nobody-may-know";

#[tokio::test]
async fn i14_b15_b49_nothing_private_is_logged_or_told() {
    let redis_port = Servers::get().await.redis_port;
    let trace = [("LOG_LEVEL", "trace"), ("POSTGRES_PASSWORD", "pg-password-that-is-secret")];
    let desk = Desk::cluster_with(FRONTDESK, 1, redis_port, &trace).await;
    let (customer, dentist, session) = desk.pair().await;
    let address = desk.nodes[0].address;
    let path = format!("/api/chats/{session}/messages");
    let http = desk.http(0, &customer);
    let mut told: Vec<Value> = Vec::new();

    // Operations that succeed.
    let mut patient = desk.connect(0, &customer).await;
    let by_query = format!("/ws?token={}", dentist.token);
    let mut doctor = try_connect(address, &by_query, &[]).await.unwrap();
    patient.join(&session, None).await;
    doctor.join(&session, None).await;
    patient.send(&session, "k", BODY).await;
    patient.request("auth:refresh", json!({ "token": customer.token })).await.unwrap();
    http.get(&path).await.expect(200);

    // Operations that fail, with a private text in the invalid part.
    for data in [
        json!({ "sessionId": session, "clientId": "k2", "kind": BODY, "body": "x" }),
        json!({ "sessionId": session, "clientId": format!("{BODY} with blanks"), "kind": "text", "body": "x" }),
        json!({ "sessionId": BODY, "clientId": "k2", "kind": "text", "body": "x" }),
        json!({ "sessionId": session, "clientId": "k2", "kind": "text", "body": { "text": BODY } }),
        json!({ "sessionId": session, "clientId": "k2", "kind": "text", "body": format!("{BODY}\0") }),
        json!(BODY),
        json!([BODY]),
    ] {
        told.push(http.post(&path, &data).await.body);
        told.push(patient.request("message:send", data).await.unwrap_err());
    }
    for token in [format!("{}x", customer.token), format!("{BODY}.{BODY}.{BODY}")] {
        told.push(Http::new(address, Some(&token)).get(&path).await.body);
        told.push(patient.request("auth:refresh", json!({ "token": token })).await.unwrap_err());
        let mut refused = try_connect(address, &format!("/ws?token={token}"), &[]).await.unwrap();
        refused.closed().await;
    }
    told.push(patient.request(BODY, json!({})).await.unwrap_err());
    told.push(patient.request("auth:refresh", json!({ "token": [BODY] })).await.unwrap_err());
    told.push(http.get(&format!("/{BODY}?{BODY}={BODY}")).await.body);
    told.push(http.get(&format!("/api/chats?cursor={BODY}")).await.body);
    let broken = format!("{{\"body\":\"{BODY}\"");
    told.push(http.send(Method::POST, &path, Some(broken.clone()), &[]).await.body);
    http.send(Method::GET, "/version", None, &[("x-request-id", &format!("{BODY} forged"))]).await;
    patient.frame(&broken).await;
    assert_eq!(patient.closed().await, 4400);

    // The database fails on a statement that contains a message body.
    let admin = desk.database.as_ref().unwrap().client().await;
    let refuse =
        format!("alter table messages add constraint no_more check (body <> '{BODY}') not valid");
    admin.batch_execute(&refuse).await.unwrap();
    let text = json!({ "sessionId": session, "clientId": "k3", "kind": "text", "body": BODY });
    told.push(doctor.request("message:send", text).await.unwrap_err());
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
               where application_name = 'frontdesk' and datname = current_database()";
    admin.execute(cut, &[]).await.unwrap();
    doctor.send(&session, "k4", "after the cut").await;

    for answer in told {
        let answer = answer.to_string();
        assert!(!answer.contains(BODY), "a private text is in the response: {answer}");
    }
    is_clean(&desk.nodes[0].log(), &[&customer.token, &dentist.token]);
    // The metrics, which anyone who reaches the node can read, contain no private text either.
    let made_up = Method::from_bytes(BODY.as_bytes()).unwrap();
    http.send(made_up, &path, None, &[]).await;
    metrics_tell_nothing_of(&http, &[&customer.id, &dentist.id, &session, BODY, "127.0.0.1"]).await;
}

/// Checks that metrics name nobody, and have no label made by a client.
async fn metrics_tell_nothing_of(http: &Http, private: &[&str]) {
    for (accept, kind) in [("*/*", "text/plain"), ("application/openmetrics-text", "application/")]
    {
        eventually("the last requests are counted", async || {
            let metrics = http.send(Method::GET, "/metrics", None, &[("accept", accept)]).await;
            assert!(metrics.header("content-type").starts_with(kind));
            let told = private.iter().find(|text| metrics.text.contains(**text));
            assert_eq!(told, None, "{}", metrics.text);
            let route = r#"route="/api/chats/{id}/messages",method="_OTHER",status="405"} 1"#;
            metrics.text.contains(route) && metrics.text.contains(r#"route="none""#)
        })
        .await;
    }
}

/// Sends tokens in URLs of handshakes, of other requests, and of polls that another node forwards.
#[tokio::test]
async fn b15_a_token_in_the_url_is_in_no_log() {
    let redis_port = Servers::get().await.redis_port;
    // The most verbose level.
    let trace = [("LOG_LEVEL", "trace"), ("CORS_ORIGINS", "https://portal.example")];
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &trace).await;
    let (customer, admin) = (desk.customer(), desk.admin());
    let (near, far) = (desk.nodes[0].address, desk.nodes[1].address);
    let bad = format!("{}x", customer.token);
    let none = format!("{BODY}.{BODY}.{BODY}");
    for token in [&customer.token, &bad, &none] {
        let mut socket = try_connect(near, &format!("/ws?token={token}"), &[]).await.unwrap();
        drop(socket.try_request("session:join", &json!({ "sessionId": "x" })).await);
        let http = Http::new(near, None);
        let poll = format!("/socket.io/?EIO=4&transport=polling&token={token}");
        let open = http.get(&poll).await.text;
        let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let sid = open["sid"].as_str().unwrap();
        let plain = [("content-type", "text/plain")];
        let carried = format!("{poll}&sid={sid}");
        let elsewhere = Http::new(far, None);
        eventually("the nodes know each other", async || {
            let posted = elsewhere.send(Method::POST, &carried, Some("3".into()), &plain).await;
            posted.text == "ok"
        })
        .await;
        elsewhere.send(Method::POST, &carried, Some("40".into()), &plain).await;
        assert!(elsewhere.get(&carried).await.text.starts_with('4'));
        let upgrade = format!("/socket.io/?EIO=4&transport=websocket&token={token}");
        drop(try_connect(far, &upgrade, &[]).await.unwrap().text().await);
        // Paths that ignore the token, and a request head of maximum length.
        for path in ["/ws", "/nothing", "/api/chats", "/socket.io/", "/socket.io", "/health/ready"]
        {
            http.get(&format!("{path}?token={token}")).await;
        }
        let foreign = [("origin", "https://evil.example")];
        assert!(try_connect(near, &format!("/ws?token={token}"), &foreign).await.is_err());
        let long = format!("/ws?token={token}&more={}", "x".repeat(40_000));
        drop(try_connect(near, &long, &[]).await);
    }
    // A valid token of a blocked user.
    let block = format!("/api/admin/users/customer/{}/block", customer.id);
    desk.http(0, &admin).put(&block).await.expect(200);
    let path = format!("/ws?token={}", customer.token);
    assert_eq!(try_connect(near, &path, &[]).await.unwrap().closed().await, 4403);
    for node in &desk.nodes {
        let log = node.log();
        assert!(
            log.iter().any(|line| line.contains("/socket.io/")),
            "the log has no line for the requests"
        );
        for token in [&customer.token, &bad, &admin.token] {
            let parts = [&token[..60], token.rsplit('.').next().unwrap(), BODY, "token="];
            let told = log.iter().find(|line| parts.iter().any(|part| line.contains(part)));
            assert_eq!(told, None);
        }
    }
}

fn is_clean(log: &[String], tokens: &[&str]) {
    assert!(
        log.iter().any(|line| line.contains("/api/chats/{id}/messages")),
        "the log has no line for the requests"
    );
    assert!(log.iter().any(|line| line.contains("refused by the database")));
    // The beginning and the signature of each token.
    let parts = tokens.iter().flat_map(|token| [&token[..60], token.rsplit('.').next().unwrap()]);
    let secrets: Vec<&str> = [BODY, DJANGO_SECRET, "pg-password-that-is-secret", "after the cut"]
        .into_iter()
        .chain(parts)
        .collect();
    for line in log {
        let parsed: Value = serde_json::from_str(line).expect("a line is one JSON object");
        assert!(parsed["level"].is_string() && parsed["timestamp"].is_string());
        assert!(secrets.iter().all(|secret| !line.contains(secret)), "it is logged: {line}");
    }
}
