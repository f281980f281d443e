-- 0048_pre_recount: what was refused for a mistaken catalogue is counted again by today's, in its own hour.
-- programs: from 0022
-- lock: access exclusive on decision, grows with its rows: its verbs get one more, and each row is checked
-- lock: access exclusive on dead_letter, for a moment: a view that says more
-- lock: share row exclusive on allocation, for a moment: its trigger lets a recount move usage

-- each release may have added verbs: this one comes to whatever there is
do $$
declare
    known text[];
begin
    select array_agg(m[1]) into known
    from pg_catalog.pg_constraint c, regexp_matches(pg_catalog.pg_get_constraintdef(c.oid), '''([a-z_]+)''', 'g') m
    where c.conrelid = 'postmeter.decision'::regclass and c.conname = 'decision_verb_check';
    execute format('alter table postmeter.decision drop constraint decision_verb_check, '
                   'add constraint decision_verb_check check (verb in (%s))',
                   (select string_agg(quote_literal(v), ', ') from unnest(known || '{recount}'::text[]) v));
end
$$;

comment on column postmeter.decision.verb is 'retry, release, recount, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue), retain (for how long the ledger is kept), export and drop (a month of the ledger), set_alert (a rule of the alerts), judge (a contradiction), declare (what this database is).';
comment on column postmeter.decision_log.verb is 'retry, release, recount, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue over HTTP), retain, export, drop, set_alert, judge, declare.';

-- An allocation says where its usage is counted now. A recount moves it; where it was before, recounted says.
create or replace trigger append_only before update or delete or truncate on postmeter.allocation
    for each statement when (current_setting('postmeter.ends_allocations', true) is distinct from 'on')
    execute function postmeter.forbid_change();
comment on table postmeter.allocation is 'Which remittance counts a usage, per destination, for ever. Written by fold; ended by a changed catalogue while its hour is open; moved by recount, which leaves a row in recounted.';
comment on column postmeter.cut.round is 'Of the remittance''s cuts, from 0; below zero: no cut. What was written off less what corrections had taken from it, and what recounts took back.';
comment on column postmeter.cut.to_bill is 'Billing units that this cut adds: max(0, R(units / D) - billed before). Below zero where round is: corrected before it was written off, or taken back by a recount.';

create table postmeter.recounted (
    decision_id            bigint  not null,
    delivery_id            bigint  not null,
    meter_metric_id        bigint  not null,
    subscription_id        bigint  not null,
    target_delivery_id     bigint,
    target_meter_metric_id bigint,
    exemption_id           bigint,
    is_late                boolean not null,
    usages                 bigint  not null,
    quantity               numeric not null,
    constraint recounted_target check (num_nonnulls(target_delivery_id, exemption_id) = 1
                                       and (target_delivery_id is null) = (target_meter_metric_id is null))
);
create index recounted_by_delivery on postmeter.recounted (delivery_id);
create index recounted_by_target on postmeter.recounted (target_delivery_id);
create trigger append_only before update or delete or truncate on postmeter.recounted
    for each statement execute function postmeter.forbid_change();
comment on table postmeter.recounted is 'Usage that recounts moved: how much of it, and from which remittance to which. Append-only.';
comment on column postmeter.recounted.decision_id is 'The decision.';
comment on column postmeter.recounted.delivery_id is 'The remittance that counted it.';
comment on column postmeter.recounted.meter_metric_id is 'The meter and metric on which it was counted.';
comment on column postmeter.recounted.subscription_id is 'The subscription by which it was counted.';
comment on column postmeter.recounted.target_delivery_id is 'The remittance that counts it now; null: it is exempt by now.';
comment on column postmeter.recounted.target_meter_metric_id is 'The meter and metric on which it counts now.';
comment on column postmeter.recounted.exemption_id is 'The exemption, if it is exempt by now.';
comment on column postmeter.recounted.is_late is 'It counts as late usage: its own hour was in the way of something.';
comment on column postmeter.recounted.usages is 'How many usages.';
comment on column postmeter.recounted.quantity is 'Their quantity in units of the metric.';
grant select on postmeter.recounted to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

-- what moves together -------------------------------------------------------------------------------------------------

create function postmeter.recount_sources(delivery bigint) returns table (delivery_id bigint)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with recursive given as (
        select recount_sources.delivery as id
        union
        -- quantity that a release gave to it
        select c.delivery_id
        from given g
        join postmeter.decision c on c.target_delivery_id = g.id and c.verb = 'release'
        join postmeter.delivery d on d.id = c.delivery_id and d.status = 'released'
        where c.id = (select max(x.id) from postmeter.decision x where x.delivery_id = c.delivery_id and x.verb = 'release')
    ), meters as materialized (
        select distinct k.meter_id from postmeter.cut k where k.delivery_id in (select g.id from given g)
    ), kept as materialized (
        -- what each of the meters has billed last, and keeps
        select b.meter_id, max(b.at) as at
        from (select k.meter_id, k.delivery_id, max(k.cut_at) as at
              from postmeter.cut k
              join postmeter.delivery d on d.id = k.delivery_id and d.status <> 'released'
              where k.meter_id in (select m.meter_id from meters m) and k.delivery_id not in (select g.id from given g)
              group by 1, 2 having sum(k.to_bill) > 0) b
        group by 1
    )
    select g.id from given g
    union
    -- hours that had nothing to bill: what they carried, or covered, is in what was refused
    select d.id
    from meters m
    join postmeter.cut k on k.meter_id = m.meter_id and k.round >= 0
    join postmeter.delivery d on d.id = k.delivery_id and d.status = 'nothing_due'
    left join kept b on b.meter_id = m.meter_id
    where b.at is null or k.cut_at > b.at
