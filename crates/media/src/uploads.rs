//! The table of pictures that may be uploaded.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::{bucket::UPLOAD_EXPIRES, format::Format};
use db::{
    Database, StoreError,
    postgres::rows::unknown,
    text::{Row, Statement, Value},
};
use model::{
    ids::{SessionId, TenantId},
    image::{FileName, ImageKey, ObjectKey},
    scope::Scope,
};
use protocol::error::Error;

/// Maximum of pictures that one person may request in a day, sent or not.
pub const DAILY_MAX: u32 = 200;
/// Maximum bytes of these pictures together.
pub const DAILY_BYTES_MAX: u64 = 500 * 1024 * 1024;

/// A picture that a person wants to upload.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// The session.
    pub session_id: SessionId,
    /// Name of the picture in the session.
    pub key: ImageKey,
    /// Announced format.
    pub format: Format,
    /// Announced size, in bytes.
    pub size: u64,
    /// Name of the sender's file.
    pub file_name: Option<FileName>,
}

/// Reason why a picture can't be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// The session does not exist, or the person is no member.
    SessionNotFound,
    /// The session is closed.
    SessionClosed,
    /// [`DAILY_MAX`] or [`DAILY_BYTES_MAX`] is reached.
    TooMany,
}

impl From<Declined> for Error {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::SessionNotFound => Self::SessionNotFound,
            Declined::SessionClosed => Self::SessionClosed,
            Declined::TooMany => Self::LimitReached("the daily limit of pictures is reached"),
        }
    }
}

/// A requested picture, as seen by a member of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Format by its bytes, once a message shows it; before, the announced one.
    pub format: Format,
    /// Size in bytes.
    pub size: u64,
    /// Name of the sender's file.
    pub file_name: Option<FileName>,
    /// Time of the request.
    pub created_at: Timestamp,
    /// It belongs to the person who reads it.
    pub mine: bool,
    /// No message shows it yet, and one may.
    pub waiting: bool,
    /// A message shows it.
    pub shown: bool,
}

/// Time for which a picture may wait to be sent.
const SEND_WINDOW: Duration = Duration::from_hours(24);
/// Additional time before its object is removed: for a send that is under way, and for clock
/// differences.
const REMOVAL_DELAY: Duration = Duration::from_hours(1);

impl Upload {
    /// It has waited too long: its object may be removed at any moment.
    pub fn is_late(&self) -> bool {
        self.created_at < Timestamp::now() - SEND_WINDOW
    }
}

/// A waiting picture that was requested before this time is an orphan.
pub(crate) fn orphaned() -> Timestamp {
    Timestamp::now() - SEND_WINDOW - REMOVAL_DELAY
}

/// $1, $2 the member, $3 session, $4 key, $5 format, $6 size, $7 file name, $8 and $9 the maximum of pictures
/// and of bytes in a day, $10 tenant.
const NOTE: &str = "insert into uploads \
    (tenant_id, key, session_id, kind, person_id, content_type, size, file_name, created_at) \
    select me.tenant_id, $4, me.session_id, me.kind, me.person_id, $5, cast($6 as bigint), $7, {now} \
    from participants me join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id \
    where me.tenant_id = $10 and me.kind = $1 and me.person_id = $2 and c.id = $3 \
      and c.status = 'open' \
      and (select count(*) from uploads u \
        where u.tenant_id = $10 and u.kind = $1 and u.person_id = $2 \
        and u.created_at > {ago:86400}) < cast($8 as bigint) \
      and (select coalesce(sum(u.size), 0) from uploads u \
        where u.tenant_id = $10 and u.kind = $1 and u.person_id = $2 \
        and u.created_at > {ago:86400}) + cast($6 as bigint) <= cast($9 as bigint) \
    returning key";

/// $1, $2 the member, $3 session, $4 tenant.
const STATUS: &str = "select c.status from participants me \
    join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id \
    where me.tenant_id = $4 and me.kind = $1 and me.person_id = $2 and c.id = $3";

/// $1, $2 the member, $3 session, $4 key, $5 tenant.
const UPLOAD: &str = "select coalesce(m.image ->> 'contentType', u.content_type) as content_type, \
    u.size, u.file_name, u.created_at, \
    (u.kind = me.kind and u.person_id = me.person_id) as mine, \
    (u.message_id is null and not u.refused) as waiting, m.image is not null as shown \
    from uploads u join participants me on me.tenant_id = u.tenant_id and me.session_id = u.session_id \
    left join messages m on m.tenant_id = u.tenant_id + 0 and m.session_id = u.session_id and m.id = u.message_id \
    where me.tenant_id = $5 and me.kind = $1 and me.person_id = $2 and u.session_id = $3 \
      and u.key = $4";

/// $1 maximum creation time, $2 now, $3 the limit.
const ORPHANS: &str = "select cast(tenant_id as bigint) as tenant, session_id, key from uploads \
    where message_id is null and (created_at < $1 or remove_at <= $2) order by created_at limit $3";

/// $1 keys, $4 their tenant. Uploads requested after $2 are removed once more, at $3.
const REMOVED: &str = "update uploads set remove_at = case when created_at > $2 \
      then cast($3 as timestamptz) end \
    where tenant_id = $4 and key in (select value from {each:$1}) and message_id is null";

/// $1 keys, $2 maximum creation time, $3 the keys' tenant.
const FORGET: &str = "delete from uploads \
    where tenant_id = $3 and key in (select value from {each:$1}) and message_id is null and created_at < $2";

