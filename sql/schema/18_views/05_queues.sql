-- What waits, what needs a person, and what may miss its deadline.

create view postmeter.queue as
select t.name as destination, t.paused, t.dry_run, coalesce(q.due, 0) as due, coalesce(l.later, 0) as later,
    coalesce(o.open, 0) as open,
       q.earliest as earliest_deadline, l.next_at, t.shadow_of is not null as shadow
from postmeter.destination t
left join (select destination_id, count(*) as due, min(deadline) as earliest from postmeter.due group by 1) q
    on q.destination_id = t.id
left join (select destination_id, count(*) as later, min(due_at) as next_at from postmeter.later group by 1) l
    on l.destination_id = t.id
left join (select destination_id, count(*) as open from postmeter.open_hour group by 1) o on o.destination_id = t.id;
comment on view postmeter.queue is
    'Per destination: how much is due, waits for another try, or is still open, and the earliest deadline.';
comment on column postmeter.queue.destination is 'Name of the destination.';
comment on column postmeter.queue.paused is 'A person stopped sending.';
comment on column postmeter.queue.dry_run is 'Everything is done but the call.';
comment on column postmeter.queue.due is 'Deliveries to send now.';
comment on column postmeter.queue.later is 'Deliveries waiting for another try.';
comment on column postmeter.queue.open is 'Hours that still collect.';
comment on column postmeter.queue.earliest_deadline is 'Of what is due.';
comment on column postmeter.queue.next_at is 'When the next of the waiting is due.';
comment on column postmeter.queue.shadow is 'It counts beside a live destination, and never calls.';

