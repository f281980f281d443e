-- request_totals: how often each service, source and status was said in all; the sum of all is in every row.
-- $1 kinds that must be among them, $2 at most so many.
select k.kind, k.service, k.source, k.status, k.total,
       (select coalesce(sum(a.total), 0)::bigint from postmeter.request_status_kind a) as all_kinds
from postmeter.request_status_kind k
order by k.kind = any ($1) desc, k.total desc, k.kind
limit $2
