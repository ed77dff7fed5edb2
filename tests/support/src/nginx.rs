//! nginx in front of nodes, with the configuration shipped in `nginx/`.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{Tunnel, eventually, free_port, signal};

/// An nginx process; dropping it ends the process.
#[derive(Debug)]
pub struct Nginx {
    /// Plaintext address for clients without TLS: a tunnel that goes on over TLS.
    pub address: SocketAddr,
    /// Address with TLS.
    pub https: SocketAddr,
    /// Address without TLS, which redirects to TLS.
    pub http: SocketAddr,
    /// Certificate of the server, in PEM.
    pub certificate: PathBuf,
    child: Child,
    _tunnel: Tunnel,
    dir: TempDir,
}

impl Nginx {
    /// Starts nginx in front of these nodes.
    pub async fn start(nodes: &[SocketAddr]) -> Self {
        Self::start_with(nodes, free_port(), &[]).await
    }

    /// Like [`Nginx::start`], with this TLS port and additional files in `site/`.
    pub async fn start_with(nodes: &[SocketAddr], port: u16, site: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [https, http] =
            [port, free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let certificate = certify(dir.path());
        install(dir.path());
        settle(dir.path(), https, http, nodes);
        for (name, text) in site {
            fs::write(dir.path().join("site").join(name), text).unwrap();
        }
        let mut command = nginx(dir.path());
        let child = command.spawn().expect("nginx is not installed: scripts/test installs it");
        let tunnel = Tunnel::start(https, &certificate).await;
        let address = tunnel.address;
        eventually("nginx listens", || async {
            tokio::net::TcpStream::connect(https).await.is_ok()
        })
        .await;
        Self { address, https, http, certificate, child, _tunnel: tunnel, dir }
    }

    /// Reloads the configuration as `systemctl reload nginx` does, and waits for new workers.
    pub async fn reload(&self) {
        let before = self.workers();
        let reloaded = nginx(self.dir.path()).args(["-s", "reload"]).status().unwrap();
        assert!(reloaded.success(), "nginx -s reload");
        eventually("new workers", async || {
            self.workers().iter().any(|worker| !before.contains(worker))
        })
        .await;
    }

    /// Process ids of the workers.
    #[must_use]
    pub fn workers(&self) -> Vec<String> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// Lines of the access log.
    #[must_use]
    pub fn access_log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log/access.log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// Content of all log files.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = fs::read_dir(self.dir.path().join("log")).unwrap();
        logs.map(|log| fs::read_to_string(log.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGKILL would leave the workers behind.
        signal(self.child.id(), "TERM");
        drop(self.child.wait());
    }
}

/// Checks the shipped configuration with its example addresses by `nginx -t`, and returns its
/// output. Only the ports, certificates and logs are replaced.
#[must_use]
pub fn shipped_configuration_is_valid(site: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path());
    install(dir.path());
    let path = dir.path().to_str().unwrap().to_owned();
    for file in fs::read_dir(shipped().join(site)).unwrap() {
        let file = file.unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let text = text
            .replace("/etc/ssl/frontdesk", &path)
            .replace("listen 80;", "listen 127.0.0.1:18080;")
            .replace("listen 443 ", "listen 127.0.0.1:18443 ");
        fs::write(dir.path().join("site").join(file.file_name()), text).unwrap();
    }
    let tested = nginx(dir.path()).arg("-t").stderr(Stdio::piped()).output();
    let tested = tested.expect("nginx is not installed: scripts/test installs it");
    (tested.status.success(), String::from_utf8_lossy(&tested.stderr).into_owned())
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Copies the common configuration; only the paths of its logs are replaced.
fn install(dir: &Path) {
    let log = format!("{}/log/", dir.to_str().unwrap());
    for name in ["frontdesk", "site", "log"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let copy = |name: &str| {
        let text = fs::read_to_string(shipped().join("nginx").join(name)).unwrap();
        fs::write(dir.join(name), text.replace("/var/log/nginx/", &log)).unwrap();
    };
    copy("nginx.conf");
    for file in fs::read_dir(shipped().join("nginx/frontdesk")).unwrap() {
        copy(&format!("frontdesk/{}", file.unwrap().file_name().to_str().unwrap()));
    }
}

/// Writes the operator's part: the shipped example with other addresses.
fn settle(dir: &Path, https: SocketAddr, http: SocketAddr, nodes: &[SocketAddr]) {
    let example = |name: &str| fs::read_to_string(shipped().join("nginx/site").join(name)).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.join("site").join(name), text).unwrap();
    let path = dir.to_str().unwrap();
    let mut upstream = String::new();
    let lines = example("upstream.conf");
    let (servers, others): (Vec<_>, Vec<_>) =
        lines.lines().partition(|line| line.trim_start().starts_with("server "));
    let settings = servers[0].split_once(":3000").unwrap().1;
    for line in others {
        writeln!(upstream, "{line}").unwrap();
        if line.starts_with("upstream") {
            for node in nodes {
                writeln!(upstream, "    server {node}{settings}").unwrap();
            }
        }
    }
    write("upstream.conf", &upstream);
    write("listen-http.conf", &format!("listen {http};\n"));
    let listen = example("listen-https.conf").replace("listen 443 ", &format!("listen {https} "));
    write("listen-https.conf", &listen.replace("/etc/ssl/frontdesk", path));
    write("edge.conf", &example("edge.conf"));
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = kinds.map(|kind| format!("{kind}_temp_path {path}/{kind};\n"));
    write("extra-servers-paths.conf", &paths.concat());
}

/// Creates a certificate for `localhost` and its key.
fn certify(dir: &Path) -> PathBuf {
    let certificate = dir.join("server.crt");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(dir.join("server.key"))
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|made| made.success()), "openssl makes no certificate");
    certificate
}

fn nginx(dir: &Path) -> Command {
    let path = dir.to_str().unwrap();
    let mut command = Command::new("nginx");
    command
        .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
        .args(["-p", path, "-c", &format!("{path}/nginx.conf"), "-e", &format!("{path}/log/start")])
        .args(["-g", &format!("daemon off; pid {path}/pid;")])
        .stderr(Stdio::inherit());
    // The unprivileged user of the workers must be able to pass through the directory.
    drop(fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)));
    command
}
