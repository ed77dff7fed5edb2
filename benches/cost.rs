//! Cost of the main job on two nodes, PostgreSQL and Redis: messages at full load and at 1,000 a second, connections,
//! and their memory. The two ends of each session are on different nodes.
//!
//! `cargo bench --bench cost [-- --against BINARY] [--rounds N] [--seconds N] [--nodes N] [--only idle|low|full]`:
//! with another binary of frontdesk, both run in turn, each round on a new database. With more than two nodes, the
//! sessions are spread over all of them, and each has its ends on two. Clients, nodes and servers share the
//! machine, so the rate and the times are the machine's. CPU times are read from `/proc`. The benchmark checks that
//! each message arrives once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_test_support::{Client, Desk, Framing, Http, Node, PostgresDatabase};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};
use tungstenite::Message;

/// Time limit for everything that was sent to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// One end of a session. It reads frames as text, so that it costs less than the nodes.
struct End {
    client: Client,
    session: Arc<Session>,
    next_id: u64,
    /// Each `seq` that came as a message or as an answer.
    seqs: Vec<u64>,
    /// Time of each delivery since its send, in microseconds.
    delays: Vec<u64>,
}

struct Session {
    id: String,
    sent: AtomicU64,
}

impl End {
    /// Sends a message with the present time in it. Returns the id of the request.
    async fn send(&mut self, began: Instant) -> u64 {
        self.next_id += 1;
        self.session.sent.fetch_add(1, Ordering::Relaxed);
        let (id, session) = (self.next_id, &self.session.id);
        let micros = began.elapsed().as_micros();
        let frame = format!(
            "42{id}[\"message:send\",{{\"sessionId\":\"{session}\",\"clientId\":\"{id}\",\"kind\":\"text\",\
             \"body\":\"@{micros} Could we move my appointment to Thursday afternoon, please?\"}}]"
        );
        self.client.socket.send(Message::text(frame)).await.unwrap();
        id
    }

    /// Reads a frame. Returns the id of the request that it answers.
    async fn read(&mut self, began: Instant) -> Option<u64> {
        let Message::Text(text) = self.client.socket.next().await.unwrap().unwrap() else {
            return None;
        };
        if text == "2" {
            self.client.socket.send(Message::text("3")).await.unwrap();
        }
        let number = |name: &str| {
            let digits = text.split_once(name)?.1;
            let end = digits.find(|letter: char| !letter.is_ascii_digit())?;
            digits[..end].parse::<u64>().ok()
        };
        if text.starts_with("42[\"message:new\"") {
            self.seqs.push(number("\"seq\":").unwrap());
            let sent = number("\"body\":\"@").unwrap();
            let now = u64::try_from(began.elapsed().as_micros()).unwrap();
            self.delays.push(now - sent);
            return None;
        }
        let id = text.strip_prefix("43")?.split('[').next()?.parse().ok()?;
        assert!(text.contains("\"ok\":true"), "{text}");
        self.seqs.push(number("\"seq\":").unwrap());
        Some(id)
    }

    /// Sends one message after the other, each when the one before is answered.
    async fn talk(&mut self, began: Instant, until: Instant) {
        while Instant::now() < until {
            let id = self.send(began).await;
            while self.read(began).await != Some(id) {}
        }
    }

    /// Sends at equal intervals, from a start of its own.
    async fn talk_every(&mut self, began: Instant, first: Instant, pause: Duration, count: u32) {
        for number in 0..count {
            let due = first + pause * number;
            loop {
                tokio::select! {
                    () = sleep_until(due.into()) => break,
                    _ = self.read(began) => {}
                }
            }
            self.send(began).await;
        }
    }

    /// Reads until every message of the session has come once.
    async fn finish(&mut self, began: Instant) {
        let all = self.session.sent.load(Ordering::Relaxed);
        let reading = async {
            while (self.seqs.len() as u64) < all {
                self.read(began).await;
            }
        };
        timeout(ARRIVAL, reading).await.expect("a message is missing");
        self.seqs.sort_unstable();
        let expected = 1..=all;
        assert!(self.seqs.iter().copied().eq(expected), "not each message once");
    }
}

/// CPU time of a process so far, in microseconds (proc(5); a tick is 10 ms), with its ended children if wanted.
fn cpu_us(pid: u32, with_children: bool) -> u64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0 };
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let last = if with_children { 14 } else { 12 };
    fields[11..=last].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() * 10_000
}

/// CPU time of PostgreSQL so far: the server and its backends.
fn postgres_us(server: u32) -> u64 {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let backends = pids.filter(|pid| parent(pid) == Some(server));
    cpu_us(server, true) + backends.map(|pid| cpu_us(pid, false)).sum::<u64>()
}

