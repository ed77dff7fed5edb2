//! The hub on a bus that the test controls, with a real store.

mod control;
mod epoch;
mod former;
mod panics;

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use frontdesk_test_support::{PATIENCE, eventually, unique};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::*;
use crate::{
    memory::{Memory, counts::MemoryCounts},
    outbound::{Frame, OutboundParts, QUEUE, Queued},
    store::contract::world::Acting,
    store::{HistoryRange, NewSession, sqlite::Sqlite},
    writer::{Writer, WriterParts, counts::WriterCounts},
};
use bus::{BusError, ControlMessage};
use model::{
    ids::{SessionId, TenantId},
    message::{Draft, Message, amend::Amendment},
    person::{Person, Side},
    session::Member,
};
use platform::{jobs::JobsDue, new_id, tasks::Tasks};
use protocol::Framing;

/// A bus that delivers nothing by itself.
struct Puppet {
    said: Mutex<Vec<Broadcast>>,
    subscribed: Mutex<HashSet<Room>>,
    /// A subscription needs a permit; a test takes it to hold subscriptions back.
    gate: Semaphore,
}

#[async_trait]
impl PubSub for Puppet {
    fn publish(&self, broadcast: Broadcast) {
        self.said.lock().unwrap().push(broadcast);
    }

    async fn subscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        let _permit = self.gate.acquire().await.unwrap();
        self.subscribed.lock().unwrap().extend(rooms.iter().cloned());
        Ok(())
    }

    async fn unsubscribe(&self, rooms: &[Room]) -> Result<(), BusError> {
        self.subscribed.lock().unwrap().retain(|room| !rooms.contains(room));
        Ok(())
    }

    async fn flush(&self) {}

    async fn ping(&self) -> Result<(), BusError> {
        Ok(())
    }
}

/// A hub with one session, to which the dentist is about to subscribe.
struct World {
    hub: Arc<Hub>,
    bus: Arc<Puppet>,
    heard: mpsc::Sender<BusEvent>,
    store: Arc<dyn Store>,
    due: JobsDue,
    patient: Person,
    dentist: Person,
    session: SessionId,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&dir.path().join("test.db")).unwrap());
        let bus = Arc::new(Puppet {
            said: Mutex::default(),
            subscribed: Mutex::default(),
            gate: Semaphore::new(1),
        });
        let (heard, events) = mpsc::channel(64);
        let due = JobsDue::default();
        let hub = Hub::start(HubParts {
            tasks: Tasks::default(),
            bus: Arc::clone(&bus) as Arc<dyn PubSub>,
            events,
            store: Arc::clone(&store),
            counts: HubCounts::default(),
            due: due.clone(),
        });
        let person = |kind| Person::new(TenantId::MAIN, kind, unique("p").parse().unwrap());
        let (patient, dentist) = (person(Side::Contact), person(Side::Desk));
        let member = |person: &Person| Member {
            person: person.clone(),
            name: "N".into(),
            avatar_url: None,
            email: None,
        };
        let session = SessionId(new_id());
        let new = NewSession { id: session, contact: member(&patient), agent: member(&dentist) };
        store.open_session(&patient.scope(), &new).await.unwrap();
        Self { hub, bus, heard, store, due, patient, dentist, session, dir }
    }

    fn room(&self) -> Room {
        Room::Session(self.key())
    }

    fn key(&self) -> SessionKey {
        self.dentist.session(self.session)
    }

    /// A connection of the dentist, live in the room from the start of the session.
    async fn listener(&self) -> Listener {
        self.listener_from(0).await
    }

    /// A connection that has read the session up to this `seq`.
    async fn listener_from(&self, seq: u64) -> Listener {
        let (outbound, queue) = outbound(&self.hub, &self.dentist);
        self.hub.connect(&outbound).await;
        self.hub.enter_session(self.key(), outbound.id(), seq, 0).await;
        assert_eq!(self.hub.go_live(&self.room(), outbound.id(), seq), GoLive::Live);
        Listener { outbound, queue }
    }

    fn draft(&self, number: usize) -> Draft {
        Draft {
            id: new_id(),
            session_id: self.session,
            sender: self.patient.clone(),
            client_id: format!("k{number}").parse().unwrap(),
            body: Some(number.to_string().try_into().unwrap()),
            image: None,
            reply_to: None,
        }
    }

    /// Commits messages without publishing them.
    async fn commit(&self, count: usize) -> Vec<Message> {
        let drafts: Vec<_> = (0..count).map(|number| self.draft(number)).collect();
        self.store.append(&drafts).await.unwrap();
        self.store
            .history(&self.patient.scope(), self.session, HistoryRange::After(0), 200)
            .await
            .unwrap()
    }

    async fn hear(&self, message: &Message) {
        self.heard
            .send(BusEvent::Received(Arc::new(Broadcast::message_new(message))))
            .await
            .unwrap();
    }
}

