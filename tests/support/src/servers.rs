//! The servers that the whole test run shares: started by `scripts/servers`, once.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
};

use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use crate::unique;

/// Where the shared servers listen, on 127.0.0.1.
#[derive(Debug)]
pub struct Servers {
    /// PostgreSQL, whose user `postgres` needs no password.
    pub postgres_port: u16,
    /// Redis.
    pub redis_port: u16,
    /// MariaDB.
    pub mysql_port: u16,
    /// The certificate that PostgreSQL and MariaDB show, in PEM.
    pub certificate: PathBuf,
    /// When it closes, with this process, the servers stop.
    _until: Option<ChildStdin>,
}

/// A fresh database.
#[derive(Clone, Debug)]
pub struct PostgresDatabase {
    /// Its server's port.
    pub port: u16,
    /// Its name.
    pub name: String,
}

/// The legacy directory.
#[derive(Clone, Debug)]
pub struct MysqlDatabase {
    /// Its server's port.
    pub port: u16,
    /// The database's name.
    pub name: String,
    /// A user that could write.
    pub user: String,
    /// The user's password.
    pub password: String,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();

impl Servers {
    /// The servers of this test run: those that `scripts/test` has started, or ones of our own.
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
        assert!(!line.is_empty(), "scripts/servers did not start: it says above what it lacks");
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

    /// A database that nobody else uses.
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
    /// Changes what is in it, past every node.
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

    /// What a node is told to use it, on its own port or on a way to it.
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
    /// A connection to look into the database with.
    pub async fn client(&self) -> tokio_postgres::Client {
        self.try_client().await.expect("no connection")
    }

    /// The same; nothing where the server takes no more.
    pub async fn try_client(&self) -> Option<tokio_postgres::Client> {
        let target =
            format!("host=127.0.0.1 port={} user=postgres dbname={}", self.port, self.name);
        let (client, connection) = tokio_postgres::connect(&target, NoTls).await.ok()?;
        tokio::spawn(async move { drop(connection.await) });
        Some(client)
    }
}
