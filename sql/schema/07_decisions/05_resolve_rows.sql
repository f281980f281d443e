-- The same of many remittances at once.

create function postmeter.resolve_rows(rows jsonb, who text, why text, dry_run boolean default true)
returns table (row_number bigint, delivery_id bigint, key text, status_before text, status_after text, quantity numeric,
    verdict text, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    r postmeter.delivery;
    h record;
begin
    perform postmeter.check_decider(who, why);
    if jsonb_typeof(rows) is distinct from 'array' or jsonb_array_length(rows) > 1000 then
        raise exception 'rows must be an array of 1000 objects at most'
            using errcode = 'PM037', column = 'rows', constraint = 'resolve_rows',
                hint = 'Say many in shares: each is a transaction of its own.';
    end if;
    for h in select * from postmeter.held_rows(rows) o order by o.row_number loop
        row_number := h.row_number; delivery_id := h.delivery_id; key := h.key; verdict := h.verdict; note := h.note;
        status_before := null; status_after := null; quantity := null;
        if delivery_id is not null then
            -- who works on one of them keeps the others from nothing
            select f.* into r from postmeter.delivery f
            where f.id = delivery_id and postmeter.meters_are_free(f.id) for update skip locked;
            if not found then
                verdict := coalesce(verdict, 'locked');
                note := coalesce(note, case verdict when 'locked'
                    then 'somebody works on it at this moment: say it again' end);
            else
                key := r.key; status_before := r.status; status_after := r.status; quantity := r.quantity;
            end if;
        end if;
        if verdict = 'contradictory' then
            note := format('rows %s say different things of it: none of them is carried out',
                           array_to_string(array(select n from unnest(h.same) n order by n limit 10), ', '));
        elsif verdict = 'repeated' then
            note := 'an earlier row says the same';
        elsif verdict is null then
            select v.verdict, v.status_after, v.note into verdict, status_after, note
            from postmeter.held_verdict(r, h.quantity, h.billed) v;
            if not dry_run and verdict in ('other_quantity', 'nothing_to_resolve') then
                note := coalesce('contradiction ' || postmeter.note_said(r, h.quantity, h.billed, who)
                    || ' for postmeter judge: ', '') || note;
            end if;
        end if;
        if (status_after <> status_before or verdict in ('billed', 'not_billed')) and not dry_run then
            if r.status = 'conflict' and h.quantity > 0 then
                perform postmeter.resolve_quantity(r.id, h.quantity, who, why);
            else
                perform postmeter.resolve_unknown(r.id, h.billed, who, why);
            end if;
        elsif verdict = 'agrees' and r.status = 'accepted' and r.confirmed is false and h.quantity > 0 and not dry_run
            then
            -- their report says our very quantity of what they called a duplicate
            update postmeter.delivery u set confirmed = true, changed_at = postmeter.clock() where u.id = r.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'resolve', r.id, r.status, r.status, r.quantity,
                jsonb_build_object('billed', true, 'confirmed', true));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.resolve_rows(jsonb, text, text, boolean) is
    'A person says of many remittances what the marketplace holds (an array of 1000 objects at most: delivery, key '
    'or receipt, destination where a key is at several, and quantity or billed), as resolve_unknown says it of '
    'one. A verdict for every row: billed, not_billed, agrees, other_quantity, nothing_to_resolve, not_found, '
    'ambiguous, contradictory, repeated, locked, malformed; the other rows go on. A quantity of 0 means that they '
    'hold nothing. Of rows that say different things of one remittance none is carried out. Nothing changes if '
    'dry_run.';

create function postmeter.read_held_row(
    said jsonb, out delivery bigint, out key text, out receipt text, out destination text,
    out quantity numeric, out billed boolean, out problem text
) returns record
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    field text;
begin
    if jsonb_typeof(said) is distinct from 'object' then
        problem := 'a row must be an object';
        return;
    end if;
    foreach field in array array['key', 'receipt', 'destination'] loop
        if jsonb_typeof(said -> field) not in ('string', 'number', 'null') then
            problem := format('%s must be a text', field);
        end if;
    end loop;
    if (said ->> 'delivery') !~ '^[0-9]{1,18}$' then
        problem := 'delivery must be the number of a remittance';
    elsif (said ->> 'quantity') !~ '^[0-9]{1,100}(\.[0-9]{1,100})?$' then
        problem := format('quantity must be a number from 0 upwards, not %s', left(said ->> 'quantity', 40));
    elsif jsonb_typeof(said -> 'billed') not in ('boolean', 'null') then
        problem := 'billed must be true or false';
    elsif coalesce(said ->> 'delivery', said ->> 'key', said ->> 'receipt') is null then
        problem := 'names no remittance: delivery, key or receipt must be there';
    elsif coalesce(said ->> 'billed', said ->> 'quantity') is null then
        problem := 'says neither billed nor a quantity from 0 upwards';
    end if;
    if problem is not null then
        return;
    end if;
    delivery := said ->> 'delivery'; key := said ->> 'key'; receipt := said ->> 'receipt'; destination := said ->>
        'destination';
    quantity := said ->> 'quantity'; billed := said ->> 'billed';
    if billed <> (quantity > 0) then
        problem := format('billed is %s and quantity is %s: one of them must be wrong', billed, trim_scale(quantity));
    end if;
    billed := coalesce(billed, quantity > 0);
