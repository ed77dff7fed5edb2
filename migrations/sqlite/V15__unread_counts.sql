-- As for PostgreSQL, but triggers do all the counting.
alter table sessions add column contact_messages integer check (contact_messages >= 0);

create table unread_backfill (
    tenant_id  integer not null default 1 primary key,
    session_id text    not null
);

insert into unread_backfill (session_id) values ('ffffffff-ffff-ffff-ffff-ffffffffffff');

alter table members add column read_messages integer check (read_messages >= 0);

drop view participants;
create view participants as
    select tenant_id, session_id, kind, person_id, name, avatar_url, read_seq, delivered_seq, muted, read_messages
    from members where left_at is null;

create table deleted_messages (
    tenant_id   integer not null,
    session_id  text    not null,
    seq         integer not null,
    sender_kind text    not null,
    primary key (session_id, seq)
) without rowid;

create trigger messages_note_deleted after update of deleted_at on messages
    when old.deleted_at is null and new.deleted_at is not null
begin
    insert or ignore into deleted_messages (tenant_id, session_id, seq, sender_kind)
        values (new.tenant_id, new.session_id, new.seq, new.sender_kind);
end;

create trigger sessions_count_begins after insert on sessions
begin
    update sessions set contact_messages = 0 where id = new.id;
end;

create trigger messages_count_new after insert on messages when new.sender_kind = 'customer'
begin
    update sessions set contact_messages = contact_messages + 1 where id = new.session_id;
end;

create trigger members_count_read after update of read_seq on members when new.read_seq <> old.read_seq
begin
    update members set read_messages = case when new.read_seq > old.read_seq then old.read_messages else 0 end
          + (select count(*) from messages where session_id = new.session_id and sender_kind <> new.kind
              and seq > case when new.read_seq > old.read_seq then old.read_seq else 0 end and seq <= new.read_seq)
        where session_id = new.session_id and kind = new.kind and person_id = new.person_id;
end;

create trigger members_count_seated after insert on members
begin
    update members set read_messages = (select count(*) from messages
            where session_id = new.session_id and sender_kind <> new.kind and seq <= new.read_seq)
        where session_id = new.session_id and kind = new.kind and person_id = new.person_id;
end;
