-- 0031_pre_rounds: factors meet in exact numbers of any size, and what moved many rows in one transaction moves shares of them.
-- programs: from 0022
-- lock: access exclusive on balance, for a moment: its factors are exact numbers of any size

-- factors -------------------------------------------------------------------------------------------------------------

-- The common denominator of three factors with nine digits each has more digits than a bigint. A numeric holds those of
-- ten thousand such factors; an integer quotient of numerics is exact.
create aggregate postmeter.lcm_of(numeric) (sfunc = pg_catalog.lcm, stype = numeric, initcond = '1');
comment on aggregate postmeter.lcm_of(numeric) is 'Least common multiple: the common denominator of a meter''s factors.';
revoke execute on function postmeter.lcm_of(numeric) from public;
grant execute on function postmeter.lcm_of(numeric) to postmeter_reader, postmeter_operator, postmeter_worker;

create or replace view postmeter.balance as
with factor as not materialized ( -- so that one meter_id is looked for in its own rows only
    select mm.id, mm.meter_id, mm.used, mm.covered,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) / mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator::numeric) over (partition by mm.meter_id) as denominator
    from postmeter.meter_metric mm
), counted as (
    -- the remittances of the meter, and those of later months of which it is a part
    select d.meter_id, d.id, d.status, d.round from postmeter.delivery d
    union all
    select p.meter_id, d.id, d.status, d.round
    from postmeter.part p
    join postmeter.delivery d on d.id = p.delivery_id and d.meter_id <> p.meter_id
), recorded as (
    select r.meter_id, sum(r.recorded) as recorded, sum(r.open) as open
    from (select f.meter_id, sum(u.quantity * f.units) as recorded,
                 coalesce(sum(a.quantity * f.units) filter (where d.status = 'open' and a.round = d.round), 0) as open
          from factor f
          join counted d on d.meter_id = f.meter_id
          join postmeter.allocation a on a.delivery_id = d.id and a.meter_metric_id = f.id
          join postmeter.usage u on u.id = a.usage_id
          group by 1
          union all
          -- what dropped months of the ledger came to
          select f.meter_id, c.quantity * f.units, 0
          from postmeter.ledger_carry c join factor f on f.id = c.meter_metric_id) r
    group by 1
), sent as (
    select c.meter_id, d.status, sum(c.to_bill) as quantity,
           sum(case when d.status = 'conflict' and d.shown_quantity is not null and d.quantity > 0
                    then least(c.to_bill, c.to_bill * d.shown_quantity / d.quantity) else 0 end) as shown
    from postmeter.cut c join postmeter.delivery d on d.id = c.delivery_id
    where d.status <> 'released'
    group by 1, 2
), by_status as (
    select s.meter_id,
           sum(s.quantity) filter (where s.status in ('due', 'in_flight')) as due,
           sum(s.quantity) filter (where s.status = 'unknown') as unknown,
           sum(s.quantity) filter (where s.status = 'accepted') as accepted,
           sum(s.quantity) filter (where s.status = 'held') as held,
           sum(s.quantity) filter (where s.status = 'rejected') as rejected,
           sum(s.quantity) filter (where s.status = 'expired') as expired,
           sum(s.quantity) filter (where s.status = 'conflict') as conflict,
           sum(s.quantity) filter (where s.status = 'written_off') as written_off,
           sum(s.quantity) filter (where s.status = 'dry_run') as dry_run,
           sum(s.shown) as shown
    from sent s group by 1
), covered as (
    select f.meter_id, sum(f.covered * f.units) as covered, max(f.denominator) as denominator from factor f group by 1
)
select t.name as destination, m.buyer, m.dimension, m.month, m.id as meter_id, c.denominator,
       trim_scale(coalesce(r.recorded, 0)) as recorded, trim_scale(coalesce(r.open, 0)) as open,
       trim_scale(coalesce(b.due, 0) * c.denominator) as due, trim_scale(coalesce(b.unknown, 0) * c.denominator) as unknown,
       trim_scale((coalesce(b.accepted, 0) + coalesce(b.shown, 0)) * c.denominator) as accepted,
       trim_scale(coalesce(b.held, 0) * c.denominator) as held, trim_scale(coalesce(b.rejected, 0) * c.denominator) as rejected,
       trim_scale(coalesce(b.expired, 0) * c.denominator) as expired,
       trim_scale((coalesce(b.conflict, 0) - coalesce(b.shown, 0)) * c.denominator) as conflict,
       trim_scale(coalesce(b.written_off, 0) * c.denominator) as written_off,
       trim_scale(coalesce(b.dry_run, 0) * c.denominator) as dry_run,
       trim_scale(c.covered) as covered, trim_scale(m.carried * (c.denominator / m.denominator)) as carried,
       trim_scale(coalesce(r.recorded, 0) - coalesce(r.open, 0) - c.covered - m.carried * (c.denominator / m.denominator)
           - (coalesce(b.due, 0) + coalesce(b.unknown, 0) + coalesce(b.accepted, 0) + coalesce(b.held, 0) + coalesce(b.rejected, 0)
              + coalesce(b.expired, 0) + coalesce(b.conflict, 0) + coalesce(b.written_off, 0) + coalesce(b.dry_run, 0)) * c.denominator) as difference,
       t.shadow_of is not null as shadow
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
join covered c on c.meter_id = m.id
left join recorded r on r.meter_id = m.id
left join by_status b on b.meter_id = m.id;

