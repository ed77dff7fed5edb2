//! The language by which PostgreSQL reduces words for search.

use super::Postgres;

/// Token types of text that are words.
const WORDS: &str = "asciiword, asciihword, hword_asciipart, hword, hword_part, word";

/// A language for which the database has no dictionary.
#[derive(Debug, thiserror::Error)]
#[error("SEARCH_LANGUAGE: the database knows no language of this name")]
pub(crate) struct UnknownLanguage;

/// Whether the database has a built-in dictionary of this name.
pub(crate) const KNOWN: &str = "select 1 from pg_ts_dict where dictname = $1 \
    and dictnamespace = 'pg_catalog'::regnamespace";

/// The dictionary that reduces the words of a language.
pub(crate) fn dictionary(language: &str) -> String {
    if language == "simple" { language.to_owned() } else { format!("{language}_stem") }
}

impl Postgres {
    /// Sets the language by which words are reduced, if it has changed. Texts indexed before keep
    /// their index.
    pub(crate) async fn set_search_language(&self, language: &str) -> anyhow::Result<()> {
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
        // The name is one of the built-in dictionaries: it can't inject SQL.
        let alter = format!(
            "alter text search configuration frontdesk alter mapping for {WORDS} with {plain}{dictionary}"
        );
        // Nodes that start together may all try this: one succeeds.
        if let Err(error) = self.query(&alter, &[]).await
            && self.query(used, &[&dictionary]).await?.is_empty()
        {
            return Err(error.into());
        }
        Ok(())
    }
}
