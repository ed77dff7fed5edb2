//! The push queue.

use std::{ops::Deref, slice::from_ref, sync::Arc, time::Duration};

use super::{
    committed,
    world::{Acting, Database, World, append, draft},
};
use crate::{
    pushes::{CONNECTED, Push, PushNotification, PushTable, QUEUE},
    store::Store,
};
use db::jobs::JobTable;
use model::{
    ids::SessionId,
    message::{Message, amend::Amendment},
    person::Person,
    session::Delivered,
};
use platform::{jobs::Job, new_id};

contract!(
    a_burst_makes_one_job_for_the_other_member,
    who_has_muted_gets_no_job_and_who_mutes_later_no_push,
    what_is_read_or_deleted_is_not_told,
    f20_a_repeated_send_makes_no_second_job,
    f1_a_job_is_one_nodes_until_its_lease_runs_out,
    f20_a_job_is_put_off_or_given_up_by_who_holds_it,
    f22_a_job_that_waits_for_who_looked_connected_is_due_when_they_are_gone,
    a_message_that_comes_while_a_job_is_taken_is_told_once,
    no_message_of_a_burst_falls_between_two_jobs,
    a_store_that_makes_no_pushes_writes_no_jobs,
    i12_a_job_of_the_version_before_is_moved_and_hides_no_newer_one,
);

const LEASE: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::ZERO;

const MAIN: i64 = 1;

/// A node that makes pushes: its store, and the rows behind pushes.
struct Node {
    store: Arc<dyn Store>,
    pushes: PushTable,
    jobs: JobTable,
}

impl Deref for Node {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

impl Node {
    async fn of(world: &World, delay: Duration) -> Self {
        let handle = world.another_handle().await;
        let (store, jobs) = (world.pushing(delay).await, JobTable(handle.clone()));
        Self { store, pushes: PushTable(handle), jobs }
    }

    async fn lease(&self, lease: Duration) -> Vec<(Job, Push)> {
        let jobs = self.jobs.lease(QUEUE, MAIN, 10, lease).await.unwrap();
        let pushes = jobs.into_iter().map(|job| {
            let push = Push::of(&job).expect("the payload is readable");
            (job, push)
        });
        pushes.collect()
    }

    async fn take(&self) -> Vec<(Job, Push)> {
        self.lease(LEASE).await
    }

    async fn take_one(&self) -> (Job, Push) {
        let mut taken = self.take().await;
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    async fn load(&self, (job, push): &(Job, Push)) -> Option<PushNotification> {
        self.pushes.load(job, push).await.unwrap()
    }

    async fn told(&self, job: &(Job, Push)) -> Option<String> {
        self.load(job).await.and_then(|notification| notification.text)
    }

    async fn finish(&self, (job, _): &(Job, Push)) {
        self.jobs.finish(QUEUE, job).await.unwrap();
    }

    async fn reschedule(&self, (job, _): &(Job, Push), after: Duration, error: &str) {
        self.jobs.reschedule(job, after, error).await.unwrap();
    }

    async fn say(&self, id: SessionId, sender: &Person, body: &str) -> Message {
        // A concurrent lease may hold the session's row.
        committed(&append(&*self.store, vec![draft(id, sender, body)]).await[0]).clone()
    }

    /// Numbers of jobs that wait, are taken, and are dead.
    async fn counts(&self) -> (u64, u64, u64) {
        let counts = self.jobs.counts().await.unwrap();
        let of =
            |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.jobs);
        (of("waiting"), of("taken"), of("dead"))
    }
}

async fn set(world: &World, what: &str) {
    assert!(world.execute(&format!("update members set {what}")).await);
}

async fn a_burst_makes_one_job_for_the_other_member(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    let (patient, _, quiet) = world.pair().await;
    let burst: Vec<_> = ["one", "two"].map(|body| draft(id, &customer, body)).into();
    node.append(&burst).await.unwrap();
    node.say(id, &customer, "three").await;
    // Refused: there is nothing to report.
    node.append(&[draft(quiet, &customer, "not a member")]).await.unwrap();
    assert_eq!(node.counts().await, (1, 0, 0));
    let job = node.take_one().await;
    assert_eq!((&job.1.person, job.1.session_id, job.1.seq, job.0.attempts), (&dentist, id, 1, 1));
    let latest = PushNotification { sender_name: "Ada".into(), text: Some("three".into()) };
    assert_eq!(node.load(&job).await, Some(latest));
    node.finish(&job).await;
    assert_eq!(node.counts().await, (0, 0, 0));
    // Messages in both directions are two jobs.
    node.append(&[draft(id, &customer, "four"), draft(id, &dentist, "five")]).await.unwrap();
    let mut people: Vec<_> = node.take().await.into_iter().map(|job| job.1.person).collect();
    people.sort_unstable_by_key(|person| person.side.as_str());
    assert_eq!(people, [customer, dentist]);
    // A job becomes due after its delay, not before.
    let later = Node::of(&world, Duration::from_secs(600)).await;
    later.say(quiet, &patient, "later").await;
    assert!(node.take().await.is_empty());
}

async fn who_has_muted_gets_no_job_and_who_mutes_later_no_push(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    set(&world, "muted = true where kind = 'dentist'").await;
    node.append(&[draft(id, &customer, "psst"), draft(id, &dentist, "hello")]).await.unwrap();
    let job = node.take_one().await;
    assert_eq!(job.1.person, customer);
    assert_eq!(node.told(&job).await.as_deref(), Some("hello"));
    set(&world, "muted = true").await;
    assert_eq!(node.told(&job).await, None);
}

async fn what_is_read_or_deleted_is_not_told(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    node.say(id, &customer, "one").await;
    node.mark_read(&dentist.scope(), id, 1).await.unwrap();
    let job = node.take_one().await;
    assert_eq!(node.told(&job).await, None, "it was read on another device");
    node.finish(&job).await;
    node.say(id, &customer, "two").await;
    let three = node.say(id, &customer, "three").await;
    node.amend(&customer.scope(), id, three.id, &Amendment::Delete).await.unwrap().unwrap();
    let job = node.take_one().await;
    assert_eq!(node.told(&job).await.as_deref(), Some("two"), "what was deleted is gone");
    node.finish(&job).await;
    let four = node.say(id, &customer, "four").await;
    node.amend(&customer.scope(), id, four.id, &Amendment::Delete).await.unwrap().unwrap();
    let job = node.take_one().await;
    assert_eq!(node.told(&job).await, None, "what was told before is not told again");
}

async fn f20_a_repeated_send_makes_no_second_job(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, _, id) = world.pair().await;
    let draft = draft(id, &customer, "once");
    for _ in 0..2 {
        node.append(std::slice::from_ref(&draft)).await.unwrap();
        for job in node.take().await {
            node.finish(&job).await;
        }
    }
    node.append(&[draft]).await.unwrap();
    assert_eq!(node.counts().await, (0, 0, 0));
}

