//! Cached directory entries, and the copies of names in the store.
//!
//! Only opening a session with a new person waits for the directory. Everyone else is shown from the
//! store. A person without a cached entry is looked up in the background, one at a time.

mod relations;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dashmap::DashSet;
use moka::{Expiry, future::Cache};
use tokio::{sync::mpsc, time::Instant};

use super::{Directory, DirectoryError, Entry};
use crate::{directory::counts::DirectoryCounts, people_table::PeopleTable};
use model::{
    ids::TenantId,
    person::{Person, Side},
    session::Session,
};
use platform::tasks::{Stage, Tasks};
use relations::Relations;

/// Maximum number of cached entries.
const ENTRIES: u64 = 10_000;
/// Maximum lifetime of a negative result, so that a new account is soon found.
const UNKNOWN: Duration = Duration::from_secs(10);
/// Pause after a failure of the directory.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of people waiting for a background look-up. Others wait until they are seen again.
const QUEUE: usize = 1_024;

type Found = Option<Arc<Entry>>;

/// Names of people: cached, and copied to the database.
pub struct People {
    directory: Arc<dyn Directory>,
    table: PeopleTable,
    found: Cache<Person, Found>,
    relations: Relations,
    /// End of the pause after a failure, and the error.
    resting: Mutex<Option<(Instant, DirectoryError)>>,
    queue: mpsc::Sender<Person>,
    /// People in the queue, each once.
    queued: DashSet<Person>,
    counts: DirectoryCounts,
}

/// Lifetime of a cached result.
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

/// Parts of the look-ups.
pub struct PeopleParts {
    /// Background tasks.
    pub tasks: Tasks,
    /// The source of names.
    pub directory: Arc<dyn Directory>,
    /// Names as they were last found.
    pub table: PeopleTable,
    /// Lifetime of an entry in the cache.
    pub lifetime: Duration,
    /// Look-ups of people.
    pub counts: DirectoryCounts,
}

impl People {
    /// Starts the look-ups in the background.
    pub fn start(parts: PeopleParts) -> Arc<Self> {
        let PeopleParts { tasks, directory, table, lifetime, counts } = parts;
        let (queue, seen) = mpsc::channel(QUEUE);
        let found = Cache::builder().max_capacity(ENTRIES).expire_after(Lifetime(lifetime)).build();
        let (resting, queued) = (Mutex::default(), DashSet::new());
        let relations = relations::cache();
        let people =
            Arc::new(Self { directory, table, found, relations, resting, queue, queued, counts });
        tasks.spawn(Stage::Delivery, "directory", Arc::clone(&people).keep_looking_up(seen));
        people
    }

    /// Entry of a person, or `None` if the person is unknown. Concurrent look-ups of a person are combined.
    pub async fn look_up(&self, person: &Person) -> Result<Found, DirectoryError> {
        let found = self.found.try_get_with_by_ref(person, self.ask(person)).await;
        found.map_err(|error| DirectoryError::clone(&error))
    }

    /// Records that a person was seen, and queues a look-up if none is cached.
    pub fn seen(&self, person: &Person) {
        if self.found.contains_key(person) || !self.queued.insert(person.clone()) {
            return;
        }
        if self.queue.try_send(person.clone()).is_err() {
            self.queued.remove(person);
        }
    }

    /// Records that the members of a session were shown.
    pub fn shown(&self, session: &Session) {
        self.seen(&session.contact.person);
        self.seen(&session.agent.person);
        for participant in &session.participants {
            self.seen(&participant.person);
        }
    }

    /// Adds data for this member only: a professional sees the customer's e-mail address, if it is cached.
    pub async fn disclose(&self, me: &Person, session: &mut Session) {
        if me.side == Side::Desk {
            let contact = self.found.get(&session.contact.person).await.flatten();
            session.contact.email = contact.and_then(|entry| entry.email.clone());
        }
    }

    /// Number of people waiting for a background look-up.
    pub fn waiting(&self) -> usize {
        self.queued.len()
    }

    /// Whether the directory answers.
    pub async fn ping(&self) -> Result<(), DirectoryError> {
        self.directory.ping().await
    }

    async fn keep_looking_up(self: Arc<Self>, mut seen: mpsc::Receiver<Person>) {
        while let Some(person) = seen.recv().await {
            self.queued.remove(&person);
            // After a failure the last known name is shown until the next look-up.
            drop(self.look_up(&person).await);
        }
    }

    async fn ask(&self, person: &Person) -> Result<Found, DirectoryError> {
        // The legacy directory is the main tenant's. In others any well-formed id is a person.
        if person.tenant != TenantId::MAIN {
            return Ok(Some(Arc::new(Entry::shown(person, "", None, None))));
        }
        let found = self.counted(self.directory.person(person), Option::is_some).await?;
        if let Some(entry) = &found {
            let renamed = self.table.rename(person, &entry.name, entry.avatar_url.as_ref()).await;
            if let Err(error) = renamed {
                tracing::warn!(%error, "last known name not stored");
            }
        }
        Ok(found.map(Arc::new))
    }

    /// Queries the directory once and counts the result. Fails at once during a pause.
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

    /// Error of the current pause, if there is one.
    fn resting(&self) -> Option<DirectoryError> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, error) = resting.as_ref()?;
        (Instant::now() < *until).then(|| error.clone())
    }

    fn rest(&self, error: &DirectoryError) {
        tracing::warn!(%error, "directory query failed; queries pause");
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        *resting = Some((Instant::now() + FAILURE_PAUSE, error.clone()));
    }
}
