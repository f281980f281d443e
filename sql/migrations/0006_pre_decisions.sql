-- 0006_pre_decisions: what people may do about what is stuck; each leaves who, when and why. Evidence is never edited.
-- programs: from 0006
-- lock: none

create function postmeter.nearest(word text, known text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- by letters and pairs of letters (Dice): what they share, twice, of what both have
    select k.word
    from unnest(known) k(word)
    cross join lateral (
        select 2.0 * count(*) filter (where strpos(' ' || lower(k.word) || ' ', g.some) > 0) / (count(*) + 2 * length(k.word) + 1) as likeness
        from (select distinct substr(' ' || lower(nearest.word) || ' ', n, many) as some
              from generate_series(1, 2) many, generate_series(3 - many, length(nearest.word) + 1) n) g) l
    where l.likeness >= 0.5
    order by l.likeness desc, k.word
    limit 1
$$;
comment on function postmeter.nearest(text, text[]) is 'What was probably meant: the known word that is most like the given one, or null.';

create function postmeter.check_filter(filter jsonb, fields text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    f record;
    t timestamptz;
begin
    for f in select e.key, e.value, e.value #>> '{}' as text from jsonb_each(filter) e order by 1 loop
        if f.key <> all (fields) then
            raise exception 'filter has no field %', quote_literal(f.key)
                using errcode = 'PM030', column = f.key, constraint = 'filter_field',
                      hint = 'Fields: ' || array_to_string(array_remove(fields, 'all'), ', ') || ', or {"all": true}.';
        end if;
        continue when f.text is null;  -- a null names nothing
        if jsonb_typeof(f.value) <> (case when f.key = 'all' then 'boolean' else 'string' end)
           and not (f.key = 'delivery' and jsonb_typeof(f.value) = 'number') then
            raise exception 'filter field % cannot be %', quote_literal(f.key), f.value
                using errcode = 'PM037', column = f.key, constraint = 'filter_value', hint = 'Values are texts; all is true or false.';
        elsif btrim(f.text, E' \t\r\n') = '' then
            raise exception 'filter field % is empty', quote_literal(f.key)
                using errcode = 'PM037', column = f.key, constraint = 'filter_value', hint = 'Leave it out to name nothing by it.';
        elsif f.key = 'delivery' and f.text !~ '^[0-9]{1,18}$' or f.key = 'usage' and f.text !~* '^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$' then
            raise exception 'filter field % cannot be %', quote_literal(f.key), quote_literal(f.text)
                using errcode = 'PM037', column = f.key, constraint = 'filter_value', hint = 'A remittance has a number, a usage a UUID.';
        elsif f.key in ('from', 'until') then
            begin
                t := f.text::timestamptz;
            exception when data_exception then
                raise exception 'filter field % is no time: %', quote_literal(f.key), quote_literal(f.text)
                    using errcode = 'PM037', column = f.key, constraint = 'filter_value', hint = 'Such as 2024-09-18T10:00:00Z.';
            end;
        end if;
    end loop;
    if (filter ->> 'from')::timestamptz >= (filter ->> 'until')::timestamptz then
        raise exception 'no hour is from % on and before %', filter ->> 'from', filter ->> 'until'
            using errcode = 'PM037', column = 'until', constraint = 'filter_value', hint = 'until must be later than from.';
    end if;
    if not exists (select from jsonb_each(filter) e where e.value not in ('null', 'false')) then
        raise exception 'a filter is needed: nothing is changed by accident'
            using errcode = 'PM031', column = 'filter', constraint = 'filter_needed',
                  hint = 'Name org, product, reason …, or say {"all": true}.';
    end if;
end
$$;
comment on function postmeter.check_filter(jsonb, text[]) is
    'Refuses a filter of a correction that cannot be meant: an unknown field (PM030), nothing named (PM031), an empty value, one of the wrong kind or a span without an hour (PM037).';

create function postmeter.check_filter_known(filter jsonb, held_usage boolean) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    field text;
    word  text;
    known text[];
    meant text;
begin
    foreach field in array array['destination', 'product', 'metric', 'org', 'account', 'delivery', 'usage'] loop
        word := filter ->> field;
        continue when word is null;
        known := case field
            when 'destination' then array(select t.name from postmeter.destination t)
            when 'product' then array(select d.product from postmeter.dimension d union select s.product from postmeter.subscription s union select h.product from postmeter.held h)
            when 'metric' then array(select d.metric from postmeter.dimension d union select h.metric from postmeter.held h)
            when 'org' then array(select s.org from postmeter.subscription s union select e.org from postmeter.exemption e union select h.org from postmeter.held h)
            when 'account' then array(select s.account from postmeter.subscription s where s.account is not null
                                      union select h.account from postmeter.held h where h.account is not null)
            when 'delivery' then array(select d.id::text from postmeter.delivery d where d.id = word::bigint)
            else array(select word from postmeter.usage u where u.id = word::uuid) end;
        continue when field = 'delivery' and known <> '{}' or word = any (known);
        meant := postmeter.nearest(word, known);
        raise exception 'there is no % %', case field when 'delivery' then 'remittance' else field end, quote_literal(word)
            using errcode = 'PM038', column = field, constraint = 'filter_known',
                  hint = case when word ~ '[%*]' then 'A value is matched whole: there are no patterns. For everything say {"all": true}.'
                              when meant is not null then 'Did you mean ' || quote_literal(meant) || '?'
                              else 'Neither the catalogue nor held usage knows it.' end;
    end loop;
    raise exception '%', case when held_usage then 'no held usage fits this filter now' else 'no remittance fits this filter now' end
        using errcode = 'PM039', column = 'filter', constraint = 'filter_fits',
              hint = 'Each value exists, but not together, or not in this status, for this reason or in this time.';
end
$$;
comment on function postmeter.check_filter_known(jsonb, boolean) is
    'Says why a filter of a correction fits nothing: the first of its values that does not exist (PM038), or that they do not occur together now (PM039).';

create function postmeter.check_word(filter jsonb, field text, words text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if filter ->> field <> all (words) then
        raise exception 'a correction finds nothing by % %', field, quote_literal(filter ->> field)
            using errcode = 'PM038', column = field, constraint = 'filter_known',
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(filter ->> field, words)) || '? ', '')
                         || 'There are: ' || array_to_string(words, ', ') || '.';
    end if;
end
$$;
comment on function postmeter.check_word(jsonb, text, text[]) is 'Refuses a status or reason of a filter that no correction can find (PM038).';

create function postmeter.delivery_counts(delivery bigint, org text, account text, metric text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select (delivery_counts.org is null and delivery_counts.account is null and delivery_counts.metric is null) or exists (
        select from postmeter.allocation a
        join postmeter.subscription s on s.id = a.subscription_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id
        where a.delivery_id = delivery_counts.delivery
          and (delivery_counts.org is null or s.org = delivery_counts.org)
          and (delivery_counts.account is null or s.account = delivery_counts.account)
          and (delivery_counts.metric is null or mm.metric = delivery_counts.metric))
$$;
comment on function postmeter.delivery_counts(bigint, text, text, text) is 'Whether a remittance counts usage of this org, account and metric; null: of any.';

create function postmeter.delivery_counts_others(delivery bigint, filter jsonb) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with recursive counted as (
        select delivery_counts_others.delivery as id
        union
        -- quantity that a release gave to it
        select c.delivery_id from counted x join postmeter.decision c on c.target_delivery_id = x.id where c.verb = 'release'
    )
    select coalesce(filter ->> 'org', filter ->> 'account', filter ->> 'metric') is not null and filter ->> 'delivery' is null and exists (
        select from counted x
        join postmeter.allocation a on a.delivery_id = x.id
        join postmeter.subscription s on s.id = a.subscription_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id
        where s.org <> filter ->> 'org' or filter ->> 'account' is not null and s.account is distinct from filter ->> 'account'
           or mm.metric <> filter ->> 'metric')
$$;
comment on function postmeter.delivery_counts_others(bigint, jsonb) is
    'Whether a remittance counts usage, or released quantity, beside that of the org, account and metric that a filter names; false if the filter names the delivery: then all of it is meant.';

create function postmeter.filter_fits(filter jsonb) returns table (status text, remittances bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select d.status, count(*)
    from postmeter.delivery d
    join postmeter.destination t on t.id = d.destination_id
    where (filter ->> 'destination' is null or t.name = filter ->> 'destination')
      and (not d.shadow or filter ->> 'destination' is not null or filter ->> 'delivery' is not null)
      and (filter ->> 'delivery' is null or d.id = (filter ->> 'delivery')::bigint)
      and (filter ->> 'from' is null or d.hour >= (filter ->> 'from')::timestamptz)
      and (filter ->> 'until' is null or d.hour < (filter ->> 'until')::timestamptz)
      and (filter ->> 'product' is null or d.product = filter ->> 'product')
      and postmeter.delivery_counts(d.id, filter ->> 'org', filter ->> 'account', filter ->> 'metric')
      -- status and reason change: what counts is what they were when somebody decided
      and (filter ->> 'status' is null and filter ->> 'reason' is null
           or (filter ->> 'status' is null or d.status = filter ->> 'status') and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
           or exists (select from postmeter.decision c
                      where c.delivery_id = d.id
                        and (filter ->> 'status' is null or c.status_before = filter ->> 'status')
                        and (filter ->> 'reason' is null or c.detail ->> 'reason' = filter ->> 'reason')))
    group by 1 order by 1
$$;
comment on function postmeter.filter_fits(jsonb) is
    'Remittances that a filter of a correction names, whatever became of them, by status: what a correction that finds nothing left to do has met. Status and reason of the filter mean now, or when somebody decided.';

create function postmeter.deliveries_by(filter jsonb, waiting boolean default false) returns setof postmeter.delivery
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    chosen bigint[];
    wholly text;
begin
    perform postmeter.check_filter(filter, array['org', 'account', 'product', 'metric', 'destination', 'status', 'reason', 'from', 'until', 'delivery', 'all']);
    perform postmeter.check_word(filter, 'status', case when waiting then array['due'] else array['rejected', 'expired', 'conflict', 'unknown', 'held'] end);
    perform postmeter.check_word(filter, 'reason', array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'quantity_out_of_range', 'unrecognised_answer', 'tries_exhausted', 'poison', 'by_operator']);
    chosen := array(
        select d.id
        from (select s.delivery_id from postmeter.stuck s where not waiting
              union all select q.delivery_id from postmeter.due q where waiting
              union all select l.delivery_id from postmeter.later l where waiting) k
        join postmeter.delivery d on d.id = k.delivery_id
        join postmeter.destination t on t.id = d.destination_id
        where d.status in ('rejected', 'expired', 'conflict', 'unknown', 'held', 'due')
          and (filter ->> 'status' is null or d.status = filter ->> 'status')
          and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
          and (filter ->> 'destination' is null or t.name = filter ->> 'destination')
          -- a shadow's are meant only by name: what is decided about live ones must not touch them, nor be hidden among them
          and (not d.shadow or filter ->> 'destination' is not null or filter ->> 'delivery' is not null)
          and (filter ->> 'delivery' is null or d.id = (filter ->> 'delivery')::bigint)
          and (filter ->> 'from' is null or d.hour >= (filter ->> 'from')::timestamptz)
          and (filter ->> 'until' is null or d.hour < (filter ->> 'until')::timestamptz)
          and (filter ->> 'product' is null or d.product = filter ->> 'product')
          and postmeter.delivery_counts(d.id, filter ->> 'org', filter ->> 'account', filter ->> 'metric'));
    if chosen = '{}' then
        -- nothing left to do is success, a filter that names nothing is a mistake
        if not exists (select from postmeter.filter_fits(filter)) then
            perform postmeter.check_filter_known(filter, false);
        end if;
        return;
    end if;
    if not coalesce((filter ->> 'all')::boolean, false) and coalesce(filter ->> 'destination', filter ->> 'delivery', filter ->> 'org', filter ->> 'account') is null then
        -- a filter that leaves nothing of a destination out is a scope, and is said so
        select format('%s (%s)', min(t.name), count(*)) into wholly
        from (select s.delivery_id, s.destination_id from postmeter.stuck s where not waiting
              union all select q.delivery_id, q.destination_id from postmeter.due q where waiting
              union all select l.delivery_id, l.destination_id from postmeter.later l where waiting) k
        join postmeter.destination t on t.id = k.destination_id
        left join unnest(chosen) c(id) on c.id = k.delivery_id
        group by k.destination_id
        having count(*) > 1 and count(*) = count(c.id)
        order by count(*) desc limit 1;
        if found then
            raise exception 'this filter leaves nothing out: it names all there is at %', wholly
                using errcode = 'PM031', column = 'filter', constraint = 'filter_needed',
                      hint = 'If that is meant, name the destination too, or say {"all": true}.';
        end if;
    end if;
    return query select d.* from postmeter.delivery d where d.id = any (chosen) order by d.id;
end
$$;
comment on function postmeter.deliveries_by(jsonb, boolean) is
    'Dead letters that a filter names: rejected, expired, conflict, unknown or held remittances; or, if waiting, those that wait to be sent. A shadow''s only if the filter names it or the delivery. None: nothing is left to do. The one home of what a filter may be: refuses what cannot be meant (PM030, PM031, PM037), values that do not exist (PM038), what fits no remittance (PM039), and all of several of a destination unless destination, org, account or all says so (PM031).';

create function postmeter.check_decider(who text, why text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(who, '') = '' or coalesce(why, '') = '' then
        raise exception 'a decision needs who and why'
            using errcode = 'PM032', column = case when coalesce(who, '') = '' then 'who' else 'why' end, constraint = 'decision_signed';
    end if;
end
$$;
comment on function postmeter.check_decider(text, text) is 'Refuses a decision without a name or a reason (PM032).';

create function postmeter.retry(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; quantity := d.quantity; note := null;
        status_after := d.status;
        if d.body is null then
            note := 'was never frozen into a record: release it or write it off';
        elsif d.deadline < now then
            note := 'its deadline has passed: release it or write it off';
        elsif d.status = 'conflict' then
            note := 'they hold another quantity under this key: resolve it or write it off';
        elsif d.maybe_billed and exists (select from postmeter.destination t
                                         where t.id = d.destination_id and d.maybe_since + t.memory <= now) then
            note := 'may have been billed, and they no longer recognise the key: look it up there and resolve it';
        else
            status_after := 'due';
        end if;
        if status_after = 'due' and not dry_run then
            update postmeter.delivery u
            set status = 'due', reason = null, tries = 0, deaths = 0, batch_limit = 1, changed_at = now
            where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'retry', d.id, d.status, 'due', d.quantity, jsonb_strip_nulls(jsonb_build_object('filter', filter, 'reason', d.reason)));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.retry(jsonb, text, text, boolean) is
    'Sends dead letters again, with the same bytes and key, while their deadline allows. Dry run unless told otherwise. Never touches what is accepted.';

create function postmeter.release(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d      postmeter.delivery;
    part   record;
    target bigint;
    now    timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(
        select c.meter_id from postmeter.cut c where c.delivery_id in (select b.id from postmeter.deliveries_by(filter) b)));
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity; note := null;
        if d.maybe_billed then
            note := 'may have been billed: resolve it first';
        elsif d.status = 'conflict' then
            note := 'they hold a quantity under this key: resolve it or write it off';
        elsif postmeter.delivery_counts_others(d.id, filter) then
            note := 'also counts usage outside the filter: name the delivery to release all of it';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      join postmeter.closed_month x on x.destination_id = m.destination_id and x.month = m.month
                      where c.delivery_id = d.id) then
            note := 'its month is closed: reopen the month first, or write it off';
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      join postmeter.destination t on t.id = m.destination_id
                      where c.delivery_id = d.id and postmeter.target_hour(m.id) is null and t.late_policy <> 'part') then
            note := 'no hour of its month can take it any more: write it off, or set the destination''s late_policy to part';
        else
            status_after := 'released';
        end if;
        if status_after = 'released' and not dry_run then
            update postmeter.delivery u set status = 'released', reason = null, releases = u.releases + 1, changed_at = now,
                body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
                idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
            where u.id = d.id;
            target := null;
            for part in select c.meter_id, sum(c.to_bill) as to_bill from postmeter.cut c where c.delivery_id = d.id group by 1 order by 1 loop
                update postmeter.meter m
                set billed = trim_scale(m.billed - part.to_bill), carried = trim_scale(m.carried + part.to_bill * m.denominator),
                    billable = trim_scale(m.billable + part.to_bill)
                where m.id = part.meter_id;
                if part.to_bill > 0 then
                    target := postmeter.open_target(part.meter_id, d.identity, d.product);
                end if;
            end loop;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
            values (who, why, 'release', d.id, d.status, 'released', d.quantity, target, jsonb_strip_nulls(jsonb_build_object('filter', filter, 'reason', d.reason)));
            note := 'its quantity goes to remittance ' || target;
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.release(jsonb, text, text, boolean) is
    'Gives the quantity of dead letters back to their meters; it is billed with another hour of the month, or by policy as a part of the running one. Refused while maybe billed, and in a closed month. Dry run unless told otherwise.';

create function postmeter.write_off(filter jsonb, who text, why text, dry_run boolean default true)
returns table (delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity; note := null;
        if d.maybe_billed then
            note := 'may have been billed: resolve it first';
        elsif postmeter.delivery_counts_others(d.id, filter) then
            note := 'also counts usage outside the filter: name the delivery to write all of it off';
        else
            status_after := 'written_off';
        end if;
        if status_after = 'written_off' and not dry_run then
            update postmeter.delivery u set status = 'written_off', reason = null, changed_at = now,
                body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
                idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
            where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'write_off', d.id, d.status, 'written_off', d.quantity, jsonb_strip_nulls(jsonb_build_object('filter', filter, 'reason', d.reason)));
        end if;
        return next;
    end loop;
end
$$;
comment on function postmeter.write_off(jsonb, text, text, boolean) is
    'Gives up dead letters: their quantity is shown as written off and is not billed again. Refused while maybe billed. Dry run unless told otherwise.';

create function postmeter.resolve_unknown(delivery bigint, billed boolean, who text, why text, out status text, out changed boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d     postmeter.delivery;
    now   timestamptz := postmeter.clock();
    after text;
    last  boolean;
begin
    perform postmeter.check_decider(who, why);
    select f.* into d from postmeter.delivery f where f.id = resolve_unknown.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery', constraint = 'delivery_exists';
    end if;
    changed := true;
    if d.status = 'conflict' and billed then
        after := 'accepted';
    elsif d.maybe_billed and d.status in ('unknown', 'held') then
        after := case when billed then 'accepted' when d.deadline >= now then 'due' else 'expired' end;
    else
        -- said already, and nothing has become unknown since: the same again changes nothing more
        select (c.detail ->> 'billed')::boolean into last from postmeter.decision c
        where c.delivery_id = d.id and c.verb = 'resolve' order by c.id desc limit 1;
        if last = billed then
            status := d.status;
            changed := false;
            return;
        end if;
        raise exception 'remittance % is % and has nothing to resolve', delivery, d.status
            using errcode = 'PM034', column = 'delivery', constraint = 'delivery_unresolved',
                  hint = 'Only what may have been billed, or a conflict that they hold as ours, is resolved by hand.';
    end if;
    update postmeter.delivery u
    set status = after, reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0,
        confirmed = case when after = 'accepted' then false end, changed_at = now
    where u.id = d.id;
    if after = 'due' then
        insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, after, d.quantity, jsonb_build_object('billed', billed));
    status := after;
end
$$;
comment on function postmeter.resolve_unknown(bigint, boolean, text, text) is
    'A person says whether an unknown remittance was billed: billed, it is accepted (quantity not confirmed); not billed, it is sent again while its deadline allows, else it is expired. Returns the status; changed is false if the same was said before.';

create function postmeter.held_usage_by(filter jsonb) returns setof postmeter.held
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.check_filter(filter, array['org', 'account', 'product', 'metric', 'destination', 'reason', 'from', 'until', 'usage', 'all']);
    perform postmeter.check_word(filter, 'reason', array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'poison', 'by_operator']);
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
    'Held usage that a filter names; none: somebody decided about it already. Refuses what cannot be meant, values that do not exist, and what fits nothing, as deliveries_by does.';

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
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen) order by 1 for update;
    if not dry_run then
        insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
        select who, why, 'retry', h.usage_id, 'held', 'outbox', h.quantity, jsonb_build_object('filter', filter, 'reason', h.reason, 'destination', t.name)
        from postmeter.held h left join postmeter.destination t on t.id = h.destination_id where h.usage_id = any (chosen);
        perform postmeter.return_held(chosen);
    end if;
