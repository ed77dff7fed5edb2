-- People who may not come in. A version that knows nothing of them lets them.
create table blocks (
    tenant_id  integer     not null default 1,
    kind       text        not null check (kind in ('customer', 'dentist')),
    person_id  text        not null check (char_length(person_id) between 1 and 128),
    reason     text        check (char_length(reason) between 1 and 200),
    by_kind    text        not null check (by_kind in ('customer', 'dentist')),
    by_id      text        not null check (char_length(by_id) between 1 and 128),
    blocked_at timestamptz not null default now(),
    primary key (kind, person_id)
);

create index blocks_listed on blocks (blocked_at, kind, person_id);

-- Counts their changes, whoever makes them: nodes ask for it all the time, and for the list only when it
-- has moved. Changes wait for each other here, so a count that was seen stands for all that came before.
create table block_changes (
    one boolean primary key default true check (one),
    rev bigint  not null
);

insert into block_changes (rev) values (1);

create function frontdesk_count_block_changes() returns trigger language plpgsql as $$
begin
    update block_changes set rev = rev + 1;
    return null;
end $$;

create trigger blocks_changed after insert or update or delete or truncate on blocks
    for each statement execute function frontdesk_count_block_changes();
