//! Full text search by FTS5.

use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, ToSql, params};

use super::{numbered, rows};
use crate::{
    person::Person,
    store::{
        search::{Found, HIT, fts5, pieces},
        sql,
    },
};

/// How long one search may take.
const DEADLINE: Duration = Duration::from_secs(2);

pub(super) fn search(
    db: &Connection,
    me: &Person,
    query: &str,
    offset: u32,
    limit: u32,
) -> rusqlite::Result<Vec<Found>> {
    let Some(query) = fts5(query) else { return Ok(Vec::new()) };
    let [start, stop] = HIT;
    let sql = format!(
        "select {columns}, snippet(message_search, 0, '{start}', '{stop}', '…', 16) as snippet \
         from {messages} \
         join members me on me.session_id = m.session_id and me.kind = $1 and me.person_id = $2 \
         join message_search f on f.rowid = m.rowid \
         where message_search match $3 order by f.rank, m.id desc limit $5 offset $4",
        columns = sql::COLUMNS,
        messages = sql::MESSAGES,
    );
    let mut statement = db.prepare_cached(&numbered(&sql))?;
    let params = params![me.kind.as_str(), me.id.as_str(), query, offset, limit];
    // Nobody waits for longer, and a reader that goes on would be missing for others.
    let deadline = Instant::now() + DEADLINE;
    db.progress_handler(10_000, Some(move || Instant::now() >= deadline))?;
    let found = search_all(&mut statement, params);
    db.progress_handler(0, None::<fn() -> bool>)?;
    found
}

fn search_all(
    statement: &mut CachedStatement<'_>,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<Found>> {
    let found = statement.query_map(params, |row| {
        let marked: String = row.get("snippet")?;
        Ok(Found { message: rows::message(row)?, snippet: pieces(&marked) })
    })?;
    found.collect()
}
