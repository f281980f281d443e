-- 0038_pre_isolation: who is locked out, what is set aside and which steps fail: as views, alerts and dead letters.
-- programs: from 0022
-- lock: access exclusive on dead_letter, for a moment: a view that shows one thing more

create view postmeter.setback_list as
select s.step, s.member, t.name as destination, s.org,
       case when s.set_aside_at is not null then 'set_aside' when s.code is not null then 'failing' else 'locked' end as state,
       s.since, s.last_at, case when s.code is not null then s.failed else s.skipped end as times,
       case when s.code is not null then s.reason
            else coalesce('held by ' || s.holder, 'another session holds it') end as why,
       case when s.code is not null then s.next_at end as next_at
from postmeter.setback s
left join postmeter.destination t on t.id = s.destination_id;
comment on view postmeter.setback_list is 'What a step could not take along, and why: set aside, failing or locked. The rest of each batch went on.';
comment on column postmeter.setback_list.step is 'The step.';
comment on column postmeter.setback_list.member is 'What it handles one of: fold a usage or an org, cut a remittance, carry a meter.';
comment on column postmeter.setback_list.destination is 'Where it goes, if the step knows that.';
comment on column postmeter.setback_list.org is 'Whose it is, if the step knows that.';
comment on column postmeter.setback_list.state is 'set_aside: it failed twice alone while another passed; failing: it failed; locked: another session holds it.';
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
comment on view postmeter.hour_not_cut is 'Open hours so near their deadline that they must be cut at once, whatever is still on its way.';
comment on column postmeter.hour_not_cut.delivery_id is 'The open remittance.';
comment on column postmeter.hour_not_cut.destination is 'Its destination.';
comment on column postmeter.hour_not_cut.key is 'Its canonical key.';
comment on column postmeter.hour_not_cut.hour is 'The hour, UTC.';
comment on column postmeter.hour_not_cut.deadline is 'Until when the hour can be sent.';
comment on column postmeter.hour_not_cut.should_be_cut_at is 'The deadline less the destination''s lead: a worker cuts it then.';

-- beside what needs a person there is now what is set aside; the columns stay
create or replace view postmeter.dead_letter as
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
    union all
    select d.id as delivery_id, u.id as usage_id, coalesce(t.name, dt.name, mt.name) as name, 'set aside' as class,
           coalesce(s.code, 'unknown') as code, u.org, coalesce(u.product, d.product) as product, u.metric,
           coalesce(dm.dimension, m.dimension) as dimension, coalesce(d.hour, postmeter.hour_of(u.used_at)) as hour, d.key, u.quantity,
           null::numeric as amount, null::text as currency, s.set_aside_at, d.deadline, false as maybe_billed,
           'mend what the reason in postmeter.setback names: it is tried again by itself' as what_to_do,
           case when u.org is null then '{}'::text[] else array[u.org] end as orgs, (s.step || ' ' || s.member) collate "default" as item
    from postmeter.setback s
    left join postmeter.destination t on t.id = s.destination_id
    left join postmeter.usage u on s.step = 'fold'
     and u.id = case when s.member ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then s.member::uuid end
    left join postmeter.delivery d on s.step in ('cut', 'review', 'reconsider', 'promote')
     and d.id = case when s.member ~ '^[0-9]{1,18}$' then s.member::bigint end
    left join postmeter.destination dt on dt.id = d.destination_id
    left join postmeter.meter dm on dm.id = d.meter_id
    left join postmeter.meter m on s.step in ('carry', 'month_end')
     and m.id = case when s.member ~ '^[0-9]{1,18}$' then s.member::bigint end
    left join postmeter.destination mt on mt.id = m.destination_id
    where s.set_aside_at is not null and s.step not like 'shadow%'
) l
order by l.amount desc nulls last, l.quantity desc nulls last, l.since;
comment on view postmeter.dead_letter is
    'What needs a person, the dearest first: rejected, expired, conflict, unknown and held remittances; usage that is held beyond its policy (its deadline has passed, or a day without a destination, or too late, or poison); quantity of a meter that no hour of its month can take any more; and what a step has set aside because it fails. What is unpriced ranks by quantity after what has an amount; amounts are never added over currencies. Without shadows.';
comment on column postmeter.dead_letter.class is 'rejected, expired, conflict, unknown, held, held usage, stranded or set aside.';
comment on column postmeter.dead_letter.code is 'The reason, the code of the last answer, or the SQLSTATE with which a step failed.';

-- a version says that something else changed: it is no change of its own
create or replace function postmeter.catalogue_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- slots and canonical forms are written by workers and are no decisions of people
    if tg_op = 'UPDATE' and (to_jsonb(old) - '{next_slot_at,buyer,buyer_account,identity_form,invalid,version}'::text[])
                          = (to_jsonb(new) - '{next_slot_at,buyer,buyer_account,identity_form,invalid,version}'::text[]) then
        return null;
    end if;
    insert into postmeter.catalogue_change (changed_by, entry, old_row, new_row)
    values (session_user, tg_table_name,
            case when tg_op <> 'INSERT' then to_jsonb(old) - 'version' end,
            case when tg_op <> 'DELETE' then to_jsonb(new) - 'version' end);
    return null;
end
$$;

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('hour_not_cut', 'critical', '30 seconds', '5 minutes',  '10 seconds'),
    ('step_failing', 'critical', '30 seconds', '0',          '10 seconds'),
    ('set_aside',    'critical', '30 seconds', '0',          '10 seconds'),
    ('locked_out',   'warning',  '30 seconds', '2 minutes',  '10 seconds');

grant select on postmeter.setback_list, postmeter.hour_not_cut to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (38, '0038_pre_isolation');
