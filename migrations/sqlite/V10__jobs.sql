-- Work that follows a commit (laws I16 and I17). A node of this version moves what is left in `push_jobs`, which
-- stays for a version 9 that is started again.
create table jobs (
    -- Later jobs have larger numbers.
    number       integer primary key autoincrement,
    tenant_id    integer not null default 1,
    id           text    not null check (length(id) = 36),
    queue        text    not null check (length(queue) between 1 and 40),
    kind         text    not null check (length(kind) between 1 and 40),
    -- A job that waits is joined by later ones with its key, and a later job covers the earlier ones.
    key          text    check (length(key) between 1 and 400),
    -- Jobs with one ordering key run one after the other.
    ordering_key text    check (length(ordering_key) between 1 and 400),
    -- The person whom the job is about.
    subject      text    check (length(subject) between 1 and 200),
    -- A JSON object of ids; never the text of a message.
    payload      text    not null check (length(payload) <= 65536),
    state        text    not null default 'waiting' check (state in ('waiting', 'taken', 'dead')),
    attempts     integer not null default 0 check (attempts >= 0),
    -- Time of the next attempt. For a job that is under way it is the end of its lease.
    run_at       integer not null,
    error        text    check (length(error) <= 200),
    created_at   integer not null,
    unique (tenant_id, id)
) strict;

create unique index jobs_waiting on jobs (tenant_id, queue, key) where state = 'waiting';
create index jobs_due on jobs (queue, tenant_id, run_at) where state <> 'dead';
create index jobs_key on jobs (tenant_id, queue, key) where state <> 'dead' and key is not null;
create index jobs_ordered on jobs (tenant_id, queue, ordering_key, number)
    where state <> 'dead' and ordering_key is not null;
create index jobs_subject on jobs (tenant_id, subject) where subject is not null;
create index jobs_dead on jobs (created_at) where state = 'dead';

-- The last time at which each periodic job was made.
create table schedules (
    name text    primary key check (length(name) between 1 and 40),
    slot integer not null
) strict;
