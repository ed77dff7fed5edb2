//! A node: the real binary in a process of its own.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::PATIENCE;

/// A running node; dropping it kills the process.
#[derive(Debug)]
pub struct Node {
    /// Address of the HTTP listener.
    pub address: SocketAddr,
    binary: String,
    env: Vec<(String, String)>,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<Vec<String>>>,
    reading: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts the binary with exactly these variables and waits until it listens.
    pub async fn start(binary: &str, env: &[(String, String)]) -> Self {
        Self::start_at(binary, env, 0).await
    }

    /// Like [`Node::start`], on this port.
    pub async fn start_at(binary: &str, env: &[(String, String)], port: u16) -> Self {
        let mut child = Command::new(binary)
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("LOG_FORMAT", "json")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (listening, address) = tokio::sync::oneshot::channel();
        let kept = Arc::clone(&log);
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().unwrap();
        let complaining = tokio::spawn(hear_complaints(stderr, Arc::clone(&complaints)));
        let logging = tokio::spawn(async move {
            let mut listening = Some(listening);
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = address_of(&line)
                    && let Some(listening) = listening.take()
                {
                    listening.send(address).unwrap();
                }
                kept.lock().unwrap().push(line);
            }
        });
        let address = timeout(PATIENCE * 3, address).await.expect("the node does not listen");
        let address = address.unwrap_or_else(|_| panic!("the node ended: {:#?}", log.lock()));
        let (binary, env, reading) = (binary.to_owned(), env.to_vec(), vec![logging, complaining]);
        Self { address, binary, env, child, log, complaints, reading }
    }

    /// Starts another node with the same variables and additional ones.
    pub async fn another(&self, env: &[(&str, String)]) -> Self {
        let more = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let env: Vec<_> = self.env.iter().cloned().chain(more).collect();
        Self::start(&self.binary, &env).await
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the node has ended")
    }

    /// Resident memory, in KiB.
    #[must_use]
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Number of open file descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Kills the node as a crash would.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts the node again on its port, and kills it before if it still runs.
    pub async fn restart(&mut self) {
        if self.child.id().is_some() {
            self.kill().await;
        }
        *self = Self::start_at(&self.binary.clone(), &self.env.clone(), self.address.port()).await;
    }

    /// Sends SIGTERM, which starts a drain.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Waits for the end of the process.
    pub async fn exit(&mut self) -> ExitStatus {
        timeout(PATIENCE * 2, self.child.wait()).await.expect("the node does not end").unwrap()
    }

    /// Lines logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Checks a node after bad input: it responds, nothing panicked, and no private text is in its log.
    /// Kills the node first, so that the log is complete.
    pub async fn is_unharmed(mut self, private: &[&str]) {
        let http = crate::Http::new(self.address, None);
        assert_eq!(http.get("/health/live").await.status, 200);
        self.kill().await;
        for reading in self.reading.drain(..) {
            timeout(PATIENCE, reading).await.expect("the output of the node does not end").unwrap();
        }
        let lines = [self.log(), self.complaints.lock().unwrap().clone()].concat();
        assert!(
            lines.iter().any(|line| line.contains("listening")),
            "the log has no \"listening\" line"
        );
        for line in lines {
            assert!(!line.contains("panicked"), "{line}");
            // Only the signature of a token is searched for: the other parts are the same for many
            // tokens.
            let told = |text: &&&str| line.contains(text.rsplit('.').next().unwrap_or(text));
            assert!(!private.iter().any(|text| told(&text)), "it is logged: {line}");
        }
    }

    /// The URL of a path on this node.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Keeps and prints the lines of standard error, because panics are written there.
async fn hear_complaints(stderr: ChildStderr, kept: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        kept.lock().unwrap().push(line);
    }
}

fn address_of(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "kill -{name} {pid}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use axum::{Router, routing::get};

    use super::*;

    /// A script that logs "listening" and then writes one line to each of its outputs.
    async fn node(log: &str, complaint: &str) -> Node {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listening =
            format!(r#"{{"message":"listening","address":"{}"}}"#, listener.local_addr().unwrap());
        let alive = Router::new().route("/health/live", get(async || ""));
        tokio::spawn(async move { axum::serve(listener, alive).await });
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let script = format!(
            "#!/bin/sh\necho '{listening}'\necho '{log}'\necho '{complaint}' >&2\nexec sleep 60\n"
        );
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
        let node = Node::start(file.to_str().unwrap(), &[]).await;
        crate::eventually("both lines are read", async || {
            node.log().len() == 2 && node.complaints.lock().unwrap().len() == 1
        })
        .await;
        node
    }

    #[tokio::test]
    async fn what_is_well_is_unharmed() {
        node("a line", "a word").await.is_unharmed(&["head.claims.signature"]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "main panicked at src")]
    async fn a_panic_is_noticed() {
        node("a line", "main panicked at src").await.is_unharmed(&[]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "thread panicked")]
    async fn a_panic_in_the_log_is_noticed() {
        let log = r#"{"level":"ERROR","message":"thread panicked","place":"src/hub.rs:1:1"}"#;
        node(log, "a word").await.is_unharmed(&[]).await;
    }

    #[tokio::test]
    #[should_panic(expected = "it is logged")]
    async fn a_token_in_a_log_is_noticed() {
        node("refused: head.other.signature", "")
            .await
            .is_unharmed(&["head.claims.signature"])
            .await;
    }
}
