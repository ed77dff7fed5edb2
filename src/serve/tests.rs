use std::{future::pending, time::Duration};

use axum::extract::State;
use hyper::StatusCode;
use tokio::time::timeout;

use super::*;
use crate::{config, health};
use platform::metrics::Format;

const LIMIT: Duration = Duration::from_secs(60);

async fn open(dir: &tempfile::TempDir) -> Node {
    open_with(dir, ("EDITS_RETENTION_DAYS", "30")).await
}

async fn open_with(dir: &tempfile::TempDir, variable: (&str, &str)) -> Node {
    let dir = dir.path().to_str().unwrap();
    let variables = [("PORT", "0"), ("DATA_DIR", dir), variable];
    Box::pin(Node::open(config::tests::read(&variables).unwrap())).await.unwrap()
}

async fn is_ready(modules: &Arc<Modules>) -> bool {
    health::ready(State(Arc::clone(modules))).await == StatusCode::OK
}

/// Every background task of a node without other services, by name.
#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread")]
async fn i19_a_node_that_loses_a_background_task_is_not_ready_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(&dir).await;
    let names = node.modules.tasks.names();
    drop(node);
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        let node = open(&dir).await;
        let modules = Arc::clone(&node.modules);
        let running = tokio::spawn(node.run(pending()));
        assert!(is_ready(&modules).await);
        assert!(modules.tasks.kill(name) > 0, "there is such a task");
        assert_eq!(timeout(LIMIT, modules.tasks.failure()).await, Ok(name));
        assert!(!is_ready(&modules).await, "{name}");
        let ended = timeout(LIMIT, running).await.unwrap().unwrap();
        assert!(ended.unwrap_err().to_string().contains(name));
        let metrics = crate::scrape::text(&modules, Format::Plain).await;
        assert!(metrics.contains("frontdesk_background_tasks_failed_total 1"), "{name}");
    }
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread")]
async fn i19_the_end_of_a_node_is_no_failure_of_its_tasks() {
    let dir = tempfile::tempdir().unwrap();
    // Old texts are kept for ever, so no task removes them.
    let node = open_with(&dir, ("EDITS_RETENTION_DAYS", "0")).await;
    let modules = Arc::clone(&node.modules);
    let for_a_while = tokio::time::sleep(Duration::from_millis(200));
    timeout(LIMIT, node.run(for_a_while)).await.unwrap().unwrap();
    assert_eq!(modules.tasks.failed(), None);
}
