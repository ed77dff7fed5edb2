-- A key for the foreign keys of the next migration (law I15). It is a migration of its own: while an index is built, sends
-- wait, and everything else goes on.
create unique index sessions_of_tenant on sessions (tenant_id, id);
