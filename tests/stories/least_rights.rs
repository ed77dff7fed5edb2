//! Nodes with minimal rights: the shipped role in PostgreSQL and the shipped user in Redis.

use std::{path::Path, process::Stdio};

use frontdesk_test_support::{
    Client, DJANGO_SECRET, Desk, Framing, Http, NO_LIMITS, Node, PATIENCE, PostgresDatabase, Redis,
    RedisCluster, Servers, eventually, unique,
};
use serde_json::json;
use tokio::process::Command;

use crate::FRONTDESK;

const PASSWORD: &str = "a-password-of-tests";

/// A Redis with the shipped configuration, which has only its own user.
async fn redis_as_shipped(dir: &Path) -> Redis {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/redis/frontdesk.conf");
    let conf =
        std::fs::read_to_string(shipped).unwrap().replace(">PASSWORD", &format!(">{PASSWORD}"));
    let path = dir.join("redis.conf");
    // Another user lets the test inspect the server.
    std::fs::write(&path, format!("{conf}user looker on >looker ~* &* +@all\n")).unwrap();
    Redis::start_with(&["--include", path.to_str().unwrap()]).await
}

async fn redis_cli(redis: &Redis, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &redis.port.to_string(), "--no-auth-warning"])
        .args(arguments)
        .output();
    String::from_utf8(output.await.unwrap().stdout).unwrap().trim().to_owned()
}

async fn as_looker(redis: &Redis, arguments: &[&str]) -> String {
    redis_cli(redis, &[&["--user", "looker", "--pass", "looker"], arguments].concat()).await
}

#[tokio::test]
async fn two_nodes_as_the_shipped_redis_user_do_all_that_they_do_and_are_denied_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let redis = redis_as_shipped(dir.path()).await;
    let env = [
        ("REDIS_USER", "frontdesk"),
        ("REDIS_PASSWORD", PASSWORD),
        // These limits over all nodes use scripts in Redis.
        ("LIMIT_CONNECTIONS_PER_USER", "2"),
        ("LIMIT_SENDS_PER_USER_S", "50"),
        ("LIMIT_REQUESTS_PER_ADDRESS_S", "1000"),
    ];
    let desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &env).await;
    people_talk_and_are_counted(&desk).await;
    let denied = as_looker(&redis, &["ACL", "LOG"]).await;
    assert_eq!(denied, "", "Redis denied a command");
}

/// Rules of the shipped user, as arguments of `ACL SETUSER`.
fn shipped_rules() -> Vec<String> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/redis/frontdesk.conf");
    let conf = std::fs::read_to_string(shipped).unwrap();
    let line = conf.lines().find_map(|line| line.strip_prefix("user frontdesk ")).unwrap();
    line.replace(">PASSWORD", &format!(">{PASSWORD}")).split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn two_nodes_on_a_cluster_do_all_that_they_do_as_the_shipped_redis_user() {
    let cluster = RedisCluster::start().await;
    let rules = shipped_rules();
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    for server in &cluster.nodes {
        let set = redis_cli(server, &[&["ACL", "SETUSER", "frontdesk"][..], &rules].concat()).await;
        assert_eq!(set, "OK");
    }
    let [host, nodes] = cluster.variables();
    let env = [
        (host.0, host.1.as_str()),
        (nodes.0, nodes.1.as_str()),
        ("REDIS_USER", "frontdesk"),
        ("REDIS_PASSWORD", PASSWORD),
        ("LIMIT_CONNECTIONS_PER_USER", "2"),
        ("LIMIT_SENDS_PER_USER_S", "50"),
    ];
    let desk = Desk::cluster_with(FRONTDESK, 2, 0, &env).await;
    people_talk_and_are_counted(&desk).await;
    for server in &cluster.nodes {
        assert_eq!(redis_cli(server, &["ACL", "LOG"]).await, "", "Redis denied a command");
    }
}