$$;
comment on function postmeter.recount_sources(bigint) is
    'The remittances whose usage a recount of one may move: itself, those that releases gave to it, and the hours since its meters billed anything else, which had nothing to bill: their remainder and cover move along where their contract is another one by now.';
revoke execute on function postmeter.recount_sources(bigint) from public;

create function postmeter.recount_ways(sources bigint[])
returns table (delivery_id bigint, destination_id integer, hour timestamptz, subscription_id bigint, meter_metric_id bigint,
               org text, metric text, usages uuid[], quantity numeric, to_destination integer, to_subscription bigint,
               to_buyer text, to_identity jsonb, to_product text, to_dimension_id bigint, to_dimension text, to_exemption bigint,
               to_contract text, key_month date, month date, reason text, changes boolean)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with counted as materialized (
        select a.delivery_id, a.subscription_id, a.meter_metric_id, a.hour, a.usage_id, a.quantity, u.org, u.product, u.metric,
               coalesce(o.account, u.account) as account,
               postmeter.resolved_at(u.org, u.product, coalesce(o.used_at, u.used_at)) as at
        from postmeter.delivery d
        join postmeter.allocation a on a.delivery_id = d.id and a.destination_id = d.destination_id
        join postmeter.usage u on u.id = a.usage_id
        -- a correction goes with what it corrects
        left join lateral (
            select x.account, x.used_at
            from postmeter.usage_identity i join postmeter.usage x on x.id = i.usage_id
            where i.identity = u.corrected_identity offset 0) o on u.corrected_identity is not null
        where d.id = any (sources)
    ), kind as materialized (
        select k.*, row_number() over () as item
        from (select distinct c.org, c.product, c.metric, c.account, c.at from counted c) k
    ), resolved as materialized (
        select k.org, k.product, k.metric, k.account, k.at, r.destination_id, r.subscription_id, r.buyer, r.identity,
               r.dimension_id, r.exemption_id, r.reason
        from (select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
                     array_agg(k.metric order by k.item) m, array_agg(k.account order by k.item) a,
                     array_agg(k.at order by k.item) h from kind k) g,
             postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r
        join kind k on k.item = r.item
    ), placed as materialized (
        select c.delivery_id, d.destination_id, d.hour, c.subscription_id, c.meter_metric_id, c.org, c.metric,
               array_agg(c.usage_id) as usages, sum(c.quantity) as quantity, r.destination_id as to_destination,
               r.subscription_id as to_subscription, r.buyer, r.identity, c.product, r.dimension_id, n.name as dimension,
               r.exemption_id, coalesce(k.contract, r.buyer) as contract, postmeter.month_of(d.hour, t.zone) as key_month,
               postmeter.month_of(c.hour, t.zone) as month, r.reason
        from counted c
        join postmeter.delivery d on d.id = c.delivery_id
        join resolved r on r.org = c.org and r.product = c.product and r.metric = c.metric
         and r.account is not distinct from c.account and r.at = c.at
        left join postmeter.destination t on t.id = r.destination_id
        left join postmeter.dimension n on n.id = r.dimension_id
        left join postmeter.contract_member k on k.subscription_id = r.subscription_id
         and k.month = postmeter.month_of(c.hour, t.zone)
        group by c.delivery_id, d.destination_id, d.hour, c.subscription_id, c.meter_metric_id, c.org, c.metric, r.destination_id,
                 r.subscription_id, r.buyer, r.identity, c.product, r.dimension_id, n.name, r.exemption_id, k.contract, t.zone,
                 c.hour, r.reason
    )
    select p.delivery_id, p.destination_id, p.hour, p.subscription_id, p.meter_metric_id, p.org, p.metric, p.usages, p.quantity,
           p.to_destination, p.to_subscription, p.buyer, p.identity, p.product, p.dimension_id, p.dimension, p.exemption_id,
           p.contract, p.key_month, p.month, p.reason,
           p.exemption_id is not null or x.counts_elsewhere
               or (p.to_destination, p.buyer, p.dimension, p.identity)
                  is distinct from (own.destination_id, own.buyer, own.dimension, d.identity)
    from placed p
    join postmeter.delivery d on d.id = p.delivery_id
    join postmeter.meter own on own.id = d.meter_id
    join postmeter.meter_metric mm on mm.id = p.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    cross join lateral (
        select (p.to_destination, p.contract, p.dimension, p.month)
               is distinct from (m.destination_id, m.buyer, m.dimension, m.month) as counts_elsewhere) x
    -- what had nothing to bill stays where it is, as long as its contract does
    where d.status <> 'nothing_due' or x.counts_elsewhere or p.exemption_id is not null
$$;
comment on function postmeter.recount_ways(bigint[]) is
    'What today''s catalogue says of the usage that these remittances count, by kind: the subscription, key and contract that it belongs to, or the reason why none takes it. changes: otherwise than when it was counted.';
revoke execute on function postmeter.recount_ways(bigint[]) from public;

-- what stands in the way ----------------------------------------------------------------------------------------------

create function postmeter.recount_beside(destination_id integer, buyer text, dimension text, hour timestamptz, identity jsonb,
                                         product text, contract text, sources bigint[])
