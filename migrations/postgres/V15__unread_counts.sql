-- Unread messages are found by subtraction: the other side's messages in the session, less those up to the member's read
-- position, less deleted ones beyond it. Nodes of this version count where they write, and set frontdesk.unread to
-- 'counted' in their connections. Triggers count what the version before writes.

-- Number of the customer's messages; all others are of the other side. Null in a session of an earlier version, until a
-- periodic job has counted it.
alter table sessions add column contact_messages bigint;
alter table sessions add constraint sessions_contact_messages_check check (contact_messages >= 0) not valid;
alter table sessions alter column contact_messages set default 0;

-- How far the sessions from before this migration have been counted, by their ids. The row goes when all are. An index of
-- uncounted sessions would make each change of contact_messages a change of an index.
create table unread_backfill (
    tenant_id  integer not null default 1 primary key,
    session_id uuid    not null
);

insert into unread_backfill (session_id) values ('ffffffff-ffff-ffff-ffff-ffffffffffff');

-- Counts and marks change with each message: room in the page keeps these updates off the indexes.
alter table sessions set (fillfactor = 70);
alter table members set (fillfactor = 70);

-- Number of the other side's messages up to read_seq, deleted ones among them.
alter table members add column read_messages bigint;
alter table members add constraint members_read_messages_check check (read_messages >= 0) not valid;
alter table members alter column read_messages set default 0;

create or replace view participants as
    select tenant_id, session_id, kind, person_id, name, avatar_url, read_seq, delivered_seq, muted, read_messages
    from members where left_at is null;

-- Deleted messages, of which there are few.
create table deleted_messages (
    tenant_id   integer not null,
    session_id  uuid    not null,
    seq         bigint  not null,
    sender_kind text    not null,
    primary key (session_id, seq)
);

create function frontdesk_note_deleted() returns trigger language plpgsql as $$
begin
    insert into deleted_messages (tenant_id, session_id, seq, sender_kind)
        values (new.tenant_id, new.session_id, new.seq, new.sender_kind) on conflict do nothing;
    return null;
end $$;

create trigger messages_note_deleted after update of deleted_at on messages
    for each row when (old.deleted_at is null and new.deleted_at is not null)
    execute function frontdesk_note_deleted();

create function frontdesk_count_new() returns trigger language plpgsql as $$
begin
    update sessions s set contact_messages = s.contact_messages + n.messages
    from (select session_id, count(*) as messages from added where sender_kind = 'customer' group by session_id) n
    where s.id = n.session_id;
    return null;
end $$;

create trigger messages_count_new after insert on messages referencing new table as added
    for each statement when (current_setting('frontdesk.unread', true) is distinct from 'counted')
    execute function frontdesk_count_new();

create function frontdesk_count_read() returns trigger language plpgsql as $$
begin
    -- An operator may set a mark back.
    new.read_messages := case when new.read_seq > old.read_seq then old.read_messages else 0 end
        + (select count(*) from messages where session_id = new.session_id and sender_kind <> new.kind
            and seq > case when new.read_seq > old.read_seq then old.read_seq else 0 end and seq <= new.read_seq);
    return new;
end $$;

create trigger members_count_read before update of read_seq on members
    for each row when (current_setting('frontdesk.unread', true) is distinct from 'counted'
        and new.read_seq <> old.read_seq)
    execute function frontdesk_count_read();

-- A member who joins later begins where the dentist is.
create function frontdesk_count_seated() returns trigger language plpgsql as $$
begin
    new.read_messages := (select count(*) from messages
        where session_id = new.session_id and sender_kind <> new.kind and seq <= new.read_seq);
    return new;
end $$;

create trigger members_count_seated before insert on members
    for each row when (new.read_seq > 0) execute function frontdesk_count_seated();
