-- usage_standing: where one usage is, at every destination; no row if it was never recorded, or dropped (report_dropped).
-- $1 source, $2 event id. Relies on usage_pkey, allocation_pkey.
select u.id as usage_id, u.source, u.event_id, u.org, u.product, u.metric, trim_scale(u.quantity)::text as quantity,
       u.used_at, u.recorded_at, t.name as destination, d.id as remittance, d.key, d.hour, d.status,
       coalesce(d.reason, h.reason, e.reason) as reason, d.maybe_billed, coalesce(d.deadline, h.deadline) as deadline,
       d.changed_at,
       case when a.usage_id is not null then 'allocated' when x.usage_id is not null then 'exempt'
            when h.usage_id is not null then 'held' when w.usage_id is not null then 'written_off' else 'waiting' end as whereabouts
from postmeter.usage u
-- what a shadow counts is owed to nobody
left join postmeter.allocation a on a.usage_id = u.id
 and a.destination_id in (select l.id from postmeter.destination l where l.shadow_of is null)
-- a release moves quantity on: what counts is the last remittance it came to
left join postmeter.delivery d on d.id = postmeter.last_remittance(a.delivery_id)
left join postmeter.held h on h.usage_id = u.id
left join postmeter.destination t on t.id = coalesce(d.destination_id, h.destination_id)
left join postmeter.exempted x on x.usage_id = u.id
left join postmeter.exemption e on e.id = x.exemption_id
left join postmeter.usage_written_off w on w.usage_id = u.id
where u.id = postmeter.usage_of($1, $2)
order by t.name
