-- catalogue_load_routes: every route.
select r.id,
       pg_catalog.jsonb_build_object('after', r.after, 'status', r.status, 'service', r.service,
                                     'within', extract(epoch from r.within)::bigint::text || 's') as fields,
       false as in_use, null::text as buyer, null::text as account, null::text as form, null::text as invalid
from postmeter.route r
order by r.after, r.status, r.service
