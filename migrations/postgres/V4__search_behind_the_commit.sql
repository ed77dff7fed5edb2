-- Text is indexed for search behind its commit: PostgreSQL's parser takes a time that grows with the square
-- of some texts. Nodes of this version set frontdesk.search to 'behind' in their connections. The version
-- before sets nothing: what it writes is indexed in its own commit, as before, and it finds what the nodes
-- of this version have indexed.

-- Messages whose text waits to be indexed. A message that is edited meanwhile waits twice.
create table search_queue (
    tenant_id  integer     not null default 1,
    id         bigint      not null generated always as identity,
    session_id uuid        not null,
    seq        bigint      not null,
    -- How often indexing it took too long.
    attempts   smallint    not null default 0,
    queued_at  timestamptz not null default now(),
    primary key (attempts, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create index search_queue_session on search_queue (session_id, seq);

drop trigger messages_search on messages;

create trigger messages_search_new before insert on messages
    for each row when (current_setting('frontdesk.search', true) is distinct from 'behind')
    execute function frontdesk_index();

create trigger messages_search_changed before update of body, bodiless on messages
    for each row when (current_setting('frontdesk.search', true) is distinct from 'behind'
        and (old.body, old.bodiless) is distinct from (new.body, new.bodiless))
    execute function frontdesk_index();

create function frontdesk_queue_new() returns trigger language plpgsql as $$
begin
    insert into search_queue (session_id, seq) select session_id, seq from added where not bodiless;
    return null;
end $$;

create trigger messages_queue_new after insert on messages referencing new table as added
    for each statement when (current_setting('frontdesk.search', true) = 'behind')
    execute function frontdesk_queue_new();

-- The text before is no longer found, from the commit of the change on.
create function frontdesk_queue_changed() returns trigger language plpgsql as $$
begin
    new.search := null;
    if not new.bodiless then
        insert into search_queue (session_id, seq) values (new.session_id, new.seq);
    end if;
    return new;
end $$;

create trigger messages_queue_changed before update of body, bodiless on messages
    for each row when (current_setting('frontdesk.search', true) = 'behind'
        and (old.body, old.bodiless) is distinct from (new.body, new.bodiless))
    execute function frontdesk_queue_changed();

-- The list of what is not yet in the index's tree is read by each search, and cleared by one statement.
alter index messages_search set (gin_pending_list_limit = 1024);
