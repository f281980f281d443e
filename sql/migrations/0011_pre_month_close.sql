-- 0011_pre_month_close: closing a billing month, what it leaves open, and recalculating it from usage.
-- programs: from 0011
-- lock: none

create view postmeter.month_close as
with item as (
    -- what was billed, by where its remittance stands; a part counts in its own month
    select m.destination_id, m.month, d.status as class, d.reason, m.id as meter_id, m.buyer, m.dimension,
           null::text as org, d.product, null::text as metric, count(distinct d.id) as items, sum(c.to_bill) as quantity, 'billing' as unit,
           1::bigint as numerator, 1::bigint as denominator
    from postmeter.cut c
    join postmeter.delivery d on d.id = c.delivery_id
    join postmeter.meter m on m.id = c.meter_id
    where c.to_bill > 0 and d.status not in ('nothing_due', 'open', 'released')
    group by m.id, d.status, d.reason, d.product
    union all
    select m.destination_id, m.month, 'open' as class, null as reason, m.id as meter_id, m.buyer, m.dimension, null as org, mm.product,
           mm.metric, count(distinct d.id) as items, sum(a.quantity) as quantity, 'metric' as unit,
           mm.factor_numerator as numerator, mm.factor_denominator as denominator
    from postmeter.open_hour o
    join postmeter.delivery d on d.id = o.delivery_id
    join postmeter.allocation a on a.delivery_id = d.id and a.round = d.round
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    group by m.id, mm.id
    union all
    select h.destination_id, postmeter.month_of(h.hour, coalesce(t.zone, 'UTC')) as month, 'held_usage' as class, h.reason,
           null as meter_id, null as buyer, x.name as dimension, h.org, h.product, h.metric, count(*) as items, sum(h.quantity) as quantity,
           'metric' as unit, x.factor_numerator as numerator, x.factor_denominator as denominator
    from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    left join lateral (
        select x.name, x.factor_numerator, x.factor_denominator from postmeter.dimension x
        where x.destination_id = h.destination_id and x.product = h.product and x.metric = h.metric
          and x.valid_from <= postmeter.month_of(h.hour, t.zone)
        order by x.valid_from desc limit 1
    ) x on true
    group by 1, 2, 4, 7, 8, 9, 10, 14, 15
    union all
    select null as destination_id, postmeter.month_of(postmeter.hour_of(o.used_at), 'UTC') as month, 'waiting' as class, null as reason,
           null as meter_id, null as buyer, null as dimension, o.org, o.product, o.metric, count(*) as items, sum(o.quantity) as quantity,
           'metric' as unit, null as numerator, null as denominator
    from postmeter.outbox o
    group by 2, 8, 9, 10
    union all
    select l.destination_id, l.month, v.class, null as reason, l.id as meter_id, l.buyer, l.dimension, null as org, p.product,
           null as metric, 1 as items, v.quantity, 'billing' as unit, 1 as numerator, 1 as denominator
    from (
        select m.id, m.destination_id, m.month, m.buyer, m.dimension, m.carried, m.billable, m.denominator,
               greatest(0, m.billed - postmeter.round_units(m.carried + m.billed * m.denominator, m.denominator,
                    case when m.month_end = 'round_up' then 'up' else m.rounding end, m.decimals)) as over_billed
        from postmeter.meter m
        where m.carried <> 0 or m.billable > 0
    ) l
    cross join lateral (select min(mm.product) as product from postmeter.meter_metric mm where mm.meter_id = l.id) p
    cross join lateral (values ('over_billed', l.over_billed), ('released', l.billable),
        ('remainder', round(greatest(0, l.carried / l.denominator - l.billable), 15))) v(class, quantity)
    where v.quantity > 0
)
select t.name as destination, i.month, c.closed_at is not null as closed, c.closed_at, i.class, i.reason, i.meter_id, i.buyer,
       i.org, i.product, i.metric, i.dimension, i.items, trim_scale(i.quantity) as quantity, i.unit,
       trim_scale(round(i.quantity * i.numerator * p.unit_price / i.denominator, 15)) as amount, p.currency,
       t.shadow_of is not null as shadow
