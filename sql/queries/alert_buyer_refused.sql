-- alert_buyer_refused: buyers whose calls a marketplace refuses, by destination: their own fault, or one that nobody can
-- tell from the credential's yet. Its times are real times.
select r.destination as subject, count(*) as count,
       pg_catalog.format('%s refuses the calls for %s: %s%s', r.destination, postmeter.counted(count(*), 'buyer'),
              pg_catalog.array_to_string((pg_catalog.array_agg(r.buyer || ' (' || r.code || ')' order by r.since, r.buyer))[1:3], ', '),
              case when pg_catalog.bool_and(r.to_blame = 'buyer') then '; others pass, so each is held as not entitled'
                   else '; nobody else has passed since: either these may not be billed, or the credential may not bill them' end) as summary,
       pg_catalog.jsonb_build_object('since', pg_catalog.min(r.since), 'to_blame', pg_catalog.to_jsonb(pg_catalog.array_agg(distinct r.to_blame)),
              'examples', pg_catalog.to_jsonb((pg_catalog.array_agg('remittance ' || r.delivery_id::text order by r.since, r.buyer))[1:5])) as details
from postmeter.refused_buyer r
join postmeter.delivery d on d.id = r.delivery_id
where r.to_blame <> 'buyer' or d.status = 'held'
group by r.destination
having pg_catalog.min(r.since) <= clock_timestamp() - (select a.patience from postmeter.alert_rule a where a.name = 'buyer_refused')
