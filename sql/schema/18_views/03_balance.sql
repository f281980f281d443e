-- The balance and the meters.

create view postmeter.balance as
    with summed as (
        select r_1.meter_id,
          sum(r_1.recorded) as recorded,
          sum(r_1.open) as open,
          sum(r_1.remains) as remains,
          sum(r_1.billed) filter (where r_1.status = any (array['due', 'in_flight'])) as due,
          sum(r_1.billed) filter (where r_1.status = 'unknown') as unknown,
          sum(r_1.billed) filter (where r_1.status = 'accepted') as accepted,
          sum(r_1.billed) filter (where r_1.status = 'held') as held,
          sum(r_1.billed) filter (where r_1.status = 'rejected') as rejected,
          sum(r_1.billed) filter (where r_1.status = 'expired') as expired,
          sum(r_1.billed) filter (where r_1.status = 'conflict') as conflict,
          sum(r_1.billed) filter (where r_1.status = 'written_off') as written_off,
          sum(r_1.billed) filter (where r_1.status = 'dry_run') as dry_run,
          sum(r_1.shown) as shown
         from postmeter.remittance_balance r_1
         group by r_1.meter_id
        )
    select t.name as destination, m.buyer, m.dimension, m.month, m.id as meter_id, c.denominator,
      trim_scale(coalesce(r.recorded, 0::numeric)) as recorded,
      trim_scale(coalesce(r.open, 0::numeric)) as open,
      trim_scale(coalesce(r.due, 0::numeric) * c.denominator) as due,
      trim_scale(coalesce(r.unknown, 0::numeric) * c.denominator) as unknown,
      trim_scale((coalesce(r.accepted, 0::numeric) + coalesce(r.shown, 0::numeric)) * c.denominator) as accepted,
      trim_scale(coalesce(r.held, 0::numeric) * c.denominator) as held,
      trim_scale(coalesce(r.rejected, 0::numeric) * c.denominator) as rejected,
      trim_scale(coalesce(r.expired, 0::numeric) * c.denominator) as expired,
      trim_scale((coalesce(r.conflict, 0::numeric) - coalesce(r.shown, 0::numeric)) * c.denominator) as conflict,
      trim_scale(coalesce(r.written_off, 0::numeric) * c.denominator) as written_off,
      trim_scale(coalesce(r.dry_run, 0::numeric) * c.denominator) as dry_run,
      trim_scale(c.covered) as covered,
      trim_scale(c.carried) as carried,
      trim_scale(coalesce(r.remains, 0::numeric) - c.holds) as difference,
      t.shadow_of is not null as shadow
     from postmeter.meter m
      join postmeter.destination t on t.id = m.destination_id
      join postmeter.meter_balance c on c.meter_id = m.id
      left join summed r on r.meter_id = m.id
    union all
    select t.name as destination, k.buyer, k.dimension, k.month, k.id as meter_id, k.common as denominator,
      trim_scale(k.recorded) as recorded,
      0::numeric as open,
      0::numeric as due,
      0::numeric as unknown,
      trim_scale(k.accepted) as accepted,
      trim_scale(k.held) as held,
      0::numeric as rejected,
      trim_scale(k.expired) as expired,
      0::numeric as conflict,
      trim_scale(k.written_off) as written_off,
      trim_scale(k.dry_run) as dry_run,
      trim_scale(k.covered) as covered,
      trim_scale(k.remains) as carried,
      trim_scale(k.recorded - k.accepted - k.held - k.expired - k.written_off - k.dry_run - k.covered - k.remains) as
          difference,
      t.shadow_of is not null as shadow
     from postmeter.dropped_meter k
      join postmeter.destination t on t.id = k.destination_id
     where k.common is not null;
comment on view postmeter.balance is
    'Per destination and meter, in billing units x denominator (exact): recorded = open + due + unknown + accepted '
    '+ held + rejected + expired + conflict + written off + dry run + covered + carried. Carried is signed. The '
    'difference is zero at every moment. Quick by meter_id; sql/operations/balance_of_org.sql does that for each '
    'meter of an org. What waits in the outbox has no meter yet: see usage_balance. Meters of a shadow bear its '
    'name and the mark shadow.';
comment on column postmeter.balance.destination is 'Name of the destination.';
comment on column postmeter.balance.buyer is 'The buyer in canonical text.';
comment on column postmeter.balance.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.balance.month is 'First day of the billing month.';
comment on column postmeter.balance.meter_id is 'The meter.';
comment on column postmeter.balance.denominator is
    'Common denominator of the meter''s factors; divide by it for billing units.';
