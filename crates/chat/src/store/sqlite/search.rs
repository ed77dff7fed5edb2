//! Full text search with FTS5. FTS5 matches; ranking and snippets are made here.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OptionalExtension, Row, params};
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};

use super::{Sqlite, rows};
use crate::store::{
    search::{
        AROUND_A_TEXT, Found, Hits, MAX_CONCURRENT_SEARCHES, PAGE_BYTES, RANKED_MAX,
        SEARCH_TIMEOUT, Search, TooCostly, WAITING_BYTES, WAITING_MAX, matcher::Matcher,
        snippet::snippet, terms::Terms,
    },
    sql,
};
use db::StoreError;
use db::sqlite::{classify, connect, numbered};
use model::{ids::TenantId, scope::Scope};

/// Time limit of a search's wait for its permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of the newest matches that are ranked. Further matches come last.
const RANKED_BYTES: usize = 512 * 1024;

/// The newest matches first. FTS5 is read in the order of its rows, and only as far as needed.
const MATCHING: &str = "select m.rowid, m.body from message_search f \
    cross join messages m on m.rowid = f.rowid \
    cross join participants me on me.tenant_id = m.tenant_id and me.session_id = m.session_id \
      and me.kind = ?1 and me.person_id = ?2 and me.tenant_id = ?5 \
    where f.message_search match ?3 order by f.rowid desc limit ?4";

/// Only the newest 10,000 of the queue, so that the time is bounded however many wait.
const WAITING: &str = "select m.rowid, m.body \
    from (select message from search_queue order by message desc limit 10000) q \
    cross join messages m on m.rowid = q.message and not m.bodiless \
    cross join participants me on me.tenant_id = m.tenant_id and me.session_id = m.session_id \
      and me.kind = ?1 and me.person_id = ?2 and me.tenant_id = ?4 \
    order by q.message desc limit ?3";

/// Connections for search, which no other query uses.
#[derive(Debug)]
pub(super) struct Searchers {
    path: PathBuf,
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Searchers {
    pub(super) fn new(path: &Path) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_SEARCHES));
        Self { path: path.to_owned(), free: Mutex::default(), permits }
    }

    /// Runs a search until its time limit. It holds its permit even if its caller has gone.
    pub(super) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        search: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Result<T, TooCostly>, StoreError> {
        let permit = timeout(PERMIT_TIMEOUT, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|late| StoreError::Unavailable(Arc::new(late)))?;
        let searching = spawn_blocking(move || {
            let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut db = free.map_or_else(|| connect(&self.path), Ok)?;
            let outcome = within(SEARCH_TIMEOUT, &mut db, search);
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(db);
            drop(permit);
            outcome
        });
        let outcome: rusqlite::Result<T> = match searching.await {
            Ok(outcome) => outcome,
            Err(panicked) => return Err(StoreError::Refused(Arc::new(panicked))),
        };
        match outcome {
            Ok(found) => Ok(Ok(found)),
            Err(error) if is_interrupted(&error) => Ok(Err(TooCostly)),
            Err(error) => Err(classify(&error)),
        }
    }
}

pub(super) fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// Runs the work, and interrupts it at the time limit. FTS5 calls no progress handler in its loops,
/// but it checks for an interrupt.
pub(super) fn within<T>(
    limit: Duration,
    db: &mut Connection,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let timer = Timer::start(limit, db.get_interrupt_handle());
    let outcome = work(db);
    timer.stop();
    outcome
}

/// Interrupts a connection once, unless it is stopped before: later work on the connection is not
/// interrupted.
struct Timer {
    handle: Arc<Mutex<Option<InterruptHandle>>>,
    task: AbortHandle,
}

impl Timer {
    fn start(limit: Duration, handle: InterruptHandle) -> Self {
        let handle = Arc::new(Mutex::new(Some(handle)));
        let taken = Arc::clone(&handle);
        let task = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            if let Some(handle) = &*taken.lock().unwrap_or_else(PoisonError::into_inner) {
                handle.interrupt();
            }
        });
        Self { handle, task: task.abort_handle() }
    }

    fn stop(&self) {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.task.abort();
    }
}

