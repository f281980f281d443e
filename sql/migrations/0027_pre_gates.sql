-- 0027_pre_gates: what keeps two from doing one thing at once is a lock that only they can take.
-- programs: from 0022
-- lock: none

-- An advisory lock is anybody's: a login without a single grant could hold the key of the month gate and stop every fold.
-- Locks on rows and tables need rights on them.

create table postmeter.gate (
    name text collate "C" not null primary key check (octet_length(name) between 1 and 100)
);
insert into postmeter.gate (name) values
    ('catalogue'), ('gather_requests'), ('create_request_partitions'), ('create_partitions'), ('make_alert_post');
comment on table postmeter.gate is 'Rows to lock: whoever holds one does what it names, alone. Nobody has a grant on them but the owner, through take_gate and try_gate.';
comment on column postmeter.gate.name is 'What is done by one at a time.';

create function postmeter.take_gate(gate text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from postmeter.gate g where g.name = gate for update;
    if not found then
        insert into postmeter.gate (name) values (gate) on conflict do nothing;
        perform from postmeter.gate g where g.name = gate for update;
    end if;
end
$$;
comment on function postmeter.take_gate(text) is 'Waits until nobody else does what the gate names, and keeps others from it until the transaction ends.';

create function postmeter.try_gate(gate text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from postmeter.gate g where g.name = gate for update skip locked;
    return found;
end
$$;
comment on function postmeter.try_gate(text) is 'As take_gate, but false at once if somebody else holds it. For gates that the schema brings along.';

create function postmeter.catalogue_gate() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.take_gate('catalogue');
end
$$;
comment on function postmeter.catalogue_gate() is 'One edit of the catalogue at a time, until the transaction ends.';

-- the gate of months: what opens hours passes it with others, who closes a month or tells a shadow passes it alone
create or replace function postmeter.month_gate() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    lock table postmeter.closed_month in row share mode;
end
$$;
create function postmeter.month_gate_alone() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    lock table postmeter.closed_month in exclusive mode;
end
$$;
comment on function postmeter.month_gate() is 'Passed by whatever opens hours, until its transaction ends: months are neither closed nor opened again meanwhile.';
comment on function postmeter.month_gate_alone() is 'Passed by who closes a month, opens one again or tells a shadow of a buyer: folds have ended, or wait until this transaction ends.';

-- functions that took advisory locks take gates; the rest of each is as it was
do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            ('close_month',  'pg_advisory_xact_lock(hashtextextended(''postmeter.closed_month'', 0))', 'postmeter.month_gate_alone()'),
            ('reopen_month', 'pg_advisory_xact_lock(hashtextextended(''postmeter.closed_month'', 0))', 'postmeter.month_gate_alone()'),
            ('shadow_told',  'pg_advisory_xact_lock(hashtextextended(''postmeter.closed_month'', 0))', 'postmeter.month_gate_alone()'),
            ('check_subscription', 'pg_advisory_xact_lock(hashtextextended(''postmeter.subscription '' || new.destination_id, 0))',
                                   'postmeter.take_gate(''subscription '' || new.destination_id)'),
            ('gather_requests', 'pg_advisory_xact_lock(hashtextextended(''postmeter.gather_requests'', 0))', 'postmeter.take_gate(''gather_requests'')'),
            ('drop_request_partitions', 'pg_advisory_xact_lock(hashtextextended(''postmeter.gather_requests'', 0))', 'postmeter.take_gate(''gather_requests'')'),
            ('forget_requests', 'pg_advisory_xact_lock(hashtextextended(''postmeter.gather_requests'', 0))', 'postmeter.take_gate(''gather_requests'')'),
            ('create_request_partitions', 'pg_try_advisory_xact_lock(hashtextextended(''postmeter.create_request_partitions'', 0))',
                                          'postmeter.try_gate(''create_request_partitions'')'),
            ('create_partitions', 'pg_try_advisory_xact_lock(hashtextextended(''postmeter.create_partitions'', 0))', 'postmeter.try_gate(''create_partitions'')'),
            ('make_alert_post', 'pg_try_advisory_xact_lock(hashtextextended(''postmeter.make_alert_post'', 0))', 'postmeter.try_gate(''make_alert_post'')')
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

revoke execute on function postmeter.take_gate(text), postmeter.try_gate(text), postmeter.catalogue_gate(),
    postmeter.month_gate_alone() from public;
grant execute on function postmeter.catalogue_gate(), postmeter.month_gate_alone() to postmeter_operator;

insert into postmeter.migration (version, name) values (27, '0027_pre_gates');
