-- alert_balance_not_zero: whether all recorded usage is somewhere, and every meter closes. Reads the whole ledger.
with open as (
    select 'meter ' || b.meter_id || ' at ' || b.destination || ', ' || b.month || ': ' || b.difference as item from postmeter.balance b where b.difference <> 0
    union all
    select b.org || ' ' || b.product || ' ' || b.metric || ': ' || b.difference from postmeter.usage_balance b
    where b.difference <> 0 or b.difference_usages <> 0
)
select '' as subject, count(*) as count,
       format('the balance does not close for %s: usage was lost or counted twice', postmeter.counted(count(*), 'meter or metric')) as summary,
       jsonb_build_object('examples', to_jsonb((array_agg(o.item order by o.item))[1:5])) as details
from open o
having count(*) > 0
