-- 0015_pre_shadow: shadows: destinations that count the same usage beside a live one, and never call.
-- programs: from 0015
-- lock: share row exclusive on delivery, for a moment: a trigger
-- lock: share row exclusive on subscription, for a moment: a trigger

create table postmeter.shadow_usage (
    destination_id integer not null,
    usage_id       uuid    not null,
    org            text    not null,
    product        text    not null,
    metric         text    not null,
    account        text,
    quantity       numeric not null,
    hour           timestamptz not null,
    reason         text    check (reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
                               'too_late', 'month_closed', 'poison', 'exempt')),
    given_at       timestamptz not null default postmeter.clock(),
    primary key (destination_id, usage_id)
);
create index shadow_usage_waiting on postmeter.shadow_usage (destination_id, usage_id) where reason is null;
create index shadow_usage_uncounted on postmeter.shadow_usage (destination_id, org, product) where reason is not null;
comment on table postmeter.shadow_usage is 'Usage that was given to a shadow and that it has not counted: it waits, or there is a reason. Given by the fold of the live destination, once per usage; gone when it is allocated.';
comment on column postmeter.shadow_usage.destination_id is 'The shadow.';
comment on column postmeter.shadow_usage.usage_id is 'The usage.';
comment on column postmeter.shadow_usage.org is 'Its org.';
comment on column postmeter.shadow_usage.product is 'Its product.';
comment on column postmeter.shadow_usage.metric is 'Its metric.';
comment on column postmeter.shadow_usage.account is 'Its account.';
comment on column postmeter.shadow_usage.quantity is 'Its quantity.';
comment on column postmeter.shadow_usage.hour is 'Its hour.';
comment on column postmeter.shadow_usage.reason is 'Why the shadow does not count it (the reasons of held, and exempt); null: it waits to be counted.';
comment on column postmeter.shadow_usage.given_at is 'Since when.';

create function postmeter.shadow_told() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- folds that began before have ended, and those that begin now wait until this is committed: from then on, and not
    -- before, usage is given to the shadow
    perform pg_advisory_xact_lock(hashtextextended('postmeter.closed_month', 0))
    from postmeter.destination t where t.id = new.destination_id and t.shadow_of is not null;
    return new;
end
$$;
comment on function postmeter.shadow_told() is 'Trigger of subscription: a shadow is told of a buyer between folds, never during one.';
create trigger shadow_told before insert or update of org, product, account, destination_id, valid_from, valid_until on postmeter.subscription
    for each row execute function postmeter.shadow_told();

create function postmeter.check_shadow_outcome() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    bad text;
begin
    select o.outcome into bad from postmeter.outcome o
    where o.attempt_id = old.attempt_id and o.outcome not in ('dry_run', 'too_old', 'handed_back');
    if found then
        raise exception 'remittance % belongs to a shadow, and an outcome % would say that it was sent', new.id, bad
            using errcode = 'PM015', schema = 'postmeter', table = 'outcome', column = 'outcome', constraint = 'shadow_never_calls';
    end if;
    return null;
end
$$;
comment on function postmeter.check_shadow_outcome() is 'Trigger of delivery: an attempt of a shadow ends as dry_run, too_old or handed_back; whatever tells of a call is refused (PM015).';
create trigger shadow_never_calls after update on postmeter.delivery for each row
    when (new.shadow and old.status = 'in_flight' and new.status <> 'in_flight') execute function postmeter.check_shadow_outcome();

create function postmeter.return_shadow(most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    of       integer;
    changed  bigint;
    returned bigint := 0;
begin
    for of in select t.id from postmeter.destination t where t.shadow_of is not null loop
        with kinds as materialized (
            select g.org, g.product, g.metric, g.account, g.hour, g.reason, row_number() over () as item
            from postmeter.shadow_usage g
            where g.destination_id = of
              and g.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
            group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, of) r join kinds k on k.item = r.item
            where r.reason is distinct from k.reason
        ), chosen as materialized (
            -- nothing is locked but what changes
            select g.usage_id
            from postmeter.shadow_usage g
            join cured k on k.org = g.org and k.product = g.product and k.metric = g.metric
             and k.account is not distinct from g.account and k.hour = g.hour and k.reason = g.reason
            where g.destination_id = of and g.reason is not null
            limit most
            for update of g skip locked
        )
        update postmeter.shadow_usage u
        set reason = null
        from chosen c
        where u.destination_id = of and u.usage_id = c.usage_id;
        get diagnostics changed = row_count;
        returned := returned + changed;
    end loop;
    return returned;