returns table (delivery_id bigint, is_target boolean)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select d.id, true
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id and d.hour = recount_beside.hour
    where m.destination_id = recount_beside.destination_id and m.buyer = recount_beside.buyer
      and m.dimension = recount_beside.dimension
    union
    -- the same contract under other keys; of another form of identity in any dimension: never two forms in one hour
    select d.id, false
    from (select recount_beside.contract as buyer
          union
          select s.buyer
          from postmeter.destination t
          cross join lateral postmeter.contract_subscriptions(
              t.id, recount_beside.contract, postmeter.month_of(recount_beside.hour, t.zone)) c
          join postmeter.subscription s on s.id = c.subscription_id
          where t.id = recount_beside.destination_id
          union
          select m.buyer from postmeter.delivery x join postmeter.meter m on m.id = x.meter_id where x.id = any (sources)) b
    join postmeter.meter m on m.destination_id = recount_beside.destination_id and m.buyer = b.buyer
    join postmeter.delivery d on d.meter_id = m.id and d.hour = recount_beside.hour and d.id <> all (sources)
    where b.buyer <> recount_beside.buyer
      and (m.dimension = recount_beside.dimension
           or d.product = recount_beside.product
              and array(select k from jsonb_object_keys(d.identity) k order by k)
                  <> array(select k from jsonb_object_keys(recount_beside.identity) k order by k))
    union
    -- where its usage was before earlier recounts
    select d.id, false
    from postmeter.recounted r
    join postmeter.delivery d on d.id = r.delivery_id and d.hour = recount_beside.hour and d.id <> all (sources)
    where r.target_delivery_id = any (sources)
$$;
comment on function postmeter.recount_beside(integer, text, text, timestamptz, jsonb, text, text, bigint[]) is
    'Remittances on which it depends whether an hour of a key can take a contract''s usage of that hour: the hour of that very key (is_target), and that hour under other keys of the contract.';
revoke execute on function postmeter.recount_beside(integer, text, text, timestamptz, jsonb, text, text, bigint[]) from public;

create function postmeter.recount_obstacle(destination_id integer, buyer text, dimension text, hour timestamptz, identity jsonb,
                                           product text, contract text, sources bigint[]) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select format('remittance %s is %s%s', d.id, replace(d.status, '_', ' '),
                       case when d.maybe_billed then ' and may have been billed' else coalesce(': ' || c.why, '') end)
         from postmeter.recount_beside(recount_obstacle.destination_id, recount_obstacle.buyer, recount_obstacle.dimension,
                                       recount_obstacle.hour, recount_obstacle.identity, recount_obstacle.product,
                                       recount_obstacle.contract, recount_obstacle.sources) b
         join postmeter.delivery d on d.id = b.delivery_id
         cross join lateral (select postmeter.contradicted(d.id) as why) c
         where d.maybe_billed or c.why is not null
            or case when b.is_target then d.id <> all (sources) and d.status not in ('open', 'nothing_due', 'released')
                    else d.status in ('due', 'in_flight', 'accepted', 'unknown', 'conflict', 'dry_run', 'open') end
         order by b.is_target desc, d.id limit 1),
        case when postmeter.deadline_of(destination_id, buyer, hour) < postmeter.clock()
             then 'the hour cannot be sent any more' end)
$$;
comment on function postmeter.recount_obstacle(integer, text, text, timestamptz, jsonb, text, text, bigint[]) is
    'What keeps an hour of a key from taking a contract''s usage of that hour: a remittance of it that was, or may have been, accepted, or its deadline. Null: every attempt is proven not accepted.';
revoke execute on function postmeter.recount_obstacle(integer, text, text, timestamptz, jsonb, text, text, bigint[]) from public;

