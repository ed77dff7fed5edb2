-- As for PostgreSQL.
alter table sessions add column inbox text not null default 'app'
    check (length(inbox) between 1 and 40 and inbox not glob '*[^a-z0-9_-]*');
alter table sessions add column waiting text check (waiting in ('pending', 'snoozed'));
alter table sessions add column snoozed_until integer;
alter table sessions add column assignee_id text check (length(assignee_id) between 1 and 128);

drop trigger members_seat_in_notes;
create trigger members_seat_in_notes after insert on members
    when new.kind = 'dentist' and substr(new.person_id, 1, 4) <> 'bot:' and substr(new.person_id, 1, 7) <> 'system:'
begin
    insert or ignore into members (tenant_id, session_id, kind, person_id, name, avatar_url)
        select new.tenant_id, n.id, new.kind, new.person_id, new.name, new.avatar_url
        from sessions n where n.notes_of = new.session_id;
end;
