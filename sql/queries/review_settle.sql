-- review_settle: considers the late evidence of locked deliveries. Proof of acceptance settles what may have been billed;
-- proof of another quantity is a conflict; anything else changes nothing but is marked as read.
-- $1 deliveries.
with read as materialized (
    select e.delivery_id, max(e.id) as last,
           bool_or(e.outcome = 'accepted' or e.outcome = 'duplicate') as is_proof,
           bool_or(e.outcome = 'accepted' or (e.outcome = 'duplicate' and e.shown_quantity is not null)) as is_confirmed,
           bool_or(e.outcome = 'conflict') as is_conflict, max(e.shown_quantity) as shown
    from postmeter.late_evidence e
    join postmeter.delivery d on d.id = e.delivery_id
    where e.delivery_id = any ($1) and e.id > d.evidence_read
    group by e.delivery_id
), moved as (
    update postmeter.delivery d
    set evidence_read = r.last,
        status = case when not d.maybe_billed then d.status when r.is_proof then 'accepted' when r.is_conflict then 'conflict'
                      else d.status end,
        reason = case when d.maybe_billed and (r.is_proof or r.is_conflict) then null else d.reason end,
        maybe_billed = d.maybe_billed and not (r.is_proof or r.is_conflict),
        maybe_since = case when r.is_proof or r.is_conflict then null else d.maybe_since end,
        confirmed = case when d.maybe_billed and r.is_proof then r.is_confirmed else d.confirmed end,
        shown_quantity = coalesce(r.shown, d.shown_quantity), changed_at = (select postmeter.clock())
    from read r
    where d.id = r.delivery_id and d.status <> 'in_flight'
    returning d.id, d.destination_id, d.status
), unqueued as (
    delete from postmeter.due q using moved m where q.destination_id = m.destination_id and q.delivery_id = m.id and m.status <> 'due'
)
delete from postmeter.later l using moved m where l.delivery_id = m.id and m.status <> 'due'
