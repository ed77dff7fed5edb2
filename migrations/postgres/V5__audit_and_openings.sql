-- What administrators did: for good, and without a word of any conversation.
create table audit (
    tenant_id  integer     not null default 1,
    id         uuid        not null,
    at         timestamptz not null default statement_timestamp(),
    actor_kind text        not null check (actor_kind in ('customer', 'dentist')),
    actor_id   text        not null check (char_length(actor_id) between 1 and 128),
    act        text        not null check (char_length(act) between 1 and 40),
    -- To whom, or to what: sessions and messages that may be gone by the time that it is read.
    user_kind  text        check (user_kind in ('customer', 'dentist')),
    user_id    text        check (char_length(user_id) between 1 and 128),
    session_id uuid,
    message_id uuid,
    address    text        not null check (char_length(address) between 1 and 64),
    request_id text        not null check (char_length(request_id) between 1 and 64),
    primary key (tenant_id, id),
    check ((user_kind is null) = (user_id is null))
);

create index audit_listed on audit (tenant_id, at, id);

create function frontdesk_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end $$;

create trigger audit_append_only before update or delete or truncate on audit
    for each statement execute function frontdesk_refuse_change();

revoke all on audit from public;

-- What messages said before is kept for a while only: the oldest are found by this.
create index message_edits_replaced on message_edits (replaced_at);
