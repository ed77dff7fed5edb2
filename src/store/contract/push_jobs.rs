//! The push queue.

use std::{sync::Arc, time::Duration};

use super::{
    committed,
    world::{World, append, draft},
};
use crate::{
    message::{Message, amend::Amendment},
    person::Person,
    session::SessionId,
    store::{
        Delivered, Store,
        push_jobs::{CONNECTED, PushCounts, PushJob, PushNotification},
    },
};

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
);

const LEASE: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::ZERO;

type Node = Arc<dyn Store>;

async fn say(node: &Node, id: SessionId, sender: &Person, body: &str) -> Message {
    // A concurrent take may hold the session's row.
    committed(&append(&**node, vec![draft(id, sender, body)]).await[0]).clone()
}

async fn take(node: &Node) -> Vec<PushJob> {
    node.lease_pushes(10, LEASE).await.unwrap()
}

async fn take_one(node: &Node) -> PushJob {
    let mut taken = take(node).await;
    assert_eq!(taken.len(), 1, "{taken:?}");
    taken.remove(0)
}

async fn told(node: &Node, job: &PushJob) -> Option<String> {
    node.load_notification(job).await.unwrap().and_then(|notification| notification.text)
}

async fn counts(node: &Node) -> (u64, u64, u64) {
    let PushCounts { waiting, taken, dead } = node.push_counts().await.unwrap();
    (waiting, taken, dead)
}

async fn set(world: &World, what: &str) {
    assert!(world.execute(&format!("update members set {what}")).await);
}

async fn a_burst_makes_one_job_for_the_other_member(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    let (patient, _, quiet) = world.pair().await;
    let burst: Vec<_> = ["one", "two"].map(|body| draft(id, &customer, body)).into();
    node.append(&burst).await.unwrap();
    say(&node, id, &customer, "three").await;
    // Refused: there is nothing to report.
    node.append(&[draft(quiet, &customer, "not a member")]).await.unwrap();
    assert_eq!(counts(&node).await, (1, 0, 0));
    let job = take_one(&node).await;
    assert_eq!((&job.person, job.session_id, job.seq, job.attempts), (&dentist, id, 1, 1));
    let latest = PushNotification { sender_name: "Ada".into(), text: Some("three".into()) };
    assert_eq!(node.load_notification(&job).await.unwrap(), Some(latest));
    node.finish_push(&job).await.unwrap();
    assert_eq!(counts(&node).await, (0, 0, 0));
    // Messages in both directions are two jobs.
    node.append(&[draft(id, &customer, "four"), draft(id, &dentist, "five")]).await.unwrap();
    let mut people: Vec<_> = take(&node).await.into_iter().map(|job| job.person).collect();
    people.sort_unstable_by_key(|person| person.kind.as_str());
    assert_eq!(people, [customer, dentist]);
    // A job becomes due after its delay, not before.
    let later = world.pushing(Duration::from_secs(600)).await;
    say(&later, quiet, &patient, "later").await;
    assert!(take(&node).await.is_empty());
}

async fn who_has_muted_gets_no_job_and_who_mutes_later_no_push(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    set(&world, "muted = true where kind = 'dentist'").await;
    node.append(&[draft(id, &customer, "psst"), draft(id, &dentist, "hello")]).await.unwrap();
    let job = take_one(&node).await;
    assert_eq!(job.person, customer);
    assert_eq!(told(&node, &job).await.as_deref(), Some("hello"));
    set(&world, "muted = true").await;
    assert_eq!(told(&node, &job).await, None);
}

async fn what_is_read_or_deleted_is_not_told(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, dentist, id) = world.pair().await;
    say(&node, id, &customer, "one").await;
    node.mark_read(&dentist, id, 1).await.unwrap();
    let job = take_one(&node).await;
    assert_eq!(told(&node, &job).await, None, "it was read on another device");
    node.finish_push(&job).await.unwrap();
    say(&node, id, &customer, "two").await;
    let three = say(&node, id, &customer, "three").await;
    node.amend(&customer, id, three.id, &Amendment::Delete).await.unwrap().unwrap();
    let job = take_one(&node).await;
    assert_eq!(told(&node, &job).await.as_deref(), Some("two"), "what was deleted is gone");
    node.finish_push(&job).await.unwrap();
    let four = say(&node, id, &customer, "four").await;
    node.amend(&customer, id, four.id, &Amendment::Delete).await.unwrap().unwrap();
    let job = take_one(&node).await;
    assert_eq!(told(&node, &job).await, None, "what was told before is not told again");
}

async fn f20_a_repeated_send_makes_no_second_job(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, _, id) = world.pair().await;
    let draft = draft(id, &customer, "once");
    for _ in 0..2 {
        node.append(std::slice::from_ref(&draft)).await.unwrap();
        for job in take(&node).await {
            node.finish_push(&job).await.unwrap();
        }
    }
    node.append(&[draft]).await.unwrap();
    assert_eq!(counts(&node).await, (0, 0, 0));
}

async fn f1_a_job_is_one_nodes_until_its_lease_runs_out(world: World) {
    let (node, other) = (world.pushing(AT_ONCE).await, world.another_node().await);
    let people = [world.pair().await, world.pair().await, world.pair().await];
    for (customer, _, id) in &people {
        say(&node, *id, customer, "x").await;
    }
    let (mine, yours) = tokio::join!(take(&node), take(&other));
    assert_eq!(mine.len() + yours.len(), 3, "each is taken once");
    assert!(take(&other).await.is_empty());
    let (customer, _, id) = &people[0];
    say(&node, *id, customer, "y").await;
    let job = node.lease_pushes(10, AT_ONCE).await.unwrap().remove(0);
    // The node that held it has died.
    let again = take_one(&other).await;
    assert_eq!((again.id, again.attempts), (job.id, 2), "the same push, so that it is made once");
}