async fn f1_a_job_is_one_nodes_until_its_lease_runs_out(world: World) {
    let (node, other) = (Node::of(&world, AT_ONCE).await, Node::of(&world, AT_ONCE).await);
    let people = [world.pair().await, world.pair().await, world.pair().await];
    for (customer, _, id) in &people {
        node.say(*id, customer, "x").await;
    }
    let (mine, yours) = tokio::join!(node.take(), other.take());
    assert_eq!(mine.len() + yours.len(), 3, "each is taken once");
    assert!(other.take().await.is_empty());
    let (customer, _, id) = &people[0];
    node.say(*id, customer, "y").await;
    let job = node.lease(AT_ONCE).await.remove(0);
    // The node that held it has died.
    let again = other.take_one().await;
    assert_eq!(
        (again.0.id, again.0.attempts),
        (job.0.id, 2),
        "the same push, so that it is made once"
    );
}

async fn f20_a_job_is_put_off_or_given_up_by_who_holds_it(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, _, id) = world.pair().await;
    node.say(id, &customer, "x").await;
    let first = node.lease(AT_ONCE).await.remove(0);
    let second = node.take_one().await;
    // Its lease has expired: its results no longer count.
    node.reschedule(&first, AT_ONCE, "timeout").await;
    node.jobs.dead_letter(&first.0, "http_400").await.unwrap();
    assert!(node.take().await.is_empty());
    assert_eq!(node.counts().await, (0, 1, 0));
    node.reschedule(&second, LEASE, "timeout").await;
    assert!(node.take().await.is_empty());
    node.reschedule(&second, AT_ONCE, "timeout").await;
    let third = node.take_one().await;
    assert_eq!((third.0.id, third.0.attempts), (first.0.id, 3));
    node.jobs.dead_letter(&third.0, "http_400").await.unwrap();
    assert!(node.take().await.is_empty());
    assert_eq!(node.counts().await, (0, 0, 1));
    node.jobs.forget_dead(LEASE, 10).await.unwrap();
    assert_eq!(node.counts().await, (0, 0, 1));
    node.jobs.forget_dead(AT_ONCE, 10).await.unwrap();
    assert_eq!(node.counts().await, (0, 0, 0));
}