-- whoever calls it with a bigint means the other one from now on
-- squawk-ignore ban-drop-function
drop aggregate postmeter.lcm_of(bigint);

-- dead letters, a share at a time -------------------------------------------------------------------------------------

-- A filter may say within: only these of the remittances that it fits. A program that decides about many takes them in
-- shares this way, each in a transaction of its own; the decisions bear the filter without it.
create or replace function postmeter.deliveries_by(filter jsonb, waiting boolean default false) returns setof postmeter.delivery
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    given  jsonb := filter - 'within';
    named  bigint[];
    chosen bigint[];
    wholly text;
begin
    perform postmeter.check_filter(given, array['org', 'account', 'product', 'metric', 'destination', 'status', 'reason', 'from', 'until', 'delivery', 'all']);
    perform postmeter.check_word(given, 'status', case when waiting then array['due'] else array['rejected', 'expired', 'conflict', 'unknown', 'held'] end);
    perform postmeter.check_word(given, 'reason', array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'quantity_out_of_range', 'unrecognised_answer', 'tries_exhausted', 'poison', 'by_operator']);
    -- one that is named is looked up, not looked for among all: else many, one by one, cost the square of their number
    if filter ->> 'delivery' is not null then
        named := array[(filter ->> 'delivery')::bigint];
    elsif filter ? 'within' then
        named := array(select w.id::bigint from jsonb_array_elements_text(filter -> 'within') w(id));
    else
        named := array(select s.delivery_id from postmeter.stuck s where not waiting
                       union all select q.delivery_id from postmeter.due q where waiting
                       union all select l.delivery_id from postmeter.later l where waiting);
    end if;
    chosen := array(
        select d.id
        from postmeter.delivery d
        join postmeter.destination t on t.id = d.destination_id
        where d.id = any (named)
          and d.status in ('rejected', 'expired', 'conflict', 'unknown', 'held', 'due') and (d.status = 'due') = waiting
          and (filter ->> 'status' is null or d.status = filter ->> 'status')
          and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
          and (filter ->> 'destination' is null or t.name = filter ->> 'destination')
          -- a shadow's are meant only by name: what is decided about live ones must not touch them, nor be hidden among them
          and (not d.shadow or filter ->> 'destination' is not null or filter ->> 'delivery' is not null)
          and (filter ->> 'from' is null or d.hour >= (filter ->> 'from')::timestamptz)
          and (filter ->> 'until' is null or d.hour < (filter ->> 'until')::timestamptz)
          and (filter ->> 'product' is null or d.product = filter ->> 'product')
          and postmeter.delivery_counts(d.id, filter ->> 'org', filter ->> 'account', filter ->> 'metric'));
    if filter ? 'within' then
        -- what the whole filter means was asked before
        return query select d.* from postmeter.delivery d where d.id = any (chosen) order by d.id;
        return;
    end if;
    if chosen = '{}' then
        -- nothing left to do is success, a filter that names nothing is a mistake
        if not exists (select from postmeter.filter_fits(filter)) then
            perform postmeter.check_filter_known(filter, false);
        end if;
        return;
    end if;
    if not coalesce((filter ->> 'all')::boolean, false) and coalesce(filter ->> 'destination', filter ->> 'delivery', filter ->> 'org', filter ->> 'account') is null then
        -- a filter that leaves nothing of a destination out is a scope, and is said so
        select format('%s (%s)', min(t.name), count(*)) into wholly
        from (select s.delivery_id, s.destination_id from postmeter.stuck s where not waiting
              union all select q.delivery_id, q.destination_id from postmeter.due q where waiting
              union all select l.delivery_id, l.destination_id from postmeter.later l where waiting) k
        join postmeter.destination t on t.id = k.destination_id
        left join unnest(chosen) c(id) on c.id = k.delivery_id
        group by k.destination_id
        having count(*) > 1 and count(*) = count(c.id)
        order by count(*) desc limit 1;
        if found then
            raise exception 'this filter leaves nothing out: it names all there is at %', wholly
                using errcode = 'PM031', column = 'filter', constraint = 'filter_needed',
                      hint = 'If that is meant, name the destination too, or say {"all": true}.';
        end if;
    end if;
    return query select d.* from postmeter.delivery d where d.id = any (chosen) order by d.id;
