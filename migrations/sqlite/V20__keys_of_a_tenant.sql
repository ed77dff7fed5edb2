-- As for PostgreSQL, and the foreign keys too. SQLite can't change a key: the tables are written again, each row with the
-- tenant of its session. It takes half a minute for a million messages, and disk space for two more copies of the file.
drop view participants;

create table new_sessions (
    tenant_id        integer not null default 1,
    id               text    not null check (length(id) = 36),
    customer_id      text    not null check (length(customer_id) between 1 and 128),
    dentist_id       text    not null check (length(dentist_id) between 1 and 128),
    status           text    not null default 'open' check (status in ('open', 'closed')),
    last_seq         integer not null default 0 check (last_seq >= 0),
    created_at       integer not null check (created_at between 1577836800000000 and 7258118400000000),
    active_at        integer not null check (active_at between 1577836800000000 and 7258118400000000),
    rev              integer not null default 0 check (rev >= 0),
    shared           integer not null default 0 check (shared in (0, 1)),
    notes_of         text,
    contact_messages integer check (contact_messages >= 0),
    inbox            text    not null default 'app'
                             check (length(inbox) between 1 and 40 and inbox not glob '*[^a-z0-9_-]*'),
    waiting          text    check (waiting in ('pending', 'snoozed')),
    snoozed_until    integer,
    assignee_id      text    check (length(assignee_id) between 1 and 128),
    primary key (tenant_id, id),
    foreign key (tenant_id, notes_of) references new_sessions (tenant_id, id)
) strict;

insert into new_sessions (tenant_id, id, customer_id, dentist_id, status, last_seq, created_at, active_at, rev, shared,
        notes_of, contact_messages, inbox, waiting, snoozed_until, assignee_id)
    select tenant_id, id, customer_id, dentist_id, status, last_seq, created_at, active_at, rev, shared,
        notes_of, contact_messages, inbox, waiting, snoozed_until, assignee_id
    from sessions;

create table new_members (
    tenant_id     integer not null default 1,
    session_id    text    not null,
    kind          text    not null check (kind in ('customer', 'dentist')),
    person_id     text    not null check (length(person_id) between 1 and 128),
    -- The last name that the directory gave: chat goes on with it when the directory is away.
    name          text    not null check (length(name) between 1 and 200),
    read_seq      integer not null default 0 check (read_seq >= 0),
    muted         integer not null default 0 check (muted in (0, 1)),
    delivered_seq integer not null default 0 check (delivered_seq >= 0),
    avatar_url    text    check (length(avatar_url) between 1 and 2000),
    left_at       integer,
    read_messages integer check (read_messages >= 0),
    primary key (tenant_id, session_id, kind, person_id),
    foreign key (tenant_id, session_id) references new_sessions (tenant_id, id)
) strict;

insert into new_members (tenant_id, session_id, kind, person_id, name, read_seq, muted, delivered_seq, avatar_url, left_at,
        read_messages)
    select s.tenant_id, m.session_id, m.kind, m.person_id, m.name, m.read_seq, m.muted, m.delivered_seq, m.avatar_url,
        m.left_at, m.read_messages
    from members m join sessions s on s.id = m.session_id;

create table new_messages (
    tenant_id   integer not null default 1,
    session_id  text    not null,
    seq         integer not null check (seq >= 1),
    id          text    not null check (length(id) = 36),
    sender_kind text    not null check (sender_kind in ('customer', 'dentist')),
    sender_id   text    not null check (length(sender_id) between 1 and 128),
    client_id   text    not null check (length(client_id) between 1 and 64),
    kind        text    not null check (kind = 'text'),
    body        text    not null check (length(body) between 1 and 8000),
    reply_to    text    check (length(reply_to) = 36),
    created_at  integer not null check (created_at between 1577836800000000 and 7258118400000000),
    bodiless    integer not null default 0 check (bodiless in (0, 1)),
    image       text,
    reactions   text,
    edited_at   integer,
    deleted_at  integer,
    rev         integer check (rev >= 1),
    search_rev  integer,
    words       text,
    primary key (tenant_id, session_id, seq),
    unique (tenant_id, session_id, id),
    -- A send is idempotent for ever: its sender's client_id names it.
    unique (tenant_id, session_id, sender_kind, sender_id, client_id),
    foreign key (tenant_id, session_id) references new_sessions (tenant_id, id)
) strict;