end
$$;
comment on function postmeter.return_shadow(integer) is 'Lets shadows count usage whose reason no longer holds. Maintenance calls it, beside the live work: an edit of the catalogue does not wait for it.';

create view postmeter.shadow_difference as
with pair as (
    select s.id as shadow_id, s.name as shadow, l.id as live_id, l.name as live,
           -- whole hours since it was first told of a buyer
           (select min(c.changed_at) from postmeter.catalogue_change c
            where c.entry = 'subscription' and c.old_row is null and c.new_row ->> 'destination_id' = s.id::text) as since
    from postmeter.destination s join postmeter.destination l on l.id = s.shadow_of
), side as (
    select p.shadow, p.live, p.since, m.month, m.buyer, m.dimension, d.hour, m.destination_id, d.product, false as shadows,
           d.id as delivery_id, d.status, d.quantity
    from pair p
    join postmeter.meter m on m.destination_id = p.live_id
    join postmeter.delivery d on d.meter_id = m.id
    where d.status <> 'released'
      -- a shadow may try a few customers: the others are not missing there
      and exists (select from postmeter.subscription a
                  join postmeter.subscription b on b.org = a.org and b.product = a.product and b.destination_id = p.shadow_id
                  where a.destination_id = p.live_id and a.buyer = m.buyer)
    union all
    select p.shadow, p.live, p.since, m.month, m.buyer, m.dimension, d.hour, m.destination_id, d.product, true,
           d.id, d.status, d.quantity
    from pair p
    join postmeter.meter m on m.destination_id = p.shadow_id
    join postmeter.delivery d on d.meter_id = m.id
    where d.status <> 'released'
), priced as (
    select s.shadow, s.live, s.since, s.month, s.buyer, s.dimension, s.hour, s.shadows, s.delivery_id, s.status, s.quantity,
           x.unit_price * s.quantity as amount, x.currency
    from side s
    left join lateral (
        select x.unit_price, x.currency from postmeter.dimension x
        where x.destination_id = s.destination_id and x.name = s.dimension and x.product = s.product and x.valid_from <= s.month
        order by x.valid_from desc, x.id limit 1
    ) x on true
), compared as (
    select p.shadow, p.live, p.since, p.month, p.buyer, p.dimension, p.hour,
           max(p.delivery_id) filter (where not p.shadows) as live_delivery_id, max(p.delivery_id) filter (where p.shadows) as shadow_delivery_id,
           max(p.status) filter (where not p.shadows) as live_status, max(p.status) filter (where p.shadows) as shadow_status,
           max(p.quantity) filter (where not p.shadows) as live_quantity, max(p.quantity) filter (where p.shadows) as shadow_quantity,
           max(p.amount) filter (where not p.shadows) as live_amount, max(p.currency) filter (where not p.shadows) as live_currency,
           max(p.amount) filter (where p.shadows) as shadow_amount, max(p.currency) filter (where p.shadows) as shadow_currency
    from priced p group by 1, 2, 3, 4, 5, 6, 7
)
select c.shadow, c.live, c.month, c.buyer, c.dimension, c.hour, c.live_delivery_id, c.live_status, trim_scale(c.live_quantity) as live_quantity,
       trim_scale(c.live_amount) as live_amount, c.live_currency, c.shadow_delivery_id, c.shadow_status,
       trim_scale(c.shadow_quantity) as shadow_quantity, trim_scale(c.shadow_amount) as shadow_amount, c.shadow_currency,
       trim_scale(coalesce(c.shadow_quantity, 0) - coalesce(c.live_quantity, 0)) as difference,
       case when c.hour < c.since then 'before_shadow'
            when c.live_status = 'open' or c.shadow_status = 'open' then 'open'
            when coalesce(c.shadow_quantity, 0) = coalesce(c.live_quantity, 0) then 'equal'
            when c.shadow_delivery_id is null then 'live_alone'
            when c.live_delivery_id is null then 'shadow_alone'
            else 'quantity' end as verdict
from compared c;
comment on view postmeter.shadow_difference is
    'Per key and hour, what the live destination bills beside what its shadow would bill, in billing units, whatever became of either. verdict: equal, quantity, live_alone, shadow_alone, open (one of them is not cut yet), before_shadow (the hour began before the shadow was told of its first buyer). Live keys of orgs that the shadow knows nothing of are left out. Amounts have their currency; null: unpriced.';

