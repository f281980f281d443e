-- report_attempts: the ledger, newest last; each attempt with what was answered.
-- $1 delivery, $2 key, $3 org, $4 destination, $5 outcome (each may be null: any); $6 at most so many, the newest.
-- Relies on attempt_by_delivery, delivery_destination_id_key_key and, for an org, allocation_by_delivery.
select l.* from (
    select a.attempt_id, a.delivery_id, a.key, a.destination, a.number, a.call_id, a.claimed_at, a.outcome, a.code,
           a.is_try,
           trim_scale(a.quantity)::text as quantity, trim_scale(a.shown_quantity)::text as shown_quantity, a.receipt,
           a.http_status, a.their_request_id, a.excerpt, (extract(epoch from a.duration) * 1000)::float8 as duration_ms,
           a.recorded_at, a.status
    from postmeter.attempt_ledger a
    where ($1 is null or a.delivery_id = $1)
      and ($2 is null or a.delivery_id in (select d.id from postmeter.delivery d where d.key = $2))
      and ($3 is null or exists (
            select from postmeter.allocation u join postmeter.subscription s on s.id = u.subscription_id
            where u.delivery_id = a.delivery_id and s.org = $3))
      and ($4 is null or a.destination = $4)
      and ($5 is null or a.outcome = $5)
    order by a.attempt_id desc
    limit $6
) l
order by l.attempt_id
