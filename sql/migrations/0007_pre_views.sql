-- 0007_pre_views: what people read. The tables behind may change; these names and columns stay.
-- programs: from 0007
-- lock: none

create view postmeter.remittance as
select d.id as delivery_id, t.name as destination, d.key, d.hour, d.product, m.dimension, m.month, m.buyer,
       d.status, d.reason, d.maybe_billed, d.confirmed, d.quantity, d.shown_quantity,
       p.unit_price * d.quantity as amount, p.currency, d.deadline, d.tries, d.attempts, d.idempotency_key,
       d.opened_at, d.cut_at, d.changed_at, d.shadow, o.orgs
from postmeter.delivery d
join postmeter.destination t on t.id = d.destination_id
join postmeter.meter m on m.id = d.meter_id
left join lateral (
    select x.unit_price, x.currency from postmeter.dimension x
    where x.destination_id = m.destination_id and x.name = m.dimension and x.product = d.product and x.valid_from <= m.month
    order by x.valid_from desc, x.id limit 1
) p on true
cross join lateral (
    -- offset 0: each subscription by its key, not all of them for each remittance
    select array(select distinct s.org
                 from (select distinct x.subscription_id as id from postmeter.allocation x where x.delivery_id = d.id) a
                 cross join lateral (select y.org from postmeter.subscription y where y.id = a.id offset 0) s
                 order by s.org) as orgs
) o
where d.kind = 'usage';
comment on view postmeter.remittance is 'Every remittance: what is owed to a marketplace for one key, and where it stands. Without a price, amount is null: unpriced, never zero. Those of a shadow are never sent and are owed to nobody.';

create view postmeter.attempt_ledger as
select a.id as attempt_id, a.delivery_id, d.key, t.name as destination, a.number, a.call_id, a.claimed_at, a.worker_id,
       coalesce(o.outcome, 'open') as outcome, o.code, o.is_try, o.shown_quantity, o.receipt, o.http_status,
       o.their_request_id, o.excerpt, o.duration, o.recorded_at, d.quantity, d.status, d.shadow
from postmeter.attempt a
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.destination t on t.id = a.destination_id
left join postmeter.outcome o on o.attempt_id = a.id;
comment on view postmeter.attempt_ledger is 'Every attempt with its outcome; open: a call may be under way, or its worker died. The evidence.';

create view postmeter.usage_explained as
-- by what has it: an org's usage of an hour is found by its subscriptions (allocation_by_subscription), without an index
-- that every producer would have to write
select u.id as usage_id, u.source, u.event_id, s.org, u.account, u.product, u.metric, u.quantity, u.used_at, u.corrects,
       u.recorded_at, u.request_id, 'allocated' as whereabouts, null::text as reason, t.name as destination, d.id as delivery_id,
       d.key, d.hour as remitted_hour, d.status, a.round, a.hour
from postmeter.allocation a
join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
join postmeter.subscription s on s.id = a.subscription_id
join postmeter.usage u on u.id = a.usage_id
join postmeter.delivery d on d.id = a.delivery_id
union all
select u.id, u.source, u.event_id, h.org, u.account, u.product, u.metric, u.quantity, u.used_at, u.corrects,
       u.recorded_at, u.request_id, 'held', h.reason, t.name, null, null, null, null, null, h.hour
from postmeter.held h
join postmeter.usage u on u.id = h.usage_id
left join postmeter.destination t on t.id = h.destination_id
union all
select u.id, u.source, u.event_id, u.org, u.account, u.product, u.metric, u.quantity, u.used_at, u.corrects,
       u.recorded_at, u.request_id, 'waiting', null, null, null, null, null, null, null, postmeter.hour_of(o.used_at)
from postmeter.outbox o
join postmeter.usage u on u.id = o.id and u.org = o.org
-- its own key, so that one usage is looked up and not looked for
where o.shard = (hashtextextended(u.org, 0) & 1023)::smallint
union all
select u.id, u.source, u.event_id, e.org, u.account, u.product, u.metric, u.quantity, u.used_at, u.corrects,
       u.recorded_at, u.request_id, 'exempt', e.reason, null, null, null, null, null, null, postmeter.hour_of(u.used_at)
