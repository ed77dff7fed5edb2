//! Cost of a delivery: the user instructions and the allocations from a message's bytes on the bus to the texts that a
//! transport writes. Valgrind counts them, so a busy machine changes nothing. The signatures of Redis, the socket and its
//! WebSocket frames are not included.
//!
//! The figures are those of the development build that `scripts/test` makes. A change that makes a delivery cheaper or
//! dearer on purpose changes them here, and so does another compiler. Other builds compare the allocations only.
//! `cargo test --release -p frontdesk-chat --test delivery_cost -- --nocapture` prints the figures of a release build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking, prints what it found, and tells its child by a variable what to do"
)]

use std::{env, hint::black_box, process::Command, sync::Arc, thread};

use bus::{
    broadcast::{Broadcast, Room},
    counts::BusCounts,
    delivery::Delivery,
    one_node::OneNode,
};
use chat::{
    hub::{Hub, HubParts, counts::HubCounts},
    memory::{Memory, counts::MemoryCounts},
    outbound::{Outbound, OutboundParts, QUEUE, Queued, Written},
    recovery::Recovery,
    store::{Store, sqlite::Sqlite},
};
use frontdesk_chat as chat;
use jiff::Timestamp;
use model::{
    ids::{SessionId, SessionKey, TenantId},
    message::Draft,
    person::{Person, Side},
    scope::{Grants, Scope},
};
use platform::{jobs::JobsDue, new_id, tasks::Tasks};
use protocol::Framing;
use tokio::sync::mpsc;

/// Share by which a figure may differ.
const TOLERANCE: f64 = 0.02;
/// Messages that are delivered in the shorter and in the longer run. The difference of the runs has no start in it.
const MESSAGES: [usize; 2] = [50, 250];
/// Recipients of each message, besides its sender.
const RECIPIENTS: [usize; 2] = [1, 11];
/// Tells the child how many messages and recipients.
const CHILD: &str = "DELIVERIES";

/// Instructions and allocations of a delivery to one recipient, and of each further recipient.
const EXPECTED: [[f64; 2]; 2] = [[141_770.0, 18_710.0], [18.0, 5.0]];

struct Recipient {
    outbound: Arc<Outbound>,
    frames: mpsc::Receiver<Queued>,
    recovery: Recovery,
}

impl Recipient {
    async fn join(hub: &Arc<Hub>, number: usize, key: SessionKey) -> Self {
        let (queue, frames) = mpsc::channel(QUEUE);
        let outbound = Outbound::new(OutboundParts {
            id: hub.new_connection_id(),
            scope: Scope::new(person(Side::Desk, &format!("dentist-{number}")), Grants::default()),
            framing: Framing::SocketIo,
            queue,
            receipts: Arc::default(),
            counts: Arc::default(),
            memory: Memory::new(1 << 30, MemoryCounts::default()),
        });
        hub.connect(&outbound).await;
        hub.enter_session(key, outbound.id(), 0, 0).await;
        hub.go_live(&Room::Session(key), outbound.id(), 0);
        Self { outbound, frames, recovery: Recovery::default() }
    }

    /// Does what a transport does with its queue. Returns the number of texts.
    fn write(&mut self) -> usize {
        let mut batch = Vec::new();
        while let Ok(queued) = self.frames.try_recv() {
            batch.push(queued);
        }
        let written = Written::of(&mut batch);
        let texts = self.recovery.texts(batch.into_iter().map(Queued::into_frame));
        let frames = texts.len();
        black_box(texts);
        self.outbound.written(written.in_frames(frames));
        frames
    }
}

fn person(side: Side, id: &str) -> Person {
    Person::new(TenantId::MAIN, side, id.parse().unwrap())
}

