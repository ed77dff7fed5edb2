//! The commands of the program besides running a node.

use std::process::{Output, Stdio};

use frontdesk_test_support::{
    Collector, DJANGO_SECRET, Desk, Http, NO_LIMITS, Node, PATIENCE, PostgresDatabase, Relay,
    Servers, Way, eventually, free_port,
};
use serde_json::json;
use tokio::process::Command;

use crate::{FRONTDESK, one_node};

pub(crate) type Env<'a> = &'a [(&'a str, &'a str)];

pub(crate) async fn run(arguments: &[&str], env: Env<'_>) -> Output {
    let running = Command::new(FRONTDESK)
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(PATIENCE * 3, running).await.expect("the command does not end").unwrap()
}

/// Exit code, and the text of both output streams.
pub(crate) async fn said(arguments: &[&str], env: Env<'_>) -> (Option<i32>, String) {
    let output = run(arguments, env).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap().trim().to_owned())
}

#[tokio::test]
async fn health_says_whether_the_node_is_ready_and_what_is_the_reason_where_not() {
    let database = Servers::get().await.postgres_database().await;
    let relay = Relay::start(database.port).await;
    let redis = Servers::get().await.redis_port;
    let port = relay.port.to_string();
    let env = [("POSTGRES_PORT", port.as_str())];
    let mut desk = Desk::cluster_with(FRONTDESK, 1, redis, &env).await;
    let port = desk.nodes[0].address.port().to_string();
    let here = [("PORT", port.as_str())];

    assert_eq!(said(&["health"], &here).await, (Some(0), "ready".to_owned()));
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(said(&["health", "--url", &url], &[]).await, (Some(0), "ready".to_owned()));
    relay.be(Way::Cut);
    eventually("the node is not ready", async || said(&["health"], &here).await.0 == Some(1)).await;
    let (code, reason) = said(&["health"], &here).await;
    assert_eq!((code, reason.as_str()), (Some(1), "frontdesk: not ready: postgres is down"));
    assert_eq!(said(&["health", "--live"], &here).await, (Some(0), "live".to_owned()));

    desk.nodes[0].kill().await;
    for arguments in [&["health"][..], &["health", "--live"]] {
        let (code, reason) = said(arguments, &here).await;
        assert_eq!(code, Some(1));
        assert!(reason.contains(&format!("127.0.0.1:{port} can't be reached")), "{reason}");
    }
    for wrong in [["--timeout-s", "0"], ["--url", "not a url"]] {
        assert_eq!(said(&[&["health"], &wrong[..]].concat(), &here).await.0, Some(2));
    }
}

async fn lists_chats(node: &Node, token: &str) -> u16 {
    Http::new(node.address, Some(token)).get("/api/chats").await.status
}

#[tokio::test]
async fn a_development_token_of_the_command_line_lets_in() {
    let dir = tempfile::tempdir().unwrap();
    let (data, port) = (dir.path().to_str().unwrap(), free_port().to_string());
    let env = [("DATA_DIR", data), ("PORT", port.as_str())];
    let owned = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let node = Node::start_at(FRONTDESK, &owned, port.parse().unwrap()).await;
    for (kind, blocked) in [("customer", 403), ("dentist", 403), ("admin", 200)] {
        let output = run(&["token", "--kind", kind, "--id", "7"], &env).await;
        assert!(output.status.success());
        let token = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lists_chats(&node, token.trim()).await, 200, "{kind}");
        let admin = Http::new(node.address, Some(token.trim()));
        assert_eq!(admin.get("/api/admin/users/blocked").await.status, blocked, "{kind}");
    }
    // With an own issuer, the command signs with the issuer's key.
    let issuer = format!("http://127.0.0.1:{port}/dev/customers");
    let key = dir.path().join("issuer.pem");
    let arguments = ["token", "--kind", "customer", "--id", "ada", "--key-id", "development"];
    let arguments = [&arguments[..], &["--key", key.to_str().unwrap()]].concat();
    let (code, token) = said(&arguments, &[("COGNITO_ISSUER", &issuer)]).await;
    assert_eq!((code, lists_chats(&node, &token).await), (Some(0), 200));
}

