-- As for PostgreSQL; what is JSON there is text in JSON here.

alter table messages add column bodiless   integer not null default 0 check (bodiless in (0, 1));
alter table messages add column image      text;
alter table messages add column reactions  text;
alter table messages add column edited_at  integer;
alter table messages add column deleted_at integer;
alter table messages add column rev        integer check (rev >= 1);

alter table sessions add column rev integer not null default 0 check (rev >= 0);

alter table members add column delivered_seq integer not null default 0 check (delivered_seq >= 0);
alter table members add column avatar_url text check (length(avatar_url) between 1 and 2000);

create index messages_rev on messages (session_id, rev) where rev is not null;

create table message_edits (
    tenant_id   integer not null default 1,
    session_id  text    not null,
    seq         integer not null,
    number      integer not null check (number >= 1),
    body        text    not null,
    replaced_at integer not null,
    primary key (session_id, seq, number),
    foreign key (session_id, seq) references messages (session_id, seq)
) strict;

create table people_seen (
    tenant_id integer not null default 1,
    kind      text    not null check (kind in ('customer', 'dentist')),
    person_id text    not null check (length(person_id) between 1 and 128),
    seen_at   integer not null,
    primary key (kind, person_id)
) strict;

create table uploads (
    tenant_id    integer not null default 1,
    key          text    primary key check (length(key) between 1 and 200),
    session_id   text    not null references sessions (id),
    kind         text    not null check (kind in ('customer', 'dentist')),
    person_id    text    not null check (length(person_id) between 1 and 128),
    content_type text    not null,
    size         integer not null check (size > 0),
    file_name    text    check (length(file_name) between 1 and 200),
    created_at   integer not null,
    refused      integer not null default 0 check (refused in (0, 1)),
    message_id   text
) strict;

create index uploads_person on uploads (kind, person_id, created_at);
create index uploads_orphans on uploads (created_at) where message_id is null;

create table push_jobs (
    tenant_id  integer not null default 1,
    id         text    primary key check (length(id) = 36),
    session_id text    not null references sessions (id),
    kind       text    not null check (kind in ('customer', 'dentist')),
    person_id  text    not null check (length(person_id) between 1 and 128),
    seq        integer not null check (seq >= 1),
    state      text    not null default 'waiting' check (state in ('waiting', 'taken', 'dead')),
    attempts   integer not null default 0 check (attempts >= 0),
    due_at     integer not null,
    error      text    check (length(error) <= 200),
    created_at integer not null
) strict;

create unique index push_jobs_waiting on push_jobs (session_id, kind, person_id) where state = 'waiting';
create index push_jobs_due on push_jobs (due_at) where state <> 'dead';
create index push_jobs_person on push_jobs (session_id, kind, person_id) where state <> 'dead';

create virtual table message_search using fts5 (
    body, content = 'messages', content_rowid = 'rowid', tokenize = 'unicode61 remove_diacritics 2'
);

insert into message_search (rowid, body) select rowid, body from messages;

create trigger messages_search_new after insert on messages when not new.bodiless begin
    insert into message_search (rowid, body) values (new.rowid, new.body);
end;

create trigger messages_search_changed after update of body, bodiless on messages begin
    insert into message_search (message_search, rowid, body)
        select 'delete', old.rowid, old.body where not old.bodiless;
    insert into message_search (rowid, body)
        select new.rowid, new.body where not new.bodiless;
end;
