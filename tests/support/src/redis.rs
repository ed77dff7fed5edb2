//! A Redis server of one test, which the test may kill or suspend.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{eventually, free_port, node::signal};

/// A Redis server; dropping it kills the process.
#[derive(Debug)]
pub struct Redis {
    /// Port on 127.0.0.1.
    pub port: u16,
    child: Child,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Like [`Redis::start`], with additional arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let port = free_port();
        let redis = Self { port, child: spawn(port, arguments) };
        redis.await_answer().await;
        redis
    }

    async fn await_answer(&self) {
        eventually("Redis answers", || async { command(self.port, "PING").await.is_some() }).await;
    }

    /// Kills the server; its data is lost.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts the server again on the same port, empty.
    pub async fn revive(&mut self) {
        self.revive_with(&[]).await;
    }

    /// Like [`Redis::revive`], with additional arguments.
    pub async fn revive_with(&mut self, arguments: &[&str]) {
        self.child = spawn(self.port, arguments);
        self.await_answer().await;
    }

    /// Suspends the process: connections stay open and get no response.
    pub fn hang(&self) {
        signal(self.child.id().unwrap(), "STOP");
    }

    /// Resumes a suspended process.
    pub fn resume(&self) {
        signal(self.child.id().unwrap(), "CONT");
    }

    /// Sends an inline command and returns the first 128 bytes of the response, undecoded.
    pub async fn command(&self, text: &str) -> String {
        command(self.port, text).await.expect("Redis does not answer")
    }

    /// Closes the connections of all subscribers.
    pub async fn cut_subscribers(&self) {
        let answer = self.command("CLIENT KILL TYPE pubsub").await;
        assert_ne!(answer.trim(), ":0", "nobody subscribed");
    }
}

fn spawn(port: u16, arguments: &[&str]) -> Child {
    Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--repl-diskless-load",
            "swapdb",
        ])
        .args(arguments)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is not installed: scripts/test installs it")
}

/// Sends an inline command; `None` without a response within 1 s.
async fn command(port: u16, text: &str) -> Option<String> {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
        let mut answer = [0; 128];
        let length = stream.read(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(1), asking).await.ok()?
}
