//! The writer's queue: waiting sends in their order of arrival, and the choice of the next batch.
//!
//! It is pure: no lock, no clock, no I/O. One sender and one session have a bounded share of the
//! queue, and of a batch while others wait. A session in trouble is committed apart from the
//! others, until its sends are committed or overdue.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::trouble::Trouble;
use crate::{store::Appended, writer::spans::Queued};
use model::{ids::SessionKey, message::Draft, person::Person};
use protocol::error::Error;

/// Maximum of waiting sends; one more is rejected with `busy`.
const QUEUE: usize = 8_192;
/// Maximum of one sender, and of one session: nobody fills the queue alone.
const QUEUE_OF_SENDER: usize = QUEUE / 8;
const QUEUE_OF_SESSION: usize = QUEUE / 4;
/// Maximum of a batch: large enough to make the commit cheap, small enough to be quick.
const BATCH: usize = 256;
/// Maximum of one sender, and of one session, in a batch while others wait.
const BATCH_OF_SENDER: usize = BATCH / 8;
const BATCH_OF_SESSION: usize = BATCH / 4;
/// Time after which a waiting send is answered with `unavailable`.
const SEND_TIMEOUT: Duration = Duration::from_secs(8);

/// A send that is not decided yet.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) draft: Draft,
    pub(super) accepted: Instant,
    /// Time when it first became part of a batch.
    pub(super) taken: Option<Instant>,
    pub(super) trace: Option<Queued>,
    pub(super) answer: oneshot::Sender<Result<Appended, Error>>,
    /// Position in the order of arrival.
    number: u64,
}

/// Batches are committed on two connections, so that a session in trouble delays no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Main,
    /// For sessions whose sends could not be committed together with others.
    Apart,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Main, Self::Apart];
}

/// The next step of a lane.
#[derive(Debug)]
pub(super) enum Next {
    Commit(Vec<Job>),
    /// Nothing, until a send arrives or this time comes.
    Wait(Option<Instant>),
    /// Nothing any more: the queue is closed, and everything is decided.
    End,
}

/// Maximum of drafts in a batch: in all, of one sender, of one session.
#[derive(Clone, Copy)]
struct Shares {
    all: usize,
    sender: usize,
    session: usize,
}

#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: BTreeMap<u64, Job>,
    arrived: u64,
    /// Numbers of undecided sends, waiting or under way: by sender, and by session.
    senders: HashMap<Person, usize>,
    sessions: HashMap<SessionKey, usize>,
    undecided: usize,
    /// Sessions of each lane's current batch. The other lane takes none of their sends, which keeps
    /// the order.
    main: HashSet<SessionKey>,
    apart: HashSet<SessionKey>,
    troubles: HashMap<SessionKey, Trouble>,
    /// Batch size of the lane apart: halved after a failure, doubled after a success.
    suspects: usize,
    is_closed: bool,
}

impl Backlog {
    /// Queues a send. `None` if a limit is reached; nothing is changed then.
    pub(super) fn admit(
        &mut self,
        draft: Draft,
        trace: Option<Queued>,
        now: Instant,
    ) -> Option<(Lane, oneshot::Receiver<Result<Appended, Error>>)> {
        let (sender, session) = (self.of_sender(&draft.sender), self.of_session(draft.session()));
        let full = self.undecided >= QUEUE;
        if self.is_closed || full || sender >= QUEUE_OF_SENDER || session >= QUEUE_OF_SESSION {
            return None;
        }
        self.undecided += 1;
        self.senders.insert(draft.sender.clone(), sender + 1);
        self.sessions.insert(draft.session(), session + 1);
        let lane = self.troubles.get(&draft.session()).map_or(Lane::Main, |it| it.kind.lane());
        let (answer, pending) = oneshot::channel();
        self.arrived += 1;
        let number = self.arrived;
        let job = Job { draft, accepted: now, taken: None, trace, answer, number };
        self.waiting.insert(number, job);
        Some((lane, pending))
    }

    /// Refuses new sends.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Number of sessions whose sends wait for a locked row, or are tried apart.
    pub(super) fn troubled(&self) -> usize {
        self.troubles.len()
    }

