//! Readers of a node's documents: Schemathesis, which tests all operations of `/openapi.json`, and
//! the AsyncAPI parser.

use std::process::Stdio;

use serde_json::Value;
use tokio::{process::Command, sync::OnceCell, time::timeout};

use crate::{
    LONGEST, PATIENCE, PLATFORM_KEY,
    stock::{clients, python_environment, run},
};

static SCHEMATHESIS: OnceCell<std::path::PathBuf> = OnceCell::const_new();
static PARSER: OnceCell<()> = OnceCell::const_new();

/// A run of Schemathesis (PyPI) as one user.
#[derive(Debug)]
pub struct Schemathesis<'a> {
    /// URL of the node.
    pub url: &'a str,
    /// Token of the user.
    pub token: &'a str,
    /// Ids of existing objects, which the requests use (`tests/clients/schemathesis/hooks.py`).
    pub world: &'a Value,
    /// Maximum of requests of each kind for each operation.
    pub examples: u32,
}

impl Schemathesis<'_> {
    /// Runs Schemathesis, and installs it before if it is missing. Its findings fail the test and
    /// are printed.
    pub async fn run(self) {
        let dir = clients().join("schemathesis");
        let python = SCHEMATHESIS
            .get_or_init(|| async {
                python_environment("schemathesis", &dir.join("requirements.txt")).await
            })
            .await;
        let mut run = Command::new(python.with_file_name("schemathesis"));
        // Schemathesis writes its state to the working directory.
        let kept = tempfile::tempdir().unwrap();
        run.current_dir(kept.path())
            .env("PYTHONPATH", &dir)
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .arg("--config-file")
            .arg(dir.join("schemathesis.toml"))
            .args(["run", &format!("{}/openapi.json", self.url)])
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .args(["--header", &format!("X-API-Key: {PLATFORM_KEY}")])
            .args(["--max-examples", &self.examples.to_string(), "--seed", "7"])
            .env("WORLD", self.world.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(LONGEST, run.output()).await.expect("Schemathesis does not end");
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        let (_, summary) =
            told.split_once("Test cases:").expect("no summary in the output of Schemathesis");
        let asked = summary.split_whitespace().next().unwrap().replace(',', "");
        assert!(asked.parse::<u32>().unwrap() > 500, "{told}");
    }
}

/// Validates the document at this URL with the AsyncAPI parser (npm) and returns its output.
pub async fn validate_asyncapi(url: &str) -> String {
    let dir = clients().join("asyncapi");
    PARSER
        .get_or_init(|| async {
            if !dir.join("node_modules/@asyncapi/parser").exists() {
                run(Command::new("npm").arg("ci").arg("--silent").current_dir(&dir)).await;
            }
        })
        .await;
    let mut validate = Command::new("node");
    validate.arg(dir.join("validate.mjs")).arg(url).kill_on_drop(true);
    let output = timeout(PATIENCE * 2, validate.output())
        .await
        .expect("the AsyncAPI parser does not end")
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}
