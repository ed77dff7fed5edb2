-- Pushes that were put off are made at once when their person goes away: they are found by the person.
create index push_jobs_of_person on push_jobs (kind, person_id) where state = 'taken';
