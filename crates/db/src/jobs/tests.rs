use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use frontdesk_test_support::eventually;
use serde_json::json;

use super::*;
use crate::text::tests as databases;
use platform::{
    jobs::{JobHandler, JobsDue, Module, Outcome},
    tasks::{Stage, Tasks},
};

const QUEUE: &str = "work";
const LEASE: Duration = Duration::from_secs(60);

pub(super) async fn on_each<F: Future<Output = ()>>(law: impl Fn(JobTable) -> F) {
    databases::on_each(|database| law(JobTable(database))).await;
}

fn job(tenant: i64, key: Option<&str>, ordering_key: Option<&str>) -> NewJob {
    let (key, ordering_key) = (key.map(str::to_owned), ordering_key.map(str::to_owned));
    let payload = json!({ "of": tenant });
    NewJob { tenant, queue: QUEUE, kind: "do", key, ordering_key, payload, delay: Duration::ZERO }
}

async fn add(table: &JobTable, jobs: &[NewJob]) {
    for job in jobs {
        table.add(job).await.unwrap();
    }
}

async fn lease(table: &JobTable, tenant: i64) -> Vec<Job> {
    table.lease(QUEUE, tenant, 10, LEASE).await.unwrap()
}

async fn counts(table: &JobTable) -> HashMap<String, u64> {
    let counts = table.counts().await.unwrap();
    counts.into_iter().map(|count| (count.state, count.jobs)).collect()
}

#[tokio::test]
async fn i17_a_job_is_one_nodes_until_its_lease_ends_and_then_the_same_job_of_another() {
    on_each(async |table| {
        add(&table, &[job(1, None, None), job(1, None, None), job(1, None, None)]).await;
        let (mine, yours) = tokio::join!(lease(&table, 1), lease(&table, 1));
        assert_eq!(mine.len() + yours.len(), 3, "each is leased once");
        assert!(lease(&table, 1).await.is_empty());
        add(&table, &[job(1, None, None)]).await;
        let lost = table.lease(QUEUE, 1, 10, Duration::ZERO).await.unwrap().remove(0);
        let again = lease(&table, 1).await.remove(0);
        assert_eq!((again.id, again.attempts), (lost.id, 2), "its effect is recognised by the id");
        // Results of the first lease no longer count, except that the effect has happened.
        table.reschedule(&lost, Duration::ZERO, "late").await.unwrap();
        table.dead_letter(&lost, "late").await.unwrap();
        assert!(lease(&table, 1).await.is_empty());
        assert_eq!(counts(&table).await.get("dead"), None);
        table.finish(QUEUE, &lost).await.unwrap();
        assert_eq!(counts(&table).await.get("taken"), Some(&3));
    })
    .await;
}

#[tokio::test]
async fn i17_waiting_jobs_with_one_key_are_one_and_a_later_one_covers_the_earlier() {
    on_each(async |table| {
        add(&table, &[job(1, Some("a"), None), job(1, Some("a"), None), job(1, Some("b"), None)])
            .await;
        let leased = lease(&table, 1).await;
        assert_eq!(leased.len(), 2);
        let first = leased.iter().find(|job| job.key.as_deref() == Some("a")).unwrap();
        // It failed, and a later one with its key succeeds.
        table.reschedule(first, LEASE, "failed").await.unwrap();
        add(&table, &[job(1, Some("a"), None)]).await;
        let later = lease(&table, 1).await.remove(0);
        assert!(later.number > first.number && later.id != first.id);
        table.finish(QUEUE, &later).await.unwrap();
        assert_eq!(
            counts(&table).await,
            HashMap::from([("taken".to_owned(), 1)]),
            "b is untouched"
        );
        // The same key of another tenant is another job.
        add(&table, &[job(2, Some("b"), None), job(3, Some("b"), None)]).await;
        assert_eq!(counts(&table).await.get("waiting"), Some(&2));
    })
    .await;
}

