//! Durability: an acknowledged message is on disk, whatever the database's settings are.

use std::process::Stdio;

use frontdesk_test_support::{DJANGO_SECRET, Desk, Http, Node, Postgres, Servers, eventually};
use tokio::process::Command;

use crate::{FRONTDESK, seqs};

async fn set(postgres: &Postgres, settings: &[&str]) {
    let admin = postgres.database().client().await;
    for setting in settings {
        // One by one, because such a statement cannot be part of a transaction.
        admin.batch_execute(setting).await.unwrap();
    }
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
}

async fn is_set(postgres: &Postgres, setting: &str, value: &str) {
    let admin = postgres.database().client().await;
    eventually("the server has read its settings", async || {
        let row = admin.query_one("select current_setting($1)", &[&setting]).await.unwrap();
        row.get::<_, &str>(0) == value
    })
    .await;
}

fn on(port: &str) -> [(&str, &str); 3] {
    [("POSTGRES_PORT", port), ("POSTGRES_DB", "postgres"), ("POSTGRES_POOL_SIZE", "6")]
}

#[tokio::test]
async fn c16_what_is_acknowledged_is_on_disk_though_the_role_is_set_not_to_wait_for_it() {
    let mut postgres = Postgres::start(40).await;
    let hasty = [
        "alter role postgres set synchronous_commit = off",
        "alter system set wal_writer_delay = '10s'",
    ];
    set(&postgres, &hasty).await;
    is_set(&postgres, "wal_writer_delay", "10s").await;
    let (port, redis) = (postgres.port.to_string(), Servers::get().await.redis_port);
    let desk = Desk::cluster_with(FRONTDESK, 1, redis, &on(&port)).await;
    let (customer, _, session) = desk.pair().await;
    let anyone = Http::new(desk.nodes[0].address, None);
    let durability = anyone.get("/health").await.expect(200)["durability"].clone();
    assert_eq!(durability["synchronousCommit"], "on");
    assert_eq!((&durability["fsync"], &durability["fullPageWrites"]), (&"on".into(), &"on".into()));
    let mut patient = desk.connect(0, &customer).await;
    for number in 1..=40 {
        assert_eq!(patient.send(&session, &number.to_string(), "x").await["seq"], number);
    }
    postgres.crash().await;
    postgres.revive().await;
    let path = format!("/api/chats/{session}/messages?after=0&limit=100");
    let history = async || desk.http(0, &customer).get(&path).await;
    eventually("the node has reconnected to PostgreSQL", async || history().await.status == 200)
        .await;
    assert_eq!(seqs(&history().await.body["items"]), (1..=40).collect::<Vec<_>>());

    // A setting that waits for more than the local disk is kept.
    set(&postgres, &["alter role postgres set synchronous_commit = remote_apply"]).await;
    let desk = Desk::cluster_with(FRONTDESK, 1, redis, &on(&port)).await;
    let anyone = Http::new(desk.nodes[0].address, None);
    let health = anyone.get("/health").await.expect(200);
    assert_eq!(health["durability"]["synchronousCommit"], "remote_apply");
}

#[tokio::test]
async fn c16_in_production_a_database_that_may_forget_is_refused_unless_it_is_meant() {
    let postgres = Postgres::start(40).await;
    set(&postgres, &["alter system set fsync = off"]).await;
    is_set(&postgres, "fsync", "off").await;
    let (port, data) = (postgres.port.to_string(), tempfile::tempdir().unwrap());
    let mut env = vec![
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_USER", "postgres"),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
        ("DATA_DIR", data.path().to_str().unwrap()),
        ("EMBEDDED", "true"),
        ("NODE_ENV", "production"),
    ];
    env.extend(on(&port));
    let run = async |arguments: &[&str], env: &[(&str, &str)]| {
        let mut command = Command::new(FRONTDESK);
        command.args(arguments).env_clear().envs(env.iter().copied()).env("PORT", "0");
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (is_well, said) = run(&[], &env).await;
    assert!(!is_well && said.contains("ACCEPT_UNSAFE_DATABASE: fsync is off"), "{said}");
    let (is_well, said) = run(&["check-config", "--connect"], &env).await;
    assert!(!is_well && said.contains("FAILED: ACCEPT_UNSAFE_DATABASE: fsync is off"), "{said}");

    env.push(("ACCEPT_UNSAFE_DATABASE", "true"));
    let (is_well, said) = run(&["check-config", "--connect"], &env).await;
    let found = "synchronous_commit on, fsync off, full_page_writes on; warning: fsync is off";
    assert!(is_well && said.contains(found), "{said}");
    let env: Vec<_> =
        env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let node = Node::start(FRONTDESK, &env).await;
    let health = Http::new(node.address, None).get("/health").await.expect(200);
    assert_eq!(health["durability"]["fsync"], "off");
    assert!(
        node.log().iter().any(|line| line.contains("fsync is off")),
        "the log contains the warning"
    );
}
