-- As for PostgreSQL.
alter table uploads add column remove_at integer;

create index uploads_to_remove on uploads (remove_at) where remove_at is not null;
