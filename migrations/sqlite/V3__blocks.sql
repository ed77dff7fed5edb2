-- As for PostgreSQL.

create table blocks (
    tenant_id  integer not null default 1,
    kind       text    not null check (kind in ('customer', 'dentist')),
    person_id  text    not null check (length(person_id) between 1 and 128),
    reason     text    check (length(reason) between 1 and 200),
    by_kind    text    not null check (by_kind in ('customer', 'dentist')),
    by_id      text    not null check (length(by_id) between 1 and 128),
    blocked_at integer not null check (blocked_at between 1577836800000000 and 7258118400000000),
    primary key (kind, person_id)
) strict;

create index blocks_listed on blocks (blocked_at, kind, person_id);

create table block_changes (
    one integer primary key default 1 check (one = 1),
    rev integer not null
) strict;

insert into block_changes (rev) values (1);

create trigger blocks_added after insert on blocks begin
    update block_changes set rev = rev + 1;
end;

create trigger blocks_changed after update on blocks begin
    update block_changes set rev = rev + 1;
end;

create trigger blocks_removed after delete on blocks begin
    update block_changes set rev = rev + 1;
end;