async fn f22_a_job_that_waits_for_who_looked_connected_is_due_when_they_are_gone(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, gone, id) = world.pair().await;
    let (other, stays, elsewhere) = world.pair().await;
    node.say(id, &customer, "x").await;
    node.say(elsewhere, &other, "y").await;
    for job in node.take().await {
        node.reschedule(&job, LEASE, CONNECTED).await;
    }
    // A delivered message needs no push.
    let delivered = Delivered { session_id: elsewhere, to: stays.clone(), seq: 1 };
    node.mark_delivered(&[delivered]).await.unwrap();
    node.pushes.hasten(&[gone.clone(), stays.clone()]).await.unwrap();
    let job = node.take_one().await;
    assert_eq!((&job.1.person, job.0.attempts), (&gone, 2));
    // The job is under way now, then rescheduled for another reason.
    node.pushes.hasten(from_ref(&gone)).await.unwrap();
    node.reschedule(&job, LEASE, "timeout").await;
    node.pushes.hasten(from_ref(&gone)).await.unwrap();
    assert!(node.take().await.is_empty());
}

async fn a_message_that_comes_while_a_job_is_taken_is_told_once(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, _, id) = world.pair().await;
    node.say(id, &customer, "one").await;
    let first = node.take_one().await;
    node.say(id, &customer, "two").await;
    assert_eq!(node.told(&first).await, None, "the later job tells of both");
    let second = node.take_one().await;
    assert!(second.0.id != first.0.id && second.1.seq == 2);
    assert_eq!(node.told(&second).await.as_deref(), Some("two"));
    // A dead letter reports nothing.
    node.jobs.dead_letter(&second.0, "http_400").await.unwrap();
    assert_eq!(node.told(&first).await.as_deref(), Some("two"));
    // The first job is rescheduled; meanwhile a later one sends its push.
    node.reschedule(&first, LEASE, "timeout").await;
    node.say(id, &customer, "three").await;
    let third = node.take_one().await;
    let (stranger, _, elsewhere) = world.pair().await;
    node.say(elsewhere, &stranger, "x").await;
    node.finish(&third).await;
    assert_eq!(node.counts().await, (1, 0, 1), "the first is told too; no other is touched");
    let other = node.take_one().await;
    assert_eq!(other.1.session_id, elsewhere);
    node.jobs.drop(&other.0).await.unwrap();
    assert_eq!(node.counts().await, (0, 0, 1));
}

/// Takes and finishes all due jobs. Returns the last reported text.
async fn tell_all(node: &Node) -> Option<String> {
    let mut last = None;
    for job in node.take().await {
        last = node.told(&job).await.or(last);
        node.finish(&job).await;
    }
    last
}

async fn no_message_of_a_burst_falls_between_two_jobs(world: World) {
    let (node, other) = (Node::of(&world, AT_ONCE).await, Node::of(&world, AT_ONCE).await);
    let (customer, _, id) = world.pair().await;
    for round in 0..60 {
        node.say(id, &customer, "first").await;
        let second = round.to_string();
        // Its job is taken at the very moment when the second message would join it.
        let early = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            tell_all(&other).await
        };
        let (_, early) = tokio::join!(node.say(id, &customer, &second), early);
        let late = tell_all(&node).await;
        assert_eq!(late.or(early), Some(second));
    }
}

async fn a_store_that_makes_no_pushes_writes_no_jobs(world: World) {
    let (customer, _, id) = world.pair().await;
    world.say(id, &customer, 2).await;
    assert_eq!(Node::of(&world, AT_ONCE).await.counts().await, (0, 0, 0));
}

async fn i12_a_job_of_the_version_before_is_moved_and_hides_no_newer_one(world: World) {
    let node = Node::of(&world, AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    node.say(id, &customer, "one").await;
    node.jobs.drop(&node.take_one().await.0).await.unwrap();
    node.say(id, &customer, "two").await;
    let newer = node.take_one().await;
    let (due_at, created_at) = match &world.database {
        Database::Postgres(_) => ("now() - interval '2 minutes'", "now()"),
        Database::Sqlite(..) => ("0", "0"),
    };
    let (session, person, job) = (id.0, dentist.id.as_str(), new_id());
    let left = format!(
        "insert into push_jobs (id, session_id, kind, person_id, seq, due_at, created_at) \
         values ('{job}', '{session}', 'dentist', '{person}', 1, {due_at}, {created_at})"
    );
    assert!(world.execute(&left).await);
    assert_eq!((node.pushes.adopt().await.unwrap(), node.pushes.adopt().await.unwrap()), (1, 0));
    assert_eq!(world.count("select count(*) from push_jobs").await, 0);
    let adopted = node.take_one().await;
    assert_eq!((adopted.0.id, adopted.0.attempts), (job, 1));
    assert_eq!((&adopted.1.person, adopted.1.session_id, adopted.1.seq), (&dentist, id, 1));
    assert!(adopted.0.number > newer.0.number);
    assert_eq!(node.told(&newer).await.as_deref(), Some("two"));
}
