-- request_others: which of these requests another org was named for. Relies on usage_request and on the primary key of
-- each partition of request_status.
-- $1 request ids, $2 the org.
select g.id from unnest($1::text[]) g(id)
where exists (select from postmeter.request_status r
              where r.request_key = postmeter.request_key_of(g.id) and r.org <> '' and r.org <> $2)
   or exists (select from postmeter.usage u
              where u.request_id is not null and postmeter.request_key_of(u.request_id) = postmeter.request_key_of(g.id)
                and u.org <> $2)
