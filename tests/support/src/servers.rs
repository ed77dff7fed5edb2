//! The servers that a whole test run shares; `scripts/servers` starts them once.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
};

use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use crate::unique;

/// Addresses of the shared servers, on 127.0.0.1.
#[derive(Debug)]
pub struct Servers {
    /// Port of PostgreSQL; the user `postgres` needs no password.
    pub postgres_port: u16,
    /// Port of Redis.
    pub redis_port: u16,
    /// Port of MariaDB.
    pub mysql_port: u16,
    /// Certificate of PostgreSQL and MariaDB, in PEM.
    pub certificate: PathBuf,
    /// Standard input of `scripts/servers`. It closes when this process ends, which stops the servers.
    _until: Option<ChildStdin>,
}

/// A database of one test.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    /// Port of its server.
    pub port: u16,
    /// Name of the database.
    pub name: String,
}

/// The legacy directory in MariaDB.
#[derive(Clone, Debug)]
pub struct MysqlDatabase {
    /// Port of its server.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// Name of a user with write access.
    pub user: String,
    /// Password of the user.
    pub password: String,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();

impl Servers {
    /// The servers of this test run: those that `scripts/test` started, or new ones.
    #[expect(clippy::disallowed_methods, reason = "it is how scripts/test tells of its servers")]
    pub async fn get() -> &'static Self {
        SERVERS
            .get_or_init(|| async {
                match std::env::var("FRONTDESK_TEST_SERVERS") {
                    Ok(line) => Self::parse(&line, None),
                    Err(_) => Self::start(),
                }
            })
            .await
    }

    #[expect(clippy::zombie_processes, reason = "it outlives this process, and stops by itself")]
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers");
        let mut child = Command::new(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/servers can't be run");
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "scripts/servers did not start; its error is printed above");
        Self::parse(&line, child.stdin.take())
    }

    fn parse(line: &str, until: Option<ChildStdin>) -> Self {
        let field = |name: &str| {
            let found = line.split_whitespace().find_map(|field| field.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
        };
        let port = |name| field(name).parse().unwrap();
        Self {
            postgres_port: port("postgres="),
            redis_port: port("redis="),
            mysql_port: port("mysql="),
            certificate: PathBuf::from(field("dir=")).join("server.crt"),
            _until: until,
        }
    }

    /// Creates a database that no other test uses.
    pub async fn postgres_database(&self) -> PostgresDatabase {
        let database =
            PostgresDatabase { port: self.postgres_port, name: unique("test").replace('-', "_") };
        let admin = PostgresDatabase { port: self.postgres_port, name: "postgres".into() };
        let create = format!("create database {}", database.name);
        admin.client().await.batch_execute(&create).await.unwrap();
        database
    }

    /// The legacy directory, which every test may read.
    #[must_use]
    pub fn mysql_database(&self) -> MysqlDatabase {
        MysqlDatabase {
            port: self.mysql_port,
            name: "legacy".into(),
            user: "reader".into(),
            password: "reading".into(),
        }
    }
}

impl MysqlDatabase {
    /// Changes the directory directly, without a node.
    pub async fn execute(&self, sql: &str) {
        let target = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .prefer_socket(false)
            .db_name(Some(&self.name))
            .user(Some(&self.user))
            .pass(Some(&self.password));
        let mut connection = Conn::new(target).await.unwrap();
        connection.query_drop(sql).await.unwrap();
        connection.disconnect().await.unwrap();
    }

    /// Variables of a node that uses it, on this port: its own or that of a relay.
    #[must_use]
    pub fn variables<'a>(&'a self, port: &'a str) -> [(&'a str, &'a str); 5] {
        [
            ("MYSQL_HOST", "127.0.0.1"),
            ("MYSQL_PORT", port),
            ("MYSQL_DB", &self.name),
            ("MYSQL_USER", &self.user),
            ("MYSQL_PASSWORD", &self.password),
        ]
    }
}

impl PostgresDatabase {
    /// Opens a connection to inspect the database.
    pub async fn client(&self) -> tokio_postgres::Client {
        self.try_client().await.expect("no connection")
    }

    /// Like [`PostgresDatabase::client`]; `None` when the server refuses the connection.
    pub async fn try_client(&self) -> Option<tokio_postgres::Client> {
        let target =
            format!("host=127.0.0.1 port={} user=postgres dbname={}", self.port, self.name);
        let (client, connection) = tokio_postgres::connect(&target, NoTls).await.ok()?;
        tokio::spawn(async move { drop(connection.await) });
        Some(client)
    }
}
