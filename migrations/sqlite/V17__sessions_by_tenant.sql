-- A session and its rows have one tenant (law I15). SQLite can't change a foreign key. New rows are checked: no statement
-- changes the tenant or the session of a row.
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
