-- How the installation is.

create view postmeter.destination_health as
select t.name as destination, t.paused,
       case when b.destination_id is null then 'closed' when b.ramp is not null then 'recovering'
            when b.open_until > clock_timestamp() then 'open' else 'half_open' end as breaker,
       b.opened_at as since, case when b.ramp is null then b.open_until end as next_probe_at,
       case when b.probing_until > clock_timestamp()
           then (select w.name from postmeter.worker w where w.id = b.probing_by) end as probing,
       b.ramp, b.faults, b.outcome as last_outcome, b.code as last_code, b.http_status as last_http_status,
           b.updated_at as changed_at,
       q.due, q.later, q.earliest_deadline, q.shadow, t.kind, t.zone, t.dry_run, q.open
from postmeter.destination t
join postmeter.queue q on q.destination = t.name
left join postmeter.breaker b on b.destination_id = t.id;
comment on view postmeter.destination_health is
    'Per destination: whether a person paused it, whether its breaker is closed, open, half open or recovering, '
    'since when and why, and how much waits. Times of the breaker are real times.';
comment on column postmeter.destination_health.destination is 'Which.';
comment on column postmeter.destination_health.paused is 'A person stopped sending; independent of the breaker.';
comment on column postmeter.destination_health.breaker is
    'closed (healthy), open (no call), half_open (one call probes), recovering (few calls, then more).';
comment on column postmeter.destination_health.since is 'When it opened; null: closed.';
comment on column postmeter.destination_health.next_probe_at is 'No call before this.';
comment on column postmeter.destination_health.probing is 'Name of the worker that probes now.';
comment on column postmeter.destination_health.ramp is
    'While it recovers: calls that each worker may have in flight, so the fleet as many times that as it has '
    'workers.';
comment on column postmeter.destination_health.faults is 'How often it opened in a row, failed probes included.';
comment on column postmeter.destination_health.last_outcome is 'Outcome of the last call that met the fault.';
comment on column postmeter.destination_health.last_code is 'Its code.';
comment on column postmeter.destination_health.last_http_status is 'Its HTTP status.';
comment on column postmeter.destination_health.changed_at is 'When a worker last wrote any of this.';
comment on column postmeter.destination_health.due is 'Deliveries to send now.';
comment on column postmeter.destination_health.later is 'Deliveries that wait for another try.';
comment on column postmeter.destination_health.earliest_deadline is 'Earliest deadline of what is due.';
comment on column postmeter.destination_health.shadow is
    'It belongs to a shadow: counted beside a live destination, never sent.';
comment on column postmeter.destination_health.kind is 'Which marketplace''s code serves it.';
comment on column postmeter.destination_health.zone is 'Zone whose calendar its billing month follows.';
comment on column postmeter.destination_health.dry_run is 'Everything is done but the call.';
comment on column postmeter.destination_health.open is 'Hours that still collect usage.';

create view postmeter.token_list as
select t.id, t.name, t.scopes, t.org, t.created_at, t.created_by, t.revoked_at, t.revoked_by from postmeter.token t;
comment on view postmeter.token_list is 'Every token ever made, without its hash.';
comment on column postmeter.token_list.id is 'Number.';
comment on column postmeter.token_list.name is 'Name of the caller: decisions are signed with it.';
comment on column postmeter.token_list.scopes is 'What it may do: intake, read, operate.';
comment on column postmeter.token_list.org is 'The only org that it records and reads; null: all.';
comment on column postmeter.token_list.created_at is 'When it was made.';
comment on column postmeter.token_list.created_by is 'Who made it.';
comment on column postmeter.token_list.revoked_at is 'When it was revoked; null: it is valid.';
comment on column postmeter.token_list.revoked_by is 'Who revoked it.';

