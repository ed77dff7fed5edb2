-- A short text is indexed in the commit of its message: the row is written once, and waits in no queue. Longer ones are
-- indexed behind the commit, as before: PostgreSQL's parser takes a time that grows with the square of some texts.

-- The index of a text, or null if it can't be made: then the text waits in the queue, and the message is committed.
create function frontdesk_vector(words text) returns tsvector language plpgsql stable as $$
begin
    return to_tsvector('frontdesk', words);
exception when others then
    return null;
end $$;

-- The list of what is not yet in the index's tree is emptied once a second, by the node that indexes: an append that fills
-- it would do so under its locks. The owner of the index may empty it, and a node's role need not be the owner. A
-- connection sets how long the list may grow.
alter index messages_search reset (gin_pending_list_limit);

do $do$
declare
    index text;
begin
    select format('%I.%I', n.nspname, c.relname) into index
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = 'messages_search'::regclass;
    execute format('create function frontdesk_tidy_search() returns bigint language sql security definer '
        'set search_path = pg_catalog, pg_temp as $f$ select gin_clean_pending_list(%L::regclass) $f$', index);
end $do$;

-- Nodes of this version queue long texts in the statement that appends them, and set frontdesk.queue to 'append' in their
-- connections.
drop trigger messages_queue_new on messages;

create trigger messages_queue_new after insert on messages referencing new table as added
    for each statement when (current_setting('frontdesk.search', true) = 'behind'
        and current_setting('frontdesk.queue', true) is distinct from 'append')
    execute function frontdesk_queue_new();
