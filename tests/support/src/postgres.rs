//! A PostgreSQL of a test's own, to be ill-treated.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;

use crate::{PostgresDatabase, eventually, free_port, node::signal};

/// A server that ends with this value.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens, on 127.0.0.1; its user `postgres` needs no password.
    pub port: u16,
    child: Child,
    files: TempDir,
}

impl Postgres {
    /// Starts a server with so many connections at most, and waits for it.
    pub async fn start(connections: usize) -> Self {
        let files = tempfile::Builder::new().prefix("frontdesk-postgres").tempdir().unwrap();
        let port = free_port();
        own(files.path());
        let made = as_postgres("initdb", files.path())
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
            .stdout(Stdio::null())
            .status()
            .await
            .unwrap();
        assert!(made.success(), "initdb");
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             max_connections = {connections}\nlog_min_messages = fatal\n"
        );
        let conf = files.path().join("postgresql.auto.conf");
        std::fs::write(conf, settings).unwrap();
        own(files.path());
        let child = spawn(files.path());
        let server = Self { port, child, files };
        server.await_answer().await;
        server
    }

    /// Starts a standby of this server, which has all that this one commits and only reads.
    pub async fn standby(&self) -> Self {
        let files = tempfile::Builder::new().prefix("frontdesk-standby").tempdir().unwrap();
        let port = free_port();
        // Nobody else may read what a server runs on.
        std::fs::set_permissions(files.path(), Permissions::from_mode(0o700)).unwrap();
        own(files.path());
        let source = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let copied = as_postgres("pg_basebackup", files.path())
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", &source])
            .status()
            .await
            .unwrap();
        assert!(copied.success(), "pg_basebackup");
        let conf = files.path().join("postgresql.auto.conf");
        let settings = std::fs::read_to_string(&conf).unwrap();
        // The last one counts.
        std::fs::write(&conf, format!("{settings}port = {port}\n")).unwrap();
        own(files.path());
        let standby = Self { port, child: spawn(files.path()), files };
        standby.await_answer().await;
        standby
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) {
        let promoted = self.database().client().await;
        promoted.execute("select pg_promote()", &[]).await.unwrap();
    }

    /// Makes it a server that only reads, as a failover does that leaves connections open.
    pub async fn demote(&self) {
        let client = self.database().client().await;
        client.batch_execute("alter system set default_transaction_read_only = on").await.unwrap();
        client.batch_execute("select pg_reload_conf()").await.unwrap();
    }

    /// How many connections nodes have to it.
    pub async fn connections_of_nodes(&self) -> i64 {
        let of_nodes = "select count(*) from pg_stat_activity where application_name = 'frontdesk'";
        self.database().client().await.query_one(of_nodes, &[]).await.unwrap().get(0)
    }

    async fn await_answer(&self) {
        let target = format!("host=127.0.0.1 port={} user=postgres connect_timeout=2", self.port);
        eventually("PostgreSQL answers", async || {
            tokio_postgres::connect(&target, NoTls).await.is_ok()
        })
        .await;
    }

    /// The database that every server has.
    #[must_use]
    pub fn database(&self) -> PostgresDatabase {
        PostgresDatabase { port: self.port, name: "postgres".into() }
    }

    /// Ends it as a crash would: what is under way is given up, and recovered from its log later.
    pub async fn crash(&mut self) {
        self.end("QUIT").await;
    }

    /// Ends it as a restart would: connections are cut, what is under way is rolled back.
    pub async fn stop(&mut self) {
        self.end("INT").await;
    }

    async fn end(&mut self, how: &str) {
        signal(self.child.id().unwrap(), how);
        self.child.wait().await.unwrap();
    }

    /// Starts it again on its port, with all that it had.
    pub async fn revive(&mut self) {
        self.child = spawn(self.files.path());
        self.await_answer().await;
    }
}

/// All that a server had at some time.
#[derive(Debug)]
pub struct Backup(TempDir);

impl Postgres {
    /// Copies all that it has. It is restarted for that, which cuts its connections.
    pub async fn backup(&mut self) -> Backup {
        self.stop().await;
        let copy = tempfile::Builder::new().prefix("frontdesk-postgres").tempdir().unwrap();
        let from = self.files.path().join(".");
        let copied = Command::new("cp").arg("-a").arg(from).arg(copy.path()).status().await;
        assert!(copied.unwrap().success(), "cp");
        self.revive().await;
        Backup(copy)
    }
}

impl Backup {
    /// A server that has what was copied, and goes on from there on the same timeline.
    pub async fn restore(self) -> Postgres {
        let (port, files) = (free_port(), self.0);
        let conf = files.path().join("postgresql.auto.conf");
        let settings = std::fs::read_to_string(&conf).unwrap();
        // The last one counts.
        std::fs::write(conf, format!("{settings}port = {port}\n")).unwrap();
        own(files.path());
        let server = Postgres { port, child: spawn(files.path()), files };
        server.await_answer().await;
        server
    }

    /// The same as a replica that had no more than that when it was promoted.
    pub async fn promote(self) -> Postgres {
        std::fs::write(self.0.path().join("standby.signal"), "").unwrap();
        let server = self.restore().await;
        let client = server.database().client().await;
        let promoted = client.query_one("select pg_promote()", &[]).await.unwrap();
        assert!(promoted.get::<_, bool>(0), "pg_promote");
        server
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed it would leave shared memory behind.
        if let Some(pid) = self.child.id() {
            signal(pid, "QUIT");
        }
    }
}

fn spawn(files: &Path) -> Child {
    as_postgres("postgres", files)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("PostgreSQL is not installed: scripts/test installs it")
}

/// One of PostgreSQL's programs on a directory.
fn as_postgres(program: &str, files: &Path) -> Command {
    let mut command = not_as_root(&find(program));
    command.arg("-D").arg(files).stdin(Stdio::null());
    command
}

/// A program that does not run as root.
pub(crate) fn not_as_root(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

/// Where Debian has it, or wherever it is found.
fn find(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found = versions.map(|version| version.path().join("bin").join(program));
    found.find(|path| path.exists()).unwrap_or_else(|| program.into())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Gives a directory to the user that PostgreSQL runs as.
pub(crate) fn own(files: &Path) {
    if is_root() {
        let given = std::process::Command::new("chown")
            .args(["-R", "postgres:postgres"])
            .arg(files)
            .status();
        assert!(given.unwrap().success(), "chown");
    }
}
