-- A session may have further professionals beside its dentist. The version before shows such a session to its
-- customer more than once, so nobody is added until `frontdesk migrate --finish` has run.
alter table sessions add column shared boolean not null default false;

-- When a member ceased to take part. Their row stays: it names the sender of their messages.
alter table members add column left_at timestamptz;

-- The members who take part now: every check of membership reads this. A later column of members that a statement
-- reads from here needs this view made anew.
create view participants as
    select tenant_id, session_id, kind, person_id, name, avatar_url, read_seq, delivered_seq, muted
    from members where left_at is null;
