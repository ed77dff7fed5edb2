-- When the objects of a picture are to be removed: its message is deleted, or it was no picture. The row
-- stays for a day, as it counts for its uploader's quota.
alter table uploads add column remove_at timestamptz;

create index uploads_to_remove on uploads (remove_at) where remove_at is not null;
