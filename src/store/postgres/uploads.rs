//! Pictures that may be uploaded, in PostgreSQL.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Params, Postgres, rows};
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

const NOTE: &str = "
with target as (
  select c.status, asked.count < $8 and asked.bytes + $6 <= $9 as allowed
  from members me join sessions c on c.id = me.session_id, lateral (
    select count(*), coalesce(sum(u.size), 0)::bigint as bytes from uploads u
    where u.kind = me.kind and u.person_id = me.person_id
      and u.created_at > now() - interval '1 day') asked
  where me.kind = $1 and me.person_id = $2 and c.id = $3
), noted as (
  insert into uploads (key, session_id, kind, person_id, content_type, size, file_name)
  select $4, $3, $1, $2, $5, $6, $7 from target where status = 'open' and allowed
)
select status, allowed from target";

const FORGET: &str =
    "delete from uploads where key = any($1) and message_id is null and created_at < $2";

/// $2: uploads requested after this time are removed once more, at $3.
const REMOVED: &str = "update uploads set remove_at = case when created_at > $2 then $3::timestamptz end \
    where key = any($1) and message_id is null";

#[async_trait]
impl Uploads for Postgres {
    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError> {
        let (kind, id) = (new.by.kind.as_str(), new.by.id.as_str());
        let size = i64::try_from(new.size).unwrap_or(i64::MAX);
        let file_name = new.file_name.as_ref().map(FileName::as_str);
        let key = new.key.to_string();
        let (most, most_bytes) =
            (i64::from(DAILY_MAX), i64::try_from(DAILY_BYTES_MAX).unwrap_or(i64::MAX));
        let format = new.format.as_str();
        let params: Params<'_> =
            &[&kind, &id, &new.session_id.0, &key, &format, &size, &file_name, &most, &most_bytes];
        let rows = self.query(NOTE, params).await?;
        let Some(row) = rows.first() else { return Ok(Err(Declined::SessionNotFound)) };
        Ok(match (rows::get(row, "status")?, rows::get(row, "allowed")?) {
            ("open", true) => Ok(()),
            ("open", false) => Err(Declined::TooMany),
            _ => Err(Declined::SessionClosed),
        })
    }

    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError> {
        let params: Params<'_> = &[&me.kind.as_str(), &me.id.as_str(), &id.0, &key.to_string()];
        self.query(UPLOAD, params).await?.first().map(rows::upload).transpose()
    }

    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError> {
        let rows = self.query(ORPHANS, &[&before, &Timestamp::now(), &i64::from(limit)]).await?;
        rows.iter()
            .map(|row| {
                let session_id = SessionId(rows::get(row, "session_id")?);
                Ok(ObjectKey::new(session_id, rows::parsed(row, "key")?))
            })
            .collect()
    }

    async fn forget_uploads(
        &self,
        keys: &[ObjectKey],
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| key.image().to_string()).collect();
        let now = Timestamp::now();
        self.query(REMOVED, &[&keys, &(now - LATE_WRITE_WINDOW), &(now + LATE_WRITE_WINDOW)])
            .await?;
        self.query(FORGET, &[&keys, &before]).await.map(drop)
    }

    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let sql = "update uploads set refused = true, remove_at = now() where key = $1";
        self.query(sql, &[&key.image().to_string()]).await.map(drop)
    }
}