#[async_trait]
impl Search for Sqlite {
    async fn search(
        &self,
        me: &Scope,
        terms: &Terms,
        offset: u32,
        limit: u32,
    ) -> Result<Result<Hits, TooCostly>, StoreError> {
        let (me, terms) = (me.clone(), terms.clone());
        let work = move |db: &mut Connection| search(db, &me, &terms, offset, limit);
        Arc::clone(&self.searchers).run(work).await
    }
}

/// A page of hits, from one snapshot of the database.
pub(super) fn search(
    db: &mut Connection,
    me: &Scope,
    terms: &Terms,
    offset: u32,
    limit: u32,
) -> rusqlite::Result<Hits> {
    // One snapshot of the database: a message that is indexed meanwhile is found once.
    let db = db.transaction()?;
    let matcher = Matcher::new(terms);
    let ranked = ranked(&db, me, terms, &matcher)?;
    let hits = ranked.iter().skip(offset as usize);
    let (mut page, mut bytes) = (Hits::default(), 0);
    for (_, rowid) in hits.clone().take(limit as usize) {
        let Some(found) = found(&db, me.tenant, *rowid, &matcher)? else { continue };
        bytes +=
            AROUND_A_TEXT + found.message.body.as_ref().map_or(0, |body| length(body.as_str()));
        if bytes > PAGE_BYTES && !page.found.is_empty() {
            break;
        }
        page.found.push(found);
    }
    page.more = hits.count() > page.found.len();
    Ok(page)
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// The newest matches, the best first: score and row.
fn ranked(
    db: &Connection,
    me: &Scope,
    terms: &Terms,
    matcher: &Matcher,
) -> rusqlite::Result<Vec<(f64, i64)>> {
    let (mut hits, mut bytes) = (Vec::<(f64, i64)>::new(), 0);
    let (kind, person) = (me.side.as_str(), me.id.as_str());
    let mut waiting = db.prepare_cached(WAITING)?;
    let mut waiting = waiting.query(params![kind, person, WAITING_MAX, me.tenant.number()])?;
    while let Some(row) = waiting.next()? {
        let text = text(row)?;
        bytes += text.len();
        if bytes > WAITING_BYTES {
            break;
        }
        if matcher.is_match(text) {
            hits.push((matcher.score(text), row.get(0)?));
        }
    }
    bytes = 0;
    let mut matching = db.prepare_cached(MATCHING)?;
    let mut matching =
        matching.query(params![kind, person, terms.fts5(), RANKED_MAX, me.tenant.number()])?;
    while let Some(row) = matching.next()? {
        let text = text(row)?;
        bytes += text.len();
        let score = if bytes > RANKED_BYTES { 0.0 } else { matcher.score(text) };
        hits.push((score, row.get(0)?));
    }
    hits.sort_unstable_by(|one, two| two.0.total_cmp(&one.0).then(two.1.cmp(&one.1)));
    Ok(hits)
}

fn text<'a>(row: &'a Row<'_>) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(1)?.as_str()?)
}

fn found(
    db: &Connection,
    tenant: TenantId,
    rowid: i64,
    matcher: &Matcher,
) -> rusqlite::Result<Option<Found>> {
    let sql = format!(
        "select {} from messages m {}where m.tenant_id = $2 and m.rowid = $1",
        sql::COLUMNS,
        sql::SENDER
    );
    let mut statement = db.prepare_cached(&numbered(&sql))?;
    let message = statement.query_row(params![rowid, tenant.number()], rows::message).optional()?;
    Ok(message.map(|message| {
        let text = message.body.as_ref().map_or("", |body| body.as_str());
        let snippet = snippet(text, &matcher.hits(text));
        Found { message, snippet }
    }))
}
