-- ledger_billing_free: billing months whose remittances may be dropped, or are being dropped; reads those whose ledger is
-- gone.
-- $1 a month of the ledger that counts as dropped, null: none.
select t.name as destination, k.month
from (select m.destination_id, m.month from postmeter.meter m group by 1, 2
      union select x.destination_id, x.month from postmeter.dropped_month x where x.finished_at is null) k
join postmeter.destination t on t.id = k.destination_id
where coalesce(postmeter.month_drop_why_not(t.name, k.month, $1), 'it is being dropped') = 'it is being dropped'
order by k.month, t.name
