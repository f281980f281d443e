-- alert_balance_not_zero: whether all recorded usage is somewhere, and every meter closes, by the fleet's last proof.
-- A subject of null is a look that was none: nothing has been proven for a day, or the ledger not read whole for fourteen.
select '' as subject, c.open as count,
       pg_catalog.format('the balance does not close for %s: usage was lost or counted twice', postmeter.counted(c.open, 'meter or metric')) as summary,
       pg_catalog.jsonb_build_object('checked_at', c.checked_at, 'examples', pg_catalog.jsonb_build_array(c.example)) as details
from postmeter.balance_check c
where c.open > 0
union all
select null, 0, pg_catalog.format('the balance could not be checked in the time there is for it, the last time after %s s: `postmeter balance` says what is left, `postmeter balance --prove` proves all of it now', pg_catalog.round(c.seconds)), '{}'
from postmeter.balance_check c
where c.seconds is not null and coalesce(c.checked_at, '-infinity') < clock_timestamp() - interval '1 day'
union all
select null, 0, pg_catalog.format('the ledger has not been read whole since %s: `postmeter balance --prove` does so now', postmeter.when_said(coalesce(c.whole_from, c.since))), '{}'
from postmeter.balance_check c
where c.seconds is not null and coalesce(c.whole_from, c.since) < clock_timestamp() - interval '14 days'
