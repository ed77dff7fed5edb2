//! A PostgreSQL server of one test, which the test may stop, demote or crash.

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

/// A PostgreSQL server; dropping it ends the process.
#[derive(Debug)]
pub struct Postgres {
    /// Port on 127.0.0.1; the user `postgres` needs no password.
    pub port: u16,
    child: Child,
    files: TempDir,
}

impl Postgres {
    /// Starts a server with this maximum of connections and waits until it answers.
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

    /// Starts a streaming standby of this server, which is read-only.
    pub async fn standby(&self) -> Self {
        let files = tempfile::Builder::new().prefix("frontdesk-standby").tempdir().unwrap();
        let port = free_port();
        // PostgreSQL refuses a data directory that others may read.
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
        // The last setting of a name applies.
        std::fs::write(&conf, format!("{settings}port = {port}\n")).unwrap();
        own(files.path());
        let standby = Self { port, child: spawn(files.path()), files };
        standby.await_answer().await;
        standby
    }

    /// Promotes a standby to primary.
    pub async fn promote(&self) {
        let promoted = self.database().client().await;
        promoted.execute("select pg_promote()", &[]).await.unwrap();
    }

    /// Makes the server read-only without closing connections, as some failovers do.
    pub async fn demote(&self) {
        let client = self.database().client().await;
        client.batch_execute("alter system set default_transaction_read_only = on").await.unwrap();
        client.batch_execute("select pg_reload_conf()").await.unwrap();
    }

    /// Number of connections from nodes.
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

    /// The database `postgres` that every server has.
    #[must_use]
    pub fn database(&self) -> PostgresDatabase {
        PostgresDatabase { port: self.port, name: "postgres".into() }
    }

    /// Ends the server as a crash would: open transactions are lost, and the next start recovers from
    /// the WAL.
    pub async fn crash(&mut self) {
        self.end("QUIT").await;
    }

    /// Ends the server as a restart would: connections are closed and open transactions rolled back.
    pub async fn stop(&mut self) {
        self.end("INT").await;
    }

    async fn end(&mut self, how: &str) {
        signal(self.child.id().unwrap(), how);
        self.child.wait().await.unwrap();
    }

    /// Starts the server again on its port with its data.
    pub async fn revive(&mut self) {
        self.child = spawn(self.files.path());
        self.await_answer().await;
    }
}

/// A copy of a server's data directory.
#[derive(Debug)]
pub struct Backup(TempDir);

impl Postgres {
    /// Copies the data directory. The server restarts for that, which closes its connections.
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
    /// Starts a server from the copy, which continues on the same timeline.
    pub async fn restore(self) -> Postgres {
        let (port, files) = (free_port(), self.0);
        let conf = files.path().join("postgresql.auto.conf");
        let settings = std::fs::read_to_string(&conf).unwrap();
        // The last setting of a name applies.
        std::fs::write(conf, format!("{settings}port = {port}\n")).unwrap();
        own(files.path());
        let server = Postgres { port, child: spawn(files.path()), files };
        server.await_answer().await;
        server
    }

    /// Starts the copy as a standby that had no more data than this, and promotes it.
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
        // SIGKILL would leave shared memory behind.
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

/// A PostgreSQL program on a data directory.
fn as_postgres(program: &str, files: &Path) -> Command {
    let mut command = not_as_root(&find(program));
    command.arg("-D").arg(files).stdin(Stdio::null());
    command
}

/// Runs a program as the user `postgres` if the test runs as root, which PostgreSQL refuses.
pub(crate) fn not_as_root(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

/// Path in Debian's directories, or the name to look up on the `PATH`.
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
