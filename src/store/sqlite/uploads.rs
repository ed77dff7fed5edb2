//! Pictures that may be uploaded, in SQLite.

use async_trait::async_trait;
use jiff::{Timestamp, ToSpan};
use rusqlite::{OptionalExtension, Row, params};

use super::{Sqlite, begin, numbered, rows};
use crate::{
    images::{FileName, ImageKey, ObjectKey},
    person::Person,
    session::SessionId,
    store::{
        StoreError,
        uploads::{
            DAILY_BYTES_MAX, DAILY_MAX, Declined, LATE_WRITE_WINDOW, NewUpload, ORPHANS, UPLOAD,
            Upload, Uploads,
        },
    },
};

#[async_trait]
impl Uploads for Sqlite {
    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError> {
        let new = new.clone();
        self.write(move |db| {
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
        })
        .await
    }

    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError> {
        let (me, key) = (me.clone(), key.clone());
        self.read(move |db| {
            let params =
                params![me.kind.as_str(), me.id.as_str(), id.0.to_string(), key.to_string()];
            db.prepare_cached(&numbered(UPLOAD))?.query_row(params, rows::upload).optional()
        })
        .await
    }

    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError> {
        self.read(move |db| {
            let mut statement = db.prepare_cached(&numbered(ORPHANS))?;
            let orphan = |row: &Row<'_>| {
                let session_id = SessionId(rows::uuid(row, "session_id")?);
                Ok(ObjectKey::new(session_id, rows::parsed(row, "key")?))
            };
            let params = params![before.as_microsecond(), rows::now().as_microsecond(), limit];
            statement.query_map(params, orphan)?.collect()
        })
        .await
    }

    async fn forget_uploads(
        &self,
        keys: &[ObjectKey],
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.write(move |db| {
            let transaction = begin(db)?;
            let now = rows::now();
            let (since, again) = (now - LATE_WRITE_WINDOW, now + LATE_WRITE_WINDOW);
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
        })
        .await
    }

    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let key = key.image().to_string();
        self.write(move |db| {
            let sql = "update uploads set refused = 1, remove_at = ?2 where key = ?1";
            db.execute(sql, params![key, rows::now().as_microsecond()]).map(drop)
        })
        .await
    }
}
