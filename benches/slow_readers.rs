//! Effect of slow readers on everyone else: delivery time of a message while others in a busy
//! session read, and while they do not.
//!
//! `cargo bench --bench slow_readers [-- MESSAGES ROUNDS]`: messages in a phase, and rounds of the
//! two phases. A talker fills a session with large messages at the same rate in both. In one phase
//! its readers read. In the other they stall until they are closed with 4408, and reconnect.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use frontdesk_test_support::{Client, Desk};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

/// Number of connections in the busy session that read or stall.
const READERS: usize = 20;
/// Interval of the talker's messages, and their size in bytes.
const PACE: Duration = Duration::from_millis(5);
const SIZE: usize = 30_000;

/// Sends large messages until it is dropped.
async fn talk(mut talker: Client, session: String, round: usize) {
    let (body, mut ticks) = ("x".repeat(7_500).replace('x', "😀"), interval(PACE));
    assert_eq!(body.len(), SIZE);
    for number in 0.. {
        ticks.tick().await;
        let key = format!("{round}-{number}");
        let text = json!({
            "sessionId": session, "clientId": key, "kind": "text", "body": body,
        });
        talker.ask("message:send", &text).await;
        drop(talker.answers_so_far());
        // The talker reads its answers.
        drop(tokio::time::timeout(Duration::from_micros(100), talker.next()).await);
    }
}

/// Joins the busy session and reads; or stalls, and reconnects after the close. Runs until it is
/// dropped.
async fn hear(address: SocketAddr, token: String, session: String, reads: bool) {
    loop {
        let mut client = Client::connect(address, &token).await;
        client.ask("session:join", &json!({ "sessionId": session })).await;
        if reads {
            while client.next().await.is_some() {}
        } else {
            sleep(Duration::from_secs(3)).await;
        }
    }
}

/// Delivery time of each message.
async fn phase(desk: &Desk, messages: usize, round: usize, reads: bool) -> Vec<Duration> {
    let (customer, dentist, busy) = desk.pair().await;
    let mut others = JoinSet::new();
    for _ in 0..READERS {
        let address = desk.nodes[0].address;
        others.spawn(hear(address, dentist.token.clone(), busy.clone(), reads));
    }
    others.spawn(talk(desk.connect(0, &customer).await, busy, round));

    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    let mut took = Vec::with_capacity(messages);
    for number in 0..messages {
        let started = Instant::now();
        patient.send(&session, &number.to_string(), "May I come on Thursday?").await;
        doctor.message().await;
        took.push(started.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    took
}

fn percentile(took: &mut [Duration], percent: usize) -> Duration {
    took.sort_unstable();
    took[(took.len() - 1) * percent / 100]
}

#[tokio::main]
async fn main() {
    let numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (messages, rounds) = (number(0, 1_000), number(1, 3));
    let desk = Desk::embedded(env!("CARGO_BIN_EXE_frontdesk")).await;
    let (mut reading, mut stalling) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        reading.extend(phase(&desk, messages, 2 * round, true).await);
        stalling.extend(phase(&desk, messages, 2 * round + 1, false).await);
    }
    println!("{READERS} readers of a busy session, and how long a message takes in another one:");
    println!("                   they read  they stall  ratio");
    for percent in [50, 99] {
        let (calm, hard) = (percentile(&mut reading, percent), percentile(&mut stalling, percent));
        let ratio = hard.as_secs_f64() / calm.as_secs_f64();
        let millis = |took: Duration| took.as_secs_f64() * 1_000.0;
        let (calm, hard) = (millis(calm), millis(hard));
        println!("p{percent}, ms            {calm:>8.2}{hard:>12.2}{ratio:>7.2}");
    }
}
