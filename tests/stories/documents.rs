//! `/openapi.json`, `/asyncapi.json` and `/docs`: the node behaves as documented.

use frontdesk_test_support::{
    Browser, Desk, Http, Person, Platform, Schemathesis, validate_asyncapi,
};
use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    FRONTDESK,
    http_api::problem,
    one_node,
    pictures::{picture, uploaded},
    tenants::{OPERATED, operated},
};

#[path = "documents/conversation.rs"]
mod conversation;

#[tokio::test]
async fn every_documented_operation_is_there_and_no_other_method_is() {
    let desk = Desk::embedded_with(FRONTDESK, &OPERATED).await;
    let http = Http::new(desk.nodes[0].address, None);
    let document = http.get("/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    let document = document.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        let url = path.replace("{file}", "index.html").replace(['{', '}'], "");
        for method in ["get", "post", "put", "patch", "delete"] {
            let asked = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = http.send(asked, &url, None, &[]).await;
            let operation = &item[method];
            if operation.is_null() && path != "/socket.io/" {
                problem(&answer, 405, "method_not_allowed");
                let allowed = answer.header("allow").to_lowercase();
                let is_allowed = |method: &String| allowed.contains(method);
                assert!(item.as_object().unwrap().keys().all(is_allowed), "{path}: {allowed}");
            } else if !operation.is_null() {
                let status = answer.status.to_string();
                assert!(operation["responses"][&status].is_object(), "{method} {path}: {status}");
                // An operation with security responds 401 to a request without a token or key.
                let security = &operation["security"];
                let is_secured = security.is_null() || *security == json!([{ "platform": [] }]);
                assert_eq!(is_secured, answer.status == 401, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_shows_every_operation_and_nothing_comes_from_elsewhere() {
    let desk = one_node().await;
    let node = desk.nodes[0].url("");
    let http = Http::new(desk.nodes[0].address, None);
    assert_eq!(http.get("/docs").await.header("location"), "docs/");
    let policy = http.get("/docs/").await.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let mut browser = Browser::start().await;
    let mut page = browser.open("about:blank").await;
    let watch = "window.refused = []; \
        addEventListener('securitypolicyviolation', (what) => refused.push(`${what.violatedDirective} ${what.blockedURI}`)); \
        addEventListener('error', (what) => refused.push(what.message));";
    page.go(&format!("{node}/docs"), watch).await;
    let document = http.get("/openapi.json").await.expect(200);
    let items = document["paths"].as_object().unwrap().values();
    let count: usize = items.map(|item| item.as_object().unwrap().len()).sum();
    page.until(&format!("document.querySelectorAll('.opblock').length == {count}")).await;
    // One operation is opened to show its responses.
    page.evaluate("document.querySelector('#operations-chats-chats_open button').click()").await;
    page.until("document.querySelector('#operations-chats-chats_open .responses-table')").await;
    assert_eq!(page.evaluate("refused").await, json!([]));
    let loaded = page.evaluate("performance.getEntries().map(({ name }) => name)").await;
    let loaded: Vec<_> = loaded.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let elsewhere = |name: &&&str| name.contains("://") && !name.starts_with(&node);
    assert_eq!(loaded.iter().find(elsewhere), None);
    assert!(loaded.contains(&format!("{node}/openapi.json").as_str()), "{loaded:?}");
    browser.close().await;
}

/// Sends every kind of request that the document describes.
#[tokio::test]
async fn nothing_that_is_asked_by_the_document_is_answered_otherwise_on_the_embedded_database() {
    asked_by_the_document(Desk::embedded_with(FRONTDESK, &OPERATED).await, 4).await;
}

#[tokio::test]
async fn nothing_that_is_asked_by_the_document_is_answered_otherwise_on_postgres_and_redis() {
    asked_by_the_document(operated(2).await, 25).await;
}

async fn asked_by_the_document(desk: Desk, examples: u32) {
    let people = [desk.customer(), desk.dentist(), desk.admin()];
    for person in &people {
        let (world, url) = (world(&desk, person).await, desk.nodes[0].url(""));
        Schemathesis { url: &url, token: &person.token, world: &world, examples }.run().await;
    }
    desk.is_unharmed(&people.iter().collect::<Vec<_>>(), &[]).await;
}

/// Objects for the requests: a session with messages, some of which may be deleted, a picture, and a
/// session that may be closed.
async fn world(desk: &Desk, person: &Person) -> Value {
    let http = desk.http(0, person);
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(match person.kind {
            "customer" => desk.session(person, &desk.dentist()).await,
            _ => desk.session(&desk.customer(), person).await,
        });
    }
    let tenant =
        Platform::of(&desk.nodes[0]).post("", &json!({ "name": "Another" })).await.expect(201);
    let mut messages = Vec::new();
    for number in 0..60 {
        let text = json!({
            "clientId": format!("world-{number}"), "kind": "text", "body": format!("tooth {number}"),
        });
        let sent = http.post(&format!("/api/chats/{}/messages", sessions[0]), &text).await;
        messages.push(sent.expect(201)["message"]["id"].clone());
    }
    let own = messages.split_off(30);
    let bytes = picture(ImageFormat::Png, 8, 8);
    let image = uploaded(&http, &sessions[0], "image/png", &bytes).await;
    let shown = json!({ "clientId": "picture", "kind": "image", "imageKey": image });
    http.post(&format!("/api/chats/{}/messages", sessions[0]), &shown).await.expect(201);
    json!({
        "kind": person.kind, "me": person.id, "session": sessions[0], "spare": sessions[1],
        "messages": messages, "own": own, "image": image, "tenant": tenant["id"],
    })
}

#[tokio::test]
async fn the_document_of_events_is_one_that_its_parser_reads() {
    let desk = one_node().await;
    let told = validate_asyncapi(&desk.nodes[0].url("/asyncapi.json")).await;
    assert!(told.contains("42 operations"), "{told}");
}
