-- The rights of the nodes' role, where another role owns the database: rows, and no tables. `frontdesk
-- migrate` gives them after it has migrated, where POSTGRES_NODE_USER names the role. By hand, as the owner:
--
--   psql -v node=frontdesk_node -f deploy/postgres/grants.sql
grant usage on schema public to :"node";
grant select, insert, update, delete on all tables in schema public to :"node";
grant usage, select on all sequences in schema public to :"node";
-- For the tables of later migrations: these count for what the role makes that says so.
alter default privileges in schema public grant select, insert, update, delete on tables to :"node";
alter default privileges in schema public grant usage, select on sequences to :"node";
-- A node reads what is migrated, and changes nothing of that.
revoke insert, update, delete on refinery_schema_history from :"node";
-- The audit log is added to, and never changed.
revoke update, delete on audit from :"node";
