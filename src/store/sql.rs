//! The look-ups that both databases run, in the words that both understand. Parameters are written
//! as PostgreSQL writes them.

use serde::Serialize;

use crate::message::Body;

/// What stands where there is no text, for nodes that know no other messages.
pub(super) const PICTURE: &str = "[picture]";
pub(super) const DELETED: &str = "[deleted]";

/// What is written as a message's body.
pub(super) fn body<'a>(body: Option<&'a Body>, stand_in: &'a str) -> &'a str {
    body.map_or(stand_in, Body::as_str)
}

/// A value in a column of JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Columns of a message `m` whose sender is the member `s`.
macro_rules! message {
    () => {
        "m.id, m.session_id, m.seq, m.client_id, m.sender_kind, m.sender_id, s.name as sender_name, \
         m.body, m.bodiless, cast(m.image as text) as image, m.reply_to, \
         cast(m.reactions as text) as reactions, m.created_at, m.edited_at, m.deleted_at, m.rev as message_rev"
    };
}

/// Messages with their senders' names.
macro_rules! messages {
    () => {
        "messages m join members s on s.session_id = m.session_id and s.kind = m.sender_kind \
         and s.person_id = m.sender_id"
    };
}

/// Where the unread messages begin. Only the session's last 1,000 count: for someone who never reads,
/// each look at the session would cost more than the one before.
macro_rules! unread_from {
    () => {
        "case when me.read_seq > c.last_seq - 1000 then me.read_seq else c.last_seq - 1000 end"
    };
}

/// Sessions as the member `me` sees them. The last message, where there is one, is in
/// columns of its own.
macro_rules! sessions {
    () => {
        concat!(
            "select c.id as chat_id, c.status, c.customer_id, c.dentist_id, c.last_seq, c.rev, \
           c.created_at as opened_at, c.active_at, me.kind as my_kind, me.name as my_name, \
           other.name as other_name, me.avatar_url as my_avatar_url, \
           other.avatar_url as other_avatar_url, me.read_seq, other.read_seq as other_read_seq, \
           me.delivered_seq, other.delivered_seq as other_delivered_seq, me.muted, \
           (select count(*) from messages u where u.session_id = c.id and u.seq > ",
            unread_from!(),
            " and u.sender_kind <> me.kind and u.deleted_at is null) as unread, ",
            message!(),
            " from members me \
         join sessions c on c.id = me.session_id \
         join members other on other.session_id = c.id and other.kind <> me.kind \
         left join messages m on m.session_id = c.id and m.seq = c.last_seq \
         left join members s on s.session_id = m.session_id and s.kind = m.sender_kind \
           and s.person_id = m.sender_id "
        )
    };
}

pub(super) const COLUMNS: &str = message!();
pub(super) const MESSAGES: &str = messages!();

pub(super) const SESSION: &str =
    concat!(sessions!(), "where me.kind = $1 and me.person_id = $2 and c.id = $3");

/// $3 a status or nothing, $4 and $5 the place in the list, $6 the limit, $7 only what is newer.
pub(super) const SESSIONS: &str = concat!(
    sessions!(),
    "where me.kind = $1 and me.person_id = $2 \
     and ($3 = '' or c.status = $3) and (c.active_at, c.id) < ($4, $5) and c.active_at > $7 \
     order by c.active_at desc, c.id desc limit $6"
);

/// Sessions as each of their members sees them; the where is the database's own.
pub(super) const VIEWS: &str = sessions!();

pub(super) const UNREAD: &str = concat!(
    "select me.session_id, count(*) as unread from members me \
     join sessions c on c.id = me.session_id \
     join messages m on m.session_id = me.session_id and m.seq > ",
    unread_from!(),
    " and m.sender_kind <> me.kind and m.deleted_at is null \
     where me.kind = $1 and me.person_id = $2 group by me.session_id"
);

/// $1 session, $2 after, $3 limit.
pub(super) const FILL: &str = concat!(
    "select ",
    message!(),
    " from ",
    messages!(),
    " where m.session_id = $1 and m.seq > $2 order by m.seq limit $3"
);

/// $1 session, $2 the revision before, $3 limit.
pub(super) const CHANGED: &str = concat!(
    "select ",
    message!(),
    " from ",
    messages!(),
    " where m.session_id = $1 and m.rev > $2 order by m.rev limit $3"
);

/// $1, $2 the member, $3 session, $4 after, $5 limit.
pub(super) const HISTORY_AFTER: &str = concat!(
    "select ",
    message!(),
    " from ",
    messages!(),
    " join members me on me.session_id = m.session_id and me.kind = $1 and me.person_id = $2 \
     where m.session_id = $3 and m.seq > $4 order by m.seq limit $5"
);

/// $1, $2 the member, $3 session, $4 before, $5 limit; the last one first.
pub(super) const HISTORY_BEFORE: &str = concat!(
    "select ",
    message!(),
    " from ",
    messages!(),
    " join members me on me.session_id = m.session_id and me.kind = $1 and me.person_id = $2 \
     where m.session_id = $3 and m.seq < $4 order by m.seq desc limit $5"
);

/// What has changed in a session: $1, $2 the member, $3 session, $4 the revision before, $5 limit.
pub(super) const CHANGES: &str = concat!(
    "select ",
    message!(),
    " from ",
    messages!(),
    " join members me on me.session_id = m.session_id and me.kind = $1 and me.person_id = $2 \
     where m.session_id = $3 and m.rev > $4 order by m.rev limit $5"
);

/// What a message said before each change, after a row that shows that it is there: $1 session, $2 its id.
pub(super) const PAST_BODIES: &str = "select e.body, e.replaced_at from messages m \
    left join message_edits e on e.session_id = m.session_id and e.seq = m.seq \
    where m.session_id = $1 and m.id = $2 order by e.number";

/// One message: $1 session, $2 its id.
pub(super) const MESSAGE: &str =
    concat!("select ", message!(), " from ", messages!(), " where m.session_id = $1 and m.id = $2");
