//! Full text search by FTS5.

use rusqlite::{Connection, params};

use super::{numbered, rows};
use crate::{
    person::Person,
    store::{
        search::{Found, HIT, fts5, pieces},
        sql,
    },
};

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
    let found = statement.query_map(params, |row| {
        let marked: String = row.get("snippet")?;
        Ok(Found { message: rows::message(row)?, snippet: pieces(&marked) })
    })?;
    found.collect()
}
