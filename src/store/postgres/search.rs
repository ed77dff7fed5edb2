//! Full text search by PostgreSQL's own.

use super::{Params, Postgres, rows};
use crate::{
    person::Person,
    store::{
        StoreError,
        search::{Found, HIT, fts5, pieces},
        sql,
    },
};

/// The parts of text that hold words.
const WORDS: &str = "asciiword, asciihword, hword_asciipart, hword, hword_part, word";

/// A language that the database has no dictionary of.
#[derive(Debug, thiserror::Error)]
#[error("SEARCH_LANGUAGE: the database knows no language of this name")]
pub(super) struct UnknownLanguage;

/// Whether the database has a dictionary of this name of its own.
pub(super) const KNOWN: &str = "select 1 from pg_ts_dict where dictname = $1 \
    and dictnamespace = 'pg_catalog'::regnamespace";

/// By which it reduces the words of a language.
pub(super) fn dictionary(language: &str) -> String {
    if language == "simple" { language.to_owned() } else { format!("{language}_stem") }
}

impl Postgres {
    pub(super) async fn search_messages(
        &self,
        me: &Person,
        query: &str,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Found>, StoreError> {
        // Everything but a word is no search, and as much work as reading everything.
        if fts5(query).is_none() {
            return Ok(Vec::new());
        }
        let [start, stop] = HIT;
        let sql = format!(
            "with q as (select websearch_to_tsquery('frontdesk', $3) as query), \
             ranked as ( \
               select m.session_id, m.seq, ts_rank(m.search, q.query) as rank, q.query \
               from q, messages m join members me on me.session_id = m.session_id \
               where me.kind = $1 and me.person_id = $2 and m.search @@ q.query \
               order by rank desc, m.id desc offset $4 limit $5 \
             ) \
             select {columns}, ts_headline('frontdesk', m.body, r.query, \
               'StartSel={start}, StopSel={stop}, MaxFragments=2, MaxWords=16, MinWords=6') as snippet \
             from {messages} join ranked r on r.session_id = m.session_id and r.seq = m.seq \
             order by r.rank desc, m.id desc",
            columns = sql::COLUMNS,
            messages = sql::MESSAGES,
        );
        let (offset, limit) = (i64::from(offset), i64::from(limit));
        let params: Params<'_> = &[&me.kind.as_str(), &me.id.as_str(), &query, &offset, &limit];
        self.query(&sql, params)
            .await?
            .iter()
            .map(|row| {
                let message = rows::message(row)?;
                Ok(Found { message, snippet: pieces(rows::get(row, "snippet")?) })
            })
            .collect()
    }

    /// Sets the language by which words are reduced, where it is another one now. What was indexed
    /// before stays as it is.
    pub(super) async fn speak(&self, language: &str) -> anyhow::Result<()> {
        let dictionary = dictionary(language);
        if self.query(KNOWN, &[&dictionary]).await?.is_empty() {
            return Err(UnknownLanguage.into());
        }
        let used = "select 1 from pg_ts_config_map m join pg_ts_dict d on d.oid = m.mapdict \
                    where m.mapcfg = 'frontdesk'::regconfig and d.dictname = $1";
        if !self.query(used, &[&dictionary]).await?.is_empty() {
            return Ok(());
        }
        let unaccent = "select 1 from pg_ts_dict where dictname = 'unaccent'";
        let plain = if self.query(unaccent, &[]).await?.is_empty() { "" } else { "unaccent, " };
        // The name is one of the database's own, so it is nothing but a name.
        let alter = format!(
            "alter text search configuration frontdesk alter mapping for {WORDS} with {plain}{dictionary}"
        );
        // Nodes that start together may try it together: one of them does it.
        if let Err(error) = self.query(&alter, &[]).await
            && self.query(used, &[&dictionary]).await?.is_empty()
        {
            return Err(error.into());
        }
        Ok(())
    }
}