from postmeter.exempted x
join postmeter.exemption e on e.id = x.exemption_id
join postmeter.usage u on u.id = x.usage_id
union all
select u.id, u.source, u.event_id, u.org, u.account, u.product, u.metric, u.quantity, u.used_at, u.corrects,
       u.recorded_at, u.request_id, 'written_off', null, null, null, null, null, null, null, postmeter.hour_of(u.used_at)
from postmeter.usage_written_off x
join postmeter.usage u on u.id = x.usage_id;
comment on view postmeter.usage_explained is 'Where every usage is: waiting in the outbox, held, exempt, written off, or allocated to which remittance in which status. One row a usage; one that were lost would have none, and usage_balance would say so. Quick by usage_id, by delivery_id, and by org with a range of hour. Without shadows: see shadow_usage_difference.';

create view postmeter.unremitted as
select 'usage' as kind, h.org, h.product, h.metric, h.hour, h.quantity, 'metric' as unit, 'held' as status, h.reason, h.deadline,
       h.held_at as since, t.name as destination, null::bigint as delivery_id, h.usage_id, h.usage_id::text as item
from postmeter.held h left join postmeter.destination t on t.id = h.destination_id
union all
select 'usage', o.org, o.product, o.metric, postmeter.hour_of(o.used_at), o.quantity, 'metric', 'waiting', null, null, null, null, null,
       o.id, o.id::text
from postmeter.outbox o
union all
select 'remittance', s.org, mm.product, mm.metric, a.hour, sum(a.quantity), 'metric', d.status, d.reason, d.deadline, d.changed_at,
       t.name, d.id, null, jsonb_build_array(d.id, s.org, mm.product, mm.metric, a.hour)::text
from postmeter.allocation a
join postmeter.subscription s on s.id = a.subscription_id
join postmeter.meter_metric mm on mm.id = a.meter_metric_id
join postmeter.delivery d on d.id = a.delivery_id
join postmeter.destination t on t.id = d.destination_id
where d.status not in ('accepted', 'nothing_due', 'released') and not d.shadow
group by s.org, mm.product, mm.metric, a.hour, d.id, t.name
union all
-- quantity that came from other hours alone (released, deferred) has no usage here to be counted by
select 'remittance', s.org, d.product, null, d.hour, d.quantity, 'billing', d.status, d.reason, d.deadline, d.changed_at,
       t.name, d.id, null, jsonb_build_array(d.id, s.org, d.product, null, d.hour)::text
from postmeter.delivery d
join postmeter.destination t on t.id = d.destination_id
join postmeter.meter m on m.id = d.meter_id
left join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer and s.product = d.product
 and s.valid_from <= d.hour and (s.valid_until is null or d.hour < s.valid_until)
where d.status not in ('accepted', 'nothing_due', 'released') and not d.shadow and d.quantity > 0
  and not exists (select from postmeter.allocation a where a.delivery_id = d.id)
group by s.org, d.id, t.name;
comment on view postmeter.unremitted is 'What was not sent or not accepted, and why: waiting and held usage, and remittances in every status but accepted, nothing_due and released (its quantity is with another remittance), by the hour of their usage. A remittance that counts no usage of its own, only what was released or deferred from other hours, is listed in billing units. Without shadows. Quick by org with a range of hour, and by delivery_id.';

create view postmeter.decision_log as
select c.id, c.decided_at, c.who, c.why, c.verb, c.role_name, c.delivery_id, d.key, c.usage_id, t.name as destination,
       c.status_before, c.status_after, c.quantity, c.target_delivery_id, c.detail
from postmeter.decision c
left join postmeter.delivery d on d.id = c.delivery_id
left join postmeter.destination t on t.id = coalesce(c.destination_id, d.destination_id);
comment on view postmeter.decision_log is 'What people decided, and why.';

