-- How the desk handles a session. Professionals see it, customers do not.
alter table sessions add column inbox text not null default 'app';
alter table sessions add constraint sessions_inbox_check check (inbox ~ '^[a-z0-9_-]{1,40}$') not valid;

-- Null while the desk has to act. It counts in open sessions only: the version before closes one and leaves it.
alter table sessions add column waiting text;
alter table sessions add constraint sessions_waiting_check check (waiting in ('pending', 'snoozed')) not valid;

-- A snoozed session wakes then, or with its customer's next message.
alter table sessions add column snoozed_until timestamptz;

-- The professional who looks after it, if not its dentist. It counts while they take part: the version before ends their
-- part and leaves it.
alter table sessions add column assignee_id text;
alter table sessions add constraint sessions_assignee_id_check check (char_length(assignee_id) between 1 and 128) not valid;

-- A session and its rows have one tenant (law I15). Earlier rows are not checked: the session's tenant has written them.
alter table members drop constraint members_session_id_fkey;
alter table members add constraint members_session_fkey
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) not valid;

alter table messages drop constraint messages_session_id_fkey;
alter table messages add constraint messages_session_fkey
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) not valid;

alter table uploads drop constraint uploads_session_id_fkey;
alter table uploads add constraint uploads_session_fkey
    foreign key (tenant_id, session_id) references sessions (tenant_id, id) not valid;

alter table sessions drop constraint sessions_notes_of_fkey;
alter table sessions add constraint sessions_notes_of_fkey
    foreign key (tenant_id, notes_of) references sessions (tenant_id, id) not valid;

-- Bots and the system act on the desk's side, and have no notes.
drop trigger members_seat_in_notes on members;
create trigger members_seat_in_notes after insert on members
    for each row when (new.kind = 'dentist'
        and substr(new.person_id, 1, 4) <> 'bot:' and substr(new.person_id, 1, 7) <> 'system:')
    execute function frontdesk_seat_in_notes();