end
$$;
comment on function postmeter.retry_held(jsonb, text, text, boolean) is 'Sends held usage back to the outbox. Dry run unless told otherwise.';

create table postmeter.usage_written_off (
    usage_id    uuid   not null primary key,
    decision_id bigint not null
);
comment on table postmeter.usage_written_off is 'Held usage that a person gave up.';
comment on column postmeter.usage_written_off.usage_id is 'The usage.';
comment on column postmeter.usage_written_off.decision_id is 'The decision.';

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
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen) order by 1 for update;
    if not dry_run then
        with given_up as (
            delete from postmeter.held h where h.usage_id = any (chosen) returning h.usage_id, h.destination_id, h.quantity, h.reason
        ), decided as (
            insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
            select who, why, 'write_off', g.usage_id, 'held', 'written_off', g.quantity, jsonb_build_object('filter', filter, 'reason', g.reason, 'destination', t.name)
            from given_up g left join postmeter.destination t on t.id = g.destination_id
            returning id, usage_id
        )
        insert into postmeter.usage_written_off (usage_id, decision_id) select d.usage_id, d.id from decided d;
    end if;
end
$$;
comment on function postmeter.write_off_held(jsonb, text, text, boolean) is 'Gives up held usage. Dry run unless told otherwise.';

create function postmeter.check_destination(destination text) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from postmeter.destination t where t.name = check_destination.destination) then
        raise exception 'there is no destination %', coalesce(quote_literal(destination), 'without a name')
            using errcode = 'PM033', column = 'destination', constraint = 'destination_exists',
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(destination, array(select t.name from postmeter.destination t))) || '?',
                                  'postmeter catalog show lists them.');
    end if;
end
$$;
comment on function postmeter.check_destination(text) is 'Refuses a destination that does not exist (PM033).';

create function postmeter.pause(destination text, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return postmeter.set_paused(destination, true, who, why);
end
$$;
comment on function postmeter.pause(text, text, text) is 'Stops sending to a destination; what is in flight ends by itself. False: it was paused already.';

create function postmeter.resume(destination text, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return postmeter.set_paused(destination, false, who, why);
end
$$;
comment on function postmeter.resume(text, text, text) is 'Sends to a paused destination again. False: it was not paused.';

create function postmeter.set_paused(destination text, paused boolean, who text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select * into t from postmeter.destination x where x.name = set_paused.destination for update;
    if t.paused = set_paused.paused then
        return false;
    end if;
    update postmeter.destination x set paused = set_paused.paused where x.id = t.id;
    insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after)
    values (who, why, case when set_paused.paused then 'pause' else 'resume' end, t.id,
            case when t.paused then 'paused' else 'sending' end, case when set_paused.paused then 'paused' else 'sending' end);
    return true;
end
$$;
comment on function postmeter.set_paused(text, boolean, text, text) is 'What pause and resume share.';

insert into postmeter.migration (version, name) values (6, '0006_pre_decisions');