#[tokio::test]
async fn i17_jobs_with_one_ordering_key_run_one_after_the_other() {
    on_each(async |table| {
        add(&table, &[job(1, None, Some("s")), job(1, None, Some("s")), job(1, None, None)]).await;
        add(&table, &[job(2, None, Some("s"))]).await;
        let leased = lease(&table, 1).await;
        assert_eq!(leased.len(), 2, "the second one waits for the first");
        assert_eq!(lease(&table, 2).await.len(), 1, "another tenant's key is another key");
        let first = leased.iter().min_by_key(|job| job.number).unwrap();
        table.reschedule(first, LEASE, "failed").await.unwrap();
        assert!(lease(&table, 1).await.is_empty(), "also while the first one is repeated");
        table.dead_letter(first, "given up").await.unwrap();
        let second = lease(&table, 1).await;
        assert_eq!(second.len(), 1);
        assert!(second[0].number > first.number);
        // The first one runs again, but not beside the second one.
        let replayed = JobFilter { id: Some(first.id), ..JobFilter::default() };
        assert_eq!(table.replay(&replayed).await.unwrap(), 1);
        assert!(lease(&table, 1).await.is_empty());
        table.finish(QUEUE, &second[0]).await.unwrap();
        assert_eq!(lease(&table, 1).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn f20_dead_letters_are_listed_replayed_dropped_and_forgotten() {
    on_each(async |table| {
        add(&table, &[job(1, Some("a"), None), job(7, None, None)]).await;
        for tenant in [1, 7] {
            let leased = lease(&table, tenant).await.remove(0);
            table.dead_letter(&leased, &"x".repeat(500)).await.unwrap();
        }
        let dead = JobFilter { state: Some("dead".into()), ..JobFilter::default() };
        let listed = table.list(&dead, 10).await.unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[1].tenant, listed[1].attempts), (7, 1));
        assert_eq!((&*listed[1].queue, &*listed[1].kind), (QUEUE, "do"));
        assert_eq!(listed[1].error.as_deref().map(str::len), Some(200), "cut to its column");
        assert_eq!(table.list(&dead, 1).await.unwrap().len(), 1);
        // A replay of one, while a job with the key of the other waits again.
        add(&table, &[job(1, Some("a"), None)]).await;
        let one = JobFilter { id: Some(listed[0].id), ..JobFilter::default() };
        assert_eq!(table.replay(&one).await.unwrap(), 1);
        let again = lease(&table, 1).await;
        assert_eq!(again.len(), 2);
        assert_eq!(again[0].attempts, 1, "all its attempts are due again");
        assert_eq!(table.replay(&one).await.unwrap(), 0, "it is no dead letter any more");
        assert_eq!(table.forget_dead(LEASE, 10).await.unwrap(), 0);
        assert_eq!(table.forget_dead(Duration::ZERO, 10).await.unwrap(), 1);
        assert_eq!(table.remove(&one).await.unwrap(), 1);
        let of_queue = JobFilter { queue: Some(QUEUE.into()), ..JobFilter::default() };
        assert_eq!(table.remove(&of_queue).await.unwrap(), 1);
        assert!(table.counts().await.unwrap().is_empty());
    })
    .await;
}

/// A worker whose outcomes a test decides.
struct Worker {
    run: Mutex<Vec<(i64, u32)>>,
    outcome: Box<dyn Fn(&Job) -> Outcome + Send + Sync>,
    concurrency: usize,
}

#[async_trait]
impl JobHandler for Worker {
    fn queue(&self) -> &'static str {
        QUEUE
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run(&self, job: &Job) -> Outcome {
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.run.lock().unwrap().push((job.tenant, job.attempts));
        (self.outcome)(job)
    }
}

/// A node with this worker.
fn node(
    table: &JobTable,
    concurrency: usize,
    outcome: impl Fn(&Job) -> Outcome + Send + Sync + 'static,
) -> (Arc<Worker>, Tasks, JobsDue) {
    let worker =
        Arc::new(Worker { run: Mutex::default(), outcome: Box::new(outcome), concurrency });
    let (tasks, due) = (Tasks::default(), JobsDue::default());
    let runner = Runner {
        table: table.clone(),
        due: due.clone(),
        tasks: tasks.clone(),
        counts: counts::JobCounts::default(),
    };
    let module = Module { handlers: vec![Arc::clone(&worker) as _], schedules: Vec::new() };
    start(&runner, vec![module]).unwrap();
    (worker, tasks, due)
}

#[tokio::test]
async fn a_worker_settles_each_outcome_and_ends_at_a_drain() {
    on_each(async |table| {
        let mut jobs: Vec<_> = (0..4).map(|_| job(1, None, None)).collect();
        for (job, kind) in jobs.iter_mut().zip(["done", "dropped", "refused", "panic"]) {
            job.kind = kind;
        }
        add(&table, &jobs).await;
        let (worker, tasks, due) = node(&table, 8, |job| match &*job.kind {
            "done" => Outcome::Done,
            "dropped" => Outcome::Dropped,
            "refused" => Outcome::Refused { code: "http_400".into() },
            "panic" => panic!("a broken handler"),
            _ if job.attempts == 1 => Outcome::Later { after: Duration::ZERO, reason: "busy" },
            _ => Outcome::Done,
        });
        eventually("three are settled", async || {
            let counts = counts(&table).await;
            counts.get("dead") == Some(&1) && counts.get("taken") == Some(&1) && counts.len() == 2
        })
        .await;
        // A panic ends neither the worker nor the node. A hint makes it read the table at once.
        add(&table, &[job(1, None, None)]).await;
        due.hinted(Duration::ZERO);
        eventually("it is repeated and done", async || {
            worker.run.lock().unwrap().iter().filter(|(_, attempts)| *attempts == 2).count() == 1
                && counts(&table).await.len() == 2
        })
        .await;
        assert_eq!(tasks.failed(), None);
        tasks.end(Stage::Jobs).await;
        assert_eq!(tasks.failed(), None);
    })
    .await;
}

/// At the maximum of one tenant there is room, but not for it: what ends is seen all the same.
#[tokio::test]
async fn jobs_that_become_due_one_after_the_other_are_all_done() {
    on_each(async |table| {
        for millis in 0..120 {
            let delay = Duration::from_millis(millis);
            table.add(&NewJob { delay, ..job(1, None, None) }).await.unwrap();
        }
        let (worker, tasks, _due) = node(&table, 4, |_| Outcome::Done);
        eventually("all are done", async || table.counts().await.unwrap().is_empty()).await;
        assert_eq!(worker.run.lock().unwrap().len(), 120);
        tasks.end(Stage::Jobs).await;
    })
    .await;
}

#[tokio::test]
async fn the_backlog_of_one_tenant_starves_no_other() {
    on_each(async |table| {
        let hog: Vec<_> = (0..60).map(|_| job(1, None, None)).collect();
        add(&table, &hog).await;
        add(&table, &[job(2, None, None), job(9, None, None)]).await;
        let (worker, tasks, _due) = node(&table, 4, |_| Outcome::Done);
        eventually("all are done", async || table.counts().await.unwrap().is_empty()).await;
        let run: Vec<_> = worker.run.lock().unwrap().iter().map(|(tenant, _)| *tenant).collect();
        for tenant in [2, 9] {
            let turn = run.iter().position(|of| *of == tenant).unwrap();
            assert!(turn < 8, "tenant {tenant} waited for {turn} jobs: {run:?}");
        }
        // One tenant asks for a pause. The others go on.
        add(&table, &[job(1, None, None), job(2, None, None)]).await;
        tasks.end(Stage::Jobs).await;
        let (worker, tasks, due) = node(&table, 4, |job| match job.tenant {
            1 => Outcome::Failed { retry_after: Some(LEASE), code: "http_429".into() },
            _ => Outcome::Done,
        });
        eventually("the other is done", async || !counts(&table).await.contains_key("waiting"))
            .await;
        add(&table, &[job(1, None, None), job(3, None, None)]).await;
        due.hinted(Duration::ZERO);
        eventually("the third is done", async || {
            worker.run.lock().unwrap().iter().any(|(tenant, _)| *tenant == 3)
        })
        .await;
        let of_first = worker.run.lock().unwrap().iter().filter(|(tenant, _)| *tenant == 1).count();
        assert_eq!(of_first, 1, "the pause holds for further jobs of the tenant");
        tasks.end(Stage::Jobs).await;
    })
    .await;
}
