-- switch_standing: how every worker that did not stop stands to the rules of destinations. Leases are in real time.
-- $1 the destination's name (null: all of them).
select w.id, w.name, extract(epoch from w.lease)::float8 as lease, w.lease_until > clock_timestamp() as alive,
       pg_catalog.bool_and(coalesce((w.acknowledged -> t.id::text ->> 'version')::bigint >= t.version, false)) as acknowledged
from postmeter.worker w
cross join postmeter.destination t
where w.stopped_at is null and w.reaped_at is null and ($1::text is null or t.name = $1)
group by w.id
order by w.name, w.id
