//! A pooler in transaction mode in front of PostgreSQL, which gives each transaction another
//! connection: a node cannot work with it, and reports so.

use std::process::Stdio;

use frontdesk_test_support::{
    DJANGO_SECRET, Desk, Http, PATIENCE, PgBouncer, PostgresDatabase, Relay, Servers, eventually,
};
use tokio::{process::Command, time::timeout};

use crate::FRONTDESK;

/// Exit code and text of a command.
async fn said(arguments: &[&str], database: &PostgresDatabase, port: u16) -> (Option<i32>, String) {
    let running = Command::new(FRONTDESK)
        .args(arguments)
        .env_clear()
        .envs([("POSTGRES_HOST", "127.0.0.1"), ("POSTGRES_DB", database.name.as_str())])
        .envs([("POSTGRES_USER", "postgres"), ("DJANGO_JWT_SECRET", DJANGO_SECRET), ("PORT", "0")])
        .env("POSTGRES_PORT", port.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE * 2, running).await.expect("the command does not end").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_node_whose_connections_lose_what_they_prepare_is_not_ready_and_says_why() {
    let servers = Servers::get().await;
    let pooler = PgBouncer::start(servers.postgres_port).await;
    let way = Relay::start(servers.postgres_port).await;
    let port = way.port.to_string();
    let env = [("POSTGRES_PORT", port.as_str())];
    let desk = Desk::cluster_with(FRONTDESK, 1, servers.redis_port, &env).await;
    let (customer, _, session) = desk.pair().await;
    let anyone = Http::new(desk.nodes[0].address, None);
    assert_eq!(anyone.get("/health/ready").await.status, 200);

    way.lead_to(pooler.port);
    eventually("the node is not ready", async || anyone.get("/health/ready").await.status == 503)
        .await;
    eventually("health names the reason", async || {
        let health = anyone.get("/health").await.body;
        let reason = health["reasons"]["postgres"].as_str().unwrap_or_default().to_owned();
        health["status"] == "down" && reason.contains("prepared statements")
    })
    .await;
    let told = |line: &String| line.contains("the node is not ready") && line.contains("PgBouncer");
    assert!(desk.nodes[0].log().iter().any(told), "the log does not report it");

    // Directly to PostgreSQL again.
    way.lead_to(servers.postgres_port);
    eventually("the node is ready", async || anyone.get("/health/ready").await.status == 200).await;
    let mut patient = desk.connect(0, &customer).await;
    assert_eq!(patient.send(&session, "k", "hello").await["seq"], 1);
}

#[tokio::test]
async fn behind_a_pooler_a_node_does_not_start_and_a_check_says_why() {
    let servers = Servers::get().await;
    let database = servers.postgres_database().await;
    let pooler = PgBouncer::start(servers.postgres_port).await;
    for arguments in [&["check-config", "--connect"][..], &["serve"]] {
        let (code, text) = said(arguments, &database, pooler.port).await;
        assert_eq!(code, Some(1), "{text}");
        let told = text.lines().find(|line| line.contains("lose their prepared statements"));
        assert!(told.is_some_and(|line| line.contains("PgBouncer")), "{text}");
    }
    // A pooler that accepts no options refuses every connection.
    let strict = PgBouncer::start_with(servers.postgres_port, "extra_float_digits").await;
    let (code, text) = said(&["check-config", "--connect"], &database, strict.port).await;
    assert_eq!(code, Some(1), "{text}");
    let told = text.lines().find(|line| line.starts_with("database   FAILED: "));
    assert!(
        told.is_some_and(|line| line.contains("PgBouncer") && line.contains("options")),
        "{text}"
    );
}