-- The search index and its queues name the rows.
insert into new_messages (rowid, tenant_id, session_id, seq, id, sender_kind, sender_id, client_id, kind, body, reply_to,
        created_at, bodiless, image, reactions, edited_at, deleted_at, rev, search_rev, words)
    select m.rowid, s.tenant_id, m.session_id, m.seq, m.id, m.sender_kind, m.sender_id, m.client_id, m.kind, m.body,
        m.reply_to, m.created_at, m.bodiless, m.image, m.reactions, m.edited_at, m.deleted_at, m.rev, m.search_rev, m.words
    from messages m join sessions s on s.id = m.session_id order by m.rowid;

create table new_message_edits (
    tenant_id   integer not null default 1,
    session_id  text    not null,
    seq         integer not null,
    number      integer not null check (number >= 1),
    body        text    not null,
    replaced_at integer not null,
    primary key (tenant_id, session_id, seq, number),
    foreign key (tenant_id, session_id, seq) references new_messages (tenant_id, session_id, seq)
) strict;

insert into new_message_edits (tenant_id, session_id, seq, number, body, replaced_at)
    select s.tenant_id, e.session_id, e.seq, e.number, e.body, e.replaced_at
    from message_edits e join sessions s on s.id = e.session_id;

create table new_deleted_messages (
    tenant_id   integer not null,
    session_id  text    not null,
    seq         integer not null,
    sender_kind text    not null,
    primary key (tenant_id, session_id, seq)
) without rowid;

insert into new_deleted_messages (tenant_id, session_id, seq, sender_kind)
    select s.tenant_id, d.session_id, d.seq, d.sender_kind
    from deleted_messages d join sessions s on s.id = d.session_id;

create table new_uploads (
    tenant_id    integer not null default 1,
    key          text    not null check (length(key) between 1 and 200),
    session_id   text    not null,
    kind         text    not null check (kind in ('customer', 'dentist')),
    person_id    text    not null check (length(person_id) between 1 and 128),
    content_type text    not null,
    size         integer not null check (size > 0),
    file_name    text    check (length(file_name) between 1 and 200),
    created_at   integer not null,
    refused      integer not null default 0 check (refused in (0, 1)),
    message_id   text,
    remove_at    integer,
    primary key (tenant_id, key),
    foreign key (tenant_id, session_id) references new_sessions (tenant_id, id)
) strict;

insert into new_uploads (tenant_id, key, session_id, kind, person_id, content_type, size, file_name, created_at, refused,
        message_id, remove_at)
    select s.tenant_id, u.key, u.session_id, u.kind, u.person_id, u.content_type, u.size, u.file_name, u.created_at,
        u.refused, u.message_id, u.remove_at
    from uploads u join sessions s on s.id = u.session_id;

create table new_push_jobs (
    tenant_id  integer not null default 1,
    id         text    primary key check (length(id) = 36),
    session_id text    not null,
    kind       text    not null check (kind in ('customer', 'dentist')),
    person_id  text    not null check (length(person_id) between 1 and 128),
    seq        integer not null check (seq >= 1),
    state      text    not null default 'waiting' check (state in ('waiting', 'taken', 'dead')),
    attempts   integer not null default 0 check (attempts >= 0),
    due_at     integer not null,
    error      text    check (length(error) <= 200),
    created_at integer not null
) strict;

insert into new_push_jobs (tenant_id, id, session_id, kind, person_id, seq, state, attempts, due_at, error, created_at)
    select tenant_id, id, session_id, kind, person_id, seq, state, attempts, due_at, error, created_at from push_jobs;

drop table push_jobs;
drop table uploads;
drop table deleted_messages;
drop table message_edits;
drop table messages;
drop table members;
drop table sessions;

alter table new_sessions rename to sessions;
alter table new_members rename to members;
alter table new_messages rename to messages;
alter table new_message_edits rename to message_edits;
alter table new_deleted_messages rename to deleted_messages;
alter table new_uploads rename to uploads;
alter table new_push_jobs rename to push_jobs;

-- How far the sessions of version 14 and before have been counted in each tenant, by their ids: ids are ordered within a
-- tenant now. A row goes when all are. The version before goes on in unread_backfill, and may count a session again.
create table uncounted_tenants (
    tenant_id  integer primary key,
    session_id text    not null
) strict;

insert into uncounted_tenants (tenant_id, session_id)
    select t.id, b.session_id from tenants t, unread_backfill b;

