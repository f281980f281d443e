-- claim: takes due deliveries of a destination, earliest deadline first, and writes the intent to send each.
-- $1 destination, $2 worker, $3 at most so many, $4 and $5 scan floor (deadline, delivery), $6 records and $7 bytes a call
-- may have. One statement, never waits. Deliveries that were in the hands of a dying worker are left to claim_suspect, those
-- with unread late evidence to review. Relies on due_by_deadline and delivery_pkey.
with clock as materialized (
    select postmeter.clock() as now
), picked as materialized (
    select q.ctid as due_row, d.ctid as delivery_row, q.delivery_id, q.deadline, d.body, d.batch_group, d.attempts, coalesce(d.batch_limit, $6) as batch_limit
    from postmeter.due q
    join postmeter.delivery d on d.id = q.delivery_id
    where q.destination_id = $1 and (q.deadline, q.delivery_id) > ($4, $5)
      and d.status = 'due' and d.deaths = 0
      and not exists (select from postmeter.late_evidence e where e.delivery_id = d.id and e.id > d.evidence_read)
    order by q.destination_id, q.deadline, q.delivery_id
    limit $3
    for update of q, d skip locked
), gone as (
    -- by its place: a row that we have locked stays where it is
    delete from postmeter.due q using picked p where q.ctid = p.due_row
), grouped as (
    -- a call takes one batch group; its records, and its bytes by where each begins, stay below the limits
    select p.delivery_id, p.delivery_row, p.attempts, p.batch_group, p.batch_limit,
           (row_number() over w - 1) / least(p.batch_limit, $6) as by_records,
           (sum(octet_length(p.body) + 1) over w - octet_length(p.body) - 1) / greatest($7 - 66000, 1) as by_bytes
    from picked p
    window w as (partition by p.batch_group, p.batch_limit order by p.deadline, p.delivery_id)
), calls as materialized (
    select g.batch_group, g.batch_limit, g.by_records, g.by_bytes, postmeter.new_id() as call_id
    from grouped g group by 1, 2, 3, 4
), intents as (
    insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number, claimed_at)
    select g.delivery_id, $1, c.call_id, $2, g.attempts + 1, (select c.now from clock c)
    from grouped g
    join calls c on (c.batch_group, c.batch_limit, c.by_records, c.by_bytes) = (g.batch_group, g.batch_limit, g.by_records, g.by_bytes)
    returning id, delivery_id, call_id
), held as (
    update postmeter.delivery d
    set status = 'in_flight', attempt_id = i.id, attempts = d.attempts + 1, changed_at = (select c.now from clock c)
    from intents i
    join grouped g on g.delivery_id = i.delivery_id
    where d.ctid = g.delivery_row
    returning d.id, d.attempt_id, i.call_id, d.body, d.batch_group, d.quantity, d.idempotency_key, d.deadline
)
select h.id, h.attempt_id, h.call_id, h.body, h.batch_group, h.quantity::text as quantity, h.idempotency_key, h.deadline,
       h.deadline < (select c.now from clock c) as is_late
from held h
order by h.call_id, h.deadline, h.id
