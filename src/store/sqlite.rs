//! SQLite: the embedded store, in a file, one process at a time.
//!
//! WAL with `synchronous = FULL`: a commit is on the disk before it is acknowledged.

mod rows;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, ToSql, Transaction, TransactionBehavior, params,
};
use uuid::Uuid;

use super::{Appended, NewSession, ReadMark, Refusal, SessionPage, Span, Store, StoreError, sql};
use crate::{
    message::{Draft, Message},
    person::Person,
    session::{Session, SessionId},
};

refinery::embed_migrations!("migrations/sqlite");

/// Connections that read beside the one that writes.
const READERS: usize = 4;

/// The embedded store.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: Arc<Mutex<Connection>>,
    readers: Vec<Arc<Mutex<Connection>>>,
    next_reader: AtomicUsize,
}

impl Sqlite {
    /// Opens the file, making it where there is none, and migrates it.
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
        Ok(Self { writer, readers, next_reader: AtomicUsize::new(0) })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let next = self.next_reader.fetch_add(1, Ordering::Relaxed) % READERS;
        on(self.readers.get(next).unwrap_or(&self.writer), work).await
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

/// SQLite takes its numbered parameters as `?1`.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

/// Runs the work on a thread that may block; no lock is held across an await (law I10).
async fn on<T: Send + 'static>(
    connection: &Arc<Mutex<Connection>>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let connection = Arc::clone(connection);
    let done = tokio::task::spawn_blocking(move || {
        // A panic inside a transaction rolls it back: the connection is good for the next.
        work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
    });
    match done.await {
        Ok(result) => result.map_err(|error| classify(&error)),
        Err(panicked) => Err(StoreError::Refused(Arc::new(panicked))),
    }
}

/// What SQLite said, by its code: the text may quote a row, and a row holds a body.
#[derive(Debug, thiserror::Error)]
#[error("SQLite: {0}")]
struct Failure(String);

fn classify(error: &rusqlite::Error) -> StoreError {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
    let source = Arc::new(Failure(match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        other => other.to_string(),
    }));
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure | CannotOpen) => {
            StoreError::Unavailable(source)
        }
        _ => StoreError::Refused(source),
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn append(&self, drafts: &[Draft]) -> Result<Vec<Appended>, StoreError> {
        let drafts = drafts.to_vec();
        self.write(move |db| {
            let transaction = begin(db)?;
            let appended = drafts
                .iter()
                .map(|draft| match append_one(&transaction, draft) {
                    // Only this statement was undone: the others of the batch stand.
                    Err(error) if is_constraint(&error) => Ok(Appended::Refused(Refusal::Value)),
                    other => other,
                })
                .collect::<rusqlite::Result<Vec<_>>>()?;
            transaction.commit()?;
            Ok(appended)
        })
        .await
    }

    async fn open_session(&self, new: &NewSession) -> Result<(SessionId, bool), StoreError> {
        let new = new.clone();
        self.write(move |db| open_session(db, &new)).await
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

    async fn sessions(&self, me: &Person, page: &SessionPage) -> Result<Vec<Session>, StoreError> {
        let (me, page) = (me.clone(), page.clone());
        let (active_at, id) = page.after.unwrap_or((Timestamp::MAX, SessionId(Uuid::max())));
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(sql::SESSIONS))?;
            let status = page.status.map_or("", |status| status.as_str());
            let params = params![
                me.kind.as_str(),
                me.id.as_str(),
                status,
                active_at.as_microsecond(),
                id.0.to_string(),
                page.limit
            ];
            statement.query_map(params, rows::session)?.collect()
        })
        .await
    }

    async fn unread(&self, me: &Person) -> Result<Vec<(SessionId, u64)>, StoreError> {
        let me = me.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(sql::UNREAD))?;
            let params = params![me.kind.as_str(), me.id.as_str()];
            statement.query_map(params, rows::numbered_session)?.collect()
        })
        .await
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
        let mut messages = self.messages(sql, (kind, person, id, position(seq), limit)).await?;
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(messages)
    }

    async fn fill(
        &self,
        id: SessionId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        self.messages(sql::FILL, (id.0.to_string(), position(after), limit)).await
    }

    async fn heads(&self, ids: &[SessionId]) -> Result<Vec<(SessionId, u64)>, StoreError> {
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        self.read(move |db| {
            let sql = "select id as session_id, last_seq as unread from sessions where id = ?1";
            let mut statement = db.prepare_cached(sql)?;
            let heads = ids
                .iter()
                .map(|id| statement.query_row([id], rows::numbered_session).optional())
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(heads.into_iter().flatten().collect())
        })
        .await
    }

    async fn mark_read(
        &self,
        me: &Person,
        id: SessionId,
        seq: u64,
    ) -> Result<Option<ReadMark>, StoreError> {
        let me = me.clone();
        self.write(move |db| mark_read(db, &me, id, seq)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|db| db.query_row("select 1", [], |_| Ok(()))).await
    }
}

/// A transaction that means to write, and so waits for its turn now rather than fail half-way.
fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

