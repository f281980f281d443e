-- request_forget: removes requests that the retention has passed. Relies on request_by_end.
-- $1 at most so many.
select postmeter.forget_requests($1)