    /// Whether any send waits or is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.undecided > 0
    }

    fn of_sender(&self, sender: &Person) -> usize {
        self.senders.get(sender).copied().unwrap_or_default()
    }

    fn of_session(&self, id: SessionKey) -> usize {
        self.sessions.get(&id).copied().unwrap_or_default()
    }

    /// Removes the sends that have waited too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Job> {
        let mut overdue = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            if now < first.get().accepted + SEND_TIMEOUT {
                break;
            }
            overdue.push(first.remove());
        }
        overdue
    }

    /// Takes the lane's next batch. Two tries of one send are never in the same batch: the second
    /// one must find the first one stored.
    pub(super) fn next(&mut self, lane: Lane, now: Instant) -> Next {
        let chosen = match lane {
            Lane::Main => self.choose_main(now),
            Lane::Apart => self.choose_apart(now),
        };
        if chosen.is_empty() {
            let is_over = self.is_closed && self.undecided == 0;
            return if is_over { Next::End } else { Next::Wait(self.next_due(now)) };
        }
        let batch: Vec<Job> =
            chosen.iter().filter_map(|number| self.waiting.remove(number)).collect();
        let ids = batch.iter().map(|job| job.draft.session()).collect();
        *self.under_way(lane) = ids;
        Next::Commit(batch)
    }

    fn under_way(&mut self, lane: Lane) -> &mut HashSet<SessionKey> {
        match lane {
            Lane::Main => &mut self.main,
            Lane::Apart => &mut self.apart,
        }
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let late = self.waiting.first_key_value().map(|(_, job)| job.accepted + SEND_TIMEOUT);
        let due = self.troubles.iter().filter(|(id, _)| self.sessions.contains_key(id));
        let due = due.map(|(_, trouble)| trouble.due).filter(|due| *due > now);
        late.into_iter().chain(due).min()
    }

    fn choose_main(&self, now: Instant) -> Vec<u64> {
        let is_ready = |job: &Job| {
            let id = job.draft.session();
            !self.apart.contains(&id)
                && self.troubles.get(&id).is_none_or(|it| it.is_due(Lane::Main, now))
        };
        let many = Shares { all: BATCH, sender: BATCH_OF_SENDER, session: BATCH_OF_SESSION };
        let chosen = self.choose(is_ready, many);
        let drafts = || chosen.iter().filter_map(|number| Some(&self.waiting.get(number)?.draft));
        let Some(first) = drafts().next() else { return chosen };
        // The shares apply only while others wait.
        let one_sender = drafts().all(|draft| draft.sender == first.sender);
        let one_session = drafts().all(|draft| draft.session() == first.session());
        let alone = Shares {
            sender: if one_sender { BATCH } else { many.sender },
            session: if one_session { BATCH } else { many.session },
            ..many
        };
        if one_sender || one_session { self.choose(is_ready, alone) } else { chosen }
    }

    fn choose_apart(&self, now: Instant) -> Vec<u64> {
        if self.troubles.is_empty() {
            return Vec::new();
        }
        let trouble = |job: &Job| {
            let id = job.draft.session();
            let trouble = self.troubles.get(&id).filter(|it| it.is_due(Lane::Apart, now));
            trouble.filter(|_| !self.main.contains(&id))
        };
        let first = self.waiting.iter().find_map(|(number, job)| Some((number, trouble(job)?)));
        match first {
            None => Vec::new(),
            Some((number, trouble)) if trouble.is_guilty() => vec![*number],
            Some(_) => {
                let is_suspect = |job: &Job| trouble(job).is_some_and(|it| !it.is_guilty());
                let all = self.suspects.max(1);
                self.choose(is_suspect, Shares { all, sender: all, session: all })
            }
        }
    }

    /// The first sends that are ready and within the shares. A used-up share stays used up for the
    /// rest of the batch, which keeps the order of each sender and session.
    fn choose(&self, is_ready: impl Fn(&Job) -> bool, shares: Shares) -> Vec<u64> {
        let (mut senders, mut sessions) = (HashMap::new(), HashMap::new());
        let (mut chosen, mut seen) = (Vec::new(), HashSet::new());
        for (number, job) in &self.waiting {
            if chosen.len() >= shares.all {
                break;
            }
            let Draft { sender, client_id, .. } = &job.draft;
            let session = job.draft.session();
            let of_sender = senders.entry(sender).or_insert(0);
            let of_session = sessions.entry(session).or_insert(0);
            let fits = *of_sender < shares.sender && *of_session < shares.session;
            if fits && is_ready(job) && seen.insert((session, sender, client_id)) {
                *of_sender += 1;
                *of_session += 1;
                chosen.push(*number);
            }
        }
        chosen
    }

    /// Puts sends back into their positions.
    pub(super) fn put_back(&mut self, jobs: Vec<Job>) {
        self.waiting.extend(jobs.into_iter().map(|job| (job.number, job)));
    }

    /// A send is decided: it no longer counts for its sender and its session.
    pub(super) fn decided(&mut self, draft: &Draft) {
        self.undecided = self.undecided.saturating_sub(1);
        one_less(&mut self.senders, &draft.sender);
        one_less(&mut self.sessions, &draft.session());
    }

    /// Ends a lane's batch. Undecided sends have been put back before.
    pub(super) fn landed(&mut self, lane: Lane) {
        self.under_way(lane).clear();
    }

    /// A batch was committed, without the sends of the locked sessions.
    pub(super) fn committed(&mut self, lane: Lane, locked: &HashSet<SessionKey>, now: Instant) {
        if lane == Lane::Apart {
            self.suspects = (self.suspects * 2).clamp(1, BATCH);
        }
        for id in self.under_way(lane).clone() {
            if locked.contains(&id) {
                self.troubles.entry(id).or_insert_with(|| Trouble::new(now)).was_locked(now);
            } else if self.troubles.get_mut(&id).is_some_and(|trouble| trouble.went_well(now)) {
                self.troubles.remove(&id);
            }
        }
        let sessions = &self.sessions;
        self.troubles.retain(|id, it| sessions.contains_key(id) || it.is_remembered(now));
    }

    /// A batch failed because of its content. Its sessions are tried apart from now on, in halves.
    /// A send that fails alone is at fault.
    pub(super) fn failed(&mut self, lane: Lane, drafts: usize, now: Instant) {
        let is_alone = lane == Lane::Apart && drafts == 1;
        if !is_alone {
            let half = (drafts / 2).max(1);
            self.suspects = if self.suspects == 0 { half } else { self.suspects.min(half) };
        }
        for id in self.under_way(lane).clone() {
            let trouble = self.troubles.entry(id).or_insert_with(|| Trouble::new(now));
            if is_alone {
                trouble.failed_alone(now);
            } else {
                trouble.is_suspected(now);
            }
        }
    }
}

fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
