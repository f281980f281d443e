-- review_settle: considers the late evidence of locked deliveries. Proof of acceptance settles what may have been billed, and
-- what waits to be sent; proof of another quantity is a conflict; anything else changes nothing but is marked as read. What
-- contradicts was noted before (review_contradict). Of an attempt before the last cut nothing settles what was counted anew:
-- it is not sent, for its key may be taken.
-- $1 deliveries.
with said as materialized (
    select e.id, e.delivery_id, e.outcome, e.shown_quantity, d.body is not null and (d.maybe_billed or d.status in ('due', 'held')) as is_unsettled,
           coalesce((select a.claimed_at < d.cut_at from postmeter.attempt a where a.id = e.attempt_id), false) as is_earlier
    from postmeter.late_evidence e
    join postmeter.delivery d on d.id = e.delivery_id
    where e.delivery_id = any ($1) and e.id > d.evidence_read
), read as materialized (
    select s.delivery_id, max(s.id) as last,
           bool_or(s.is_unsettled and not s.is_earlier and s.outcome in ('accepted', 'duplicate')) as is_proof,
           bool_or(s.outcome = 'accepted' or (s.outcome = 'duplicate' and s.shown_quantity is not null)) as is_confirmed,
           bool_or(s.is_unsettled and not s.is_earlier and s.outcome = 'conflict') as is_conflict,
           bool_or(s.is_earlier and s.outcome in ('accepted', 'duplicate', 'conflict')) as is_of_earlier,
           max(s.shown_quantity) as shown
    from said s
    group by s.delivery_id
), moved as (
    update postmeter.delivery d
    -- of an open hour it is read once that is cut, or judged
    set evidence_read = case when d.status = 'open' and r.is_of_earlier then d.evidence_read else r.last end,
        status = case when r.is_proof then 'accepted' when r.is_conflict then 'conflict'
                      when r.is_of_earlier and d.status = 'due' then case when d.maybe_billed then 'unknown' else 'conflict' end
                      else d.status end,
        reason = case when r.is_proof or r.is_conflict then null else d.reason end,
        maybe_billed = d.maybe_billed and not (r.is_proof or r.is_conflict),
        maybe_since = case when r.is_proof or r.is_conflict then null else d.maybe_since end,
        confirmed = case when r.is_proof then r.is_confirmed else d.confirmed end,
        shown_quantity = case when r.is_proof or r.is_conflict then coalesce(r.shown, d.shown_quantity) else d.shown_quantity end,
        changed_at = (select postmeter.clock())
    from read r
    where d.id = r.delivery_id and d.status <> 'in_flight'
    returning d.id, d.destination_id, d.status
), unqueued as (
    delete from postmeter.due q using moved m where q.destination_id = m.destination_id and q.delivery_id = m.id and m.status <> 'due'
)
delete from postmeter.later l using moved m where l.delivery_id = m.id and m.status <> 'due'
