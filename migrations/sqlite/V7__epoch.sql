-- As for PostgreSQL. A file has no lineage.

create table epoch (
    only_row integer primary key default 1 check (only_row = 1),
    number   integer not null check (number > 0),
    id       text    not null check (length(id) = 32),
    cut_at   integer check (cut_at between 1577836800000000 and 7258118400000000)
) strict;

insert into epoch (number, id) values (1, lower(hex(randomblob(16))));
