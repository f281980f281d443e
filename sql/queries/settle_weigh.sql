-- settle_weigh: what is known of who was refused: how often alone, whether it is the buyer's own fault, and whether so many
-- buyers were refused alone that the credential is to blame. $1 deliveries, $2 so many buyers.
with weighed as materialized (
    select d.id, r.alone, r.passed_at, r.judged_at,
           (select pg_catalog.count(*) from postmeter.refusal o
            where o.destination_id = d.destination_id and o.alone > 0 and o.passed_at is null and o.judged_at is null) as in_doubt
    from postmeter.delivery d
    join postmeter.meter m on m.id = d.meter_id
    join postmeter.refusal r on r.destination_id = d.destination_id and r.buyer = m.buyer
    where d.id = any ($1)
)
-- whoever was judged before is so again, unless others are in doubt now
select w.id, w.alone, w.passed_at is not null and (w.judged_at is null or w.in_doubt = 0) as others_passed,
       w.in_doubt >= $2 as is_credential
from weighed w
