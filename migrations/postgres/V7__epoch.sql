-- The order's epoch. `seq` counts within it. It is renewed when history may have been cut: after a restore, or
-- a failover to a replica that lagged. The table has one row.
create table epoch (
    only_row boolean     primary key default true check (only_row),
    -- Grows with each renewal, so that a node notices a database that went back.
    number   bigint      not null check (number > 0),
    -- The identity that clients see. It is random: a restored database must not count up to an earlier one.
    id       uuid        not null,
    -- The server and its timeline, as a node found them last.
    lineage  text        check (char_length(lineage) between 1 and 100),
    -- From here on a message may have a number that another one had. Null in the first epoch.
    cut_at   timestamptz
);

insert into epoch (number, id) values (1, gen_random_uuid());
