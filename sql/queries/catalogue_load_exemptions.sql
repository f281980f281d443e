-- catalogue_load_exemptions: every exemption.
select e.id,
       pg_catalog.jsonb_build_object(
           'org', e.org, 'product', e.product, 'reason', e.reason,
           'valid_from', pg_catalog.to_char(e.valid_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'valid_until', pg_catalog.to_char(e.valid_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) as fields,
       false as in_use, null::text as buyer, null::text as account, null::text as form, null::text as invalid
from postmeter.exemption e
order by e.org, e.product nulls first, e.valid_from
