//! The files shipped for operators are consistent with the nodes, each other, and the docs.

use std::{collections::BTreeSet, path::Path};

use frontdesk_test_support::{Dashboard, promtool};
use serde_json::Value;

/// Names of our metrics in a text.
pub(super) fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| {
        word.strip_prefix("frontdesk_")
            .or(word.strip_prefix("process_"))
            .is_some_and(|rest| !rest.is_empty())
    });
    ours.map(str::to_owned).collect()
}

fn docs() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    std::fs::read_to_string(path).unwrap()
}

/// Checks that the metrics are valid for Prometheus, and that the docs describe exactly these.
pub(super) async fn is_in_order(text: &str) {
    promtool(&["check", "metrics"], text).await;
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let told: BTreeSet<String> = families.map(str::to_owned).collect();
    let docs = docs();
    let rows = docs.lines().filter(|line| line.starts_with("| `"));
    let described: BTreeSet<String> = rows
        .filter_map(|row| row.split('`').nth(1))
        .filter_map(|name| metrics_in(name).into_iter().next())
        .collect();
    assert_eq!(told, described, "metrics of the nodes, and those described in docs/operations.md");
}

#[tokio::test]
async fn the_rules_are_tested_and_each_has_its_runbook() {
    promtool(&["check", "config", "prometheus.yaml"], "").await;
    promtool(&["check", "rules", "alerts.yaml"], "").await;
    promtool(&["test", "rules", "alerts_test.yaml"], "").await;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let tests = std::fs::read_to_string(rules.join("alerts_test.yaml")).unwrap();
    let rules = std::fs::read_to_string(rules.join("alerts.yaml")).unwrap();
    let values = |field: &str| -> Vec<String> {
        let lines = rules.lines().filter_map(|line| line.trim_start().strip_prefix(field));
        lines.map(|value| value.trim().to_owned()).collect()
    };
    let (names, runbooks) = (values("- alert:"), values("runbook_url:"));
    assert!(names.len() >= 25 && names.len() == runbooks.len());
    for field in ["severity:", "summary:", "description:", "action:"] {
        assert_eq!(values(field).len(), names.len(), "{field}");
    }
    let docs = docs();
    for (name, runbook) in names.iter().zip(runbooks) {
        let page = r#"'{{ or $externalLabels.runbook_url "docs/operations.md" }}#"#;
        let anchor = runbook.strip_prefix(page).and_then(|anchor| anchor.strip_suffix('\''));
        let anchor = anchor.expect("a section of the docs, wherever they are");
        let title = format!("### {}", anchor.replace('-', " "));
        let has = docs.lines().any(|line| line.to_lowercase() == title);
        assert!(has, "{name}: there is no section {title:?}");
        for kind in ["on what it is for", "not on what is well"] {
            assert!(tests.contains(&format!("{name}, {kind}")), "{name} is not tested {kind}");
        }
    }
}

/// Figures in KiB for the memory of a connection.
fn memory_of_a_connection(text: &str) -> Vec<&str> {
    let figures = text.match_indices(" KiB ").filter_map(|(at, unit)| {
        let rest =
            text.get(at + unit.len()..)?.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        let of_one = ["a connection", "for a connection", "for each connection"];
        let figure = text.get(..at)?.rsplit(|letter: char| !letter.is_ascii_digit()).next()?;
        let is_told = !figure.is_empty() && of_one.iter().any(|it| rest.starts_with(it));
        is_told.then_some(figure)
    });
    figures.collect()
}

#[test]
fn the_memory_of_a_connection_is_one_figure_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [
        "README.md",
        "docs/deploy.md",
        "docs/performance.md",
        "docs/scale.md",
        "deploy/grafana/frontdesk.json",
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let figures = memory_of_a_connection(&text);
        assert!(!figures.is_empty() && figures.iter().all(|it| *it == "36"), "{file}: {figures:?}");
    }
}

#[tokio::test]
async fn grafana_can_read_the_dashboard() {
    let dashboard = Dashboard::new();
    dashboard.is_grafanas().await;
    let variables = dashboard.0["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["type"], "datasource");
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
    for panel in dashboard.0["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is used twice");
        let is_new = panel["type"] == "row" || titles.insert(title);
        assert!(is_new, "{title}: the title is used twice");
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        let (left, top) = (place("x"), place("y"));
        assert!(left + place("w") <= 24, "{title}: beyond the edge");
        for x in left..left + place("w") {
            for y in top..top + place("h") {
                assert!(taken.insert((x, y)), "{title}: overlaps another panel");
            }
        }
    }
    let ours = |source: &Value| source["uid"] == "${datasource}" && source["type"] == "prometheus";
    assert!(ours(&variables[1]["datasource"]));
    for panel in dashboard.panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
        if panel["type"] == "text" {
            continue;
        }
        assert!(ours(&panel["datasource"]), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        let refs: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str()).collect();
        assert_eq!(refs.len(), targets.len(), "{title}");
        for target in targets {
            assert!(ours(&target["datasource"]), "{title}");
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(
                expression.matches("instance=~\"$node\"").count(),
                expression.matches("frontdesk_").count() + expression.matches("process_").count(),
                "{title}: {expression}: a metric lacks the node filter"
            );
        }
    }
}
