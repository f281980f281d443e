-- report_remittance: one remittance with everything that decides what becomes of it.
-- $1 delivery. Relies on delivery_pkey.
select r.delivery_id, r.destination, r.key, r.hour, r.product, r.dimension, r.month, r.buyer, r.status, r.reason,
       r.maybe_billed, d.maybe_since, r.confirmed, trim_scale(r.quantity)::text as quantity,
       trim_scale(r.shown_quantity)::text as shown_quantity, trim_scale(r.amount)::text as amount, r.currency,
       r.deadline, r.tries, r.attempts, r.idempotency_key, d.body, r.opened_at, r.cut_at, r.changed_at,
       l.due_at as next_try_at, s.again_at, t.expired_policy, h.breaker,
       extract(epoch from h.next_probe_at - clock_timestamp())::float8 as probe_seconds,
       concat_ws(', ', replace(h.last_outcome, '_', ' '), h.last_code, 'HTTP ' || h.last_http_status) as breaker_met,
       (select max(b.noticed_at) from postmeter.timeline_break b where r.hour + interval '1 hour' <= b.noticed_at) as lost_at,
       exists (select from postmeter.doubt x where x.delivery_id = r.delivery_id and x.decision_id is null) as is_in_doubt,
       exists (select from postmeter.unconfirmed u where u.delivery_id = r.delivery_id) as is_unconfirmed,
       exists (select from postmeter.closed_month c
               where c.destination_id = t.id and c.month = r.month) as is_month_closed,
       postmeter.release_needs(array(select k.meter_id from postmeter.cut k where k.delivery_id = r.delivery_id and k.to_bill > 0)) as release_needs,
       t.paused, t.dry_run, r.hour + interval '1 hour' + t.grace as cut_from,
       postmeter.clock() as now
from postmeter.remittance r
join postmeter.delivery d on d.id = r.delivery_id
join postmeter.destination t on t.id = d.destination_id
join postmeter.destination_health h on h.destination = t.name
left join postmeter.stuck s on s.delivery_id = r.delivery_id
left join postmeter.later l on l.delivery_id = r.delivery_id
where r.delivery_id = $1
