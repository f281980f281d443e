-- request_unfinished: how many requests were received and never finished. Relies on request_open.
select count(*) from postmeter.unfinished_request