/// Process id of the database server.
async fn postgres_pid(database: &PostgresDatabase) -> u32 {
    let client = database.client().await;
    let dir: String = client.query_one("show data_directory", &[]).await.unwrap().get(0);
    let file = std::fs::read_to_string(Path::new(&dir).join("postmaster.pid")).unwrap();
    file.lines().next().unwrap().trim().parse().unwrap()
}

/// A deployment under test.
struct Bench {
    desk: Arc<Desk>,
    postgres: u32,
    seconds: u64,
}

/// Figures of one round by their names.
type Figures = BTreeMap<&'static str, f64>;

impl Bench {
    async fn start(binary: &str, nodes: usize, seconds: u64) -> Self {
        let desk = Arc::new(Desk::cluster(binary, nodes).await);
        let postgres = postgres_pid(desk.database.as_ref().unwrap()).await;
        Self { desk, postgres, seconds }
    }

    fn nodes_us(&self) -> u64 {
        self.desk.nodes.iter().map(|node| cpu_us(node.pid(), false)).sum()
    }

    fn memory_kib(&self) -> f64 {
        self.desk.nodes.iter().map(Node::memory_kib).sum::<u64>() as f64
    }

    /// Opens sessions whose ends are joined, on different nodes.
    async fn sessions(&self, count: usize) -> Vec<[End; 2]> {
        let mut opening = JoinSet::new();
        for _ in 0..count {
            let desk = Arc::clone(&self.desk);
            opening.spawn(async move {
                let (customer, dentist, id) = desk.pair().await;
                (customer, dentist, id)
            });
        }
        let mut joining = JoinSet::new();
        let all = opening.join_all().await.into_iter().enumerate();
        for (number, (customer, dentist, id)) in all {
            let desk = Arc::clone(&self.desk);
            joining.spawn(async move {
                let session = Arc::new(Session { id, sent: AtomicU64::new(0) });
                let end = async |node, person| {
                    let mut client = desk.connect_by(Framing::SocketIo, node, person).await;
                    client.join(&session.id, None).await;
                    let (seqs, delays) = (Vec::new(), Vec::new());
                    // Beyond the ids of the join.
                    let next_id = 1_000;
                    End { client, session: Arc::clone(&session), next_id, seqs, delays }
                };
                let nodes = desk.nodes.len();
                let [one, other] = [number % nodes, (number + 1) % nodes];
                [end(one, &customer).await, end(other, &dentist).await]
            });
        }
        joining.join_all().await
    }

