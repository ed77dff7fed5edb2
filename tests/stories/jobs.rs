//! Jobs: work that follows a commit happens once, wherever a node is killed, and operators see it.

use frontdesk_test_support::{Desk, Mood, OneSignal, Person, Servers, eventually};

use crate::{FRONTDESK, command_line::said};

/// A node with pushes, and a session of two people who are away.
struct World {
    service: OneSignal,
    desk: Desk,
    dentist: Person,
    database: tokio_postgres::Client,
    /// Another connection: inside a transaction the activity of others does not change.
    watcher: tokio_postgres::Client,
}

impl World {
    async fn new() -> Self {
        Self::with_delay("300").await
    }

    /// Its pushes are due so many milliseconds after their message.
    async fn with_delay(millis: &str) -> Self {
        let service = OneSignal::start().await;
        let redis_port = Servers::get().await.redis_port;
        let mut env = service.variables();
        env.last_mut().unwrap().1 = millis;
        let desk = Desk::cluster_with(FRONTDESK, 1, redis_port, &env).await;
        let database = desk.database.as_ref().unwrap().client().await;
        let watcher = desk.database.as_ref().unwrap().client().await;
        let dentist = desk.dentist();
        Self { service, desk, dentist, database, watcher }
    }

    /// The dentist is sent a message, which is acknowledged.
    async fn send(&self) {
        let customer = self.desk.customer();
        let session = self.desk.session(&customer, &self.dentist).await;
        let mut patient = self.desk.connect(0, &customer).await;
        patient.send(&session, "k", "hello").await;
    }

