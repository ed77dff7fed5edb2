-- As for PostgreSQL.
alter table sessions add column shared integer not null default 0 check (shared in (0, 1));
