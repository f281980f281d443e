-- 0010_pre_dead_letters: what needs a person, found without walking over what does not; and what will miss its deadline.
-- programs: from 0010
-- lock: share row exclusive on delivery, for a moment: a trigger

create table postmeter.stuck (
    delivery_id    bigint  not null primary key,
    destination_id integer not null,
    status         text    not null check (status in ('rejected', 'expired', 'conflict', 'unknown', 'held')),
    since          timestamptz not null,
    again_at       timestamptz
);
create index stuck_again on postmeter.stuck (again_at) where again_at is not null;
comment on table postmeter.stuck is 'Deliveries that neither wait for their time nor are settled: the dead letters among deliveries. Kept by a trigger of delivery, whose status has no index, so that its updates stay in their page.';
comment on column postmeter.stuck.delivery_id is 'The delivery.';
comment on column postmeter.stuck.destination_id is 'Its destination.';
comment on column postmeter.stuck.status is 'Its status.';
comment on column postmeter.stuck.since is 'Since when.';
comment on column postmeter.stuck.again_at is 'When maintenance considers it by itself: a buyer who was not entitled is asked for again, and what expired is rolled forward where the destination says so. Null: it waits for a person.';

create function postmeter.delivery_stuck() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if new.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held') then
        delete from postmeter.stuck s where s.delivery_id = new.id;
        return null;
    end if;
    insert into postmeter.stuck (delivery_id, destination_id, status, since, again_at)
    values (new.id, new.destination_id, new.status, new.changed_at, case
        when new.maybe_billed then null
        when new.status = 'held' and new.reason = 'invalid_subscription' and new.body is not null then new.changed_at + interval '10 minutes'
        when new.status = 'expired' and (select t.expired_policy from postmeter.destination t where t.id = new.destination_id) = 'roll_forward'
            then new.changed_at end)
    on conflict (delivery_id) do update set status = excluded.status, since = excluded.since, again_at = excluded.again_at;
    return null;
end
$$;
comment on function postmeter.delivery_stuck() is 'Trigger of delivery: keeps postmeter.stuck.';
create trigger stuck after update on postmeter.delivery for each row
    when (old.status is distinct from new.status
          and (old.status in ('rejected', 'expired', 'conflict', 'unknown', 'held') or new.status in ('rejected', 'expired', 'conflict', 'unknown', 'held')))
    execute function postmeter.delivery_stuck();

create function postmeter.reconsider_stuck(most integer, shadows boolean default false) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d          postmeter.delivery;
    candidates bigint[];
    now        timestamptz := postmeter.clock();
    changed    integer := 0;
    after      text;
begin
    -- before any lock: an edit of the catalogue keeps the gate shut and then waits for meters
    perform postmeter.month_gate();
    candidates := array(select s.delivery_id from postmeter.stuck s
                        where s.again_at <= postmeter.clock()
                          and (s.destination_id in (select t.id from postmeter.destination t where t.shadow_of is not null)) = shadows
                        order by s.again_at limit most);
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(select c.meter_id from postmeter.cut c where c.delivery_id = any (candidates)));
    for d in select f.* from postmeter.delivery f where f.id = any (candidates) order by f.id for update loop
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
comment on function postmeter.reconsider_stuck(integer, boolean) is
    'Dead letters that may move without a person: a held remittance whose buyer was not entitled is sent again (every 10 minutes, until its deadline), an expired one is released where the destination''s expired_policy is roll_forward, with a decision signed by postmeter. Never what may have been billed. Of live destinations, or of shadows.';

create view postmeter.dead_letter as
select l.delivery_id, l.usage_id, l.destination, l.class, l.code, l.org, l.product, l.metric, l.dimension, l.hour, l.key, l.quantity, l.amount,
       l.currency, l.since, l.deadline, l.maybe_billed, l.what_to_do, l.orgs, l.item
