-- measure_unfinished: how many requests were received and never finished. Relies on request_open.
select jsonb_build_object('count', count(*)) from postmeter.unfinished_request
