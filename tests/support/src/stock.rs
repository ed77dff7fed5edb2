//! Clients of the real kind: what npm and PyPI have, in processes of their own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::OnceCell,
    time::timeout,
};

use crate::{PATIENCE, signal};

/// A story that a stock client tells.
#[derive(Debug)]
pub struct StockClient {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

static JAVASCRIPT: OnceCell<()> = OnceCell::const_new();
static RUST: OnceCell<()> = OnceCell::const_new();
static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();

impl StockClient {
    /// The JavaScript client of npm; it is installed first where it is not there.
    pub async fn javascript(story: &Value) -> Self {
        Self::script("story.mjs", story).await
    }

    /// The same client with another story: how it recovers.
    pub async fn javascript_recovering(story: &Value) -> Self {
        Self::script("recovery.mjs", story).await
    }

    /// The same client, which writes and reads until it is told to stop.
    pub async fn javascript_steady(story: &Value) -> Self {
        Self::script("steady.mjs", story).await
    }

    /// The same client, or one of the native framing, that joins, reads, and says what it has read.
    pub async fn javascript_listening(story: &Value) -> Self {
        Self::script("listener.mjs", story).await
    }

    /// The same client with the option `retries`: what is not acknowledged holds up what comes behind it.
    pub async fn javascript_retrying(story: &Value) -> Self {
        Self::script("retries.mjs", story).await
    }

    async fn script(name: &str, story: &Value) -> Self {
        let dir = clients().join("js");
        JAVASCRIPT
            .get_or_init(|| async {
                if !dir.join("node_modules/socket.io-client").exists() {
                    run(Command::new("npm").arg("ci").arg("--silent").current_dir(&dir)).await;
                }
            })
            .await;
        Self::start(Command::new("node").arg(dir.join(name)), story)
    }

    /// The Python client of PyPI; it is installed first where it is not there.
    pub async fn python(story: &Value) -> Self {
        Self::python_script("story.py", story).await
    }

    /// The same client with another story: much at once, by polling.
    pub async fn python_flushing(story: &Value) -> Self {
        Self::python_script("flush.py", story).await
    }

    async fn python_script(name: &str, story: &Value) -> Self {
        let dir = clients().join("python");
        let python = PYTHON
            .get_or_init(|| async {
                python_environment("python", &dir.join("requirements.txt")).await
            })
            .await;
        Self::start(Command::new(python).arg("-u").arg(dir.join(name)), story)
    }

    /// The Rust client of crates.io; it is built first.
    pub async fn rust(story: &Value) -> Self {
        let dir = clients().join("rust");
        let target = clients().join("../../target/clients");
        RUST.get_or_init(|| async {
            let mut build = Command::new("cargo");
            build.args(["build", "--locked", "--quiet", "--target-dir"]).arg(&target);
            run(build.current_dir(&dir)).await;
        })
        .await;
        Self::start(&mut Command::new(target.join("debug/frontdesk-stock-client")), story)
    }

    fn start(command: &mut Command, story: &Value) -> Self {
        let mut child = command
            .arg(story.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines }
    }

    /// Waits for the story to come to this line.
    pub async fn reaches(&mut self, line: &str) {
        let told = timeout(PATIENCE * 4, self.lines.next_line()).await.expect("the story stands");
        assert_eq!(told.unwrap().as_deref(), Some(line), "the story broke off");
    }

    /// What it tells next, in JSON.
    pub async fn tells(&mut self) -> Value {
        let told = timeout(PATIENCE * 4, self.lines.next_line()).await.expect("the story stands");
        serde_json::from_str(&told.unwrap().expect("the story broke off")).unwrap()
    }

    /// Stops its process, as a phone that sleeps does: its machine still takes what is sent to it.
    pub fn sleep(&self) {
        signal(self.child.id().expect("it has ended"), "STOP");
    }

    /// Wakes it up again.
    pub fn wake(&self) {
        signal(self.child.id().expect("it has ended"), "CONT");
    }

    /// Lets it go on.
    pub async fn go_on(&mut self) {
        self.stdin.write_all(b"\n").await.unwrap();
    }

    /// Waits for its good end.
    pub async fn end(mut self) {
        self.reaches("done").await;
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

pub(crate) fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients")
}

/// The Python of an environment of this name that has what is listed in a file; it is made first where
/// it is not there, or had something else.
pub(crate) async fn python_environment(name: &str, requirements: &Path) -> PathBuf {
    let environment = clients().join("../../target/clients").join(name);
    let python = environment.join("bin/python");
    let (wanted, has) = (std::fs::read(requirements).unwrap(), environment.join("has"));
    if std::fs::read(&has).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment)).await;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
        run(install.arg(requirements)).await;
        std::fs::write(has, wanted).unwrap();
    }
    python
}

pub(crate) async fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().await;
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}
