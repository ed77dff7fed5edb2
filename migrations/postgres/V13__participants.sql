-- A session may have further professionals beside its dentist. The version before shows such a session to its
-- customer more than once, so nobody is added until `frontdesk migrate --finish` has run.
alter table sessions add column shared boolean not null default false;
