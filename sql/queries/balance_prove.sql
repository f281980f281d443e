-- balance_prove: whether the balance of these meters closes; each is looked at by itself (offset 0 keeps the planner from
-- computing all).
-- $1 meters.
select count(*) as checked, count(*) filter (where b.difference <> 0) as open,
       (array_agg(b.destination || ' ' || b.buyer || ' ' || b.dimension || ' ' || b.month || ': ' || b.difference)
        filter (where b.difference <> 0))[1] as example
from unnest($1) m(id)
cross join lateral (select x.* from postmeter.balance x where x.meter_id = m.id offset 0) b
