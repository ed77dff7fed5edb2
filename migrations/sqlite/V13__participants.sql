-- As for PostgreSQL.
alter table sessions add column shared integer not null default 0 check (shared in (0, 1));

-- When a member ceased to take part. Their row stays: it names the sender of their messages.
alter table members add column left_at integer;

-- The members who take part now: every check of membership reads this.
create view participants as select * from members where left_at is null;
