//! Production is secure by default, and missing settings are reported.

use std::process::{Output, Stdio};

use frontdesk_test_support::{
    DJANGO_SECRET, Http, Issuer, Node, PATIENCE, PostgresDatabase, Redis, Servers, unique,
};
use serde_json::json;
use tokio::process::Command;

use crate::FRONTDESK;

/// Loopback under a name that a node does not take for this machine.
const ELSEWHERE: &str = "127.1";

async fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
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
async fn said(arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(arguments, env).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap().trim().to_owned())
}

/// Variables that the warnings of a node name.
fn warned(node: &Node) -> Vec<String> {
    let lines = node.log();
    let lines = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
    let warnings = lines.filter(|line: &serde_json::Value| line["level"] == "WARN");
    let texts = warnings.filter_map(|line| Some(line["message"].as_str()?.to_owned()));
    let names = texts.filter_map(|text| Some(text.split_once(": ")?.0.to_owned()));
    let mut names: Vec<_> = names.filter(|name| !name.contains(' ')).collect();
    names.sort_unstable();
    names
}

fn owned(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_replaced_services_environment_starts_a_node_in_production_and_each_risk_is_one_warning()
 {
    let servers = Servers::get().await;
    let (database, legacy) = (servers.postgres_database().await, servers.mysql_database());
    let redis = Redis::start_with(&["--requirepass", "a-redis-password"]).await;
    let [postgres_port, mysql_port, redis_port] =
        [database.port, legacy.port, redis.port].map(|port| port.to_string());
    // The variables of the service that frontdesk replaces, and no others.
    let env = [
        ("NODE_ENV", "production"),
        ("POSTGRES_HOST", ELSEWHERE),
        ("POSTGRES_PORT", &postgres_port),
        ("POSTGRES_DB", &database.name),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_PASSWORD", "a-postgres-password"),
        ("MYSQL_HOST", ELSEWHERE),
        ("MYSQL_PORT", &mysql_port),
        ("MYSQL_DB", &legacy.name),
        ("MYSQL_USER", &legacy.user),
        ("MYSQL_PASSWORD", &legacy.password),
        ("REDIS_HOST", ELSEWHERE),
        ("REDIS_PORT", &redis_port),
        ("REDIS_PASSWORD", "a-redis-password"),
        // This region does not exist, so no request reaches AWS.
        ("AWS_REGION", "frontdesk-test-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-key"),
        ("S3_BUCKET", "pictures"),
        ("COGNITO_USER_POOL_ID", "frontdesk-test-1_pool"),
        ("COGNITO_REGION", "frontdesk-test-1"),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
        ("ONESIGNAL_APP_ID", "app"),
        ("ONESIGNAL_API_KEY", "a-onesignal-key"),
        ("LOG_LEVEL", "info"),
    ];
    let node = Node::start(FRONTDESK, &owned(&env)).await;
    let dentist = Http::new(node.address, Some(&Issuer::dentist("7")));
    let opened = dentist.post("/api/chats", &json!({ "customerId": "sub-ada" })).await.expect(201);
    assert!(opened.to_string().contains("Ada Lovelace"), "the name is not that of MySQL: {opened}");
    let path = format!("/api/chats/{}/messages", opened["id"].as_str().unwrap());
    let text = json!({ "clientId": "k", "kind": "text", "body": "Hello" });
    dentist.post(&path, &text).await.expect(201);

    let mut risks = vec![
        "CLUSTER_SECRET",
        "COGNITO_CLIENT_IDS",
        "CORS_ORIGINS",
        "MYSQL_TLS",
        "POSTGRES_TLS",
        "REDIS_TLS",
        "TRUSTED_PROXIES",
    ];
    if DJANGO_SECRET.len() < 32 {
        risks.insert(3, "DJANGO_JWT_SECRET");
    }
    assert_eq!(warned(&node), risks, "{:#?}", node.log());
    node.is_unharmed(&["a-postgres-password", "a-redis-password", "a-secret-key", DJANGO_SECRET])
        .await;
}

#[tokio::test]
async fn plain_text_that_is_meant_is_warned_of_no_more_and_tls_that_is_insisted_on_is_not_left() {
    let servers = Servers::get().await;
    let database = servers.postgres_database().await;
    let (postgres_port, redis_port) = (database.port.to_string(), servers.redis_port.to_string());
    let data = tempfile::tempdir().unwrap();
    let shared = [
        ("DATA_DIR", data.path().to_str().unwrap()),
        ("POSTGRES_HOST", ELSEWHERE),
        ("POSTGRES_PORT", &postgres_port),
        ("POSTGRES_DB", &database.name),
        ("POSTGRES_USER", "postgres"),
        ("REDIS_HOST", ELSEWHERE),
        ("REDIS_PORT", &redis_port),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
    ];
    let meant = [&shared[..], &[("POSTGRES_TLS", "false"), ("REDIS_TLS", "false")]].concat();
    let node = Node::start(FRONTDESK, &owned(&meant)).await;
    assert!(!warned(&node).iter().any(|name| name.ends_with("_TLS")), "{:#?}", node.log());
    let (code, text) = said(&["check-config", "--connect"], &shared).await;
    assert_eq!(code, Some(0), "{text}");
    for found in ["database   ok: PostgreSQL", "bus        ok: Redis"] {
        let line = text.lines().find(|line| line.starts_with(found));
        assert!(line.is_some_and(|line| line.contains(", plain text")), "{text}");
    }
    for (insisted, part) in [("POSTGRES_TLS", "database"), ("REDIS_TLS", "bus")] {
        let env = [&shared[..], &[(insisted, "true")]].concat();
        let (code, text) = said(&["check-config", "--connect"], &env).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("{part:<10} FAILED: ")), "{text}");
    }
}

