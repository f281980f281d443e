-- catalogue_load_quotas: every quota, and whether a destination uses it.
select q.id::bigint as id,
       pg_catalog.jsonb_build_object('name', q.name, 'calls_per_second', pg_catalog.trim_scale(q.calls_per_second)::text) as fields,
       exists (select from postmeter.destination t where t.quota_id = q.id) as in_use,
       null::text as buyer, null::text as account, null::text as form, null::text as invalid
from postmeter.quota q
order by q.name
