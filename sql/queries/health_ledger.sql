-- health_ledger: months of the ledger that are finished and wait for their export, or exported and wait to be dropped.
select jsonb_build_object('retention', (select s.ledger_retention::text from postmeter.setting s),
    'to_export', count(distinct p.month) filter (where p.finished and p.exported_at is null),
    'to_drop', count(distinct p.month) filter (where p.finished and p.exported_at is not null and p.dropped_at is null),
    'unfinished', min(to_char(p.month, 'YYYY-MM') || ': ' || p.why_not)
        filter (where not p.finished and p.ends_at < postmeter.clock() - s.ledger_retention))
from postmeter.ledger_partition p, postmeter.setting s
