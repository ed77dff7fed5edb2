-- Private notes of a session: a session of their own, without a customer, whose members are the professionals of the
-- session in `notes_of`. A customer is no member of it, so no path of theirs reaches it, and `seq` has no gap in either.
-- `customer_id` and `dentist_id` hold its own id: they name nobody, and the open one of two people is never this.
alter table sessions add column notes_of uuid;
alter table sessions add constraint sessions_notes_of_fkey
    foreign key (notes_of) references sessions (id) not valid;

create unique index sessions_notes on sessions (notes_of) where notes_of is not null;

-- Everyone who comes, leaves or comes back does so in the notes too, also by a node of the version before. The new revision
-- has the head check compare the members of the notes with their connections.
create function frontdesk_seat_in_notes() returns trigger language plpgsql as $$
begin
    insert into members (tenant_id, session_id, kind, person_id, name, avatar_url)
        select new.tenant_id, n.id, new.kind, new.person_id, new.name, new.avatar_url
        from sessions n where n.notes_of = new.session_id
        on conflict do nothing;
    return null;
end $$;

create trigger members_seat_in_notes after insert on members
    for each row when (new.kind = 'dentist') execute function frontdesk_seat_in_notes();

create function frontdesk_leave_notes() returns trigger language plpgsql as $$
begin
    update members m set left_at = new.left_at from sessions n
        where n.notes_of = new.session_id and m.session_id = n.id
          and m.kind = new.kind and m.person_id = new.person_id;
    update sessions set rev = rev + 1 where notes_of = new.session_id;
    return null;
end $$;

create trigger members_leave_notes after update of left_at on members
    for each row when (new.kind = 'dentist' and old.left_at is distinct from new.left_at)
    execute function frontdesk_leave_notes();