from (
    select r.delivery_id, null::uuid as usage_id, r.destination, r.status as class, coalesce(r.reason, x.code) as code,
           null::text as org, r.product, null::text as metric, r.dimension, r.hour, r.key, r.quantity, r.amount, r.currency,
           s.since, r.deadline, r.maybe_billed,
           case when r.maybe_billed then 'look it up at the marketplace, then resolve'
                when r.status = 'conflict' then 'compare with what they hold: resolve as billed, or write off'
                when r.status = 'held' and r.reason = 'invalid_subscription' then 'asked again by itself until its deadline; mend the subscription'
                when r.deadline < c.now then 'release to another hour of its month, or write off'
                else 'mend the cause, then retry' end as what_to_do,
           r.orgs, 'remittance ' || r.delivery_id as item
    from postmeter.stuck s
    cross join (select postmeter.clock() as now) c
    join postmeter.remittance r on r.delivery_id = s.delivery_id and not r.shadow
    left join lateral (
        select o.code from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
        where a.delivery_id = s.delivery_id order by a.number desc limit 1) x on true
    union all
    -- named as above, so that Postgres writes the view out as it was read
    select null::bigint as delivery_id, h.usage_id, t.name, 'held usage' as class, h.reason, h.org, h.product, h.metric,
           null::text as dimension, h.hour, null::text as key, h.quantity, null::numeric as amount, null::text as currency, h.held_at,
           h.deadline, false as maybe_billed,
           case h.reason when 'too_late' then 'write off, or set late_policy to part and retry'
                         when 'poison' then 'report it, then retry' when 'by_operator' then 'retry when that is over'
                         else 'mend the catalogue: it then goes on by itself' end as what_to_do,
           array[h.org] as orgs, 'usage ' || h.usage_id as item
    from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    where h.reason in ('too_late', 'poison') or coalesce(h.deadline, h.held_at + interval '1 day') < postmeter.clock()
    union all
    select null::bigint as delivery_id, null::uuid as usage_id, t.name, 'stranded' as class, 'no_hour_left' as code, null::text as org,
           null::text as product, null::text as metric, m.dimension, null::timestamptz as hour, m.buyer || '/' || m.dimension as key,
           m.billable, null::numeric as amount, null::text as currency, null::timestamptz as since, null::timestamptz as deadline,
           false as maybe_billed,
           'set late_policy to part, or renew the subscription: the running hour then takes it; else it is lost' as what_to_do,
           '{}'::text[] as orgs, 'meter ' || m.id as item
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    where m.billable > 0 and t.shadow_of is null and postmeter.target_hour(m.id) is null
      and (t.late_policy <> 'part' or not exists (
            select from postmeter.subscription b
            where b.destination_id = m.destination_id and b.buyer = m.buyer and b.valid_from <= postmeter.clock()
              and (b.valid_until is null or postmeter.clock() < b.valid_until)))
      and not exists (select from postmeter.delivery d join postmeter.open_hour o on o.delivery_id = d.id where d.meter_id = m.id)
) l
order by l.amount desc nulls last, l.quantity desc nulls last, l.since;
comment on view postmeter.dead_letter is
    'What needs a person, the dearest first: rejected, expired, conflict, unknown and held remittances; usage that is held beyond its policy (its deadline has passed, or a day without a destination, or too late, or poison); and quantity of a meter that no hour of its month can take any more. What is unpriced ranks by quantity after what has an amount; amounts are never added over currencies. Without shadows.';

create function postmeter.open_attempts() returns table (attempt_id uuid, delivery_id bigint, worker_id uuid)
language sql stable rows 100
-- of each worker the few since its oldest: never a walk over the ledger, whatever the statistics say of so few workers
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set jit = off
as $$
    select a.id, a.delivery_id, a.worker_id
    from postmeter.worker w
    join postmeter.attempt a on a.worker_id = w.id
     and a.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at - interval '1 hour'))
    where not exists (select from postmeter.outcome o where o.attempt_id = a.id)
$$;
comment on function postmeter.open_attempts() is 'Attempts without an outcome: a call may be under way, or its worker died.';

create view postmeter.at_risk as
select r.delivery_id, r.destination, r.key, r.hour, r.status, r.reason, r.quantity, r.amount, r.currency, r.deadline,
       r.deadline - postmeter.clock() as time_left, r.tries, r.orgs
