//! What a message costs where the two ends of its session are on different nodes, on PostgreSQL and
//! Redis: messages a second, and the nodes' CPU time a message.
//!
//! `cargo bench --bench cross_node [-- SESSIONS MESSAGES]`: so many sessions, so many messages in
//! each. Clients and servers share the machine, so the rate is the machine's; the CPU time, read from
//! `/proc`, is the nodes' own. Every message is checked to arrive once and in order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{sync::Arc, time::Instant};

use frontdesk_test_support::{Client, Desk};
use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet};

/// How many sends each client has under way.
const WINDOW: usize = 4;

struct Session {
    id: String,
    patient: Client,
    doctor: Client,
}

impl Session {
    async fn open(desk: Arc<Desk>) -> Self {
        let (customer, dentist, id) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        let mut doctor = desk.connect(1, &dentist).await;
        patient.join(&id, None).await;
        doctor.join(&id, None).await;
        Self { id, patient, doctor }
    }

    /// Sends all, keeping a few under way, while the other end listens.
    async fn run(mut self, messages: usize) {
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

/// Memory of a process in KiB.
fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::main]
async fn main() {
    let numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let sessions = numbers.first().copied().unwrap_or(1_000);
    let messages = numbers.get(1).copied().unwrap_or(50);
    let desk = Arc::new(Desk::cluster(env!("CARGO_BIN_EXE_frontdesk"), 2).await);
    let pids: Vec<u32> = desk.nodes.iter().map(frontdesk_test_support::Node::pid).collect();
    let empty: u64 = pids.iter().map(|pid| rss_kib(*pid)).sum();

    let mut opening = JoinSet::new();
    (0..sessions).for_each(|_| drop(opening.spawn(Session::open(Arc::clone(&desk)))));
    let open = opening.join_all().await;
    let full: u64 = pids.iter().map(|pid| rss_kib(*pid)).sum();

    let start = Arc::new(Barrier::new(sessions + 1));
    let mut running = JoinSet::new();
    for session in open {
        let start = Arc::clone(&start);
        running.spawn(async move {
            start.wait().await;
            session.run(messages).await;
        });
    }
    let before: u64 = pids.iter().map(|pid| cpu_ms(*pid)).sum();
    start.wait().await;
    let started = Instant::now();
    running.join_all().await;
    let took = started.elapsed();
    let spent = pids.iter().map(|pid| cpu_ms(*pid)).sum::<u64>() - before;

    let all = (sessions * messages) as f64;
    println!("sessions                 {sessions}, each with one end on each of two nodes");
    println!("messages                 {all}, each once and in order");
    println!("messages a second        {:.0}", all / took.as_secs_f64());
    println!("server CPU a message     {:.1} µs (both nodes)", spent as f64 * 1_000.0 / all);
    let connections = (sessions * 2) as f64;
    println!(
        "memory a connection      {:.1} KiB, over {empty} KiB for two empty nodes",
        full.saturating_sub(empty) as f64 / connections
    );
}
