//! The group-committing writer: all sends of this node's connections are committed in batches.
//!
//! Law I3: a message is acknowledged to its sender and published on the bus after its commit. While
//! one batch is being committed the next one gathers; an idle writer waits for nothing. A batch
//! that the database rejects because of its content goes to a second lane, which finds the cause.
//! Other sends are committed meanwhile.

mod backlog;
pub mod counts;
mod progress;
mod spans;
mod trouble;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until},
};

use self::{
    backlog::{Backlog, Job, Lane, Next},
    progress::Progress,
};
use crate::store::messages::{Appended, Messages, Refusal};
use crate::{
    inbox::Inbox,
    writer::{
        counts::WriterCounts,
        spans::{Append, Queued},
    },
};
use bus::{PubSub, broadcast::Broadcast};
use db::StoreError;
use model::message::Draft;
use platform::{
    jobs::JobsDue,
    tasks::{Stage, Tasks},
};
use protocol::error::Error;

pub use self::progress::Commits;

/// Pause before a batch is tried again while the database is down.
const RETRY: Duration = Duration::from_millis(200);
/// Time limit of a batch in the database, without its commit. A batch of 256 takes about 20 ms.
const BATCH_TIME: Duration = Duration::from_millis(500);
/// Time limit of a send that is tried alone on the lane apart.
const ALONE_TIME: Duration = Duration::from_secs(2);

/// Entry to the queue of drafts; clones share one queue.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    counts: WriterCounts,
}

/// A send that is under way. It resolves when the database has decided.
#[derive(Debug)]
pub(crate) struct Pending(oneshot::Receiver<Result<Appended, Error>>);

impl Pending {
    pub(crate) async fn decided(self) -> Result<Appended, Error> {
        self.0.await.unwrap_or(Err(Error::Unavailable))
    }
}

/// Parts of the writer.
pub struct WriterParts {
    /// Background tasks.
    pub tasks: Tasks,
    /// Commits batches.
    pub store: Arc<dyn Messages>,
    /// Publishes committed messages.
    pub bus: Arc<dyn PubSub>,
    /// Publishes changed sessions.
    pub inbox: Arc<Inbox>,
    /// Commits of sends.
    pub counts: WriterCounts,
    /// Wakes the workers of jobs that an append has written.
    pub due: JobsDue,
}

impl Writer {
    /// Starts the writer. After [`Writer::close`] its task ends once everything is decided.
    pub fn start(parts: WriterParts) -> Self {
        let WriterParts { tasks, store, bus, inbox, counts, due } = parts;
        let queue = Arc::new(Queue::default());
        let committer =
            Committer { store, bus, inbox, counts: counts.clone(), queue: Arc::clone(&queue), due };
        tasks.spawn_settling(Stage::Commits, "writer", async move {
            tokio::join!(committer.run(Lane::Main), committer.run(Lane::Apart));
        });
        Self { queue, counts }
    }

    /// Refuses new drafts. The queued ones are still decided.
    pub fn close(&self) {
        self.queue.state().backlog.close();
        self.queue.wake_all();
    }

    /// Queues a draft. A session's drafts are committed in the order of these calls. Therefore this
    /// function does not wait: a connection's sends keep their order of arrival.
    pub(crate) fn submit(&self, draft: Draft) -> Result<Pending, Error> {
        let (trace, now) = (Queued::now(), Instant::now());
        let mut state = self.queue.state();
        if !state.backlog.is_busy() {
            state.progress.begin(now);
        }
        let admitted = state.backlog.admit(draft, trace, now);
        drop(state);
        let Some((lane, pending)) = admitted else {
            self.counts.busy.inc();
            return Err(Error::Busy);
        };
        self.queue.wake(lane);
        Ok(Pending(pending))
    }

    /// Number of sends that wait.
    pub fn waiting(&self) -> usize {
        self.queue.state().backlog.waiting()
    }

    /// Number of sessions whose sends wait for a locked row, or are tried apart.
    pub fn troubled(&self) -> usize {
        self.queue.state().backlog.troubled()
    }

    /// State of the commits.
    pub fn commits(&self) -> Commits {
        let state = self.queue.state();
        state.progress.commits(state.backlog.is_busy(), Instant::now())
    }

    /// Time since the last commit, while sends wait.
    pub fn stalled_for(&self) -> Duration {
        let state = self.queue.state();
        state.progress.stalled_for(state.backlog.is_busy(), Instant::now())
    }
}

/// The waiting sends, and a notification for each lane.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    main: Notify,
    apart: Notify,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    progress: Progress,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Main => &self.main,
            Lane::Apart => &self.apart,
        }
    }

    fn wake(&self, lane: Lane) {
        self.notify(lane).notify_one();
    }

    fn wake_all(&self) {
        for lane in Lane::ALL {
            self.wake(lane);
        }
    }

    /// The sends that have waited too long, and the lane's next step.
    fn next(&self, lane: Lane) -> (Vec<Job>, Next) {
        let now = Instant::now();
        let mut state = self.state();
        let overdue = state.backlog.overdue(now);
        let next = state.backlog.next(lane, now);
        if let Next::Commit(_) = &next {
            state.progress.try_begins(now);
        }
        (overdue, next)
    }

    /// Ends a lane's batch, after `note` has recorded its outcome.
    fn land(&self, lane: Lane, note: impl FnOnce(&mut State, Instant)) {
        let mut state = self.state();
        note(&mut state, Instant::now());
        state.backlog.landed(lane);
        drop(state);
        self.wake_all();
    }
}