    /// Runs the ends of all sessions at once. Returns the delays, the messages, and the CPU times a message.
    async fn run<F: Future<Output = [End; 2]> + Send + 'static>(
        &self,
        sessions: Vec<[End; 2]>,
        talk: impl Fn([End; 2], usize, Arc<Barrier>) -> F,
    ) -> (Vec<u64>, f64, [f64; 2]) {
        let before = (self.nodes_us(), postgres_us(self.postgres));
        let sent = sessions.iter().map(|[end, _]| Arc::clone(&end.session)).collect::<Vec<_>>();
        let barrier = Arc::new(Barrier::new(sessions.len()));
        let mut running = JoinSet::new();
        for (number, ends) in sessions.into_iter().enumerate() {
            running.spawn(talk(ends, number, Arc::clone(&barrier)));
        }
        let done = running.join_all().await;
        let after = (self.nodes_us(), postgres_us(self.postgres));
        let messages =
            sent.iter().map(|session| session.sent.load(Ordering::Relaxed)).sum::<u64>() as f64;
        let mut delays: Vec<_> = done.into_iter().flatten().flat_map(|end| end.delays).collect();
        delays.sort_unstable();
        let costs = [(after.0 - before.0) as f64, (after.1 - before.1) as f64];
        (delays, messages, costs.map(|us| us / messages))
    }

    /// Events that all nodes have received from the bus so far.
    async fn received(&self) -> f64 {
        let mut all = 0.0;
        for node in &self.desk.nodes {
            let text = Http::new(node.address, None).get("/metrics").await.text;
            let line =
                text.lines().find_map(|line| line.strip_prefix("frontdesk_bus_heard_total "));
            all += line.unwrap().parse::<f64>().unwrap();
        }
        all
    }

    /// Every client sends its next message when the one before is answered.
    async fn full_load(&self, figures: &mut Figures) {
        let sessions = self.sessions(200).await;
        let received = self.received().await;
        let length = Duration::from_secs(self.seconds);
        let (_, messages, [node, postgres]) = self
            .run(sessions, |[mut one, mut other], _, barrier| async move {
                barrier.wait().await;
                let began = Instant::now();
                tokio::join!(one.talk(began, began + length), other.talk(began, began + length));
                tokio::join!(one.finish(began), other.finish(began));
                [one, other]
            })
            .await;
        figures.insert("1 full load: messages a second", messages / length.as_secs_f64());
        figures.insert("2 full load: node µs a message", node);
        figures.insert("3 full load: PostgreSQL µs a message", postgres);
        let received = self.received().await - received;
        figures.insert("C full load: bus events a message, all nodes", received / messages);
    }

    /// 1,000 messages a second in 300 sessions.
    async fn low_load(&self, figures: &mut Figures) {
        let sessions = self.sessions(300).await;
        // Each end sends every 600 ms.
        let (pause, count) =
            (Duration::from_millis(600), u32::try_from(self.seconds * 5 / 3).unwrap());
        let (delays, _, [node, postgres]) = self
            .run(sessions, |[mut one, mut other], number, barrier| async move {
                barrier.wait().await;
                let began = Instant::now();
                let first = began + Duration::from_millis(number as u64);
                tokio::join!(
                    one.talk_every(began, first, pause, count),
                    other.talk_every(began, first + pause / 2, pause, count)
                );
                tokio::join!(one.finish(began), other.finish(began));
                [one, other]
            })
            .await;
        figures.insert("4 1,000/s: node µs a message", node);
        figures.insert("5 1,000/s: PostgreSQL µs a message", postgres);
        let at = |part: usize| delays[(delays.len() - 1) * part / 100] as f64 / 1_000.0;
        figures.insert("6 1,000/s: delivery p50, ms", at(50));
        figures.insert("7 1,000/s: delivery p99, ms", at(99));
    }

    /// Memory and cost of connections that have joined a session and say nothing.
    async fn idle(&self, figures: &mut Figures) {
        let empty = self.memory_kib();
        let before = (self.nodes_us(), postgres_us(self.postgres));
        let sessions = self.sessions(2_000).await;
        let after = (self.nodes_us(), postgres_us(self.postgres));
        figures.insert("8 connect and join: node µs", (after.0 - before.0) as f64 / 4_000.0);
        figures.insert("9 connect and join: PostgreSQL µs", (after.1 - before.1) as f64 / 4_000.0);
        sleep(Duration::from_secs(5)).await;
        figures.insert("A KiB an idle connection", (self.memory_kib() - empty) / 4_000.0);
        drop(sessions);
        sleep(Duration::from_secs(15)).await;
        figures.insert("B MiB kept after 4,000 closes", (self.memory_kib() - empty) / 1_024.0);
    }

    async fn round(binary: &str, nodes: usize, seconds: u64) -> Figures {
        let mut figures = Figures::new();
        let only = option("--only");
        let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
        // Each on new nodes: the memory of a node that has done nothing else.
        if wanted("idle") {
            Self::start(binary, nodes, seconds).await.idle(&mut figures).await;
        }
        if wanted("low") {
            Self::start(binary, nodes, seconds).await.low_load(&mut figures).await;
        }
        if wanted("full") {
            Self::start(binary, nodes, seconds).await.full_load(&mut figures).await;
        }
        figures
    }
}

fn median(rounds: &[Figures], name: &str) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(|round| round[name]).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The value behind a name on the command line.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

#[tokio::main]
async fn main() {
    let number = |name: &str, default: u64| {
        option(name).map_or(default, |text| text.parse().expect("a whole number"))
    };
    let (rounds, seconds) = (number("--rounds", 1), number("--seconds", 8));
    let nodes = usize::try_from(number("--nodes", 2)).expect("a number of nodes");
    let binaries: Vec<String> = std::iter::once(env!("CARGO_BIN_EXE_frontdesk").to_owned())
        .chain(option("--against"))
        .collect();
    let mut figures = vec![Vec::new(); binaries.len()];
    for _ in 0..rounds {
        for (binary, figures) in binaries.iter().zip(&mut figures) {
            figures.push(Bench::round(binary, nodes, seconds).await);
        }
    }
    println!("medians of {rounds} rounds of {seconds} s\n");
    let names: Vec<&str> = figures[0][0].keys().copied().collect();
    println!("{:<40}{:>10}{:>10}{:>8}", "", "this", "against", "ratio");
    for name in names {
        let this = median(&figures[0], name);
        print!("{:<40}{this:>10.1}", &name[2..]);
        if let Some(against) = figures.get(1).map(|rounds| median(rounds, name)) {
            print!("{against:>10.1}{:>8.2}", this / against);
        }
        println!();
    }
}
