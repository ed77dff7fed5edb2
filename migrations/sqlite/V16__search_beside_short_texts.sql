-- Only PostgreSQL indexes short texts in the commit of their message. The versions of both databases go together.
select 1;
