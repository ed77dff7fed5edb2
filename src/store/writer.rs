//! The group-committing writer: what all connections of this node send is committed in batches.
//!
//! Law I3: a sender hears of its message after the commit, and so does the bus. While one batch is
//! being committed the next one gathers; an idle writer waits for nobody.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{Appended, Refusal, Store, StoreError};
use crate::{
    bus::Bus,
    error::Error,
    inbox::Inbox,
    message::Draft,
    traces::{Append, Queued},
    wire::broadcast::Broadcast,
};

/// How many sends wait at most; one more is answered `busy`.
const QUEUE: usize = 8_192;
/// The largest batch: enough to make the commit cheap, small enough to be quick.
const BATCH: usize = 256;
/// How long a send may wait for a database that is away, before it hears so.
const PATIENCE: Duration = Duration::from_secs(8);
/// How soon a batch is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Takes drafts in; clones share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    closing: Arc<Notify>,
}

#[derive(Debug)]
struct Job {
    draft: Draft,
    deadline: Instant,
    trace: Option<Queued>,
    answer: oneshot::Sender<Result<Appended, Error>>,
}

/// A send that is under way: resolves when the database has decided.
#[derive(Debug)]
pub(crate) struct Pending(oneshot::Receiver<Result<Appended, Error>>);

impl Pending {
    pub(crate) async fn decided(self) -> Result<Appended, Error> {
        self.0.await.unwrap_or(Err(Error::Unavailable))
    }
}

impl Writer {
    /// Starts the writer. After [`Writer::close`] the task ends, with everything decided.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        inbox: Arc<Inbox>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let closing = Arc::new(Notify::new());
        let task = tokio::spawn(run(jobs, Arc::clone(&closing), store, bus, inbox));
        (Self { queue, closing }, task)
    }

    /// Takes no more; what was taken is decided.
    pub(crate) fn close(&self) {
        self.closing.notify_one();
    }

    /// Queues a draft. Drafts are committed in the order of these calls, which is why this does not
    /// wait: a connection's sends keep the order in which they arrived.
    pub(crate) fn submit(&self, draft: Draft) -> Result<Pending, Error> {
        let (answer, pending) = oneshot::channel();
        let (deadline, trace) = (Instant::now() + PATIENCE, Queued::now());
        let job = Job { draft, deadline, trace, answer };
        self.queue.try_send(job).map_err(|_| Error::Busy)?;
        Ok(Pending(pending))
    }
}

async fn run(
    mut jobs: mpsc::Receiver<Job>,
    closing: Arc<Notify>,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    inbox: Arc<Inbox>,
) {
    let mut waiting: Vec<Job> = Vec::with_capacity(BATCH);
    loop {
        let room = BATCH.saturating_sub(waiting.len());
        if waiting.is_empty() {
            tokio::select! {
                taken = jobs.recv_many(&mut waiting, room) => if taken == 0 { return },
                () = closing.notified() => jobs.close(),
            }
        } else {
            // A repeat was put off; what has come meanwhile goes with it, if anything has.
            waiting.extend((0..room).map_while(|_| jobs.try_recv().ok()));
        }
        let batch = split_repeats(&mut waiting);
        if !batch.is_empty() {
            commit(batch, &*store, &*bus, &inbox).await;
        }
    }
}

/// Takes a batch without repeats; a repeat stays behind for the next one, and finds the first there.
fn split_repeats(waiting: &mut Vec<Job>) -> Vec<Job> {
    let mut batch: Vec<Job> = Vec::with_capacity(waiting.len());
    let mut seen = std::collections::HashSet::with_capacity(waiting.len());
    let mut later = Vec::new();
    for job in waiting.drain(..) {
        let key = (job.draft.session_id, job.draft.sender.clone(), job.draft.client_id.clone());
        if seen.insert(key) { batch.push(job) } else { later.push(job) }
    }
    *waiting = later;
    batch
}

/// Commits a batch, or finds the ones in it that can't be: halves what the database refuses, and
/// tries again what it was not there for.
async fn commit(batch: Vec<Job>, store: &dyn Store, bus: &dyn Bus, inbox: &Inbox) {
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let mut part = give_up_late(part);
        if part.is_empty() {
            continue;
        }
        let drafts: Vec<Draft> = part.iter().map(|job| job.draft.clone()).collect();
        let traced = part.iter_mut().filter_map(|job| job.trace.as_mut());
        let append = Append::begin(traced, drafts.len());
        let outcome = store.append(&drafts).await;
        append.end(outcome.as_ref().err());
        match outcome {
            Ok(appended) => settle(part, appended, bus, inbox),
            Err(StoreError::Refused(_)) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                // The first half is next: the order within a session stays.
                parts.push(second);
                parts.push(part);
            }
            Err(StoreError::Refused(source)) => {
                tracing::warn!(error = %source, "a message was refused by the database");
                for job in part {
                    answer(job, Ok(Appended::Refused(Refusal::Value)));
                }
            }
            Err(StoreError::Unavailable(source)) => {
                tracing::warn!(error = %source, sends = part.len(), "a batch was not committed");
                tokio::time::sleep(RETRY).await;
                parts.push(part);
            }
        }
    }
}

fn settle(part: Vec<Job>, appended: Vec<Appended>, bus: &dyn Bus, inbox: &Inbox) {
    for (mut job, appended) in part.into_iter().zip(appended) {
        if let Appended::Committed(message) = &appended {
            let cause = job.trace.take().map(Queued::parent);
            bus.publish(Broadcast::message_new(message).caused_by(cause));
            inbox.changed(message.session_id);
        }
        answer(job, Ok(appended));
    }
}

/// Whoever has waited for too long hears so, be it in a try or in the queue.
fn give_up_late(part: Vec<Job>) -> Vec<Job> {
    let now = Instant::now();
    let (late, rest): (Vec<_>, Vec<_>) = part.into_iter().partition(|job| job.deadline <= now);
    for job in late {
        answer(job, Err(Error::Unavailable));
    }
    rest
}

fn answer(job: Job, result: Result<Appended, Error>) {
    // Whoever asked may have gone; the message is committed all the same.
    drop(job.answer.send(result));
}
