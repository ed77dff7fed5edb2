//! Pictures that may be uploaded, and what the two databases say about them in the same words.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    images::{FileName, Format, ImageKey, UPLOAD_EXPIRES},
    person::Person,
    session::SessionId,
};

/// How many pictures one person may ask for in a day, sent or not.
pub(crate) const DAILY_MAX: u32 = 200;
/// How many bytes all of them may have.
pub(crate) const DAILY_BYTES_MAX: u64 = 500 * 1024 * 1024;

/// A picture that someone wants to upload.
#[derive(Clone, Debug)]
pub(crate) struct NewUpload {
    pub(crate) session_id: SessionId,
    pub(crate) key: ImageKey,
    pub(crate) by: Person,
    pub(crate) format: Format,
    pub(crate) size: u64,
    pub(crate) file_name: Option<FileName>,
}

/// Why a picture can't be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// There is no such session, or the one who asks is no member.
    SessionNotFound,
    SessionClosed,
    /// There were [`DAILY_MAX`] in a day, or they had [`DAILY_BYTES_MAX`].
    TooMany,
}

/// A picture that was asked for, as a member of its session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) format: Format,
    pub(crate) size: u64,
    pub(crate) file_name: Option<FileName>,
    pub(crate) created_at: Timestamp,
    /// It is the one's who asks.
    pub(crate) mine: bool,
    /// No message has taken it yet, and one may.
    pub(crate) waiting: bool,
    /// A message shows it.
    pub(crate) shown: bool,
}

/// How long a picture waits to be sent.
const WAITS: Duration = Duration::from_hours(24);
/// How much longer its object stays: a send that is under way ends, and clocks differ.
const STAYS: Duration = Duration::from_hours(1);

impl Upload {
    /// It has waited for too long: its object may go at any moment.
    pub(crate) fn is_late(&self) -> bool {
        self.created_at < Timestamp::now() - WAITS
    }
}

/// Before when a picture that waits is an orphan.
pub(crate) fn orphaned() -> Timestamp {
    Timestamp::now() - WAITS - STAYS
}

/// $1, $2 the member, $3 session, $4 key.
pub(super) const UPLOAD: &str = "select coalesce(m.image ->> 'contentType', u.content_type) as content_type, u.size, u.file_name, u.created_at, \
    (u.kind = me.kind and u.person_id = me.person_id) as mine, (u.message_id is null and not u.refused) as waiting, \
    m.image is not null as shown \
    from uploads u join members me on me.session_id = u.session_id \
    left join messages m on m.session_id = u.session_id and m.id = u.message_id \
    where me.kind = $1 and me.person_id = $2 and u.session_id = $3 and u.key = $4";

/// $1 before when, $2 now, $3 the limit.
pub(super) const ORPHANS: &str = "select session_id, key from uploads \
    where message_id is null and (created_at < $1 or remove_at <= $2) order by created_at limit $3";

/// $1 key, $2 session, $3 now: the message that showed it is deleted. Nothing can send it again.
pub(super) const WITHDRAW: &str = "update uploads set message_id = null, refused = true, \
    remove_at = $3 where key = $1 and session_id = $2";

/// How long an upload may put objects there after it was asked for: its URL ends, an upload that has
/// begun ends later, and clocks differ.
pub(super) const MAY_RETURN: Duration = UPLOAD_EXPIRES.saturating_mul(2);
