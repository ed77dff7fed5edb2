//! The committer with one session in trouble: other sessions are not affected. Only PostgreSQL has
//! row locks and slow statements.

use std::{sync::Arc, time::Duration};

use frontdesk_test_support::eventually;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{
    committed,
    world::{Acting, Database, World, draft},
};
use crate::{
    store::{Appended, HistoryRange, PatchOutcome, SessionPatch, Store},
    writer::{Commits, Pending, Writer, WriterParts, counts::WriterCounts},
};
use bus::{counts::BusCounts, one_node::OneNode};
use model::{ids::SessionId, message::amend::Amendment, person::Person, session::Delivered};
use platform::{jobs::JobsDue, tasks::Tasks};
use protocol::error::Error;

/// Time limit of a send that is unrelated to the trouble, on a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// Longer than any lock that the tests hold.
const LONG: Duration = Duration::from_secs(3_600);

/// A writer on this store; its publishes have no receiver.
pub(super) fn writer(store: Arc<dyn Store>) -> Writer {
    let (bus, _events) = OneNode::open(BusCounts::default());
    Writer::start(WriterParts {
        tasks: Tasks::default(),
        store,
        bus: Arc::new(bus),
        inbox: Arc::default(),
        counts: WriterCounts::default(),
        due: JobsDue::default(),
    })
}

/// A transaction that holds the statement's locks until it is rolled back.
async fn hold(world: &World, sql: &str) -> tokio_postgres::Client {
    let Database::Postgres(database) = &world.database else { unreachable!() };
    let client = database.client().await;
    client.batch_execute(&format!("begin; {sql}")).await.unwrap();
    client
}

async fn decided(sends: Vec<Pending>) -> Vec<Result<Appended, Error>> {
    join_all(sends.into_iter().map(Pending::decided)).await
}

fn seqs(decided: &[Result<Appended, Error>]) -> Vec<u64> {
    decided.iter().map(|sent| committed(sent.as_ref().unwrap()).seq).collect()
}

/// Submits sends of the pairs in rotation.
fn send_each(writer: &Writer, pairs: &[(Person, Person, SessionId)], count: usize) -> Vec<Pending> {
    let sends = (0..count).map(|number| {
        let (customer, _, id) = &pairs[number % pairs.len()];
        writer.submit(draft(*id, customer, &number.to_string())).unwrap()
    });
    sends.collect()
}

