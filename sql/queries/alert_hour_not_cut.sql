-- alert_hour_not_cut: hours that are open although a worker should have cut them: their deadline is near or has passed.
-- Reads open hours (view postmeter.hour_not_cut). A lead shorter than twice the patience is not waited for that long.
select h.destination as subject, count(*) as count,
       pg_catalog.format('%s at %s %s still open; the first deadline %s %s UTC', postmeter.counted(count(*), 'hour'), h.destination,
              case when count(*) = 1 then 'is' else 'are' end,
              case when pg_catalog.min(h.deadline) < postmeter.clock() then 'passed at' else 'is' end,
              pg_catalog.to_char(pg_catalog.min(h.deadline) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) as summary,
       pg_catalog.jsonb_build_object('first_deadline', pg_catalog.min(h.deadline),
           'examples', pg_catalog.to_jsonb((pg_catalog.array_agg('remittance ' || h.delivery_id::text || ': ' || h.key
                                            order by h.deadline, h.delivery_id))[1:5])) as details
from postmeter.hour_not_cut h
where h.should_be_cut_at + least((select r.patience from postmeter.alert_rule r where r.name = 'hour_not_cut'),
                                 (h.deadline - h.should_be_cut_at) / 2::double precision) <= postmeter.clock()
group by h.destination