comment on column postmeter.balance.recorded is 'All usage allocated to it.';
comment on column postmeter.balance.open is 'Of this, in hours that are still open.';
comment on column postmeter.balance.due is 'Cut and to be sent, or in flight.';
comment on column postmeter.balance.unknown is 'Billed by remittances that are unknown.';
comment on column postmeter.balance.accepted is 'Billed by accepted remittances; of a conflict, what they hold.';
comment on column postmeter.balance.held is 'Billed by remittances in that status.';
comment on column postmeter.balance.rejected is 'Billed by remittances in that status.';
comment on column postmeter.balance.expired is 'Billed by remittances in that status.';
comment on column postmeter.balance.conflict is 'Billed by remittances in conflict, less what they hold.';
comment on column postmeter.balance.written_off is 'Billed by remittances in that status.';
comment on column postmeter.balance.dry_run is 'Billed by remittances that ended as dry_run.';
comment on column postmeter.balance.covered is 'Paid for by contracts.';
comment on column postmeter.balance.carried is 'A remainder not billed yet, or (below zero) credit.';
comment on column postmeter.balance.difference is 'Zero at every moment.';
comment on column postmeter.balance.shadow is 'A meter of a shadow: nothing of it was billed.';

create view postmeter.meter_list as
    select m.id as meter_id, t.name as destination, m.buyer, m.dimension, m.month, m.rounding, m.decimals,
      m.month_end,
      trim_scale(m.billed) as billed,
      trim_scale(m.carried) as carried,
      trim_scale(m.billable) as billable,
      m.denominator, m.cuts, c.closed_at
     from postmeter.meter m
      join postmeter.destination t on t.id = m.destination_id
      left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
    union all
    select k.id as meter_id, t.name as destination, k.buyer, k.dimension, k.month, k.rounding, k.decimals,
      k.month_end,
      trim_scale(k.billed) as billed,
      trim_scale(k.carried) as carried,
      trim_scale(k.billable) as billable,
      k.denominator, k.cuts, c.closed_at
     from postmeter.dropped_meter k
      join postmeter.destination t on t.id = k.destination_id
      left join postmeter.closed_month c on c.destination_id = k.destination_id and c.month = k.month;
comment on view postmeter.meter_list is
    'Every meter as it was last cut: how it rounds, what is billed, and what is carried (billing units x '
    'denominator).';
comment on column postmeter.meter_list.meter_id is 'Its number.';
comment on column postmeter.meter_list.destination is 'Name of the destination.';
comment on column postmeter.meter_list.buyer is 'The buyer in canonical text.';
comment on column postmeter.meter_list.dimension is 'The marketplace''s name of the metric.';
comment on column postmeter.meter_list.month is 'First day of the billing month.';
comment on column postmeter.meter_list.rounding is 'How its billing units are rounded: up, down or nearest.';
comment on column postmeter.meter_list.decimals is 'Decimals of its billing units.';
comment on column postmeter.meter_list.month_end is 'What the month''s last cut does with a remainder.';
comment on column postmeter.meter_list.billed is
    'Billing units of all its cut remittances that no decision has released.';
comment on column postmeter.meter_list.carried is
    'Billing units × denominator: not billed yet, or (below zero) billed ahead.';
comment on column postmeter.meter_list.billable is 'Billing units that a cut would bill now.';
comment on column postmeter.meter_list.denominator is 'Common denominator of its factors.';
comment on column postmeter.meter_list.cuts is 'How often it was cut.';
comment on column postmeter.meter_list.closed_at is 'When a person closed its month.';

create view postmeter.balance_proof as
select t.name as destination, m.month, count(*) as meters,
       count(*) filter (where p.proven_at is not null and not v.moved and not v.anew) as proven,
       count(*) filter (where v.moved) as moved, count(*) filter (where v.anew) as anew,
       count(*) filter (where p.difference <> 0) as open,
       min(p.proven_at) as proven_from, max(p.proven_at) as proven_until, min(p.read_at) as read_from,
           max(p.read_at) as read_until
from postmeter.meter m
join postmeter.destination t on t.id = m.destination_id
left join postmeter.proven_meter p on p.meter_id = m.id
-- where commits were lost, nothing counts as proven
cross join (select exists (select from postmeter.timeline_break x where x.id > b.break_id) as is_broken
    from postmeter.balance_check b) c
cross join lateral (select exists (select from postmeter.balance_moved x where x.meter_id = m.id) as moved,
                           exists (select from postmeter.balance_anew x where x.meter_id = m.id)
                               or c.is_broken as anew) v
group by 1, 2;
comment on view postmeter.balance_proof is
    'Per destination and month, how many meters'' balances are proven, as of when, and how many were written to '
    'since. A month that is over is proven once; a write to it takes the proof of that meter back.';
comment on column postmeter.balance_proof.destination is 'The destination.';
comment on column postmeter.balance_proof.month is 'First day of the billing month.';
comment on column postmeter.balance_proof.meters is 'How many meters.';
comment on column postmeter.balance_proof.proven is 'Of these, proven, and not written to since.';
comment on column postmeter.balance_proof.moved is 'Of these, written to since they were proven.';
comment on column postmeter.balance_proof.anew is 'Of these, being read again whole.';
comment on column postmeter.balance_proof.open is 'Of these, those whose difference is not zero.';
comment on column postmeter.balance_proof.proven_from is 'The oldest of their proofs; real time.';
comment on column postmeter.balance_proof.proven_until is 'The newest of them.';
comment on column postmeter.balance_proof.read_from is
    'When the one of them was read whole that waits longest for its turn; those that were never are left out.';
comment on column postmeter.balance_proof.read_until is 'When the last of them was.';
