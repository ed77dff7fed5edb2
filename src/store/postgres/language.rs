//! The language by which PostgreSQL reduces words for search.

use super::Postgres;

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
