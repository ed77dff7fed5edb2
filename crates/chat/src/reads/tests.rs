use std::future::Future;

use prometheus_client::registry::Registry;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{advance, pause},
};

use crate::reads::*;
use model::{ids::TenantId, person::Side};

fn person(id: &str) -> Person {
    Person::new(TenantId::MAIN, Side::Contact, id.parse().unwrap())
}

fn reads() -> Arc<Reads> {
    Arc::new(Reads::new(ReadCounts::new(&mut Registry::default())))
}

/// A read that waits in its own task. It is in the queue when this returns.
async fn waiting(
    reads: &Arc<Reads>,
    operation: Operation,
    person: &Person,
) -> JoinHandle<Result<ReadPermit, Error>> {
    let (reads, person) = (Arc::clone(reads), person.clone());
    let before = total(reads.queue(operation));
    let task = tokio::spawn({
        let reads = Arc::clone(&reads);
        async move { reads.permit(operation, &person).await }
    });
    until(|| total(reads.queue(operation)) > before || task.is_finished()).await;
    task
}

/// Number of reads that wait or are under way.
fn total(queue: &Queue) -> usize {
    let state = queue.state();
    state.people.values().map(|share| share.under_way + share.waiting.len()).sum()
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        yield_now().await;
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn assert_empty(reads: &Reads) {
    for queue in [&reads.pages, &reads.searches, &reads.lists, &reads.opens, &reads.pictures] {
        let state = queue.state();
        assert!(state.people.is_empty() && state.ready.is_empty() && state.under_way == 0);
    }
}

async fn permitted(
    read: impl Future<Output = Result<Result<ReadPermit, Error>, tokio::task::JoinError>>,
) -> ReadPermit {
    timeout(Duration::from_secs(5), read).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_person_has_one_read_of_a_kind_under_way_and_of_other_kinds_too() {
    let (reads, ada) = (reads(), person("ada"));
    let first = reads.permit(Operation::Join, &ada).await.unwrap();
    let other_kind = reads.permit(Operation::Search, &ada).await.unwrap();
    // Joins and history are of one kind.
    let second = waiting(&reads, Operation::History, &ada).await;
    settle().await;
    assert!(!second.is_finished());
    drop(first);
    drop(permitted(second).await);
    drop(other_kind);
    assert_empty(&reads);
}

#[tokio::test]
async fn a_hundred_reads_of_one_person_stand_in_front_of_nobody() {
    let (reads, ada, bob) = (reads(), person("ada"), person("bob"));
    // The node is full.
    let mut others = Vec::new();
    for number in 0..SEARCHES.node {
        let other = person(&format!("other-{number}"));
        others.push(reads.permit(Operation::Search, &other).await.unwrap());
    }
    let mut many = Vec::new();
    for _ in 0..SEARCHES.waiting {
        many.push(waiting(&reads, Operation::Search, &ada).await);
    }
    let one = waiting(&reads, Operation::Search, &bob).await;
    // Two turns: the first goes to `ada`, the second to `bob`.
    others.truncate(SEARCHES.node - 2);
    drop(permitted(one).await);
    settle().await;
    let finished = many.iter().filter(|task| task.is_finished()).count();
    assert_eq!(finished, 1, "one at a time");
    for task in many {
        drop(permitted(task).await);
    }
    drop(others);
    assert_empty(&reads);
}

#[tokio::test]
async fn too_much_that_waits_is_refused_with_a_time_to_retry() {
    let (reads, ada, bob) = (reads(), person("ada"), person("bob"));
    let under_way = reads.permit(Operation::Search, &ada).await.unwrap();
    let mut many = Vec::new();
    for _ in 0..SEARCHES.waiting {
        many.push(waiting(&reads, Operation::Search, &ada).await);
    }
    let refused = reads.permit(Operation::Search, &ada).await.unwrap_err();
    assert!(matches!(refused, Error::RateLimited(RETRY)));
    assert_eq!(reads.counts.of(Operation::Search).refused.get(), 1);
    drop(reads.permit(Operation::Search, &bob).await.unwrap());
    // The rest of a permitted read is never refused.
    let rest = reads.permit_rest(Operation::Search, &ada);
    drop(under_way);
    let all = async {
        for task in many {
            drop(permitted(task).await);
        }
    };
    drop(tokio::join!(rest, all).0);
    assert_empty(&reads);
}

#[tokio::test]
async fn a_read_that_waits_for_too_long_is_refused() {
    pause();
    let (reads, ada) = (reads(), person("ada"));
    let under_way = reads.permit(Operation::List, &ada).await.unwrap();
    let late = reads.permit(Operation::Unread, &ada).await;
    assert!(matches!(late, Err(Error::Busy)));
    assert_eq!(reads.counts.of(Operation::Unread).refused.get(), 1);
    drop(under_way);
    // It took long, so a rest follows.
    advance(REST_MAX).await;
    drop(reads.permit(Operation::List, &ada).await.unwrap());
    assert_empty(&reads);
}

#[tokio::test]
async fn f30_a_read_whose_client_is_gone_leaves_nothing_behind() {
    let (reads, ada, bob) = (reads(), person("ada"), person("bob"));
    let under_way = reads.permit(Operation::Join, &ada).await.unwrap();
    let gone = waiting(&reads, Operation::Join, &ada).await;
    let stays = waiting(&reads, Operation::Join, &ada).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    drop(under_way);
    drop(permitted(stays).await);
    assert_empty(&reads);
    // The permit may be on its way to a read that gives up.
    let queue = &reads.pages;
    let waits: Vec<_> = (0..3).map(|_| queue.push(&bob)).collect();
    assert_eq!(queue.state().under_way, 1);
    assert_eq!(total(queue), 3);
    drop(waits);
    assert_empty(&reads);
}

#[tokio::test]
async fn a_long_read_is_followed_by_a_rest_and_the_node_is_free_meanwhile() {
    pause();
    let (reads, ada, bob) = (reads(), person("ada"), person("bob"));
    let long = reads.permit(Operation::List, &ada).await.unwrap();
    advance(Duration::from_millis(300)).await;
    drop(long);
    assert_eq!(reads.lists.state().under_way, 0);
    drop(reads.permit(Operation::List, &bob).await.unwrap());
    let began = Instant::now();
    drop(reads.permit(Operation::List, &ada).await.unwrap());
    let rested = began.elapsed();
    assert!((299..310).contains(&rested.as_millis()), "{rested:?}");
    // After a short read there is no rest.
    let began = Instant::now();
    drop(reads.permit(Operation::List, &ada).await.unwrap());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_empty(&reads);
}