#[tokio::test]
async fn a_token_is_signed_with_the_dentists_secret_and_never_for_a_customer() {
    let desk = one_node().await;
    let secret =
        [("DJANGO_JWT_SECRET", DJANGO_SECRET), ("NODE_ENV", "production"), ("EMBEDDED", "1")];
    let (code, token) = said(&["token", "--kind", "dentist", "--id", "7"], &secret).await;
    assert_eq!((code, lists_chats(&desk.nodes[0], &token).await), (Some(0), 200));
    let other = [("DJANGO_JWT_SECRET", "another-secret-than-the-nodes")];
    let (_, token) = said(&["token", "--kind", "dentist", "--id", "7"], &other).await;
    assert_eq!(lists_chats(&desk.nodes[0], &token).await, 401);
    for (arguments, code, named) in [
        (["--kind", "customer", "--id", "ada"], Some(1), "Cognito"),
        (["--kind", "dentist", "--id", "no spaces"], Some(2), "--id"),
        (["--kind", "nurse", "--id", "7"], Some(2), "--kind"),
    ] {
        let (ended, problem) = said(&[&["token"], &arguments[..]].concat(), &secret).await;
        assert_eq!(ended, code, "{problem}");
        assert!(problem.contains(named) && !problem.contains(DJANGO_SECRET), "{problem}");
    }
}

#[tokio::test]
async fn once_migrated_a_database_needs_no_right_to_make_tables_from_its_nodes() {
    let database = Servers::get().await.postgres_database().await;
    let role = database.name.replace("frontdesk", "role");
    let client = database.client().await;
    client.batch_execute(&format!("create role {role} login")).await.unwrap();
    let port = database.port.to_string();
    let as_owner =
        [postgres(&database, &port).as_slice(), &[("DJANGO_JWT_SECRET", DJANGO_SECRET)]].concat();
    let (code, text) = said(&["migrate"], &as_owner).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("V1__") && text.contains("database schema is up to date"), "{text}");
    let (code, text) = said(&["migrate"], &as_owner).await;
    assert!(code == Some(0) && !text.contains("V1__"), "{text}");

    // A database with migrations of another branch is not up to date.
    let other = "update refinery_schema_history set checksum = '1' where version = 2";
    let again = "update refinery_schema_history set checksum = $1 where version = 2";
    let own = "select checksum from refinery_schema_history where version = 2";
    let own: String = client.query_one(own, &[]).await.unwrap().get(0);
    client.execute(other, &[]).await.unwrap();
    let (code, text) = said(&["migrate"], &as_owner).await;
    assert!(code == Some(1) && text.contains("V2__"), "{text}");
    let (_, text) = said(&["check-config", "--connect"], &as_owner).await;
    assert!(text.contains("not migrated: V2__"), "{text}");
    client.execute(again, &[&own]).await.unwrap();

    let rights = format!(
        "grant select, insert, update, delete on all tables in schema public to {role}; \
         grant usage, select on all sequences in schema public to {role}"
    );
    client.batch_execute(&rights).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut env = as_owner.clone();
    env.extend(NO_LIMITS);
    env.push(("DATA_DIR", data.path().to_str().unwrap()));
    env.push(("POSTGRES_USER", &role));
    let env: Vec<_> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let node = Node::start(FRONTDESK, &env).await;
    let (_, token) = said(&["token", "--kind", "dentist", "--id", "7"], &as_owner).await;
    let dentist = Http::new(node.address, Some(&token));
    let opened = dentist.post("/api/chats", &json!({"customerId": "ada"})).await;
    assert_eq!(opened.status, 201);
    let path = format!("/api/chats/{}/messages", opened.body["id"].as_str().unwrap());
    let message = json!({"clientId": "k", "kind": "text", "body": "hello"});
    assert_eq!(dentist.post(&path, &message).await.status, 201);
}

