-- request_kinds: which kinds of statuses there are, as far as they are gathered.
-- $1 service, $2 source, $3 status; null: any.
select k.kind, k.service, k.source, k.status from postmeter.request_status_kind k
where ($1::text is null or k.service = $1) and ($2::text is null or k.source = $2) and ($3::text is null or k.status = $3)
