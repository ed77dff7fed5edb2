//! Queries that both databases run, in their common dialect. Parameters are written as in
//! PostgreSQL.
//!
//! A join compares the tenant with `tenant_id + 0` of the row before, where that row's tenant is a parameter and the rest
//! of the key is not: PostgreSQL
//! would see that the parameter is the tenant of the joined table too. As long as it has no statistics of that table, it may
//! then read all rows of the tenant there, instead of those that the row before names. For the same reason a condition asks
//! `(select … limit 1) is null` where it means `not exists`, which PostgreSQL may answer by reading the table once for all.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use model::{
    ids::TenantId,
    message::{Body, Emoji, Reaction},
    person::{Person, PersonName, Side},
    session::{Desk, InboxId},
};

/// Placeholders for a missing text, for nodes of versions that know only messages with a text.
pub(super) const PICTURE: &str = "[picture]";
pub(super) const DELETED: &str = "[deleted]";

/// The value of a message's body column.
pub(super) fn body<'a>(body: Option<&'a Body>, stand_in: &'a str) -> &'a str {
    body.map_or(stand_in, Body::as_str)
}

/// The value of a JSON column.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A reaction as it is stored. Its people are of the message's tenant.
#[derive(Deserialize)]
pub(super) struct StoredReaction {
    emoji: Emoji,
    by: Vec<PersonName>,
}

/// The reactions to a message of this tenant.
pub(super) fn reactions(stored: Option<Vec<StoredReaction>>, tenant: TenantId) -> Vec<Reaction> {
    let reaction = |StoredReaction { emoji, by }| Reaction {
        emoji,
        by: by.into_iter().map(|name: PersonName| name.of(tenant)).collect(),
    };
    stored.unwrap_or_default().into_iter().map(reaction).collect()
}

/// How the desk handles a session, as it is stored: the database admits no other texts. Its assignee may have left, which
/// [`super::participants`] checks.
pub(super) fn desk(
    tenant: TenantId,
    inbox: &str,
    waiting: Option<&str>,
    snoozed_until: Option<Timestamp>,
    assignee: Option<&str>,
) -> Desk {
    Desk {
        inbox: inbox.parse().unwrap_or(InboxId::APP),
        status: waiting.and_then(|waiting| waiting.parse().ok()),
        snoozed_until,
        assignee: assignee
            .and_then(|id| id.parse().ok())
            .map(|id| Person::new(tenant, Side::Desk, id)),
    }
}

/// Columns of a message `m` whose sender is the member `s`.
macro_rules! message {
    () => {
        "m.tenant_id, m.id, m.session_id, m.seq, m.client_id, m.sender_kind, m.sender_id, s.name as sender_name, \
         m.body, m.bodiless, cast(m.image as text) as image, m.reply_to, \
         cast(m.reactions as text) as reactions, m.created_at, m.edited_at, m.deleted_at, m.rev as message_rev"
    };
}

/// Join of the sender's name to the message `m`.
macro_rules! sender {
    () => {
        "join members s on s.tenant_id = m.tenant_id + 0 and s.session_id = m.session_id \
         and s.kind = m.sender_kind and s.person_id = m.sender_id "
    };
}

/// Approximate bytes of JSON in a page: common WebSocket clients take frames of 1 MiB at most.
macro_rules! page_bytes {
    () => {
        262_144
    };
}

/// Maximum bytes of a message in JSON beside its body.
macro_rules! around_a_body {
    () => {
        2_048
    };
}

pub(crate) const PAGE_BYTES: usize = page_bytes!();
pub(crate) const AROUND_A_BODY: usize = around_a_body!();

/// A page of the messages `$of`, filtered by `$which`, in the order `$order`, up to `$limit`: the
/// rows whose running sum of bytes fits, and always the first one. The bodies of the others are not
/// read.
macro_rules! page {
    ($of:literal, $which:literal, $order:literal, $limit:literal, $sorted:literal) => {
        concat!(
            "with sized as (select m.tenant_id, m.session_id, m.seq, row_number() over w as place, \
               sum(octet_length(m.body) + ",
            around_a_body!(),
            ") over w as bytes from ",
            $of,
            " where ",
            $which,
            " window w as (order by ",
            $order,
            " rows unbounded preceding) order by ",
            $order,
            " limit ",
            $limit,
            ") select ",
            message!(),
            " from sized z \
             join messages m on m.tenant_id = z.tenant_id and m.session_id = z.session_id and m.seq = z.seq ",
            sender!(),
            "where z.place = 1 or z.bytes <= ",
            page_bytes!(),
            " order by ",
            $sorted
        )
    };
}

