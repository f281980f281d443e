-- Decisions about held usage.

-- A filter may say within, as one of dead letters may: a program that decides about much takes it in shares.
create function postmeter.held_usage_by(filter jsonb) returns setof postmeter.held
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    given jsonb := filter - 'within';
begin
    perform postmeter.check_filter(given,
        array['org', 'account', 'product', 'metric', 'destination', 'reason', 'from', 'until', 'usage', 'all']);
    perform postmeter.check_word(given, 'reason',
        array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'poison', 'by_operator', 'lost_time', 'implausible']);
    if filter ? 'within' then
        -- what the whole filter means was asked before; what is held for another reason by now is another matter
        return query
        select h.* from postmeter.held h
        where h.usage_id = any (array(select w.id::uuid from jsonb_array_elements_text(filter -> 'within') w(id)))
          and (filter ->> 'reason' is null or h.reason = filter ->> 'reason')
        order by h.usage_id;
        return;
    end if;
    return query
    select h.* from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    where (filter ->> 'org' is null or h.org = filter ->> 'org')
      and (filter ->> 'account' is null or h.account = filter ->> 'account')
      and (filter ->> 'product' is null or h.product = filter ->> 'product')
      and (filter ->> 'metric' is null or h.metric = filter ->> 'metric')
      and (filter ->> 'destination' is null or t.name = filter ->> 'destination')
      and (filter ->> 'reason' is null or h.reason = filter ->> 'reason')
      and (filter ->> 'usage' is null or h.usage_id = (filter ->> 'usage')::uuid)
      and (filter ->> 'from' is null or h.hour >= (filter ->> 'from')::timestamptz)
      and (filter ->> 'until' is null or h.hour < (filter ->> 'until')::timestamptz)
    order by h.usage_id;
    -- all that there is may be nothing; what was decided already is nothing left to do; else it is a mistake
    if not found and not coalesce((filter ->> 'all')::boolean, false) and not exists (
        select from postmeter.decision c
        join postmeter.usage u on u.id = c.usage_id
        where (filter ->> 'org' is null or u.org = filter ->> 'org')
          and (filter ->> 'account' is null or u.account = filter ->> 'account')
          and (filter ->> 'product' is null or u.product = filter ->> 'product')
          and (filter ->> 'metric' is null or u.metric = filter ->> 'metric')
          and (filter ->> 'destination' is null or c.detail ->> 'destination' = filter ->> 'destination')
          and (filter ->> 'reason' is null or c.detail ->> 'reason' = filter ->> 'reason')
          and (filter ->> 'usage' is null or u.id = (filter ->> 'usage')::uuid)
          and (filter ->> 'from' is null or postmeter.hour_of(u.used_at) >= (filter ->> 'from')::timestamptz)
          and (filter ->> 'until' is null or postmeter.hour_of(u.used_at) < (filter ->> 'until')::timestamptz)) then
        perform postmeter.check_filter_known(filter, true);
    end if;
end
$$;
comment on function postmeter.held_usage_by(jsonb) is
    'Held usage that a filter names; none: somebody decided about it already. With within, a list of usages, only '
    'those of them. Refuses what cannot be meant, values that do not exist, and what fits nothing, as '
    'deliveries_by does.';

create function postmeter.retry_held(filter jsonb, who text, why text, dry_run boolean default true)
returns table (usage_id uuid, reason text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    chosen uuid[];
begin
    perform postmeter.check_decider(who, why);
    select array_agg(h.usage_id order by h.usage_id) into chosen from postmeter.held_usage_by(filter) h;
    -- a correction and what it corrects are returned together
    chosen := postmeter.held_together(chosen, true);
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen)
        order by 1 for update;
    if not dry_run then
        insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
        select who, why, 'retry', h.usage_id, 'held', 'outbox', h.quantity,
            jsonb_build_object('filter', filter - 'within', 'reason', h.reason, 'destination', t.name)
        from postmeter.held h left join postmeter.destination t on t.id = h.destination_id
            where h.usage_id = any (chosen);
        insert into postmeter.asked_usage (usage_id)
        select h.usage_id from postmeter.held h where h.usage_id = any (chosen) and h.reason = 'lost_time' order by 1
        on conflict on constraint asked_usage_pkey do update set asked_at = excluded.asked_at;
        perform postmeter.return_held(chosen);
    end if;