async fn pairs(world: &World, count: usize) -> Vec<(Person, Person, SessionId)> {
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push(world.pair().await);
    }
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_i6_sends_of_a_locked_session_wait_in_order_and_all_others_are_committed() {
    let world = World::on_postgres().await;
    let pairs = pairs(&world, 10).await;
    let (customer, dentist, locked) = world.pair().await;
    let writer = writer(Arc::clone(&world.store));
    let row = format!("select 1 from sessions where id = '{}' for update", locked.0);
    let holder = hold(&world, &row).await;
    let began = Instant::now();
    let (mut waiting, mut others) = (Vec::new(), Vec::new());
    for number in 0..20 {
        let sender = if number % 2 == 0 { &customer } else { &dentist };
        waiting.push(writer.submit(draft(locked, sender, &number.to_string())).unwrap());
        others.extend(send_each(&writer, &pairs, 10));
    }
    let others = timeout(SOON, decided(others)).await.expect("they wait for the locked session");
    assert!(others.iter().all(Result::is_ok));
    assert!(world.history(&customer, locked, HistoryRange::After(0), 1).await.is_empty());
    assert_eq!((writer.commits(), writer.troubled()), (Commits::Ok, 1));
    // Later batches are committed too, not only the first.
    while began.elapsed() < Duration::from_secs(2) {
        let sent = Instant::now();
        decided(send_each(&writer, &pairs, 10)).await;
        assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    }
    holder.batch_execute("rollback").await.unwrap();
    let decided = timeout(SOON, decided(waiting)).await.expect("the lock is gone");
    assert_eq!(seqs(&decided), (1..=20).collect::<Vec<_>>());
    eventually("it is as any other", async || writer.troubled() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_senders_of_a_session_that_stays_locked_are_answered_and_the_node_is_well() {
    let world = World::on_postgres().await;
    let pairs = pairs(&world, 3).await;
    let (customer, _, locked) = world.pair().await;
    let writer = writer(Arc::clone(&world.store));
    let row = format!("select 1 from sessions where id = '{}' for update", locked.0);
    let holder = hold(&world, &row).await;
    let began = Instant::now();
    let waiting = writer.submit(draft(locked, &customer, "x")).unwrap();
    let mut waiting = tokio::spawn(waiting.decided());
    let answer = loop {
        if let Ok(answer) = timeout(Duration::from_millis(100), &mut waiting).await {
            break answer.unwrap();
        }
        assert_eq!(writer.commits(), Commits::Ok, "one session's trouble is not the node's");
        assert!(decided(send_each(&writer, &pairs, 3)).await.iter().all(Result::is_ok));
    };
    assert_eq!(answer.unwrap_err().code(), "unavailable");
    assert!((7..14).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(holder);
    let again = writer.submit(draft(locked, &customer, "again")).unwrap();
    let again = timeout(SOON, again.decided()).await.expect("the lock is gone");
    assert_eq!(committed(&again.unwrap()).seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_locked_row_that_one_send_needs_keeps_only_its_session_waiting() {
    let world = World::on_postgres().await;
    let store = world.pushing(LONG).await;
    let pairs = pairs(&world, 10).await;
    let (customer, _, id) = world.pair().await;
    store.append(&[draft(id, &customer, "0")]).await.unwrap();
    let writer = writer(Arc::clone(&store));
    // Its next send waits to see whether this job is still waiting.
    let job = format!("update push_jobs set state = 'taken' where session_id = '{}'", id.0);
    let holder = hold(&world, &job).await;
    let mut sends = send_each(&writer, &pairs, 30);
    let waiting = (1..=3).map(|number| draft(id, &customer, &number.to_string()));
    let waiting: Vec<_> = waiting.map(|draft| writer.submit(draft).unwrap()).collect();
    sends.extend(send_each(&writer, &pairs, 30));
    let sends = timeout(SOON, decided(sends)).await.expect("they wait for that one");
    assert!(sends.iter().all(Result::is_ok));
    // The cause is known now: no other send waits at all.
    for _ in 0..20 {
        let sent = Instant::now();
        assert!(decided(send_each(&writer, &pairs, 10)).await.iter().all(Result::is_ok));
        assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    }
    holder.batch_execute("rollback").await.unwrap();
    let waiting = timeout(SOON * 2, decided(waiting)).await.expect("the lock is gone");
    assert_eq!(seqs(&waiting), [2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_send_that_the_database_takes_too_long_for_is_answered_and_the_others_are_committed() {
    let world = World::on_postgres().await;
    let pairs = pairs(&world, 10).await;
    let (customer, dentist, id) = world.pair().await;
    let slow = "create function slow() returns trigger language plpgsql as $$ begin \
                perform pg_sleep(30); return new; end $$; \
                create trigger slow before insert on messages for each row \
                when (new.body = 'slow') execute function slow()";
    assert!(world.execute(slow).await);
    let writer = writer(Arc::clone(&world.store));
    let began = Instant::now();
    let mut sends = send_each(&writer, &pairs, 20);
    let bad = tokio::spawn(writer.submit(draft(id, &customer, "slow")).unwrap().decided());
    let behind = tokio::spawn(writer.submit(draft(id, &dentist, "behind it")).unwrap().decided());
    sends.extend(send_each(&writer, &pairs, 20));
    let sends = decided(sends).await;
    assert!(sends.iter().all(Result::is_ok), "they go without the bad one");
    assert!(!bad.is_finished(), "{:?}", began.elapsed());
    while !bad.is_finished() {
        let sent = Instant::now();
        assert!(decided(send_each(&writer, &pairs, 10)).await.iter().all(Result::is_ok));
        assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
        assert_eq!(writer.commits(), Commits::Ok, "one session's trouble is not the node's");
    }
    assert_eq!(bad.await.unwrap().unwrap_err().code(), "unavailable");
    assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
    // The sends behind it are overdue with it, or committed, but never before it.
    if let Ok(Appended::Committed(message)) = behind.await.unwrap() {
        assert_eq!(message.seq, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_changes_of_a_locked_session_hold_up_nobody_elses() {
    let world = World::on_postgres().await;
    let (customer, dentist, locked) = world.pair().await;
    let (other, _, free) = world.pair().await;
    let mut messages = Vec::new();
    for (id, sender) in [(locked, &customer), (free, &other)] {
        let sent = world.store.append(&[draft(id, sender, "x")]).await.unwrap();
        messages.push(committed(&sent[0]).id);
    }
    let rows = format!(
        "select 1 from sessions where id = '{0}' for update; \
         select 1 from members where session_id = '{0}' for update",
        locked.0
    );
    let holder = hold(&world, &rows).await;
    let edit = |body: &str| Amendment::Edit(body.to_owned().try_into().unwrap());
    let mut stuck = Vec::new();
    for number in 0..10 {
        let (store, message) = (Arc::clone(&world.store), messages[0]);
        let (me, edit) = (customer.clone(), edit(&number.to_string()));
        let reader = dentist.clone();
        stuck.push(tokio::spawn(async move {
            let read = store.mark_read(&reader.scope(), locked, 1).await.map(drop);
            read.and(store.amend(&me.scope(), locked, message, &edit).await.map(drop))
        }));
    }
    for number in 0..20 {
        let began = Instant::now();
        let edit = edit(&number.to_string());
        let changed = world.store.amend(&other.scope(), free, messages[1], &edit).await.unwrap();
        assert!(changed.is_ok());
        world.store.mark_read(&other.scope(), free, 1).await.unwrap().unwrap();
        let muted = SessionPatch { muted: Some(number % 2 == 0), ..SessionPatch::default() };
        let set = world.store.set_session(&other.scope(), free, muted).await.unwrap();
        assert!(matches!(set, Some(PatchOutcome::Done { .. })));
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    let mark = |session_id, to: &Person| Delivered { session_id, to: to.clone(), seq: 1 };
    let marks = [mark(locked, &customer), mark(free, &other)];
    let done = world.store.mark_delivered(&marks).await.unwrap();
    assert_eq!((done.locked.as_slice(), done.moved.as_slice()), (&marks[..1], &marks[1..]));
    holder.batch_execute("rollback").await.unwrap();
    for change in stuck {
        // Ten changes of one person wait for each other; the last one may be overdue.
        drop(timeout(Duration::from_secs(20), change).await.expect("it ends").unwrap());
    }
    let done = world.store.mark_delivered(&marks).await.unwrap();
    assert!(done.locked.is_empty());
    let changed = world.store.amend(&customer.scope(), locked, messages[0], &edit("at last")).await;
    assert!(changed.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn c16_a_full_disk_is_seen_while_it_lasts() {
    let world = World::on_postgres().await;
    let (customer, _, id) = world.pair().await;
    let full = "create function is_full() returns trigger language plpgsql as $$ begin \
                raise exception using errcode = 'disk_full'; end $$; \
                create trigger no_room before insert on messages execute function is_full()";
    assert!(world.execute(full).await);
    let writer = writer(Arc::clone(&world.store));
    let refused = writer.submit(draft(id, &customer, "x")).unwrap().decided().await;
    assert_eq!(refused.unwrap_err().code(), "unavailable");
    assert_eq!(writer.commits(), Commits::DiskFull);
    assert!(writer.stalled_for() >= Duration::from_secs(5));
    assert!(world.execute("drop trigger no_room on messages").await);
    let sent = writer.submit(draft(id, &customer, "y")).unwrap().decided().await;
    assert_eq!(committed(&sent.unwrap()).seq, 1);
    assert_eq!((writer.commits(), writer.stalled_for()), (Commits::Ok, Duration::ZERO));
}
