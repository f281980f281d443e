-- measure_request_refusals: request statuses that were ever refused, by door and reason; few rows.
select pg_catalog.jsonb_build_object('door', r.door, 'reason', r.reason, 'count', r.n) from postmeter.request_refused r
