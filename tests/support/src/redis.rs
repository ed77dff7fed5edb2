//! A Redis of a test's own, to be ill-treated.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{eventually, free_port, node::signal};

/// A Redis server that ends with this value.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Child,
}

impl Redis {
    /// Starts a server and waits for it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with further arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let port = free_port();
        let redis = Self { port, child: spawn(port, arguments) };
        redis.await_answer().await;
        redis
    }

    async fn await_answer(&self) {
        eventually("Redis answers", || async { command(self.port, "PING").await.is_some() }).await;
    }

    /// Kills it, with all that it knows.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it anew on the same port, empty.
    pub async fn revive(&mut self) {
        self.revive_with(&[]).await;
    }

    /// The same, with further arguments.
    pub async fn revive_with(&mut self, arguments: &[&str]) {
        self.child = spawn(self.port, arguments);
        self.await_answer().await;
    }

    /// Lets it hang: it holds its connections and answers nothing.
    pub fn hang(&self) {
        signal(self.child.id().unwrap(), "STOP");
    }

    /// Ends the hanging.
    pub fn resume(&self) {
        signal(self.child.id().unwrap(), "CONT");
    }

    /// One inline command and the start of its answer, as it is on the wire.
    pub async fn command(&self, text: &str) -> String {
        command(self.port, text).await.expect("Redis does not answer")
    }

    /// Cuts the connections of all who subscribe.
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

/// One inline command; `None` where nobody answers.
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
