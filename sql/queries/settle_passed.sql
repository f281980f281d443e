-- settle_passed: what was accepted shows that the credential may bill, and forgets what its own buyer was refused before.
-- $1 deliveries, $2 their attempts, an element each. Never waits: what another settlement has locked, it marks itself.
with passed as materialized (
    select d.destination_id, m.buyer, g.attempt_id
    from unnest($1, $2) g(delivery_id, attempt_id)
    join postmeter.delivery d on d.id = g.delivery_id
    join postmeter.meter m on m.id = d.meter_id
), refused as materialized (
    select r.destination_id, r.buyer, r.refused_id, r.passed_at
    from postmeter.refusal r
    where r.destination_id in (select p.destination_id from passed p)
    order by r.destination_id, r.buyer
    for update skip locked
), judged as materialized (
    select r.destination_id, r.buyer, r.passed_at, pg_catalog.bool_or(p.buyer = r.buyer) as is_own
    from refused r
    join passed p on p.destination_id = r.destination_id and p.attempt_id > r.refused_id
    group by r.destination_id, r.buyer, r.passed_at
), forgotten as (
    delete from postmeter.refusal r using judged j
    where j.is_own and r.destination_id = j.destination_id and r.buyer = j.buyer
)
update postmeter.refusal r set passed_at = clock_timestamp()
from judged j
where not j.is_own and j.passed_at is null and r.destination_id = j.destination_id and r.buyer = j.buyer
