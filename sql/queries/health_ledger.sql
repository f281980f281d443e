-- health_ledger: months of the ledger that wait for their export, or exported and wait to be dropped. Asks only of the oldest
-- that was not exported whether it is finished: that reads it. The same of billing months with their remittances.
with month as (
    -- all columns but the reason, which is not asked for here
    select p.month, pg_catalog.min(p.exported_at) as exported_at, pg_catalog.min(p.dropped_at) as dropped_at, pg_catalog.min(p.ends_at) as ends_at
    from postmeter.ledger_partition p group by p.month
), oldest as materialized (
    select pg_catalog.min(m.month) as month from month m, postmeter.setting s
    where m.exported_at is null and m.dropped_at is null and m.ends_at <= postmeter.clock() - s.ledger_retention
), asked as materialized (
    select o.month, postmeter.ledger_why_not(o.month) as why_not from oldest o where o.month is not null
), billing as materialized (
    select t.id, t.name, k.month, exists (select from postmeter.month_export e where e.destination_id = t.id and e.month = k.month) as is_exported,
           (k.month + interval '1 month')::timestamp at time zone t.zone as ends_at,
           -- its ledger is gone: the zones' midnights reach into the next month of UTC, or the one before
           not exists (select from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
                       where i.inhparent = 'postmeter.usage'::pg_catalog.regclass::pg_catalog.oid
                         and c.relname in ('usage_' || pg_catalog.to_char(k.month::timestamp at time zone t.zone at time zone 'UTC', 'YYYYMM'),
                                           'usage_' || pg_catalog.to_char(((k.month + interval '1 month')::timestamp at time zone t.zone
                                                                           - interval '1 second') at time zone 'UTC', 'YYYYMM'))) as is_free
    from (select m.destination_id, m.month from postmeter.meter m group by 1, 2) k
    join postmeter.destination t on t.id = k.destination_id
), oldest_billing as materialized (
    select b.name, b.month from billing b, postmeter.setting s
    where not b.is_exported and b.ends_at <= postmeter.clock() - s.ledger_retention order by b.month, b.name limit 1
)
select pg_catalog.jsonb_build_object('retention', (select s.ledger_retention::text from postmeter.setting s),
    'to_export', (select pg_catalog.to_char(a.month, 'YYYY-MM') from asked a where a.why_not is null),
    'to_drop', (select count(*) from month m where m.exported_at is not null and m.dropped_at is null),
    'unfinished', (select pg_catalog.to_char(a.month, 'YYYY-MM') || ': ' || a.why_not from asked a where a.why_not is not null),
    'billing_to_export', (select pg_catalog.to_char(b.month, 'YYYY-MM') || ' at ' || b.name from oldest_billing b
                          where postmeter.month_unfinished(b.name, b.month) is null),
    'billing_to_drop', (select count(*) from billing b
                        where b.is_exported and b.is_free
                          -- its last hours were sent in the month after, whose ledger may be there still
                          and not exists (select from postmeter.meter m
                                          join postmeter.delivery d on d.meter_id = m.id and d.hour >= b.ends_at - interval '2 days'
                                          join postmeter.attempt a on a.delivery_id = d.id
                                          where m.destination_id = b.id and m.month = b.month)),
    'half_dropped', (select pg_catalog.to_char(x.month, 'YYYY-MM') || ' at ' || t.name
                     from postmeter.dropped_month x join postmeter.destination t on t.id = x.destination_id
                     where x.finished_at is null order by x.month, t.name limit 1))
