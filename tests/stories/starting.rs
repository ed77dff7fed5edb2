//! Start of a node, and the reasons why it may refuse to start.

use std::{
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use frontdesk_test_support::{Browser, Desk, Http, Node, Relay, Servers, free_port, signal};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::Command,
};

use crate::{FRONTDESK, one_node};

async fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let running = Command::new(FRONTDESK)
        .args(arguments)
        .env_clear()
        .env("DATA_DIR", dir.path())
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(std::time::Duration::from_secs(60), running)
        .await
        .expect("the command does not end")
        .unwrap()
}

#[tokio::test]
async fn a_wrong_variable_is_one_line_that_names_it_and_exit_code_2() {
    let production =
        |more: &[(&'static str, &'static str)]| [&[("NODE_ENV", "production")], more].concat();
    for (env, named) in [
        (vec![("PORT", "seventy")], "PORT: "),
        (vec![("PORT", "70000")], "PORT: "),
        (vec![("LOG_LEVEL", "loud")], "LOG_LEVEL: "),
        (vec![("POSTGRES_HOST", "db")], "POSTGRES_DB: "),
        (vec![("COGNITO_USER_POOL_ID", "pool")], "COGNITO_REGION: "),
        (vec![("DJANGO_JWT_SECRET", "short")], "DJANGO_JWT_SECRET: "),
        (vec![("CORS_ORIGINS", "https://a.example/")], "CORS_ORIGINS: "),
        (production(&[]), "COGNITO_USER_POOL_ID: "),
        (production(&[("DJANGO_JWT_SECRET", "0123456789abcdef")]), "POSTGRES_HOST: "),
    ] {
        let output = run(&[], &env).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("frontdesk: {named}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains("0123456789abcdef"));
    }
}

#[tokio::test]
async fn help_and_version_are_told_and_a_strange_argument_is_refused() {
    let help = run(&["--help"], &[]).await;
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("Usage: frontdesk"));
    let version = run(&["--version"], &[]).await;
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("frontdesk "));
    let strange = run(&["--port", "80"], &[]).await;
    assert_eq!(strange.status.code(), Some(2));
    assert!(String::from_utf8(strange.stderr).unwrap().contains("--port"));
}

#[tokio::test]
async fn a_port_that_is_taken_and_a_data_directory_that_is_in_use_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&[], &[("PORT", &port)]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("frontdesk: PORT: ") && said.contains("another program"), "{said}");

    // An address of another machine is an error of HOST, for either port.
    let elsewhere =
        [("HOST", "192.0.2.1"), ("DEV_ISSUER", "yes"), ("PORT", "0"), ("ADMIN_PORT", "0")];
    let output = run(&[], &elsewhere).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected =
        "frontdesk: HOST: can't listen on 192.0.2.1:0: this machine does not have this address";
    assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}");

    let desk = one_node().await;
    let dir = desk.data.path().to_str().unwrap();
    let second = run(&[], &[("PORT", "0"), ("DATA_DIR", dir)]).await;
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.starts_with("frontdesk: DATA_DIR: another process is using"), "{said}");
}