/// Uses Redis in every way that nodes do: messages, presence, connection slots and rates.
async fn people_talk_and_are_counted(desk: &Desk) {
    for node in &desk.nodes {
        let http = Http::new(node.address, None);
        let is_up = async || http.get("/health").await.body["services"]["redis"] == "up";
        eventually("Redis is up", is_up).await;
    }
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect_by(Framing::SocketIo, 1, &dentist).await;
    doctor.join(&session, None).await;
    patient.join(&session, None).await;
    for seq in 1..=3 {
        patient.send(&session, &format!("k{seq}"), "Hello").await;
        assert_eq!(doctor.message().await["seq"], seq);
    }
    // Presence is stored in Redis, and the connections of both nodes count together.
    let present = desk.http(0, &customer).get(&format!("/api/chats/{session}")).await.expect(200);
    assert_eq!(present["id"].as_str(), Some(session.as_str()));
    let _second = desk.connect(1, &customer).await;
    eventually("a user's third socket is refused", async || {
        let mut third = Client::connect(desk.nodes[0].address, &customer.token).await;
        third.try_request("auth:refresh", &json!({ "token": customer.token })).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn the_shipped_redis_user_may_do_nothing_that_a_node_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let redis = redis_as_shipped(dir.path()).await;
    let node = ["--user", "frontdesk", "--pass", PASSWORD];
    for allowed in [&["PING"][..], &["SET", "frontdesk:x", "1"], &["PUBLISH", "frontdesk:x", "1"]] {
        let answer = redis_cli(&redis, &[&node, allowed].concat()).await;
        assert!(!answer.contains("NOPERM"), "{allowed:?}: {answer}");
    }
    for refused in [
        &["SET", "other", "1"][..],
        &["PUBLISH", "other", "1"],
        &["SUBSCRIBE", "other"],
        &["PSUBSCRIBE", "frontdesk:*"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["CLIENT", "LIST"],
        &["MONITOR"],
        &["SAVE"],
        &["REPLICAOF", "127.0.0.1", "1"],
        &["MODULE", "LIST"],
        &["EVAL", "return redis.call('KEYS', '*')", "0"],
    ] {
        let answer = redis_cli(&redis, &[&node, refused].concat()).await;
        assert!(
            answer.contains("NOPERM") || answer.contains("can't run this command"),
            "{refused:?}: {answer}"
        );
    }
    let nobody = redis_cli(&redis, &["GET", "frontdesk:x"]).await;
    assert!(nobody.contains("NOAUTH"), "{nobody}");
}

async fn migrate(env: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(FRONTDESK)
        .arg("migrate")
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(PATIENCE, output).await.expect("the command does not end").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn nodes_run_as_a_role_that_changes_rows_and_no_tables_once_the_owner_has_migrated() {
    let database = Servers::get().await.postgres_database().await;
    let [owner, node] = ["owner", "node"].map(|role| unique(role).replace('-', "_"));
    let admin = database.client().await;
    let make = format!(
        "create role {owner} login createrole; alter database {} owner to {owner}",
        database.name
    );
    admin.batch_execute(&make).await.unwrap();
    let port = database.port.to_string();
    let as_owner = [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", port.as_str()),
        ("POSTGRES_DB", &database.name),
        ("POSTGRES_USER", &owner),
        ("POSTGRES_NODE_USER", &node),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
    ];
    // The command creates no role without a password.
    let (code, text) = migrate(&as_owner).await;
    assert!(code == Some(1) && text.contains("POSTGRES_NODE_USER: can't grant rights"), "{text}");
    let with_password = [&as_owner[..], &[("POSTGRES_NODE_PASSWORD", PASSWORD)]].concat();
    // Several migrations that start together all succeed.
    let all = futures_util::future::join_all((0..3).map(|_| migrate(&with_password))).await;
    for (code, text) in all {
        assert_eq!(code, Some(0), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
    let (code, text) = migrate(&as_owner).await;
    assert_eq!(code, Some(0), "an existing role needs no password: {text}");
    let verifier = "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = $1";
    assert!(admin.query_one(verifier, &[&node]).await.unwrap().get::<_, bool>(0));

    let redis = Servers::get().await.redis_port.to_string();
    let data = tempfile::tempdir().unwrap();
    let mut env = vec![
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", port.as_str()),
        ("POSTGRES_DB", &database.name),
        ("POSTGRES_USER", &node),
        ("POSTGRES_PASSWORD", PASSWORD),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &redis),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
        ("DATA_DIR", data.path().to_str().unwrap()),
    ];
    env.extend(NO_LIMITS);
    let env: Vec<_> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let running = Node::start(FRONTDESK, &env).await;
    everything_is_done(&running).await;
    no_table_is_its_to_change(&database, &node, &owner).await;
    running.is_unharmed(&[PASSWORD]).await;
}

/// A conversation with every kind of write: sends, edits, reactions, reads, search, blocks.
async fn everything_is_done(node: &Node) {
    let (id, other) = (unique("dentist"), unique("customer"));
    let mut claims = frontdesk_test_support::Issuer::dentist_claims(&id);
    claims["role"] = "admin".into();
    let token = frontdesk_test_support::Issuer::sign_with_secret(&claims, DJANGO_SECRET.as_bytes());
    let http = Http::new(node.address, Some(&token));
    let opened = http.post("/api/chats", &json!({ "customerId": other })).await.expect(201);
    let session = format!("/api/chats/{}", opened["id"].as_str().unwrap());
    let notes = http.post(&format!("{session}/notes"), &json!({})).await;
    assert_eq!(notes.status, 201, "{}", notes.text);
    let text = json!({ "clientId": "k", "kind": "text", "body": "Good morning" });
    let sent = http.post(&format!("{session}/messages"), &text).await.expect(201);
    let message = format!("{session}/messages/{}", sent["message"]["id"].as_str().unwrap());
    http.patch(&message, &json!({ "body": "Good evening" })).await.expect(200);
    assert!(http.put(&format!("{message}/reactions/%F0%9F%91%8D")).await.status < 300);
    assert!(http.post(&format!("{session}/read"), &json!({ "seq": 1 })).await.status < 300);
    eventually("the search finds the message", async || {
        let found = http.get("/api/chats/search?q=evening").await;
        found.status == 200 && found.text.contains("evening")
    })
    .await;
    let block = format!("/api/admin/users/customer/{other}/block");
    assert!(http.put(&block).await.status < 300);
    assert!(http.delete(&block).await.status < 300);
    assert!(http.delete(&message).await.status < 300);
}

/// Checks that the role cannot change tables, migrations or the audit log.
async fn no_table_is_its_to_change(database: &PostgresDatabase, node: &str, owner: &str) {
    let target =
        format!("host=127.0.0.1 port={} user={node} dbname={}", database.port, database.name);
    let (client, connection) =
        tokio_postgres::connect(&target, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for refused in [
        "create table mine (id int)",
        "drop table messages",
        "alter table messages add column mine int",
        "truncate messages",
        "delete from refinery_schema_history",
        "update audit set act = 'none'",
        "delete from audit",
        "create role another",
        "create schema mine",
    ] {
        let error = client.batch_execute(refused).await.expect_err(refused);
        let code = error.code().unwrap().code().to_owned();
        assert_eq!(code, "42501", "{refused}: {error}");
    }
    // The index of searches and the tables are the owner's, and are looked after all the same.
    let looked_after = "select frontdesk_tidy_search(), frontdesk_look_at_growth()";
    client.batch_execute(looked_after).await.unwrap();
    // Default privileges cover the tables of later migrations.
    let later = format!("set role {owner}; create table later (id int); reset role");
    database.client().await.batch_execute(&later).await.unwrap();
    client.batch_execute("insert into later values (1)").await.unwrap();
}
