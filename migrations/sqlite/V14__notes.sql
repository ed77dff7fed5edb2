-- Private notes of a session: a session of their own, without a customer, whose members are the professionals of the
-- session in `notes_of`. A customer is no member of it, so no path of theirs reaches it, and `seq` has no gap in either.
-- `customer_id` and `dentist_id` hold its own id: they name nobody, and the open one of two people is never this.
alter table sessions add column notes_of text references sessions (id);

create unique index sessions_notes on sessions (notes_of) where notes_of is not null;
