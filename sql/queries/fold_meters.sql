-- fold_meters: makes the meters that a fold needs, in the order of their keys: of each hour's month that of the key and
-- that of the contract, and by policy of the running month, to which what is late may go as a part.
-- $1 subscriptions, $2 dimensions, $3 hours. Relies on meter_destination_id_buyer_dimension_month_key.
insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
select distinct on (1, 2, 3, 4)
       s.destination_id, x.buyer, d.name, x.month, coalesce(i.rounding, d.rounding), coalesce(i.decimals, d.decimals),
       coalesce(i.month_end, d.month_end)
from (select postmeter.clock() as now) c
cross join unnest($1, $2, $3) g(subscription_id, dimension_id, hour)
join postmeter.subscription s on s.id = g.subscription_id
join postmeter.dimension d on d.id = g.dimension_id
join postmeter.destination t on t.id = s.destination_id
left join postmeter.contract_member k on k.subscription_id = s.id and k.month = postmeter.month_of(g.hour, t.zone)
cross join lateral (
    select s.buyer, postmeter.month_of(g.hour, t.zone) as month, true as is_own
    union
    select n.contract, postmeter.month_of(g.hour, t.zone), true
    from (select coalesce(k.contract, postmeter.contract_name(s.product, s.contract)) as contract) n
    where n.contract is not null
    union
    select n.buyer, postmeter.month_of(c.now, t.zone), false
    from postmeter.buyers_now(s.id) n
    where t.late_policy = 'part' and postmeter.month_of(c.now, t.zone) <> postmeter.month_of(g.hour, t.zone)
) x
-- another month counts as its own dimension says
left join lateral (
    select n.* from postmeter.dimension_in(s.destination_id, d.name, x.month) n where not x.is_own
) i on true
where not exists (
    select from postmeter.meter m
    where m.destination_id = s.destination_id and m.buyer = x.buyer and m.dimension = d.name and m.month = x.month
)
order by 1, 2, 3, 4, x.is_own desc
on conflict do nothing
