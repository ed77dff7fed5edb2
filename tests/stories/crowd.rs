//! Many sessions at once, with their two ends on different nodes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use frontdesk_test_support::{
    Client, Desk, LONGEST, Person, connect_within, tungstenite, while_it_progresses,
};
use serde_json::json;
use tokio::{
    sync::{Barrier, Semaphore},
    task::JoinSet,
    time::sleep,
};

use crate::{seqs, two_nodes};

const SESSIONS: usize = 1_000;
/// Messages of each side.
const EACH: usize = 5;

/// Count of all steps that the clients of a crowd have completed. The crowd may take as long as it
/// grows, because the speed depends on the machine.
#[derive(Clone, Default)]
struct Steps(Arc<AtomicU64>);

impl Steps {
    fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn all_done<T: 'static>(&self, what: &str, crowd: JoinSet<T>) -> Vec<T> {
        let so_far = async || self.0.load(Ordering::Relaxed);
        while_it_progresses(what, crowd.join_all(), so_far).await
    }
}

/// A client of a crowd, with the time limit of heavy work.
async fn enter(address: SocketAddr, token: &str) -> Result<Client, Box<tungstenite::Error>> {
    connect_within(LONGEST, address, &format!("/ws?token={token}"), &[]).await
}

/// One side of one session: it sends, and records the messages it sees.
struct End {
    client: Client,
    /// `seq` and body of each message seen.
    seen: Vec<(u64, String)>,
    steps: Steps,
}

async fn end(desk: &Desk, node: usize, person: &Person, session: &str, steps: &Steps) -> End {
    let mut client = enter(desk.nodes[node].address, &person.token).await.unwrap();
    client.join(session, None).await;
    steps.one();
    End { client, seen: Vec::new(), steps: steps.clone() }
}

impl End {
    /// Sends all messages at once, and waits for every acknowledgement and the other side's messages.
    async fn talk(&mut self, session: &str, name: &str) {
        let mut asked = Vec::new();
        for number in 0..EACH {
            let text = json!({
                "sessionId": session, "clientId": format!("{name}{number}"), "kind": "text",
                "body": format!("{name}{number}"),
            });
            let id = self.client.ask("message:send", &text).await;
            asked.push((text, id));
        }
        for (text, id) in asked {
            let mut answer = self.client.answer(id).await;
            while answer.as_ref().is_err_and(|error| {
                ["busy", "unavailable"].iter().any(|passing| error["code"] == *passing)
            }) {
                // Repeats the send with the same clientId, as apps do.
                answer = self.client.request("message:send", text.clone()).await;
            }
            self.note(&answer.unwrap()["message"]);
        }
        let mut last = 0;
        for _ in 0..EACH {
            let message = self.client.message().await;
            let seq = message["seq"].as_u64().unwrap();
            assert!(seq > last, "out of order: {seq} after {last}");
            last = seq;
            self.note(&message);
        }
    }

    fn note(&mut self, message: &serde_json::Value) {
        self.steps.one();
        let body = message["body"].as_str().unwrap().to_owned();
        self.seen.push((message["seq"].as_u64().unwrap(), body));
    }
}

