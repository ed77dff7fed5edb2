//! SQLite: the embedded store, in a file, one process at a time.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk before it is acknowledged.

mod amend;
mod audit;
mod blocking;
mod blocks;
mod epoch;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod members;
mod openings;
mod people;
mod push_jobs;
mod rows;
mod search;
mod search_queue;
mod turns;
mod uploads;
mod writes;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use self::{
    blocking::{blocking, lock, on},
    search::Searchers,
    search_queue::Indexer,
    turns::Turns,
};
use super::{
    Appended, Delivered, DeliveryMarks, Head, Listed, NewSession, PastBody, ReadMark, SessionPage,
    Set, Setting, Span, Store, StoreError,
    search::{Hits, TooCostly, terms::Terms},
    sql,
    uploads::{Declined, NewUpload, Upload},
};
use crate::{
    images::{ImageKey, ObjectKey},
    message::{
        Draft, Message, MessageId,
        amend::{Amended, Amendment, Unamendable},
    },
    person::{AvatarUrl, Person, PersonId},
    session::{EpochId, Session, SessionId},
};

refinery::embed_migrations!("migrations/sqlite");

/// Read connections, beside the one that writes.
const READERS: usize = 4;

/// The embedded store.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    readers: Vec<Arc<Mutex<Connection>>>,
    next_reader: AtomicUsize,
    turns: Turns,
    searchers: Arc<Searchers>,
    indexer: Arc<Indexer>,
    /// Delay of a push after its message; `None` disables pushes.
    push_delay: Option<Duration>,
}

impl Sqlite {
    /// Opens the file, creates it if missing, and migrates it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("the database {}", path.display());
        let mut writer = connect(path).with_context(context)?;
        migrations::runner()
            .set_abort_missing(false)
            .run(&mut writer)
            .with_context(|| format!("migrating {}", path.display()))?;
        let readers = (0..READERS)
            .map(|_| Ok(Arc::new(Mutex::new(connect(path)?))))
            .collect::<rusqlite::Result<_>>()
            .with_context(context)?;
        let writer = Arc::new(Mutex::new(writer));
        let searchers = Arc::new(Searchers::new(path));
        let indexer = Indexer::open(path, Arc::clone(&writer)).with_context(context)?;
        let (next_reader, indexer) = (AtomicUsize::new(0), Arc::new(indexer));
        let turns = Turns::default();
        Ok(Self { writer, readers, next_reader, turns, searchers, indexer, push_delay: None })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let next = self.next_reader.fetch_add(1, Ordering::Relaxed) % READERS;
        let in_turn = Arc::clone(self.readers.get(next).unwrap_or(&self.writer));
        let readers = self.readers.clone();
        blocking(move || {
            // A long query delays no other one while a reader is idle.
            let idle = readers.iter().find_map(|reader| reader.try_lock().ok());
            work(&mut idle.unwrap_or_else(|| lock(&in_turn)))
        })
        .await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        on(&self.writer, work).await
    }

    async fn messages(
        &self,
        sql: &'static str,
        params: impl rusqlite::Params + Send + 'static,
    ) -> Result<Vec<Message>, StoreError> {
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(sql))?;
            statement.query_map(params, rows::message)?.collect()
        })
        .await
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}

/// Numbered parameters are written `?1` in SQLite.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// An SQLite error by its code only: its text may quote a row, and a row holds a body.
#[derive(Debug, thiserror::Error)]
#[error("SQLite: {0}")]
struct Failure(String);

fn classify(error: &rusqlite::Error) -> StoreError {
    use ErrorCode::{ConstraintViolation, DiskFull, SystemIoFailure, TooBig, TypeMismatch};
    let source = Arc::new(Failure(match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        other => other.to_string(),
    }));
    match error.sqlite_error_code() {
        // Other codes concern the file, the disk or another process: busy, read-only …
        Some(ConstraintViolation | TooBig | TypeMismatch) | None => StoreError::Refused(source),
        Some(DiskFull | SystemIoFailure) => StoreError::Disk(source),
        Some(_) => StoreError::Unavailable(source),
    }
}

#[async_trait]
impl Store for Sqlite {
    /// The limit is ignored: only other processes could hold a lock, and they lock the whole file.
    async fn append_within(
        &self,
        drafts: &[Draft],
        _limit: Duration,
    ) -> Result<Vec<Appended>, StoreError> {
        let (drafts, push_delay) = (drafts.to_vec(), self.push_delay);
        let appended = self.write(move |db| writes::append(db, &drafts, push_delay)).await;
        self.indexer.text_committed.notify_one();
        appended
    }

    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError> {
        let new = new.clone();
        self.write(move |db| writes::open_session(db, &new)).await
    }

    async fn open_between(
        &self,
        customer: &PersonId,
        dentist: &PersonId,
    ) -> Result<Option<SessionId>, StoreError> {
        let (customer, dentist) = (customer.clone(), dentist.clone());
        self.read(move |db| writes::open_between(db, &customer, &dentist)).await
    }

