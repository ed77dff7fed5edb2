-- What version 1 wrote stays as it is, and version 1 reads what is written now: a message whose text is
-- gone, or that is only a picture, keeps a stand-in in `body` for it.

alter table messages
    add column bodiless   boolean not null default false,
    -- {key, contentType, size, width, height, fileName?}
    add column image      jsonb,
    -- [{emoji, by: [{kind, id}]}]
    add column reactions  jsonb,
    add column edited_at  timestamptz,
    add column deleted_at timestamptz,
    -- The session's revision in which it was changed last; nothing where it never was.
    add column rev        bigint check (rev >= 1),
    add column search     tsvector;

alter table sessions add column rev bigint not null default 0 check (rev >= 0);

alter table members
    add column delivered_seq bigint not null default 0 check (delivered_seq >= 0),
    add column avatar_url    text check (char_length(avatar_url) between 1 and 2000);

create index messages_rev on messages (session_id, rev) where rev is not null;

-- What a message said before it was edited or deleted.
create table message_edits (
    tenant_id  integer     not null default 1,
    session_id uuid        not null,
    seq        bigint      not null,
    number     integer     not null check (number >= 1),
    body       text        not null,
    replaced_at timestamptz not null,
    primary key (session_id, seq, number),
    foreign key (session_id, seq) references messages (session_id, seq)
);

-- When someone was last connected.
create table people_seen (
    tenant_id integer     not null default 1,
    kind      text        not null check (kind in ('customer', 'dentist')),
    person_id text        not null check (char_length(person_id) between 1 and 128),
    seen_at   timestamptz not null,
    primary key (kind, person_id)
);

-- Pictures that may be uploaded. One that no message has shown after a day is removed.
create table uploads (
    tenant_id  integer     not null default 1,
    key        text        primary key check (char_length(key) between 1 and 200),
    session_id uuid        not null references sessions (id),
    kind       text        not null check (kind in ('customer', 'dentist')),
    person_id  text        not null check (char_length(person_id) between 1 and 128),
    content_type text      not null,
    size       bigint      not null check (size > 0),
    file_name  text        check (char_length(file_name) between 1 and 200),
    created_at timestamptz not null default now(),
    -- What was uploaded is no picture: it is not looked at again.
    refused    boolean     not null default false,
    -- Set when a message shows it.
    message_id uuid
);

create index uploads_person on uploads (kind, person_id, created_at);
create index uploads_orphans on uploads (created_at) where message_id is null;

-- Pushes to be made: at most one that waits for a person and a session, however many messages come.
create table push_jobs (
    tenant_id  integer     not null default 1,
    id         uuid        primary key default gen_random_uuid(),
    session_id uuid        not null references sessions (id),
    kind       text        not null check (kind in ('customer', 'dentist')),
    person_id  text        not null check (char_length(person_id) between 1 and 128),
    -- The first message that it tells of.
    seq        bigint      not null check (seq >= 1),
    state      text        not null default 'waiting' check (state in ('waiting', 'taken', 'dead')),
    attempts   integer     not null default 0 check (attempts >= 0),
    -- When to look at it: a job that is taken and not done by then is taken again.
    due_at     timestamptz not null,
    error      text        check (char_length(error) <= 200),
    created_at timestamptz not null default now()
);

create unique index push_jobs_waiting on push_jobs (session_id, kind, person_id) where state = 'waiting';
create index push_jobs_due on push_jobs (due_at) where state <> 'dead';
create index push_jobs_person on push_jobs (session_id, kind, person_id) where state <> 'dead';

-- Full text, in a configuration of our own, whose language a node sets at start. The extension may not
-- be had, or not by this user: then accents count.
create text search configuration frontdesk (copy = pg_catalog.simple);

do $do$
begin
    create extension if not exists unaccent;
    alter text search configuration frontdesk alter mapping for hword, hword_part, word with unaccent, simple;
exception when others then
    raise notice 'unaccent is not available';
end $do$;

create function frontdesk_index() returns trigger language plpgsql as $$
begin
    new.search := case when not new.bodiless then to_tsvector('frontdesk', new.body) end;
    return new;
end $$;

create trigger messages_search before insert or update of body, bodiless on messages
    for each row execute function frontdesk_index();

create index messages_search on messages using gin (search);