create view postmeter.missing_hours as
    with moment as materialized (
        select postmeter.clock() as now,
          postmeter.hour_of(postmeter.folded_until()) as until
        ), reporting as materialized (
        select s.id, s.org, s.product, s.buyer, s.destination_id, t.name as destination,
          date_trunc('month'::text, ((c.until - '31 days'::interval) at time zone t.zone))::date as since
         from moment c
          join postmeter.destination t on t.shadow_of is null
          join postmeter.subscription s on s.destination_id = t.id and s.buyer is not null and s.valid_from <= c.now
              and (s.valid_until is null or s.valid_until > c.now)
         where not (exists ( select
             from postmeter.exemption e
             where e.org = s.org and (e.product is null or e.product = s.product) and e.valid_from <= c.now
                 and (e.valid_until is null or e.valid_until > c.now)))
        ), series as (
        select m.id as meter_id, mm.id as metric_id, s.destination, s.buyer, s.org, mm.product, mm.metric
         from reporting s
          join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.month >= s.since
          join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = s.product
        union all
        select m.id, mm.id, s.destination, s.buyer, s.org, mm.product, mm.metric
         from reporting s
          join ( select k_1.subscription_id,
              k_1.month, k_1.contract
             from postmeter.contract_member k_1
            union all
            select x.id, m_1.month, m_1.buyer
             from postmeter.subscription x
              join postmeter.meter m_1 on m_1.destination_id = x.destination_id
                  and m_1.buyer = postmeter.contract_name(x.product, x.contract)
             where x.contract is not null and not (exists ( select
                 from postmeter.contract_member k_1
                 where k_1.subscription_id = x.id and k_1.month = m_1.month))
             group by x.id, m_1.month, m_1.buyer) k on k.subscription_id = s.id and k.month >= s.since
                 and k.contract <> s.buyer
          join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = k.contract and m.month = k.month
          join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = s.product
        ), last as (
        select k.meter_id, k.metric_id, k.destination, k.buyer, k.org, k.product, k.metric, l.hour
         from series k
          cross join lateral (( select d.hour
             from postmeter.delivery d
             where d.meter_id = k.meter_id and (exists ( select
                 from postmeter.allocation a
                  join postmeter.subscription x on x.id = a.subscription_id
                 where a.delivery_id = d.id and a.meter_metric_id = k.metric_id and x.org = k.org
                offset 0))
             order by d.hour desc
            limit 1)
            union all
            ( select d.hour
             from postmeter.part p
              join postmeter.delivery d on d.id = p.delivery_id
             where p.meter_id = k.meter_id and d.meter_id <> p.meter_id and (exists ( select
                 from postmeter.allocation a
                  join postmeter.subscription x on x.id = a.subscription_id
                 where a.delivery_id = d.id and a.meter_metric_id = k.metric_id and x.org = k.org
                offset 0))
             order by d.hour desc
            limit 1)) l
        ), silent as (
        select l.destination, l.buyer, l.org, l.product, l.metric,
          array_agg(l.meter_id) as meters,
          array_agg(l.metric_id) as metrics,
          max(l.hour) as last_hour,
          c.until - max(l.hour) - '01:00:00'::interval as silent_for
         from last l,
          moment c
         group by l.destination, l.buyer, l.org, l.product, l.metric, c.until
        having max(l.hour) <= (c.until - '04:00:00'::interval)
        ), usual as (
        select s.destination, s.buyer, s.org, s.product, s.metric, s.last_hour, s.silent_for, w.hours,
          w.longest_gap, w.lag
         from silent s
          cross join lateral ( select count(*) as hours,
              max(g.gap) as longest_gap,
              percentile_disc(0.9::double precision) WITHIN GROUP (order by g.lag) as lag
             from ( select h.lag,
                  h.hour - lag(h.hour) over (order by h.hour) as gap
                 from ( select d.hour,
                      min(GREATEST(d.opened_at - d.hour - '01:00:00'::interval, '00:00:00'::interval)) as lag
                     from UNNEST(s.meters, s.metrics) k(meter_id, metric_id)
                      cross join lateral postmeter.hours_of_meter(k.meter_id) d(delivery_id, hour, opened_at)
                     where d.hour > (s.last_hour - '168:00:00'::interval) and d.hour <= s.last_hour and (exists ( select
     from postmeter.allocation a
      join postmeter.subscription x on x.id = a.subscription_id
     where a.delivery_id = d.delivery_id and a.meter_metric_id = k.metric_id and x.org = s.org
    offset 0))
                     group by d.hour) h) g) w
         where w.hours >= 20
        ), judged as (
        select u.destination, u.buyer, u.org, u.product, u.metric, u.last_hour, u.silent_for, u.hours,
          u.longest_gap, u.lag,
          GREATEST('03:00:00'::interval, u.longest_gap * 1.5::double precision) + u.lag as bearable
         from usual u
        )
    select j.destination, j.buyer, j.org, j.product, j.metric, j.last_hour, j.silent_for,
      j.hours as hours_reported, j.longest_gap, j.lag as usual_lag, j.bearable
     from judged j
     where j.silent_for >= j.bearable and not (exists ( select
         from postmeter.held h
         where h.org = j.org and h.product = j.product and h.metric = j.metric and h.hour > j.last_hour));
