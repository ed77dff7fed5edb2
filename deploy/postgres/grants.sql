-- The rights of the nodes' role, where another role owns the database: it changes rows and no tables. `frontdesk
-- migrate` grants them after the migration, where POSTGRES_NODE_USER names the role. By hand, as the owner:
--
--   psql -v node=frontdesk_node -f deploy/postgres/grants.sql
grant usage on schema public to :"node";
grant select, insert, update, delete on all tables in schema public to :"node";
grant usage, select on all sequences in schema public to :"node";
-- For later migrations. Default privileges apply to the tables that the role which runs this script creates.
alter default privileges in schema public grant select, insert, update, delete on tables to :"node";
alter default privileges in schema public grant usage, select on sequences to :"node";
-- A node reads the list of migrations, and does not change it.
revoke insert, update, delete on refinery_schema_history from :"node";
-- A node adds entries to the audit log, and never changes one.
revoke update, delete on audit from :"node";
