//! Fair turns for costly reads. A read is accounted to its person, whichever socket or request it comes by.
//!
//! Reads are of a few kinds. Of each kind a person has one under way on this node (pictures: two), and the
//! node a few; the others wait. Turns go round by person, so a hundred requests of one person delay nobody
//! else. A long read is followed by a rest of the same length, so that nobody keeps a core of the database
//! busy alone.

pub mod counts;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::reads::counts::{ReadCounts, Waits};
use model::person::Person;
use protocol::error::Error;

/// Maximum duration of a read without a rest after it.
const FREE: Duration = Duration::from_millis(50);
/// Maximum rest.
const REST_MAX: Duration = Duration::from_secs(1);
/// Retry delay after a refusal.
const RETRY: Duration = Duration::from_secs(1);

/// A costly read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A session, and the page in the answer to its join.
    Join,
    /// A later page, until the connection is live.
    CatchUp,
    /// A page of messages over HTTP.
    History,
    /// A full-text search.
    Search,
    /// A page of sessions.
    List,
    /// Counts of unread messages.
    Unread,
    /// A query of the directory for a person.
    Open,
    /// The check of an upload.
    Picture,
}

/// Limits of one kind of read.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Maximum number under way on this node.
    node: usize,
    /// Maximum number under way for one person.
    person: usize,
    /// Maximum number waiting for one person. Further ones are refused.
    waiting: usize,
    /// Time limit of the wait.
    timeout: Duration,
}

/// Pages of messages. As many may wait as twenty sockets have requests under way, and for long. So no app
/// that reconnects with all its sessions is refused, even if ten thousand reconnect at once.
const PAGES: Kind = Kind { node: 8, person: 1, waiting: 640, timeout: Duration::from_secs(30) };
const SEARCHES: Kind = Kind { node: 4, person: 1, waiting: 8, timeout: Duration::from_secs(3) };
const LISTS: Kind = Kind { node: 8, person: 1, waiting: 32, timeout: Duration::from_secs(8) };
/// Opened sessions wait for the directory, which may hang.
const OPENS: Kind = Kind { node: 256, person: 1, waiting: 8, timeout: Duration::from_secs(8) };
/// Checks of pictures wait for S3, which may hang.
const PICTURES: Kind = Kind { node: 64, person: 2, waiting: 64, timeout: Duration::from_secs(8) };

/// All reads of this node.
#[derive(Debug)]
pub struct Reads {
    pages: Arc<Queue>,
    searches: Arc<Queue>,
    lists: Arc<Queue>,
    opens: Arc<Queue>,
    pictures: Arc<Queue>,
    counts: ReadCounts,
}

impl Reads {
    /// Permits for this node, all free.
    pub fn new(counts: ReadCounts) -> Self {
        let [pages, searches, lists, opens, pictures] =
            [PAGES, SEARCHES, LISTS, OPENS, PICTURES].map(Queue::new);
        Self { pages, searches, lists, opens, pictures, counts }
    }

    fn queue(&self, operation: Operation) -> &Arc<Queue> {
        match operation {
            Operation::Join | Operation::CatchUp | Operation::History => &self.pages,
            Operation::Search => &self.searches,
            Operation::List | Operation::Unread => &self.lists,
            Operation::Open => &self.opens,
            Operation::Picture => &self.pictures,
        }
    }

    /// Waits until this person may read. Refuses if too many of their reads wait already, or if the node is
    /// too busy.
    pub async fn permit(&self, operation: Operation, person: &Person) -> Result<ReadPermit, Error> {
        let (queue, counts) = (self.queue(operation), self.counts.of(operation));
        let Some(waiting) = queue.enter(person, queue.kind.waiting) else {
            counts.refused.inc();
            return Err(Error::RateLimited(RETRY));
        };
        let granted = timeout(queue.kind.timeout, waiting.granted(counts)).await;
        granted.map_err(|_| {
            counts.refused.inc();
            Error::Busy
        })
    }

    /// Waits without a time limit: for the rest of a read that was permitted before. A connection has at most
    /// as many of these as requests under way.
    pub async fn permit_rest(&self, operation: Operation, person: &Person) -> ReadPermit {
        let (queue, counts) = (self.queue(operation), self.counts.of(operation));
        queue.push(person).granted(counts).await
    }
}

/// The reads of one kind.
#[derive(Debug)]
struct Queue {
    kind: Kind,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// People with a read under way, waiting or resting; nobody else.
    people: HashMap<Person, Share>,
    /// People with a waiting read that may have one more under way: each once, in the order of turns.
    ready: VecDeque<Person>,
    last_number: u64,
}

