//! The audit log can be read, and deleted texts are not kept for good.

use frontdesk_test_support::{Desk, Person, Servers, eventually, unique};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{FRONTDESK, one_node, two_nodes};

/// Sends a request as an admin with a new request id, and returns the id.
async fn act(desk: &Desk, admin: &Person, method: Method, path: &str) -> String {
    let id = unique("request");
    let headers = [("x-request-id", id.as_str())];
    let reply = desk.http(0, admin).send(method, path, None, &headers).await;
    assert!(reply.status < 300, "{path}: {}", reply.text);
    id
}

#[tokio::test]
async fn what_admins_do_is_in_the_audit_log_with_whom_from_where_and_by_which_request() {
    for desk in [two_nodes().await, one_node().await] {
        let (admin, (customer, dentist, session)) = (desk.admin(), desk.pair().await);
        let mut patient = desk.connect(0, &customer).await;
        let sent = patient.send(&session, "k", "what-nobody-should-read").await;
        let message = sent["id"].as_str().unwrap();
        let path = format!("/api/chats/{session}/messages/{message}");
        desk.http(0, &customer).delete(&path).await.expect(200);
        let edits = format!("/api/admin/chats/{session}/messages/{message}/edits");
        let block = format!("/api/admin/users/customer/{}/block", customer.id);
        let looked = act(&desk, &admin, Method::GET, &edits).await;
        let blocked = act(&desk, &admin, Method::PUT, &block).await;
        let unblocked = act(&desk, &admin, Method::DELETE, &block).await;
        // These requests change nothing and leave no entry.
        act(&desk, &admin, Method::DELETE, &block).await;
        let unknown = edits.replace(message, &session);
        desk.http(0, &admin).get(&unknown).await.expect(404);

        let http = desk.http(desk.nodes.len() - 1, &admin);
        let (mut entries, mut next) = (Vec::new(), String::new());
        loop {
            let page = http.get(&format!("/api/admin/audit?limit=2{next}")).await.expect(200);
            entries.extend(page["items"].as_array().unwrap().clone());
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            next = format!("&cursor={cursor}");
        }
        let user = json!({ "kind": "customer", "id": customer.id });
        let expected = [
            json!({ "act": "unblock_user", "user": user, "requestId": unblocked }),
            json!({ "act": "block_user", "user": user, "requestId": blocked }),
            json!({ "act": "read_edits", "sessionId": session, "messageId": message,
                    "requestId": looked }),
        ];
        for (entry, mut expected) in entries.iter().zip(expected) {
            assert!(entry["at"].as_str().unwrap().ends_with('Z'));
            for name in ["at", "id"] {
                expected[name] = entry[name].clone();
            }
            expected["actor"] = json!({ "kind": "dentist", "id": admin.id });
            expected["address"] = "127.0.0.1".into();
            assert_eq!(*entry, expected);
        }
        assert_eq!(entries.len(), 3, "there are three entries");
        assert!(!json!(entries).to_string().contains("what-nobody-should-read"));
        for nobody in [&customer, &dentist] {
            let refused = desk.http(0, nobody).get("/api/admin/audit").await.expect(403);
            assert_eq!(refused["code"], "forbidden");
        }
        let refused = http.get("/api/admin/audit?cursor=nonsense").await.expect(400);
        assert!(refused["detail"].as_str().unwrap().starts_with("cursor: "));
    }
}

#[tokio::test]
async fn a_look_that_can_not_be_noted_shows_nothing() {
    let desk = two_nodes().await;
    let (admin, (customer, _, session)) = (desk.admin(), desk.pair().await);
    let mut patient = desk.connect(0, &customer).await;
    let sent = patient.send(&session, "k", "taken back").await;
    let message = sent["id"].as_str().unwrap();
    let path = format!("/api/chats/{session}/messages/{message}");
    desk.http(0, &customer).delete(&path).await.expect(200);
    let edits = format!("/api/admin{}/edits", path.strip_prefix("/api").unwrap());
    let database = desk.database.as_ref().unwrap().client().await;
    database.batch_execute("alter table audit rename to gone").await.unwrap();
    let refused = desk.http(0, &admin).get(&edits).await;
    assert!(refused.status >= 500 && !refused.text.contains("taken back"), "{}", refused.text);
    database.batch_execute("alter table gone rename to audit").await.unwrap();
    let shown = desk.http(0, &admin).get(&edits).await.expect(200);
    assert_eq!(shown["items"][0]["body"], "taken back");
}

/// Earlier texts of a message, as an admin sees them.
async fn past(desk: &Desk, admin: &Person, session: &str, message: &str) -> Vec<Value> {
    let path = format!("/api/admin/chats/{session}/messages/{message}/edits");
    let edits = desk.http(0, admin).get(&path).await.expect(200);
    edits["items"].as_array().unwrap().iter().map(|item| item["body"].clone()).collect()
}

#[tokio::test]
async fn what_people_took_back_is_removed_after_its_retention() {
    let redis_port = Servers::get().await.redis_port;
    let env = [("EDITS_RETENTION_DAYS", "1")];
    let mut desk = Desk::cluster_with(FRONTDESK, 1, redis_port, &env).await;
    let (admin, (customer, _, session)) = (desk.admin(), desk.pair().await);
    let mut patient = desk.connect(0, &customer).await;
    let mut messages = Vec::new();
    for body in ["long-ago", "just-now"] {
        let sent = patient.send(&session, body, body).await;
        let id = sent["id"].as_str().unwrap().to_owned();
        let path = format!("/api/chats/{session}/messages/{id}");
        desk.http(0, &customer).delete(&path).await.expect(200);
        messages.push(id);
    }
    let database = desk.database.as_ref().unwrap().client().await;
    let aged = "update message_edits set replaced_at = replaced_at - interval '25 hours' \
                where body = 'long-ago'";
    assert_eq!(database.execute(aged, &[]).await.unwrap(), 1);
    // A job removes old texts every hour. A node that starts makes up for an hour that has passed.
    let passed = "update schedules set slot = slot - interval '1 hour' where name = 'forget_edits'";
    eventually("the schedule has begun", async || {
        database.execute(passed, &[]).await.unwrap() == 1
    })
    .await;
    desk.nodes[0].restart().await;
    eventually("the old text is removed", async || {
        past(&desk, &admin, &session, &messages[0]).await.is_empty()
    })
    .await;
    assert_eq!(past(&desk, &admin, &session, &messages[1]).await, ["just-now"]);
}
