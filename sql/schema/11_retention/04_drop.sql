-- Dropping a billing month in shares.

-- Dropping: the mark first, then shares.
create function postmeter.begin_month_drop(
    destination text, month date, who text, why text, dry_run boolean default true, without date default null
) returns table (table_name text, rows bigint, bytes bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' set jit = off
as $$
#variable_conflict use_column
declare
    t        postmeter.destination;
    exported postmeter.month_export;
    why_not  text;
    closed   bigint;
    noted    bigint := (select max(c.id) from postmeter.contradiction c);
    made     bigint;
    attempts integer := 0;
begin
    perform postmeter.check_decider(who, why);
    why_not := postmeter.month_drop_why_not(begin_month_drop.destination, begin_month_drop.month,
                                               case when dry_run then begin_month_drop.without end);
    select x.* into t from postmeter.destination x where x.name = begin_month_drop.destination;
    if why_not = 'it is being dropped' then
        -- the next share goes on
        return;
    elsif why_not is not null then
        raise exception 'the remittances of % at % may not be dropped: %', to_char(begin_month_drop.month, 'YYYY-MM'),
            t.name, why_not
            using errcode = 'PM041', column = 'month', constraint = 'month_finished',
                hint = 'postmeter.ledger_month says it of every month.';
    end if;
    select e.* into exported from postmeter.month_export e
    where e.destination_id = t.id and e.month = begin_month_drop.month order by e.number desc limit 1;
    if not found then
        raise exception 'no export has the remittances of % at %', to_char(begin_month_drop.month, 'YYYY-MM'), t.name
            using errcode = 'PM042', column = 'month', constraint = 'month_exported',
                  hint
                      = 'An older program exported the usage of a month alone: export it again (postmeter ledger '
                          'export).';
    end if;
    perform postmeter.check_month_rows(t.name, begin_month_drop.month, exported.manifest);
    return query
    select x ->> 'table', (x ->> 'rows')::bigint,
           -- its share of the table
           ((x ->> 'rows')::numeric * pg_total_relation_size(c.oid) / greatest(c.reltuples, (x ->> 'rows')::real,
               1)::numeric)::bigint
    from jsonb_array_elements(exported.manifest::jsonb -> 'tables') x
    join pg_class c on c.oid = to_regclass(format('postmeter.%I', x ->> 'table'));
    if dry_run is not false then
        return;
    end if;
    closed := (select c.decision_id from postmeter.closed_month c where c.destination_id = t.id
        and c.month = begin_month_drop.month);
    loop
        attempts := attempts + 1;
        begin
            -- whoever opens a month or counts anew has passed this gate before us, or finds the mark
            perform postmeter.month_gate_alone();
            exit;
        exception when lock_not_available then
            if attempts >= 10 then
                raise exception 'somebody is about to decide: nothing was dropped'
                    using errcode = '55P03', hint = 'Try again later.';
            end if;
            perform pg_sleep(0.1);
        end;
    end loop;
    if closed is distinct from (select c.decision_id from postmeter.closed_month c where c.destination_id = t.id
        and c.month = begin_month_drop.month)
       or exists (select from postmeter.contradiction c where c.id > coalesce(noted, 0)) then
        raise exception 'something was decided or said meanwhile: nothing was dropped'
            using errcode = 'PM041', column = 'month', constraint = 'month_finished', hint = 'Try again.';
    end if;
    insert into postmeter.decision (who, why, verb, destination_id, detail)
    values (who, why, 'drop', t.id, jsonb_build_object('month', begin_month_drop.month, 'digest', exported.digest,
        'remittances', true))
    returning id into made;
    -- a shadow's months are closed by nobody; what comes late for this one must not open it again
    insert into postmeter.closed_month (destination_id, month, decision_id) values (t.id, begin_month_drop.month,
        made) on conflict do nothing;
    insert into postmeter.dropped_month (destination_id, month, decision_id) values (t.id, begin_month_drop.month,
        made);
end
$$;
comment on function postmeter.begin_month_drop(text, date, text, text, boolean, date) is
    'Marks a billing month as being dropped, or says what would be (without: as if that month of the ledger were '
    'dropped): from then on nothing of it is decided. Only if it may go (PM041), is exported with its remittances '
    '(PM042), and its rows are still those of the manifest (PM043). drop_month_share deletes it.';

create function postmeter.drop_month_share(
    destination text, month date, most integer default 1000, out meters bigint, out remittances bigint,
    out is_done boolean
) returns record
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' set jit = off
    set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
declare
    x     postmeter.dropped_month;
    these bigint[];
    last  bigint;
begin
    meters := 0; remittances := 0; is_done := false;
    -- who proves the balance keeps what they read of a meter: not while it goes
    lock table postmeter.balance_gate in exclusive mode;
    select k.* into x from postmeter.dropped_month k
    join postmeter.destination t on t.id = k.destination_id
    where t.name = drop_month_share.destination and k.month = drop_month_share.month for update of k;
    if not found then
        raise exception '% of % is not being dropped', to_char(drop_month_share.month, 'YYYY-MM'),
            drop_month_share.destination
            using errcode = 'PM041', column = 'month', constraint = 'month_finished',
                hint = 'begin_month_drop says whether it may be, and begins.';
    elsif x.finished_at is not null then
        is_done := true;
        return;
    end if;
    if exists (select from postmeter.meter m where m.destination_id = x.destination_id and m.month = x.month) then
        -- all meters before the first remittance: they ask their remittances where they stand. One that is locked waits
        these := array(select m.id from postmeter.meter m where m.destination_id = x.destination_id
            and m.month = x.month
                       order by m.id limit greatest(most / 100, 1) for update skip locked);
        perform postmeter.sum_meters(these);
        delete from postmeter.meter_metric d where d.meter_id = any (these);
        delete from postmeter.meter d where d.id = any (these);
        delete from postmeter.proven_remittance d where d.meter_id = any (these);
        delete from postmeter.proven_meter d where d.meter_id = any (these);
        delete from postmeter.balance_anew d where d.meter_id = any (these);
        delete from postmeter.balance_moved d where d.meter_id = any (these);
        meters := cardinality(these);
        return;
    end if;
    select array_agg(d.id), max(d.meter_id) into these, last
    from (select d.id, d.meter_id from postmeter.dropped_meter k join postmeter.delivery d on d.meter_id = k.id
          where k.destination_id = x.destination_id and k.month = x.month and k.id >= x.meters_after
          order by k.id limit most for update of d skip locked) d;
    if these is null then
        is_done := not exists (select from postmeter.dropped_meter k join postmeter.delivery d on d.meter_id = k.id
                               where k.destination_id = x.destination_id and k.month = x.month);
        update postmeter.dropped_month k set meters_after = 0, finished_at = case when is_done
            then postmeter.clock() end
        where k.destination_id = x.destination_id and k.month = x.month;
        return;
    end if;
    perform postmeter.drop_remittances(these);
    remittances := cardinality(these);
    update postmeter.dropped_month k set remittances = k.remittances + drop_month_share.remittances, meters_after = last
    where k.destination_id = x.destination_id and k.month = x.month;
end
$$;
comment on function postmeter.drop_month_share(text, date, integer) is
    'Drops the next share of a billing month that is being dropped: its meters first, a hundredth as many, each '
    'with what it came to, then so many remittances with their cuts. Each call is a transaction of its own; '
    'is_done: nothing is left.';

create function postmeter.drop_remittances(deliveries bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_hashjoin = off
    set enable_mergejoin = off set enable_seqscan = off
as $$
    insert into postmeter.dropped_numbers as n (chunk, destination_id, month, bits)
    select d.id / 8192, k.destination_id, k.month, bit_or(set_bit(0::bit(8192), (d.id % 8192)::integer, 1))
    from postmeter.delivery d join postmeter.dropped_meter k on k.id = d.meter_id
    where d.id = any (drop_remittances.deliveries)
    group by 1, 2, 3
    on conflict (chunk, destination_id, month) do update set bits = n.bits | excluded.bits;
    insert into postmeter.dropped_remittance (delivery_id, destination_id, meter_id, key, hour, product, status,
        quantity, shown_quantity)
    select d.id, d.destination_id, d.meter_id, d.key, d.hour, d.product, d.status, d.quantity, d.shown_quantity
    from postmeter.delivery d
    where d.id = any (drop_remittances.deliveries)
      and (exists (select from postmeter.decision c where c.delivery_id = d.id)
           or exists (select from postmeter.decision c where c.target_delivery_id = d.id)
           or exists (select from postmeter.contradiction c where c.delivery_id = d.id)
           or exists (select from postmeter.late_evidence e where e.delivery_id = d.id)
           or exists (select from postmeter.recounted r where r.delivery_id = d.id)
           or exists (select from postmeter.recounted r where r.target_delivery_id = d.id));
    -- what opens the trigger; only_dropped looks at what was deleted
    select set_config('postmeter.drops_remittances', 'on', true);
    delete from postmeter.cut x where x.delivery_id = any (drop_remittances.deliveries);
    delete from postmeter.ledger_carry x where x.delivery_id = any (drop_remittances.deliveries);
    select set_config('postmeter.drops_remittances', 'off', true);
    delete from postmeter.part x where x.delivery_id = any (drop_remittances.deliveries);
    delete from postmeter.doubt x where x.delivery_id = any (drop_remittances.deliveries);
    delete from postmeter.withheld x where x.delivery_id = any (drop_remittances.deliveries);
    delete from postmeter.stuck x where x.delivery_id = any (drop_remittances.deliveries);
    delete from postmeter.delivery x where x.id = any (drop_remittances.deliveries);
$$;
comment on function postmeter.drop_remittances(bigint[]) is
    'Deletes remittances of a month that is being dropped, with their cuts and parts, and keeps their numbers; of '
    'those that somebody decided about, a line.';
