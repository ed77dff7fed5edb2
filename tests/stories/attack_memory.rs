//! Memory of a node while clients request much and read nothing.

use std::time::Duration;

use frontdesk_test_support::{Client, Desk, Framing, PATIENCE, Person, Servers, Victim};
use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::{FRONTDESK, engineio::Poller};

/// The node's memory limit for outbound queues.
const BUDGET_MIB: &str = "64";
const BUDGET_KIB: u64 = 64 * 1024;
/// A user's share of the limit: outbound queues, and two large responses in the making.
const PERSON_KIB: u64 = 12 * 1024;
/// Memory of a socket besides its queue in a debug build: tasks, buffers, subscriptions.
const SOCKET_KIB: u64 = 80;
/// Memory of a TCP connection with an unread response.
const ANSWER_KIB: u64 = 64;
/// Pages that are being read from the database, and memory that the allocator keeps for a while.
const SLACK_KIB: u64 = 32 * 1024;
/// Number of messages of maximum length in a session: more than a page.
const FULL: usize = 12;

/// Rounds of a victim's acts in which the node returns its memory. 4 to 11 were seen.
const ROUNDS_UNTIL_RELEASED: u32 = 60;

async fn desk() -> Desk {
    let redis_port = Servers::get().await.redis_port;
    let env = [("OUTBOUND_MEMORY_MIB", BUDGET_MIB)];
    Desk::cluster_with(FRONTDESK, 1, redis_port, &env).await
}

/// A user with a session of messages of maximum length.
async fn hoarder(desk: &Desk) -> (Person, String) {
    let (customer, _, session) = desk.pair().await;
    let mut client = desk.connect(0, &customer).await;
    let body = "😀".repeat(8_000);
    for number in 0..FULL {
        client.send(&session, &number.to_string(), &body).await;
    }
    (customer, session)
}