#[tokio::test]
async fn check_config_names_each_part_what_has_no_effect_and_what_is_not_there() {
    let servers = Servers::get().await;
    let (database, mysql) = (servers.postgres_database().await, servers.mysql_database());
    let desk = one_node().await;
    let (postgres_port, redis_port) = (database.port.to_string(), servers.redis_port.to_string());
    let mysql_port = mysql.port.to_string();
    let mut env = postgres(&database, &postgres_port).to_vec();
    env.extend(mysql.variables(&mysql_port));
    env.extend([
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", redis_port.as_str()),
        ("COGNITO_ISSUER", &desk.issuer.url),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
        ("POSTGRES_PASSWORD", "a-password"),
        ("POSTGRES_PASSWD", "another"),
    ]);
    let (code, text) = said(&["check-config"], &env).await;
    assert_eq!(code, Some(0), "{text}");
    for named in [
        &format!("PostgreSQL at 127.0.0.1:{postgres_port}/{}", database.name),
        &format!("Redis at 127.0.0.1:{redis_port}"),
        &format!("tokens of {}", desk.issuer.url),
        "an S3 server in the node (S3_BUCKET is not set)",
        "POSTGRES_PASSWD: is set and has no effect: there is no such variable; is POSTGRES_PASSWORD meant?",
    ] {
        assert!(text.contains(named), "{named} in {text}");
    }
    let (code, text) = said(&["check-config", "--connect"], &env).await;
    assert_eq!(code, Some(0), "{text}");
    for found in ["not migrated: V1__", "ok: Redis", "ok: both queries work", "ok: 1 keys"] {
        assert!(text.contains(found), "{found} in {text}");
    }
    assert_eq!(text.lines().last(), Some("all reachable"), "{text}");
    assert_eq!(count_of_tables(&database).await, 0, "check-config changed the database");

    let with_key = format!("{}?api-key=QUERYKEY", desk.issuer.jwks_url());
    let with_key = [env.as_slice(), &[("DJANGO_JWKS_URL", &with_key)]].concat();
    desk.issuer.go_away(true);
    let (_, text) = said(&["check-config", "--connect"], &with_key).await;
    assert!(text.contains("dentists   FAILED") && !text.contains("QUERYKEY"), "{text}");
    let (code, text) =
        said(&["check-config"], &[("REDIS_HOST", "r"), ("REDIS_CA_FILE", "/no")]).await;
    assert!(code == Some(2) && text.contains("REDIS_CA_FILE: /no: "), "{text}");

    let nothing = free_port().to_string();
    for (name, part) in
        [("POSTGRES_PORT", "database"), ("REDIS_PORT", "bus"), ("MYSQL_PORT", "names")]
    {
        let env = [env.as_slice(), &[(name, nothing.as_str())]].concat();
        let (code, text) = said(&["check-config", "--connect"], &env).await;
        assert_eq!(code, Some(1), "{text}");
        let failed: Vec<_> = text.lines().filter(|line| line.contains("FAILED")).collect();
        assert_eq!(failed.len(), 2, "{text}");
        assert!(failed[0].starts_with(part) && failed[1].starts_with("customers"), "{text}");
        assert!(failed[0].ends_with(": nothing listens there"), "{text}");
        assert_eq!(failed[1], "customers  FAILED: it answers 503 Service Unavailable");
        assert!(!text.contains("all reachable") && !text.contains("os error"), "{text}");
        assert!(!text.contains(DJANGO_SECRET) && !text.contains("a-password"), "{text}");
    }
}

#[tokio::test]
async fn check_config_tells_the_collector_of_traces_nothing_and_hears_whether_it_listens() {
    let collector = Collector::start().await;
    let told = collector.variables();
    let told: Vec<_> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let more = [("OTEL_METRICS_EXPORTER", "otlp"), ("TRUSTED_TRACERS", "10.0.0.0/8")];
    let env = [told.as_slice(), &more].concat();
    let (code, text) = said(&["check-config", "--connect"], &env).await;
    assert_eq!(code, Some(0), "{text}");
    for named in [
        "1 of 1 to 127.0.0.1 as frontdesk, and the decisions of 10.0.0.0/8",
        "OTEL_METRICS_EXPORTER: is set and has no effect",
        "ok: the collector accepts them",
    ] {
        assert!(text.contains(named), "{named} in {text}");
    }
    assert!(collector.spans().is_empty());
    for wrong in ["api-key=wrong-key", "nothing=wrong-key"] {
        let env = [env.as_slice(), &[("OTEL_EXPORTER_OTLP_TRACES_HEADERS", wrong)]].concat();
        let (code, text) = said(&["check-config", "--connect"], &env).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("FAILED: ") && text.contains("403"), "{text}");
        assert!(!text.contains("wrong-key") && !text.contains(collector.key()), "{text}");
    }
}

fn postgres<'a>(database: &'a PostgresDatabase, port: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", port),
        ("POSTGRES_DB", &database.name),
        ("POSTGRES_USER", "postgres"),
    ]
}

async fn count_of_tables(database: &PostgresDatabase) -> i64 {
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    database.client().await.query_one(tables, &[]).await.unwrap().get(0)
}