comment on view postmeter.missing_hours is
    'Who reported regularly and stopped: an org''s metric with usage in at least 20 of the 168 hours up to its '
    'last, and none since, for longer than 3 hours and one and a half times its longest gap in that week, plus the '
    'lag with which it usually reports. Only while its subscription is in force and nothing exempts it; usage that '
    'is held or not folded yet is no silence. Live destinations, the last two months.';
comment on column postmeter.missing_hours.destination is 'Name of the destination.';
comment on column postmeter.missing_hours.buyer is 'The buyer in canonical text.';
comment on column postmeter.missing_hours.org is 'Who stopped reporting.';
comment on column postmeter.missing_hours.product is 'Our product.';
comment on column postmeter.missing_hours.metric is 'Our metric.';
comment on column postmeter.missing_hours.last_hour is 'The last hour with usage.';
comment on column postmeter.missing_hours.silent_for is 'How long nothing has come since that hour ended.';
comment on column postmeter.missing_hours.hours_reported is 'Hours with usage among the 168 up to the last one.';
comment on column postmeter.missing_hours.longest_gap is 'The longest time between two of them.';
comment on column postmeter.missing_hours.usual_lag is
    'How long after an hour''s end its usage comes; nine in ten come sooner.';
comment on column postmeter.missing_hours.bearable is 'Silence up to this is usual.';

create view postmeter.alert_list as
select a.id, a.name, a.subject, a.severity, a.cleared_at is null as open, a.opened_at, a.last_seen_at, a.cleared_at,
    a.count, a.summary,
       a.details, a.told_at
from postmeter.alert a;
comment on view postmeter.alert_list is 'Alerts, open and cleared.';
comment on column postmeter.alert_list.id is 'Order of opening.';
comment on column postmeter.alert_list.name is 'Its rule.';
comment on column postmeter.alert_list.subject is 'What it is about, mostly a destination; empty: the whole.';
comment on column postmeter.alert_list.severity is 'critical or warning, as its rule said when it was opened.';
comment on column postmeter.alert_list.open is 'It has not cleared.';
comment on column postmeter.alert_list.opened_at is 'When it was seen first.';
comment on column postmeter.alert_list.last_seen_at is 'When it was seen last.';
comment on column postmeter.alert_list.cleared_at is 'When it was not seen any more.';
comment on column postmeter.alert_list.count is 'How many things it is about.';
comment on column postmeter.alert_list.summary is 'What is so, in a sentence.';
comment on column postmeter.alert_list.details is 'Up to five examples, and what else helps.';
comment on column postmeter.alert_list.told_at is 'When it was last put into a post to the webhook.';

create view postmeter.refused_buyer as
select t.name as destination, r.buyer, r.code, r.http_status, r.alone as refusals, r.since, r.refused_at, r.delivery_id,
       case when r.judged_at is not null then 'buyer'
            when (select count(*) from postmeter.refusal o
                  where o.destination_id = r.destination_id and o.alone > 0 and o.passed_at is null
                      and o.judged_at is null) >= 3
            then 'credential' else 'unknown' end as to_blame,
       r.judged_at
from postmeter.refusal r
join postmeter.destination t on t.id = r.destination_id
join postmeter.delivery d on d.id = r.delivery_id
-- what is over for its remittance says nothing any more, nor what others have passed after
where r.alone > 0 and d.status in ('due', 'in_flight', 'held')
    and (r.judged_at is not null or r.passed_at is null or d.status <> 'held');
comment on view postmeter.refused_buyer is
    'Buyers that were refused in a call of their own, and whose fault it is: the buyer''s (others passed after '
    'it), the credential''s (three were refused and none has passed since), or unknown as yet. Times are real '
    'times.';
comment on column postmeter.refused_buyer.destination is 'The destination.';
comment on column postmeter.refused_buyer.buyer is 'The buyer, as the marketplace knows it.';
comment on column postmeter.refused_buyer.code is 'Their word for it.';
comment on column postmeter.refused_buyer.http_status is 'The HTTP status.';
comment on column postmeter.refused_buyer.refusals is 'How often in a call of its own.';
comment on column postmeter.refused_buyer.since is 'When it was refused first.';
comment on column postmeter.refused_buyer.refused_at is 'When it was refused last.';
comment on column postmeter.refused_buyer.delivery_id is 'The remittance that was refused last.';
comment on column postmeter.refused_buyer.to_blame is 'buyer, credential or unknown.';
comment on column postmeter.refused_buyer.judged_at is 'When it was found to be the buyer''s own fault.';

