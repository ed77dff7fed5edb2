-- Private notes of a session: a session of their own, without a customer, whose members are the professionals of the
-- session in `notes_of`. A customer is no member of it, so no path of theirs reaches it, and `seq` has no gap in either.
-- `customer_id` and `dentist_id` hold its own id: they name nobody, and the open one of two people is never this.
alter table sessions add column notes_of text references sessions (id);

create unique index sessions_notes on sessions (notes_of) where notes_of is not null;

-- As for PostgreSQL.
create trigger members_seat_in_notes after insert on members when new.kind = 'dentist'
begin
    insert or ignore into members (tenant_id, session_id, kind, person_id, name, avatar_url)
        select new.tenant_id, n.id, new.kind, new.person_id, new.name, new.avatar_url
        from sessions n where n.notes_of = new.session_id;
end;

create trigger members_leave_notes after update of left_at on members
    when new.kind = 'dentist' and old.left_at is not new.left_at
begin
    update members set left_at = new.left_at
        where session_id = (select id from sessions where notes_of = new.session_id)
          and kind = new.kind and person_id = new.person_id;
    update sessions set rev = rev + 1 where notes_of = new.session_id;
end;
