-- Keys of people begin with their tenant. The version before finds its conflicts by the keys without one, so
-- these stay until the version after the next: until then an id is used in one tenant only.
create unique index people_seen_of_tenant on people_seen (tenant_id, kind, person_id);
create unique index blocks_of_tenant on blocks (tenant_id, kind, person_id);