#[tokio::test]
async fn check_config_gives_a_verdict_for_each_check_and_a_node_does_not_start_on_a_refused_one() {
    let insecure = [
        ("NODE_ENV", "production"),
        ("EMBEDDED", "true"),
        ("COGNITO_ISSUER", "http://issuer.example/pool"),
        ("DJANGO_JWT_SECRET", "0123456789abcdef"),
        ("CORS_ORIGINS", "*"),
        ("PORT", "0"),
    ];
    let (code, text) = said(&["check-config"], &insecure).await;
    assert_eq!(code, Some(2), "{text}");
    for verdict in [
        "check      http-issuer      REFUSED: COGNITO_ISSUER: ",
        "check      short-secret     warning: DJANGO_JWT_SECRET: ",
        "check      any-client       warning: COGNITO_CLIENT_IDS: ",
        "check      any-origin       ok",
        "check      trusted-proxies  warning: TRUSTED_PROXIES: ",
        "check      redis-password   ok",
        "check      http-s3          ok",
        "check      postgres-tls     ok",
        "check      redis-tls        ok",
        "check      mysql-tls        ok",
    ] {
        assert!(text.lines().any(|line| line.starts_with(verdict)), "{verdict}\nin\n{text}");
    }
    let (code, text) = said(&[], &insecure).await;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.starts_with("frontdesk: COGNITO_ISSUER: keys come over http"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");

    let allowed = [&insecure[..], &[("ALLOW_INSECURE", "http-issuer,short-secret")]].concat();
    let (code, text) = said(&["check-config"], &allowed).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("allowed: ALLOW_INSECURE names it").count(), 2, "{text}");
    let data = tempfile::tempdir().unwrap();
    let allowed = [&allowed[..], &[("DATA_DIR", data.path().to_str().unwrap())]].concat();
    let node = Node::start(FRONTDESK, &owned(&allowed)).await;
    assert_eq!(warned(&node), ["COGNITO_CLIENT_IDS", "TRUSTED_PROXIES"]);

    for (wrong, named) in [
        (
            ("ALLOW_INSECURE", "everything"),
            "ALLOW_INSECURE: \"everything\": must be a list of http-issuer, ",
        ),
        (("NODE_ENV", "staging"), "NODE_ENV: \"staging\": must be production, development or test"),
    ] {
        let (code, text) = said(&[], &[&insecure[..], &[wrong]].concat()).await;
        assert_eq!(code, Some(2), "{text}");
        assert!(text.starts_with(&format!("frontdesk: {named}")), "{text}");
    }
}

/// A database with this encoding on the shared server.
async fn database_in(encoding: &str) -> PostgresDatabase {
    let servers = Servers::get().await;
    let admin = PostgresDatabase { port: servers.postgres_port, name: "postgres".into() };
    let name = unique("encoded").replace('-', "_");
    let create =
        format!("create database {name} encoding '{encoding}' locale 'C' template template0");
    admin.client().await.batch_execute(&create).await.unwrap();
    PostgresDatabase { name, ..admin }
}

#[tokio::test]
async fn c16_a_database_that_can_not_hold_every_text_is_refused_at_start_and_by_check_config() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = database_in(encoding).await;
        let port = database.port.to_string();
        let env = [
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_PORT", &port),
            ("POSTGRES_DB", &database.name),
            ("POSTGRES_USER", "postgres"),
            ("DJANGO_JWT_SECRET", DJANGO_SECRET),
            ("PORT", "0"),
        ];
        let problem =
            format!("POSTGRES_DB: the database's encoding is {encoding}, which can't hold");
        for command in [&["serve"][..], &["migrate"]] {
            let (code, text) = said(command, &env).await;
            assert_eq!(code, Some(2), "{text}");
            assert!(text.contains(&format!("frontdesk: {problem}")), "{text}");
        }
        let (code, text) = said(&["check-config", "--connect"], &env).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("FAILED: {problem}")), "{text}");
        let tables = "select count(*) from pg_tables where schemaname = 'public'";
        let made: i64 = database.client().await.query_one(tables, &[]).await.unwrap().get(0);
        assert_eq!(made, 0, "tables were created");
    }
}
