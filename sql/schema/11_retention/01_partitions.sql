-- Partitions of months, made ahead.

create function postmeter.create_partitions(months_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
    -- ids are made from the server's clock, so partitions follow it too
    this_month date := date_trunc('month', clock_timestamp() at time zone 'UTC')::date;
    spilled    date[] := array(select m from postmeter.spilled_months() m);
    wanted     date;
    parent     text;
    made       integer := 0;
    fresh      integer;
begin
    if not postmeter.try_gate('create_partitions') then
        return 0;
    end if;
    -- those that are made at once come first; then one that has rows to move, for its locks last until this commits
    for wanted in
        select w.month
        from (select (this_month + n * interval '1 month')::date as month from generate_series(0, months_ahead) n
              -- a month has all four or none
              union select to_date(right(c.relname, 6), 'YYYYMM') from pg_inherits i
                  join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{6}$'
              where i.inhparent in ('postmeter.usage'::regclass, 'postmeter.allocation'::regclass,
                  'postmeter.attempt'::regclass, 'postmeter.outcome'::regclass)
              union select m from unnest(spilled) m where m <= this_month + months_ahead * interval '1 month') w
        where not exists (select from postmeter.ledger_drop d where d.month = w.month)
        order by w.month = any (spilled), w.month
    loop
        exit when made > 0 and wanted = any (spilled);
        fresh := 0;
        begin
            foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
                if postmeter.create_partition(parent, wanted) then
                    fresh := fresh + 1;
                    -- what moves rows stops those who write to that table until it commits: one table at a time
                    exit when wanted = any (spilled);
                end if;
            end loop;
            made := made + fresh;
        exception when lock_not_available then
            -- somebody reads: the next round tries again, and nobody queues behind us for long
            continue;
        end;
    end loop;
    return made;
end
$$;
comment on function postmeter.create_partitions(integer) is
    'Makes the monthly partitions of usage, allocation, attempt and outcome from this month on, and one of a month '
    'that has rows in a default partition, which it moves: call it until it returns 0. Returns how many were made. '
    'Gives up after 100 ms behind a lock, so that nobody queues behind it; the next round tries again.';

create function postmeter.spilled_months() returns setof date
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    parent text;
    -- nothing is recorded ahead of the server's clock: what bears such an id is no row to make months for
    last   uuid := postmeter.id_at(clock_timestamp() + interval '1 month');
    id     uuid;
    month  date;
begin
    foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
        id := '00000000-0000-0000-0000-000000000000';
        loop
            -- from month to month by the index: what waits there may be much
            execute format('select d.%1$I from postmeter.%2$I d where d.%1$I >= $1 and d.%1$I < $2 order by 1 limit 1',
                           postmeter.ledger_key(parent), parent || '_default') into id using id, last;
            exit when id is null;
            month := date_trunc('month', postmeter.moment_of(id) at time zone 'UTC')::date;
            return next month;
            id := (postmeter.ledger_span(month)).until_id;
        end loop;
    end loop;
end
$$;
comment on function postmeter.spilled_months() is
    'Months of which rows are in a default partition, up to the coming one.';

create function postmeter.create_partition(parent text, month date) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    child text := parent || to_char(month, '_YYYYMM');
    spare text := parent || '_default';
    key   text := postmeter.ledger_key(parent);
    ids   record;
    moved bigint;
    gone  bigint;
begin
    if to_regclass('postmeter.' || child) is not null then
        return false;
    end if;
    select * into ids from postmeter.ledger_span(month);
    -- attached rather than created as a partition: that would lock the parent against readers
    execute
        format('create table postmeter.%I (like postmeter.%I including defaults including generated including '
            'constraints including indexes)',
                   child, parent);
    execute format('comment on table postmeter.%I is %L', child,
        'Partition of postmeter.' || parent || ' for a month of recording.');
    -- what attaching needs comes first, so that nothing is copied in vain
    execute format('lock table only postmeter.%I in share update exclusive mode', parent);
    execute format('lock table postmeter.%I in access exclusive mode', spare);
    execute format('insert into postmeter.%I select * from postmeter.%I where %3$I >= $1 and %3$I < $2', child, spare,
        key)
        using ids.first_id, ids.until_id;
    get diagnostics moved = row_count;
    if moved > 0 then
        -- evidence is moved, not deleted: by the owner alone, under this lock, and to the row
        execute format('alter table postmeter.%I disable trigger append_only', spare);
        execute format('delete from postmeter.%I where %2$I >= $1 and %2$I < $2', spare, key) using ids.first_id,
            ids.until_id;
        get diagnostics gone = row_count;
        execute format('alter table postmeter.%I enable trigger append_only', spare);
        if gone <> moved then
            raise exception '% rows of % were copied and % taken out', moved, spare, gone using errcode = 'PM040',
                table = spare, constraint = 'rows_moved';
        end if;
    end if;
    execute format('alter table postmeter.%I attach partition postmeter.%I for values from (%L) to (%L)', parent, child,
        ids.first_id, ids.until_id);
    -- triggers for statements are not handed down
    execute format('create trigger append_only before update or delete or truncate on postmeter.%I
                    for each statement execute function postmeter.forbid_change()', child);
    return true;
end
$$;
comment on function postmeter.create_partition(text, date) is
    'Makes one monthly partition and moves into it what waits in the default partition, exactly (PM040). False: it '
    'is there.';