end
$$;
comment on function postmeter.read_held_row(jsonb) is
    'Reads a row of resolve_rows: which remittance it names, whether the marketplace holds it (told by the '
    'quantity where billed is left out), and what is wrong with the row, if anything.';

create function postmeter.held_rows(rows jsonb)
returns table (row_number bigint, delivery_id bigint, key text, quantity numeric, billed boolean, problem text,
    verdict text, note text, same bigint[])
language sql stable set search_path = pg_catalog, pg_temp set jit = off
as $$
    with said as materialized (
        select e.ordinality as number, r.*
        from jsonb_array_elements(rows) with ordinality e(value, ordinality) cross
            join lateral postmeter.read_held_row(e.value) r
    ), named as materialized (
        select s.number, f.id, s.receipt
        from said s
        cross join lateral (
            select s.delivery as id where s.delivery is not null
            union all
            select f.id from postmeter.destination t join postmeter.delivery f on f.destination_id = t.id
                and f.key = s.key
            where s.delivery is null and not f.shadow and (s.destination is null or t.name = s.destination)
        ) f
        where s.problem is null
    ), seen as materialized (
        -- receipts have no index: those of what is unresolved, or was resolved by a person, are read once for all rows
        select k.delivery_id, r.receipt
        from (select k.delivery_id from postmeter.stuck k
              union
              select c.delivery_id from postmeter.decision c where c.verb = 'resolve' and c.delivery_id is not null) k
        cross join lateral postmeter.receipts_of(k.delivery_id) r
        where exists (select from said s where s.receipt is not null and s.problem is null)
          and r.receipt in (select s.receipt from said s)
    ), bearers as materialized (
        select s.receipt, s.delivery_id from seen s
        union
        -- one receipt for two is most likely in one call, or for one buyer and dimension
        select b.receipt, e.delivery_id
        from (select s.receipt, s.delivery_id from seen s
              union
              select n.receipt, n.id from named n where n.receipt is not null) b
        cross join lateral postmeter.beside(b.delivery_id) e
        where exists (select from postmeter.receipts_of(e.delivery_id) r where r.receipt = b.receipt)
    ), found as materialized (
        select x.number, array_agg(f.id) as ids, min(f.id) as id, min(f.key) as key,
            count(distinct f.destination_id) as destinations
        from (select n.number, n.id from named n
              union all
              select s.number, b.delivery_id from said s join bearers b on b.receipt = s.receipt
              where s.problem is null and s.delivery is null and s.key is null) x
        join said s on s.number = x.number
        join postmeter.delivery f on f.id = x.id
        join postmeter.destination t on t.id = f.destination_id
        where s.destination is null or t.name = s.destination
        group by x.number
    ), one as (
        select s.*, coalesce(cardinality(f.ids), 0) as hits, f.destinations, case when cardinality(f.ids) = 1
            then f.id end as id,
               case when s.delivery is not null and s.key <> f.key
                        then format('key must be %s, as remittance %s bears it, or be left out', f.key, f.id)
                    when coalesce(s.delivery::text, s.key) is null
                      or exists (select from bearers b where b.receipt = s.receipt and b.delivery_id = any (f.ids))
                          then null
                    when exists (select from bearers b where b.receipt = s.receipt)
                        then format('receipt is that of remittance %s, not of this one',
                                    (select min(b.delivery_id) from bearers b where b.receipt = s.receipt))
                    when s.receipt is not null and exists (select from postmeter.receipts_of(f.id) r)
                        then format('receipt must be %s, as remittance %s was given it, or be left out',
                                    (select min(r.receipt) from postmeter.receipts_of(f.id) r),
                                        f.id) end as foreign_name
        from said s left join found f on f.number = s.number
    )
    select o.number, o.id, o.key,
           -- who says no quantity means that of the other rows
           coalesce(o.quantity, max(o.quantity) over same), o.billed, coalesce(o.problem, o.foreign_name),
           case when coalesce(o.problem, o.foreign_name) is not null then 'malformed'
                when o.hits = 0 or o.hits = 1 and postmeter.told_dropped(o.id) is not null then 'not_found'
                when o.hits > 1 then 'ambiguous'
                when bool_or(o.billed) over same <> bool_and(o.billed) over same
                  or min(o.quantity) over same <> max(o.quantity) over same then 'contradictory'
                when o.number > min(o.number) over same then 'repeated' end,
           case when coalesce(o.problem, o.foreign_name) is not null then coalesce(o.problem, o.foreign_name)
                when o.hits = 0 and coalesce(o.delivery::text, o.key) is null
                    then 'no unresolved remittance has this receipt: name the key'
                when o.hits = 0 then coalesce(postmeter.told_dropped(o.delivery),
                    postmeter.told_dropped_key(o.destination, o.key), 'there is no such remittance')
                when o.hits = 1 and postmeter.told_dropped(o.id) is not null then postmeter.told_dropped(o.id)
                when o.hits > 1 and o.destinations = o.hits then 'several remittances bear it: name the destination'
                when o.hits > 1 then 'several remittances bear it: name the key, or resolve each by its number' end,
           array_agg(o.number) over same
    from one o
    -- what cannot be read says nothing about anything
    window same as (partition by case when coalesce(o.problem, o.foreign_name) is null then o.id end,
                                 case when o.id is null or coalesce(o.problem, o.foreign_name) is not null
                                     then o.number end)
