//! A Prometheus that scrapes nodes, with the shipped configuration and rules.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::{Http, eventually, free_port};

/// Labels and value of a series.
pub type Sample = (BTreeMap<String, String>, f64);

/// A Prometheus process; dropping it kills the process.
#[derive(Debug)]
pub struct Prometheus {
    http: Http,
    _child: Child,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes these nodes every second, and waits until it has scraped each.
    pub async fn start(nodes: &[SocketAddr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(shipped("alerts.yaml"), dir.path().join("alerts.yaml")).unwrap();
        let config = dir.path().join("prometheus.yaml");
        std::fs::write(&config, configuration(nodes)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is not installed: scripts/test installs it");
        eventually("Prometheus listens", async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        let prometheus = Self { http: Http::new(address, None), _child: child, _dir: dir };
        eventually("Prometheus has scraped every node", async || {
            let up = prometheus.query("up == 1").await;
            up.is_ok_and(|up| up.len() == nodes.len())
        })
        .await;
        prometheus
    }

    /// Value of an expression now, or the error.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        let url = "http://prometheus/api/v1/query";
        let url = reqwest::Url::parse_with_params(url, [("query", expression)]).unwrap();
        let reply = self.http.get(&format!("{}?{}", url.path(), url.query().unwrap())).await;
        if reply.body["status"] != "success" {
            return Err(reply.text);
        }
        let result = &reply.body["data"]["result"];
        if reply.body["data"]["resultType"] == "scalar" {
            return Ok(vec![(BTreeMap::new(), number(&result[1]))]);
        }
        let labels = |sample: &Value| serde_json::from_value(sample["metric"].clone()).unwrap();
        let samples = result.as_array().unwrap().iter();
        Ok(samples.map(|sample| (labels(sample), number(&sample["value"][1]))).collect())
    }

    /// Name and expression of each loaded rule.
    pub async fn rules(&self) -> Vec<(String, String)> {
        let reply = self.http.get("/api/v1/rules").await.expect(200);
        let groups = reply["data"]["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rules.map(|rule| (text(&rule["name"]), text(&rule["query"]))).collect()
    }
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The shipped example with these nodes and a shorter interval.
fn configuration(nodes: &[SocketAddr]) -> String {
    let example = std::fs::read_to_string(shipped("prometheus.yaml")).unwrap();
    let targets: Vec<String> = nodes.iter().map(|node| format!("'{node}'")).collect();
    let changed = |line: &str| {
        let trimmed = line.trim_start();
        let indent = &line[..line.len() - trimmed.len()];
        let changed = match trimmed.split_once(':').map_or("", |(key, _)| key) {
            "- targets" => &format!("- targets: [{}]", targets.join(", ")),
            "scrape_interval" => "scrape_interval: 1s",
            "scrape_timeout" => "scrape_timeout: 1s",
            _ => trimmed,
        };
        format!("{indent}{changed}\n")
    };
    example.lines().map(changed).collect()
}

/// Path of a file of `deploy/prometheus`.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus").join(name)
}

/// Runs `promtool` in the directory of the shipped files; fails if it does.
pub async fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(shipped(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not installed: scripts/test installs it, with prometheus");
    // It may exit before it has read all of its input.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()).await);
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    let told = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "promtool {arguments:?}: {told}");
}
