-- claim_suspect: takes one delivery that was in the hands of a dying worker, to send it alone.
-- $1 destination, $2 worker, $3 and $4 the timeline and position that were seen last (null: none), $5 the destination's version by
-- which the worker acts. Only a worker with nothing else in its hands asks.
with here as materialized (
    -- a server that lacks commits we have seen gives nothing to send, nor does a copy of which nobody has said what it is
    select coalesce($3 = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) and $4::text::pg_lsn <= pg_current_wal_insert_lsn(), true)
           and postmeter.installation_doubt() is null as holds
), rules as materialized (
    -- by rules of yesterday nothing is claimed, nor for who is paused
    select exists (select from postmeter.destination t where t.id = $1 and t.version = $5 and not t.paused) as hold
), picked as materialized (
    select q.delivery_id, q.deadline
    from postmeter.due q
    join postmeter.delivery d on d.id = q.delivery_id
    where (select h.holds from here h) and (select r.hold from rules r) and q.destination_id = $1 and d.status = 'due' and d.deaths > 0
      and not exists (select from postmeter.late_evidence e where e.delivery_id = d.id and e.id > d.evidence_read)
    order by q.destination_id, q.deadline, q.delivery_id
    limit 1
    for update of q, d skip locked
), gone as (
    delete from postmeter.due q using picked p where q.destination_id = $1 and q.delivery_id = p.delivery_id
), intents as (
    insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number)
    select d.id, $1, postmeter.new_id(), $2, d.attempts + 1
    from picked p join postmeter.delivery d on d.id = p.delivery_id
    returning id, delivery_id, call_id
), held as (
    update postmeter.delivery d
    set status = 'in_flight', attempt_id = i.id, attempts = d.attempts + 1, changed_at = (select postmeter.clock()),
        -- a change of its buyer's subscriptions may not have moved it yet
        deadline = coalesce((select postmeter.deadline_of($1, m.buyer, d.hour)
                             from postmeter.meter m
                             where m.id = d.meter_id
                               and exists (select from postmeter.deadline_change c
                                           where c.destination_id = $1 and c.buyer = m.buyer)), d.deadline)
    from intents i where d.id = i.delivery_id
    returning d.id, d.attempt_id, i.call_id, d.body, d.batch_group, d.quantity, d.idempotency_key, d.deadline, d.maybe_since
)
select h.id, h.attempt_id, h.call_id, h.body, h.batch_group, h.quantity::text as quantity, h.idempotency_key, h.deadline, null::double precision as waited_ms,
       case when h.deadline < postmeter.clock() then 'deadline'
            when h.maybe_since + (select t.memory from postmeter.destination t where t.id = $1) <= postmeter.clock() then 'memory'
       end as too_late
from held h
