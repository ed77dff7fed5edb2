//! The promises under every fault of the catalogue: devices talk while parts break, and a checker
//! judges their records.
//!
//! A test run plays every fault once. `scripts/soak` continues for an hour with up to two faults at a
//! time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and a soak tells how it goes"
)]

mod broken_histories;
mod checker;
mod device;
mod echo;
mod fault;
mod history;
mod photographer;
mod round;
mod stranger;
mod world;

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use frontdesk_test_support::eventually;
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};

use fault::ALL;
use round::{Outcome, Plan, play};
use world::World;

/// Number of nodes.
const NODES: usize = 3;
/// Number of steps in a round of a soak.
const BLOWS: usize = 14;
/// Limit of a node's open descriptors after all clients left: its listener, pool and connections to
/// servers.
const DESCRIPTORS: usize = 100;

/// Number from an environment variable.
#[expect(clippy::disallowed_methods, reason = "it is how scripts/soak tells what to do")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: must be a number")))
}

/// Binaries of the nodes: this build, and optionally an older one beside it.
#[expect(clippy::disallowed_methods, reason = "it is how scripts/soak tells what to do")]
fn binaries() -> Vec<String> {
    let mut binaries = vec![env!("CARGO_BIN_EXE_frontdesk").to_owned()];
    binaries.extend(std::env::var("SOAK_OLD_BINARY").ok());
    binaries
}

/// Every fault once, in random order.
fn every_fault(rng: &mut StdRng) -> Plan {
    let mut faults = ALL;
    faults.shuffle(rng);
    let blow = |fault| (vec![fault], Duration::from_millis(rng.random_range(700..1_600)));
    faults.into_iter().map(blow).collect()
}

/// Random faults, some of them within another, for longer.
fn some_faults(rng: &mut StdRng) -> Plan {
    let mut plan = Vec::new();
    while plan.len() < BLOWS {
        let fault = *ALL.choose(rng).unwrap();
        let mut blow = vec![fault];
        let within = *ALL.choose(rng).unwrap();
        if fault.lasts() && fault.goes_with(within) && rng.random_bool(0.6) {
            blow.push(within);
        }
        plan.push((blow, Duration::from_millis(rng.random_range(1_000..8_000))));
    }
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn the_promises_hold_under_every_fault() {
    let mut seed = number("SOAK_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let until = Instant::now() + Duration::from_secs(number("SOAK_S").unwrap_or(0));
    let mut world = World::start(&binaries(), NODES).await;
    let mut round = number("SOAK_ROUND").unwrap_or(0);
    let mut broken = 0;
    loop {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = if round == 0 { every_fault(&mut rng) } else { some_faults(&mut rng) };
        println!("SOAK_ROUND={round} SOAK_SEED={seed}: {}", told(&plan));
        let outcome = play(&mut world, seed, &plan).await;
        report(&outcome, &world);
        broken += outcome.violations.len();
        nothing_is_left(&world).await;
        round += 1;
        seed += 1;
        if Instant::now() >= until {
            break;
        }
    }
    assert_eq!(broken, 0, "promises were broken; they are listed above");
}

/// The plan as a line of text.
fn told(plan: &Plan) -> String {
    let mut line = String::new();
    for (faults, hold) in plan {
        write!(line, "{faults:?} {:.1} s, ", hold.as_secs_f64()).unwrap();
    }
    line
}

fn report(outcome: &Outcome, world: &World) {
    let Outcome { violations, acknowledged, heard, connections, slowest, history } = outcome;
    println!(
        "  {acknowledged} acknowledged, {heard} heard, {connections} connections, slowest {:.1} s \
         where all was well, {} violations",
        slowest.as_secs_f64(),
        violations.len(),
    );
    for node in &world.nodes {
        println!("  a node: {} KiB, {} descriptors", node.memory_kib(), node.descriptors());
    }
    for violation in violations {
        println!("  {violation}");
    }
    if !violations.is_empty() {
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = dir.join(format!("history-{}.txt", uuid::Uuid::now_v7()));
        let mut text = format!("{:?}\n", history.troubles);
        for entry in &history.entries {
            writeln!(text, "{:?} {} {:?}", entry.at, entry.device, entry.fact).unwrap();
        }
        for (number, node) in world.nodes.iter().enumerate() {
            writeln!(text, "\nnode {number}, {}:\n{}", node.address, node.log().join("\n"))
                .unwrap();
        }
        std::fs::write(&file, text).unwrap();
        println!("  what everyone saw: {}", file.display());
    }
    // A round without traffic would prove nothing.
    assert!(*acknowledged > 100 && *heard > 100, "there was no traffic");
    // Only pictures have an empty text.
    let is_picture = |told: &history::Told| told.body.is_empty();
    let sent = |entry: &history::Entry| matches!(&entry.fact, history::Fact::Acknowledged(told) if is_picture(told));
    assert!(history.entries.iter().any(sent), "no picture was sent");
    assert!(
        world.onesignal.made_so_far() > 0,
        "no push was made, though a customer was away all the time"
    );
}

/// Rows F10 and F30: after all clients left, no subscription and no descriptor remains.
async fn nothing_is_left(world: &World) {
    eventually("no channel has a subscriber", async || {
        world.redis[0].command("PUBSUB CHANNELS frontdesk:[su]*").await.starts_with("*0")
    })
    .await;
    for node in &world.nodes {
        eventually("the descriptors are closed", async || node.descriptors() < DESCRIPTORS).await;
    }
}
