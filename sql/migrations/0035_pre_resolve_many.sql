-- 0035_pre_resolve_many: what a marketplace holds of many unknown remittances is said at once, row by row.
-- programs: from 0022
-- lock: none

create function postmeter.resolve_rows(rows jsonb, who text, why text, dry_run boolean default true)
returns table (row_number bigint, delivery_id bigint, key text, status_before text, status_after text, quantity numeric, verdict text, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    r        record;
    d        postmeter.delivery;
    found_in bigint[];
    receipts jsonb;
    now      timestamptz := postmeter.clock();
    is_held  boolean;
    unclear  boolean;
begin
    perform postmeter.check_decider(who, why);
    if jsonb_typeof(rows) <> 'array' or jsonb_array_length(rows) > 1000 then
        raise exception 'rows must be an array of 1000 objects at most'
            using errcode = 'PM037', column = 'rows', constraint = 'resolve_rows', hint = 'Say many in shares: each is a transaction of its own.';
    end if;
    -- receipts of what is unresolved, read once for all rows
    select jsonb_object_agg(x.receipt, x.deliveries) into receipts
    from (select e.receipt, jsonb_agg(distinct e.delivery_id) as deliveries
          from (select o.receipt, a.delivery_id
                from postmeter.stuck s
                join postmeter.attempt a on a.delivery_id = s.delivery_id
                join postmeter.outcome o on o.attempt_id = a.id
                union all
                select l.receipt, l.delivery_id from postmeter.stuck s join postmeter.late_evidence l on l.delivery_id = s.delivery_id) e
          where e.receipt in (select x ->> 'receipt' from jsonb_array_elements(rows) x) group by e.receipt) x
    where exists (select from jsonb_array_elements(rows) x where x ->> 'receipt' is not null);
    for r in
        select e.ordinality as number, x.delivery, x.key, x.receipt, x.destination, x.quantity, x.billed
        from jsonb_array_elements(rows) with ordinality e(value, ordinality)
        cross join lateral jsonb_to_record(e.value) x(delivery bigint, key text, receipt text, destination text, quantity numeric, billed boolean)
        order by e.ordinality
    loop
        row_number := r.number; delivery_id := null; key := r.key; status_before := null; status_after := null; quantity := null; note := null;
        found_in := case
            when r.delivery is not null then array[r.delivery]
            when r.key is not null then
                array(select f.id from postmeter.destination t join postmeter.delivery f on f.destination_id = t.id and f.key = r.key where not f.shadow)
            else array(select jsonb_array_elements_text(receipts -> r.receipt)::bigint)
        end;
        found_in := array(select f.id from postmeter.delivery f join postmeter.destination t on t.id = f.destination_id
                          where f.id = any (found_in) and (r.destination is null or t.name = r.destination));
        if cardinality(found_in) <> 1 then
            verdict := case cardinality(found_in) when 0 then 'not_found' else 'ambiguous' end;
            note := case when cardinality(found_in) > 1 then 'several remittances bear it: name the destination'
                         when r.key is null and r.delivery is null then 'no unresolved remittance has this receipt: name the key'
                         else 'there is no such remittance' end;
            return next;
            continue;
        end if;
        delivery_id := found_in[1];
        -- who works on one of them keeps the others from nothing
        select f.* into d from postmeter.delivery f where f.id = delivery_id for update skip locked;
        if not found then
            verdict := 'locked'; note := 'somebody works on it at this moment: say it again';
            return next;
            continue;
        end if;
        key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity;
        unclear := d.maybe_billed and d.status in ('unknown', 'held');
        is_held := coalesce(r.billed, r.quantity > 0);
        if is_held is null or r.quantity < 0 then
            verdict := 'malformed'; note := 'says neither billed nor a quantity from 0 upwards';
        elsif r.quantity > 0 and r.quantity <> coalesce(case when d.status = 'accepted' then d.shown_quantity end, d.quantity) then
            verdict := 'other_quantity';
            note := format('they hold %s, this remittance is %s: look it up, then resolve it alone or write it off', trim_scale(r.quantity), trim_scale(d.quantity));
        elsif d.status = 'conflict' and is_held then
            verdict := 'billed'; status_after := 'accepted';
        elsif unclear then
            verdict := case when is_held then 'billed' else 'not_billed' end;
            status_after := case when is_held then 'accepted' when d.deadline >= now then 'due' else 'expired' end;
        elsif d.status = 'accepted' and is_held then
            verdict := 'agrees'; note := 'is accepted already';
        elsif is_held = (select (c.detail ->> 'billed')::boolean from postmeter.decision c
                         where c.delivery_id = d.id and c.verb = 'resolve' order by c.id desc limit 1) then
            verdict := 'agrees'; note := format('was resolved so before, and is %s now', replace(d.status, '_', ' '));
        else
            verdict := 'nothing_to_resolve';
            note := case when d.status = 'accepted' then 'we call it accepted: look it up, it is a matter for their support'
                         when d.status = 'conflict' then 'they hold another quantity under this key: write it off, or say that it is billed'
                         when d.status in ('due', 'in_flight') then 'it is on its way: it is sent with the same key'
                         else format('is %s, and was never maybe billed', replace(d.status, '_', ' ')) end;
        end if;
        if status_after <> status_before and not dry_run then
            perform postmeter.resolve_unknown(d.id, is_held, who, why);
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.resolve_rows(jsonb, text, text, boolean) is
    'A person says of many remittances what the marketplace holds (an array of 1000 objects at most: delivery, key or receipt, destination where a key is at several, and quantity or billed), as resolve_unknown says it of one. A verdict for every row: billed, not_billed, agrees, other_quantity, nothing_to_resolve, not_found, ambiguous, locked, malformed; the other rows go on. A quantity of 0 means that they hold nothing. Nothing changes if dry_run.';
revoke execute on function postmeter.resolve_rows(jsonb, text, text, boolean) from public;
grant execute on function postmeter.resolve_rows(jsonb, text, text, boolean) to postmeter_operator;

insert into postmeter.migration (version, name) values (35, '0035_pre_resolve_many');
