//! One round: devices talk, parts break and are mended, all devices settle, and the checker judges.

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

/// Number of sessions.
const SESSIONS: usize = 5;
/// Number of sessions in tenant main.
const OF_MAIN: usize = 3;
/// Average pause of a device between two messages.
const PAUSE: Duration = Duration::from_millis(350);
/// Time limit for all devices to settle after the last fault is mended.
const SETTLING: Duration = Duration::from_secs(90);

/// Steps of a round: one fault, or one within another, and their duration.
pub(crate) type Plan = Vec<(Vec<Fault>, Duration)>;

/// Result of a round.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) acknowledged: usize,
    pub(crate) heard: usize,
    pub(crate) connections: usize,
    pub(crate) slowest: Duration,
    pub(crate) history: History,
}

/// All participants of a round.
struct People {
    history: History,
    recorder: Arc<Recorder>,
    progress: Arc<Mutex<Vec<Progress>>>,
    /// Session that each reader reads; the readers have the first device numbers.
    readers: Vec<String>,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
}

impl People {
    /// Two devices for each customer, one for each dentist, a photographer, and a stranger. One
    /// customer has no device and so gets pushes. The people of the last sessions have the ids of the first ones, in a
    /// second tenant; so has the stranger, who is in no session there.
    async fn gather(world: &World, seed: u64) -> Self {
        let mut people = Self {
            history: History::default(),
            recorder: Arc::new(Recorder::start()),
            progress: Arc::default(),
            readers: Vec::new(),
            phase: watch::Sender::new(Phase::Talk),
            tasks: JoinSet::new(),
        };
        let (pairs, outsider) = pairs(world).await;
        let mut devices = Vec::new();
        for (number, Pair { customer, dentist, session }) in pairs.into_iter().enumerate() {
            let members = vec![customer.id.clone(), dentist.id.clone()];
            people.history.members.insert(session.clone(), members);
            let away = number == 0;
            for person in [&customer, &customer, &dentist] {
                if !away || person.id != customer.id {
                    devices.push((person.clone(), session.clone()));
                }
            }
        }
        // One more for the photographer.
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
        let stranger = Stranger {
            number: people.add(&outsider),
            person: outsider,
            sessions: people.history.members.keys().cloned().collect(),
            nodes: world.addresses(),
            recorder: Arc::clone(&people.recorder),
            phase: people.phase.subscribe(),
            rng: StdRng::seed_from_u64(seed),
        };
        people.tasks.spawn(stranger.run());
        people
    }

    /// Adds a device of a person and returns its number.
    fn add(&mut self, person: &Person) -> usize {
        self.history.devices.push(person.id.clone());
        self.history.devices.len() - 1
    }

    /// Waits until every send has a reply and every reader has every message, or [`SETTLING`] has
    /// passed.
    async fn settle(&self, world: &World) {
        self.phase.send_replace(Phase::Settle);
        let until = Instant::now() + SETTLING;
        loop {
            let mut last = HashMap::new();
            for session in self.history.members.keys() {
                last.insert(session.clone(), world.stored(session).await.len() as u64);
            }
            let progress = self.progress.lock().unwrap().clone();
            // An open send may still become a message.
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

/// A session and its members.
struct Pair {
    customer: Person,
    dentist: Person,
    session: String,
}

/// Opens the sessions. Also returns someone who is in none of them.
async fn pairs(world: &World) -> (Vec<Pair>, Person) {
    let mut pairs: Vec<Pair> = Vec::new();
    for number in 0..SESSIONS {
        let twins = pairs.get(number.wrapping_sub(OF_MAIN));
        let twins = twins.and_then(|of| world.twins(&of.customer, &of.dentist));
        let is_twin = twins.is_some();
        let [mut customer, mut dentist] = match twins {
            Some(people) => people,
            None => [world.customer().await, world.dentist(number as u64).await],
        };
        let session = world.session(&customer, &dentist).await;
        if is_twin {
            name_as_twin(&mut customer);
            name_as_twin(&mut dentist);
        }
        pairs.push(Pair { customer, dentist, session });
    }
    let last = &pairs[OF_MAIN - 1];
    let mut outsider = match world.twins(&last.customer, &last.dentist) {
        Some([customer, _]) => customer,
        None => world.customer().await,
    };
    name_as_twin(&mut outsider);
    (pairs, outsider)
}

/// Gives a person of the second tenant a name of their own in the history, whose checker knows people by name.
fn name_as_twin(person: &mut Person) {
    person.id.insert_str(0, "second tenant/");
}

/// Plays a round with this seed.
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
    // The last changes may take as long as any other.
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
