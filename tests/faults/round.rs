//! One round: people talk, things break and are mended, everyone settles, and the checker looks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use frontdesk_test_support::Person;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    checker::{self, DUE, Violation},
    device::{Device, Phase, Progress, Reading, Sending},
    fault::{Fault, strike},
    history::{Fact, History, Recorder},
    photographer::Photographer,
    stranger::Stranger,
    world::World,
};

/// How many sessions are talked in.
const SESSIONS: u64 = 5;
/// How long a device pauses between two messages, on the average.
const PAUSE: Duration = Duration::from_millis(350);
/// How long everyone may take to settle when everything is well again.
const SETTLING: Duration = Duration::from_secs(90);

/// What is to go wrong, one after the other: a fault, or one within another, for so long.
pub(crate) type Plan = Vec<(Vec<Fault>, Duration)>;

/// What a round came to.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) acknowledged: usize,
    pub(crate) heard: usize,
    pub(crate) connections: usize,
    pub(crate) slowest: Duration,
    pub(crate) history: History,
}

/// Everyone in a round.
struct People {
    history: History,
    recorder: Arc<Recorder>,
    progress: Arc<Mutex<Vec<Progress>>>,
    /// The session that each device reads; the first devices are readers.
    readers: Vec<String>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
}

impl People {
    /// Two devices for each customer, one for each dentist, someone who sends pictures, and a stranger;
    /// one customer is away all the while, and gets pushes.
    async fn gather(world: &World, seed: u64) -> Self {
        let mut people = Self {
            history: History::default(),
            recorder: Arc::new(Recorder::start()),
            progress: Arc::default(),
            readers: Vec::new(),
            phase: watch::Sender::new(Phase::Talk),
            tasks: JoinSet::new(),
        };
        let mut devices = Vec::new();
        for number in 0..SESSIONS {
            let (customer, dentist) = (world.customer().await, world.dentist(number).await);
            let session = world.session(&customer, &dentist).await;
            let members = vec![customer.id.clone(), dentist.id.clone()];
            people.history.members.insert(session.clone(), members);
            let away = number == 0;
            for person in [&customer, &customer, &dentist] {
                if !away || person.id != customer.id {
                    devices.push((person.clone(), session.clone()));
                }
            }
        }
        // One more, for the one who sends pictures.
        people.progress.lock().unwrap().resize(devices.len() + 1, Progress::default());
        let photographer = devices[devices.len() - 1].clone();
        for (person, session) in devices {
            people.readers.push(session.clone());
            let number = people.add(&person);
            let device = Device {
                number,
                person,
                session,
                nodes: world.addresses(),
                recorder: Arc::clone(&people.recorder),
                progress: Arc::clone(&people.progress),
                phase: people.phase.subscribe(),
                rng: StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64)),
                pause: PAUSE,
                reading: Reading::default(),
                sending: Sending::default(),
            };
            people.tasks.spawn(device.run());
        }
        let (person, session) = photographer;
        let photographer = Photographer {
            number: people.add(&person),
            person,
            session,
            nodes: world.addresses(),
            recorder: Arc::clone(&people.recorder),
            progress: Arc::clone(&people.progress),
            phase: people.phase.subscribe(),
            rng: StdRng::seed_from_u64(seed),
        };
        people.tasks.spawn(photographer.run());
        let person = world.customer().await;
        let stranger = Stranger {
            number: people.add(&person),
            person,
            sessions: people.history.members.keys().cloned().collect(),
            nodes: world.addresses(),
            recorder: Arc::clone(&people.recorder),
            phase: people.phase.subscribe(),
            rng: StdRng::seed_from_u64(seed),
        };
        people.tasks.spawn(stranger.run());
        people
    }

    /// A device of someone's: its number.
    fn add(&mut self, person: &Person) -> usize {
        self.history.devices.push(person.id.clone());
        self.history.devices.len() - 1
    }

    /// Waits until everything was answered and everyone has everything, or for long enough.
    async fn settle(&self, world: &World) {
        self.phase.send_replace(Phase::Settle);
        let until = Instant::now() + SETTLING;
        loop {
            let mut last = HashMap::new();
            for session in self.history.members.keys() {
                last.insert(session.clone(), world.stored(session).await.len() as u64);
            }
            let progress = self.progress.lock().unwrap().clone();
            // What is open may still become a message.
            let answered = progress.iter().all(|device| device.open == 0);
            let mut reading = self.readers.iter().zip(&progress);
            let read = reading.all(|(session, device)| device.position >= last[session]);
            if (answered && read) || Instant::now() > until {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Plays a round by its seed.
pub(crate) async fn play(world: &mut World, seed: u64, plan: &Plan) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut people = People::gather(world, seed).await;
    let mut troubles = Vec::new();
    for (faults, hold) in plan {
        sleep(Duration::from_millis(rng.random_range(300..900))).await;
        let began = people.recorder.now();
        strike(world, faults, *hold, &mut rng).await;
        if faults.iter().any(|fault| fault.is_trouble()) {
            troubles.push((began, people.recorder.now()));
        }
    }
    for node in 0..world.nodes.len() {
        world.ready(node).await;
    }
    people.settle(world).await;
    // What was changed last may take as long as anything.
    sleep(DUE).await;
    people.phase.send_replace(Phase::End);
    while people.tasks.join_next().await.is_some() {}

    let mut history = people.history;
    history.entries = people.recorder.entries();
    history.troubles = troubles;
    for session in history.members.keys().cloned().collect::<Vec<_>>() {
        history.stored.extend(world.stored(&session).await);
    }
    let (violations, slowest) = checker::check(&history);
    let count =
        |is: fn(&Fact) -> bool| history.entries.iter().filter(|entry| is(&entry.fact)).count();
    Outcome {
        violations,
        acknowledged: count(|fact| matches!(fact, Fact::Acknowledged(_))),
        heard: count(|fact| matches!(fact, Fact::Heard(_))),
        connections: count(|fact| matches!(fact, Fact::Joined { .. })),
        slowest,
        history,
    }
}