/// One person's reads.
#[derive(Debug, Default)]
struct Share {
    /// Under way, or resting.
    under_way: usize,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    is_ready: bool,
}

impl State {
    /// Puts the person at the end of the round, if they have a read that may start.
    fn line_up(&mut self, person: &Person, kind: Kind) {
        let Some(share) = self.people.get_mut(person) else { return };
        if share.waiting.is_empty() && share.under_way == 0 {
            self.people.remove(person);
        } else if !share.is_ready && !share.waiting.is_empty() && share.under_way < kind.person {
            share.is_ready = true;
            self.ready.push_back(person.clone());
        }
    }

    /// Permits as many reads as the node has room for.
    fn grant(&mut self, kind: Kind) {
        while self.under_way < kind.node {
            let Some(person) = self.ready.pop_front() else { return };
            let Some(share) = self.people.get_mut(&person) else { continue };
            share.is_ready = false;
            if let Some((_, granted)) = share.waiting.pop_front() {
                share.under_way += 1;
                self.under_way += 1;
                // The receiver exists: a read that gives up leaves the queue first.
                let (Ok(()) | Err(())) = granted.send(());
            }
            self.line_up(&person, kind);
        }
    }
}

impl Queue {
    fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self { kind, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a waiting read of this person. `None` if too many wait.
    fn enter(self: &Arc<Self>, person: &Person, waiting_max: usize) -> Option<Waiting> {
        let mut state = self.state();
        let waiting = state.people.get(person).map_or(0, |share| share.waiting.len());
        (waiting < waiting_max).then(|| self.push_to(&mut state, person))
    }

    fn push(self: &Arc<Self>, person: &Person) -> Waiting {
        self.push_to(&mut self.state(), person)
    }

    fn push_to(self: &Arc<Self>, state: &mut State, person: &Person) -> Waiting {
        let (grant, granted) = oneshot::channel();
        state.last_number += 1;
        let number = state.last_number;
        state.people.entry(person.clone()).or_default().waiting.push_back((number, grant));
        state.line_up(person, self.kind);
        state.grant(self.kind);
        let (queue, person) = (Arc::clone(self), person.clone());
        Waiting { place: Some((queue, person)), number, granted }
    }

    /// Ends a read's wait. Frees its place in the queue, or the permit that it received meanwhile.
    fn give_up(&self, person: &Person, number: u64) {
        let mut state = self.state();
        let Some(share) = state.people.get_mut(person) else { return };
        if let Some(at) = share.waiting.iter().position(|(other, _)| *other == number) {
            share.waiting.remove(at);
            if share.waiting.is_empty() && share.is_ready {
                share.is_ready = false;
                state.ready.retain(|ready| ready != person);
            }
            state.line_up(person, self.kind);
            return;
        }
        drop(state);
        self.end();
        self.end_rest(person);
    }

    /// Ends a read: the node has room for the next one.
    fn end(&self) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.grant(self.kind);
    }

    /// Ends a rest: the person may have one more read.
    fn end_rest(&self, person: &Person) {
        let mut state = self.state();
        if let Some(share) = state.people.get_mut(person) {
            share.under_way = share.under_way.saturating_sub(1);
        }
        state.line_up(person, self.kind);
        state.grant(self.kind);
    }
}

/// A read that waits for its turn. When dropped, it gives up its place.
#[derive(Debug)]
struct Waiting {
    /// `None` once it is permitted.
    place: Option<(Arc<Queue>, Person)>,
    number: u64,
    granted: oneshot::Receiver<()>,
}

impl Waiting {
    async fn granted(mut self, counts: &Waits) -> ReadPermit {
        let _waiting = counts.begin();
        // The sender is dropped only with this value.
        drop((&mut self.granted).await);
        ReadPermit { place: self.place.take(), began: Instant::now() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((queue, person)) = self.place.take() {
            queue.give_up(&person, self.number);
        }
    }
}

/// Permits one read for as long as it is held.
#[derive(Debug)]
pub struct ReadPermit {
    place: Option<(Arc<Queue>, Person)>,
    began: Instant,
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        let Some((queue, person)) = self.place.take() else { return };
        let took = self.began.elapsed();
        queue.end();
        if took > FREE
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                sleep(took.min(REST_MAX)).await;
                queue.end_rest(&person);
            });
        } else {
            queue.end_rest(&person);
        }
    }
}
