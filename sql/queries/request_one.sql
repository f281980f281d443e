-- request_one: a request by its id in any form.
-- $1 the id.
select q.id, q.request_id, q.account, q.org, q.inventory_id, q.system_id, q.created_at, q.first_date, q.last_date,
       q.last_recorded_at, q.statuses, q.outcome, q.failed_service, q.failure, q.open_services,
       q.missing_services, q.closed_at
from postmeter.request q
where q.request_key = postmeter.request_key_of($1)