/// Bytes on the bus of this many messages of a session.
fn messages(key: SessionKey, count: usize) -> Vec<Vec<u8>> {
    let times = Delivery::default();
    let bytes = |seq: usize| {
        let body = "Could we move my appointment to Thursday afternoon, please?".to_owned();
        let draft = Draft {
            id: new_id(),
            session_id: key.id,
            sender: person(Side::Contact, "patient-1"),
            client_id: format!("client-{seq}").parse().unwrap(),
            body: Some(body.try_into().unwrap()),
            image: None,
            reply_to: None,
        };
        let message = draft.committed(seq as u64, "Ada Lovelace".to_owned(), Timestamp::now());
        Broadcast::message_sent(&message, times.sent(tokio::time::Instant::now())).to_bytes()
    };
    (1..=count).map(bytes).collect()
}

/// Delivers so many messages, if it is the child of another test.
#[tokio::test]
async fn deliver() {
    let Ok(wanted) = env::var(CHILD) else { return };
    let (count, recipients) = wanted.split_once(',').unwrap();
    let (count, recipients): (usize, usize) = (count.parse().unwrap(), recipients.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&dir.path().join("test.db")).unwrap());
    let (bus, events) = OneNode::open(BusCounts::default());
    let hub = Hub::start(HubParts {
        tasks: Tasks::default(),
        bus: Arc::new(bus),
        events,
        store,
        counts: HubCounts::default(),
        due: JobsDue::default(),
    });
    let key = TenantId::MAIN.session(SessionId(new_id()));
    let mut joined = Vec::new();
    for number in 0..recipients {
        joined.push(Recipient::join(&hub, number, key).await);
    }
    // Both runs make all messages, so that their difference is the deliveries alone.
    let messages = messages(key, MESSAGES[1]);
    let mut texts = 0;
    // Nothing here waits, so no other task of the runtime takes part.
    for bytes in &messages[..count] {
        let broadcast = Broadcast::from_bytes(Room::Session(key), bytes).unwrap();
        hub.deliver(&Arc::new(broadcast));
        texts += joined.iter_mut().map(Recipient::write).sum::<usize>();
    }
    assert!(texts >= count * recipients, "{texts} texts of {count} messages");
}

/// Runs [`deliver`] under a tool of Valgrind. Returns the number behind this word in its report.
fn count(tool: &[&str], word: &str, messages: usize, recipients: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(tool)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "deliver", "--test-threads=1"])
        .env(CHILD, format!("{messages},{recipients}"))
        .output()
        .expect("valgrind does not start");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stdout));
    let number = report.split_once(word).and_then(|(_, rest)| rest.split_whitespace().next());
    number.expect(&report).replace(',', "").parse().unwrap()
}

/// Cost of one delivery to one recipient, and of each further recipient.
fn costs(tool: &[&str], word: &str) -> [f64; 2] {
    let [one, many] = thread::scope(|scope| {
        RECIPIENTS.map(|recipients| {
            let runs = MESSAGES
                .map(|messages| scope.spawn(move || count(tool, word, messages, recipients)));
            let [shorter, longer] = runs.map(|run| run.join().unwrap());
            (longer - shorter) as f64 / (MESSAGES[1] - MESSAGES[0]) as f64
        })
    });
    [one, (many - one) / (RECIPIENTS[1] - RECIPIENTS[0]) as f64]
}

#[test]
fn a_delivery_costs_as_much_as_before() {
    let instructions =
        costs(&["--tool=callgrind", "--callgrind-out-file=/dev/null"], "Collected : ");
    let allocations = costs(&["--tool=dhat", "--dhat-out-file=/dev/null"], "bytes in ");
    let found = [instructions, allocations];
    println!("instructions, allocations; of one recipient, and of each further one: {found:.2?}");
    // Clippy's compiler, which builds the tests of `scripts/test`, optimises less than another one does.
    let as_expected = cfg!(all(debug_assertions, clippy, target_arch = "x86_64"));
    let compared = usize::from(!as_expected);
    if cfg!(debug_assertions) {
        let expected = EXPECTED[compared..].iter().flatten();
        for (found, expected) in found[compared..].iter().flatten().zip(expected) {
            let deviation = (found - expected).abs() / expected;
            assert!(deviation <= TOLERANCE, "{found:.2}, and {expected:.2} before");
        }
    }
}
