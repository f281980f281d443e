-- cut_shares: how the quantities of a cut are shared out by attributes of the usage they count, the largest share first. What
-- lacks an attribute, or has one that is no tag, lacks that tag; what is too much stands without tags.
-- $1 deliveries, $2 quantities, $3 decimals. Relies on allocation_by_delivery.
with given as materialized (
    select d.id, d.round, g.quantity, g.decimals, postmeter.allocates_by(d.destination_id, d.product, m.dimension, d.hour) as attributes
    from unnest($1, $2, $3) g(id, quantity, decimals)
    join postmeter.delivery d on d.id = g.id
    join postmeter.meter m on m.id = d.meter_id
), counted as materialized (
    select g.id, a.quantity, mm.factor_numerator, mm.factor_denominator, coalesce(t.tags, '{}') as tags
    from given g
    join postmeter.allocation a on a.delivery_id = g.id and a.round = g.round
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    join postmeter.usage u on u.id = a.usage_id
    -- a correction takes from the share of what it corrects
    left join postmeter.usage o on o.id = u.corrected_id
    cross join lateral (
        select jsonb_object_agg(k.name, coalesce(o.attributes, u.attributes) ->> k.name) as tags
        from unnest(g.attributes) k(name)
        where (coalesce(o.attributes, u.attributes) ->> k.name) collate "C" ~ '^[a-zA-Z0-9 -=._:/@]+$'
          and octet_length(coalesce(o.attributes, u.attributes) ->> k.name) <= 256
    ) t
), denominator as (
    select c.id, postmeter.lcm_of(c.factor_denominator) as denominator from counted c group by 1
), weighed as (
    -- whole numbers: a quantity has 15 digits after the point at most
    select c.id, c.tags, greatest(0, trunc(sum(c.quantity * c.factor_numerator * (d.denominator / c.factor_denominator)) * 1000000000000000)) as weight
    from counted c join denominator d on d.id = c.id
    group by 1, 2
), placed as (
    -- AWS takes 2,500 shares of a record; a body has 64 KiB, of which the record itself and a margin take some
    select w.id, w.weight,
           case when row_number() over largest < 2500 and sum(octet_length(w.tags::text) + 140) over largest <= 60000
                then w.tags else '{}' end as tags
    from weighed w where w.weight > 0
    window largest as (partition by w.id order by w.weight desc, w.tags::text collate "C" rows unbounded preceding)
), bucket as (
    select p.id, p.tags, sum(p.weight) as weight, row_number() over (partition by p.id order by p.tags::text collate "C") as item
    from placed p group by 1, 2
)
select b.id, b.tags, trim_scale(s.share)::text as share
from (select b.id, array_agg(b.weight order by b.item) as weights from bucket b group by 1) w
join given g on g.id = w.id
cross join lateral postmeter.largest_remainder(g.quantity, g.decimals, w.weights) s
join bucket b on b.id = w.id and b.item = s.item
where s.share > 0
order by b.id, s.share desc, b.tags::text collate "C"