create view postmeter.shadow_meter_difference as
select d.shadow, d.live, d.month, d.buyer, d.dimension, count(*) filter (where d.verdict <> 'before_shadow') as hours,
       count(*) filter (where d.verdict not in ('equal', 'before_shadow')) as hours_differ,
       coalesce(sum(d.live_quantity) filter (where d.verdict <> 'before_shadow'), 0) as live_quantity,
       coalesce(sum(d.shadow_quantity) filter (where d.verdict <> 'before_shadow'), 0) as shadow_quantity,
       coalesce(sum(d.difference) filter (where d.verdict <> 'before_shadow'), 0) as difference,
       coalesce(sum(d.live_quantity) filter (where d.verdict = 'before_shadow'), 0) as live_before_shadow,
       sum(d.live_amount) filter (where d.verdict <> 'before_shadow') as live_amount, max(d.live_currency) as live_currency,
       sum(d.shadow_amount) filter (where d.verdict <> 'before_shadow') as shadow_amount, max(d.shadow_currency) as shadow_currency
from postmeter.shadow_difference d
group by 1, 2, 3, 4, 5;
comment on view postmeter.shadow_meter_difference is
    'shadow_difference summed per month and meter (a buyer''s dimension). Hours before the shadow began are left out and stand in live_before_shadow. A meter has one dimension, so one currency a side.';

create view postmeter.shadow_usage_difference as
with pair as (
    select s.id as shadow_id, s.name as shadow, l.id as live_id, l.name as live
    from postmeter.destination s join postmeter.destination l on l.id = s.shadow_of
), side as (
    select p.shadow, p.live, m.month, s.org, mm.product, mm.metric, a.destination_id = p.live_id as is_live, null::text as reason,
           count(*) as usages, sum(a.quantity) as quantity
    from pair p
    join postmeter.allocation a on a.destination_id in (p.live_id, p.shadow_id)
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    join postmeter.subscription s on s.id = a.subscription_id
    where exists (select from postmeter.subscription b
                  where b.org = s.org and b.product = s.product and b.destination_id = p.shadow_id)
    group by 1, 2, 3, 4, 5, 6, 7
    union all
    select p.shadow, p.live, postmeter.month_of(g.hour, t.zone), g.org, g.product, g.metric, false, coalesce(g.reason, 'waiting'),
           count(*), sum(g.quantity)
    from pair p
    join postmeter.destination t on t.id = p.shadow_id
    join postmeter.shadow_usage g on g.destination_id = p.shadow_id
    group by 1, 2, 3, 4, 5, 6, 8
)
select s.shadow, s.live, s.month, s.org, s.product, s.metric,
       coalesce(sum(s.usages) filter (where s.is_live), 0)::bigint as live_usages,
       trim_scale(coalesce(sum(s.quantity) filter (where s.is_live), 0)) as live_quantity,
       coalesce(sum(s.usages) filter (where not s.is_live and s.reason is null), 0)::bigint as shadow_usages,
       trim_scale(coalesce(sum(s.quantity) filter (where not s.is_live and s.reason is null), 0)) as shadow_quantity,
       coalesce(sum(s.usages) filter (where s.reason is not null), 0)::bigint as uncounted_usages,
       trim_scale(coalesce(sum(s.quantity) filter (where s.reason is not null), 0)) as uncounted_quantity,
       string_agg(distinct s.reason, ', ' order by s.reason) as reasons,
       trim_scale(coalesce(sum(s.quantity) filter (where not s.is_live), 0) - coalesce(sum(s.quantity) filter (where s.is_live), 0)) as difference
from side s
group by 1, 2, 3, 4, 5, 6;
comment on view postmeter.shadow_usage_difference is
    'Per month, org, product and metric, in units of the metric: usage that the live destination counted, that its shadow counted, and that the shadow was given and has not counted, with the reasons (waiting, or those of shadow_usage). Compares shadows of another marketplace too, whose keys are others. difference: given to the shadow less counted live; below zero for usage from before the shadow.';

grant select on postmeter.shadow_usage, postmeter.shadow_difference, postmeter.shadow_meter_difference, postmeter.shadow_usage_difference
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant insert, delete, update on postmeter.shadow_usage to postmeter_worker;
grant delete on postmeter.shadow_usage to postmeter_operator;
revoke execute on function postmeter.return_shadow(integer), postmeter.shadow_told(), postmeter.check_shadow_outcome(), postmeter.check_shadow() from public;
grant execute on function postmeter.return_shadow(integer) to postmeter_worker;

insert into postmeter.migration (version, name) values (15, '0015_pre_shadow');