#[tokio::test]
async fn in_production_a_small_practice_runs_on_one_machine_without_the_development_issuer() {
    let production = [("NODE_ENV", "production"), ("EMBEDDED", "true")];
    let desk = Desk::embedded_with(FRONTDESK, &production).await;
    let (customer, _, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    assert_eq!(patient.send(&session, "k", "hello").await["seq"], 1);
    let anyone = Http::new(desk.nodes[0].address, None);
    for path in ["/dev/token", "/demo/", "/", "/dev/customers/.well-known/jwks.json"] {
        assert_eq!(anyone.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_node_that_is_there_before_its_database_waits_for_it() {
    let servers = Servers::get().await;
    let database = servers.postgres_database().await;
    let (late, redis) = (free_port(), servers.redis_port.to_string());
    let env = [
        ("POSTGRES_HOST", "127.0.0.1".to_owned()),
        ("POSTGRES_PORT", late.to_string()),
        ("POSTGRES_DB", database.name.clone()),
        ("POSTGRES_USER", "postgres".to_owned()),
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", redis),
        ("DJANGO_JWT_SECRET", "0123456789abcdef".to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value));
    let starting = tokio::spawn(async move { Node::start(FRONTDESK, &env).await });
    // The database comes up on its port after three failed attempts of the node.
    let listener = TcpListener::bind(("127.0.0.1", late)).await.unwrap();
    for _ in 0..3 {
        drop(listener.accept().await.unwrap());
    }
    let _relay = Relay::on(listener, database.port);
    let node = starting.await.unwrap();
    assert_eq!(Http::new(node.address, None).get("/health/ready").await.status, 200);
    assert!(node.log().iter().any(|line| line.contains("unreachable; retrying")));
}

#[tokio::test]
async fn a_node_that_waits_for_its_database_ends_when_it_is_told_to() {
    let port = free_port().to_string();
    let mut child = Command::new(FRONTDESK)
        .env_clear()
        .envs([("POSTGRES_HOST", "127.0.0.1"), ("POSTGRES_PORT", &port), ("PORT", "0")])
        .envs([("POSTGRES_DB", "x"), ("POSTGRES_USER", "x"), ("LOG_FORMAT", "json")])
        .env("DJANGO_JWT_SECRET", "0123456789abcdef")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().contains("unreachable; retrying") {}
    signal(child.id().unwrap(), "TERM");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), child.wait()).await;
    assert!(ended.expect("the node does not end").unwrap().success());
}

#[tokio::test]
async fn what_an_embedded_node_keeps_is_for_its_user_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let env = [("DATA_DIR".to_owned(), data.to_str().unwrap().to_owned())];
    let node = Node::start(FRONTDESK, &env).await;
    let ask = serde_json::json!({ "kind": "customer", "id": "ada" });
    Http::new(node.address, None).post("/dev/token", &ask).await.expect(200);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&data) & 0o777, 0o700);
    for file in ["frontdesk.db", "frontdesk.db-wal", "issuer.pem"] {
        assert_eq!(mode(&data.join(file)) & 0o077, 0, "{file}");
    }
}

#[tokio::test]
async fn a_proxy_in_the_environment_does_not_come_between_a_node_and_its_own_keys() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = "http://127.0.0.1:1";
    let env =
        [("DATA_DIR", dir.path().to_str().unwrap()), ("HTTP_PROXY", proxy), ("http_proxy", proxy)];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let node = Node::start(FRONTDESK, &env).await;
    let ask = serde_json::json!({ "kind": "dentist", "id": 7 });
    let issued = Http::new(node.address, None).post("/dev/token", &ask).await.expect(200);
    let dentist = Http::new(node.address, issued["token"].as_str());
    dentist.get("/api/chats").await.expect(200);
    let foreign = [("origin", "https://evil.example")];
    let body = Some(ask.to_string());
    let refused = dentist.send(reqwest::Method::POST, "/dev/token", body, &foreign).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn b17_b20_development_tokens_are_for_this_machine_and_not_for_those_behind_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let data = ("DATA_DIR".to_owned(), dir.path().to_str().unwrap().to_owned());
    let node = Node::start(FRONTDESK, &[data]).await;
    let anyone = Http::new(node.address, None);
    let ask = |admin: bool| {
        Some(serde_json::json!({ "kind": "dentist", "id": 7, "admin": admin }).to_string())
    };
    let post = reqwest::Method::POST;
    for header in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "chat.example"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("via", "1.1 proxy"),
        ("cf-connecting-ip", "203.0.113.9"),
        ("true-client-ip", "203.0.113.9"),
    ] {
        let refused = anyone.send(post.clone(), "/dev/token", ask(false), &[header]).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (403, &"forbidden".into()),
            "{header:?}"
        );
    }
    // Like nginx without configuration: HTTP/1.0, and the node's own name as host.
    let mut stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let body = ask(false).unwrap();
    let head = format!(
        "POST /dev/token HTTP/1.0\r\nhost: {}\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n",
        node.address,
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 403"), "{answer}");

    // An admin token needs DEV_ADMIN=yes.
    let refused = anyone.send(post.clone(), "/dev/token", ask(true), &[]).await;
    assert_eq!((refused.status, &refused.body["code"]), (403, &"forbidden".into()));
    assert!(refused.body["detail"].as_str().unwrap().contains("DEV_ADMIN=yes"));
    let token = anyone.send(post.clone(), "/dev/token", ask(false), &[]).await.expect(200);
    let dentist = Http::new(node.address, token["token"].as_str());
    assert_eq!(dentist.get("/api/admin/users/blocked").await.status, 403);
    let node = node.another(&[("DEV_ADMIN", "yes".to_owned()), data_dir(&dir, "admins")]).await;
    let anyone = Http::new(node.address, None);
    let token = anyone.send(post, "/dev/token", ask(true), &[]).await.expect(200);
    let admin = Http::new(node.address, token["token"].as_str());
    admin.get("/api/admin/users/blocked").await.expect(200);
}

