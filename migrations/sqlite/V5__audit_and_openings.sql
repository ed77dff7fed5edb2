-- As for PostgreSQL.

create table audit (
    tenant_id  integer not null default 1,
    id         text    not null check (length(id) = 36),
    at         integer not null check (at between 1577836800000000 and 7258118400000000),
    actor_kind text    not null check (actor_kind in ('customer', 'dentist')),
    actor_id   text    not null check (length(actor_id) between 1 and 128),
    act        text    not null check (length(act) between 1 and 40),
    user_kind  text    check (user_kind in ('customer', 'dentist')),
    user_id    text    check (length(user_id) between 1 and 128),
    session_id text    check (length(session_id) = 36),
    message_id text    check (length(message_id) = 36),
    address    text    not null check (length(address) between 1 and 64),
    request_id text    not null check (length(request_id) between 1 and 64),
    primary key (tenant_id, id),
    check ((user_kind is null) = (user_id is null))
) strict;

create index audit_listed on audit (tenant_id, at, id);

create trigger audit_not_updated before update on audit begin
    select raise(abort, 'audit is append-only');
end;

create trigger audit_not_deleted before delete on audit begin
    select raise(abort, 'audit is append-only');
end;

-- `insert or replace` deletes without a trigger of deletes.
create trigger audit_not_replaced before insert on audit
    when exists (select 1 from audit where tenant_id = new.tenant_id and id = new.id) begin
    select raise(abort, 'audit is append-only');
end;

create index message_edits_replaced on message_edits (replaced_at);