/// $1, $2 the uploader, $3 session, $4 key, $5 tenant.
const REFUSE: &str = "update uploads set refused = true, remove_at = {now} \
    where tenant_id = $5 and key = $4 and session_id = $3 and kind = $1 and person_id = $2 \
      and message_id is null";

/// $1 key, $2 session, $3 now, $4 tenant. The message that showed it is deleted; it can't be sent again. A part of
/// the transaction that deletes the message.
pub const WITHDRAW: &str = "update uploads set message_id = null, refused = true, \
    remove_at = $3 where tenant_id = $4 and key = $1 and session_id = $2";

/// Time after a request in which an upload may still write objects: the URL expires, a started
/// upload ends later, and clocks differ.
const LATE_WRITE_WINDOW: Duration = UPLOAD_EXPIRES.saturating_mul(2);

/// The requested pictures in the database.
#[derive(Clone, Debug)]
pub struct UploadTable(pub Database);

impl UploadTable {
    /// Records that `me` may upload a picture, as a member of the session.
    pub async fn note_upload(
        &self,
        me: &Scope,
        new: &NewUpload,
    ) -> Result<Result<(), Declined>, StoreError> {
        let member = || [me.side.as_str().into(), me.id.as_str().into(), new.session_id.0.into()];
        let [kind, person, session] = member();
        let params = [
            kind,
            person,
            session,
            new.key.to_string().into(),
            new.format.as_str().into(),
            new.size.into(),
            new.file_name.as_ref().map(FileName::as_str).into(),
            DAILY_MAX.into(),
            DAILY_BYTES_MAX.into(),
            me.tenant.number().into(),
        ];
        if !self.0.write(Statement::new(NOTE, params)).await?.is_empty() {
            return Ok(Ok(()));
        }
        let [kind, person, session] = member();
        let params = [kind, person, session, me.tenant.number().into()];
        let rows = self.0.read(Statement::new(STATUS, params)).await?;
        let status = rows.first().map(|row| row.get::<String>("status")).transpose()?;
        Ok(Err(match status.as_deref() {
            None => Declined::SessionNotFound,
            Some("open") => Declined::TooMany,
            Some(_) => Declined::SessionClosed,
        }))
    }

    /// A picture of a session that `me` is a member of, shown by a message or not.
    pub async fn upload(
        &self,
        me: &Scope,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError> {
        self.0
            .read(Statement::new(UPLOAD, of_upload(me, id, key)))
            .await?
            .first()
            .map(upload)
            .transpose()
    }

    /// Pictures that no message shows and that were requested before this time or are due for
    /// removal, the oldest first.
    pub async fn orphans(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(TenantId, ObjectKey)>, StoreError> {
        let params = [before.into(), Timestamp::now().into(), limit.into()];
        let rows = self.0.read(Statement::new(ORPHANS, params)).await?;
        let orphan = |row: &Row| {
            let key = ObjectKey::new(SessionId(row.get("session_id")?), row.parsed("key")?);
            Ok((tenant(row)?, key))
        };
        rows.iter().map(orphan).collect()
    }

    /// Records that the objects of these pictures are removed. Deletes the rows of those that were
    /// requested before this time, unless a message shows them.
    pub async fn forget_uploads(
        &self,
        keys: &[(TenantId, ObjectKey)],
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tenants = BTreeMap::<TenantId, Vec<String>>::new();
        for (tenant, key) in keys {
            tenants.entry(*tenant).or_default().push(key.image().to_string());
        }
        let (since, again) =
            (Timestamp::now() - LATE_WRITE_WINDOW, Timestamp::now() + LATE_WRITE_WINDOW);
        for (tenant, keys) in tenants {
            let tenant = tenant.number();
            let removed = [keys.clone().into(), since.into(), again.into(), tenant.into()];
            self.0.write(Statement::new(REMOVED, removed)).await?;
            self.0
                .write(Statement::new(FORGET, [keys.into(), before.into(), tenant.into()]))
                .await?;
        }
        Ok(())
    }

    /// Records that an object that `me` uploaded is not a picture, unless a message shows it.
    pub async fn refuse_upload(
        &self,
        me: &Scope,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<(), StoreError> {
        self.0.write(Statement::new(REFUSE, of_upload(me, id, key))).await.map(drop)
    }
}

fn tenant(row: &Row) -> Result<TenantId, StoreError> {
    let number: i64 = row.get("tenant")?;
    let tenant = i32::try_from(number).ok().and_then(TenantId::new);
    tenant.ok_or_else(|| unknown("tenant", &"is no tenant"))
}

/// The member, the session, the key and the tenant, as parameters.
fn of_upload(me: &Scope, id: SessionId, key: &ImageKey) -> [Value; 5] {
    [
        me.side.as_str().into(),
        me.id.as_str().into(),
        id.0.into(),
        key.to_string().into(),
        me.tenant.number().into(),
    ]
}

fn upload(row: &Row) -> Result<Upload, StoreError> {
    let name: Option<String> = row.get("file_name")?;
    Ok(Upload {
        format: row.parsed("content_type")?,
        size: row.count("size")?,
        // A name that was written by hand and does not parse is left out.
        file_name: name.and_then(|name| FileName::try_from(name).ok()),
        created_at: row.get("created_at")?,
        mine: row.get("mine")?,
        waiting: row.get("waiting")?,
        shown: row.get("shown")?,
    })
}
