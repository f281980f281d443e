-- 0042_pre_corrections: a correction stands where the usage stands that it corrects, and moves with it.
-- programs: from 0022
-- lock: access exclusive on held, for a moment: a column
-- lock: access exclusive on meter_metric, for a moment: a check that old rows need not meet
-- lock: access exclusive on month_close, for a moment: a view is replaced
-- lock: access exclusive on shadow_usage, for a moment: a column

alter table postmeter.held add column corrected_id uuid;
comment on column postmeter.held.corrected_id is 'The usage that this one corrects; while that is held, this one is returned or given up with it. Null too where an older program held it.';
alter table postmeter.shadow_usage add column corrected_id uuid;
comment on column postmeter.shadow_usage.corrected_id is 'The usage that this one corrects; it counts where that counts at this shadow.';

-- Cover that older programs brought below zero is mended by the next cut of its meter.
alter table postmeter.meter_metric add constraint meter_metric_covered_check check (covered >= 0) not valid;

comment on column postmeter.allocation.round is 'Which of the remittance''s cuts counts it, from 0; -1: none. A correction of what a cut has counted lowers the meter at once.';
comment on column postmeter.cut.round is 'Of the remittance''s cuts, from 0; -1: no cut. What was written off less what corrections had taken from it.';
comment on column postmeter.cut.to_bill is 'Billing units that this cut adds: max(0, R(units / D) - billed before). Below zero in round -1: corrected before it was written off.';
grant insert on postmeter.usage_written_off to postmeter_worker;

-- held ----------------------------------------------------------------------------------------------------------------

create function postmeter.keep_held(usages uuid[]) returns setof uuid
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select h.usage_id from postmeter.held h where h.usage_id = any (usages) order by h.usage_id for share skip locked
$$;
comment on function postmeter.keep_held(usages uuid[]) is 'Keeps held usage held until this transaction ends, as far as nobody is about to return it; which it is. A fold that holds their corrections then moves with them.';
revoke execute on function postmeter.keep_held(usages uuid[]) from public;
grant execute on function postmeter.keep_held(usages uuid[]) to postmeter_worker;

create function postmeter.held_together(usages uuid[], back boolean) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with asked as materialized (
        select h.usage_id from postmeter.held h where h.usage_id = any (usages)
        union
        select h.corrected_id from postmeter.held h where back and h.usage_id = any (usages) and h.corrected_id is not null
    )
    select coalesce(array_agg(h.usage_id order by h.usage_id), '{}')
    from postmeter.held h
    where h.usage_id in (select a.usage_id from asked a) or h.corrected_id in (select a.usage_id from asked a)
$$;
comment on function postmeter.held_together(usages uuid[], back boolean) is 'Held usages with the held corrections of them; back: and with what they correct themselves. In order, so that whoever locks them all waits for nobody who waits for him.';
revoke execute on function postmeter.held_together(usages uuid[], back boolean) from public;

create or replace function postmeter.return_held(usage_ids uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    family   uuid[] := postmeter.held_together(usage_ids, true);
    returned bigint;
begin
    perform 1 from postmeter.held h where h.usage_id = any (family) order by h.usage_id for update;
    -- a later statement: it sees the corrections that a fold has held meanwhile
    family := postmeter.held_together(usage_ids, true);
    with cured as (
        delete from postmeter.held h where h.usage_id = any (family) returning h.usage_id
    )
    insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes, returned)
    select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
           u.request_id, u.traceparent, u.attributes, true
    from cured c join postmeter.usage u on u.id = c.usage_id;
    get diagnostics returned = row_count;
    return returned;
end
$$;
comment on function postmeter.return_held(usage_ids uuid[]) is 'Returns held usage to the outbox, with its corrections and what it corrects.';