-- beside what needs a person there is now what is set aside; the columns stay
create view postmeter.dead_letter as
    select l.delivery_id, l.usage_id, l.destination, l.class, l.code, l.org, l.product, l.metric, l.dimension,
      l.hour, l.key, l.quantity, l.amount, l.currency, l.since, l.deadline, l.maybe_billed, case
          when x.delivery_id is null then l.what_to_do
          else 'may have been sent in the time that was lost: look it up at the marketplace, then resolve'
        end as what_to_do, l.orgs, l.item
     from ( select l_1.delivery_id,
          l_1.usage_id, l_1.destination, l_1.class, l_1.code, l_1.org, l_1.product, l_1.metric, l_1.dimension,
          l_1.hour, l_1.key, l_1.quantity, l_1.amount, l_1.currency, l_1.since, l_1.deadline, l_1.maybe_billed,
          l_1.what_to_do, l_1.orgs, l_1.item
         from ( select r.delivery_id,
              null::uuid as usage_id,
              r.destination, r.status as class,
              coalesce(r.reason, x_1.code) as code,
              null::text as org,
              r.product,
              null::text as metric,
              r.dimension, r.hour, r.key, r.quantity, r.amount, r.currency, s.since, r.deadline, r.maybe_billed,
                case
                  when r.reason = 'lost_time' and not r.maybe_billed
                      then 'no hour of its month can take it any more: write it off'
                  when r.reason = 'lost_time'
                      then
                      'see whether they hold it with another hour of that time, then resolve as billed or not billed'
                  when r.maybe_billed then 'look it up at the marketplace, then resolve'
                  when r.status = 'conflict' then
                  case
                    when (exists ( select
                     from postmeter.destination y
                      join postmeter.closed_month z on z.destination_id = y.id and z.month = r.month
                     where y.name = r.destination)) then 'reopen its month, then '
                    else ''
                  end
                      || 'compare with what they hold: resolve as billed, and it counts as they hold it; write off '
                          'only if they hold nothing of it any more'
                  when r.quantity = 0::numeric then
                  case
                    when r.deadline >= c.now and r.status <> 'expired' then 'mend the cause, then retry; or '
                    else ''
                  end || 'write off: nothing was used in that hour'
                  when r.status = 'held' and r.reason = 'invalid_subscription' and r.deadline >= c.now
                      then
                      'asked again by itself until its deadline; mend the subscription there, or the catalogue and '
                          'recount'
                  when r.reason = 'quantity_out_of_range' then coalesce(postmeter.release_needs(array( select k.meter_id
                   from postmeter.cut k
                   where k.delivery_id = r.delivery_id and k.to_bill > 0::numeric)) || ', then ', '')
                       || 'correct its usage, then release; or write off'
                  when r.deadline < c.now or r.status = 'expired'
                      then coalesce(('write off, or ' || postmeter.release_needs(array( select k.meter_id
                   from postmeter.cut k
                   where k.delivery_id = r.delivery_id and k.to_bill > 0::numeric)))
                       || ' and release (recount as late usage, if the catalogue was mistaken)',
                       'release to another hour of its month (recount as late usage, if the catalogue was '
                           'mistaken), or write off')
                  else ('mend the cause, then retry; if it was the catalogue, mend that, ' ||
                  case
                    when (exists ( select
                     from postmeter.destination y
                      join postmeter.closed_month z on z.destination_id = y.id and z.month = r.month
                     where y.name = r.destination)) then 'reopen its month, '
                    else ''
                  end) || 'then recount'
                end as what_to_do, r.orgs,
              'remittance ' || r.delivery_id as item
             from postmeter.stuck s
              cross join ( select postmeter.clock() as now) c
              join postmeter.remittance r on r.delivery_id = s.delivery_id and not r.shadow
              left join lateral ( select o.code
                 from postmeter.attempt a
                  join postmeter.outcome o on o.attempt_id = a.id
                 where a.delivery_id = s.delivery_id
                 order by a.number desc
                limit 1) x_1 on true
            union all
            select null::bigint as delivery_id,
              h.usage_id, t.name,
              'held usage' as class,
              h.reason, h.org, h.product, h.metric,
              null::text as dimension,
              h.hour,
              null::text as key,
              h.quantity,
              null::numeric as amount,
              null::text as currency,
              h.held_at, h.deadline, false as maybe_billed, case
                  case
                    when h.reason = 'month_closed'
                        and postmeter.month_is_dropped(h.destination_id, postmeter.month_of(h.hour, t.zone))
                        then 'dropped'
                    else h.reason
end
                  when 'dropped' then 'write off: its month was dropped'
                  when 'too_late' then
                  case
                    when h.corrected_id is not null and not (exists ( select
                     from postmeter.held x_1
                     where x_1.usage_id = h.corrected_id)) then 'write off: what it corrects is not there any more'
                    else coalesce(('write off, or ' || postmeter.held_needs(h)) || ' and retry', 'retry, or write off')
end
                  when 'month_closed' then ('write off, or ' || coalesce(postmeter.held_needs(h) || ' and ', ''))
                      || 'reopen the month: it then goes on by itself'
                  when 'poison' then 'report it, then retry'
                  when 'lost_time'
                      then 'see whether they hold it with another hour of that time: write off if so, else retry'
                  when 'by_operator' then 'retry when that is over'
                  when 'implausible' then 'retry counts it if it is right; else correct it, then retry, or write off'
                  else 'mend the catalogue: it then goes on by itself'
                end as what_to_do,
              array[h.org] as orgs,
              'usage ' || h.usage_id as item
             from postmeter.held h
              left join postmeter.destination t on t.id = h.destination_id
             where (h.reason = any (array['too_late', 'lost_time', 'poison', 'implausible']))
                 or coalesce(h.deadline, h.held_at + '1 day') < postmeter.clock()
            union all
            select null::bigint as delivery_id,
              null::uuid as usage_id,
              t.name,
              'stranded' as class,
              'no_hour_left' as code,
              null::text as org,
              null::text as product,
              null::text as metric,
              m.dimension,
              null::timestamptz as hour,
              (m.buyer || '/') || m.dimension as key,
              m.billable,
              null::numeric as amount,
              null::text as currency,
              null::timestamptz as since,
              null::timestamptz as deadline,
              false as maybe_billed,
              postmeter.release_needs(array[m.id]) || ': the running hour then takes it; else it is lost' as what_to_do,
              '{}'::text[] as orgs,
              'meter ' || m.id as item
             from postmeter.meter m
              join postmeter.destination t on t.id = m.destination_id
             where m.billable > 0::numeric and t.shadow_of is null and postmeter.target_hour(m.id) is null
                 and postmeter.release_needs(array[m.id]) is not null
                 and (t.late_policy <> 'part' or not (exists ( select
                 from postmeter.subscription b
                 where b.destination_id = m.destination_id and b.buyer = m.buyer and b.valid_from <= postmeter.clock()
                     and (b.valid_until is null or postmeter.clock() < b.valid_until)))) and not (exists ( select
                 from postmeter.delivery d
                  join postmeter.open_hour o on o.delivery_id = d.id
                 where d.meter_id = m.id))
            union all
            select d.id as delivery_id, u.id as usage_id,
              coalesce(t.name, dt.name, mt.name) as name,
              'set aside' as class,
              coalesce(s.code, 'unknown') as code,
              u.org,
              coalesce(u.product, d.product) as product,
              u.metric,
              coalesce(dm.dimension, m.dimension) as dimension,
              coalesce(d.hour, postmeter.hour_of(u.used_at)) as hour,
              d.key, u.quantity,
              null::numeric as amount,
              null::text as currency,
              s.set_aside_at, d.deadline, false as maybe_billed,
              'mend what the reason in postmeter.setback names: it is tried again by itself' as what_to_do,
                case
                  when u.org is null then '{}'::text[]
                  else array[u.org]
                end as orgs,
              ((s.step || ' ') || s.member) collate "default" as item
             from postmeter.setback s
              left join postmeter.destination t on t.id = s.destination_id
              left join postmeter.usage u on s.step = 'fold' and u.id =
                case
                  when s.member ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then s.member::uuid
                  else null::uuid
end
              left join postmeter.delivery d on (s.step = any (array['cut', 'review', 'reconsider', 'promote']))
                  and d.id =
                case
                  when s.member ~ '^[0-9]{1,18}$' then s.member::bigint
                  else null::bigint
end
              left join postmeter.destination dt on dt.id = d.destination_id
              left join postmeter.meter dm on dm.id = d.meter_id
              left join postmeter.meter m on (s.step = any (array['carry', 'month_end'])) and m.id =
                case
                  when s.member ~ '^[0-9]{1,18}$' then s.member::bigint
                  else null::bigint
end
              left join postmeter.destination mt on mt.id = m.destination_id
             where s.set_aside_at is not null and s.step !~~ 'shadow%') l_1
         order by l_1.amount desc nulls last, l_1.quantity desc nulls last, l_1.since) l
      left join postmeter.doubt x on x.delivery_id = l.delivery_id and x.decision_id is null
    union all
    select c.delivery_id,
      null::uuid as usage_id,
      t.name as destination,
      'contradiction' as class,
      c.says as code,
      null::text as org,
      d.product,
      null::text as metric,
      coalesce(c.dimension, m.dimension) as dimension,
      d.hour,
      coalesce(d.key, (((c.buyer || '/') || c.dimension) || ', ') || b.day::text) as key,
      coalesce(c.their_quantity, c.our_quantity) as quantity,
      null::numeric as amount,
      null::text as currency,
      c.noted_at as since, d.deadline,
      coalesce(d.maybe_billed, false) as maybe_billed,
        case
          when c.delivery_id is null or c.is_earlier
              then ('compare with what they hold, then judge contradiction ' || c.id) || ' as ours'
          else ('compare with what they hold, then judge contradiction ' || c.id) || ' as theirs or ours'
        end as what_to_do,
      '{}'::text[] as orgs,
      'contradiction ' || c.id as item
     from postmeter.contradiction c
      join postmeter.destination t on t.id = c.destination_id
      left join postmeter.delivery d on d.id = c.delivery_id
      left join postmeter.meter m on m.id = d.meter_id
      left join postmeter.reconciliation b on b.id = c.reconciliation_id
     where c.decision_id is null
     order by 13 desc nulls last, 12 desc nulls last, 15;
