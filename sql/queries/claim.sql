-- claim: takes due deliveries of a destination, earliest deadline first, and writes the intent to send each.
-- $1 destination, $2 worker, $3 at most so many, $4 and $5 scan floor (deadline, delivery), $6 records and $7 bytes a call
-- may have. One statement, never waits. Deliveries that were in the hands of a dying worker are left to claim_suspect, those
-- with unread late evidence to review. Relies on due_by_deadline.
with picked as materialized (
    select q.delivery_id, q.deadline
    from postmeter.due q
    join postmeter.delivery d on d.id = q.delivery_id
    where q.destination_id = $1 and (q.deadline, q.delivery_id) > ($4, $5)
      and d.status = 'due' and d.deaths = 0
      and not exists (select from postmeter.late_evidence e where e.delivery_id = d.id and e.id > d.evidence_read)
    order by q.destination_id, q.deadline, q.delivery_id
    limit $3
    for update of q, d skip locked
), gone as (
    delete from postmeter.due q using picked p where q.delivery_id = p.delivery_id
), called as (
    -- a call takes one batch group; its records and its bytes (by where each begins) stay below the limits
    select p.delivery_id, p.deadline,
           dense_rank() over (order by d.batch_group, coalesce(d.batch_limit, $6)) as family,
           (row_number() over w - 1) / least(coalesce(d.batch_limit, $6), $6) as by_records,
           (sum(octet_length(d.body) + 1) over w - octet_length(d.body) - 1) / greatest($7 - 66000, 1) as by_bytes
    from picked p
    join postmeter.delivery d on d.id = p.delivery_id
    window w as (partition by d.batch_group, coalesce(d.batch_limit, $6) order by p.deadline, p.delivery_id)
), calls as (
    select c.delivery_id, c.deadline, first_value(n.id) over (partition by c.family, c.by_records, c.by_bytes order by c.delivery_id) as call_id
    from called c cross join lateral (select postmeter.new_id() as id, c.delivery_id) n
), intents as (
    insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number)
    select c.delivery_id, $1, c.call_id, $2, d.attempts + 1
    from calls c join postmeter.delivery d on d.id = c.delivery_id
    returning id, delivery_id, call_id
), held as (
    update postmeter.delivery d
    set status = 'in_flight', attempt_id = i.id, attempts = d.attempts + 1, changed_at = (select postmeter.clock())
    from intents i where d.id = i.delivery_id
    returning d.id, d.attempt_id, i.call_id, d.body, d.batch_group, d.quantity, d.idempotency_key, d.deadline
)
select h.id, h.attempt_id, h.call_id, h.body, h.batch_group, h.quantity::text as quantity, h.idempotency_key, h.deadline,
       h.deadline < postmeter.clock() as is_late
from held h
order by h.call_id, h.deadline, h.id
