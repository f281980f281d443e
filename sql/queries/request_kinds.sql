-- request_kinds: which kinds of statuses there are; one that nobody has gathered yet has no names here.
-- $1 service, $2 source, $3 status; null: any.
select k.kind, k.service, k.source, k.status from postmeter.request_status_kind k
where ($1::text is null or k.service = $1) and ($2::text is null or k.source = $2) and ($3::text is null or k.status = $3)
union
select n.kind, null, null, null from postmeter.request_news n
where (n.xid, n.id) >= (select f.xid, f.id from postmeter.request_floor_now() f)
  and n.kind not in (select k.kind from postmeter.request_status_kind k)
