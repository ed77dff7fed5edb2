-- Forward only. Times are microseconds since 1970 in UTC, from 2020 to 2200; ids are hyphenated
-- UUIDs.

create table sessions (
    tenant_id   integer not null default 1,
    id          text    primary key check (length(id) = 36),
    customer_id text    not null check (length(customer_id) between 1 and 128),
    dentist_id  text    not null check (length(dentist_id) between 1 and 128),
    status      text    not null default 'open' check (status in ('open', 'closed')),
    last_seq    integer not null default 0 check (last_seq >= 0),
    created_at  integer not null check (created_at between 1577836800000000 and 7258118400000000),
    active_at   integer not null check (active_at between 1577836800000000 and 7258118400000000)
) strict;

-- One open session for each customer and dentist.
create unique index sessions_open on sessions (tenant_id, customer_id, dentist_id)
    where status = 'open';

create table members (
    tenant_id  integer not null default 1,
    session_id text    not null references sessions (id),
    kind       text    not null check (kind in ('customer', 'dentist')),
    person_id  text    not null check (length(person_id) between 1 and 128),
    -- The last name that the directory gave: chat goes on with it when the directory is away.
    name       text    not null check (length(name) between 1 and 200),
    read_seq   integer not null default 0 check (read_seq >= 0),
    muted      integer not null default 0 check (muted in (0, 1)),
    primary key (session_id, kind, person_id)
) strict;

create index members_person on members (kind, person_id, session_id);

create table messages (
    tenant_id   integer not null default 1,
    session_id  text    not null references sessions (id),
    seq         integer not null check (seq >= 1),
    id          text    not null check (length(id) = 36),
    sender_kind text    not null check (sender_kind in ('customer', 'dentist')),
    sender_id   text    not null check (length(sender_id) between 1 and 128),
    client_id   text    not null check (length(client_id) between 1 and 64),
    kind        text    not null check (kind = 'text'),
    body        text    not null check (length(body) between 1 and 8000),
    reply_to    text    check (length(reply_to) = 36),
    created_at  integer not null check (created_at between 1577836800000000 and 7258118400000000),
    primary key (session_id, seq),
    unique (session_id, id),
    -- A send is idempotent for ever: its sender's client_id names it.
    unique (session_id, sender_kind, sender_id, client_id)
) strict;
