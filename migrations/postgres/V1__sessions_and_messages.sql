-- Forward only, and expand before contract: the version before this one keeps running on it.

create table sessions (
    tenant_id   integer     not null default 1,
    id          uuid        primary key,
    customer_id text        not null check (char_length(customer_id) between 1 and 128),
    dentist_id  text        not null check (char_length(dentist_id) between 1 and 128),
    status      text        not null default 'open' check (status in ('open', 'closed')),
    last_seq    bigint      not null default 0 check (last_seq >= 0),
    created_at  timestamptz not null check (created_at between '2020-01-01T00:00:00Z' and '2200-01-01T00:00:00Z'),
    active_at   timestamptz not null check (active_at between '2020-01-01T00:00:00Z' and '2200-01-01T00:00:00Z')
);

-- One open session for each customer and dentist.
create unique index sessions_open on sessions (tenant_id, customer_id, dentist_id)
    where status = 'open';

create table members (
    tenant_id  integer not null default 1,
    session_id uuid    not null references sessions (id),
    kind       text    not null check (kind in ('customer', 'dentist')),
    person_id  text    not null check (char_length(person_id) between 1 and 128),
    -- The last name that the directory gave: chat goes on with it when the directory is away.
    name       text    not null check (char_length(name) between 1 and 200),
    read_seq   bigint  not null default 0 check (read_seq >= 0),
    muted      boolean not null default false,
    primary key (session_id, kind, person_id)
);

create index members_person on members (kind, person_id, session_id);

create table messages (
    tenant_id   integer     not null default 1,
    session_id  uuid        not null references sessions (id),
    seq         bigint      not null check (seq >= 1),
    id          uuid        not null,
    sender_kind text        not null check (sender_kind in ('customer', 'dentist')),
    sender_id   text        not null check (char_length(sender_id) between 1 and 128),
    client_id   text        not null check (char_length(client_id) between 1 and 64),
    kind        text        not null check (kind = 'text'),
    body        text        not null check (char_length(body) between 1 and 8000),
    reply_to    uuid,
    created_at  timestamptz not null check (created_at between '2020-01-01T00:00:00Z' and '2200-01-01T00:00:00Z'),
    primary key (session_id, seq),
    unique (session_id, id),
    -- A send is idempotent for ever: its sender's client_id names it.
    unique (session_id, sender_kind, sender_id, client_id)
);