/// Peak memory of the node in KiB while this future runs.
async fn peak_of<T>(desk: &Desk, acting: impl Future<Output = T>) -> (u64, T) {
    let mut acting = std::pin::pin!(acting);
    let mut peak = 0;
    loop {
        peak = peak.max(desk.nodes[0].memory_kib());
        tokio::select! {
            outcome = &mut acting => return (peak, outcome),
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// Requests pages on each of these sockets repeatedly, and reads nothing.
async fn join_and_never_read(mut clients: Vec<(Client, String)>) {
    for _ in 0..8 {
        for (client, session) in &mut clients {
            // Sockets that were closed meanwhile are skipped.
            let _ = client.try_ask("session:join", &json!({ "sessionId": session })).await;
            // The pause leaves CPU time for the node and the victim.
            sleep(Duration::from_millis(8)).await;
        }
    }
}

/// Memory of the node in KiB after every part was used once.
async fn warm(desk: &Desk) -> u64 {
    let mut another = Victim::enter(desk, 0).await;
    drop(another.measure().await);
    desk.nodes[0].memory_kib()
}

/// Measures the victim and the node's memory beside an attack, and checks that the memory is released
/// afterwards.
async fn stays_within<T>(
    desk: &Desk,
    mut victim: Victim,
    start: u64,
    bound_kib: u64,
    attack: impl Future<Output = T>,
) {
    let alone = victim.measure().await;
    let (peak, (beside, attackers)) = peak_of(desk, victim.measure_beside(attack)).await;
    drop(attackers);
    let grown = peak.saturating_sub(start);
    eprintln!("memory: {start} KiB at the start, {grown} KiB more at most, {bound_kib} allowed");
    // The responses are dropped by then, and the allocator returns their memory.
    let least = start + start / 5;
    beside.are_as_if_alone(&alone);
    assert!(grown < bound_kib, "{grown} KiB beside {bound_kib}");
    // The allocator returns memory as its threads allocate. So the node goes on serving, and that is counted:
    // time would not do on a busy machine.
    for _ in 0..ROUNDS_UNTIL_RELEASED {
        if desk.nodes[0].memory_kib() <= least {
            return;
        }
        drop(victim.measure().await);
    }
    panic!("{} KiB are kept, {least} allowed", desk.nodes[0].memory_kib());
}

async fn joins_of(people: usize, sockets: usize) {
    let desk = desk().await;
    let victim = Victim::enter(&desk, 0).await;
    let mut hoarders = Vec::new();
    for _ in 0..people {
        hoarders.push(hoarder(&desk).await);
    }
    let start = warm(&desk).await;
    let mut clients = Vec::new();
    for (person, session) in &hoarders {
        // Socket.IO pages are the largest, because they contain all data twice.
        let connecting = (0..sockets).map(|_| desk.connect_by(Framing::SocketIo, 0, person));
        let connected = join_all(connecting).await.into_iter();
        clients.extend(connected.map(|client| (client, session.clone())));
    }
    let budget = BUDGET_KIB.min(people as u64 * PERSON_KIB);
    let bound = budget + clients.len() as u64 * SOCKET_KIB + SLACK_KIB;
    stays_within(&desk, victim, start, bound, join_and_never_read(clients)).await;
}

#[tokio::test]
async fn c4_one_persons_sockets_that_join_and_never_read_cost_nobody_else() {
    joins_of(1, 60).await;
}

#[tokio::test]
async fn c4_ten_peoples_sockets_that_join_and_never_read_cost_nobody_else() {
    joins_of(10, 20).await;
}

/// A connection with a small receive buffer.
async fn thin(desk: &Desk) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    timeout(PATIENCE, socket.connect(desk.nodes[0].address)).await.unwrap().unwrap()
}

/// Sends each request on its own connection, reads no response, and keeps the connections open.
async fn ask_and_never_read(desk: &Desk, requests: Vec<String>) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for request in requests {
        let mut stream = thin(desk).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    sleep(Duration::from_secs(4)).await;
    open
}

#[tokio::test]
async fn c12_unread_answers_over_http_cost_nobody_else() {
    const ANSWERS: usize = 600;
    let desk = desk().await;
    let victim = Victim::enter(&desk, 0).await;
    let (person, session) = hoarder(&desk).await;
    let start = warm(&desk).await;
    let request = format!(
        "GET /api/chats/{session}/messages?limit=100 HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {}\r\n\r\n",
        person.token
    );
    let bound = PERSON_KIB + ANSWERS as u64 * ANSWER_KIB + SLACK_KIB;
    let attack = ask_and_never_read(&desk, vec![request; ANSWERS]);
    let refused = async {
        let open = attack.await;
        // The user gets no further response before the others are read.
        let reply = desk.http(0, &person).get(&format!("/api/chats/{session}/messages")).await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, "1"));
        assert_eq!(reply.body["code"], "rate_limited");
        open
    };
    Box::pin(stays_within(&desk, victim, start, bound, refused)).await;
    desk.http(0, &person).get(&format!("/api/chats/{session}/messages")).await.expect(200);
}

#[tokio::test]
async fn c12_polls_with_the_most_packets_that_nobody_reads_cost_nobody_else() {
    const SESSIONS: usize = 40;
    const POLLS: usize = 12;
    let desk = desk().await;
    let victim = Victim::enter(&desk, 0).await;
    let (person, session) = hoarder(&desk).await;
    let address = desk.nodes[0].address;
    let start = warm(&desk).await;
    let mut pollers = Vec::new();
    for _ in 0..SESSIONS {
        pollers.push(Poller::enter(address, &person.token).await);
    }
    // As many joins as one body can hold.
    let join = |number| format!("42{number}{}", json!(["session:join", { "sessionId": session }]));
    let joins: Vec<_> = (0..12_500).map(join).collect();
    let joins = joins.join("\x1e");
    assert!((800_000..1_000_000).contains(&joins.len()), "{}", joins.len());
    let attack = async {
        // The node processes the body packet by packet, and stops while the client does not read.
        let posts =
            pollers.iter().map(|poller| timeout(Duration::from_secs(5), poller.post(&joins)));
        let polls = async {
            let mut open = Vec::new();
            for _ in 0..POLLS {
                let polls: Vec<_> = pollers
                    .iter()
                    .map(|poller| format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", poller.path()))
                    .collect();
                for request in polls {
                    let mut stream = thin(&desk).await;
                    stream.write_all(request.as_bytes()).await.unwrap();
                    open.push(stream);
                }
                sleep(Duration::from_millis(300)).await;
            }
            open
        };
        tokio::join!(join_all(posts), polls).1
    };
    let bound = PERSON_KIB + (SESSIONS * POLLS) as u64 * ANSWER_KIB + SLACK_KIB;
    stays_within(&desk, victim, start, bound, Box::pin(attack)).await;
}
