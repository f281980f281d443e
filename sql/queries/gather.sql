-- gather: counts request statuses that nobody has counted yet, and computes their requests anew. One at a time.
-- $1 at most so many.
select postmeter.gather_requests($1)
