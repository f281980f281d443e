-- Which remittances need a person, or a while.

create function postmeter.keep_stuck() returns trigger
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
        when new.status = 'held' and new.reason = 'invalid_subscription' and new.body is not null
            then new.changed_at + interval '10 minutes'
        when new.status = 'expired' and (select t.expired_policy from postmeter.destination t
            where t.id = new.destination_id) = 'roll_forward'
            then new.changed_at end)
    on conflict (delivery_id) do update set status = excluded.status, since = excluded.since,
        again_at = excluded.again_at;
    return null;
end
$$;
comment on function postmeter.keep_stuck() is 'Trigger of delivery: keeps postmeter.stuck.';
create trigger stuck after update on postmeter.delivery
    for each row
    when (old.status is distinct from new.status
        and ((old.status in ('rejected', 'expired', 'conflict', 'unknown', 'held'))
        or (new.status in ('rejected', 'expired', 'conflict', 'unknown', 'held'))))
    execute function postmeter.keep_stuck();

create function postmeter.revisit_dead_letters(most integer, shadows boolean default false) returns integer
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
comment on function postmeter.revisit_dead_letters(integer, boolean) is
    'Dead letters that may move without a person: a held remittance whose buyer was not entitled is sent again '
    '(every 10 minutes, until its deadline), an expired one is released where the destination''s expired_policy is '
    'roll_forward, with a decision signed by postmeter. Never what may have been billed. Of live destinations, or '
    'of shadows.';

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
            from postmeter.release(jsonb_build_object('delivery', d.id), 'postmeter',
                'expired; expired_policy is roll_forward', false) r;
        elsif d.status = 'held' and d.reason = 'invalid_subscription' and not d.maybe_billed and d.deadline >= now then
            after := 'due';
            update postmeter.delivery u set status = after, reason = null, batch_limit = 1, changed_at = now
                where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id,
                d.deadline);
        end if;
        if after is distinct from d.status then
            changed := changed + 1;
        else
            update postmeter.stuck s set again_at = case when d.status = 'expired' then now + interval '1 hour' end
                where s.delivery_id = d.id;
        end if;
    end loop;
    return changed;
end
$$;
comment on function postmeter.reconsider(bigint[]) is
    'These dead letters may move without a person, if their time has come: a held remittance whose buyer was not '
    'entitled is sent again (every 10 minutes, until its deadline), an expired one is released where the '
    'destination''s expired_policy is roll_forward, with a decision signed by postmeter. Never what may have been '
    'billed. Returns how many moved.';
