-- claim: takes due deliveries of a destination, earliest deadline first, and writes the intent to send each.
-- $1 destination, $2 worker, $3 at most so many, $4 and $5 scan floor (deadline, delivery), $6 records and $7 bytes a call
-- may have, $8 and $9 the timeline and position that were seen last (null: none), $10 the reserved share: the oldest
-- deliveries with numbers above this one, whatever their deadlines (null: by deadline), $11 the destination's version by which the worker
-- acts. One statement, never waits.
-- Deliveries that were in the hands of a dying worker are left to claim_suspect, those with unread late evidence to review.
-- Relies on due_by_deadline, due_pkey, delivery_pkey, refusal_pkey and deadline_change_by_buyer.
with clock as materialized (
    select postmeter.clock() as now
), here as materialized (
    -- a server that lacks commits we have seen gives nothing to send, nor does a copy of which nobody has said what it is
    select coalesce($8 = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) and $9::text::pg_lsn <= pg_current_wal_insert_lsn(), true)
           and postmeter.installation_doubt() is null as holds
), refused as materialized (
    -- what these buyers' calls are refused for must not stop others again: each of their records goes alone
    select m.id as meter_id
    from postmeter.refusal r
    join postmeter.meter m on m.destination_id = r.destination_id and m.buyer = r.buyer
    where r.destination_id = $1 and r.alone > 0
), rules as materialized (
    -- by rules of yesterday nothing is claimed, nor for who is paused
    select exists (select from postmeter.destination t where t.id = $1 and t.version = $11 and not t.paused) as hold
), changed as materialized (
    -- a subscription here has changed, and maintenance is about to move deadlines: until then each goes by its new one
    select exists (select from postmeter.deadline_change c where c.destination_id = $1) as deadlines
), earliest as materialized (
    select q.ctid as due_row, q.delivery_id, q.deadline, d.body, d.batch_group, d.attempts, d.cut_at,
           case when d.meter_id in (select r.meter_id from refused r) then 1 else coalesce(d.batch_limit, $6) end as batch_limit
    from postmeter.due q
    join postmeter.delivery d on d.id = q.delivery_id
    where $10 is null and (select h.holds from here h) and (select r.hold from rules r) and q.destination_id = $1 and (q.deadline, q.delivery_id) > ($4, $5)
      and d.status = 'due' and d.deaths = 0
      and not exists (select from postmeter.late_evidence e where e.delivery_id = d.id and e.id > d.evidence_read)
    order by q.destination_id, q.deadline, q.delivery_id
    limit $3
    for update of q, d skip locked
), oldest as materialized (
    select q.ctid as due_row, q.delivery_id, q.deadline, d.body, d.batch_group, d.attempts, d.cut_at,
           case when d.meter_id in (select r.meter_id from refused r) then 1 else coalesce(d.batch_limit, $6) end as batch_limit
    from postmeter.due q
    -- the sum keeps the planner from walking over all deliveries in the order of their numbers
    join postmeter.delivery d on d.id = q.delivery_id + 0
    where $10 is not null and (select h.holds from here h) and (select r.hold from rules r) and q.destination_id = $1 and q.delivery_id > $10
      and d.status = 'due' and d.deaths = 0
      and not exists (select from postmeter.late_evidence e where e.delivery_id = d.id and e.id > d.evidence_read)
    order by q.destination_id, q.delivery_id
    limit $3
    for update of q, d skip locked
), picked as materialized (
    -- one of the two is not looked at
    select * from earliest union all select * from oldest
), gone as (
    -- by its place: rows of due are never updated, so what we have locked stays where it is
    delete from postmeter.due q using picked p where q.ctid = p.due_row
), numbered as materialized (
    -- a call takes one batch group; its records, and its bytes by where each begins, stay below the limits
    select p.*, postmeter.new_id() as attempt_id, postmeter.new_id() as call_id,
           (row_number() over w - 1) / least(p.batch_limit, $6) as by_records,
           (sum(octet_length(p.body) + 1) over w - octet_length(p.body) - 1) / greatest($7 - 66000, 1) as by_bytes
    from picked p
    window w as (partition by p.batch_group, p.batch_limit order by p.deadline, p.delivery_id)
), grouped as materialized (
    -- a call bears the id that its first record drew: a join with the calls would compare each with each
    select n.delivery_id, n.attempts, n.attempt_id, n.cut_at, n.deadline as queued_deadline,
           first_value(n.call_id) over (partition by n.batch_group, n.batch_limit, n.by_records, n.by_bytes) as call_id
    from numbered n
), intents as (
    insert into postmeter.attempt (id, delivery_id, destination_id, call_id, worker_id, number, claimed_at)
    select g.attempt_id, g.delivery_id, $1, g.call_id, $2, g.attempts + 1, (select c.now from clock c)
    from grouped g
), held as (
    update postmeter.delivery d
    set status = 'in_flight', attempt_id = g.attempt_id, attempts = d.attempts + 1, changed_at = (select c.now from clock c),
        deadline = case when (select c.deadlines from changed c)
                        then coalesce((select postmeter.deadline_of($1, m.buyer, d.hour)
                                       from postmeter.meter m
                                       where m.id = d.meter_id
                                         and exists (select from postmeter.deadline_change c
                                                     where c.destination_id = $1 and c.buyer = m.buyer)), d.deadline)
                        else d.deadline end
    from grouped g
    -- by its key, not by its place: what we locked may be a newer version than this statement's snapshot shows
    where d.id = g.delivery_id
    returning d.id, d.attempt_id, g.call_id, d.body, d.batch_group, d.quantity, d.idempotency_key, d.deadline, g.queued_deadline,
              d.maybe_since,
              -- before its first call, since its cut
              case when g.attempts = 0 then extract(epoch from d.changed_at - g.cut_at)::double precision * 1000 end as waited_ms
)
select h.id, h.attempt_id, h.call_id, h.body, h.batch_group, h.quantity::text as quantity, h.idempotency_key,
       -- where it stood in the queue: a scan goes on from there
       h.queued_deadline,
       h.waited_ms,
       -- what may have arrived is not repeated once they no longer recognise its key, however it came to wait so long
       case when h.deadline < (select c.now from clock c) then 'deadline'
            when h.maybe_since + (select t.memory from postmeter.destination t where t.id = $1) <= (select c.now from clock c) then 'memory'
       end as too_late
from held h
order by h.call_id, h.deadline, h.id
