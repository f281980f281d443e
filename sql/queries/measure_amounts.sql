-- measure_amounts: what the deliveries that are due or stuck are worth, per live destination, status and currency. One
-- look-up for each of them: bounded by the asker's statement_timeout.
select pg_catalog.jsonb_build_object('destination', r.destination, 'status', r.status, 'currency', coalesce(r.currency, ''), 'amount', pg_catalog.sum(r.amount))
from (select q.delivery_id from postmeter.due q
      union all select l.delivery_id from postmeter.later l
      union all select s.delivery_id from postmeter.stuck s) w
join postmeter.remittance r on r.delivery_id = w.delivery_id
where not r.shadow and r.amount is not null
group by r.destination, r.status, r.currency
