//! Names and avatars of people, as last read from the directory.

use rusqlite::{Connection, params};

use crate::person::{AvatarUrl, Person};

/// Updates only rows that differ: most directory look-ups bring nothing new.
const RENAME: &str = "update members set name = ?3, avatar_url = ?4 \
    where kind = ?1 and person_id = ?2 and (name <> ?3 or avatar_url is not ?4)";

pub(super) fn rename(
    db: &Connection,
    person: &Person,
    name: &str,
    avatar_url: Option<&AvatarUrl>,
) -> rusqlite::Result<()> {
    let avatar_url = avatar_url.map(AvatarUrl::as_str);
    let params = params![person.kind.as_str(), person.id.as_str(), name, avatar_url];
    db.prepare_cached(RENAME)?.execute(params).map(drop)
}
