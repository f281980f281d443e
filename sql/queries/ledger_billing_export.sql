-- ledger_billing_export: finished billing months to be exported with their remittances: those that never were, and of a
-- month that is named also those of which something was decided since.
-- $1 the month; null: all that are older than the retention.
select t.name as destination, k.month
from (select m.destination_id, m.month from postmeter.meter m where $1::date is null or m.month = $1 group by 1, 2) k
join postmeter.destination t on t.id = k.destination_id
left join lateral (select e.manifest from postmeter.month_export e
                   where e.destination_id = k.destination_id and e.month = k.month order by e.number desc limit 1) e on true
where not postmeter.month_is_dropped(k.destination_id, k.month)
  and ($1 is not null or e.manifest is null
       and (k.month + interval '1 month')::timestamp at time zone t.zone
           <= postmeter.clock() - (select s.ledger_retention from postmeter.setting s))
  and postmeter.month_unfinished(t.name, k.month) is null
  and (e.manifest is null or postmeter.month_rows_differ(t.name, k.month, e.manifest) is not null)
order by k.month, t.name