create function postmeter.correction_is_free(corrected uuid, destination integer, hour timestamptz, reason text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- what it corrects says where it goes; while that is held too, it is returned with it
    select not exists (select from postmeter.held o where o.usage_id = corrected)
       and (reason <> 'month_closed' or not exists (
            select from postmeter.closed_month c join postmeter.destination t on t.id = c.destination_id
            where t.id = destination and c.month = postmeter.month_of(correction_is_free.hour, t.zone)))
$$;
comment on function postmeter.correction_is_free(corrected uuid, destination integer, hour timestamptz, reason text) is 'Whether a held correction is held no longer for a reason of its own.';
revoke execute on function postmeter.correction_is_free(corrected uuid, destination integer, hour timestamptz, reason text) from public;

do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            ('return_cured_of', 'from waiting w group by', 'from waiting w where w.corrected_id is null group by'),
            ('return_cured', 'from waiting w group by', 'from waiting w where w.corrected_id is null group by'),
            ('return_cured_of', 'return coalesce(postmeter.return_held(cured), 0);',
             'cured := coalesce(cured, ''{}'') || array(
        select h.usage_id from postmeter.held h
        where h.usage_id = any (usages) and h.corrected_id is not null
          and h.reason in (''no_subscription'', ''ambiguous_subscription'', ''unmapped_dimension'', ''invalid_subscription'', ''month_closed'')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason));
    return postmeter.return_held(cured);'),
            ('return_cured', 'return coalesce(postmeter.return_held(cured), 0);',
             'cured := coalesce(cured, ''{}'') || array(
        select h.usage_id from postmeter.held h
        where h.corrected_id is not null
          and h.reason in (''no_subscription'', ''ambiguous_subscription'', ''unmapped_dimension'', ''invalid_subscription'', ''month_closed'')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason)
        limit most);
    return postmeter.return_held(cured);'),
            ('outbox_arrived', 'where not a.returned));', 'where not a.returned and a.corrects is null));'),
            ('retry_held', 'into chosen from postmeter.held_usage_by(filter) h;', 'into chosen from postmeter.held_usage_by(filter) h;
    -- a correction and what it corrects are returned together
    chosen := postmeter.held_together(chosen, true);'),
            ('write_off_held', 'into chosen from postmeter.held_usage_by(filter) h;', 'into chosen from postmeter.held_usage_by(filter) h;
    -- what corrects it is given up with it
    perform 1 from postmeter.held h where h.usage_id = any (chosen) order by h.usage_id for update;
    chosen := postmeter.held_together(chosen, false);')
        ) c(name, before, after)
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it', change.name;
        end if;
        execute changed;
    end loop;
end
$$;

-- given up with its remittance -----------------------------------------------------------------------------------------

create function postmeter.write_off_corrected(delivery bigint) returns numeric
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    m       record;
    reduced numeric;
    total   numeric := 0;
begin
    -- its meters are locked, and so is the delivery
    for m in
        with recursive counted as (
            select write_off_corrected.delivery as id
            union
            -- quantity that a release gave to it
            select c.delivery_id from counted x join postmeter.decision c on c.target_delivery_id = x.id where c.verb = 'release'
        ), credit as materialized (
            select mm.meter_id, sum(a.quantity * mm.factor_numerator * (t.denominator / mm.factor_denominator)) as units
            from counted x
            join postmeter.allocation a on a.delivery_id = x.id and a.round = -1
            join postmeter.meter_metric mm on mm.id = a.meter_metric_id
            join postmeter.meter t on t.id = mm.meter_id
            group by 1
        )
        select t.*, k.to_bill, u.units,
               postmeter.round_units(u.units - c.units, t.denominator, r.rounding, t.decimals) as before,
               postmeter.round_units(u.units, t.denominator, r.rounding, t.decimals) as after
        from credit c
        join postmeter.meter t on t.id = c.meter_id
        cross join lateral (select t.carried + t.billed * t.denominator as units) u
        cross join lateral (select case when t.month_end = 'round_up' then 'up' else t.rounding end as rounding) r
        cross join lateral (select sum(x.to_bill) as to_bill from postmeter.cut x
                            where x.delivery_id = write_off_corrected.delivery and x.meter_id = t.id) k
        where k.to_bill > 0
        order by t.id
    loop
        reduced := least(m.to_bill, m.before - m.after);
        continue when reduced <= 0;
        insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
        values (write_off_corrected.delivery, m.id, -1, m.denominator, m.units, m.billed, -reduced,
                trim_scale(m.carried + reduced * m.denominator), false, '[]');
        update postmeter.meter u
        set billed = trim_scale(u.billed - reduced), carried = trim_scale(u.carried + reduced * u.denominator),
            -- what later usage did not pay because of it
            billable = trim_scale(greatest(u.billable, m.after - (u.billed - reduced)))
        where u.id = m.id;
        total := total + reduced;
    end loop;
    return total;
end
$$;
comment on function postmeter.write_off_corrected(delivery bigint) is 'What is written off is what its usage still was: takes back what corrections had taken from it after its cut, so that they lower no other bill. Returns those billing units.';
revoke execute on function postmeter.write_off_corrected(delivery bigint) from public;

do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            ('write_off', '
    for d in select f.* from', '
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(
        select c.meter_id from postmeter.cut c where c.delivery_id in (select b.id from postmeter.deliveries_by(filter) b)));
    for d in select f.* from'),
            ('write_off', 'where u.id = d.id;
', 'where u.id = d.id;
            perform postmeter.write_off_corrected(d.id);
'),
            ('recalculate', 'with boundary as materialized (', 'with correction as materialized (
        -- a correction belongs to the hour of what it corrects
        select c.id, o.used_at, o.recorded_at
        from (select u.id, (select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity) as corrected_id
              from postmeter.usage u where u.corrected_identity is not null and u.id >= first offset 0) c
        cross join lateral (select (select x from postmeter.usage x where x.id = c.corrected_id) as o offset 0) l
        cross join lateral (select (l.o).used_at, (l.o).recorded_at) o
        where (l.o).id is not null
    ), boundary as materialized ('),
            ('recalculate', 'where h <= u.used_at)', 'where h <= coalesce(k.used_at, u.used_at))'),
            ('recalculate', 'then postmeter.hour_of(u.used_at) end as hour', 'then postmeter.hour_of(coalesce(k.used_at, u.used_at)) end as hour'),
            ('recalculate', 'when u.recorded_at <= n.changed_at', 'when coalesce(k.recorded_at, u.recorded_at) <= n.changed_at'),
            ('recalculate', 'left join postmeter.allocation a on a.usage_id = u.id and', 'left join correction k on k.id = u.id
        left join postmeter.allocation a on a.usage_id = u.id and'),
            ('recalculate', 'where u.used_at >= began and u.used_at < ended and u.id >= first',
             'where coalesce(k.used_at, u.used_at) >= began and coalesce(k.used_at, u.used_at) < ended and u.id >= first'),
            ('recalculate', 'max(least(h.cover, h.lowest)) as covered', 'greatest(0, max(least(h.cover, h.lowest))) as covered'),
            ('recalculate', 'and c.to_bill > 0', 'and c.to_bill <> 0')
        ) c(name, before, after)
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it: %', change.name, change.before;
        end if;
        execute changed;
    end loop;
    definition := pg_get_viewdef('postmeter.month_close'::regclass);
    changed := regexp_replace(definition, '\.to_bill > \(0\)::numeric', '.to_bill <> (0)::numeric');
    if changed = definition then
        raise exception 'month_close is not as this migration knows it';
    end if;
    execute 'create or replace view postmeter.month_close as ' || changed;
end
$$;

-- for people ----------------------------------------------------------------------------------------------------------

create view postmeter.correction_list as
select c.id as usage_id, c.source, c.event_id, c.corrects, o.id as corrected_usage_id, c.org, c.account, c.product, c.metric,
       c.quantity, postmeter.hour_of(coalesce(o.used_at, c.used_at)) as hour, c.recorded_at,
       case when a.delivery_id is not null then 'allocated' when h.usage_id is not null then 'held'
            when x.usage_id is not null then 'exempt' when w.usage_id is not null then 'written_off'
            else 'waiting' end as whereabouts,
       case when a.delivery_id is not null then case when a.is_open then 'waiting' else 'counted' end
            when x.usage_id is not null or w.usage_id is not null then 'none' else 'waiting' end as effect,
       h.reason, t.name as destination, a.delivery_id
from postmeter.usage c
left join lateral (select i.usage_id from postmeter.usage_identity i where i.identity = c.corrected_identity) i on true
left join lateral (select u.id, u.used_at from postmeter.usage u where u.id = i.usage_id) o on true
left join lateral (
    select y.destination_id, y.delivery_id, d.status = 'open' and d.round = y.round as is_open
    from postmeter.allocation y
    join postmeter.destination l on l.id = y.destination_id and l.shadow_of is null
    join postmeter.delivery d on d.id = y.delivery_id
    where y.usage_id = c.id) a on true
left join postmeter.held h on h.usage_id = c.id
left join postmeter.exempted x on x.usage_id = c.id
left join postmeter.usage_written_off w on w.usage_id = c.id
left join postmeter.destination t on t.id = coalesce(a.destination_id, h.destination_id)
where c.corrected_identity is not null;
comment on view postmeter.correction_list is 'Every correction, where it stands, and whether it lowers a bill. It stands where the usage stands that it corrects; of usage that is exempt or was given up it has no effect, and is kept.';
comment on column postmeter.correction_list.usage_id is 'The correction.';
comment on column postmeter.correction_list.source is 'The service that recorded it; with event_id its identity.';
comment on column postmeter.correction_list.event_id is 'That service''s own id of it.';
comment on column postmeter.correction_list.corrects is 'Event id, of the same source, of the usage that it corrects.';
comment on column postmeter.correction_list.corrected_usage_id is 'The usage that it corrects; null: that was dropped with its month.';
comment on column postmeter.correction_list.org is 'The org.';
comment on column postmeter.correction_list.account is 'Which marketplace account, where the org has several.';
comment on column postmeter.correction_list.product is 'The product.';
comment on column postmeter.correction_list.metric is 'The metric.';
comment on column postmeter.correction_list.quantity is 'Units of the metric, below zero.';
comment on column postmeter.correction_list.hour is 'The hour of the usage that it corrects: there it counts.';
comment on column postmeter.correction_list.recorded_at is 'When it was recorded.';
comment on column postmeter.correction_list.whereabouts is 'waiting, held, exempt, written_off or allocated.';
comment on column postmeter.correction_list.effect is 'counted: it has lowered its meter; waiting: it will, once its usage is counted; none: its usage is exempt or was given up, so there is nothing to lower.';
comment on column postmeter.correction_list.reason is 'Why it is held.';
comment on column postmeter.correction_list.destination is 'Where its usage is owed, if that is known.';
comment on column postmeter.correction_list.delivery_id is 'The remittance that counts, or counted, the usage that it corrects.';
grant select on postmeter.correction_list to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (42, '0042_pre_corrections');