create view postmeter.fleet as
with process as materialized (
    select 'worker' as part, w.name, w.started_at, w.heartbeat_at as seen_at, w.lease_until as alive_until, w.stopped_at
    from postmeter.worker w
    union all
    select 'console' as part, c.name, c.started_at, c.seen_at, c.seen_at + interval '1 minute' as alive_until,
        c.stopped_at
    from postmeter.console c
), part as (
    select 'worker' as part, s.workers_expected as expected from postmeter.setting s
    union all
    select 'console' as part, s.consoles_expected as expected from postmeter.setting s
), alive as (
    select p.part, p.expected,
           (select count(*) from process x where x.part = p.part and x.stopped_at is null
               and x.alive_until > clock_timestamp()) as alive
    from part p
), lost as (
    -- who fell silent without a word, and how many lived then that have not stopped in order since
    select l.part, l.name, l.alive_until,
           (select count(*) from process x
            where x.part = l.part and x.stopped_at is null and x.started_at <= l.seen_at
                and x.seen_at >= l.seen_at) as lived
    from (select x.part, x.name, x.seen_at, x.alive_until from process x
          where x.stopped_at is null and x.alive_until <= clock_timestamp()
              and x.alive_until > clock_timestamp() - interval '7 days'
          order by x.alive_until desc limit 100) l
)
select a.part, a.alive, coalesce(a.expected, l.lived, a.alive) as expected,
       greatest(coalesce(a.expected, l.lived, a.alive) - a.alive, 0) as missing,
       coalesce(l.alive_until, (select max(x.stopped_at) from process x where x.part = a.part), '-infinity') as since,
           l.names
from alive a
left join lateral (
    select max(x.lived) as lived, max(x.alive_until) as alive_until,
           (array_agg(x.name order by x.alive_until desc))[1:5] as names
    from lost x where x.part = a.part and (a.expected is not null or x.lived > a.alive)
) l on true;
comment on view postmeter.fleet is
    'Workers and consoles: how many live, and how many are missing. One that stopped in order is not missed; one '
    'that was replaced is not either.';
comment on column postmeter.fleet.part is 'worker or console.';
comment on column postmeter.fleet.alive is 'How many live.';
comment on column postmeter.fleet.expected is
    'How many should: by setting.workers_expected and consoles_expected, else as many as lived when one was lost '
    'within a week.';
comment on column postmeter.fleet.missing is 'How many are missing.';
comment on column postmeter.fleet.since is 'Since when the last of the lost ones is silent, or the last one stopped.';
comment on column postmeter.fleet.names is 'The lost ones, the latest first; five at most. Null: none is lost.';

create view postmeter.setback_list as
select s.step, s.member, t.name as destination, s.org,
       case when s.set_aside_at is not null then 'set_aside' when s.code is not null then 'failing'
           else 'locked' end as state,
       s.since, s.last_at, case when s.code is not null then s.failed else s.skipped end as times,
       case when s.code is not null then s.reason
            else coalesce('held by ' || s.holder, 'another session holds it') end as why,
       case when s.code is not null then s.next_at end as next_at
from postmeter.setback s
left join postmeter.destination t on t.id = s.destination_id;
comment on view postmeter.setback_list is
    'What a step could not take along, and why: set aside, failing or locked. The rest of each batch went on.';
comment on column postmeter.setback_list.step is 'The step.';
comment on column postmeter.setback_list.member is
    'What it handles one of: fold a usage or an org, cut a remittance, carry a meter.';
comment on column postmeter.setback_list.destination is 'Where it goes, if the step knows that.';
comment on column postmeter.setback_list.org is 'Whose it is, if the step knows that.';
comment on column postmeter.setback_list.state is
    'set_aside: it failed twice alone while another passed; failing: it failed; locked: another session holds it.';
comment on column postmeter.setback_list.since is 'Since when it does not go through.';
comment on column postmeter.setback_list.last_at is 'When that was last tried.';
comment on column postmeter.setback_list.times is 'Rounds in a row.';
comment on column postmeter.setback_list.why is 'The server''s message, or the session that holds it.';
comment on column postmeter.setback_list.next_at is 'When it is tried again; null: in the next round.';