/// Number of unread messages of the member `me`, by subtraction. Notes, and sessions of an earlier version that are not
/// counted yet ([`super::unread`]), are counted here, of their last 100 messages: for a person who never reads, each
/// query of the session would cost more than the one before.
macro_rules! unread {
    () => {
        "case when c.notes_of is null and c.contact_messages is not null and me.read_messages is not null \
         then case me.kind when 'customer' then c.last_seq - c.contact_messages else c.contact_messages end \
           - me.read_messages \
           - (select count(*) from deleted_messages d where d.tenant_id = me.tenant_id and d.session_id = c.id \
               and d.seq > me.read_seq and d.sender_kind <> me.kind) \
         else (select count(*) from messages u where u.tenant_id = me.tenant_id and u.session_id = c.id \
           and u.seq > case when me.read_seq > c.last_seq - 100 then me.read_seq else c.last_seq - 100 end \
           and (u.sender_kind <> me.kind or c.notes_of is not null and u.sender_id <> me.person_id) \
           and u.deleted_at is null) end as unread"
    };
}

/// Columns of how the desk handles the session `$c`. A closed one waits for nothing.
macro_rules! desk {
    ($c:literal) => {
        concat!(
            $c,
            ".inbox, case ",
            $c,
            ".status when 'open' then ",
            $c,
            ".waiting end as waiting, case ",
            $c,
            ".status when 'open' then ",
            $c,
            ".snoozed_until end as snoozed_until, ",
            $c,
            ".assignee_id"
        )
    };
}
pub(super) use desk as desk_columns;

/// Sessions as seen by the member `me`. The last message, if any, has columns of its own.
macro_rules! session {
    () => {
        concat!(
            desk!("c"),
            ", c.id as chat_id, c.status, c.notes_of, coalesce(p.shared, c.shared) as shared, me.person_id as my_id, \
           coalesce(p.customer_id, c.customer_id) as customer_id, coalesce(p.dentist_id, c.dentist_id) as dentist_id, \
           c.last_seq, c.rev, \
           (select id from epoch) as epoch, \
           c.created_at as opened_at, c.active_at, me.tenant_id as my_tenant, me.kind as my_kind, me.name as my_name, \
           other.name as other_name, me.avatar_url as my_avatar_url, \
           other.avatar_url as other_avatar_url, me.read_seq, me.delivered_seq, me.muted, \
           case when p.id is null then other.read_seq else 0 end as other_read_seq, \
           case when p.id is null then other.delivered_seq else 0 end as other_delivered_seq, \
           ",
            unread!(),
            ", ",
            message!()
        )
    };
}

/// Joins of the session's other tables to the member `me`. Of several professionals, `other` is the session's
/// dentist; [`super::participants`] adds the others. Of notes, `p` is the session to which they belong, and `other` its
/// customer.
macro_rules! beside_me {
    () => {
        concat!("join sessions c on c.tenant_id = me.tenant_id + 0 and c.id = me.session_id \
         left join sessions p on p.tenant_id = c.tenant_id + 0 and p.id = c.notes_of \
         join members other on other.tenant_id = c.tenant_id + 0 \
           and other.session_id = coalesce(c.notes_of, c.id) and other.kind <> me.kind \
           and (other.kind = 'customer' or other.person_id = c.dentist_id) \
         left join messages m on m.tenant_id = c.tenant_id + 0 and m.session_id = c.id and m.seq = c.last_seq left ",
         sender!())
    };
}

pub(super) const COLUMNS: &str = message!();
pub(super) const SENDER: &str = sender!();
pub(super) const BESIDE_ME: &str = beside_me!();

pub(super) const SESSION: &str = concat!(
    "select ",
    session!(),
    " from participants me ",
    beside_me!(),
    "where me.tenant_id = $4 and me.kind = $1 and me.person_id = $2 and me.session_id = $3"
);

/// Head of the session $3, for its member $1, $2 of the tenant $4.
pub(super) const HEAD: &str = "select c.tenant_id, c.id, c.last_seq, c.rev, (select id from epoch) as epoch \
    from participants me \
    join sessions c on c.tenant_id = me.tenant_id and c.id = me.session_id \
    where me.tenant_id = $4 and me.kind = $1 and me.person_id = $2 and me.session_id = $3";

