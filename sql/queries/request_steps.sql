-- request_steps: what Postmeter did with the usage of a request, from the ledger.
-- $1 the request's id. Relies on usage_request.
select s.service, s.source, s.status, s.status_msg, s.org, s.account, s.date, s.delivery_id, s.usage_id
from postmeter.request_steps(postmeter.request_key_of($1)) s
order by s.date, s.delivery_id nulls first
