//! Cost of a message between two nodes, on PostgreSQL and Redis: messages per second, and the
//! nodes' CPU time per message, in both framings.
//!
//! `cargo bench --bench cross_node [-- SESSIONS MESSAGES ROUNDS]`: number of sessions, messages in
//! each, and rounds. The framings alternate. Clients and servers share the machine, so the rate is
//! the machine's. The CPU time, read from `/proc`, is the nodes' own. The benchmark checks that
//! every message arrives once and in order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{sync::Arc, time::Instant};

use frontdesk_test_support::{Client, Desk, Framing, Node};
use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet};

/// Number of unanswered sends of each client.
const WINDOW: usize = 4;

struct Session {
    id: String,
    patient: Client,
    doctor: Client,
}

impl Session {
    async fn open(desk: Arc<Desk>, framing: Framing) -> Self {
        let (customer, dentist, id) = desk.pair().await;
        let mut patient = desk.connect_by(framing, 0, &customer).await;
        let mut doctor = desk.connect_by(framing, 1, &dentist).await;
        patient.join(&id, None).await;
        doctor.join(&id, None).await;
        Self { id, patient, doctor }
    }

    /// Sends all messages, with a few unanswered at a time, while the other end receives them.
    async fn run(&mut self, messages: usize) {
        let sending = async {
            let mut under_way = std::collections::VecDeque::new();
            for number in 0..messages {
                let text = json!({
                    "sessionId": self.id, "clientId": number.to_string(), "kind": "text",
                    "body": "Could we move my appointment to Thursday afternoon, please?",
                });
                under_way.push_back(self.patient.ask("message:send", &text).await);
                if under_way.len() == WINDOW {
                    self.patient.answer(under_way.pop_front().unwrap()).await.unwrap();
                }
            }
            for id in under_way {
                self.patient.answer(id).await.unwrap();
            }
        };
        let hearing = async {
            for seq in 1..=messages {
                assert_eq!(self.doctor.message().await["seq"], seq);
            }
        };
        tokio::join!(sending, hearing);
    }
}

/// CPU time of a process so far, in milliseconds (proc(5); a tick is 10 ms).
fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

/// Results of one round.
struct Round {
    messages_per_s: f64,
    cpu_us: f64,
    memory_kib: f64,
}

async fn round(desk: &Arc<Desk>, framing: Framing, sessions: usize, messages: usize) -> Round {
    let pids: Vec<u32> = desk.nodes.iter().map(Node::pid).collect();
    let memory = || desk.nodes.iter().map(Node::memory_kib).sum::<u64>();
    let empty = memory();
    let mut opening = JoinSet::new();
    for _ in 0..sessions {
        opening.spawn(Session::open(Arc::clone(desk), framing));
    }
    let open = opening.join_all().await;
    let full = memory();

    let start = Arc::new(Barrier::new(sessions + 1));
    let mut running = JoinSet::new();
    for mut session in open {
        let start = Arc::clone(&start);
        running.spawn(async move {
            start.wait().await;
            session.run(messages).await;
            session
        });
    }
    let before: u64 = pids.iter().map(|pid| cpu_ms(*pid)).sum();
    start.wait().await;
    let started = Instant::now();
    let done = running.join_all().await;
    let took = started.elapsed();
    let spent = pids.iter().map(|pid| cpu_ms(*pid)).sum::<u64>() - before;
    drop(done);
    let all = (sessions * messages) as f64;
    Round {
        messages_per_s: all / took.as_secs_f64(),
        cpu_us: spent as f64 * 1_000.0 / all,
        memory_kib: full.saturating_sub(empty) as f64 / (sessions * 2) as f64,
    }
}

fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[tokio::main]
async fn main() {
    let numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (sessions, messages, rounds) = (number(0, 1_000), number(1, 20), number(2, 3));
    let desk = Arc::new(Desk::cluster(env!("CARGO_BIN_EXE_frontdesk"), 2).await);
    println!(
        "{sessions} sessions, each with one end on each of two nodes; {messages} messages in each,"
    );
    println!("each once and in order; medians of {rounds} rounds\n");
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (framing, figures) in [Framing::Native, Framing::SocketIo].into_iter().zip(&mut figures)
        {
            figures.push(round(&desk, framing, sessions, messages).await);
        }
    }
    let [native, socketio] = &figures;
    println!("                          native  Socket.IO");
    let line = |name: &str, figure: fn(&Round) -> f64| {
        println!("{name:<24}{:>8.1}{:>11.1}", median(native, figure), median(socketio, figure));
    };
    line("messages a second", |round| round.messages_per_s);
    line("server CPU, µs a message", |round| round.cpu_us);
    // Later rounds reuse memory of earlier ones; only the first shows the memory of a connection.
    println!("KiB a connection        {:>8.1}", native[0].memory_kib);
    let ratio = median(socketio, |round| round.cpu_us) / median(native, |round| round.cpu_us);
    println!("\nSocket.IO takes {ratio:.2} times the CPU of the native framing");
}
