-- As for PostgreSQL. One program uses a file at a time, so the keys get their tenant at once.
create table tenants (
    id           integer primary key,
    name         text    not null check (length(name) between 1 and 100),
    suspended_at integer,
    created_at   integer not null
) strict;

insert into tenants (id, name, created_at) values (1, 'main', 1000000 * unixepoch());

create table issuers (
    tenant_id  integer not null references tenants (id),
    id         text    not null,
    kind       text    not null check (kind in ('cognito', 'django')),
    issuer     text    not null unique check (length(issuer) between 1 and 512),
    client_ids text    not null default '[]' check (length(client_ids) <= 65536),
    jwks_url   text    check (length(jwks_url) between 1 and 2000),
    secret     text    check (length(secret) between 1 and 2000),
    created_at integer not null,
    primary key (tenant_id, id)
) strict;

create table tenant_changes (
    one     integer primary key default 1 check (one = 1),
    rev     integer not null,
    allowed integer not null check (allowed in (0, 1))
) strict;

insert into tenant_changes (rev, allowed) values (1, 1);

create trigger tenants_added after insert on tenants begin
    update tenant_changes set rev = rev + 1;
end;

create trigger tenants_changed after update on tenants begin
    update tenant_changes set rev = rev + 1;
end;

create trigger issuers_added after insert on issuers begin
    update tenant_changes set rev = rev + 1;
end;

create trigger issuers_changed after update on issuers begin
    update tenant_changes set rev = rev + 1;
end;

create trigger issuers_removed after delete on issuers begin
    update tenant_changes set rev = rev + 1;
end;

create table people_seen_by_tenant (
    tenant_id integer not null default 1,
    kind      text    not null check (kind in ('customer', 'dentist')),
    person_id text    not null check (length(person_id) between 1 and 128),
    seen_at   integer not null,
    primary key (tenant_id, kind, person_id)
) strict;

insert into people_seen_by_tenant select tenant_id, kind, person_id, seen_at from people_seen;
drop table people_seen;
alter table people_seen_by_tenant rename to people_seen;

create table blocks_by_tenant (
    tenant_id  integer not null default 1,
    kind       text    not null check (kind in ('customer', 'dentist')),
    person_id  text    not null check (length(person_id) between 1 and 128),
    reason     text    check (length(reason) between 1 and 200),
    by_kind    text    not null check (by_kind in ('customer', 'dentist')),
    by_id      text    not null check (length(by_id) between 1 and 128),
    blocked_at integer not null check (blocked_at between 1577836800000000 and 7258118400000000),
    primary key (tenant_id, kind, person_id)
) strict;

insert into blocks_by_tenant
    select tenant_id, kind, person_id, reason, by_kind, by_id, blocked_at from blocks;
drop table blocks;
alter table blocks_by_tenant rename to blocks;
create index blocks_listed on blocks (blocked_at, kind, person_id);

create trigger blocks_added after insert on blocks begin
    update block_changes set rev = rev + 1;
end;

create trigger blocks_changed after update on blocks begin
    update block_changes set rev = rev + 1;
end;

create trigger blocks_removed after delete on blocks begin
    update block_changes set rev = rev + 1;
end;
