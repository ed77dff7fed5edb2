//! Strangers who hold connections: unfinished handshakes, and connections without a request. Other
//! users still get in.

use std::{
    collections::VecDeque,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use frontdesk_test_support::{Desk, Http, PATIENCE, Person, Victim, while_it_progresses};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::{Instant, sleep, timeout},
};

use crate::FRONTDESK;

/// Time limit for a newcomer to connect beside an attack, on a busy machine.
const SOON: Duration = Duration::from_secs(2);
/// Number of newcomers during the attack.
const NEWCOMERS: usize = 30;
/// Number of attackers, each with at most a hundred requests a second.
const ATTACKERS: usize = 8;
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A script that runs the binary with this limit of descriptors.
fn with_descriptors(limit: usize) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "#!/bin/sh\nulimit -n {limit}\nexec {FRONTDESK} \"$@\"\n").unwrap();
    let path = file.into_temp_path();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Waits for this number of evictions by a limit, which show that all places are taken.
async fn until_full(http: &Http, limit: &str, evictions: u64) {
    let full = async {
        while evicted(http, limit).await < evictions {
            sleep(Duration::from_millis(250)).await;
        }
    };
    while_it_progresses("all places fill", full, async || evicted(http, limit).await).await;
}

/// Number of connections that the node evicted by this limit.
async fn evicted(http: &Http, limit: &str) -> u64 {
    let metrics = http.get("/metrics").await.text;
    let name = format!(r#"frontdesk_refusals_total{{limit="{limit}"}} "#);
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
}

/// Begins handshakes from this number of networks, one after the other, until the end of the attack.
async fn begin_handshakes(http: &Http, networks: u32, next: &AtomicU32, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let network = next.fetch_add(1, Ordering::SeqCst) % networks;
        let from = format!("2001:{:x}:{:x}::1", network >> 8, network & 0xff);
        let headers = [("x-forwarded-for", from.as_str())];
        let begun = http.send(Method::GET, POLLING, None, &headers).await;
        // No handshake may be refused here, because a newcomer would be refused too.
        assert_eq!(begun.status, 200, "{}", begun.text);
        // The pause leaves CPU time for the node and the victim, which share the cores with the
        // attackers.
        sleep(Duration::from_millis(10)).await;
    }
}

/// Connects as a stock client does: polls, connects with its token, and waits for the confirmation.
async fn come_in(http: &Http, person: &Person) -> Result<Duration, String> {
    let headers = [("x-forwarded-for", "198.51.100.7")];
    let ask = async |method, path: &str, body| {
        let reply = http.send(method, path, body, &headers).await;
        if reply.status == 200 { Ok(reply.text) } else { Err(reply.text) }
    };
    let began = Instant::now();
    let opened = ask(Method::GET, POLLING, None).await?;
    let opened: Value = serde_json::from_str(&opened[1..]).unwrap();
    let path = format!("{POLLING}&sid={}", opened["sid"].as_str().unwrap());
    let connect = format!("40{}", json!({ "token": person.token }));
    ask(Method::POST, &path, Some(connect)).await?;
    let told = ask(Method::GET, &path, None).await?;
    if told.starts_with("40{") { Ok(began.elapsed()) } else { Err(told) }
}

async fn handshakes_keep_nobody_out(networks: u32) {
    // A quarter of the descriptors are places for strangers: 1,000, which fill within seconds.
    let binary = with_descriptors(4_000);
    let proxy = [("TRUSTED_PROXIES", "127.0.0.1")];
    let desk = Desk::embedded_with(binary.to_str().unwrap(), &proxy).await;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let (next, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    // One client for all, because building one blocks this thread for a while.
    let http = Http::new(desk.nodes[0].address, None);
    let attacking = (0..ATTACKERS).map(|_| begin_handshakes(&http, networks, &next, &is_over));
    let newcomers = async {
        until_full(&http, "strangers", 500).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..NEWCOMERS {
            let took = come_in(&http, &desk.customer()).await.expect("a newcomer is kept out");
            slowest = slowest.max(took);
        }
        is_over.store(true, Ordering::SeqCst);
        slowest
    };
    let attack = async {
        let attacking = futures_util::future::join_all(attacking);
        tokio::join!(attacking, newcomers).1
    };
    let (beside, slowest) = victim.measure_beside(Box::pin(attack)).await;
    assert!(slowest < SOON, "the slowest newcomer took {slowest:?}");
    beside.are_as_if_alone(&alone);
    assert!(desk.nodes[0].memory_kib() < 512 * 1024, "{} KiB", desk.nodes[0].memory_kib());
}

#[tokio::test]
async fn c5_handshakes_from_128_networks_that_never_finish_keep_nobody_out() {
    handshakes_keep_nobody_out(128).await;
}

#[tokio::test]
async fn c5_handshakes_from_65536_networks_that_never_finish_keep_nobody_out() {
    handshakes_keep_nobody_out(65_536).await;
}

/// Keeps this number of idle connections open from an address, and always opens more.
async fn crowd(address: SocketAddr, from: Ipv4Addr, count: usize, is_over: &AtomicBool) {
    let mut open = VecDeque::new();
    while !is_over.load(Ordering::SeqCst) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        // An attacker does not care whether the connection is closed at once or the backlog is full.
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(1), socket.connect(address)).await {
            open.push_back(stream);
        }
        if open.len() > count {
            open.pop_front();
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn c13_idle_connections_from_ten_addresses_keep_nobody_out() {
    const DESCRIPTORS: usize = 1_200;
    let (binary, each) = (with_descriptors(DESCRIPTORS), 250);
    let desk = Desk::embedded(binary.to_str().unwrap()).await;
    let address = desk.nodes[0].address;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let is_over = AtomicBool::new(false);
    let http = Http::new(address, None);
    let attacking = (2..12).map(|n| crowd(address, Ipv4Addr::new(127, 0, 0, n), each, &is_over));
    let newcomers = async {
        until_full(&http, "idle", 1_000).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..NEWCOMERS {
            let began = Instant::now();
            let asking = async {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let head = "GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            };
            timeout(PATIENCE, asking).await.expect("a newcomer is not answered");
            slowest = slowest.max(began.elapsed());
        }
        let open = desk.nodes[0].descriptors();
        is_over.store(true, Ordering::SeqCst);
        (slowest, open)
    };
    let attack = async {
        let attacking = futures_util::future::join_all(attacking);
        tokio::join!(attacking, newcomers).1
    };
    let (beside, (slowest, open)) = victim.measure_beside(Box::pin(attack)).await;
    assert!(slowest < SOON, "the slowest newcomer took {slowest:?}");
    assert!(open < DESCRIPTORS / 2, "{open} descriptors are in use");
    let starved = desk.nodes[0].log().iter().any(|line| line.contains("accept failed"));
    assert!(!starved, "the node ran out of descriptors");
    beside.are_as_if_alone(&alone);
}
