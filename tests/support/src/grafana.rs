//! The shipped Grafana dashboard: its queries, and a check of its format.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::stock;

/// The dashboard of `deploy/grafana`.
#[derive(Debug)]
pub struct Dashboard(pub Value);

impl Default for Dashboard {
    fn default() -> Self {
        Self::new()
    }
}

impl Dashboard {
    /// Reads the dashboard.
    #[must_use]
    pub fn new() -> Self {
        Self(serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap())
    }

    /// Panels without the titles of rows.
    #[must_use]
    pub fn panels(&self) -> Vec<&Value> {
        let panels = self.0["panels"].as_array().unwrap().iter();
        panels.filter(|panel| panel["type"] != "row").collect()
    }

    /// Queries and legends of a panel, for all nodes and this rate interval.
    #[must_use]
    pub fn asked(panel: &Value, interval: &str) -> Vec<(String, String)> {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let asked = |target: &Value| {
            let expression = text(&target["expr"]).replace("$__rate_interval", interval);
            (expression.replace("$node", ".*"), text(&target["legendFormat"]))
        };
        targets.map(asked).collect()
    }

    /// Queries and legends of the panel with this title.
    #[must_use]
    pub fn panel(&self, title: &str, interval: &str) -> Vec<(String, String)> {
        let panels = self.panels();
        let found = panels.iter().find(|panel| panel["title"] == title);
        Self::asked(found.unwrap_or_else(|| panic!("no panel {title:?}")), interval)
    }

    /// Parses the dashboard with Grafana's own types (PyPI), which are installed before if they are
    /// missing.
    pub async fn is_grafanas(&self) {
        let dir = stock::clients().join("grafana");
        let requirements = dir.join("requirements.txt");
        let python = stock::python_environment("grafana", &requirements).await;
        let told =
            Command::new(python).arg(dir.join("check.py")).arg(path()).output().await.unwrap();
        let text = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        assert!(told.status.success(), "{text}");
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana/frontdesk.json")
}