end
$$;
comment on function postmeter.retry_held(jsonb, text, text, boolean) is
    'Sends held usage back to the outbox. Dry run unless told otherwise.';

create function postmeter.write_off_held(filter jsonb, who text, why text, dry_run boolean default true)
returns table (usage_id uuid, reason text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    chosen uuid[];
begin
    perform postmeter.check_decider(who, why);
    select array_agg(h.usage_id order by h.usage_id) into chosen from postmeter.held_usage_by(filter) h;
    -- what corrects it is given up with it
    perform 1 from postmeter.held h where h.usage_id = any (chosen) order by h.usage_id for update;
    chosen := postmeter.held_together(chosen, false);
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen)
        order by 1 for update;
    if not dry_run then
        with given_up as (
            delete from postmeter.held h where h.usage_id = any (chosen)
                returning h.usage_id, h.destination_id, h.quantity, h.reason
        ), decided as (
            insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
            select who, why, 'write_off', g.usage_id, 'held', 'written_off', g.quantity,
                jsonb_build_object('filter', filter - 'within', 'reason', g.reason, 'destination', t.name)
            from given_up g left join postmeter.destination t on t.id = g.destination_id
            returning id, usage_id
        )
        insert into postmeter.usage_written_off (usage_id, decision_id) select d.usage_id, d.id from decided d;
    end if;
end
$$;
comment on function postmeter.write_off_held(jsonb, text, text, boolean) is
    'Gives up held usage. Dry run unless told otherwise.';

create function postmeter.release_needs(meters bigint[]) returns text
language plpgsql stable security definer cost 10000 set search_path = pg_catalog, pg_temp
as $$
declare
    now      timestamptz := postmeter.clock();
    closed   boolean;
    policy   boolean;
    renewed  boolean;
begin
    select bool_or(x.closed), bool_or(x.over and not x.way and x.late_policy <> 'part'), bool_or(x.gone and not x.way)
    into closed, policy, renewed
    from (
        select s.closed, s.over, s.gone, s.late_policy,
               -- shortly after the end of a month or of a subscription, an hour of before may take it still
               case when s.closed or not s.over and not s.gone
                   or s.month < postmeter.month_of(now - s.age_limit, s.zone) then false
                    else postmeter.target_hour(s.id) is not null end as way
        from (
            select m.id, m.month, t.zone, t.age_limit, t.late_policy,
                   exists (select from postmeter.closed_month c where c.destination_id = t.id
                       and c.month = m.month) as closed,
                   m.month < postmeter.month_of(now, t.zone) as over,
                   not exists (select from postmeter.part_keys(m.id)) as gone
            from postmeter.meter m
            join postmeter.destination t on t.id = m.destination_id
            where m.id = any (meters)
        ) s
    ) x;
    return nullif(concat_ws(' and ', case when closed then 'reopen its month' end,
                            case when policy then 'set late_policy to part' end,
                            case when renewed then 'renew the subscription' end), '');
end
$$;
comment on function postmeter.release_needs(bigint[]) is
    'What must be done before another hour can take quantity of these meters, in words; null: nothing, an hour of '
    'the month or, by policy, the running one takes it. The same that release asks.';

create function postmeter.held_needs(h postmeter.held) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select nullif(concat_ws(' and ',
        case when t.late_policy <> 'part'
            and postmeter.month_of((h).hour, t.zone) < postmeter.month_of(postmeter.clock(), t.zone)
             then 'set late_policy to part' end,
        case when not exists (select from postmeter.subscription s
                              where s.destination_id = t.id and s.org = (h).org and s.product = (h).product
                                and s.valid_from <= postmeter.clock()
                                    and (s.valid_until is null or postmeter.clock() < s.valid_until))
             then 'renew the subscription' end), '')
    from postmeter.destination t
    -- a correction of what was counted lowers its month at once: it needs no hour; else it goes with what it corrects
    where t.id = (h).destination_id
      and ((h).corrected_id is null or exists (select from postmeter.held c where c.usage_id = (h).corrected_id))
$$;
comment on function postmeter.held_needs(postmeter.held) is
    'What must be done before usage that is too late for every hour of its month can be counted, in words; null: '
    'nothing.';