fn data_dir(dir: &tempfile::TempDir, name: &str) -> (&'static str, String) {
    ("DATA_DIR", dir.path().join(name).to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_node_with_development_tokens_listens_beyond_its_machine_only_where_that_is_meant() {
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        let output = run(&[], &[("HOST", host), ("PORT", "0")]).await;
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("frontdesk: HOST: ") && said.contains("DEV_ISSUER=yes"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let env =
        [("HOST", "0.0.0.0".to_owned()), ("DEV_ISSUER", "yes".to_owned()), data_dir(&dir, "d")];
    let env = env.map(|(name, value)| (name.to_owned(), value));
    let node = Node::start(FRONTDESK, &env).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], node.address.port()));
    let ask = serde_json::json!({ "kind": "customer", "id": "ada" });
    Http::new(address, None).post("/dev/token", &ask).await.expect(200);
    assert!(node.log().iter().any(|line| line.contains("DEV_ISSUER: ")));
}

#[tokio::test]
async fn b17_a_page_that_is_opened_by_another_host_name_says_so_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (name, value) = data_dir(&dir, "named");
    let node = Node::start(FRONTDESK, &[(name.to_owned(), value)]).await;
    let mut browser = Browser::start().await;
    // A browser resolves every name below localhost to this machine; it stands for a name in a LAN.
    let link = format!("http://reception.localhost:{}/", node.address.port());
    let mut page = browser.open(&link).await;
    for told in ["host name", "localhost", "IP address", "DEV_ISSUER=yes"] {
        let all = "[...document.querySelectorAll('.state')]";
        let saying = format!("{all}.filter(state => state.textContent.includes({told:?}))");
        page.until(&format!("{saying}.length === 2")).await;
    }
    browser.close().await;
}

#[tokio::test]
async fn to_postgres_over_tls_only_with_a_certificate_that_is_trusted() {
    let servers = Servers::get().await;
    let certificate = servers.certificate.to_str().unwrap();
    let tls = [("POSTGRES_CA_FILE", certificate)];
    let desk = Desk::cluster_with(FRONTDESK, 1, servers.redis_port, &tls).await;
    let (_, _, session) = desk.pair().await;
    assert!(!session.is_empty());
    let encrypted = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
                     where application_name = 'frontdesk' and datname = current_database()";
    let admin = desk.database.as_ref().unwrap().client().await;
    assert!(admin.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0));

    // The same server without a trusted certificate.
    let port = servers.postgres_port.to_string();
    let untrusted = [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", &port),
        ("POSTGRES_DB", "postgres"),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_TLS", "true"),
        ("PORT", "0"),
    ];
    let output = run(&[], &untrusted).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("PostgreSQL can't be reached"), "{said}");
}