end
$$;
comment on function postmeter.deliveries_by(filter jsonb, waiting boolean) is 'Dead letters that a filter names: rejected, expired, conflict, unknown or held remittances; or, if waiting, those that wait to be sent. A shadow''s only if the filter names it or the delivery. With within, a list of deliveries, only those of them. None: nothing is left to do. The one home of what a filter may be: refuses what cannot be meant (PM030, PM031, PM037), values that do not exist (PM038), what fits no remittance (PM039), and all of several of a destination unless destination, org, account or all says so (PM031).';

do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            ('release',   'jsonb_build_object(''filter'', filter, ''reason'', d.reason)', 'jsonb_build_object(''filter'', filter - ''within'', ''reason'', d.reason)'),
            ('retry',     'jsonb_build_object(''filter'', filter, ''reason'', d.reason)', 'jsonb_build_object(''filter'', filter - ''within'', ''reason'', d.reason)'),
            ('write_off', 'jsonb_build_object(''filter'', filter, ''reason'', d.reason)', 'jsonb_build_object(''filter'', filter - ''within'', ''reason'', d.reason)'),
            ('hold',      'jsonb_build_object(''filter'', filter)', 'jsonb_build_object(''filter'', filter - ''within'')')
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

-- The caller has asked which: in the order of their numbers, so many that a transaction with them is short.
create function postmeter.reconsider(deliveries bigint[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d       postmeter.delivery;
    now     timestamptz := postmeter.clock();
    changed integer := 0;
    after   text;
begin
    -- before any lock: an edit of the catalogue keeps the gate shut and then waits for meters
    perform postmeter.month_gate();
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(select c.meter_id from postmeter.cut c where c.delivery_id = any (deliveries)));
    for d in select f.* from postmeter.delivery f where f.id = any (deliveries) order by f.id for update loop
        continue when not exists (select from postmeter.stuck s where s.delivery_id = d.id and s.again_at <= now);
        after := d.status;
        if d.status = 'expired' then
            select r.status_after into after
            from postmeter.release(jsonb_build_object('delivery', d.id), 'postmeter', 'expired; expired_policy is roll_forward', false) r;
        elsif d.status = 'held' and d.reason = 'invalid_subscription' and not d.maybe_billed and d.deadline >= now then
            after := 'due';
            update postmeter.delivery u set status = after, reason = null, batch_limit = 1, changed_at = now where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
        end if;
        if after is distinct from d.status then
            changed := changed + 1;
        else
            update postmeter.stuck s set again_at = case when d.status = 'expired' then now + interval '1 hour' end where s.delivery_id = d.id;
        end if;
    end loop;
    return changed;
end
$$;
comment on function postmeter.reconsider(deliveries bigint[]) is 'These dead letters may move without a person, if their time has come: a held remittance whose buyer was not entitled is sent again (every 10 minutes, until its deadline), an expired one is released where the destination''s expired_policy is roll_forward, with a decision signed by postmeter. Never what may have been billed. Returns how many moved.';

create or replace function postmeter.reconsider_stuck(most integer, shadows boolean default false) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return postmeter.reconsider(array(
        select s.delivery_id from postmeter.stuck s
        where s.again_at <= postmeter.clock()
          and (s.destination_id in (select t.id from postmeter.destination t where t.shadow_of is not null)) = shadows
        order by s.again_at limit most));
end
$$;

-- held usage that the catalogue knows by now, a share at a time -------------------------------------------------------

create table postmeter.cure (
    id        bigint generated always as identity primary key,
    wanted_at timestamptz not null default clock_timestamp()
);
comment on table postmeter.cure is 'Changes of the catalogue after which more usage was held than one transaction looks at: maintenance looks at the rest, in shares, and deletes the row.';
comment on column postmeter.cure.id is 'Number of the mark.';
comment on column postmeter.cure.wanted_at is 'When the catalogue changed; the server''s time.';

create function postmeter.return_cured_of(usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    cured uuid[];
begin
    with waiting as materialized (
        select h.* from postmeter.held h
        where h.usage_id = any (usages)
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        for update skip locked
    ), kinds as materialized (
        select w.org, w.product, w.metric, w.account, w.hour, w.reason, row_number() over () as item
        from waiting w group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
        from kinds k
    ), changed as (
        select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is distinct from k.reason
    )
    select array_agg(w.usage_id) into cured
    from waiting w
    join changed k on k.org = w.org and k.product = w.product and k.metric = w.metric
     and k.account is not distinct from w.account and k.hour = w.hour and k.reason = w.reason;
    return coalesce(postmeter.return_held(cured), 0);
end
$$;
comment on function postmeter.return_cured_of(usages uuid[]) is 'Sends back to the outbox those of these held usages whose reason no longer holds; what another session holds is passed over. Returns how many.';

create or replace function postmeter.cure_held() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    first uuid[] := array(
        select h.usage_id from postmeter.held h
        where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        order by h.usage_id limit 1000);
begin
    perform postmeter.return_cured_of(first);
    if cardinality(first) = 1000 then
        insert into postmeter.cure default values;
    end if;
    return null;
end
$$;
comment on function postmeter.cure_held() is 'Sends held usage back to the outbox that a change of the catalogue cures: of a thousand at once; where more is held, maintenance goes on with the rest.';

-- request statuses ----------------------------------------------------------------------------------------------------

create function postmeter.put_request_news_behind() returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    floor postmeter.request_floor;
    moved text;
begin
    perform postmeter.take_gate('gather_requests');
    floor := postmeter.request_floor_now();
    with gone as (
        delete from postmeter.request_news n
        where (n.xid, n.id) in (select x.xid, x.id from postmeter.request_news x where (x.xid, x.id) >= (floor.xid, floor.id)
                                order by x.xid, x.id limit 1)
        returning n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
    select g.request_key, g.date, g.digest, g.kind, g.message, g.recorded_at from gone g
    returning request_key into moved;
    return moved;
end
$$;
comment on function postmeter.put_request_news_behind() is 'Puts the first request status that gather has not counted behind all others: alone, it could not be gathered. Returns its request''s key; null: there is none.';
revoke execute on function postmeter.put_request_news_behind() from public;
grant execute on function postmeter.put_request_news_behind() to postmeter_worker;

revoke execute on function postmeter.reconsider(bigint[]), postmeter.return_cured_of(uuid[]) from public;
grant execute on function postmeter.reconsider(bigint[]), postmeter.return_cured_of(uuid[]) to postmeter_worker;
grant select, delete on postmeter.cure to postmeter_worker;
grant select on postmeter.cure to postmeter_reader, postmeter_operator;

insert into postmeter.migration (version, name) values (31, '0031_pre_rounds');
