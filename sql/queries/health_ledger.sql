-- health_ledger: months of the ledger that wait for their export, or exported and wait to be dropped. Asks only of the oldest
-- that was not exported whether it is finished: that reads it.
with month as (
    -- all columns but the reason, which is not asked for here
    select p.month, pg_catalog.min(p.exported_at) as exported_at, pg_catalog.min(p.dropped_at) as dropped_at, pg_catalog.min(p.ends_at) as ends_at
    from postmeter.ledger_partition p group by p.month
), oldest as materialized (
    select pg_catalog.min(m.month) as month from month m, postmeter.setting s
    where m.exported_at is null and m.dropped_at is null and m.ends_at <= postmeter.clock() - s.ledger_retention
), asked as materialized (
    select o.month, postmeter.ledger_why_not(o.month) as why_not from oldest o where o.month is not null
)
select pg_catalog.jsonb_build_object('retention', (select s.ledger_retention::text from postmeter.setting s),
    'to_export', (select pg_catalog.to_char(a.month, 'YYYY-MM') from asked a where a.why_not is null),
    'to_drop', (select count(*) from month m where m.exported_at is not null and m.dropped_at is null),
    'unfinished', (select pg_catalog.to_char(a.month, 'YYYY-MM') || ': ' || a.why_not from asked a where a.why_not is not null))