    async fn session(&self, me: &Person, id: SessionId) -> Result<Option<Session>, StoreError> {
        let me = me.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(sql::SESSION))?;
            let params = params![me.kind.as_str(), me.id.as_str(), id.0.to_string()];
            statement.query_row(params, rows::session).optional()
        })
        .await
    }

    async fn head(
        &self,
        me: &Person,
        id: SessionId,
    ) -> Result<Option<(Head, EpochId)>, StoreError> {
        let me = me.clone();
        self.read(move |db| members::head(db, &me, id)).await
    }

    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Listed, StoreError> {
        let (me, page) = (me.clone(), page.clone());
        self.read(move |db| members::sessions(db, &me, &page)).await
    }

    async fn unread(&self, me: &Person) -> Result<Vec<(SessionId, u64)>, StoreError> {
        let me = me.clone();
        self.read(move |db| members::unread(db, &me)).await
    }

    async fn history(
        &self,
        me: &Person,
        id: SessionId,
        span: Span,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (sql, seq) = match span {
            Span::After(seq) => (sql::HISTORY_AFTER, seq),
            Span::Before(seq) => (sql::HISTORY_BEFORE, seq),
        };
        let (kind, person, id) = (me.kind.as_str(), me.id.as_str().to_owned(), id.0.to_string());
        self.messages(sql, (kind, person, id, position(seq), limit)).await
    }

    async fn changes(
        &self,
        me: &Person,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let (kind, person, id) = (me.kind.as_str(), me.id.as_str().to_owned(), id.0.to_string());
        self.messages(sql::CHANGES, (kind, person, id, position(rev), limit)).await
    }

    async fn amend(
        &self,
        me: &Person,
        id: SessionId,
        message_id: MessageId,
        amendment: &Amendment,
    ) -> Result<Result<Amended, Unamendable>, StoreError> {
        let (person, amendment) = (me.clone(), amendment.clone());
        let amend =
            move |db: &mut Connection| amend::amend(db, &person, id, message_id, &amendment);
        let amended = self.change(me, id, amend).await;
        self.indexer.text_committed.notify_one();
        amended
    }

    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError> {
        let new = new.clone();
        self.write(move |db| uploads::note(db, &new)).await
    }

    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError> {
        let (me, key) = (me.clone(), key.clone());
        self.read(move |db| uploads::find(db, &me, id, &key)).await
    }

    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError> {
        self.read(move |db| uploads::orphans(db, before, limit)).await
    }

    async fn forget_uploads(
        &self,
        keys: &[ObjectKey],
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.write(move |db| uploads::forget(db, &keys, before)).await
    }

    async fn past_bodies(
        &self,
        id: SessionId,
        message_id: MessageId,
    ) -> Result<Option<Vec<PastBody>>, StoreError> {
        self.read(move |db| amend::past_bodies(db, id, message_id)).await
    }

    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let key = key.image().to_string();
        self.write(move |db| uploads::refuse(db, &key)).await
    }

    async fn fill(
        &self,
        id: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        self.messages(sql::FILL, (id.0.to_string(), position(after), limit)).await
    }

    async fn changed(
        &self,
        id: SessionId,
        rev: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        self.messages(sql::CHANGED, (id.0.to_string(), position(rev), limit)).await
    }

    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<Head>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |db| members::heads(db, &ids)).await
    }

    async fn mark_read(
        &self,
        me: &Person,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError> {
        let person = me.clone();
        self.change(me, id, move |db| members::mark_read(db, &person, id, seq)).await
    }

    async fn search(
        &self,
        me: &Person,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError> {
        let (me, terms) = (me.clone(), terms.clone());
        let search = move |db: &mut Connection| search::search(db, &me, &terms, offset, limit);
        Arc::clone(&self.searchers).run(search).await
    }

    async fn set_session(
        &self,
        me: &Person,
        id: SessionId,
        setting: Setting,
    ) -> Result<Option<Set>, StoreError> {
        let person = me.clone();
        self.change(me, id, move |db| members::set_session(db, &person, id, setting)).await
    }

    async fn views(&self, ids: &[SessionId]) -> Result<Vec<(Person, Session)>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |db| members::views(db, &ids)).await
    }

    async fn mark_delivered(&self, marks: &[Delivered]) -> Result<DeliveryMarks, StoreError> {
        let marks = marks.to_vec();
        self.write(move |db| members::mark_delivered(db, &marks)).await
    }

    async fn seen(&self, people: &[Person]) -> Result<(), StoreError> {
        let people = people.to_vec();
        self.write(move |db| members::seen(db, &people)).await
    }

    async fn last_seen(&self, person: &Person) -> Result<Option<Timestamp>, StoreError> {
        let person = person.clone();
        self.read(move |db| members::last_seen(db, &person)).await
    }

    async fn rename(
        &self,
        person: &Person,
        name: &str,
        avatar_url: Option<&AvatarUrl>,
    ) -> Result<(), StoreError> {
        let (person, name, avatar_url) = (person.clone(), name.to_owned(), avatar_url.cloned());
        self.write(move |db| people::rename(db, &person, &name, avatar_url.as_ref())).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|db| db.query_row("select 1", [], |_| Ok(()))).await
    }
}

fn position(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