create function postmeter.recount_look(delivery bigint, filter jsonb, late boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    d       postmeter.delivery;
    w       record;
    sources bigint[] := array(select s.delivery_id from postmeter.recount_sources(recount_look.delivery) s order by 1);
    told    text;
    changes boolean := false;
    held_up text;
    late_at timestamptz;
    part    record;
begin
    select x.* into d from postmeter.delivery x where x.id = recount_look.delivery;
    if d.shadow then
        return 'is a shadow''s, and is never sent';
    elsif d.maybe_billed then
        return 'may have been billed: resolve it first';
    elsif d.status = 'conflict' then
        return 'they hold a quantity under this key: resolve it or write it off';
    elsif postmeter.delivery_counts_others(d.id, filter) then
        return 'also counts usage outside the filter: name the delivery to count all of it again';
    end if;
    -- evidence about whatever would be moved
    select case when s.id = d.id then '' else format('remittance %s, whose quantity it has, ', s.id) end || postmeter.contradicted(s.id)
    into told
    from unnest(sources) s(id) where postmeter.contradicted(s.id) is not null limit 1;
    if told is not null then
        return told;
    end if;
    perform 1 from postmeter.ledger_carry k where k.delivery_id = any (sources);
    if found then
        return 'its usage was dropped with its month of the ledger: release it or write it off';
    end if;
    for w in
        select k.delivery_id, k.destination_id, k.hour, k.org, k.metric, k.to_destination, k.to_buyer, k.to_identity, k.to_product,
               k.to_dimension, k.to_exemption, k.to_contract, k.month, k.reason, k.changes, mm.meter_id
        from postmeter.recount_ways(sources) k
        join postmeter.meter_metric mm on mm.id = k.meter_metric_id
    loop
        changes := changes or w.changes;
        if w.reason is not null then
            return format('the catalogue does not take %s of %s (%s): mend it first', w.metric, w.org, w.reason);
        elsif exists (select from postmeter.meter m
                      join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
                      where m.id = w.meter_id)
              or exists (select from postmeter.closed_month c where c.destination_id = w.to_destination and c.month = w.month) then
            return 'its month is closed: reopen the month first, or write it off';
        end if;
        continue when w.to_exemption is not null;
        held_up := postmeter.recount_obstacle(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity, w.to_product,
                                              w.to_contract, sources);
        continue when held_up is null;
        if not late then
            return format('its own hour cannot take it, for %s: settle that first, or let it count as late usage (--late)', held_up);
        end if;
        -- where the meter of its key is not there yet, nothing was sent of its month: this is asked again once it is made
        select postmeter.target_hour(m.id) into late_at
        from postmeter.meter m
        join postmeter.meter k on k.destination_id = m.destination_id and k.buyer = w.to_buyer and k.dimension = m.dimension
         and k.month = m.month
        where m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension and m.month = w.month;
        if late_at = w.hour then
            return format('its own hour cannot take it, for %s, and there is no other hour yet: say it again in an hour', held_up);
        elsif late_at is null and (found or exists (
            select from postmeter.destination t
            where t.id = w.to_destination and postmeter.deadline_of(t.id, w.to_buyer,
                ((w.month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour') < postmeter.clock())) then
            select t.late_policy = 'part' as policy, s.subscribed into part
            from postmeter.destination t
            cross join lateral (select exists (select from postmeter.subscription s
                                where s.destination_id = t.id and s.buyer = w.to_buyer and s.valid_from <= postmeter.clock()
                                  and (s.valid_until is null or postmeter.clock() < s.valid_until)) as subscribed) s
            where t.id = w.to_destination;
            if not part.policy then
                return 'no hour of its month can take it any more: write it off, or set the destination''s late_policy to part';
            elsif not part.subscribed then
                return 'no hour of its month can take it any more, and its buyer has no subscription in whose hour it could be a part: '
                    || 'write it off, or renew the subscription first';
            end if;
        end if;
    end loop;
    if not changes then
        return 'the catalogue says of it what it said when it was sent: mend the catalogue first, or retry it';
    end if;
    return null;
end
$$;
comment on function postmeter.recount_look(bigint, jsonb, boolean) is 'Why a recount leaves a remittance as it is; null: it counts its usage again.';
revoke execute on function postmeter.recount_look(bigint, jsonb, boolean) from public;

-- moving --------------------------------------------------------------------------------------------------------------

create function postmeter.recount_lock(sources bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    meters bigint[];
begin
    -- made before any lock is taken, in the order of their keys, as fold makes them
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
    select distinct on (1, 2, 3, 4)
           w.to_destination, x.buyer, w.to_dimension, x.month, coalesce(i.rounding, n.rounding),
           coalesce(i.decimals, n.decimals), coalesce(i.month_end, n.month_end)
    from postmeter.recount_ways(sources) w
    join postmeter.dimension n on n.id = w.to_dimension_id
    join postmeter.destination t on t.id = w.to_destination
    cross join lateral (select w.to_buyer, w.key_month
                        union select w.to_contract, w.month
                        union select w.to_buyer, postmeter.month_of(postmeter.clock(), t.zone) where t.late_policy = 'part') x(buyer, month)
    left join lateral postmeter.dimension_in(w.to_destination, w.to_dimension, x.month) i on true
    where w.reason is null and w.to_exemption is null
    order by 1, 2, 3, 4
    on conflict do nothing;
    insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator)
    select distinct on (1, 2, 3) m.id, n.product, n.metric, n.factor_numerator, n.factor_denominator
    from postmeter.recount_ways(sources) w
    join postmeter.dimension n on n.id = w.to_dimension_id
    join postmeter.meter m on m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension
     and m.month = w.month
    where w.reason is null and w.to_exemption is null
    order by 1, 2, 3
    on conflict do nothing;
    meters := array(
        select k.meter_id from postmeter.cut k where k.delivery_id = any (sources)
        union
        select mm.meter_id from postmeter.recount_ways(sources) w join postmeter.meter_metric mm on mm.id = w.meter_metric_id
        union
        select m.id
        from postmeter.recount_ways(sources) w
        join postmeter.meter m on m.destination_id = w.to_destination and m.dimension = w.to_dimension
         and (m.buyer = w.to_buyer and m.month >= w.key_month or (m.buyer, m.month) = (w.to_contract, w.month)));
    perform postmeter.lock_meters(array(
        select g.id from unnest(meters) g(id)
        union
        select s.other_id from unnest(meters) g(id) cross join lateral postmeter.shares_cover(g.id) s));
    perform 1 from postmeter.delivery d
    where d.id = any (sources) or d.id in (
        select b.delivery_id
        from postmeter.recount_ways(sources) w
        cross join lateral postmeter.recount_beside(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity,
                                                    w.to_product, w.to_contract, sources) b)
    order by d.id for update;
end
$$;
comment on function postmeter.recount_lock(bigint[]) is
    'Makes the meters that a recount needs, and locks them, those that count now and all remittances on which it depends: meters first, each in order.';
revoke execute on function postmeter.recount_lock(bigint[]) from public;

create function postmeter.recount_meter(meter bigint) returns void
language sql set search_path = pg_catalog, pg_temp
as $$
    update postmeter.meter m
    set carried = trim_scale(t.units - m.billed * t.denominator), denominator = t.denominator,
        -- what an hour has to take: what is owed by now, and no more than there was besides
        billable = trim_scale(greatest(
            0, postmeter.round_units(t.units, t.denominator, m.rounding, m.decimals) - m.billed,
            least(m.billable, postmeter.round_units(t.units, t.denominator,
                case when m.month_end = 'round_up' then 'up' else m.rounding end, m.decimals) - m.billed)))
    from (select k.denominator, sum((k.used - k.covered) * k.factor_numerator * (k.denominator / k.factor_denominator)) as units
          from (select mm.*, postmeter.lcm_of(mm.factor_denominator) over () as denominator
                from postmeter.meter_metric mm where mm.meter_id = recount_meter.meter) k
          group by 1) t
    where m.id = recount_meter.meter
$$;
comment on function postmeter.recount_meter(bigint) is 'Brings a locked meter''s carried and billable up to what it has used, covered and billed.';
revoke execute on function postmeter.recount_meter(bigint) from public;

create function postmeter.recount_open(meter_id bigint, hour timestamptz, identity jsonb, product text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    d      postmeter.delivery;
    opened bigint;
begin
    select x.* into d from postmeter.delivery x where x.meter_id = recount_open.meter_id and x.hour = recount_open.hour;
    if d.status is distinct from 'released' then
        opened := postmeter.open_hour_at(meter_id, hour, identity, product);
        if d.status = 'nothing_due' then
            update postmeter.delivery u set identity = recount_open.identity, product = recount_open.product where u.id = opened;
        end if;
        return opened;
    end if;
    -- its quantity was given back when it was released: what it is cut for now is all it bills
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    select d.id, m.id, least(min(k.round), 0) - 1, m.denominator, trim_scale(m.carried + m.billed * m.denominator), m.billed,
           -sum(k.to_bill), m.carried, false, '[]'
    from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
    where k.delivery_id = d.id
    group by m.id having sum(k.to_bill) <> 0;
    update postmeter.delivery u
    set status = 'open', reason = null, quantity = null, body = null, batch_group = null, idempotency_key = null,
        identity = recount_open.identity, product = recount_open.product, confirmed = null, shown_quantity = null,
        tries = 0, deaths = 0, batch_limit = null, deadline = postmeter.deadline_of(m.destination_id, m.buyer, d.hour),
        opened_at = postmeter.clock(), changed_at = postmeter.clock(),
        -- what was attempted before is of an earlier cut
        cut_at = postmeter.clock()
    from postmeter.meter m
    where u.id = d.id and m.id = d.meter_id;
    insert into postmeter.open_hour (delivery_id, destination_id, hour)
    values (d.id, d.destination_id, d.hour) on conflict do nothing;
    return d.id;
end
$$;
comment on function postmeter.recount_open(bigint, timestamptz, jsonb, text) is
    'Opens the hour of a key for usage that is counted again, also one that was released: every attempt of it is proven not accepted, and its idempotency key counts the release. Null: it was sent. Meters and remittances are locked.';
revoke execute on function postmeter.recount_open(bigint, timestamptz, jsonb, text) from public;

create function postmeter.recount_late(meter_id bigint, destination_id integer, buyer text, dimension text, identity jsonb, product text)
returns bigint
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target bigint := postmeter.open_target(meter_id, identity, product);
begin
    if target is null then
        -- as a part of the running hour of the key under which it is sent by now
        select postmeter.open_hour_at(m.id, postmeter.hour_of(postmeter.clock()), recount_late.identity, recount_late.product) into target
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.buyer = recount_late.buyer and m.dimension = recount_late.dimension
         and m.month = postmeter.month_of(postmeter.clock(), t.zone)
        where t.id = recount_late.destination_id and t.late_policy = 'part';
    end if;
    return target;
end
$$;
comment on function postmeter.recount_late(bigint, integer, text, text, jsonb, text) is
    'Opens the hour that takes usage which a recount counts as late: by open_target, else by policy the running hour of the key of today''s catalogue.';
revoke execute on function postmeter.recount_late(bigint, integer, text, text, jsonb, text) from public;

create function postmeter.recount_move(d postmeter.delivery, sources bigint[], who text, why text, detail jsonb) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    w        record;
    key      bigint;
    counts   bigint;
    metric   bigint;
    target   bigint;
    late     boolean;
    decided  bigint;
    usages   bigint := 0;
    moved    jsonb := '[]';
    kept     jsonb := '[]';
    now      timestamptz := postmeter.clock();
begin
    -- read once: what today's catalogue says is the same for all that follows
    select coalesce(jsonb_agg(to_jsonb(x)), '[]') into kept from postmeter.recount_ways(sources) x;
    -- the old totals are taken back
    update postmeter.meter_metric mm
    set used = trim_scale(mm.used - g.quantity), usages = mm.usages - g.usages,
        covered = trim_scale(greatest(0, least(mm.used - g.quantity, mm.covered)))
    from (select (k.way ->> 'meter_metric_id')::bigint as id, sum((k.way ->> 'quantity')::numeric) as quantity,
                 sum(jsonb_array_length(k.way -> 'usages')) as usages
          from jsonb_array_elements(kept) k(way) group by 1) g
    where mm.id = g.id;
    update postmeter.meter m
    set billed = trim_scale(m.billed - k.to_bill)
    from (select x.meter_id, sum(x.to_bill) as to_bill from postmeter.cut x where x.delivery_id = d.id group by 1) k
    where m.id = k.meter_id;
    perform postmeter.recount_meter(m.id)
    from (select x.meter_id as id from postmeter.cut x where x.delivery_id = d.id
          union
          select mm.meter_id from jsonb_array_elements(kept) k(way)
          join postmeter.meter_metric mm on mm.id = (k.way ->> 'meter_metric_id')::bigint) m;
    update postmeter.delivery u
    set status = 'released', reason = null, releases = u.releases + 1, changed_at = now,
        body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
        idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
    where u.id = d.id;
    perform set_config('postmeter.ends_allocations', 'on', true);
    for w in
        select k.* from jsonb_array_elements(kept) j(way)
        cross join lateral jsonb_to_record(j.way) k(delivery_id bigint, destination_id integer, hour timestamptz,
            subscription_id bigint, meter_metric_id bigint, usages uuid[], quantity numeric, to_destination integer, to_subscription bigint, to_buyer text,
            to_identity jsonb, to_product text, to_dimension text, to_exemption bigint, to_contract text, key_month date,
            month date, metric text)
    loop
        usages := usages + cardinality(w.usages);
        if w.to_exemption is not null then
            delete from postmeter.allocation a where a.usage_id = any (w.usages) and a.destination_id = w.destination_id;
            insert into postmeter.exempted (usage_id, exemption_id) select g.id, w.to_exemption from unnest(w.usages) g(id);
            moved := moved || jsonb_build_object('delivery_id', w.delivery_id, 'meter_metric_id', w.meter_metric_id, 'subscription_id', w.subscription_id, 'exemption_id',
                w.to_exemption, 'is_late', false, 'usages', cardinality(w.usages), 'quantity', w.quantity);
            continue;
        end if;
        select m.id into strict key from postmeter.meter m
        where m.destination_id = w.to_destination and m.buyer = w.to_buyer and m.dimension = w.to_dimension and m.month = w.key_month;
        select m.id, mm.id into strict counts, metric
        from postmeter.meter m
        join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = w.to_product and mm.metric = w.metric
        where m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension and m.month = w.month;
        late := postmeter.recount_obstacle(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity, w.to_product,
                                           w.to_contract, sources) is not null;
        target := case when late then postmeter.recount_late(counts, w.to_destination, w.to_buyer, w.to_dimension, w.to_identity, w.to_product)
                       else postmeter.recount_open(key, w.hour, w.to_identity, w.to_product) end;
        if target is null then
            raise exception 'usage of remittance % finds no hour', w.delivery_id
                using errcode = 'PM034', column = 'delivery', constraint = 'recount_target', hint = 'Say it again.';
        end if;
        insert into postmeter.part (delivery_id, meter_id)
        select x.id, counts from postmeter.delivery x where x.id = target and x.meter_id <> counts on conflict do nothing;
        update postmeter.allocation a
        set destination_id = w.to_destination, delivery_id = target, meter_metric_id = metric, subscription_id = w.to_subscription,
            round = (select x.round from postmeter.delivery x where x.id = target)
        where a.usage_id = any (w.usages) and a.destination_id = w.destination_id;
        moved := moved || jsonb_build_object('delivery_id', w.delivery_id, 'meter_metric_id', w.meter_metric_id, 'subscription_id', w.subscription_id, 'target_delivery_id',
            target, 'target_meter_metric_id', metric, 'is_late', late, 'usages', cardinality(w.usages), 'quantity', w.quantity);
    end loop;
    perform set_config('postmeter.ends_allocations', 'off', true);
    -- where the quantity of the remittance itself went
    select (m.row ->> 'target_delivery_id')::bigint into target
    from jsonb_array_elements(moved) m(row) order by (m.row ->> 'delivery_id')::bigint <> d.id limit 1;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
    select who, why, 'recount', d.id, d.status, x.status, d.quantity, target, detail || jsonb_build_object('usages', usages)
    from postmeter.delivery x where x.id = d.id
    returning id into decided;
    insert into postmeter.recounted (decision_id, delivery_id, meter_metric_id, subscription_id, target_delivery_id, target_meter_metric_id,
                                     exemption_id, is_late, usages, quantity)
    select decided, r.delivery_id, r.meter_metric_id, r.subscription_id, r.target_delivery_id, r.target_meter_metric_id, r.exemption_id, r.is_late,
           r.usages, r.quantity
    from jsonb_array_elements(moved) m(row)
    cross join lateral jsonb_to_record(m.row) r(delivery_id bigint, meter_metric_id bigint, subscription_id bigint, target_delivery_id bigint,
        target_meter_metric_id bigint, exemption_id bigint, is_late boolean, usages bigint, quantity numeric);
    return (select format('%s: %s', postmeter.counted(usages, 'usage'),
                          string_agg(distinct case when (m.row ->> 'exemption_id') is not null then 'exempt by now'
                              else format('in remittance %s%s', m.row ->> 'target_delivery_id',
                                          case when (m.row ->> 'is_late')::boolean then ' as late usage' else '' end) end, ', '))
            from jsonb_array_elements(moved) m(row));
end
$$;
comment on function postmeter.recount_move(postmeter.delivery, bigint[], text, text, jsonb) is
    'Takes back what a remittance and its sources have counted, and allocates their usage by today''s catalogue; returns where it went, in words. Everything is locked and was looked at.';
revoke execute on function postmeter.recount_move(postmeter.delivery, bigint[], text, text, jsonb) from public;

create function postmeter.recount(filter jsonb, who text, why text, dry_run boolean default true, late boolean default false)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d       postmeter.delivery;
    dead    bigint;
    sources bigint[];
    way     record;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    for dead in select b.id from postmeter.deliveries_by(filter) b order by 1 loop
        sources := array(select s.delivery_id from postmeter.recount_sources(dead) s order by 1);
        note := postmeter.recount_look(dead, filter, late);
        if note is null and not dry_run then
            perform postmeter.recount_lock(sources);
            -- later statements than the last lock: what somebody else has done meanwhile counts
            note := case when sources <> array(select s.delivery_id from postmeter.recount_sources(dead) s order by 1)
                         then 'somebody else has it in hand: say it again' else postmeter.recount_look(dead, filter, late) end;
        end if;
        select x.* into d from postmeter.delivery x where x.id = dead;
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity;
        if note is null and dry_run then
            select bool_or(w.to_destination = d.destination_id and k.key = d.key) as is_same,
                   format('%s: %s', postmeter.counted(sum(cardinality(w.usages)), 'usage'),
                          string_agg(distinct coalesce('to ' || k.key, 'exempt by now'), ', ')) as says into way
            from postmeter.recount_ways(sources) w
            cross join lateral (select case when w.to_exemption is null
                                            then postmeter.remittance_key(w.to_buyer, w.to_dimension, w.hour) end as key) k;
            status_after := case when way.is_same then 'open' else 'released' end;
            note := way.says;
        elsif note is null then
            note := postmeter.recount_move(d, sources, who, why,
                jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
            select x.status into status_after from postmeter.delivery x where x.id = d.id;
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.recount(jsonb, text, text, boolean, boolean) is
    'Counts the usage of dead letters again, by today''s catalogue and in its own hour: takes back what they counted, with the remainders and cover that went into it. Only where every attempt of that contract, dimension and hour under any key, and of that hour of the new key, is proven not accepted; else it names what stands in the way, and with late counts it as late usage. Refused while maybe billed, and in a closed month. One call is one transaction: name one remittance where one counts very many usages. Dry run unless told otherwise.';
revoke execute on function postmeter.recount(jsonb, text, text, boolean, boolean) from public;
grant execute on function postmeter.recount(jsonb, text, text, boolean, boolean) to postmeter_operator;

-- what a recount moved away still says what a filter means
create function postmeter.delivery_counted(delivery bigint, org text, account text, metric text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select postmeter.delivery_counts(delivery, org, account, metric) or exists (
        select from postmeter.recounted r
        join postmeter.subscription s on s.id = r.subscription_id
        join postmeter.meter_metric mm on mm.id = r.meter_metric_id
        where r.delivery_id = delivery_counted.delivery
          and (delivery_counted.org is null or s.org = delivery_counted.org)
          and (delivery_counted.account is null or s.account = delivery_counted.account)
          and (delivery_counted.metric is null or mm.metric = delivery_counted.metric))
$$;
comment on function postmeter.delivery_counted(bigint, text, text, text) is
    'Whether a remittance counts usage of this org, account and metric, or has counted it before a recount; null: of any.';
revoke execute on function postmeter.delivery_counted(bigint, text, text, text) from public;

do $patch$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            (1, 'filter_fits', 'postmeter.delivery_counts(d.id,', 'postmeter.delivery_counted(d.id,'),
            -- evidence of what was sent before a recount contradicts that, too
            (2, 'note_contradictions', '''resolve'', ''release'', ''write_off'',', '''resolve'', ''release'', ''recount'', ''write_off'','),
            (3, 'note_contradictions', 'c.verb = ''release'' and s.is_earlier', 'c.verb in (''release'', ''recount'') and s.is_earlier')
        ) c(step, name, before, after)
        order by c.step
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it: %', change.name, change.before;
        end if;
        execute changed;
    end loop;
end
$patch$;

-- one form of identity in an hour ------------------------------------------------------------------------------------------

create function postmeter.form_begins(destination_id integer, product text, buyers text[], identity jsonb, since timestamptz,
                                      until timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
    -- what the marketplace takes no more is no hour of either form
    select max(d.hour) + interval '1 hour'
    from postmeter.destination t
    join postmeter.meter m on m.destination_id = t.id and m.buyer = any (buyers)
     and m.month >= postmeter.month_of(postmeter.clock() - t.age_limit - interval '1 day', 'UTC')
    join postmeter.delivery d on d.meter_id = m.id and d.product = form_begins.product
     and d.hour >= greatest(postmeter.hour_of(since), postmeter.clock() - t.age_limit) and d.hour < coalesce(until, 'infinity')
    where t.id = form_begins.destination_id and t.shadow_of is null
      and (d.maybe_billed or d.status in ('due', 'in_flight', 'accepted', 'unknown', 'conflict'))
      and array(select k from jsonb_object_keys(d.identity) k order by k)
          <> array(select k from jsonb_object_keys(form_begins.identity) k order by k)
$$;
comment on function postmeter.form_begins(integer, text, text[], jsonb, timestamptz, timestamptz) is
    'The first hour of a product in which nothing was sent, in any dimension, for buyers of another form of identity than the given one; refused hours apart. Null: no hour of that time stands in its way.';
revoke execute on function postmeter.form_begins(integer, text, text[], jsonb, timestamptz, timestamptz) from public;

do $patch$
declare
    change     record;
    definition text := pg_get_functiondef('postmeter.check_subscription()'::regprocedure);
    changed    text;
begin
    for change in
        select * from (values
            ('    other postmeter.subscription;', '    other  postmeter.subscription;
    begins timestamptz;'),
            -- in place: the buyer that it was is not known any more once its identity is read anew
            ('        new.buyer := null; new.buyer_account',
             '        begins := postmeter.form_begins(old.destination_id, old.product, array[old.buyer], new.identity, new.valid_from, new.valid_until);
        new.buyer := null; new.buyer_account'),
            ('    if new.buyer is null then
        return new;', '    if new.buyer is null then
        perform postmeter.check_form_begins(new, begins);
        return new;'),
            ('                  hint = ''End the old form at the full hour at which the new one begins.'';
    end if;', '                  hint = ''End the old form at the full hour at which the new one begins.'';
    end if;
    -- hours that were sent already: late usage of them must not be sent in the other form
    if tg_op = ''INSERT'' or (new.buyer, new.valid_from) is distinct from (old.buyer, old.valid_from) then
        begins := postmeter.form_begins(new.destination_id, new.product, array(
            select distinct s.buyer from postmeter.subscription s
            where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id and s.buyer is not null
              and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form),
            new.identity, new.valid_from, new.valid_until);
    end if;
    perform postmeter.check_form_begins(new, begins);')
        ) c(before, after)
    loop
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception 'check_subscription is not as this migration knows it: %', change.before;
        end if;
        definition := changed;
    end loop;
    execute definition;
end
$patch$;

create function postmeter.check_form_begins(entered postmeter.subscription, begins timestamptz) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    hour text := to_char(begins at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"');
begin
    if begins is not null then
        raise exception 'product % of org % was sent under another identity form until %, and would be billed twice in those hours',
            entered.product, entered.org, hour
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'valid_from',
                  constraint = 'subscription_form_begins',
                  hint = format('Let the old form end (valid_until), and an entry with the new one begin (valid_from), at %s or later.', hour);
    end if;
end
$$;
comment on function postmeter.check_form_begins(postmeter.subscription, timestamptz) is
    'Refuses a subscription whose form of identity would begin before the hours that were sent under another one are over (PM012), and says when it can.';
revoke execute on function postmeter.check_form_begins(postmeter.subscription, timestamptz) from public;

-- advice that does what it says ----------------------------------------------------------------------------------------

do $patch$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            -- what would be sent again says what it said; or another hour of a buyer that nobody is
            (1, 'retry', '            status_after := ''due'';',
             '            status_after := ''due'';
            if not exists (select from postmeter.subscription s join postmeter.meter m on m.id = d.meter_id
                           where s.destination_id = d.destination_id and s.buyer = m.buyer
                             and s.valid_from < d.hour + interval ''1 hour'' and (s.valid_until is null or d.hour < s.valid_until)) then
                note := ''the catalogue knows its buyer no more, and this sends it under that buyer: recount counts it by the catalogue'';
            end if;'),
            (2, 'release', '''no hour of its month can take it any more: write it off, or set the destination''''s late_policy to part''',
             '''no hour of its month can take it any more: '' || case
                when not exists (select from postmeter.subscription s join postmeter.meter m on m.id = d.meter_id
                                 where s.destination_id = d.destination_id and s.buyer = m.buyer
                                   and s.valid_from < d.hour + interval ''1 hour'' and (s.valid_until is null or d.hour < s.valid_until))
                then ''the catalogue knows its buyer no more: recount it, or write it off''
                else ''write it off, or set the destination''''s late_policy to part'' end'),
            (3, 'release', '''write it off, or renew the subscription first''', '''recount it if the catalogue was mistaken; else write it off, or renew the subscription first''')
        ) c(step, name, before, after)
        order by c.step
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it: %', change.name, change.before;
        end if;
        execute changed;
    end loop;
    definition := pg_get_viewdef('postmeter.dead_letter'::regclass);
    for change in
        select * from (values
            ('WHEN ((r.status = ''held''::text) AND (r.reason = ''invalid_subscription''::text)) THEN ''asked again by itself until its deadline; mend the subscription''::text',
             'WHEN ((r.status = ''held''::text) AND (r.reason = ''invalid_subscription''::text) AND (r.deadline >= c.now)) THEN ''asked again by itself until its deadline; mend the subscription there, or the catalogue and recount''::text'),
            ('WHEN (r.deadline < c.now) THEN ''release to another hour of its month, or write off''::text',
             'WHEN ((r.deadline < c.now) AND (EXISTS ( SELECT FROM (postmeter.destination y JOIN postmeter.closed_month z ON (((z.destination_id = y.id) AND (z.month = r.month)))) WHERE (y.name = r.destination)))) THEN ''write off, or reopen its month and release''::text
              WHEN ((r.deadline < c.now) AND (EXISTS ( SELECT FROM postmeter.destination y WHERE ((y.name = r.destination) AND (y.late_policy <> ''part''::text) AND (r.month < postmeter.month_of(c.now, y.zone)))))) THEN ''write off, or set late_policy to part and release (recount as late usage, if the catalogue was mistaken)''::text
              WHEN (r.deadline < c.now) THEN ''release to another hour of its month (recount as late usage, if the catalogue was mistaken), or write off''::text
              WHEN (r.reason = ''quantity_out_of_range''::text) THEN ''release, or write off''::text'),
            ('ELSE ''mend the cause, then retry''::text', 'ELSE ''mend the cause, then retry; if it was the catalogue, mend that, then recount''::text'),
            ('WHEN ''poison''::text THEN ''report it, then retry''::text', 'WHEN ''month_closed''::text THEN ''write off, or reopen the month: it then goes on by itself''::text
              WHEN ''poison''::text THEN ''report it, then retry''::text'),
            ('''set late_policy to part, or renew the subscription: the running hour then takes it; else it is lost''::text',
             'CASE WHEN (EXISTS ( SELECT FROM postmeter.subscription y WHERE ((y.destination_id = m.destination_id) AND (y.buyer = m.buyer) AND (y.valid_from <= postmeter.clock()) AND ((y.valid_until IS NULL) OR (postmeter.clock() < y.valid_until))))) THEN ''set late_policy to part: the running hour then takes it; else it is lost''::text
              WHEN (t.late_policy = ''part''::text) THEN ''renew the subscription: the running hour then takes it; else it is lost''::text
              ELSE ''renew the subscription, and set late_policy to part: the running hour then takes it; else it is lost''::text END')
        ) c(before, after)
    loop
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception 'dead_letter is not as this migration knows it: %', change.before;
        end if;
        definition := changed;
    end loop;
    execute 'create or replace view postmeter.dead_letter as ' || definition;
end
$patch$;

insert into postmeter.migration (version, name) values (48, '0048_pre_recount');
