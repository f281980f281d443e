-- health_unsettled: remittances that need a person, and the first of each. Reads all of delivery: bounded by the
-- asker's statement_timeout.
select pg_catalog.jsonb_build_object('destination', t.name, 'status', d.status, 'count', count(*),
    'example', pg_catalog.min(d.id), 'maybe_billed', count(*) filter (where d.maybe_billed))
from postmeter.delivery d
join postmeter.destination t on t.id = d.destination_id
where not d.shadow and d.status in ('unknown', 'conflict', 'held', 'rejected', 'expired')
group by t.name, d.status
order by t.name, d.status
