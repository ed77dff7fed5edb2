-- A short text is indexed in the commit of its message: the row is written once, and waits in no queue. Longer ones are
-- indexed behind the commit, as before: PostgreSQL's parser takes a time that grows with the square of some texts.

-- The index of a text, or null if it can't be made: then the text waits in the queue, and the message is committed.
create function frontdesk_vector(words text) returns tsvector language plpgsql stable as $$
begin
    return to_tsvector('frontdesk', words);
exception when others then
    return null;
end $$;

create or replace function frontdesk_queue_new() returns trigger language plpgsql as $$
begin
    insert into search_queue (session_id, seq)
        select session_id, seq from added where not bodiless and search is null;
    return null;
end $$;
