-- settle_passed: what was accepted shows that the credential may bill, and forgets what its own buyer was refused before.
-- $1 deliveries, $2 their attempts, an element each. Of another buyer's refusals it passes over what another settlement has locked, which marks it itself.
with passed as materialized (
    select d.destination_id, m.buyer, g.attempt_id
    from unnest($1, $2) g(delivery_id, attempt_id)
    join postmeter.delivery d on d.id = g.delivery_id
    join postmeter.meter m on m.id = d.meter_id
), own as materialized (
    -- waited for: were it left, its buyer would be to blame at the next refusal of everybody
    select r.destination_id, r.buyer, r.refused_id
    from postmeter.refusal r
    where (r.destination_id, r.buyer) in (select p.destination_id, p.buyer from passed p)
    order by r.destination_id, r.buyer
    for update
), forgotten as (
    delete from postmeter.refusal r using own o
    where r.destination_id = o.destination_id and r.buyer = o.buyer
      and exists (select from passed p
                  where p.destination_id = o.destination_id and p.buyer = o.buyer and p.attempt_id > o.refused_id)
), others as materialized (
    select r.destination_id, r.buyer
    from postmeter.refusal r
    where r.passed_at is null
      and exists (select from passed p
                  where p.destination_id = r.destination_id and p.buyer <> r.buyer and p.attempt_id > r.refused_id)
      and (r.destination_id, r.buyer) not in (select o.destination_id, o.buyer from own o)
    order by r.destination_id, r.buyer
    for update skip locked
)
update postmeter.refusal r set passed_at = clock_timestamp()
from others o
where r.destination_id = o.destination_id and r.buyer = o.buyer