from item i
left join postmeter.destination t on t.id = i.destination_id
left join postmeter.closed_month c on c.destination_id = i.destination_id and c.month = i.month
left join lateral (
    select x.unit_price, x.currency from postmeter.dimension x
    where x.destination_id = i.destination_id and x.name = i.dimension and x.product = i.product and x.valid_from <= i.month
    order by x.valid_from desc, x.id limit 1
) p on true;
comment on view postmeter.month_close is
    'What a month came to, per destination: counts, quantities and amounts by class (the statuses of remittances; held_usage, waiting, released, remainder, over_billed), closed or not. Credit that no later usage took is over_billed: listed, never sent as negative. A row has one currency at most; amount null: unpriced. Destination null: no destination is known yet, and the month is that of UTC. A shadow''s rows bear its name and the mark shadow; what it did not count is in shadow_usage.';

create function postmeter.month_last_deadline(destination text, month date) returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_destination(destination);
    select x.* into t from postmeter.destination x where x.name = month_last_deadline.destination;
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    return postmeter.deadline_of(t.id, null, ((month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour');
end
$$;
comment on function postmeter.month_last_deadline(text, date) is
    'Until when the last hour of a month can be sent. Refuses an unknown destination (PM033) and a day that begins no month (PM036).';

create function postmeter.close_report(destination text, month date)
returns table (class text, reason text, meter_id bigint, buyer text, org text, product text, metric text, dimension text,
               items bigint, quantity numeric, unit text, amount numeric, currency text, to_do text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select v.class, v.reason, v.meter_id, v.buyer, v.org, v.product, v.metric, v.dimension, v.items, v.quantity, v.unit, v.amount, v.currency,
           case
               when v.class = 'held_usage' and v.reason = 'month_closed' then 'write it off, or reopen the month'
               when v.class = 'held_usage' and v.destination is null then 'mend the catalogue or write it off; no destination is known, so every destination lists it'
               when v.class = 'held_usage' and v.reason = 'too_late' then 'write it off'
               when v.class = 'held_usage' then 'mend its cause before closing, or write it off'
               when v.class = 'waiting' then 'let workers fold it before closing; no destination is known yet, so every destination lists it'
               when v.class = 'open' then 'wait for the cut: it is sent, or expires'
               when v.class in ('due', 'in_flight') then 'wait until it is settled'
               when v.class = 'unknown' then 'look at the marketplace, then resolve it'
               when v.class = 'conflict' then 'resolve it, or write it off'
               when v.class = 'held' then 'retry it or write it off; resolve it first if it may have been billed'
               when v.class in ('rejected', 'expired') then 'release it before closing where an hour can take it, else write it off'
               when v.class = 'released' then 'no hour has taken it: reopen the month while one can, or accept the loss'
               when v.class = 'remainder' then 'nothing: less than what can be billed, by the dimension''s rounding'
               when v.class = 'over_billed' then 'credit the customer by hand; nothing negative is ever sent'
           end
    from postmeter.month_close v
    where (v.destination = close_report.destination or v.destination is null) and v.month = close_report.month
      and v.class not in ('accepted', 'written_off', 'dry_run')
    order by array_position(array['waiting', 'held_usage', 'open', 'due', 'in_flight', 'unknown', 'conflict', 'held', 'rejected', 'expired',
                                  'released', 'over_billed', 'remainder'], v.class),
             v.reason, v.org, v.buyer, v.product, v.metric, v.dimension
$$;
comment on function postmeter.close_report(text, date) is
    'Open items of a month at a destination, closed or not: where they are, whose, how much, and what to do. Quantities in billing units or units of the metric, as unit says.';

create function postmeter.close_month(destination text, month date, who text, why text, dry_run boolean default true, forced boolean default false)
returns table (class text, reason text, meter_id bigint, buyer text, org text, product text, metric text, dimension text,
               items bigint, quantity numeric, unit text, amount numeric, currency text, to_do text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    until timestamptz := postmeter.month_last_deadline(close_month.destination, close_month.month);
    t     postmeter.destination;
    made  bigint;
begin
    perform postmeter.check_decider(who, why);
    if dry_run is not false then
        return query select r.* from postmeter.close_report(close_month.destination, close_month.month) r;
        return;
    end if;
    select x.* into t from postmeter.destination x where x.name = close_month.destination;
    -- folds, releases and whatever else opens an hour have passed the gate, or wait and then find the month closed
    perform pg_advisory_xact_lock(hashtextextended('postmeter.closed_month', 0));
    if not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = close_month.month) then
        if until >= postmeter.clock() and not coalesce(forced, false) then
            raise exception 'hours of % can still be sent to % until %', to_char(close_month.month, 'YYYY-MM'), close_month.destination, until
                using errcode = 'PM035', schema = 'postmeter', table = 'closed_month', column = 'month', constraint = 'month_still_sendable',
                      hint = 'Close it after that, or say forced => true: what is not folded by then is held.';
        end if;
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'close', t.id, 'open', 'closed', jsonb_build_object('month', close_month.month, 'forced', coalesce(forced, false)))
        returning id into made;
        insert into postmeter.closed_month (destination_id, month, decision_id) values (t.id, close_month.month, made);
    end if;
    return query select r.* from postmeter.close_report(close_month.destination, close_month.month) r;
end
$$;
comment on function postmeter.close_month(text, date, text, text, boolean, boolean) is
    'Closes a month at a destination and returns its open items. From then on its usage is held (month_closed) and nothing is carried into its hours; what was cut or allocated before goes on. Refused while hours of it can still be sent (PM035), unless forced. Closing twice changes nothing. Dry run unless told otherwise.';

create function postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean default true)
returns table (usages bigint, org text, product text, metric text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    returning_ids uuid[];
    t             postmeter.destination;
begin
    perform postmeter.month_last_deadline(reopen_month.destination, reopen_month.month);
    perform postmeter.check_decider(who, why);
    perform pg_advisory_xact_lock(hashtextextended('postmeter.closed_month', 0));
    select x.* into t from postmeter.destination x where x.name = reopen_month.destination;
    returning_ids := array(select h.usage_id from postmeter.held h
                           where h.reason = 'month_closed' and h.destination_id = t.id
                             and postmeter.month_of(h.hour, t.zone) = reopen_month.month for update);
    return query
    select count(*), h.org, h.product, h.metric, trim_scale(sum(h.quantity)) from postmeter.held h
    where h.usage_id = any (returning_ids) group by 2, 3, 4 order by 2, 3, 4;
    if dry_run is not false then
        return;
    end if;
    delete from postmeter.closed_month c where c.destination_id = t.id and c.month = reopen_month.month;
    if found then
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'reopen', t.id, 'closed', 'open',
                jsonb_build_object('month', reopen_month.month, 'returned', coalesce(cardinality(returning_ids), 0)));
    end if;
    perform postmeter.return_held(returning_ids);
end
$$;
comment on function postmeter.reopen_month(text, date, text, text, boolean) is
    'Opens a closed month again: what was held as month_closed goes back to the outbox. Returns how much that is. Dry run unless told otherwise.';

create function postmeter.recalculate(destination text, month date)
returns table (buyer text, dimension text, meter_id bigint, denominator numeric, org text, product text, metric text,
               part text, reason text, quantity numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp set work_mem = '128MB' set jit = off set enable_nestloop = off -- no statistics for CTEs: nested loops went quadratic
as $$
#variable_conflict use_column
declare
    t       postmeter.destination;
    began   timestamptz;
    ended   timestamptz;
    first   uuid := '00000000-0000-0000-0000-000000000000';
    others  integer[];
begin
    perform postmeter.month_last_deadline(recalculate.destination, recalculate.month);
    perform postmeter.check_ledger_kept(recalculate.destination, recalculate.month);
    select x.* into t from postmeter.destination x where x.name = recalculate.destination;
    -- usage is with one live destination, and with each shadow: these look at different allocations
    others := array(select x.id from postmeter.destination x
                    where case when t.shadow_of is null then x.shadow_of is not null else x.id <> t.id end);
    began := recalculate.month::timestamp at time zone t.zone;
    ended := (recalculate.month + interval '1 month')::timestamp at time zone t.zone;
    -- an id is as old as its recording, and no usage is recorded before it is used by more than the lead: older
    -- partitions are not read. Where the clock may move, ids tell nothing.
    select case when s.purpose = 'production' then postmeter.id_at(began - s.usage_lead_max - interval '1 day') else first end
    into first from postmeter.setting s;
    return query
    with boundary as materialized (
        -- hours of the month at which the catalogue begins to say something else about an org
        select b.org, array_agg(distinct b.hour) as hours
        from (select s.org, unnest(array[s.valid_from, s.valid_until]) as hour from postmeter.subscription s
              union all
              select e.org, unnest(array[e.valid_from, e.valid_until]) from postmeter.exemption e) b
        where b.hour > began and b.hour < ended
        group by 1
    ), covered_kind as materialized (
        select distinct o.org, o.product, c.metric
        from postmeter.cover c
        join postmeter.subscription s on s.id = c.subscription_id
        join postmeter.subscription o on o.destination_id = s.destination_id and o.buyer = s.buyer and o.product = s.product
        where s.destination_id = t.id
    ), open_now as materialized (
        select d.id, d.round from postmeter.delivery d where d.destination_id = t.id and d.status = 'open'
    ), told_of as materialized (
        -- when a shadow was told last of whom it shadows: what was recorded before may not have been given to it
        select c.new_row ->> 'org' as org, c.new_row ->> 'product' as product, max(c.changed_at) as changed_at
        from postmeter.catalogue_change c
        where t.shadow_of is not null and c.entry = 'subscription' and c.new_row ->> 'destination_id' = t.id::text
        group by 1, 2
    ), found as materialized (
        select u.org, u.product, u.metric, coalesce(u.account, '') as account,
               case when b.org is null then began else (select coalesce(max(h), began) from unnest(b.hours) h where h <= u.used_at) end as since,
               case when c.org is not null then postmeter.hour_of(u.used_at) end as hour,
               case when t.shadow_of is null and num_nonnulls(a.usage_id, h.usage_id, w.id, x.usage_id, g.usage_id) > 1
                         or num_nonnulls(a.usage_id, v.usage_id) > 1 then 'twice'
                    when a.destination_id <> t.id then 'elsewhere'
                    when a.usage_id is not null then case when o.id is not null then 'open_hour' else 'counted' end
                    when v.usage_id is not null then
                        case when v.reason is null then 'waiting' when v.reason = 'exempt' then 'exempt' else 'held_usage' end
                    when t.shadow_of is not null then
                        case when x.usage_id is not null then 'exempt' when not w.returned then 'waiting'
                             when u.recorded_at <= n.changed_at then 'not_given' else 'nowhere' end
                    when h.usage_id is not null then 'held_usage'
                    when w.id is not null then 'waiting'
                    when x.usage_id is not null then 'exempt'
                    when g.usage_id is not null then 'written_off_usage'
                    else 'nowhere' end as place,
               case when t.shadow_of is null then h.reason else nullif(v.reason, 'exempt') end as reason, case when a.destination_id = t.id then a.meter_metric_id end as meter_metric_id, u.quantity < 0 as corrects,
               sum(u.quantity) as quantity, sum(a.quantity) - sum(u.quantity) as differs
        from postmeter.usage u
        left join postmeter.allocation a on a.usage_id = u.id and a.destination_id <> all (others)
        left join postmeter.shadow_usage v on v.usage_id = u.id and v.destination_id = t.id
        left join told_of n on n.org = u.org and n.product = u.product
        left join open_now o on o.id = a.delivery_id and o.round = a.round
        left join postmeter.held h on h.usage_id = u.id
        left join postmeter.outbox w on w.id = u.id
        left join postmeter.exempted x on x.usage_id = u.id
        left join postmeter.usage_written_off g on g.usage_id = u.id
        left join boundary b on b.org = u.org
        left join covered_kind c on c.org = u.org and c.product = u.product and c.metric = u.metric
        where u.used_at >= began and u.used_at < ended and u.id >= first
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    ), kind as materialized (
        select k.*, row_number() over () as item from (select distinct f.org, f.product, f.metric, f.account, f.since from found f) k
    ), resolved as materialized (
        select k.org, k.product, k.metric, k.account, k.since, r.buyer, d.name as dimension, r.destination_id,
               -- usage that the catalogue calls exempt by now belongs to no meter
               r.destination_id = t.id and r.buyer is not null and d.id is not null and r.exemption_id is null as mapped,
               d.factor_numerator, d.factor_denominator, d.rounding, d.decimals, d.month_end
        from (select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                     array_agg(nullif(k.account, '') order by k.item) a, array_agg(k.since order by k.item) h from kind k) g,
             postmeter.resolve(g.o, g.p, g.m, g.a, g.h, case when t.shadow_of is not null then t.id end) r
        join kind k on k.item = r.item
        left join postmeter.dimension d on d.id = r.dimension_id
    ), ledger as materialized (
        select m.id as meter_id, m.buyer, m.dimension, m.rounding, m.decimals, m.month_end, mm.id, mm.product, mm.metric,
               mm.factor_numerator, mm.factor_denominator, mm.used, mm.covered
        from postmeter.meter m join postmeter.meter_metric mm on mm.meter_id = m.id
        where m.destination_id = t.id and m.month = recalculate.month
    ), placed as materialized (
        select f.org, f.product, f.metric, f.hour, f.place, f.reason, f.meter_metric_id, f.corrects, f.quantity, f.differs,
               coalesce(r.mapped, false) as mapped, r.buyer, r.dimension, l.id is not null as here,
               l.buyer as old_buyer, l.dimension as old_dimension, l.product as old_product, l.metric as old_metric,
               r.mapped and l.id is not null
                   and (r.buyer, r.dimension, f.product, f.metric) = (l.buyer, l.dimension, l.product, l.metric) as same
        from found f
        join resolved r on r.org = f.org and r.product = f.product and r.metric = f.metric and r.account = f.account and r.since = f.since
        left join ledger l on l.id = f.meter_metric_id
        -- usage of another destination, wherever it is, is not ours to explain
        where r.destination_id = t.id or f.meter_metric_id is not null or (r.destination_id is null and f.place <> 'elsewhere'
                                                                            and (t.shadow_of is null or f.place = 'held_usage'))
    ), told as materialized (
        -- per meter and metric, in its units: used and corrected are the usage; the other parts say where it is
        select p.buyer, p.dimension, p.product, p.metric, case when p.corrects then 'corrected' else 'used' end as part, null::text as reason, p.quantity
        from placed p where p.mapped
        union all
        select p.buyer, p.dimension, p.product, p.metric,
               case when p.place in ('nowhere', 'twice') then 'unexplained' when p.place in ('counted', 'open_hour', 'elsewhere') then 'catalogue_changed' else p.place end,
               case p.place when 'nowhere' then 'usage that is nowhere' when 'twice' then 'usage that is in two places'
                            when 'counted' then 'counted on another meter' when 'open_hour' then 'counted on another meter'
                            when 'elsewhere' then 'counted at another destination' else p.reason end, p.quantity
        from placed p where p.mapped and not coalesce(p.same, false)
        union all
        select p.old_buyer, p.old_dimension, p.old_product, p.old_metric, case p.place when 'twice' then 'unexplained' else p.place end,
               case p.place when 'twice' then 'usage that is in two places' end, p.quantity
        from placed p where p.here
        union all
        select p.old_buyer, p.old_dimension, p.old_product, p.old_metric, 'catalogue_changed', 'no longer of this meter', -p.quantity
        from placed p where p.here and not coalesce(p.same, false)
    ), faults as (
        select p.meter_metric_id as id, 'an allocation says another quantity than its usage' as reason, sum(p.differs) as quantity
        from placed p where p.here group by 1
        union all
        select l.id, 'the meter counted other than its usage says', l.used - coalesce(c.quantity, 0)
        from ledger l
        left join (select p.meter_metric_id, sum(p.quantity) as quantity from placed p where p.place in ('counted', 'twice') group by 1) c
          on c.meter_metric_id = l.id
    ), metric_rows as materialized (
        select k.buyer, k.dimension, k.product, k.metric, k.part, k.reason, sum(k.quantity) as quantity
        from told k group by 1, 2, 3, 4, 5, 6
        union all
        select l.buyer, l.dimension, l.product, l.metric, 'unexplained', f.reason, f.quantity
        from faults f join ledger l on l.id = f.id where f.quantity <> 0
    ), hours as materialized (
        select p.buyer, p.dimension, p.product, p.metric, p.hour, sum(sum(p.quantity)) over (
                   partition by p.buyer, p.dimension, p.product, p.metric order by p.hour) as used
        from placed p where p.mapped and p.hour is not null
        group by 1, 2, 3, 4, 5
    ), cover_now as materialized (
        -- covered := min(T, max(covered, C)) from hour to hour comes to the greatest C that later corrections leave room for
        select h.buyer, h.dimension, h.product, h.metric, max(least(h.cover, h.lowest)) as covered
        from (select h.buyer, h.dimension, h.product, h.metric, h.hour, coalesce(sum(c.quantity), 0) as cover,
                     min(min(h.used)) over (partition by h.buyer, h.dimension, h.product, h.metric order by h.hour
                                            rows between current row and unbounded following) as lowest
              from hours h
              left join (postmeter.subscription s join postmeter.cover c on c.subscription_id = s.id)
                on s.destination_id = t.id and s.buyer = h.buyer and s.product = h.product and c.metric = h.metric
               and s.valid_from <= h.hour and (s.valid_until is null or h.hour < s.valid_until)
              group by 1, 2, 3, 4, 5) h
        group by 1, 2, 3, 4
    ), factor as materialized (
        select f.buyer, f.dimension, f.product, f.metric,
               coalesce(max(f.numerator) filter (where f.is_now), max(f.numerator)) as numerator,
               coalesce(max(f.denominator) filter (where f.is_now), max(f.denominator)) as denominator,
               coalesce(max(f.numerator) filter (where not f.is_now), max(f.numerator)) as old_numerator,
               coalesce(max(f.denominator) filter (where not f.is_now), max(f.denominator)) as old_denominator
        from (select distinct r.buyer, r.dimension, r.product, r.metric, r.factor_numerator as numerator, r.factor_denominator as denominator, true as is_now
              from resolved r where r.mapped
              union all
              select l.buyer, l.dimension, l.product, l.metric, l.factor_numerator, l.factor_denominator, false from ledger l) f
        group by 1, 2, 3, 4
    ), common as materialized (
        select f.buyer, f.dimension, lcm(postmeter.lcm_of(f.denominator), postmeter.lcm_of(f.old_denominator))::numeric as denominator
        from factor f group by 1, 2
    ), unit as materialized (
        select f.*, c.denominator as d, f.numerator * (c.denominator / f.denominator) as units,
               f.old_numerator * (c.denominator / f.old_denominator) as old_units
        from factor f join common c on c.buyer = f.buyer and c.dimension = f.dimension
    ), rounding as materialized (
        select c.buyer, c.dimension, c.denominator, m.id as meter_id, m.billed, m.carried * (c.denominator / m.denominator) as carried,
               m.billable * c.denominator as billable, coalesce(n.decimals, m.decimals) as decimals,
               case when coalesce(n.month_end, m.month_end) = 'round_up'
                         and least(ended, (select case when bool_and(s.valid_until is not null) then max(s.valid_until) end
                                           from postmeter.subscription s where s.destination_id = t.id and s.buyer = c.buyer)) <= postmeter.clock()
                    then 'up' else coalesce(n.rounding, m.rounding) end as rounding,
               case when m.month_end = 'round_up' then 'up' else m.rounding end as most, m.decimals as old_decimals
        from common c
        left join postmeter.meter m on m.destination_id = t.id and m.month = recalculate.month and m.buyer = c.buyer and m.dimension = c.dimension
        left join (select r.buyer, r.dimension, max(r.rounding) as rounding, max(r.decimals) as decimals, max(r.month_end) as month_end
                   from resolved r where r.mapped group by 1, 2) n on n.buyer = c.buyer and n.dimension = c.dimension
    ), billed as materialized (
        select c.meter_id, d.status, d.reason, sum(c.to_bill) as quantity
        from postmeter.cut c
        join postmeter.delivery d on d.id = c.delivery_id and d.status <> 'released'
        where c.meter_id in (select l.meter_id from ledger l) and c.to_bill > 0
        group by 1, 2, 3
    ), usage_units as (
        select k.buyer, k.dimension,
               sum(k.quantity * u.units) filter (where k.part in ('used', 'corrected')) as used
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product and u.metric = k.metric
        group by 1, 2
    ), ledger_units as (
        select l.buyer, l.dimension, sum((l.used - l.covered) * u.old_units) as units
        from ledger l join unit u on u.buyer = l.buyer and u.dimension = l.dimension and u.product = l.product and u.metric = l.metric
        group by 1, 2
    ), cover_units as (
        select u.buyer, u.dimension, sum(coalesce(c.covered, 0) * u.units) as now, sum(coalesce(l.covered, 0) * u.old_units) as before
        from unit u
        left join cover_now c on c.buyer = u.buyer and c.dimension = u.dimension and c.product = u.product and c.metric = u.metric
        left join ledger l on l.buyer = u.buyer and l.dimension = u.dimension and l.product = u.product and l.metric = u.metric
        group by 1, 2
    ), total as materialized (
        select r.buyer, r.dimension, r.meter_id, r.denominator, r.carried, r.billable, r.decimals,
               coalesce(w.used, 0) - c.now as units, c.now as covered, c.before - c.now as cover_changed,
               greatest(0, coalesce(postmeter.round_units(coalesce(w.used, 0) - c.now, r.denominator, r.rounding, r.decimals), 0)) * r.denominator as should,
               coalesce(greatest(0, r.billed - postmeter.round_units(l.units, r.denominator, r.most, r.old_decimals)), 0) * r.denominator as over_billed
        from rounding r
        left join usage_units w on w.buyer = r.buyer and w.dimension = r.dimension
        left join ledger_units l on l.buyer = r.buyer and l.dimension = r.dimension
        left join cover_units c on c.buyer = r.buyer and c.dimension = r.dimension
    ), meter_rows as materialized (
        -- per meter, in billing units x denominator: should is the sum of the other parts
        select x.buyer, x.dimension, 'should' as part, null::text as reason, x.should as quantity from total x
        union all
        select x.buyer, x.dimension, b.status, b.reason, b.quantity * x.denominator from billed b join total x on x.meter_id = b.meter_id
        union all
        select k.buyer, k.dimension, k.part, k.reason, sum(k.quantity * u.units)
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product and u.metric = k.metric
        where k.part in ('waiting', 'not_given', 'open_hour', 'held_usage', 'written_off_usage', 'exempt', 'catalogue_changed')
        group by 1, 2, 3, 4
        union all
        select k.buyer, k.dimension, 'catalogue_changed', 'another factor', sum(k.quantity * (u.units - u.old_units))
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product and u.metric = k.metric
        where k.part = 'counted'
        group by 1, 2
        union all
        select x.buyer, x.dimension, 'cover_changed', null, x.cover_changed from total x
        union all
        select x.buyer, x.dimension, 'released', null, x.billable from total x
        union all
        select x.buyer, x.dimension, 'credit', null, -x.over_billed from total x
        union all
        -- at most one step of what can be billed: more than that would be no rounding
        select y.buyer, y.dimension, case when y.is_rounding then 'below_one_unit' else 'unexplained' end,
               case when not y.is_rounding then 'more than rounding' end, y.below
        from (select x.*, b.below, abs(b.below) <= x.denominator * (0.1 ^ x.decimals)::numeric(20, 15) as is_rounding
              from total x, lateral (select coalesce(x.carried - x.billable, 0) + x.should - x.units + x.over_billed as below) b) y
    ), every as (
        select k.buyer, k.dimension, null::text as org, k.product, k.metric, k.part, k.reason, k.quantity from metric_rows k
        union all
        select null, null, p.org, p.product, p.metric, v.part, v.reason, sum(p.quantity)
        from placed p
        cross join lateral (values (case when p.corrects then 'corrected' else 'used' end, null),
            (case when p.place in ('nowhere', 'twice') then 'unexplained' else p.place end,
             case p.place when 'nowhere' then 'usage that is nowhere' when 'twice' then 'usage that is in two places' else p.reason end)) v(part, reason)
        where not p.mapped and not p.here
        group by 3, 4, 5, 6, 7
        union all
        select k.buyer, k.dimension, null, null, null, k.part, k.reason, k.quantity from meter_rows k
        union all
        select k.buyer, k.dimension, null, null, null, 'unexplained', 'the bill',
               sum(k.quantity) filter (where k.part = 'should') - coalesce(sum(k.quantity) filter (where k.part <> 'should'), 0)
        from meter_rows k group by 1, 2
    )
    select e.buyer, e.dimension, x.meter_id, case when e.metric is null then x.denominator end, e.org, e.product, e.metric, e.part, e.reason, trim_scale(e.quantity)
    from every e
    left join total x on x.buyer = e.buyer and x.dimension = e.dimension
    where e.quantity <> 0 or e.part in ('used', 'should')
    order by e.buyer, e.dimension, e.metric is not null, e.org, e.product, e.metric,
             array_position(array['should', 'used', 'corrected', 'counted'], e.part), e.part, e.reason;
end
$$;
comment on function postmeter.recalculate(text, date) is
    'A month from its usage, by the catalogue as it is now, against what was billed. Rows with a metric are usage in its units: used and corrected, and the parts that say where it is. Rows without a metric are a meter''s bill in billing units x denominator: should, and the parts that it is made of. A row unexplained (there should be none) says what does not add up. Of a shadow, not_given is what was recorded before it was told of that buyer.';

revoke execute on all functions in schema postmeter from public;
grant select on postmeter.month_close to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.month_gate() to postmeter_worker;
grant execute on function postmeter.month_last_deadline(text, date), postmeter.close_report(text, date), postmeter.recalculate(text, date)
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.close_month(text, date, text, text, boolean, boolean),
    postmeter.reopen_month(text, date, text, text, boolean)
    to postmeter_operator;

insert into postmeter.migration (version, name) values (11, '0011_pre_month_close');