/// Commits batches, then publishes them.
struct Committer {
    store: Arc<dyn Messages>,
    bus: Arc<dyn PubSub>,
    inbox: Arc<Inbox>,
    counts: WriterCounts,
    queue: Arc<Queue>,
    due: JobsDue,
}

impl Committer {
    async fn run(&self, lane: Lane) {
        loop {
            let (overdue, next) = self.queue.next(lane);
            let some_overdue = !overdue.is_empty();
            for job in overdue {
                self.answer(job, Err(Error::Unavailable));
            }
            let woken = self.queue.notify(lane).notified();
            match next {
                Next::Commit(batch) => self.commit(lane, batch).await,
                // The other lane may wait for exactly these sends to be decided.
                Next::Wait(_) if some_overdue => self.queue.wake_all(),
                Next::Wait(None) => woken.await,
                Next::Wait(Some(due)) => tokio::select! {
                    () = woken => {}
                    () = sleep_until(due) => {}
                },
                Next::End => return,
            }
        }
    }

    /// Tries to commit a batch. Undecided sends go back into the queue.
    async fn commit(&self, lane: Lane, mut batch: Vec<Job>) {
        let (taken, counts) = (Instant::now(), &self.counts);
        for job in &mut batch {
            if job.taken.is_none() {
                counts.delivery.writer_queue.took(taken - job.accepted);
                job.taken = Some(taken);
            }
        }
        let drafts: Vec<Draft> = batch.iter().map(|job| job.draft.clone()).collect();
        let is_alone = lane == Lane::Apart && drafts.len() == 1;
        let limit = if is_alone { ALONE_TIME } else { BATCH_TIME };
        let append =
            Append::begin(batch.iter_mut().filter_map(|job| job.trace.as_mut()), drafts.len());
        let outcome = self.store.append_within(&drafts, limit).await;
        append.end(outcome.as_ref().err().map(StoreError::kind));
        match outcome {
            Ok(appended) => self.settle(lane, batch, appended),
            Err(StoreError::Refused(source)) if drafts.len() == 1 => {
                self.queue.state().progress.committed();
                counts.batches_refused.inc();
                tracing::warn!(error = %source, "message refused by the database");
                for job in batch {
                    self.answer(job, Ok(Appended::Refused(Refusal::Value)));
                }
                self.land_well(lane, Vec::new());
            }
            Err(error @ (StoreError::Refused(_) | StoreError::Contended(_))) => {
                self.split(lane, batch, &error);
                if is_alone {
                    self.probe().await;
                }
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Disk(_))) => {
                counts.batches_unavailable.inc();
                tracing::warn!(%error, sends = batch.len(), "batch not committed; retried");
                let disk = matches!(error, StoreError::Disk(_));
                self.queue.land(lane, |state, now| {
                    state.progress.failed(disk, now);
                    state.backlog.put_back(batch);
                });
                sleep(RETRY).await;
            }
        }
    }

    /// The batch's content prevents its commit: the lane apart finds the cause.
    fn split(&self, lane: Lane, batch: Vec<Job>, error: &StoreError) {
        match error {
            StoreError::Refused(_) => self.counts.batches_refused.inc(),
            _ => self.counts.batches_contended.inc(),
        };
        let sends = batch.len();
        match batch.first() {
            Some(job) if lane == Lane::Apart && sends == 1 => {
                let session = job.draft.session_id.0;
                tracing::warn!(%error, %session, "send not committed; other sessions continue");
            }
            _ => tracing::info!(%error, sends, "batch split and retried"),
        }
        self.queue.land(lane, |state, now| {
            state.backlog.failed(lane, sends, now);
            state.backlog.put_back(batch);
        });
    }

    /// After a send failed alone, an empty batch shows whether the database commits anything at
    /// all.
    async fn probe(&self) {
        if self.store.append_within(&[], BATCH_TIME).await.is_ok() {
            self.queue.state().progress.answered();
        }
    }

    fn settle(&self, lane: Lane, batch: Vec<Job>, appended: Vec<Appended>) {
        let (mut decided, mut locked) = (Vec::with_capacity(batch.len()), Vec::new());
        for (job, appended) in batch.into_iter().zip(appended) {
            match appended {
                Appended::Locked => locked.push(job),
                appended => decided.push((job, appended)),
            }
        }
        if decided.is_empty() {
            self.queue.state().progress.answered();
        } else {
            self.queue.state().progress.committed();
            self.counts.batches_committed.inc();
            self.counts.batch.count(decided.len());
            if let Some(delay) = self.store.job_delay() {
                self.due.written(delay);
            }
        }
        for (mut job, appended) in decided {
            if let Some(taken) = job.taken {
                self.counts.delivery.commit.took(taken.elapsed());
            }
            if let Appended::Committed(message) = &appended {
                let sent = self.counts.delivery.sent(job.accepted);
                let cause = job.trace.take().map(Queued::parent);
                self.bus.publish(Broadcast::message_sent(message, sent).caused_by(cause));
                self.inbox.changed(message.session());
            }
            self.answer(job, Ok(appended));
        }
        self.land_well(lane, locked);
    }

    /// The database has decided a batch, except for the sends of sessions whose rows were locked.
    fn land_well(&self, lane: Lane, locked: Vec<Job>) {
        let waiting: HashSet<_> = locked.iter().map(|job| job.draft.session()).collect();
        self.queue.land(lane, |state, now| {
            state.backlog.committed(lane, &waiting, now);
            state.backlog.put_back(locked);
        });
    }

    fn answer(&self, job: Job, result: Result<Appended, Error>) {
        self.queue.state().backlog.decided(&job.draft);
        self.counts.answered(&result);
        // The sender may have disconnected; the message is committed all the same.
        drop(job.answer.send(result));
    }
}