async fn f20_a_job_is_put_off_or_given_up_by_who_holds_it(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, _, id) = world.pair().await;
    say(&node, id, &customer, "x").await;
    let first = node.lease_pushes(10, AT_ONCE).await.unwrap().remove(0);
    let second = take_one(&node).await;
    // Its lease has expired: its results no longer count.
    node.reschedule_push(&first, AT_ONCE, "timeout").await.unwrap();
    node.dead_letter_push(&first, "http_400").await.unwrap();
    assert!(take(&node).await.is_empty());
    assert_eq!(counts(&node).await, (0, 1, 0));
    node.reschedule_push(&second, LEASE, "timeout").await.unwrap();
    assert!(take(&node).await.is_empty());
    node.reschedule_push(&second, AT_ONCE, "timeout").await.unwrap();
    let third = take_one(&node).await;
    assert_eq!((third.id, third.attempts), (first.id, 3));
    node.dead_letter_push(&third, "http_400").await.unwrap();
    assert!(take(&node).await.is_empty());
    assert_eq!(counts(&node).await, (0, 0, 1));
    node.forget_dead_pushes(LEASE).await.unwrap();
    assert_eq!(counts(&node).await, (0, 0, 1));
    node.forget_dead_pushes(AT_ONCE).await.unwrap();
    assert_eq!(counts(&node).await, (0, 0, 0));
}

async fn f22_a_job_that_waits_for_who_looked_connected_is_due_when_they_are_gone(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, gone, id) = world.pair().await;
    let (other, stays, elsewhere) = world.pair().await;
    say(&node, id, &customer, "x").await;
    say(&node, elsewhere, &other, "y").await;
    for job in take(&node).await {
        node.reschedule_push(&job, LEASE, CONNECTED).await.unwrap();
    }
    // A delivered message needs no push.
    let delivered = Delivered { session_id: elsewhere, to: stays.clone(), seq: 1 };
    node.mark_delivered(&[delivered]).await.unwrap();
    for person in [&gone, &stays] {
        node.hasten_pushes(person).await.unwrap();
    }
    let job = take_one(&node).await;
    assert_eq!((&job.person, job.attempts), (&gone, 2));
    // The job is under way now, then rescheduled for another reason.
    node.hasten_pushes(&gone).await.unwrap();
    node.reschedule_push(&job, LEASE, "timeout").await.unwrap();
    node.hasten_pushes(&gone).await.unwrap();
    assert!(take(&node).await.is_empty());
}

async fn a_message_that_comes_while_a_job_is_taken_is_told_once(world: World) {
    let node = world.pushing(AT_ONCE).await;
    let (customer, _, id) = world.pair().await;
    say(&node, id, &customer, "one").await;
    let first = take_one(&node).await;
    say(&node, id, &customer, "two").await;
    assert_eq!(told(&node, &first).await, None, "the later job tells of both");
    let second = take_one(&node).await;
    assert!(second.id != first.id && second.seq == 2);
    assert_eq!(told(&node, &second).await.as_deref(), Some("two"));
    // A dead letter reports nothing.
    node.dead_letter_push(&second, "http_400").await.unwrap();
    assert_eq!(told(&node, &first).await.as_deref(), Some("two"));
    // The first job is rescheduled; meanwhile a later one sends its push.
    node.reschedule_push(&first, LEASE, "timeout").await.unwrap();
    say(&node, id, &customer, "three").await;
    let third = take_one(&node).await;
    let (stranger, _, elsewhere) = world.pair().await;
    say(&node, elsewhere, &stranger, "x").await;
    node.finish_push(&third).await.unwrap();
    assert_eq!(counts(&node).await, (1, 0, 1), "the first is told too; no other is touched");
    let other = take_one(&node).await;
    assert_eq!(other.session_id, elsewhere);
    node.drop_push(other.id).await.unwrap();
    assert_eq!(counts(&node).await, (0, 0, 1));
}

/// Takes and finishes all due jobs. Returns the last reported text.
async fn tell_all(node: &Node) -> Option<String> {
    let mut last = None;
    for job in take(node).await {
        last = told(node, &job).await.or(last);
        node.finish_push(&job).await.unwrap();
    }
    last
}

async fn no_message_of_a_burst_falls_between_two_jobs(world: World) {
    let (node, other) = (world.pushing(AT_ONCE).await, world.pushing(AT_ONCE).await);
    let (customer, _, id) = world.pair().await;
    for round in 0..60 {
        say(&node, id, &customer, "first").await;
        let second = round.to_string();
        // Its job is taken at the very moment when the second message would join it.
        let early = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            tell_all(&other).await
        };
        let (_, early) = tokio::join!(say(&node, id, &customer, &second), early);
        let late = tell_all(&node).await;
        assert_eq!(late.or(early), Some(second));
    }
}

async fn a_store_that_makes_no_pushes_writes_no_jobs(world: World) {
    let (customer, _, id) = world.pair().await;
    world.say(id, &customer, 2).await;
    assert_eq!(counts(&world.store).await, (0, 0, 0));
}