/// $3 a status or '', $4 and $5 the position in the list, $6 the limit, $7 the minimum activity
/// time, $8 the tenant. `listed` counts the sessions within the limit. Only those whose last messages fit into a
/// page are returned, and only their unread messages are counted. Notes are in no list.
pub(super) const SESSIONS: &str = concat!(
    "with listed as (select c.tenant_id, c.id, c.active_at, c.last_seq \
       from participants me join sessions c on c.tenant_id = me.tenant_id + 0 and c.id = me.session_id \
       where me.tenant_id = $8 and me.kind = $1 and me.person_id = $2 and c.notes_of is null \
       and ($3 = '' or c.status = $3 or c.status = 'open' and c.waiting = $3) and (c.active_at, c.id) < ($4, $5) and c.active_at > $7 \
       order by c.active_at desc, c.id desc limit $6), \
     sized as (select l.tenant_id, l.id, l.active_at, count(*) over () as listed, row_number() over w as place, \
       sum(coalesce(octet_length(b.body), 0) + 512) over w as bytes \
       from listed l left join messages b on b.tenant_id = l.tenant_id and b.session_id = l.id and b.seq = l.last_seq \
       window w as (order by l.active_at desc, l.id desc rows unbounded preceding)) \
     select z.listed, ",
    session!(),
    " from sized z \
     join participants me on me.tenant_id = z.tenant_id and me.session_id = z.id and me.kind = $1 \
       and me.person_id = $2 ",
    beside_me!(),
    "where z.place = 1 or z.bytes <= ",
    page_bytes!(),
    " order by z.active_at desc, z.id desc"
);

/// Beginning of a statement of sessions as seen by the member `me`.
pub(super) const VIEW: &str = concat!("select ", session!(), " from ");

/// Unread counts, of the 1,000 sessions with the latest activity. $3 the tenant.
pub(super) const UNREAD: &str = concat!(
    "select me.session_id, ",
    unread!(),
    " from (select s.tenant_id, s.id from participants w \
       join sessions s on s.tenant_id = w.tenant_id + 0 and s.id = w.session_id \
       where w.tenant_id = $3 and w.kind = $1 and w.person_id = $2 and w.read_seq < s.last_seq \
         and s.notes_of is null \
       order by s.active_at desc, s.id desc limit 1000) latest \
     join sessions c on c.tenant_id = latest.tenant_id and c.id = latest.id \
     join participants me on me.tenant_id = c.tenant_id and me.session_id = c.id and me.kind = $1 and me.person_id = $2"
);

/// $1 session, $2 after, $3 limit, $4 tenant.
pub(super) const BACKFILL_MESSAGES: &str = page!(
    "messages m",
    "m.tenant_id = $4 and m.session_id = $1 and m.seq > $2",
    "m.seq",
    "$3",
    "m.seq"
);

/// $1 session, $2 the previous revision, $3 limit, $4 tenant.
pub(super) const BACKFILL_CHANGES: &str = page!(
    "messages m",
    "m.tenant_id = $4 and m.session_id = $1 and m.rev > $2",
    "m.rev",
    "$3",
    "m.rev"
);

/// $1, $2 the member, $3 session, $4 after, $5 limit, $6 tenant.
pub(super) const HISTORY_AFTER: &str = page!(
    "messages m join participants me on me.tenant_id = m.tenant_id and me.session_id = m.session_id \
     and me.kind = $1 and me.person_id = $2",
    "m.tenant_id = $6 and m.session_id = $3 and m.seq > $4",
    "m.seq",
    "$5",
    "m.seq"
);

/// $1, $2 the member, $3 session, $4 before, $5 limit, $6 tenant: the last messages.
pub(super) const HISTORY_BEFORE: &str = page!(
    "messages m join participants me on me.tenant_id = m.tenant_id and me.session_id = m.session_id \
     and me.kind = $1 and me.person_id = $2",
    "m.tenant_id = $6 and m.session_id = $3 and m.seq < $4",
    "m.seq desc",
    "$5",
    "m.seq"
);

/// Messages changed after a revision: $1, $2 the member, $3 session, $4 the previous revision, $5
/// limit, $6 tenant.
pub(super) const CHANGES: &str = page!(
    "messages m join participants me on me.tenant_id = m.tenant_id and me.session_id = m.session_id \
     and me.kind = $1 and me.person_id = $2",
    "m.tenant_id = $6 and m.session_id = $3 and m.rev > $4",
    "m.rev",
    "$5",
    "m.rev"
);

/// Earlier texts of a message, after a row that shows that it exists: $1 session, $2 its id, $3 tenant.
pub(super) const PAST_BODIES: &str = "select e.body, e.replaced_at from messages m \
    left join message_edits e on e.tenant_id = m.tenant_id and e.session_id = m.session_id and e.seq = m.seq \
    where m.tenant_id = $3 and m.session_id = $1 and m.id = $2 order by e.number";

/// One message: $1 session, $2 its id, $3 tenant.
pub(super) const MESSAGE: &str = concat!(
    "select ",
    message!(),
    " from messages m ",
    sender!(),
    "where m.tenant_id = $3 and m.session_id = $1 and m.id = $2"
);
