-- 0014_pre_hold: a person puts aside what waits to be sent.
-- programs: from 0014
-- lock: none

create function postmeter.hold(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f
             where f.id in (select b.id from postmeter.deliveries_by(filter, true) b) order by f.id for update loop
        -- claimed meanwhile: a call is under way, and nobody stops a call
        continue when d.status <> 'due';
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := 'held'; quantity := d.quantity;
        note := case when d.deadline < now + interval '1 hour' then 'its deadline is less than an hour away: it goes on while this is held' end;
        if not dry_run then
            delete from postmeter.due q where q.destination_id = d.destination_id and q.delivery_id = d.id;
            delete from postmeter.later l where l.delivery_id = d.id;
            update postmeter.delivery u set status = 'held', reason = 'by_operator', changed_at = now where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'hold', d.id, d.status, 'held', d.quantity, jsonb_build_object('filter', filter));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.hold(jsonb, text, text, boolean) is
    'Puts aside remittances that wait to be sent, as held by_operator: retry sends them again, release and write_off end them. Their deadlines go on. What is in flight is left alone. Dry run unless told otherwise.';

revoke execute on function postmeter.hold(jsonb, text, text, boolean) from public;
grant execute on function postmeter.hold(jsonb, text, text, boolean) to postmeter_operator;

insert into postmeter.migration (version, name) values (14, '0014_pre_hold');
