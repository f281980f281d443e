-- 0053_pre_recount_contracts: recounts count on the contracts that the catalogue names, and take the proof of what they move from back.
-- programs: from 0022
-- lock: none

do $patch$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            (1, 'recount_ways', 'left join postmeter.destination t on t.id = r.destination_id',
             'left join postmeter.subscription e on e.id = r.subscription_id
        left join postmeter.destination t on t.id = r.destination_id'),
            (2, 'recount_ways', 'r.exemption_id, k.contract, t.zone,', 'r.exemption_id, k.contract, e.product, e.contract, t.zone,'),
            (3, 'recount_ways', 'coalesce(k.contract, r.buyer) as contract',
             'coalesce(k.contract, postmeter.contract_name(e.product, e.contract), r.buyer) as contract'),
            -- an allocation that leaves writes nothing else to a remittance whose status stays
            (4, 'recount_move', '    -- where the quantity of the remittance itself went',
             '    insert into postmeter.balance_moved (meter_id, delivery_id)
    select distinct mm.meter_id, (m.row ->> ''delivery_id'')::bigint
    from jsonb_array_elements(moved) m(row)
    join postmeter.meter_metric mm on mm.id = (m.row ->> ''meter_metric_id'')::bigint;
    insert into postmeter.usage_moved (slice)
    select distinct left(u.id, 8)
    from jsonb_array_elements(kept) k(way)
    cross join lateral jsonb_array_elements_text(k.way -> ''usages'') u(id)
    where (k.way ->> ''to_exemption'') is not null;
    -- where the quantity of the remittance itself went')
        ) c(step, name, before, after)
        order by c.step
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it: %', change.name, change.before;
        end if;
        execute changed;
    end loop;
end
$patch$;

insert into postmeter.migration (version, name) values (53, '0053_pre_recount_contracts');
