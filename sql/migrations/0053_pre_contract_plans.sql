-- 0053_pre_contract_plans: what a contract has is looked up from its subscriptions, not asked of every meter or subscription.
-- programs: from 0022
-- lock: access exclusive on unremitted, for a moment: the view asks the contract for its subscriptions

-- "is it one of the contract's" was asked again for every meter of the dimension and month: a second at 100 meters each
create or replace function postmeter.contract_keys(meter_id bigint) returns table (key_meter_id bigint)
language sql stable
begin atomic
    select distinct k.id
    from postmeter.meter m
    cross join postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c
    join postmeter.subscription s on s.id = c.subscription_id and s.buyer <> m.buyer
    join postmeter.meter k on k.destination_id = m.destination_id and k.buyer = s.buyer and k.dimension = m.dimension and k.month = m.month
    where m.id = contract_keys.meter_id;
end;

-- and here for every subscription there is
do $patch$
declare
    definition text := pg_get_viewdef('postmeter.unremitted'::regclass);
    changed    text := regexp_replace(definition,
        'LEFT JOIN postmeter\.subscription s ON \(\(\(s\.id IN \( SELECT b\.subscription_id\s+FROM (postmeter\.contract_subscriptions\(m\.destination_id, m\.buyer, m\.month\) b\(subscription_id\))\)\) AND ',
        'LEFT JOIN (\1 JOIN postmeter.subscription s ON (s.id = b.subscription_id)) ON ((');
begin
    if changed = definition then
        raise exception 'unremitted is not as this migration knows it';
    end if;
    execute 'create or replace view postmeter.unremitted as ' || changed;
end
$patch$;

-- A function in the language sql that is not inlined is planned again whenever the one around it runs. What is asked for
-- each hour of each meter keeps its plan: ten milliseconds for a stranded meter were one.
create or replace function postmeter.served_until(destination_id integer, buyer text, hour timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return (
        select e.valid_until
        from (select max(coalesce(s.valid_until, 'infinity')) as at
              from postmeter.subscription s
              where s.destination_id = served_until.destination_id and s.buyer = served_until.buyer
                and s.valid_from < served_until.hour + interval '1 hour') f
        join postmeter.subscription e
          on e.destination_id = served_until.destination_id and e.buyer = served_until.buyer and e.valid_until >= f.at
        where not exists (select from postmeter.subscription r
                          where r.destination_id = served_until.destination_id and r.buyer = served_until.buyer
                            and r.valid_from <= e.valid_until and (r.valid_until is null or r.valid_until > e.valid_until))
        order by e.valid_until
        limit 1
    );
end
$$;

create or replace function postmeter.deadline_of(destination_id integer, buyer text, hour timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return (
        select least(deadline_of.hour + t.age_limit,
                     ((postmeter.month_of(deadline_of.hour, t.zone) + interval '1 month') at time zone t.zone) + t.month_cutoff,
                     postmeter.served_until(t.id, deadline_of.buyer, deadline_of.hour) + t.closing_window) - t.margin
        from postmeter.destination t
        where t.id = deadline_of.destination_id
    );
end
$$;

-- where each key of the contract could send was asked of every meter of the month, for want of a fence
create or replace function postmeter.target_hour_of_key(meter_id bigint) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    the_clock  timestamptz := postmeter.clock();
    the_break  timestamptz := coalesce(postmeter.broken_at(), '-infinity');
begin
    return (
        select h.hour
        from postmeter.meter m
        join postmeter.destination t on t.id = m.destination_id
        cross join generate_series(0, (extract(epoch from t.age_limit) / 3600)::integer) back
        cross join lateral (
            select postmeter.hour_of(the_clock) - back * interval '1 hour' as hour) h
        cross join lateral (
            select postmeter.deadline_of(m.destination_id, m.buyer, h.hour) as deadline) l
        where m.id = target_hour_of_key.meter_id
          and postmeter.month_of(h.hour, t.zone) = m.month
          and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
          and exists (select from postmeter.subscription s
                      where s.destination_id = m.destination_id and s.buyer = m.buyer
                        and s.valid_from < h.hour + interval '1 hour' and (s.valid_until is null or h.hour < s.valid_until))
          and l.deadline >= the_clock
          and not exists (select from postmeter.delivery d
                          where d.meter_id = m.id and d.hour = h.hour and d.status not in ('open', 'nothing_due'))
        -- a closed hour with time for retries, the newest first; then the running hour; a closed hour near its deadline last
        order by h.hour + interval '1 hour' <= the_break,
                 case when back > 0 and l.deadline >= the_clock + greatest(t.lead, t.age_limit / 4) then 0 when back = 0 then 1 else 2 end, back
        limit 1
    );
end
$$;

create or replace function postmeter.target_way(meter_id bigint) returns table (key_meter_id bigint, hour timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    own timestamptz := postmeter.target_hour_of_key(target_way.meter_id);
begin
    if own is not null then
        return query select target_way.meter_id, own;
        return;
    end if;
    return query
    with other as materialized (
        select k.key_meter_id from postmeter.contract_keys(target_way.meter_id) k
    )
    select o.key_meter_id, h.hour
    from other o
    cross join lateral (select postmeter.target_hour_of_key(o.key_meter_id) as hour) h
    where h.hour is not null
    order by h.hour desc, o.key_meter_id
    limit 1;
end
$$;

-- what runs a query of its own is asked last, of what is left
alter function postmeter.deadline_of(integer, text, timestamptz) cost 1000;
alter function postmeter.target_hour_of_key(bigint) cost 10000;
alter function postmeter.target_way(bigint) cost 10000;
alter function postmeter.target_way_as(bigint, jsonb) cost 10000;
alter function postmeter.target_hour(bigint) cost 10000;

insert into postmeter.migration (version, name) values (53, '0053_pre_contract_plans');