-- One open session for each customer and dentist.
create unique index sessions_open on sessions (tenant_id, customer_id, dentist_id) where status = 'open';
create unique index sessions_notes on sessions (tenant_id, notes_of) where notes_of is not null;
create index sessions_snoozed on sessions (snoozed_until) where snoozed_until is not null;
create index members_person on members (tenant_id, kind, person_id, session_id);
create index messages_rev on messages (tenant_id, session_id, rev) where rev is not null;
create index message_edits_replaced on message_edits (replaced_at);
create index uploads_person on uploads (tenant_id, kind, person_id, created_at);
create index uploads_orphans on uploads (created_at) where message_id is null;
create index uploads_to_remove on uploads (remove_at) where remove_at is not null;
create unique index push_jobs_waiting on push_jobs (session_id, kind, person_id) where state = 'waiting';

-- The members who take part now: every check of membership reads this. A later column of members that a statement
-- reads from here needs this view made anew.
create view participants as
    select tenant_id, session_id, kind, person_id, name, avatar_url, read_seq, delivered_seq, muted, read_messages
    from members where left_at is null;

-- As in version 18, 14, 8, 4 and 15, with the tenant.
create trigger members_seat_in_notes after insert on members
    when new.kind = 'dentist' and substr(new.person_id, 1, 4) <> 'bot:' and substr(new.person_id, 1, 7) <> 'system:'
begin
    insert or ignore into members (tenant_id, session_id, kind, person_id, name, avatar_url)
        select new.tenant_id, n.id, new.kind, new.person_id, new.name, new.avatar_url
        from sessions n where n.tenant_id = new.tenant_id and n.notes_of = new.session_id;
end;

create trigger members_leave_notes after update of left_at on members
    when new.kind = 'dentist' and old.left_at is not new.left_at
begin
    update members set left_at = new.left_at
        where tenant_id = new.tenant_id
          and session_id = (select id from sessions where tenant_id = new.tenant_id and notes_of = new.session_id)
          and kind = new.kind and person_id = new.person_id;
    update sessions set rev = rev + 1 where tenant_id = new.tenant_id and notes_of = new.session_id;
end;

create trigger messages_search_new after insert on messages
    when not new.bodiless and new.search_rev is null begin
    insert into message_search (rowid, body) values (new.rowid, new.body);
end;

create trigger messages_queue_new after insert on messages
    when not new.bodiless and new.search_rev is not null begin
    insert into search_queue (message, queued_at) values (new.rowid, new.created_at);
end;

create trigger messages_search_changed after update of body, bodiless on messages
    when old.body is not new.body or old.bodiless is not new.bodiless begin
    insert into message_search (message_search, rowid, body)
        select 'delete', old.rowid, coalesce(old.words, old.body) where not old.bodiless
            and not exists (select 1 from search_queue where message = old.rowid);
    update messages set words = null where rowid = old.rowid and words is not null;
    delete from search_queue where message = old.rowid;
    insert into message_search (rowid, body)
        select new.rowid, new.body where not new.bodiless and new.search_rev is old.search_rev;
    insert into search_queue (message, queued_at)
        select new.rowid, coalesce(new.edited_at, new.created_at)
        where not new.bodiless and new.search_rev is not old.search_rev;
end;

create trigger messages_note_deleted after update of deleted_at on messages
    when old.deleted_at is null and new.deleted_at is not null
begin
    insert or ignore into deleted_messages (tenant_id, session_id, seq, sender_kind)
        values (new.tenant_id, new.session_id, new.seq, new.sender_kind);
end;

create trigger sessions_count_begins after insert on sessions
begin
    update sessions set contact_messages = 0 where tenant_id = new.tenant_id and id = new.id;
end;

create trigger messages_count_new after insert on messages when new.sender_kind = 'customer'
begin
    update sessions set contact_messages = contact_messages + 1
        where tenant_id = new.tenant_id and id = new.session_id;
end;

create trigger members_count_read after update of read_seq on members when new.read_seq <> old.read_seq
begin
    update members set read_messages = case when new.read_seq > old.read_seq then old.read_messages else 0 end
          + (select count(*) from messages where tenant_id = new.tenant_id and session_id = new.session_id
              and sender_kind <> new.kind
              and seq > case when new.read_seq > old.read_seq then old.read_seq else 0 end and seq <= new.read_seq)
        where tenant_id = new.tenant_id and session_id = new.session_id and kind = new.kind
          and person_id = new.person_id;
end;

create trigger members_count_seated after insert on members
begin
    update members set read_messages = (select count(*) from messages where tenant_id = new.tenant_id
            and session_id = new.session_id and sender_kind <> new.kind and seq <= new.read_seq)
        where tenant_id = new.tenant_id and session_id = new.session_id and kind = new.kind
          and person_id = new.person_id;
end;
