//! What reads a node's documents: Schemathesis, which asks all that `/openapi.json` says, and the parser of
//! AsyncAPI.

use std::process::Stdio;

use serde_json::Value;
use tokio::{process::Command, sync::OnceCell, time::timeout};

use crate::{
    LONGEST, PATIENCE,
    stock::{clients, python_environment, run},
};

static SCHEMATHESIS: OnceCell<std::path::PathBuf> = OnceCell::const_new();
static PARSER: OnceCell<()> = OnceCell::const_new();

/// A run of Schemathesis (PyPI) for one person.
#[derive(Debug)]
pub struct Schemathesis<'a> {
    /// The node.
    pub url: &'a str,
    /// Whose token it shows.
    pub token: &'a str,
    /// What there is: ids, by which its requests are about something (`tests/clients/schemathesis/hooks.py`).
    pub world: &'a Value,
    /// How many requests of each kind it makes of each operation, at most.
    pub examples: u32,
}

impl Schemathesis<'_> {
    /// Runs it; it is installed first where it is not there. What it found is printed, and fails.
    pub async fn run(self) {
        let dir = clients().join("schemathesis");
        let python = SCHEMATHESIS
            .get_or_init(|| async {
                python_environment("schemathesis", &dir.join("requirements.txt")).await
            })
            .await;
        let mut run = Command::new(python.with_file_name("schemathesis"));
        // It keeps what it did in the folder that it runs in.
        let kept = tempfile::tempdir().unwrap();
        run.current_dir(kept.path())
            .env("PYTHONPATH", &dir)
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .arg("--config-file")
            .arg(dir.join("schemathesis.toml"))
            .args(["run", &format!("{}/openapi.json", self.url)])
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .args(["--max-examples", &self.examples.to_string(), "--seed", "7"])
            .env("WORLD", self.world.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(LONGEST, run.output()).await.expect("Schemathesis does not end");
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        let (_, summary) = told.split_once("Test cases:").expect("how much it asked");
        let asked = summary.split_whitespace().next().unwrap().replace(',', "");
        assert!(asked.parse::<u32>().unwrap() > 500, "{told}");
    }
}

/// Has the parser of AsyncAPI (npm) read the document at this URL.
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
    let output = timeout(PATIENCE * 2, validate.output()).await.expect("it does not end").unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}
