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
    metrics::writer::WriterCounts,
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
    counts: WriterCounts,
}

#[derive(Debug)]
struct Job {
    draft: Draft,
    accepted: Instant,
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
        counts: WriterCounts,
    ) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let closing = Arc::new(Notify::new());
        let desk = Desk { store, bus, inbox, counts: counts.clone() };
        let task = tokio::spawn(run(jobs, Arc::clone(&closing), desk));
        (Self { queue, closing, counts }, task)
    }

    /// Takes no more; what was taken is decided.
    pub(crate) fn close(&self) {
        self.closing.notify_one();
    }

    /// Queues a draft. Drafts are committed in the order of these calls, which is why this does not
    /// wait: a connection's sends keep the order in which they arrived.
    pub(crate) fn submit(&self, draft: Draft) -> Result<Pending, Error> {
        let (answer, pending) = oneshot::channel();
        let job = Job { draft, accepted: Instant::now(), trace: Queued::now(), answer };
        self.queue.try_send(job).map_err(|_| {
            self.counts.busy.inc();
            Error::Busy
        })?;
        Ok(Pending(pending))
    }

    /// How many sends wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// Where the task takes batches to, and what hears of them then.
struct Desk {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    inbox: Arc<Inbox>,
    counts: WriterCounts,
}

async fn run(mut jobs: mpsc::Receiver<Job>, closing: Arc<Notify>, desk: Desk) {
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
            desk.commit(batch).await;
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

impl Desk {
    /// Commits a batch, or finds the ones in it that can't be: halves what the database refuses, and
    /// tries again what it was not there for.
    async fn commit(&self, batch: Vec<Job>) {
        let (taken, counts) = (Instant::now(), &self.counts);
        for job in &batch {
            counts.delivery.writer_queue.took(taken - job.accepted);
        }
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let mut part = self.give_up_late(part);
            if part.is_empty() {
                continue;
            }
            let drafts: Vec<Draft> = part.iter().map(|job| job.draft.clone()).collect();
            let traced = part.iter_mut().filter_map(|job| job.trace.as_mut());
            let append = Append::begin(traced, drafts.len());
            let outcome = self.store.append(&drafts).await;
            append.end(outcome.as_ref().err());
            match outcome {
                Ok(appended) => {
                    counts.batches_committed.inc();
                    counts.batch.count(drafts.len());
                    counts.delivery.commit.took_each(taken.elapsed(), part.len());
                    self.settle(part, appended);
                }
                Err(StoreError::Refused(_)) if part.len() > 1 => {
                    counts.batches_refused.inc();
                    let second = part.split_off(part.len() / 2);
                    // The first half is next: the order within a session stays.
                    parts.push(second);
                    parts.push(part);
                }
                Err(StoreError::Refused(source)) => {
                    counts.batches_refused.inc();
                    tracing::warn!(error = %source, "a message was refused by the database");
                    for job in part {
                        self.answer(job, Ok(Appended::Refused(Refusal::Value)));
                    }
                }
                Err(StoreError::Unavailable(source)) => {
                    counts.batches_unavailable.inc();
                    tracing::warn!(error = %source, sends = part.len(), "a batch was not committed");
                    tokio::time::sleep(RETRY).await;
                    parts.push(part);
                }
            }
        }
    }

    fn settle(&self, part: Vec<Job>, appended: Vec<Appended>) {
        for (mut job, appended) in part.into_iter().zip(appended) {
            if let Appended::Committed(message) = &appended {
                let sent = self.counts.delivery.sent(job.accepted);
                let cause = job.trace.take().map(Queued::parent);
                self.bus.publish(Broadcast::message_sent(message, sent).caused_by(cause));
                self.inbox.changed(message.session_id);
            }
            self.answer(job, Ok(appended));
        }
    }

    /// Whoever has waited for too long hears so, be it in a try or in the queue.
    fn give_up_late(&self, part: Vec<Job>) -> Vec<Job> {
        let now = Instant::now();
        let (late, rest): (Vec<_>, Vec<_>) =
            part.into_iter().partition(|job| job.accepted + PATIENCE <= now);
        for job in late {
            self.answer(job, Err(Error::Unavailable));
        }
        rest
    }

    fn answer(&self, job: Job, result: Result<Appended, Error>) {
        self.counts.answered(&result);
        // Whoever asked may have gone; the message is committed all the same.
        drop(job.answer.send(result));
    }
}