create view postmeter.hour_not_cut as
select d.id as delivery_id, t.name as destination, d.key, d.hour, d.deadline, d.deadline - t.lead as should_be_cut_at
from postmeter.open_hour o
join postmeter.delivery d on d.id = o.delivery_id
join postmeter.destination t on t.id = d.destination_id
where not d.shadow and o.hour <= postmeter.clock() - interval '1 hour' and d.deadline - t.lead <= postmeter.clock();
comment on view postmeter.hour_not_cut is
    'Open hours so near their deadline that they must be cut at once, whatever is still on its way.';
comment on column postmeter.hour_not_cut.delivery_id is 'The open remittance.';
comment on column postmeter.hour_not_cut.destination is 'Its destination.';
comment on column postmeter.hour_not_cut.key is 'Its canonical key.';
comment on column postmeter.hour_not_cut.hour is 'The hour, UTC.';
comment on column postmeter.hour_not_cut.deadline is 'Until when the hour can be sent.';
comment on column postmeter.hour_not_cut.should_be_cut_at is
    'The deadline less the destination''s lead: a worker cuts it then.';

create view postmeter.lost_time as
select t.name as destination, b.noticed_at, t.paused,
       (select max(c.changed_at) from postmeter.catalogue_change c
           where c.changed_at < b.noticed_at) as catalogue_changed_at,
       (select count(*) from postmeter.open_hour o where o.destination_id = t.id
           and o.hour + interval '1 hour' <= b.noticed_at) as hours_waiting,
       (select count(*) from postmeter.due q join postmeter.delivery d on d.id = q.delivery_id
        where q.destination_id = t.id and d.maybe_billed and d.hour + interval '1 hour' <= b.noticed_at) as sent_again,
       (select count(*) from postmeter.stuck s join postmeter.delivery d on d.id = s.delivery_id
        where s.destination_id = t.id and d.maybe_billed and d.reason is distinct from 'lost_time') as maybe_billed,
       (select count(*) from postmeter.withheld w join postmeter.delivery d on d.id = w.delivery_id
        where d.destination_id = t.id and d.status = 'held') as withheld,
       (select count(*) from postmeter.doubt x join postmeter.delivery d on d.id = x.delivery_id
        where d.destination_id = t.id and x.decision_id is null) as doubts,
       (select count(*) from postmeter.held h where h.destination_id = t.id and h.reason = 'lost_time') as usage_held,
       (select count(*) from postmeter.unconfirmed u join postmeter.delivery d on d.id = u.delivery_id
        where d.destination_id = t.id) as unconfirmed,
       t.memory is not null as is_forgetful
from postmeter.destination t
cross join (select max(b.noticed_at) as noticed_at from postmeter.timeline_break b having count(*) > 0) b
where t.shadow_of is null;
comment on view postmeter.lost_time is
    'What the last loss of commits leaves to people, per destination, in numbers. No row: no commits were ever '
    'lost.';
comment on column postmeter.lost_time.destination is 'The destination''s name.';
comment on column postmeter.lost_time.noticed_at is 'When the loss was noticed.';
comment on column postmeter.lost_time.paused is 'It is paused.';
comment on column postmeter.lost_time.catalogue_changed_at is
    'The last change of the catalogue that survived: what was changed after that must be entered again before it '
    'is resumed.';
comment on column postmeter.lost_time.hours_waiting is
    'Open hours that were over then: they are cut, by the catalogue of now, once it is resumed.';
comment on column postmeter.lost_time.sent_again is
    'Due remittances that may have been sent: they are sent again, with the same keys, once it is resumed.';
comment on column postmeter.lost_time.maybe_billed is
    'Stuck remittances that may have been billed: only a person moves them.';
comment on column postmeter.lost_time.withheld is
    'Quantities of meters that may have been billed with another hour: a person says so or not.';
comment on column postmeter.lost_time.doubts is 'Settled remittances that may have been reopened in that time.';
comment on column postmeter.lost_time.usage_held is
    'Usages that were too late for their hours and may have been billed with another one.';
comment on column postmeter.lost_time.unconfirmed is
    'Accepted remittances of which they said duplicate, and not how much they hold.';
comment on column postmeter.lost_time.is_forgetful is
    'They recognise a repeat for a limited time only: what may have been sent is not sent again, but left to a '
    'person as unknown.';
