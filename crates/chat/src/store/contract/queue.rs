//! The writer's queue, with a database that makes it wait.

use super::{
    committed,
    committer::writer,
    world::{Acting, Database, World, draft},
};
use model::{ids::SessionId, person::Person};

#[tokio::test(flavor = "multi_thread")]
async fn f16_i8_what_does_not_fit_the_queue_is_answered_busy_and_the_rest_is_committed() {
    let world = World::on_sqlite();
    let (customer, dentist, id) = world.pair().await;
    let writer = writer(world.store.clone());
    let Database::Sqlite(path, _) = &world.database else { unreachable!() };
    let slow = rusqlite::Connection::open(path).unwrap();
    slow.execute_batch("begin immediate").unwrap();
    let submitted: Vec<_> = (0..9_500).map(|_| writer.submit(draft(id, &customer, "x"))).collect();
    slow.execute_batch("rollback").unwrap();
    let (taken, busy): (Vec<_>, Vec<_>) = submitted.into_iter().partition(Result::is_ok);
    assert!(busy.len() > 500, "the queue is bounded");
    let error = busy.into_iter().next().unwrap().unwrap_err();
    assert!(error.code() == "busy" && error.retry_after().is_some());
    let mut seq = 0;
    for pending in taken {
        seq += 1;
        assert_eq!(committed(&pending.unwrap().decided().await.unwrap()).seq, seq);
    }
    let head = world.store.session(&dentist.scope(), id).await.unwrap().unwrap().last_seq;
    assert_eq!(head, seq, "what was refused is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_nobody_waits_in_the_queue_for_longer_than_a_try_takes() {
    let world = World::on_sqlite();
    let people = [world.pair().await, world.pair().await, world.pair().await];
    let writer = writer(world.store.clone());
    let Database::Sqlite(path, _) = &world.database else { unreachable!() };
    let stuck = rusqlite::Connection::open(path).unwrap();
    stuck.execute_batch("begin immediate").unwrap();
    let started = std::time::Instant::now();
    let send = |(customer, _, id): &(Person, Person, SessionId)| {
        writer.submit(draft(*id, customer, "x")).unwrap()
    };
    let pending: Vec<_> = (0..2_000).map(|number| send(&people[number % 3])).collect();
    for pending in pending {
        assert_eq!(pending.decided().await.unwrap_err().code(), "unavailable");
    }
    // 8 s in the queue, plus the try that was under way.
    assert!(started.elapsed().as_secs() < 18, "{:?}", started.elapsed());
}