fn outbound(hub: &Hub, person: &Person) -> (Arc<Outbound>, mpsc::Receiver<Queued>) {
    let (queue, frames) = mpsc::channel(QUEUE);
    let id = hub.new_connection_id();
    let (framing, receipts, counts) = (Framing::Native, Arc::default(), Arc::default());
    let memory = Memory::new(64 * 1024 * 1024, MemoryCounts::default());
    (
        Outbound::new(OutboundParts {
            id,
            scope: person.scope(),
            framing,
            queue,
            receipts,
            counts,
            memory: Arc::clone(&memory),
        }),
        frames,
    )
}

struct Listener {
    outbound: Arc<Outbound>,
    queue: mpsc::Receiver<Queued>,
}

impl Listener {
    /// The next message's `seq`.
    async fn seq(&mut self) -> u64 {
        match timeout(PATIENCE, self.queue.recv())
            .await
            .expect("nothing is delivered")
            .map(Queued::into_frame)
        {
            Some(Frame::Broadcast(broadcast)) => broadcast.seq().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The revisions of the next changes.
    async fn revs(&mut self, count: usize) -> Vec<u64> {
        let mut revs = Vec::new();
        for _ in 0..count {
            match timeout(PATIENCE, self.queue.recv())
                .await
                .expect("nothing is delivered")
                .map(Queued::into_frame)
            {
                Some(Frame::Broadcast(broadcast)) => {
                    revs.push(broadcast.rev().unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        revs
    }

    async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        for _ in 0..count {
            seqs.push(self.seq().await);
        }
        seqs
    }
}

#[tokio::test]
async fn i4_a_message_is_delivered_when_the_bus_says_it_and_not_before() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let bus = Arc::clone(&world.bus) as Arc<dyn PubSub>;
    let writer = Writer::start(WriterParts {
        tasks: Tasks::default(),
        store: world.store.clone(),
        bus,
        inbox: Arc::default(),
        counts: WriterCounts::default(),
        due: JobsDue::default(),
    });
    writer.submit(world.draft(1)).unwrap().decided().await.unwrap();
    let said = world.bus.said.lock().unwrap().pop().expect("a commit is published");
    assert!(listener.queue.try_recv().is_err(), "its own node waits for the bus too");
    world.heard.send(BusEvent::Received(Arc::new(said))).await.unwrap();
    assert_eq!(listener.seq().await, 1);
}

#[tokio::test]
async fn i5_a_room_is_entered_when_its_subscription_stands() {
    let world = World::new().await;
    let (outbound, _queue) = outbound(&world.hub, &world.dentist);
    world.hub.connect(&outbound).await;
    let closed = world.bus.gate.acquire().await.unwrap();
    let room = world.room();
    let entering = world.hub.enter_session(world.key(), outbound.id(), 0, 0);
    let mut entering = std::pin::pin!(entering);
    let early = timeout(Duration::from_millis(200), &mut entering).await;
    assert!(early.is_err(), "it did not wait");
    assert!(!world.bus.subscribed.lock().unwrap().contains(&room));
    drop(closed);
    timeout(PATIENCE, entering).await.expect("it waits for ever");
    assert!(world.bus.subscribed.lock().unwrap().contains(&room));
}

#[tokio::test]
async fn f12_i7_what_comes_twice_or_out_of_order_is_heard_once_and_in_order() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let messages = world.commit(5).await;
    for seq in [2, 1, 2, 5, 4, 1, 3, 3, 5] {
        world.hear(&messages[seq - 1]).await;
    }
    assert_eq!(listener.seqs(5).await, [1, 2, 3, 4, 5]);
    // A sixth message shows that nothing else was delivered before it.
    world.commit(6).await;
    assert_eq!(listener.seq().await, 6);
}

#[tokio::test]
async fn i7_a_gap_is_filled_from_the_store() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let messages = world.commit(4).await;
    world.hear(&messages[3]).await;
    assert_eq!(listener.seqs(4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn each_gap_that_was_found_comes_to_something() {
    let world = World::new().await;
    let (mut listener, counts) = (world.listener().await, &world.hub.counts);
    world.hear(&world.commit(2).await[1]).await;
    assert_eq!(listener.seqs(2).await, [1, 2]);
    eventually("it is filled", async || counts.filled.get() == 1).await;
    assert!(
        world.hub.backfill_messages(world.dentist.session(SessionId(new_id()))),
        "whoever was there has left meanwhile"
    );
    eventually("nothing is missing", async || counts.closed.get() == 1).await;
    let more = [world.draft(3), world.draft(4)];
    world.store.append(&more).await.unwrap();
    let db = rusqlite::Connection::open(world.dir.path().join("test.db")).unwrap();
    assert_eq!(db.execute("delete from messages where seq = 3", []).unwrap(), 1);
    eventually("what is nowhere can't be filled in", async || {
        let found = counts.gaps_early.get() + counts.gaps_checked.get();
        let done = counts.closed.get() - 1 + counts.filled.get() + counts.failed.get();
        counts.failed.get() > 0 && found == done
    })
    .await;
}

#[tokio::test]
async fn f5_i7_a_quiet_room_is_checked_and_nobody_waits_for_5_s() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    world.commit(450).await;
    let within = timeout(Duration::from_secs(5), listener.seqs(200)).await;
    assert_eq!(within.expect("not within 5 s"), (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn f5_i7_a_change_that_the_bus_lost_is_told_within_5_s_and_one_that_was_heard_is_not_again() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    let messages = world.commit(3).await;
    for message in &messages {
        world.hear(message).await;
    }
    assert_eq!(listener.seqs(3).await, [1, 2, 3]);
    let edit = async |seq: usize, body: &str| {
        let edit = Amendment::Edit(body.to_owned().try_into().unwrap());
        let (me, id) = (&world.patient, messages[seq - 1].id);
        let amended =
            world.store.amend(&me.scope(), world.session, id, &edit).await.unwrap().unwrap();
        amended.message
    };
    let _superseded = edit(1, "first").await;
    let heard = [edit(1, "second").await, edit(2, "third").await];
    let lost = edit(3, "lost").await;
    for message in heard.iter().rev() {
        let told = Broadcast::message_updated(message);
        world.heard.send(BusEvent::Received(Arc::new(told))).await.unwrap();
    }
    let within = timeout(Duration::from_secs(5), listener.revs(3)).await;
    assert_eq!(within.expect("not within 5 s"), [3, 2, lost.rev.unwrap()]);
    // The next change follows at once: nothing was delivered twice before it, nor is it later.
    let next = edit(1, "again").await;
    let told = Broadcast::message_updated(&next);
    world.heard.send(BusEvent::Received(Arc::new(told))).await.unwrap();
    assert_eq!(listener.revs(1).await, [5]);
    eventually("all is settled", async || world.hub.revisions.up_to(world.key()) == Some(5)).await;
    assert!(listener.queue.try_recv().is_err());
}

#[tokio::test]
async fn f9_i7_after_an_interruption_all_is_subscribed_and_read_again() {
    let world = World::new().await;
    let mut listener = world.listener().await;
    world.bus.subscribed.lock().unwrap().clear();
    world.commit(2).await;
    world.heard.send(BusEvent::Interrupted).await.unwrap();
    eventually("both rooms are subscribed again", async || {
        world.bus.subscribed.lock().unwrap().len() == 2
    })
    .await;
    assert_eq!(listener.seqs(2).await, [1, 2]);
}

#[tokio::test]
async fn f30_i2_when_the_last_one_goes_nothing_stays() {
    let world = World::new().await;
    let (first, second) = (world.listener().await, world.listener().await);
    world.hub.disconnect(first.outbound.id());
    assert!(world.hub.is_in(&world.room(), second.outbound.id()));
    assert!(world.bus.subscribed.lock().unwrap().contains(&world.room()));
    // A connection that leaves and comes back at once is in the room.
    world.hub.leave(&world.room(), second.outbound.id());
    world.hub.enter_session(world.key(), second.outbound.id(), 0, 0).await;
    assert!(world.bus.subscribed.lock().unwrap().contains(&world.room()));
    world.hub.disconnect(second.outbound.id());
    eventually("no subscription stays", async || world.bus.subscribed.lock().unwrap().is_empty())
        .await;
    assert!(world.hub.engine().is_empty() && world.hub.connection_count() == 0);
    world.hub.check_heads().await;
    assert_eq!(world.hub.revisions.up_to(world.key()), None);
}