async fn one_session(
    desk: Arc<Desk>,
    doors: Arc<Semaphore>,
    all_are_in: Arc<Barrier>,
    steps: Steps,
) {
    let door = doors.acquire().await.unwrap();
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = end(&desk, 0, &customer, &session, &steps).await;
    let mut doctor = end(&desk, 1, &dentist, &session, &steps).await;
    drop(door);
    all_are_in.wait().await;
    tokio::join!(patient.talk(&session, "patient"), doctor.talk(&session, "doctor"));
    for end in [&mut patient, &mut doctor] {
        end.seen.sort();
        let seqs: Vec<u64> = end.seen.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=2 * EACH as u64).collect::<Vec<_>>(), "each message arrives once");
        let rest = end.client.events_so_far().await;
        assert!(rest.iter().all(|event| event["event"] != "message:new"), "more came: {rest:?}");
    }
    assert_eq!(patient.seen, doctor.seen, "both see the same conversation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_across_two_nodes_lose_double_and_disorder_nothing() {
    let desk = Arc::new(two_nodes().await);
    // The node fetches the issuer's keys before all clients connect.
    desk.pair().await;
    let all_are_in = Arc::new(Barrier::new(SESSIONS));
    // All talk at once, but only some connect at a time: a node closes a connection that sends nothing
    // for ten seconds.
    let doors = Arc::new(Semaphore::new(50));
    let (mut sessions, steps) = (JoinSet::new(), Steps::default());
    for _ in 0..SESSIONS {
        let (desk, doors) = (Arc::clone(&desk), Arc::clone(&doors));
        sessions.spawn(one_session(desk, doors, Arc::clone(&all_are_in), steps.clone()));
    }
    steps.all_done("a thousand sessions", sessions).await;
    let database = desk.database.as_ref().unwrap().client().await;
    let count = "select count(*), count(distinct (session_id, seq)), max(seq) from messages";
    let row = database.query_one(count, &[]).await.unwrap();
    let each = i64::try_from(2 * EACH).unwrap();
    let all = i64::try_from(SESSIONS).unwrap() * each;
    let counted: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(counted, (all, all, each));
}

/// Reconnects a device until it has joined with its position, and returns the messages that it missed.
async fn come_back(address: SocketAddr, token: &str, session: &str, after: u64) -> Vec<u64> {
    loop {
        let Ok(mut client) = enter(address, token).await else {
            // The interval of an impatient app, spread over ten thousand devices.
            sleep(Duration::from_millis(500).mul_f64(rand::random::<f64>())).await;
            continue;
        };
        let join = json!({ "sessionId": session, "after": after });
        let Some(joined) = client.try_request("session:join", &join).await else {
            // The node was too busy for the request.
            sleep(Duration::from_secs(4).mul_f64(rand::random::<f64>())).await;
            continue;
        };
        return seqs(&joined["messages"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_ten_thousand_devices_come_back_at_once_and_are_caught_up() {
    const PEOPLE: usize = 500;
    const DEVICES: usize = 20;
    let mut desk = two_nodes().await;
    let mut sessions = Vec::new();
    for _ in 0..PEOPLE {
        let (customer, dentist, session) = desk.pair().await;
        desk.connect(0, &customer).await.send(&session, "1", "before").await;
        sessions.push((customer, dentist, session));
    }
    let address = desk.nodes[0].address;
    let (mut coming, steps) = (JoinSet::new(), Steps::default());
    for (customer, _, session) in &sessions {
        let (token, session, steps) = (customer.token.clone(), session.clone(), steps.clone());
        coming.spawn(async move {
            let mut devices = Vec::new();
            for _ in 0..DEVICES {
                let mut device = enter(address, &token).await.unwrap();
                assert_eq!(device.join(&session, None).await["lastSeq"], 1);
                steps.one();
                devices.push(device);
            }
            devices
        });
    }
    let devices = steps.all_done("ten thousand devices", coming).await;
    desk.nodes[0].kill().await;
    drop(devices);
    for (_, dentist, session) in &sessions {
        desk.connect(1, dentist).await.send(session, "2", "while they were away").await;
    }
    let fetches = desk.issuer.fetches();
    let mut returning = JoinSet::new();
    for (customer, _, session) in &sessions {
        for _ in 0..DEVICES {
            let (token, session, steps) = (customer.token.clone(), session.clone(), steps.clone());
            returning.spawn(async move {
                let missed = come_back(address, &token, &session, 1).await;
                steps.one();
                missed
            });
        }
    }
    desk.nodes[0].restart().await;
    let back = steps.all_done("ten thousand devices come back", returning).await;
    assert_eq!(back, vec![vec![2]; PEOPLE * DEVICES], "every device receives what it missed");
    assert_eq!(desk.issuer.fetches(), fetches + 1, "no stampede on the issuer");
}
