//! nginx in front of nodes, round-robin and without stickiness.

use std::{fmt::Write, net::SocketAddr, process::Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{eventually, free_port};

/// A reverse proxy that ends with this value.
#[derive(Debug)]
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
    _dir: TempDir,
}

impl Nginx {
    /// Starts nginx in front of these nodes.
    pub async fn start(nodes: &[SocketAddr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let conf = dir.path().join("nginx.conf");
        std::fs::write(&conf, configuration(dir.path().to_str().unwrap(), address, nodes)).unwrap();
        let child = Command::new("nginx")
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&conf)
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx is not installed: scripts/test installs it");
        eventually("nginx listens", || async {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self { address, _child: child, _dir: dir }
    }
}

fn configuration(dir: &str, address: SocketAddr, nodes: &[SocketAddr]) -> String {
    let mut servers = String::new();
    for node in nodes {
        writeln!(servers, "    server {node} max_fails=1 fail_timeout=1s;").unwrap();
    }
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  \
         fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  \
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n  \
         upstream nodes {{\n{servers}  }}\n  \
         server {{\n    listen {address};\n    location / {{\n      proxy_pass http://nodes;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Host $host;\n      \
         proxy_set_header Upgrade $http_upgrade;\n      \
         proxy_set_header Connection $connection_upgrade;\n      proxy_read_timeout 60s;\n    }}\n  }}\n}}\n"
    )
}