comment on view postmeter.dead_letter is
    'What needs a person, the dearest first: rejected, expired, conflict, unknown and held remittances; usage that '
    'is held beyond its policy (its deadline has passed, or a day without a destination, or too late, poison, or '
    'recorded before commits were lost); quantity of a meter that no hour of its month can take any more; what a '
    'step has set aside because it fails; and open contradictions. What is unpriced ranks by quantity after what '
    'has an amount; amounts are never added over currencies. Without shadows.';
comment on column postmeter.dead_letter.delivery_id is 'The remittance; null: it is none.';
comment on column postmeter.dead_letter.usage_id is 'The held usage; null: it is none.';
comment on column postmeter.dead_letter.destination is 'Where it goes, if that is known.';
comment on column postmeter.dead_letter.class is
    'rejected, expired, conflict, unknown, held, held usage, stranded, set aside or contradiction.';
comment on column postmeter.dead_letter.code is
    'The reason, the code of the last answer, the SQLSTATE with which a step failed, or what a contradiction says.';
comment on column postmeter.dead_letter.org is 'Org of held usage; else see orgs.';
comment on column postmeter.dead_letter.product is 'Our product, by stable tag.';
comment on column postmeter.dead_letter.metric is 'Metric of held usage.';
comment on column postmeter.dead_letter.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.dead_letter.hour is 'The hour, UTC.';
comment on column postmeter.dead_letter.key is 'Canonical key of the remittance.';
comment on column postmeter.dead_letter.quantity is 'Billing units; of held usage, units of its metric.';
comment on column postmeter.dead_letter.amount is 'Billing units times unit price; null: unpriced, never zero.';
comment on column postmeter.dead_letter.currency is 'Currency of the amount; null: unpriced.';
comment on column postmeter.dead_letter.since is 'Since when it is stuck.';
comment on column postmeter.dead_letter.deadline is 'Until when its hour can be sent.';
comment on column postmeter.dead_letter.maybe_billed is 'An attempt may have arrived: look there first.';
comment on column postmeter.dead_letter.what_to_do is 'In words.';
comment on column postmeter.dead_letter.orgs is 'Of a remittance all orgs in it, of held usage its own.';
comment on column postmeter.dead_letter.item is 'Which one, as one text that is unique in this view.';

