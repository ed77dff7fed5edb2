//! Stock clients of npm, PyPI and crates.io, in processes of their own.

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

/// A client process that plays a script and reports its progress.
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
    /// The JavaScript client of npm, which is installed before if it is missing.
    pub async fn javascript(story: &Value) -> Self {
        Self::script("story.mjs", story).await
    }

    /// The same client with another script: connection state recovery.
    pub async fn javascript_recovering(story: &Value) -> Self {
        Self::script("recovery.mjs", story).await
    }

    /// The same client, which writes and reads until it is stopped.
    pub async fn javascript_steady(story: &Value) -> Self {
        Self::script("steady.mjs", story).await
    }

    /// The same client, or a native one, which joins, reads, and reports the messages that it read.
    pub async fn javascript_listening(story: &Value) -> Self {
        Self::script("listener.mjs", story).await
    }

    /// The same client with the option `retries`: an unacknowledged packet blocks the packets behind
    /// it.
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

    /// The Python client of PyPI, which is installed before if it is missing.
    pub async fn python(story: &Value) -> Self {
        Self::python_script("story.py", story).await
    }

    /// The same client with another script: many packets at once, by polling.
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

    /// The Rust client of crates.io, which is built before.
    pub async fn rust(story: &Value) -> Self {
        let dir = clients().join("rust");
        let target = clients().join("../../target/clients");
        RUST.get_or_init(|| async {
            let mut build = Command::new("cargo");
            build.args(["build", "--locked", "--quiet", "--target-dir"]).arg(&target);
            // The lints of this workspace are not for it.
            build.env_remove("RUSTC_WORKSPACE_WRAPPER");
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

    /// Waits until the script prints this line.
    pub async fn reaches(&mut self, line: &str) {
        let told =
            timeout(PATIENCE * 4, self.lines.next_line()).await.expect("the client prints nothing");
        assert_eq!(told.unwrap().as_deref(), Some(line), "the client printed another line");
    }

    /// The next line that the script prints, as JSON.
    pub async fn tells(&mut self) -> Value {
        let told =
            timeout(PATIENCE * 4, self.lines.next_line()).await.expect("the client prints nothing");
        serde_json::from_str(&told.unwrap().expect("the client ended")).unwrap()
    }

    /// Suspends the process, as a sleeping phone does: its machine still receives data.
    pub fn sleep(&self) {
        signal(self.child.id().expect("it has ended"), "STOP");
    }

    /// Resumes the suspended process.
    pub fn wake(&self) {
        signal(self.child.id().expect("it has ended"), "CONT");
    }

    /// Lets the script continue with its next step.
    pub async fn go_on(&mut self) {
        self.stdin.write_all(b"\n").await.unwrap();
    }

    /// Waits until the script succeeds.
    pub async fn end(mut self) {
        self.reaches("done").await;
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

pub(crate) fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients")
}

/// Python of the virtual environment of this name with these requirements. It is created or updated
/// when they differ.
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
