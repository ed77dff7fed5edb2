//! The files shipped for operators in use: nginx with its shipped configuration, in front of two nodes.

use std::{sync::Arc, time::Duration};

use frontdesk_test_support::{
    Client, Desk, Http, Nginx, Servers, StockClient, eventually, shipped_configuration_is_valid,
    try_connect,
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use crate::{FRONTDESK, draining::App, two_nodes};

/// Setting of the nodes for nginx, which runs on this machine and is the only proxy.
const BEHIND_NGINX: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

async fn desk_behind_nginx(env: &[(&str, &str)]) -> (Desk, Nginx) {
    let redis_port = Servers::get().await.redis_port;
    let env = [&[BEHIND_NGINX], env].concat();
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &env).await;
    let nodes: Vec<_> = desk.nodes.iter().map(|node| node.address).collect();
    let nginx = Nginx::start(&nodes).await;
    (desk, nginx)
}

#[test]
fn nginx_takes_the_configurations_that_are_shipped() {
    for site in ["nginx/site", "deploy/compose/site"] {
        let (valid, said) = shipped_configuration_is_valid(site);
        assert!(valid, "{site}: {said}");
        assert!(!said.contains("[warn]"), "{site}: {said}");
    }
}

/// Sends messages by HTTP, one after the other, until it is stopped; returns the status of each
/// request.
async fn post_on_and_on(http: Http, session: String, stop: watch::Receiver<bool>) -> Vec<u16> {
    let (path, mut statuses) = (format!("/api/chats/{session}/messages"), Vec::new());
    while !*stop.borrow() {
        let key = format!("http-{}", statuses.len());
        let text = json!({ "clientId": key, "kind": "text", "body": "by HTTP" });
        statuses.push(http.post(&path, &text).await.status);
        statuses.push(http.get("/api/chats").await.status);
        // Fast, but below nginx's limit for one address.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    statuses
}

/// Runs two native apps: one writes until it is stopped, the other reads. Returns the number of sent
/// messages, and those seen.
async fn talk(mut writer: App, mut reader: App, stop: watch::Receiver<bool>) -> (u64, Vec<u64>) {
    let writing = async {
        let mut sent = 0;
        while !*stop.borrow() {
            writer.send(&format!("native-{sent}")).await;
            sent += 1;
        }
        sent
    };
    let sent = tokio::select! {
        sent = writing => sent,
        () = reader.read_up_to(u64::MAX) => unreachable!(),
    };
    timeout(Duration::from_secs(30), reader.read_up_to(sent)).await.expect("something is missing");
    (sent, reader.seen)
}

async fn steady(desk: &Desk, nginx: &Nginx, transports: &[&str]) -> (StockClient, String) {
    let (customer, dentist, session) = desk.pair().await;
    let url = format!("http://{}", nginx.address);
    let story = json!({
        "urls": [url], "transports": transports, "session": session,
        "patient": customer.token, "dentist": dentist.token,
    });
    let mut client = StockClient::javascript_steady(&story).await;
    client.reaches("under way").await;
    (client, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_and_a_reload_behind_the_shipped_nginx_lose_nothing() {
    let (mut desk, nginx) = desk_behind_nginx(&[]).await;
    let (customer, dentist, session) = desk.pair().await;
    let (stop, stopped) = watch::channel(false);
    let [writer, reader] =
        [&customer, &dentist].map(|person| App::new(nginx.address, person.clone(), &session));
    let native = tokio::spawn(talk(writer, reader, stopped.clone()));
    let (patient, _, by_http) = desk.pair().await;
    let http = Http::new(nginx.address, Some(&patient.token));
    let posting = tokio::spawn(post_on_and_on(http, by_http, stopped));
    let mut stock = Vec::new();
    for transports in [&["websocket"][..], &["polling"], &["polling", "websocket"]] {
        stock.push(steady(&desk, &nginx, transports).await.0);
    }

    for node in &mut desk.nodes {
        node.terminate();
        assert!(node.exit().await.success());
        node.restart().await;
        let (itself, through) = (Http::new(node.address, None), Http::new(nginx.address, None));
        eventually("the node is ready again", async || {
            itself.get("/health/ready").await.status == 200
        })
        .await;
        let name = itself.get("/health").await.body["node"].clone();
        let used = async || through.get("/health").await.body["node"] == name;
        eventually("nginx uses it again", used).await;
    }
    // A socket opened before the reload survives it.
    let mut standing = Client::connect(nginx.address, &dentist.token).await;
    nginx.reload().await;
    let mut new = Client::connect(nginx.address, &customer.token).await;
    standing.join(&session, None).await;
    new.join(&session, None).await;
    new.send(&session, "behind-the-reload", "still here").await;
    while standing.message().await["clientId"] != "behind-the-reload" {}
    stop.send(true).unwrap();

    let (sent, seen) = native.await.unwrap();
    assert!(sent > 10, "there was no traffic: {sent}");
    // The message sent after the reload is included.
    assert_eq!(seen[..], (1..=seen.len() as u64).collect::<Vec<_>>());
    assert!(seen.len() as u64 >= sent);
    for mut client in stock {
        client.go_on().await;
        let told = client.tells().await;
        let acknowledged = told["acknowledged"].as_array().unwrap();
        assert!(acknowledged.len() > 10, "there was no traffic: {acknowledged:?}");
        assert!(told["reconnects"].as_u64().unwrap() > 0, "no client had to reconnect");
        let all: Vec<u64> = (1..=acknowledged.len() as u64).collect();
        assert_eq!(*acknowledged, all);
        for seen in told["seen"].as_array().unwrap() {
            assert_eq!(*seen, json!(all), "each message arrives once, in order");
        }
    }
    let statuses = posting.await.unwrap();
    assert!(statuses.len() > 20, "there was no traffic: {statuses:?}");
    assert!(statuses.iter().all(|status| [200, 201].contains(status)), "{statuses:?}");
    only_polls_failed(&nginx);
    for token in [&customer.token, &dentist.token] {
        assert!(!nginx.logs().contains(token.rsplit('.').next().unwrap()));
    }
}

/// Checks that only polls failed. nginx does not repeat a poll to a node that ended, because its
/// packets may be lost; the client reconnects.
fn only_polls_failed(nginx: &Nginx) {
    let log = nginx.access_log();
    let requests: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    assert!(requests.iter().any(|request| request["path"] == "/ws" && request["status"] == 101));
    let failed = requests.iter().filter(|request| request["status"].as_u64().unwrap() >= 500);
    let mut polls = 0;
    for request in failed {
        assert_eq!(request["path"], "/socket.io/", "{request}");
        polls += 1;
    }
    assert!(polls < 30, "{polls} polls failed");
}

#[tokio::test]
async fn what_is_not_for_the_public_is_not_reached_through_nginx() {
    let (desk, nginx) = desk_behind_nginx(&[]).await;
    let (inside, outside) =
        (Http::new(desk.nodes[0].address, None), Http::new(nginx.address, None));
    assert_eq!(inside.get("/metrics").await.status, 200);
    for path in [
        "/metrics",
        "//metrics",
        "/%6detrics",
        "/metrics/",
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/api/..%2fmetrics",
        "/health/../metrics",
        "/dev/token",
        "/dev/customers/.well-known/jwks.json",
        "/demo/",
        "/",
    ] {
        // An HTTP client would normalize the path.
        let status = raw_status(nginx.address, path).await;
        assert_eq!(status, 404, "{path}");
    }
    for path in ["/health/live", "/health/ready", "/health", "/version"] {
        assert_eq!(outside.get(path).await.status, 200, "{path}");
    }
    let unknown = outside.get("/api/chats").await;
    assert_eq!(
        (unknown.status, unknown.header("strict-transport-security")),
        (401, "max-age=63072000")
    );
    assert_eq!(unknown.header("server"), "nginx", "without its version");
    let plain = Http::new(nginx.http, None).get("/ws?x=1").await;
    assert_eq!(plain.status, 308);
    assert!(plain.header("location").starts_with("https://127.0.0.1/ws?x=1"));
}

async fn raw_status(address: std::net::SocketAddr, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_behind_nginx_can_not_say_from_where_it_is() {
    let limit = ("LIMIT_CONNECTIONS_PER_ADDRESS", "2");
    let (desk, nginx) = desk_behind_nginx(&[limit]).await;
    let bearer = format!("Bearer {}", desk.customer().token);
    let connect = async |through, name: &'static str, forged: &str| {
        let headers = [("authorization", bearer.as_str()), (name, forged)];
        let mut client = try_connect(through, "/ws", &headers).await.unwrap();
        let asked = json!({ "token": bearer.strip_prefix("Bearer ").unwrap() });
        let let_in = client.try_request("auth:refresh", &asked).await.is_some();
        (client, let_in)
    };
    let mut open = Vec::new();
    for (name, forged) in [("x-forwarded-for", "203.0.113.1"), ("x-real-ip", "203.0.113.2")] {
        let (client, let_in) = connect(nginx.address, name, forged).await;
        assert!(let_in, "{forged}");
        open.push(client);
    }
    for (name, forged) in [
        ("x-forwarded-for", "203.0.113.3"),
        ("x-forwarded-for", "203.0.113.4, 127.0.0.1"),
        ("forwarded", "for=203.0.113.5"),
        ("x-frontdesk-client", "203.0.113.6"),
    ] {
        let (mut client, let_in) = connect(nginx.address, name, forged).await;
        assert!(!let_in, "{name}: {forged}");
        assert_eq!(client.closed().await, 4429);
    }
    // Without nginx, which overwrites the header, the same header is trusted from this machine.
    assert!(connect(desk.nodes[0].address, "x-forwarded-for", "203.0.113.3").await.1);
}

#[tokio::test]
async fn a_token_in_the_url_is_in_no_log_of_nginx_even_while_every_node_is_away() {
    let (mut desk, nginx) = desk_behind_nginx(&[]).await;
    let customer = desk.customer();
    let outside = Http::new(nginx.address, None);
    let paths = ["/ws", "/socket.io/", "/api/chats", "/nothing", "/metrics"];
    let ask = async || {
        for path in paths {
            let poll = "EIO=4&transport=polling";
            let sid = "&sid=unknown";
            for query in [String::new(), format!("{poll}&"), format!("{poll}{sid}&")] {
                outside.get(&format!("{path}?{query}token={}", customer.token)).await;
            }
        }
    };
    ask().await;
    for node in &mut desk.nodes {
        node.kill().await;
    }
    ask().await;
    let admin = format!("/api/admin/users/customer/{}/block", customer.id);
    assert_eq!(outside.put(&admin).await.status, 502);
    eventually("the request is logged", async || {
        nginx.access_log().iter().any(|line| line.contains("/api/admin/users/customer/-/block"))
    })
    .await;
    let logs = nginx.logs();
    assert!(nginx.access_log().iter().any(|line| line.contains("\"status\":502")));
    let signature = customer.token.rsplit('.').next().unwrap();
    for private in [signature, &customer.token[..60], "token=", &customer.id] {
        assert!(!logs.contains(private), "it is logged: {private}");
    }
}

/// A proxy reuses idle connections: if a node closes one at that moment, the client gets a 502.
#[tokio::test]
async fn a_node_keeps_an_idle_connection_of_its_proxy_and_not_of_others() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (desk, _nginx) = desk_behind_nginx(&[]).await;
    let alone = Arc::new(two_nodes().await);
    let idle = async |address: std::net::SocketAddr| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 4096];
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        timeout(Duration::from_secs(15), stream.read(&mut answer)).await
    };
    let (of_proxy, of_other) =
        tokio::join!(idle(desk.nodes[0].address), idle(alone.nodes[0].address));
    assert!(of_proxy.is_err(), "the proxy's connection was closed");
    assert_eq!(of_other.expect("the other connection stays open").unwrap(), 0);
}