create view postmeter.at_risk as
select r.delivery_id, r.destination, r.key, r.hour, r.status, r.reason, r.quantity, r.amount, r.currency, r.deadline,
       r.deadline - postmeter.clock() as time_left, r.tries, r.orgs
from postmeter.remittance r
where not r.shadow and r.status in ('open', 'due', 'in_flight', 'held', 'unknown')
    and r.deadline < postmeter.clock() + interval '1 hour'
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
comment on view postmeter.at_risk is
    'Remittances that miss their deadline within an hour unless something happens. Without shadows.';
comment on column postmeter.at_risk.delivery_id is 'The remittance.';
comment on column postmeter.at_risk.destination is 'Name of the destination.';
comment on column postmeter.at_risk.key is 'Canonical key of the remittance.';
comment on column postmeter.at_risk.hour is 'The hour, UTC.';
comment on column postmeter.at_risk.status is 'Where it stands: docs/states.md.';
comment on column postmeter.at_risk.reason is 'Why it is held: a stable code.';
comment on column postmeter.at_risk.quantity is 'Billing units, frozen by the cut; null while open.';
comment on column postmeter.at_risk.amount is 'Billing units times unit price; null: unpriced, never zero.';
comment on column postmeter.at_risk.currency is 'Currency of the amount; null: unpriced.';
comment on column postmeter.at_risk.deadline is 'Last moment at which it may be sent, margin taken off.';
comment on column postmeter.at_risk.time_left is 'Until then; below zero: passed.';
comment on column postmeter.at_risk.tries is 'Attempts that count against the retry policy.';
comment on column postmeter.at_risk.orgs is 'The orgs whose usage is in it.';
