-- cut_freeze: writes what a cut froze and puts what is due into the queue.
-- $1 deliveries, $2 statuses (due, nothing_due, held), $3 reasons, $4 quantities as text, $5 bodies, $6 batch groups, $7 keys.
with cut as (
    update postmeter.delivery d
    set status = g.status, reason = g.reason, quantity = g.quantity::numeric, body = g.body, batch_group = g.batch_group,
        idempotency_key = g.idempotency_key, round = d.round + 1,
        maybe_billed = g.status = 'due' and not d.shadow and coalesce(d.hour + interval '1 hour' <= b.noticed_at, false),
        maybe_since = case when g.status = 'due' and not d.shadow and d.hour + interval '1 hour' <= b.noticed_at
                           -- what they recognise for a time only is not sent again, but left to a person
                           then d.hour + interval '1 hour'
                                - coalesce((select t.memory from postmeter.destination t where t.id = d.destination_id), interval '0') end,
        cut_at = (select postmeter.clock()), changed_at = (select postmeter.clock())
    from unnest($1, $2, $3, $4, $5, $6, $7) g(id, status, reason, quantity, body, batch_group, idempotency_key),
         -- an hour that was over when commits were lost may have been cut and sent before, under this very key
         (select max(x.noticed_at) as noticed_at from postmeter.timeline_break x) b
    where d.id = g.id and d.status = 'open'
    returning d.id, d.destination_id, d.deadline, d.status
), closed as (
    delete from postmeter.open_hour o using cut c where o.delivery_id = c.id
), queued as (
    insert into postmeter.due (delivery_id, destination_id, deadline)
    select c.id, c.destination_id, c.deadline from cut c where c.status = 'due' order by c.id
)
select count(*) as cut from cut
