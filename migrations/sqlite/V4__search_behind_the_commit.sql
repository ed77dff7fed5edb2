-- As for PostgreSQL. A message's text waits to be indexed where its version says so by `search_rev`: with
-- each text that it writes it moves this number on. The version before does not know it: what that writes
-- is indexed in its own commit, as before.

alter table messages add column search_rev integer;

create table search_queue (
    -- The message's rowid.
    message   integer primary key,
    attempts  integer not null default 0,
    queued_at integer not null
) strict;

create index search_queue_next on search_queue (attempts, message);

drop trigger messages_search_new;
drop trigger messages_search_changed;

create trigger messages_search_new after insert on messages
    when not new.bodiless and new.search_rev is null begin
    insert into message_search (rowid, body) values (new.rowid, new.body);
end;

create trigger messages_queue_new after insert on messages
    when not new.bodiless and new.search_rev is not null begin
    insert into search_queue (message, queued_at) values (new.rowid, new.created_at);
end;

-- The text before is no longer found, from the commit of the change on.
create trigger messages_search_changed after update of body, bodiless on messages
    when old.body is not new.body or old.bodiless is not new.bodiless begin
    insert into message_search (message_search, rowid, body)
        select 'delete', old.rowid, old.body where not old.bodiless
            and not exists (select 1 from search_queue where message = old.rowid);
    delete from search_queue where message = old.rowid;
    insert into message_search (rowid, body)
        select new.rowid, new.body where not new.bodiless and new.search_rev is old.search_rev;
    insert into search_queue (message, queued_at)
        select new.rowid, coalesce(new.edited_at, new.created_at)
        where not new.bodiless and new.search_rev is not old.search_rev;
end;
