//! Pictures that may be uploaded, in SQLite.

use jiff::{Timestamp, ToSpan};
use rusqlite::{Connection, OptionalExtension, params};

use super::{numbered, rows, writes::begin};
use crate::{
    images::{FileName, ImageKey, ObjectKey},
    person::Person,
    session::SessionId,
    store::uploads::{
        DAILY_BYTES_MAX, DAILY_MAX, Declined, MAY_RETURN, NewUpload, ORPHANS, UPLOAD, Upload,
    },
};

pub(super) fn note(db: &mut Connection, new: &NewUpload) -> rusqlite::Result<Result<(), Declined>> {
    let transaction = begin(db)?;
    let now = rows::now();
    let since = now - 24.hours();
    let (kind, person) = (new.by.kind.as_str(), new.by.id.as_str());
    let session_id = new.session_id.0.to_string();
    let status: Option<String> = transaction
        .query_row(
            "select c.status from members me join sessions c on c.id = me.session_id \
             where me.kind = ?1 and me.person_id = ?2 and c.id = ?3",
            params![kind, person, session_id],
            |row| row.get(0),
        )
        .optional()?;
    let (asked, bytes): (u32, i64) = transaction.query_row(
        "select count(*), coalesce(sum(size), 0) from uploads \
         where kind = ?1 and person_id = ?2 and created_at > ?3",
        params![kind, person, since.as_microsecond()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match status {
        None => return Ok(Err(Declined::SessionNotFound)),
        Some(status) if status != "open" => return Ok(Err(Declined::SessionClosed)),
        Some(_) if asked >= DAILY_MAX || bytes.unsigned_abs() + new.size > DAILY_BYTES_MAX => {
            return Ok(Err(Declined::TooMany));
        }
        Some(_) => {}
    }
    transaction.execute(
        "insert into uploads (key, session_id, kind, person_id, content_type, size, file_name, \
         created_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            new.key.to_string(),
            session_id,
            kind,
            person,
            new.format.as_str(),
            i64::try_from(new.size).unwrap_or(i64::MAX),
            new.file_name.as_ref().map(FileName::as_str),
            now.as_microsecond(),
        ],
    )?;
    transaction.commit()?;
    Ok(Ok(()))
}

pub(super) fn find(
    db: &Connection,
    me: &Person,
    id: SessionId,
    key: &ImageKey,
) -> rusqlite::Result<Option<Upload>> {
    let params = params![me.kind.as_str(), me.id.as_str(), id.0.to_string(), key.to_string()];
    db.prepare_cached(&numbered(UPLOAD))?.query_row(params, rows::upload).optional()
}

pub(super) fn orphans(
    db: &Connection,
    before: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<ObjectKey>> {
    let mut statement = db.prepare_cached(&numbered(ORPHANS))?;
    let orphan = |row: &rusqlite::Row<'_>| {
        let session_id = SessionId(rows::uuid(row, "session_id")?);
        Ok(ObjectKey::new(session_id, rows::parsed(row, "key")?))
    };
    let params = params![before.as_microsecond(), rows::now().as_microsecond(), limit];
    statement.query_map(params, orphan)?.collect()
}

pub(super) fn forget(
    db: &mut Connection,
    keys: &[ObjectKey],
    before: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = begin(db)?;
    let now = rows::now();
    let (since, again) = (now - MAY_RETURN, now + MAY_RETURN);
    for key in keys {
        let key = key.image().to_string();
        transaction.execute(
            "update uploads set remove_at = case when created_at > ?2 then ?3 end \
             where key = ?1 and message_id is null",
            params![key, since.as_microsecond(), again.as_microsecond()],
        )?;
        transaction.execute(
            "delete from uploads where key = ?1 and message_id is null and created_at < ?2",
            params![key, before.as_microsecond()],
        )?;
    }
    transaction.commit()
}

pub(super) fn refuse(db: &Connection, key: &str) -> rusqlite::Result<()> {
    let sql = "update uploads set refused = 1, remove_at = ?2 where key = ?1";
    db.execute(sql, params![key, rows::now().as_microsecond()]).map(drop)
}
