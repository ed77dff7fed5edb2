//! A `PgBouncer` in transaction mode before a PostgreSQL.

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

/// A pooler that ends with this value.
#[derive(Debug)]
pub struct PgBouncer {
    /// Its port on 127.0.0.1; its user `postgres` needs no password.
    pub port: u16,
    _child: Child,
    _files: TempDir,
}

impl PgBouncer {
    /// Starts one before the server on this port. It passes on no option of a connection.
    pub async fn start(server: u16) -> Self {
        Self::start_with(server, "extra_float_digits,options").await
    }

    /// The same; these parameters of a connection are ignored, and one with others is refused.
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

/// Debian's, which is in the path of root alone, or the one in the path.
fn program() -> PathBuf {
    let debians = Path::new("/usr/sbin/pgbouncer");
    if debians.exists() { debians.to_owned() } else { "pgbouncer".into() }
}
