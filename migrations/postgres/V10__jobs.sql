-- Work that follows a commit (laws I16 and I17). Version 9 writes `push_jobs`, and may run beside this one.
-- Nodes of this version move overdue rows of it into `jobs`; the version after the next drops it.
create table jobs (
    tenant_id    integer     not null default 1,
    id           uuid        not null default gen_random_uuid(),
    -- Later jobs have larger numbers.
    number       bigint      not null generated always as identity,
    queue        text        not null check (char_length(queue) between 1 and 40),
    kind         text        not null check (char_length(kind) between 1 and 40),
    -- A job that waits is joined by later ones with its key, and a later job covers the earlier ones.
    key          text        check (char_length(key) between 1 and 400),
    -- Jobs with one ordering key run one after the other.
    ordering_key text        check (char_length(ordering_key) between 1 and 400),
    -- The person whom the job is about.
    subject      text        check (char_length(subject) between 1 and 200),
    -- A JSON object of ids; never the text of a message.
    payload      text        not null check (octet_length(payload) <= 65536),
    state        text        not null default 'waiting' check (state in ('waiting', 'taken', 'dead')),
    attempts     integer     not null default 0 check (attempts >= 0),
    -- Time of the next attempt. For a job that is under way it is the end of its lease.
    run_at       timestamptz not null,
    error        text        check (char_length(error) <= 200),
    created_at   timestamptz not null default statement_timestamp(),
    primary key (tenant_id, id)
);

create unique index jobs_waiting on jobs (tenant_id, queue, key) where state = 'waiting';
create index jobs_due on jobs (queue, tenant_id, run_at) where state <> 'dead';
create index jobs_key on jobs (tenant_id, queue, key) where state <> 'dead' and key is not null;
create index jobs_ordered on jobs (tenant_id, queue, ordering_key, number)
    where state <> 'dead' and ordering_key is not null;
create index jobs_subject on jobs (tenant_id, subject) where subject is not null;
create index jobs_dead on jobs (created_at) where state = 'dead';

-- The last time at which each periodic job was made.
create table schedules (
    name text        primary key check (char_length(name) between 1 and 40),
    slot timestamptz not null
);