$$;
comment on function postmeter.held_rows(jsonb) is
    'The rows of resolve_rows, each with the remittance that it names, and the verdict of those that decide '
    'nothing whatever the remittance is: malformed, not_found, ambiguous, contradictory (rows of one remittance '
    'that say different things: none of them counts), repeated.';

create function postmeter.held_verdict(
    d postmeter.delivery, held numeric, billed boolean, out verdict text, out status_after text, out note text
) returns record
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    unclear boolean := d.maybe_billed and d.status in ('unknown', 'held');
begin
    status_after := d.status;
    if not d.maybe_billed and not (d.status = 'conflict' and billed) and (coalesce(held, 0) = 0 or held = d.quantity)
       and exists (select from postmeter.doubt x where x.delivery_id = d.id and x.decision_id is null) then
        verdict := case when billed then 'billed' else 'not_billed' end;
        status_after := case when billed and d.status <> 'released' then 'accepted' else d.status end;
        return;
    end if;
    if d.reason = 'lost_time' and billed is false then
        verdict := 'not_billed'; status_after := 'released';
        return;
    elsif d.status = 'conflict' and billed and coalesce(held, d.shown_quantity, 0) = 0 then
        verdict := 'nothing_to_resolve';
        note := 'they did not say how much they hold: say it, as the quantity of this row';
        return;
    elsif d.status = 'conflict' and held > 0 and held = coalesce(d.shown_quantity, held) then
        verdict := 'billed'; status_after := 'accepted';
        note := case when held <> d.quantity then format('counts as %s, as they hold it', trim_scale(held)) end;
        return;
    end if;
    if held > 0 and held <> coalesce(case when d.status in ('accepted', 'conflict')
        then d.shown_quantity end, d.quantity) then
        verdict := 'other_quantity';
        note := format('they hold %s, this remittance is %s: look it up, then resolve it alone or write it off',
            trim_scale(held), trim_scale(d.quantity));
    elsif d.status = 'conflict' and billed then
        verdict := 'billed'; status_after := 'accepted';
    elsif unclear then
        verdict := case when billed then 'billed' else 'not_billed' end;
        status_after := case when billed then 'accepted' when d.deadline >= postmeter.clock() then 'due'
            else 'expired' end;
    elsif d.status = 'accepted' and billed then
        verdict := 'agrees'; note := 'is accepted already';
    elsif billed = (select (c.detail ->> 'billed')::boolean from postmeter.decision c
                    where c.delivery_id = d.id and c.verb = 'resolve' order by c.id desc limit 1) then
        verdict := 'agrees'; note := format('was resolved so before, and is %s now', replace(d.status, '_', ' '));
    else
        verdict := 'nothing_to_resolve';
        note := case when d.status = 'accepted' then 'we call it accepted: look it up, it is a matter for their support'
                     when d.status = 'conflict'
                         then 'they hold another quantity under this key: write it off, or say that it is billed'
                     when d.status in ('due', 'in_flight') then 'it is on its way: it is sent with the same key'
                     else format('is %s, and was never maybe billed', replace(d.status, '_', ' ')) end;
    end if;
end
$$;
comment on function postmeter.held_verdict(postmeter.delivery, numeric, boolean) is
    'What resolve_rows makes of one remittance of which the marketplace holds this quantity (null: not said), or '
    'which it holds or not.';
