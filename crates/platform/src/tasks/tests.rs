use std::time::Duration;

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{Stage, Tasks};

const LIMIT: Duration = Duration::from_secs(20);

async fn failure(tasks: &Tasks) -> &'static str {
    timeout(LIMIT, tasks.failure()).await.expect("the failure is noticed")
}

#[tokio::test]
async fn i19_a_task_that_returns_has_failed() {
    let tasks = Tasks::default();
    tasks.spawn(Stage::Bus, "returns", async {});
    assert_eq!(failure(&tasks).await, "returns");
    assert_eq!(tasks.0.counts.failed.get(), 1);
}

#[tokio::test]
async fn i19_a_task_that_panics_has_failed() {
    let tasks = Tasks::default();
    tasks.spawn(Stage::Jobs, "panics", async { panic!("as the test wants it") });
    assert_eq!(failure(&tasks).await, "panics");
}

#[tokio::test]
async fn i19_a_task_that_is_killed_has_failed() {
    let tasks = Tasks::default();
    tasks.spawn(Stage::Delivery, "waits", std::future::pending());
    assert!(tasks.kill("waits") > 0, "there is such a task");
    assert_eq!(failure(&tasks).await, "waits");
}

#[tokio::test]
async fn i19_the_first_failure_is_the_one_that_is_named() {
    let tasks = Tasks::default();
    tasks.spawn(Stage::Bus, "first", async {});
    assert_eq!(failure(&tasks).await, "first");
    tasks.spawn(Stage::Bus, "second", async {});
    while tasks.0.counts.failed.get() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(tasks.failed(), Some("first"));
}

#[tokio::test]
async fn a_stage_ends_its_tasks_and_no_others() {
    let tasks = Tasks::default();
    for stage in [Stage::Jobs, Stage::Observation] {
        tasks.spawn(stage, "waits", std::future::pending());
    }
    timeout(LIMIT, tasks.end(Stage::Jobs)).await.unwrap();
    assert_eq!(tasks.failed(), None);
    assert_eq!(tasks.stage(Stage::Observation).tasks.len(), 1);
}

#[tokio::test]
async fn a_stage_waits_for_tasks_that_settle_what_they_have() {
    let tasks = Tasks::default();
    let (settle, settled) = oneshot::channel::<()>();
    tasks.spawn_settling(Stage::Commits, "settles", async { drop(settled.await) });
    assert!(timeout(Duration::from_millis(50), tasks.end(Stage::Commits)).await.is_err());
    drop(settle);
    timeout(LIMIT, tasks.end(Stage::Commits)).await.unwrap();
    assert_eq!(tasks.failed(), None);
}

#[tokio::test]
async fn a_panic_of_a_short_task_is_counted_and_the_node_goes_on() {
    let tasks = Tasks::default();
    tasks.spawn_once("ends", async {});
    tasks.spawn_once("panics", async { panic!("as the test wants it") });
    while tasks.0.counts.failed.get() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(tasks.0.counts.failed.get(), 1);
    assert_eq!(tasks.failed(), None);
}
