-- cut_members: the remittances that are still open; of those that are locked every meter each counts on or shares a contract's
-- cover with, read after the last lock. What another session has in hand is not looked into: it may have very many usages.
-- $1 deliveries, $2 those of them that are locked.
select d.id, coalesce(array_agg(distinct c.meter_id) filter (where c.meter_id is not null), '{}') as meters,
       -- what may have been sent in a time that was lost is not sent with another hour as well
       d.deadline < postmeter.clock() and d.hour + interval '1 hour' > (select coalesce(postmeter.broken_at(), '-infinity')) as is_late,
       -- the catalogue has changed for its buyer
       exists (select from postmeter.catalogue_mark k join postmeter.meter y on y.destination_id = k.destination_id and y.buyer = k.buyer
               where y.id = d.meter_id) as is_marked
from postmeter.delivery d
left join lateral (
    with counted as materialized (
        select d.meter_id
        union
        select mm.meter_id
        from postmeter.allocation a
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id
        where a.delivery_id = d.id and a.round = d.round
        union
        select p.meter_id from postmeter.part p where p.delivery_id = d.id
    )
    select k.meter_id from counted k
    union
    select s.other_id from counted k cross join lateral postmeter.shares_cover(k.meter_id) s
) c on d.id = any ($2)
where d.id = any ($1) and d.status = 'open'
group by d.id
order by d.id
