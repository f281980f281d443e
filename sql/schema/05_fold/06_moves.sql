-- What an edit of the catalogue would move.

create function postmeter.catalogue_moves(since bigint)
returns table (becomes text, destination text, buyer text, dimension text, hour timestamptz, org text, product text,
    metric text, to_destination text, to_buyer text, to_dimension text, usages bigint, quantity numeric)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with marks as materialized (
        select coalesce(array_agg(c.id), '{}') as ids from postmeter.catalogue_mark c where c.id > since
    ), moved as materialized (
        select case when u.exemption_id is not null then 'exempt' when u.reason is not null then 'held: ' || u.reason
            else 'moved' end as becomes,
               u.destination_id, m.buyer, m.dimension, d.hour, u.org, u.product, u.metric,
               case when u.exemption_id is null and u.reason is null then u.to_destination_id end as to_destination_id,
               case when u.exemption_id is null and u.reason is null then u.to_buyer end as to_buyer,
               case when u.exemption_id is null and u.reason is null then u.to_dimension end as to_dimension, u.quantity
        from marks k
        cross join lateral postmeter.marked_usage(k.ids, null, true) u
        join postmeter.delivery d on d.id = u.delivery_id
        join postmeter.meter m on m.id = d.meter_id
        union all
        select 'billed', null, null, null, x.hour, x.org, x.product, x.metric, x.to_destination_id, x.to_buyer,
            x.to_dimension, x.quantity
        from marks k
        cross join lateral postmeter.marked_exempt(k.ids) x
        union all
        -- held usage that this edit has sent back to the outbox
        select 'resolved anew', null, null, null, postmeter.hour_of(o.used_at), o.org, o.product, o.metric, null, null,
            null, o.quantity
        from postmeter.outbox o
        where o.returned and o.xmin = pg_current_xact_id()::xid
        union all
        -- what the next cut counts by another cover
        select 'covered anew', a.destination_id, m.buyer, m.dimension, d.hour, s.org, s.product, mm.metric, null, null,
            null, a.quantity
        from (select distinct (coalesce(c.new_row, c.old_row) ->> 'subscription_id')::bigint as subscription_id,
                     coalesce(c.new_row, c.old_row) ->> 'metric' as metric
              from postmeter.catalogue_change c
              where c.entry = 'cover' and c.xmin = pg_current_xact_id()::xid) c
        join postmeter.subscription s on s.id = c.subscription_id
        join postmeter.destination t on t.id = s.destination_id
        join postmeter.allocation a on a.subscription_id = s.id
            and a.hour > postmeter.clock() - t.age_limit - interval '1 day'
        join postmeter.delivery d on d.id = a.delivery_id and d.status = 'open' and d.round = a.round
        join postmeter.meter m on m.id = d.meter_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id and mm.metric = c.metric
    )
    select m.becomes, f.name, m.buyer, m.dimension, m.hour, m.org, m.product, m.metric, t.name, m.to_buyer,
        m.to_dimension,
           count(*), trim_scale(sum(m.quantity))
    from moved m
    left join postmeter.destination f on f.id = m.destination_id
    left join postmeter.destination t on t.id = m.to_destination_id
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
$$;
comment on function postmeter.catalogue_moves(bigint) is
    'Within the transaction of an edit of the catalogue: what it changes of usage whose hour is open, by hour, org '
    'and metric. Since: the last mark before the edit.';

create function postmeter.recorded_until() returns timestamptz
language sql stable
begin atomic
select postmeter.hour_of(postmeter.clock() + s.usage_lead_max) + interval '1 hour' from postmeter.setting s;
end;
comment on function postmeter.recorded_until() is
    'Usage of later hours cannot have been recorded yet: what the catalogue changes for them moves nothing.';
