-- Primary keys and unique indexes of sessions and what they hold begin with the tenant (law I15): the same id in two
-- tenants is two sessions. The keys of a database in use are replaced while its nodes run, by `frontdesk migrate
-- --finish`, as nodes of the version before find their conflicts by the old ones. Statements and triggers name the
-- tenant from this version on, so they use either.

-- How far the sessions of version 14 and before have been counted in each tenant, by their ids: ids are ordered within a
-- tenant now. A row goes when all are. The version before goes on in unread_backfill, and may count a session again.
create table uncounted_tenants (
    tenant_id  integer primary key,
    session_id uuid    not null
);

insert into uncounted_tenants (tenant_id, session_id)
    select t.id, b.session_id from tenants t, unread_backfill b;

-- Statistics that are gathered while sessions begin would show a message in each: then any key of a session looks as good
-- as the one that names the row.
alter table messages alter column session_id set (n_distinct = -0.05);

-- Sends and edits wait until the end: no text is queued by the functions of before, which knew no tenant. Reads go on.
lock table messages in share row exclusive mode;

create or replace function frontdesk_seat_in_notes() returns trigger language plpgsql as $$
begin
    insert into members (tenant_id, session_id, kind, person_id, name, avatar_url)
        select new.tenant_id, n.id, new.kind, new.person_id, new.name, new.avatar_url
        from sessions n where n.tenant_id = new.tenant_id and n.notes_of = new.session_id
        on conflict do nothing;
    return null;
end $$;

create or replace function frontdesk_leave_notes() returns trigger language plpgsql as $$
begin
    update members m set left_at = new.left_at from sessions n
        where n.tenant_id = new.tenant_id and n.notes_of = new.session_id
          and m.tenant_id = new.tenant_id and m.session_id = n.id
          and m.kind = new.kind and m.person_id = new.person_id;
    update sessions set rev = rev + 1 where tenant_id = new.tenant_id and notes_of = new.session_id;
    return null;
end $$;

create or replace function frontdesk_count_new() returns trigger language plpgsql as $$
begin
    update sessions s set contact_messages = s.contact_messages + n.messages
    from (select tenant_id, session_id, count(*) as messages from added where sender_kind = 'customer'
        group by tenant_id, session_id) n
    where s.tenant_id = n.tenant_id and s.id = n.session_id;
    return null;
end $$;

create or replace function frontdesk_count_read() returns trigger language plpgsql as $$
begin
    -- An operator may set a mark back.
    new.read_messages := case when new.read_seq > old.read_seq then old.read_messages else 0 end
        + (select count(*) from messages where tenant_id = new.tenant_id and session_id = new.session_id
            and sender_kind <> new.kind
            and seq > case when new.read_seq > old.read_seq then old.read_seq else 0 end and seq <= new.read_seq);
    return new;
end $$;

create or replace function frontdesk_count_seated() returns trigger language plpgsql as $$
begin
    new.read_messages := (select count(*) from messages where tenant_id = new.tenant_id
        and session_id = new.session_id and sender_kind <> new.kind and seq <= new.read_seq);
    return new;
end $$;

create or replace function frontdesk_queue_new() returns trigger language plpgsql as $$
begin
    insert into search_queue (tenant_id, session_id, seq)
        select tenant_id, session_id, seq from added where not bodiless;
    return null;
end $$;

create or replace function frontdesk_queue_changed() returns trigger language plpgsql as $$
begin
    new.search := null;
    if not new.bodiless then
        insert into search_queue (tenant_id, session_id, seq) values (new.tenant_id, new.session_id, new.seq);
    end if;
    return new;
end $$;

create or replace function frontdesk_index_again() returns trigger language plpgsql as $$
begin
    insert into search_again (tenant_id, session_id, seq) select tenant_id, session_id, seq from left_queue;
    return null;
end $$;

-- Edited texts of other tenants waited as if they were of tenant main.
update search_queue q set tenant_id = s.tenant_id from sessions s
    where s.id = q.session_id and s.tenant_id <> q.tenant_id;

-- Keys that begin with the tenant need statistics: without them PostgreSQL takes it that two hundred tenants share the rows,
-- and that any key of a session names one row. It looks at a table once a minute at most. Nodes call this once a second: it
-- looks at a small table that has become ten times as large since, and does not wait for others who do. Above 16 MB, the
-- server's own looks are often enough. It looks at one table a call.
do $do$
declare
    home text;
begin
    select n.nspname into home
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = 'messages'::regclass;
    execute format($create$
        create function frontdesk_look_at_growth() returns integer language plpgsql security definer
            set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $body$
        declare
            grown regclass;
            looked integer := 0;
        begin
            if not pg_try_advisory_xact_lock(7203114826) then
                return 0;
            end if;
            for grown in select c.oid from pg_class c
                join pg_namespace n on n.oid = c.relnamespace and n.nspname = %L
                where c.relname in ('sessions', 'members', 'messages', 'uploads', 'deleted_messages') and c.relkind = 'r'
                  and pg_relation_size(c.oid) between 10 * 8192 * greatest(c.relpages, 1) + 1 and 16 * 1024 * 1024
                limit 1
            loop
                begin
                    execute format('analyze %%s', grown);
                    looked := looked + 1;
                exception when lock_not_available then
                    null;
                end;
            end loop;
            return looked;
        end $body$ $create$, home);
end $do$;
