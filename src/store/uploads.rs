//! Pictures that may be uploaded, and the SQL that both databases share.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::{
    images::{FileName, Format, ImageKey, ObjectKey, UPLOAD_EXPIRES},
    person::Person,
    session::SessionId,
};

/// Maximum of pictures that one person may request in a day, sent or not.
pub(crate) const DAILY_MAX: u32 = 200;
/// Maximum bytes of these pictures together.
pub(crate) const DAILY_BYTES_MAX: u64 = 500 * 1024 * 1024;

/// A picture that a person wants to upload.
#[derive(Clone, Debug)]
pub(crate) struct NewUpload {
    pub(crate) session_id: SessionId,
    pub(crate) key: ImageKey,
    pub(crate) by: Person,
    pub(crate) format: Format,
    pub(crate) size: u64,
    pub(crate) file_name: Option<FileName>,
}

/// Reason why a picture can't be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// The session does not exist, or the person is no member.
    SessionNotFound,
    SessionClosed,
    /// [`DAILY_MAX`] or [`DAILY_BYTES_MAX`] is reached.
    TooMany,
}

/// A requested picture, as seen by a member of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) format: Format,
    pub(crate) size: u64,
    pub(crate) file_name: Option<FileName>,
    pub(crate) created_at: Timestamp,
    /// It belongs to the person who reads it.
    pub(crate) mine: bool,
    /// No message shows it yet, and one may.
    pub(crate) waiting: bool,
    /// A message shows it.
    pub(crate) shown: bool,
}

/// Time for which a picture may wait to be sent.
const SEND_WINDOW: Duration = Duration::from_hours(24);
/// Additional time before its object is removed: for a send that is under way, and for clock
/// differences.
const REMOVAL_DELAY: Duration = Duration::from_hours(1);

impl Upload {
    /// It has waited too long: its object may be removed at any moment.
    pub(crate) fn is_late(&self) -> bool {
        self.created_at < Timestamp::now() - SEND_WINDOW
    }
}

/// A waiting picture that was requested before this time is an orphan.
pub(crate) fn orphaned() -> Timestamp {
    Timestamp::now() - SEND_WINDOW - REMOVAL_DELAY
}

/// The part of a store that keeps the requested pictures.
#[async_trait]
pub(crate) trait Uploads: Send + Sync + 'static {
    /// Records that a member may upload a picture.
    async fn note_upload(&self, new: &NewUpload) -> Result<Result<(), Declined>, StoreError>;

    /// A picture of a session that `me` is a member of, shown by a message or not.
    async fn upload(
        &self,
        me: &Person,
        id: SessionId,
        key: &ImageKey,
    ) -> Result<Option<Upload>, StoreError>;

    /// Pictures that no message shows and that were requested before this time or are due for
    /// removal, the oldest first.
    async fn orphans(&self, before: Timestamp, limit: u32) -> Result<Vec<ObjectKey>, StoreError>;

    /// Records that the objects of these pictures are removed. Deletes the rows of those that were
    /// requested before this time, unless a message shows them.
    async fn forget_uploads(&self, keys: &[ObjectKey], before: Timestamp)
    -> Result<(), StoreError>;

    /// Records that the uploaded object is not a picture.
    async fn refuse_upload(&self, key: &ObjectKey) -> Result<(), StoreError>;
}

/// $1, $2 the member, $3 session, $4 key.
pub(super) const UPLOAD: &str = "select coalesce(m.image ->> 'contentType', u.content_type) as content_type, u.size, u.file_name, u.created_at, \
    (u.kind = me.kind and u.person_id = me.person_id) as mine, (u.message_id is null and not u.refused) as waiting, \
    m.image is not null as shown \
    from uploads u join members me on me.session_id = u.session_id \
    left join messages m on m.session_id = u.session_id and m.id = u.message_id \
    where me.kind = $1 and me.person_id = $2 and u.session_id = $3 and u.key = $4";

/// $1 maximum creation time, $2 now, $3 the limit.
pub(super) const ORPHANS: &str = "select session_id, key from uploads \
    where message_id is null and (created_at < $1 or remove_at <= $2) order by created_at limit $3";

/// $1 key, $2 session, $3 now. The message that showed it is deleted; it can't be sent again.
pub(super) const WITHDRAW: &str = "update uploads set message_id = null, refused = true, \
    remove_at = $3 where key = $1 and session_id = $2";

/// Time after a request in which an upload may still write objects: the URL expires, a started
/// upload ends later, and clocks differ.
pub(super) const LATE_WRITE_WINDOW: Duration = UPLOAD_EXPIRES.saturating_mul(2);
