-- health_subscriptions: subscriptions in force whose usage will be held (without shadows): identity refused or unread, or no dimension for their product.
with fault as (
    select s.org, s.product, s.invalid,
           case when s.invalid is not null then 'invalid' when s.buyer is null then 'unread'
                when not exists (select from postmeter.dimension d
                                 where d.destination_id = s.destination_id and d.product = s.product) then 'without_dimension' end as fault
    from postmeter.subscription s
    where (s.valid_until is null or s.valid_until > postmeter.clock())
      and s.destination_id not in (select t.id from postmeter.destination t where t.shadow_of is not null)
)
select pg_catalog.jsonb_build_object('fault', f.fault, 'count', count(*), 'org', (pg_catalog.array_agg(f.org order by f.org, f.product))[1],
    'product', (pg_catalog.array_agg(f.product order by f.org, f.product))[1], 'reason', (pg_catalog.array_agg(f.invalid order by f.org, f.product))[1])
from fault f
where f.fault is not null
group by f.fault
order by f.fault
