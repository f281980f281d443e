-- request_kinds_new: the names of kinds that nobody has gathered yet, from a status of each.
-- $1 service, $2 source, $3 status; null: any.
select r.kind, r.service, r.source, r.status
from (select distinct on (n.kind) n.kind, n.request_key, n.date, n.digest from postmeter.request_news n
      where (n.xid, n.id) >= (select f.xid, f.id from postmeter.request_floor_now() f)
        and n.kind not in (select k.kind from postmeter.request_status_kind k) order by n.kind) n
cross join lateral (
    select s.kind, s.service, s.source, s.status from postmeter.request_status s
    where s.request_key = n.request_key and s.date >= n.date and s.date <= n.date and s.digest = n.digest offset 0
) r
where ($1::text is null or r.service = $1) and ($2::text is null or r.source = $2) and ($3::text is null or r.status = $3)
