-- The sessions that wake at a time. Few sessions are in it.
create index sessions_snoozed on sessions (snoozed_until) where snoozed_until is not null;
