-- As for PostgreSQL.
alter table sessions add column inbox text not null default 'app' check (length(inbox) between 1 and 40);
alter table sessions add column waiting text check (waiting in ('pending', 'snoozed'));
alter table sessions add column snoozed_until integer;
alter table sessions add column assignee_id text check (length(assignee_id) between 1 and 128);

-- SQLite can't change a foreign key.
create trigger members_of_tenant before insert on members
    when new.tenant_id <> (select tenant_id from sessions where id = new.session_id)
begin
    select raise(abort, 'the session is of another tenant');
end;

create trigger messages_of_tenant before insert on messages
    when new.tenant_id <> (select tenant_id from sessions where id = new.session_id)
begin
    select raise(abort, 'the session is of another tenant');
end;

create trigger uploads_of_tenant before insert on uploads
    when new.tenant_id <> (select tenant_id from sessions where id = new.session_id)
begin
    select raise(abort, 'the session is of another tenant');
end;

create trigger sessions_notes_of_tenant before insert on sessions
    when new.tenant_id <> (select tenant_id from sessions where id = new.notes_of)
begin
    select raise(abort, 'the session is of another tenant');
end;

drop trigger members_seat_in_notes;
create trigger members_seat_in_notes after insert on members
    when new.kind = 'dentist' and new.person_id not like 'bot:%' and new.person_id not like 'system:%'
begin
    insert or ignore into members (tenant_id, session_id, kind, person_id, name, avatar_url)
        select new.tenant_id, n.id, new.kind, new.person_id, new.name, new.avatar_url
        from sessions n where n.notes_of = new.session_id;
end;
