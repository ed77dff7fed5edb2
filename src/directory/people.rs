//! People as chat knows them: what the directory has said, for a while, and the store's rows kept up
//! with it.
//!
//! Only who opens a session with someone new waits for the directory. Everyone else is shown as the
//! store has them; whoever was not looked up for a lifetime is, behind the scenes, one at a time.

mod relations;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dashmap::DashSet;
use moka::{Expiry, future::Cache};
use tokio::{sync::mpsc, time::Instant};

use super::{Directory, DirectoryError, Entry};
use crate::{
    metrics::directory::DirectoryCounts,
    person::{Person, PersonKind},
    session::Session,
    store::Store,
};
use relations::Relations;

/// How many entries are kept.
const ENTRIES: u64 = 10_000;
/// How long nobody is, at most: an account that was just made is soon found.
const UNKNOWN: Duration = Duration::from_secs(10);
/// How long a directory that has failed is left alone.
const REST: Duration = Duration::from_secs(1);
/// How many people wait to be looked up again; one more waits until they are seen the next time.
const QUEUE: usize = 1_024;

type Found = Option<Arc<Entry>>;

pub(crate) struct People {
    directory: Arc<dyn Directory>,
    store: Arc<dyn Store>,
    found: Cache<Person, Found>,
    relations: Relations,
    /// Until when the directory is left alone, and why.
    resting: Mutex<Option<(Instant, DirectoryError)>>,
    queue: mpsc::Sender<Person>,
    /// Who is in the queue: each once.
    queued: DashSet<Person>,
    counts: DirectoryCounts,
}

/// How long what was found counts.
struct Lifetime(Duration);

impl Lifetime {
    fn of(&self, found: &Found) -> Duration {
        if found.is_some() { self.0 } else { self.0.min(UNKNOWN) }
    }
}

impl Expiry<Person, Found> for Lifetime {
    fn expire_after_create(
        &self,
        _: &Person,
        found: &Found,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(self.of(found))
    }

    fn expire_after_update(
        &self,
        _: &Person,
        found: &Found,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.of(found))
    }
}

impl People {
    pub(crate) fn start(
        directory: Arc<dyn Directory>,
        store: Arc<dyn Store>,
        lifetime: Duration,
        counts: DirectoryCounts,
    ) -> Arc<Self> {
        let (queue, seen) = mpsc::channel(QUEUE);
        let found = Cache::builder().max_capacity(ENTRIES).expire_after(Lifetime(lifetime)).build();
        let (resting, queued) = (Mutex::default(), DashSet::new());
        let relations = relations::cache();
        let people =
            Arc::new(Self { directory, store, found, relations, resting, queue, queued, counts });
        tokio::spawn(Arc::clone(&people).keep_looking_up(seen));
        people
    }

    /// What the directory says of a person; `None` where it doesn't know the person. One look-up at
    /// a time for each.
    pub(crate) async fn look_up(&self, person: &Person) -> Result<Found, DirectoryError> {
        let found = self.found.try_get_with_by_ref(person, self.ask(person)).await;
        found.map_err(|error| DirectoryError::clone(&error))
    }

    /// A person is there: if it is time to, they are looked up soon.
    pub(crate) fn seen(&self, person: &Person) {
        if self.found.contains_key(person) || !self.queued.insert(person.clone()) {
            return;
        }
        if self.queue.try_send(person.clone()).is_err() {
            self.queued.remove(person);
        }
    }

    /// The members of a session were shown to someone.
    pub(crate) fn shown(&self, session: &Session) {
        self.seen(&session.customer.person);
        self.seen(&session.dentist.person);
    }

    /// Adds what only this member may see: a dentist sees the customer's e-mail, where it is at hand.
    pub(crate) async fn disclose(&self, me: &Person, session: &mut Session) {
        if me.kind == PersonKind::Dentist {
            let customer = self.found.get(&session.customer.person).await.flatten();
            session.customer.email = customer.and_then(|entry| entry.email.clone());
        }
    }

    /// How many people wait to be looked up again.
    pub(crate) fn waiting(&self) -> usize {
        self.queued.len()
    }

    /// Whether the directory answers.
    pub(crate) async fn ping(&self) -> Result<(), DirectoryError> {
        self.directory.ping().await
    }

    async fn keep_looking_up(self: Arc<Self>, mut seen: mpsc::Receiver<Person>) {
        while let Some(person) = seen.recv().await {
            self.queued.remove(&person);
            // Whoever can't be looked up now is shown by the last known name until the next time.
            drop(self.look_up(&person).await);
        }
    }

    async fn ask(&self, person: &Person) -> Result<Found, DirectoryError> {
        let found = self.counted(self.directory.person(person), Option::is_some).await?;
        if let Some(entry) = &found {
            let renamed = self.store.rename(person, &entry.name, entry.avatar_url.as_ref()).await;
            if let Err(error) = renamed {
                tracing::warn!(%error, "a last known name can't be kept for now");
            }
        }
        Ok(found.map(Arc::new))
    }

    /// One look-up in the directory, unless it is left alone.
    async fn counted<T>(
        &self,
        asked: impl Future<Output = Result<T, DirectoryError>>,
        is_found: impl FnOnce(&T) -> bool,
    ) -> Result<T, DirectoryError> {
        if let Some(error) = self.resting() {
            self.counts.spared.inc();
            return Err(error);
        }
        let began = Instant::now();
        let answer = asked.await;
        self.counts.took.took(began.elapsed());
        let outcome = match &answer {
            Ok(found) if is_found(found) => &self.counts.found,
            Ok(_) => &self.counts.unknown,
            Err(_) => &self.counts.failed,
        };
        outcome.inc();
        answer.inspect_err(|error| self.rest(error))
    }

    /// Why the directory is left alone, if it is.
    fn resting(&self) -> Option<DirectoryError> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, error) = resting.as_ref()?;
        (Instant::now() < *until).then(|| error.clone())
    }

    fn rest(&self, error: &DirectoryError) {
        tracing::warn!(%error, "the directory is not available");
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        *resting = Some((Instant::now() + REST, error.clone()));
    }
}

#[cfg(test)]
mod tests;
