-- Locks and deadlines of the rounds.

create function postmeter.remittance_key(buyer text, dimension text, hour timestamptz) returns text
language sql stable parallel safe
begin atomic
select buyer || '/' || dimension || '/' || to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end;
comment on function postmeter.remittance_key(text, text, timestamptz) is
    'Canonical key of a remittance; the program builds the same text.';

create function postmeter.lock_meters(meters bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now timestamptz := postmeter.clock();
begin
    -- made before any lock is taken, in the order of their keys, as fold makes them
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
    select distinct on (1, 2, 3, 4)
           m.destination_id, x.buyer, m.dimension, x.month, coalesce(i.rounding, m.rounding),
           coalesce(i.decimals, m.decimals), coalesce(i.month_end, m.month_end)
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    cross join lateral (
        select p.buyer, postmeter.month_of(now, t.zone) as month
        from postmeter.part_keys(m.id) p
        where t.late_policy = 'part' and m.month < postmeter.month_of(now, t.zone)
        union all
        -- other keys of its contract
        select s.buyer, m.month
        from postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c
        join postmeter.subscription s on s.id = c.subscription_id
        where s.buyer <> m.buyer
    ) x
    left join lateral postmeter.dimension_in(m.destination_id, m.dimension, x.month) i on true
    where m.id = any (meters)
      and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = m.month)
      and not exists (select from postmeter.meter r
                      where r.destination_id = m.destination_id and r.buyer = x.buyer and r.dimension = m.dimension
                        and r.month = x.month)
    order by 1, 2, 3, 4
    on conflict do nothing;
    perform 1 from postmeter.meter l
    where l.id in (
        select unnest(meters)
        union
        select r.id
        from postmeter.meter m
        join postmeter.destination t on t.id = m.destination_id
        cross join lateral postmeter.part_keys(m.id) p
        join postmeter.meter r on r.destination_id = m.destination_id and r.buyer = p.buyer
            and r.dimension = m.dimension
                              and r.month = postmeter.month_of(now, t.zone)
        where m.id = any (meters) and t.late_policy = 'part'
        union
        select k.key_meter_id from unnest(meters) m(id) cross join lateral postmeter.contract_keys(m.id) k)
    order by l.id for update;
end
$$;
comment on function postmeter.lock_meters(bigint[]) is
    'Locks meters in the order of their numbers, together with those of the running month to which their late or '
    'released quantity may go as a part, and those of their contract''s other keys: nobody who needs several takes '
    'one of them late.';

create function postmeter.deadlines_behind(marks bigint[])
returns table (delivery_id bigint, destination_id integer, buyer text)
language sql stable
begin atomic
with changed as materialized (
        select c.destination_id, c.buyer, min(coalesce(c.since, (select postmeter.clock()) - t.age_limit)) as since
        from postmeter.deadline_change c
        join postmeter.destination t on t.id = c.destination_id
        where c.id = any (marks)
        group by c.destination_id, c.buyer
    ), hours as materialized (
        select o.id, o.destination_id, c.buyer, o.hour, o.deadline
        from changed c
        join postmeter.meter m on m.destination_id = c.destination_id and m.buyer = c.buyer
        join postmeter.delivery o on o.meter_id = m.id and o.hour > c.since
        -- a bound of all of them is one that an index takes: nothing is read of what is older
        where o.hour > (select min(x.since) from changed x)
          and o.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
    ), deadlines as materialized (
        -- once for all meters of a buyer
        select h.destination_id, h.buyer, h.hour, postmeter.deadline_of(h.destination_id, h.buyer, h.hour) as deadline
        from (select distinct h.destination_id, h.buyer, h.hour from hours h) h
    )
    select h.id, h.destination_id, h.buyer
    from hours h
    join deadlines n on n.destination_id = h.destination_id and n.buyer = h.buyer and n.hour = h.hour
    where n.deadline <> h.deadline;
end;
comment on function postmeter.deadlines_behind(bigint[]) is
    'Remittances of these marks'' buyers that are not sent yet and whose deadline is not that of their '
    'subscriptions.';

create function postmeter.deadline_now(delivery postmeter.delivery) returns timestamptz
language sql stable
begin atomic
select coalesce((select postmeter.deadline_of(m.destination_id, m.buyer, (deadline_now.delivery).hour)
                     from postmeter.meter m where m.id = (deadline_now.delivery).meter_id),
                         (deadline_now.delivery).deadline);
end;
comment on function postmeter.deadline_now(postmeter.delivery) is
    'The deadline of a remittance by what the catalogue says now, though maintenance may not have moved it yet; '
    'that of one that has expired is not moved.';
