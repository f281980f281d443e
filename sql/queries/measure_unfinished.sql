-- measure_unfinished: how many requests were received and never finished. Relies on request_open.
select pg_catalog.jsonb_build_object('count', count(*)) from postmeter.unfinished_request