from postmeter.remittance r
where not r.shadow and r.status in ('open', 'due', 'in_flight', 'held', 'unknown') and r.deadline < postmeter.clock() + interval '1 hour'
  -- the status has no index, so that remittances stay in their page: what is not settled stands elsewhere too
  and r.delivery_id in (
    select o.delivery_id from postmeter.open_hour o
    union all
    select q.delivery_id from postmeter.due q
    union all
    select l.delivery_id from postmeter.later l
    union all
    select s.delivery_id from postmeter.stuck s where s.status in ('held', 'unknown')
    union all
    select a.delivery_id from postmeter.open_attempts() a);
comment on view postmeter.at_risk is 'Remittances that miss their deadline within an hour unless something happens. Without shadows.';

create view postmeter.forecast_detail as
with now as materialized (
    select postmeter.clock() as now
), recent as (
    -- ids are made from the server's clock: so many attempts in the last ten minutes of real time
    select a.destination_id, count(*) / 600.0 as records_a_second
    -- selected, so that it is a constant: the index and the partitions follow it
    from postmeter.attempt a where a.id >= (select postmeter.id_at(clock_timestamp() - interval '10 minutes')) group by 1
), pace as (
    select t.id as destination_id, t.name, t.paused,
           case when q.calls_per_second is null then t.id else -q.id end as line,
           coalesce(q.calls_per_second * t.records_max,
                    greatest(r.records_a_second, t.in_flight_max * t.records_max / extract(epoch from t.call_timeout))) as records_a_second
    from postmeter.destination t
    join postmeter.quota q on q.id = t.quota_id
    left join recent r on r.destination_id = t.id
    where t.shadow_of is null
), waiting as (
    select q.delivery_id, q.destination_id, q.deadline, null::timestamptz as due_at from postmeter.due q
    union all
    select l.delivery_id, l.destination_id, d.deadline, l.due_at
    from postmeter.later l join postmeter.delivery d on d.id = l.delivery_id
), ordered as (
    select w.delivery_id, w.deadline, w.due_at, p.name as destination, p.paused, p.records_a_second,
           row_number() over (partition by p.line order by w.deadline, w.delivery_id) as place
    from waiting w join pace p on p.destination_id = w.destination_id
)
select o.delivery_id, o.destination, o.deadline, o.place,
       case when not o.paused then greatest(n.now + o.place / o.records_a_second * interval '1 second', o.due_at) end as sent_by,
       o.paused or greatest(n.now + o.place / o.records_a_second * interval '1 second', o.due_at) > o.deadline as misses
from ordered o, now n;
comment on view postmeter.forecast_detail is
    'For each waiting remittance, when it will be sent at the present rate: its place by deadline among all that share its quota, at the quota''s calls a second (else the rate of the last ten minutes, at least what its calls in flight would do if each took its timeout). misses: that is after its deadline, or its destination is paused. Without shadows.';

create view postmeter.forecast as
select f.destination, count(*) as waiting, max(f.sent_by) as all_sent_by, count(*) filter (where f.misses) as misses,
       sum(r.quantity) filter (where f.misses) as quantity_missing, min(f.deadline) filter (where f.misses) as first_missed_deadline
from postmeter.forecast_detail f
join postmeter.delivery r on r.id = f.delivery_id
group by f.destination;
comment on view postmeter.forecast is 'Per destination: how many remittances wait, when the last of them will be sent at the present rate, and how many miss their deadline by then (quantity in billing units, over all dimensions: a measure of size, not of money).';

grant select on postmeter.stuck, postmeter.at_risk, postmeter.dead_letter, postmeter.forecast, postmeter.forecast_detail
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.reconsider_stuck(integer, boolean) to postmeter_worker;
grant execute on function postmeter.open_attempts() to postmeter_reader, postmeter_operator, postmeter_worker;
revoke execute on function postmeter.reconsider_stuck(integer, boolean), postmeter.delivery_stuck(), postmeter.open_attempts() from public;

insert into postmeter.migration (version, name) values (10, '0010_pre_dead_letters');
