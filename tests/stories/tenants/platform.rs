//! The platform API, as its operator uses and misuses it.

use frontdesk_test_support::{
    DJANGO_SECRET, Desk, Http, Node, OneSignal, PLATFORM_KEY, Platform, Practice, Servers,
    eventually, unique,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{OPERATED, code};
use crate::FRONTDESK;

/// Path, body, status, and a part of the explanation.
fn wrong_requests(pool: &str) -> Vec<(&'static str, Value, u16, &'static str)> {
    let secret = "0123456789abcdef0123456789abcdef";
    vec![
        ("", json!({}), 400, "name"),
        ("", json!({ "name": "" }), 400, "name"),
        ("", json!({ "name": "a\nb" }), 400, "name"),
        ("/1/issuers", json!({ "kind": "cognito", "issuer": "https://a.example/b" }), 409, "main"),
        ("/2/issuers", json!({ "kind": "cognito", "issuer": pool }), 409, "tenant already"),
        ("/2/issuers", json!({ "kind": "ldap", "issuer": "https://a.example" }), 400, "kind"),
        ("/2/issuers", json!({ "kind": "cognito", "issuer": "pool" }), 400, "issuer"),
        (
            "/2/issuers",
            json!({ "kind": "cognito", "issuer": "https://me:pw@a.example" }),
            400,
            "issuer",
        ),
        (
            "/2/issuers",
            json!({ "kind": "cognito", "issuer": "https://a.example/", }),
            400,
            "issuer",
        ),
        (
            "/2/issuers",
            json!({ "kind": "cognito", "issuer": "https://a.example", "clientIds": [""] }),
            400,
            "clientIds",
        ),
        (
            "/2/issuers",
            json!({ "kind": "cognito", "issuer": "https://a.example", "secret": "x" }),
            400,
            "kind",
        ),
        (
            "/2/issuers",
            json!({ "kind": "django", "issuer": "a b", "secret": secret }),
            400,
            "issuer",
        ),
        ("/2/issuers", json!({ "kind": "django", "secret": secret }), 400, "issuer"),
        ("/2/issuers", json!({ "kind": "django", "issuer": "a" }), 400, "kind"),
        (
            "/2/issuers",
            json!({ "kind": "django", "issuer": "a", "secret": "short-and" }),
            400,
            "secret",
        ),
        (
            "/2/issuers",
            json!({ "kind": "django", "issuer": "a", "jwksUrl": "ftp://a.example" }),
            400,
            "jwksUrl",
        ),
    ]
}

#[tokio::test]
async fn the_platform_api_is_for_its_key_alone_and_names_what_is_wrong() {
    let desk = Desk::embedded_with(FRONTDESK, &OPERATED).await;
    let platform = Platform::of(&desk.nodes[0]);
    let admin = desk.admin();
    for (key, status) in [("", 401), ("wrong", 401), (&PLATFORM_KEY[1..], 401), (PLATFORM_KEY, 200)]
    {
        let http = desk.http(0, &admin);
        let reply =
            http.send(Method::GET, "/api/platform/tenants", None, &[("x-api-key", key)]).await;
        assert_eq!(reply.status, status, "{key}");
    }
    let main = platform.get("/1").await.expect(200);
    assert_eq!(
        (&main["name"], &main["suspended"], &main["suspendedAt"]),
        (&json!("main"), &json!(false), &json!(null))
    );
    let tenant = platform.post("", &json!({ "name": "  Praxis Süd " })).await.expect(201);
    assert_eq!((&tenant["id"], &tenant["name"]), (&json!(2), &json!("Praxis Süd")));
    for path in ["/3", "/0", "/-1", "/x", "/99999999999", "/3/issuers", "/3/usage"] {
        assert_eq!(code(&platform.get(path).await), (404, "tenant_not_found".into()), "{path}");
    }
    for (path, body, status, part) in wrong_requests(&desk.issuer.url) {
        let reply = platform.post(path, &body).await;
        let detail = reply.body["detail"].as_str().unwrap_or_default().to_owned();
        assert!(reply.status == status && detail.contains(part), "{body}: {}", reply.body);
        assert!(!detail.contains("short-and") && !detail.contains("pw@"), "{detail}");
    }
    assert_eq!(platform.patch("/2", &json!({})).await.expect(200)["name"], "Praxis Süd");
    let page = platform.get("?limit=1").await.expect(200);
    let next = page["nextCursor"].as_str().unwrap();
    let page = platform.get(&format!("?limit=1&cursor={next}")).await.expect(200);
    assert_eq!(page["items"][0]["id"], 2);
    assert_eq!(platform.get("?cursor=x").await.status, 400);
    // Without a key there is no such API.
    let plain = crate::one_node().await;
    assert_eq!(code(&Platform::of(&plain.nodes[0]).get("").await), (404, "not_found".into()));
    desk.is_unharmed(&[&admin], &[PLATFORM_KEY]).await;
}

#[tokio::test]
async fn a_tenant_has_metrics_of_its_own_where_the_operator_lists_it() {
    let redis_port = Servers::get().await.redis_port;
    let listed = [&OPERATED[..], &[("METRICS_TENANTS", "2")]].concat();
    let desk = Desk::cluster_with(FRONTDESK, 1, redis_port, &listed).await;
    let platform = Platform::of(&desk.nodes[0]);
    let mut clients = Vec::new();
    for name in ["Listed", "Not listed"] {
        let practice = Practice::open(&platform, name).await;
        practice.known(&desk.nodes[0]).await;
        let (customer, dentist) = (practice.customer("ada"), practice.dentist("7"));
        let session = desk.session(&customer, &dentist).await;
        let mut client = desk.connect(0, &customer).await;
        client.send(&session, "1", "hello").await;
        clients.push(client);
    }
    let metrics = Http::new(desk.nodes[0].address, None).get("/metrics").await.text;
    for line in [
        r#"frontdesk_tenant_connections{tenant="2"} 1"#,
        r#"frontdesk_tenant_messages_total{tenant="2"} 1"#,
        r#"frontdesk_connections{framing="native"} 2"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains(r#"{tenant="3"}"#) && !metrics.contains("Listed"));
}

#[tokio::test]
async fn a_push_that_waits_while_its_tenant_is_suspended_is_dropped() {
    let service = OneSignal::start().await;
    let redis_port = Servers::get().await.redis_port;
    let mut variables = service.variables().to_vec();
    variables.retain(|(name, _)| *name != "PUSH_DELAY_MS");
    variables.extend(OPERATED);
    variables.push(("PUSH_DELAY_MS", "4000"));
    let desk = Desk::cluster_with(FRONTDESK, 1, redis_port, &variables).await;
    let platform = Platform::of(&desk.nodes[0]);
    // Another story's tenants have the same numbers, and its people may be online in the Redis of both.
    let (id, mut talks) = (unique("d"), Vec::new());
    for name in ["Suspended", "In order"] {
        let practice = Practice::open(&platform, name).await;
        practice.known(&desk.nodes[0]).await;
        let (customer, dentist) = (practice.customer("ada"), practice.dentist(&id));
        let session = desk.session(&customer, &dentist).await;
        desk.greet(&customer, &session).await;
        talks.push(practice);
    }
    let suspended = format!("/{}", talks[0].id);
    platform.patch(&suspended, &json!({ "suspended": true })).await.expect(200);
    for practice in &talks {
        eventually("no job waits", async || {
            let usage = platform.get(&format!("/{}/usage", practice.id)).await.expect(200);
            usage["jobs"] == 0
        })
        .await;
    }
    // The id in OneSignal names the tenant: equal ids are two people.
    let made = talks.iter().map(|practice| service.made_to(&format!("{}/{id}", practice.id)).len());
    assert_eq!(made.collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn in_production_a_tenants_keys_come_by_https_unless_it_is_allowed() {
    for (allowed, status) in [("", 400), ("http-issuer", 201)] {
        let dir = tempfile::tempdir().unwrap();
        let variables = [
            ("NODE_ENV", "production"),
            ("EMBEDDED", "true"),
            ("DATA_DIR", dir.path().to_str().unwrap()),
            ("DJANGO_JWT_SECRET", DJANGO_SECRET),
            ("ALLOW_INSECURE", allowed),
        ];
        let variables = [&variables[..], &OPERATED].concat();
        let owned = variables.into_iter().filter(|(_, value)| !value.is_empty());
        let owned: Vec<_> =
            owned.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let node = Node::start(FRONTDESK, &owned).await;
        let platform = Platform::of(&node);
        platform.post("", &json!({ "name": "Northern practice" })).await.expect(201);
        for (kind, field) in [("cognito", "issuer"), ("django", "jwksUrl")] {
            let mut issuer = json!({ "kind": kind, "issuer": format!("{kind}-of-a-practice") });
            issuer[field] = format!("http://{kind}.example/keys").into();
            let added = platform.post("/2/issuers", &issuer).await;
            assert_eq!(added.status, status, "{}", added.text);
            assert!(status == 201 || added.text.contains(field), "{}", added.text);
        }
    }
}