fn append_one(db: &Connection, draft: &Draft) -> rusqlite::Result<Appended> {
    let session_id = draft.session_id.0.to_string();
    let sender: [&dyn ToSql; 3] =
        [&session_id, &draft.sender.kind.as_str(), &draft.sender.id.as_str()];
    let member = db
        .prepare_cached(
            "select c.status, c.last_seq, me.name from members me \
             join sessions c on c.id = me.session_id \
             where me.session_id = ?1 and me.kind = ?2 and me.person_id = ?3",
        )?
        .query_row(sender, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((status, last_seq, name)) = member else {
        return Ok(Appended::Refused(Refusal::SessionNotFound));
    };
    if let Some(stored) = stored(db, draft)? {
        return Ok(draft.found(stored));
    }
    if status != "open" {
        return Ok(Appended::Refused(Refusal::SessionClosed));
    }
    let reply_to = draft.reply_to.map(|id| id.to_string());
    if let Some(reply_to) = &reply_to {
        let sql = "select 1 from messages where session_id = ?1 and id = ?2";
        if !db.prepare_cached(sql)?.exists([&session_id, reply_to])? {
            return Ok(Appended::Refused(Refusal::ReplyNotFound));
        }
    }
    let now = rows::now();
    db.prepare_cached(
        "insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, \
         reply_to, created_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        session_id,
        last_seq + 1,
        draft.id.to_string(),
        draft.sender.kind.as_str(),
        draft.sender.id.as_str(),
        draft.client_id.as_str(),
        draft.kind.as_str(),
        draft.body.as_str(),
        reply_to,
        now.as_microsecond(),
    ])?;
    db.prepare_cached("update sessions set last_seq = ?2, active_at = ?3 where id = ?1")?
        .execute(params![session_id, last_seq + 1, now.as_microsecond()])?;
    Ok(Appended::Committed(draft.committed(last_seq.unsigned_abs() + 1, name, now)))
}

/// The message that this draft's `clientId` gave before.
fn stored(db: &Connection, draft: &Draft) -> rusqlite::Result<Option<Message>> {
    let session_id = draft.session_id.0.to_string();
    let seq: Option<i64> = db
        .prepare_cached(
            "select seq from messages where session_id = ?1 and sender_kind = ?2 \
             and sender_id = ?3 and client_id = ?4",
        )?
        .query_row(
            params![
                session_id,
                draft.sender.kind.as_str(),
                draft.sender.id.as_str(),
                draft.client_id.as_str()
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(seq) = seq else { return Ok(None) };
    let mut statement = db.prepare_cached(&numbered(sql::FILL))?;
    statement.query_row(params![session_id, seq - 1, 1], rows::message).optional()
}

fn open_session(db: &mut Connection, new: &NewSession) -> rusqlite::Result<(SessionId, bool)> {
    let (customer, dentist) = (new.customer.person.id.as_str(), new.dentist.person.id.as_str());
    let transaction = begin(db)?;
    let open: Option<Uuid> = transaction
        .prepare_cached(
            "select id from sessions where tenant_id = 1 and customer_id = ?1 and dentist_id = ?2 \
             and status = 'open'",
        )?
        .query_row([customer, dentist], |row| rows::uuid(row, "id"))
        .optional()?;
    if let Some(id) = open {
        return Ok((SessionId(id), false));
    }
    let (id, now) = (new.id.0.to_string(), rows::now().as_microsecond());
    transaction.execute(
        "insert into sessions (id, customer_id, dentist_id, created_at, active_at) \
         values (?1, ?2, ?3, ?4, ?4)",
        params![id, customer, dentist, now],
    )?;
    transaction.execute(
        "insert into members (session_id, kind, person_id, name) \
         values (?1, 'customer', ?2, ?3), (?1, 'dentist', ?4, ?5)",
        params![id, customer, new.customer.name, dentist, new.dentist.name],
    )?;
    transaction.commit()?;
    Ok((new.id, true))
}

fn mark_read(
    db: &mut Connection,
    me: &Person,
    id: SessionId,
    seq: u64,
) -> rusqlite::Result<Option<ReadMark>> {
    let transaction = begin(db)?;
    let member = params![me.kind.as_str(), me.id.as_str(), id.0.to_string()];
    let found: Option<(i64, i64)> = transaction
        .query_row(
            "select me.read_seq, c.last_seq from members me join sessions c on c.id = me.session_id \
             where me.kind = ?1 and me.person_id = ?2 and me.session_id = ?3",
            member,
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((read_seq, last_seq)) = found else { return Ok(None) };
    let wanted = position(seq).min(last_seq);
    let moved = wanted > read_seq;
    if moved {
        transaction.execute(
            "update members set read_seq = ?4 \
             where kind = ?1 and person_id = ?2 and session_id = ?3",
            params![me.kind.as_str(), me.id.as_str(), id.0.to_string(), wanted],
        )?;
    }
    transaction.commit()?;
    Ok(Some(ReadMark { seq: wanted.max(read_seq).unsigned_abs(), moved }))
}

fn position(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