    /// Jobs and their states, the oldest first.
    async fn jobs(&self) -> Vec<String> {
        let sql = "select state from jobs where queue = 'pushes' order by number";
        let rows = self.database.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Statements of the node that wait for a lock.
    async fn waits(&self) -> bool {
        let sql = "select 1 from pg_stat_activity where datname = current_database() \
                   and wait_event_type = 'Lock' and query like '%jobs%'";
        !self.watcher.query(sql, &[]).await.unwrap().is_empty()
    }

    async fn execute(&self, sql: &str) {
        self.database.batch_execute(sql).await.unwrap();
    }

    /// The node is killed and started again, and the lease of its job ends.
    async fn is_killed(&mut self, release: &str) {
        self.desk.nodes[0].kill().await;
        self.execute(release).await;
        self.execute("update jobs set run_at = now() where queue = 'pushes'").await;
        self.desk.nodes[0].restart().await;
    }

    async fn is_pushed_once(&self) {
        eventually("the push", async || !self.service.made_to(&self.dentist.id).is_empty()).await;
        eventually("the job is settled", async || self.jobs().await.is_empty()).await;
        assert_eq!(self.service.made_to(&self.dentist.id).len(), 1);
    }
}

const LOCK: &str = "begin; lock table jobs in access exclusive mode";

#[tokio::test]
async fn i16_f1_a_node_that_is_killed_between_commit_and_lease_loses_no_job() {
    let mut world = World::with_delay("4000").await;
    world.send().await;
    assert_eq!(world.jobs().await, ["waiting"]);
    world.is_killed("select 1").await;
    world.is_pushed_once().await;
}

#[tokio::test]
async fn i16_f1_a_node_that_is_killed_while_it_leases_loses_no_job() {
    let mut world = World::with_delay("4000").await;
    world.send().await;
    assert_eq!(world.jobs().await, ["waiting"]);
    world.execute(LOCK).await;
    eventually("the node leases", async || world.waits().await).await;
    world.is_killed("rollback").await;
    world.is_pushed_once().await;
}

#[tokio::test]
async fn i17_f1_a_node_that_is_killed_during_an_attempt_makes_its_effect_once() {
    let mut world = World::new().await;
    world.service.be(Mood::Hanging);
    world.send().await;
    eventually("an attempt", async || !world.service.asked().is_empty()).await;
    assert_eq!(world.jobs().await, ["taken"]);
    world.service.be(Mood::Well);
    // Whether the service finishes the request that lost its sender is the service's affair.
    world.is_killed("select 1").await;
    world.is_pushed_once().await;
}

#[tokio::test]
async fn i17_f1_a_node_that_is_killed_after_the_effect_repeats_the_job_and_not_the_effect() {
    let mut world = World::new().await;
    world.service.be(Mood::Hanging);
    world.send().await;
    eventually("an attempt", async || !world.service.asked().is_empty()).await;
    world.execute(LOCK).await;
    world.service.be(Mood::Well);
    eventually("the push", async || world.service.made_so_far() == 1).await;
    eventually("the node settles", async || world.waits().await).await;
    world.is_killed("rollback").await;
    eventually("it is repeated", async || world.service.asked().len() == 2).await;
    assert_eq!(world.service.asked()[0], world.service.asked()[1], "the same request");
    world.is_pushed_once().await;
}

#[tokio::test]
async fn i12_f31_a_push_that_the_version_before_has_left_is_made() {
    let mut world = World::new().await;
    let customer = world.desk.customer();
    let session = world.desk.session(&customer, &world.dentist).await;
    world.service.be(Mood::Failing(503));
    let mut patient = world.desk.connect(0, &customer).await;
    patient.send(&session, "k", "hello").await;
    // The row as a node of the version before would have written it.
    world.execute("delete from jobs").await;
    let sql = format!(
        "insert into push_jobs (session_id, kind, person_id, seq, due_at) \
         values ('{session}', 'dentist', '{}', 1, now() - interval '2 minutes'); \
         update schedules set slot = now() - interval '2 minutes'",
        world.dentist.id
    );
    world.desk.nodes[0].kill().await;
    world.execute("delete from jobs").await;
    world.execute(&sql).await;
    world.service.be(Mood::Well);
    world.desk.nodes[0].restart().await;
    world.is_pushed_once().await;
    let left = world.database.query_one("select count(*) from push_jobs", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn f20_dead_letters_are_listed_replayed_and_dropped_by_an_operator() {
    let world = World::new().await;
    world.service.be(Mood::Failing(400));
    for _ in 0..2 {
        world.send().await;
    }
    eventually("both are dead", async || world.jobs().await == ["dead", "dead"]).await;
    let database = world.desk.database.as_ref().unwrap();
    let port = database.port.to_string();
    let env = [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", &*port),
        ("POSTGRES_DB", &*database.name),
        ("POSTGRES_USER", "postgres"),
    ];
    let (code, listed) =
        said(&["jobs", "list", "--queue", "pushes", "--state", "dead"], &env).await;
    assert_eq!(code, Some(0), "{listed}");
    let lines: Vec<_> = listed.lines().filter(|line| line.contains("state=dead")).collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].contains("queue=pushes") && lines[0].contains("error=http_400"), "{listed}");
    assert!(!listed.contains(&world.dentist.id), "nobody is named: {listed}");
    let id = lines[0].split_whitespace().next().unwrap();

    let (code, text) = said(&["jobs", "drop", "--id", id], &env).await;
    assert_eq!((code, text.contains("1 jobs removed")), (Some(0), true), "{text}");
    world.service.be(Mood::Well);
    let (code, text) = said(&["jobs", "replay", "--all"], &env).await;
    assert_eq!((code, text.contains("1 dead letters run again")), (Some(0), true), "{text}");
    world.is_pushed_once().await;
    let (_, nothing) = said(&["jobs", "replay", "--queue", "pushes"], &env).await;
    assert!(nothing.contains("0 dead letters"), "{nothing}");

    for wrong in
        [&["jobs", "drop"][..], &["jobs", "drop", "--id", "7"], &["jobs", "list", "--state", "x"]]
    {
        let (code, text) = said(wrong, &env).await;
        assert_eq!(code, Some(2), "{wrong:?}: {text}");
    }
}
