-- As for PostgreSQL.
create unique index people_seen_of_tenant on people_seen (tenant_id, kind, person_id);
create unique index blocks_of_tenant on blocks (tenant_id, kind, person_id);
