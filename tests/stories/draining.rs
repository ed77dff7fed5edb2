//! SIGTERM: a node stops without losing anything.

use std::time::{Duration, Instant};

use frontdesk_test_support::{Client, Desk, Http, Nginx, Person, eventually, try_connect};
use serde_json::json;
use tokio::time::timeout;

use crate::{FRONTDESK, one_node, seqs, two_nodes};

/// Time limit for the end of a draining node.
const GRACE: Duration = Duration::from_secs(25);

#[tokio::test]
async fn f2_a_draining_node_says_so_closes_spread_out_and_ends_in_time() {
    let mut desk = Desk::embedded_with(FRONTDESK, &[("DRAIN_SPREAD_MS", "1500")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut clients = Vec::new();
    for person in [&customer, &dentist].repeat(6) {
        let mut client = desk.connect(0, person).await;
        client.join(&session, None).await;
        clients.push(client);
    }
    let (address, started) = (desk.nodes[0].address, Instant::now());
    desk.nodes[0].terminate();

    let mut announced = Vec::new();
    for client in &mut clients {
        let draining = client.event("server:draining").await;
        announced.push(draining["reconnectAfterMs"].as_u64().unwrap());
    }
    assert!(announced.iter().all(|after| *after <= 1_500), "{announced:?}");
    // Connected clients are still served.
    let last = (0..announced.len()).max_by_key(|at| announced[*at]).unwrap();
    let sent = clients[last].send(&session, "last", "just in time").await;
    assert_eq!(sent["seq"], 1);
    announced.sort_unstable();
    announced.dedup();
    assert!(announced.len() > 6, "the delays are not spread out: {announced:?}");

    let anyone = Http::new(address, None);
    assert_eq!(anyone.get("/health/ready").await.status, 503);
    assert_eq!(anyone.get("/health/live").await.status, 200);
    assert_eq!(anyone.get("/health").await.expect(503)["status"], "draining");
    let late = try_connect(address, &format!("/ws?token={}", customer.token), &[]).await;
    assert!(late.is_err(), "a draining node accepted a socket");

    let closing = clients.iter_mut().map(Client::closed);
    let codes = futures_util::future::join_all(closing).await;
    assert_eq!(codes, [1001; 12]);
    let status = desk.nodes[0].exit().await;
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < GRACE);
}

#[tokio::test]
async fn f3_a_send_under_way_is_committed_and_acknowledged_or_neither() {
    let mut desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    for number in 0..500 {
        let text = json!({
            "sessionId": session, "clientId": format!("k{number}"), "kind": "text", "body": "x",
        });
        patient.ask("message:send", &text).await;
    }
    desk.nodes[0].terminate();
    desk.nodes[0].terminate();
    let code = patient.closed().await;
    assert!([1001, 1006].contains(&code), "{code}");
    let acknowledged = patient.answers_so_far();
    let acknowledged: Vec<u64> = acknowledged
        .iter()
        .filter(|answer| answer["ok"] == true)
        .map(|answer| answer["data"]["message"]["seq"].as_u64().unwrap())
        .collect();
    assert!(desk.nodes[0].exit().await.success());

    desk.nodes[0].restart().await;
    let mut doctor = desk.connect(0, &dentist).await;
    let mut seen = seqs(&doctor.join(&session, Some(0)).await["messages"]);
    let last = doctor.join(&session, Some(9_999)).await["lastSeq"].as_u64().unwrap();
    while (seen.len() as u64) < last {
        let page = format!("/api/chats/{session}/messages?after={}&limit=200", seen.len());
        seen.extend(seqs(&desk.http(0, &dentist).get(&page).await.expect(200)["items"]));
    }
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
    assert!(acknowledged.len() as u64 <= last, "an acknowledged message is missing");
    // "Neither" means that an unacknowledged send is repeated, and stored once.
    let mut patient = desk.connect(0, &customer).await;
    for number in 0..500 {
        patient.send(&session, &format!("k{number}"), "x").await;
    }
    let last = patient.join(&session, None).await["lastSeq"].clone();
    assert_eq!(last, 500);
}

#[tokio::test]
async fn f3_an_answer_that_the_database_keeps_waiting_is_waited_for() {
    let mut desk = Desk::cluster(FRONTDESK, 1).await;
    let (customer, _, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut admin = desk.database.as_ref().unwrap().client().await;
    let lock = admin.transaction().await.unwrap();
    lock.execute("lock table messages in access exclusive mode", &[]).await.unwrap();
    let text = json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": "x" });
    let waiting = patient.ask("message:send", &text).await;
    desk.nodes[0].terminate();
    patient.event("server:draining").await;
    let ready = Http::new(desk.nodes[0].address, None);
    eventually("the node drains", async || ready.get("/health/ready").await.status == 503).await;
    lock.rollback().await.unwrap();
    assert_eq!(patient.answer(waiting).await.unwrap()["message"]["seq"], 1);
    assert_eq!(patient.closed().await, 1001);
    assert!(desk.nodes[0].exit().await.success());
}

/// A client that behaves as an app: it reconnects, requests the messages that it missed, and repeats
/// unacknowledged sends.
pub(crate) struct App {
    through: std::net::SocketAddr,
    person: Person,
    session: String,
    client: Option<Client>,
    pub(crate) seen: Vec<u64>,
}

impl App {
    pub(crate) fn new(through: std::net::SocketAddr, person: Person, session: &str) -> Self {
        Self { through, person, session: session.to_owned(), client: None, seen: Vec::new() }
    }

    /// A connection that has joined, with the missed messages.
    async fn connected(&mut self) -> &mut Client {
        while self.client.is_none() {
            let path = format!("/ws?token={}", self.person.token);
            let Ok(mut client) = try_connect(self.through, &path, &[]).await else {
                // The interval of an impatient app.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let after = self.seen.last().copied().unwrap_or(0);
            let join = json!({ "sessionId": self.session, "after": after });
            let Some(joined) = client.try_request("session:join", &join).await else { continue };
            self.seen.extend(seqs(&joined["messages"]));
            self.client = Some(client);
        }
        self.client.as_mut().unwrap()
    }

    pub(crate) async fn send(&mut self, key: &str) {
        let text = json!({
            "sessionId": self.session, "clientId": key, "kind": "text", "body": "on and on",
        });
        while self.connected().await.try_request("message:send", &text).await.is_none() {
            self.client = None;
        }
    }

    pub(crate) async fn read_up_to(&mut self, last: u64) {
        loop {
            // The last message may come with the reconnection.
            self.connected().await;
            if self.seen.last().is_some_and(|seen| *seen >= last) {
                return;
            }
            match self.connected().await.try_message().await {
                Some(message) => self.seen.push(message["seq"].as_u64().unwrap()),
                None => self.client = None,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f4_nodes_are_rolled_under_traffic_behind_nginx_and_nobody_misses_anything() {
    let mut desk = two_nodes().await;
    let nginx = Nginx::start(&desk.nodes.iter().map(|node| node.address).collect::<Vec<_>>()).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = App::new(nginx.address, customer, &session);
    let mut doctor = App::new(nginx.address, dentist, &session);
    let (rolled, mut all_rolled) = tokio::sync::oneshot::channel();
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while all_rolled.try_recv().is_err() {
            patient.send(&sent.to_string()).await;
            sent += 1;
        }
        sent
    });
    let reading = tokio::spawn(async move {
        let sent = tokio::select! {
            sent = sending => sent.unwrap(),
            () = doctor.read_up_to(u64::MAX) => unreachable!(),
        };
        doctor.read_up_to(sent).await;
        (sent, doctor.seen)
    });
    for node in &mut desk.nodes {
        node.terminate();
        assert!(node.exit().await.success());
        node.restart().await;
        let ready = Http::new(node.address, None);
        eventually("the node is ready again", async || {
            ready.get("/health/ready").await.status == 200
        })
        .await;
    }
    rolled.send(()).unwrap();
    let read = timeout(Duration::from_secs(30), reading).await.expect("something is missing");
    let (sent, seen) = read.unwrap();
    assert!(sent > 10, "there was no traffic: {sent}");
    assert_eq!(seen, (1..=sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn behind_a_round_robin_proxy_everything_works_without_stickiness() {
    let desk = two_nodes().await;
    let nginx = Nginx::start(&desk.nodes.iter().map(|node| node.address).collect::<Vec<_>>()).await;
    let (customer, dentist) = (desk.customer(), desk.dentist());
    let http = Http::new(nginx.address, Some(&customer.token));
    let opened = http.post("/api/chats", &json!({ "dentistId": dentist.id })).await.expect(201);
    let session = opened["id"].as_str().unwrap();
    let mut doctor = Client::connect(nginx.address, &dentist.token).await;
    doctor.join(session, None).await;
    let path = format!("/api/chats/{session}/messages");
    for number in 0..6 {
        let text = json!({ "clientId": number.to_string(), "kind": "text", "body": "x" });
        http.post(&path, &text).await.expect(201);
        assert_eq!(
            http.post(&path, &text).await.status,
            200,
            "the other node finds the same message"
        );
        assert_eq!(doctor.message().await["seq"], number + 1);
    }
}
