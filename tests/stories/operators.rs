//! The operators' port, and the header that makes browsers keep TLS.

use frontdesk_test_support::{Desk, Http, Node, Servers, eventually};
use serde_json::json;

use crate::FRONTDESK;

/// Address of the operators' listener.
fn admin_address(node: &Node) -> std::net::SocketAddr {
    let lines = node.log();
    let lines = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    let mut found =
        lines.filter(|line: &serde_json::Value| line["message"] == "listening for operators");
    found.next().expect("no listener for operators")["address"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn metrics_details_and_documentation_are_on_the_admin_port_alone_where_there_is_one() {
    let servers = Servers::get().await;
    let admin = [("ADMIN_PORT", "0"), ("DRAIN_SPREAD_MS", "4000")];
    let mut desk = Desk::cluster_with(FRONTDESK, 1, servers.redis_port, &admin).await;
    let (public, operators) = (desk.nodes[0].address, admin_address(&desk.nodes[0]));
    let (public, operators) = (Http::new(public, None), Http::new(operators, None));
    for path in ["/metrics", "/openapi.json", "/asyncapi.json", "/docs/"] {
        assert_eq!(public.get(path).await.status, 404, "{path}");
        assert_eq!(operators.get(path).await.status, 200, "{path}");
    }
    for path in ["/health/live", "/health/ready", "/version"] {
        for http in [&public, &operators] {
            assert_eq!(http.get(path).await.status, 200, "{path}");
        }
    }
    assert_eq!(public.get("/health").await.expect(200), json!({ "status": "ok" }));
    let details = operators.get("/health").await.expect(200);
    assert_eq!(
        (details["status"].as_str(), details["services"]["postgres"].as_str()),
        (Some("ok"), Some("up"))
    );
    // The operators' port has no routes of clients.
    let dentist = Http::new(admin_address(&desk.nodes[0]), Some(&desk.dentist().token));
    for path in ["/api/chats", "/ws", "/socket.io/?EIO=4&transport=polling"] {
        assert_eq!(dentist.get(path).await.status, 404, "{path}");
    }

    // A draining node reports so on both ports, and ends.
    let (customer, _, _) = desk.pair().await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(desk.connect(0, &customer).await);
    }
    desk.nodes[0].terminate();
    for http in [&operators, &public] {
        let drains = async || http.try_get("/health/ready").await == Some(503);
        eventually("the node reports that it drains", drains).await;
    }
    assert!(desk.nodes[0].exit().await.success());
}

#[tokio::test]
async fn the_admin_port_answers_while_clients_have_taken_every_connection_of_an_address() {
    let env = [("ADMIN_PORT", "0"), ("LIMIT_CONNECTIONS_PER_ADDRESS", "3")];
    let desk = Desk::embedded_with(FRONTDESK, &env).await;
    let node = &desk.nodes[0];
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(tokio::net::TcpStream::connect(node.address).await.unwrap());
    }
    let operators = Http::new(admin_address(node), None);
    assert!(operators.get("/metrics").await.text.contains("frontdesk_"));
    // The connections of this port are limited too: a silent one is closed, so that others get in.
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(tokio::net::TcpStream::connect(admin_address(node)).await.unwrap());
    }
    eventually("a silent connection is closed in time", async || {
        let fresh = Http::new(admin_address(node), None);
        fresh.try_get("/health/live").await == Some(200)
    })
    .await;
}

#[tokio::test]
async fn a_client_that_came_over_tls_to_a_trusted_proxy_is_told_to_stay_with_it() {
    let behind = Desk::embedded_with(FRONTDESK, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let open = Desk::embedded(FRONTDESK).await;
    let hsts = async |desk: &Desk, path: &str, proto: Option<&str>| {
        let http = Http::new(desk.nodes[0].address, None);
        let headers: Vec<_> = proto.map(|proto| ("x-forwarded-proto", proto)).into_iter().collect();
        let reply = http.send(reqwest::Method::GET, path, None, &headers).await;
        reply
            .headers
            .get("strict-transport-security")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    for path in ["/health/live", "/api/chats", "/nothing"] {
        for https in ["https", "HTTPS", "https, http"] {
            let told = hsts(&behind, path, Some(https)).await;
            assert_eq!(told.as_deref(), Some("max-age=63072000"), "{path} {https}");
        }
        for other in [None, Some("http"), Some("http, https"), Some("")] {
            assert_eq!(hsts(&behind, path, other).await, None, "{path} {other:?}");
        }
        // The header is not trusted from other addresses.
        assert_eq!(hsts(&open, path, Some("https")).await, None, "{path}");
    }
}
