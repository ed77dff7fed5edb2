-- As for PostgreSQL. The index is given `words` instead of `body` where a text's own words are not all that
-- it is found by. They are kept, as the index asks for them when they are to go. The version before knows
-- nothing of them: the texts that it indexes are indexed again.

alter table messages add column words text;

create table search_again (
    -- The message's rowid.
    message   integer primary key,
    attempts  integer not null default 0,
    queued_at integer not null
) strict;

create index search_again_next on search_again (attempts, message);

-- A node of this version takes it out again.
create trigger search_queue_left after delete on search_queue begin
    insert or ignore into search_again (message, queued_at) values (old.message, old.queued_at);
end;

-- As in version 4, but for the words.
drop trigger messages_search_changed;

create trigger messages_search_changed after update of body, bodiless on messages
    when old.body is not new.body or old.bodiless is not new.bodiless begin
    insert into message_search (message_search, rowid, body)
        select 'delete', old.rowid, coalesce(old.words, old.body) where not old.bodiless
            and not exists (select 1 from search_queue where message = old.rowid);
    update messages set words = null where rowid = old.rowid and words is not null;
    delete from search_queue where message = old.rowid;
    insert into message_search (rowid, body)
        select new.rowid, new.body where not new.bodiless and new.search_rev is old.search_rev;
    insert into search_queue (message, queued_at)
        select new.rowid, coalesce(new.edited_at, new.created_at)
        where not new.bodiless and new.search_rev is not old.search_rev;
end;

-- The messages with a lower rowid than this, from before this migration, are still to be put into
-- search_again. The row goes when all are.
create table search_backfill (
    before integer primary key
) strict;

insert into search_backfill (before) values (9223372036854775807);
