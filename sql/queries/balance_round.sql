-- balance_round: for how many seconds the ledger is to be read again by now, in turn (below zero: for none yet): as much
-- of the time that reading it took the last time, and a quarter more, as of the time for it has passed; whether meters, and
-- whether usage is left. When that time is over, or the last time is not known: what is left.
select case when clock_timestamp() < b.round_at then -1
            when b.whole_seconds is null or clock_timestamp() >= b.round_ends_at then 'infinity'
            else b.whole_seconds * 1.25::pg_catalog.float8 * extract(epoch from clock_timestamp() - b.round_at)::pg_catalog.float8
                     / extract(epoch from b.round_ends_at - b.round_at)::pg_catalog.float8 - b.round_seconds end::double precision as seconds,
       b.meters_after is not null as has_meters, b.usage_after is not null as has_usage
from postmeter.balance_check b
