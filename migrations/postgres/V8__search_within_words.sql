-- Texts are indexed by pairs of characters and groups of digits, too. Texts that earlier versions have indexed
-- are indexed again behind the commits, by nodes of this version: they set frontdesk.index to 'pairs' in their
-- connections. The version before finds its words in both kinds of index.

-- Messages whose text is to be indexed again: as search_queue, but no search reads it.
create table search_again (
    tenant_id  integer     not null default 1,
    id         bigint      not null generated always as identity,
    session_id uuid        not null,
    seq        bigint      not null,
    attempts   smallint    not null default 0,
    queued_at  timestamptz not null default now(),
    primary key (attempts, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- A node of the version before has indexed these, or given them up.
create function frontdesk_index_again() returns trigger language plpgsql as $$
begin
    insert into search_again (session_id, seq) select session_id, seq from left_queue;
    return null;
end $$;

create trigger search_queue_left after delete on search_queue referencing old table as left_queue
    for each statement when (current_setting('frontdesk.index', true) is distinct from 'pairs')
    execute function frontdesk_index_again();

-- How far the messages from before this migration have been put into search_again, from the newest
-- sessions on. The row goes when all are.
create table search_backfill (
    tenant_id  integer not null default 1 primary key,
    session_id uuid    not null,
    seq        bigint  not null
);

insert into search_backfill (session_id, seq)
    values ('ffffffff-ffff-ffff-ffff-ffffffffffff', 9223372036854775807);