create view postmeter.usage_balance as
with recorded as (
    select u.org, u.product, u.metric, count(*) as usages, sum(u.quantity) as quantity from postmeter.usage u group by 1, 2, 3
), waiting as (
    select o.org, o.product, o.metric, count(*) as usages, sum(o.quantity) as quantity from postmeter.outbox o group by 1, 2, 3
), held as (
    select h.org, h.product, h.metric, count(*) as usages, sum(h.quantity) as quantity from postmeter.held h group by 1, 2, 3
), exempt as (
    select u.org, u.product, u.metric, count(*) as usages, sum(u.quantity) as quantity
    from postmeter.exempted x join postmeter.usage u on u.id = x.usage_id group by 1, 2, 3
), written_off as (
    select u.org, u.product, u.metric, count(*) as usages, sum(u.quantity) as quantity
    from postmeter.usage_written_off x join postmeter.usage u on u.id = x.usage_id group by 1, 2, 3
), allocated as (
    select s.org, mm.product, mm.metric, count(*) as usages, sum(a.quantity) as quantity
    from postmeter.allocation a
    join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
    join postmeter.subscription s on s.id = a.subscription_id
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    group by 1, 2, 3
)
select r.org, r.product, r.metric, r.usages, trim_scale(r.quantity) as recorded,
       trim_scale(coalesce(w.quantity, 0)) as waiting, trim_scale(coalesce(h.quantity, 0)) as held,
       trim_scale(coalesce(x.quantity, 0)) as exempt, trim_scale(coalesce(o.quantity, 0)) as written_off,
       trim_scale(coalesce(a.quantity, 0)) as allocated,
       trim_scale(r.quantity - coalesce(w.quantity, 0) - coalesce(h.quantity, 0) - coalesce(x.quantity, 0)
                  - coalesce(o.quantity, 0) - coalesce(a.quantity, 0)) as difference,
       r.usages - coalesce(w.usages, 0) - coalesce(h.usages, 0) - coalesce(x.usages, 0) - coalesce(o.usages, 0)
                - coalesce(a.usages, 0) as difference_usages
from recorded r
left join waiting w using (org, product, metric)
left join held h using (org, product, metric)
left join exempt x using (org, product, metric)
left join written_off o using (org, product, metric)
left join allocated a using (org, product, metric);
comment on view postmeter.usage_balance is
    'Per org, product and metric, in units of the metric: recorded = waiting + held + exempt + written off + allocated. The differences are zero at every moment. Live destinations only; of shadows: shadow_usage_difference and recalculate.';

create view postmeter.balance as
with factor as not materialized ( -- so that one meter_id is looked for in its own rows only
    select mm.id, mm.meter_id, mm.used, mm.covered,
           mm.factor_numerator * (postmeter.lcm_of(mm.factor_denominator) over (partition by mm.meter_id) / mm.factor_denominator) as units,
           postmeter.lcm_of(mm.factor_denominator) over (partition by mm.meter_id)::numeric as denominator
    from postmeter.meter_metric mm
), counted as (
    -- the remittances of the meter, and those of later months of which it is a part
    select d.meter_id, d.id, d.status, d.round from postmeter.delivery d
    union all
    select p.meter_id, d.id, d.status, d.round
    from postmeter.part p
    join postmeter.delivery d on d.id = p.delivery_id and d.meter_id <> p.meter_id
), recorded as (
    select f.meter_id, sum(u.quantity * f.units) as recorded,
           coalesce(sum(a.quantity * f.units) filter (where d.status = 'open' and a.round = d.round), 0) as open
    from factor f
    join counted d on d.meter_id = f.meter_id
    join postmeter.allocation a on a.delivery_id = d.id and a.meter_metric_id = f.id
    join postmeter.usage u on u.id = a.usage_id
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
comment on view postmeter.balance is
    'Per destination and meter, in billing units x denominator (exact): recorded = open + due + unknown + accepted + held + rejected + expired + conflict + written off + dry run + covered + carried. Carried is signed. The difference is zero at every moment. Quick by meter_id; sql/operations/balance_of_org.sql does that for each meter of an org. What waits in the outbox has no meter yet: see usage_balance. Meters of a shadow bear its name and the mark shadow.';

create view postmeter.queue as
select t.name as destination, t.paused, t.dry_run, coalesce(q.due, 0) as due, coalesce(l.later, 0) as later, coalesce(o.open, 0) as open,
       q.earliest as earliest_deadline, l.next_at, t.shadow_of is not null as shadow
from postmeter.destination t
left join (select destination_id, count(*) as due, min(deadline) as earliest from postmeter.due group by 1) q on q.destination_id = t.id
left join (select destination_id, count(*) as later, min(due_at) as next_at from postmeter.later group by 1) l on l.destination_id = t.id
left join (select destination_id, count(*) as open from postmeter.open_hour group by 1) o on o.destination_id = t.id;
comment on view postmeter.queue is 'Per destination: how much is due, waits for another try, or is still open, and the earliest deadline.';

insert into postmeter.migration (version, name) values (7, '0007_pre_views');
