//! A `PgBouncer` in transaction mode in front of a PostgreSQL.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{net::TcpStream, process::Child};

use crate::{
    eventually, free_port,
    postgres::{not_as_root, own},
};

/// A `PgBouncer` process; dropping it kills the process.
#[derive(Debug)]
pub struct PgBouncer {
    /// Port on 127.0.0.1; the user `postgres` needs no password.
    pub port: u16,
    _child: Child,
    _files: TempDir,
}

impl PgBouncer {
    /// Starts one in front of the server on this port. It ignores the options of a connection.
    pub async fn start(server: u16) -> Self {
        Self::start_with(server, "extra_float_digits,options").await
    }

    /// Like [`PgBouncer::start`]; ignores these parameters of a connection, and refuses others that it
    /// does not know.
    pub async fn start_with(server: u16, ignored: &str) -> Self {
        let files = tempfile::Builder::new().prefix("frontdesk-pgbouncer").tempdir().unwrap();
        let (port, users) = (free_port(), files.path().join("users"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = transaction\nignore_startup_parameters = {ignored}\n",
            users.display()
        );
        let conf = files.path().join("pgbouncer.ini");
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        std::fs::write(&conf, settings).unwrap();
        own(files.path());
        let child = not_as_root(&program())
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer is not installed: scripts/test installs it");
        eventually("PgBouncer listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, _child: child, _files: files }
    }
}

/// Path of Debian's program, which is on the `PATH` of root only, or the name to look up on the `PATH`.
fn program() -> PathBuf {
    let debians = Path::new("/usr/sbin/pgbouncer");
    if debians.exists() { debians.to_owned() } else { "pgbouncer".into() }
}
