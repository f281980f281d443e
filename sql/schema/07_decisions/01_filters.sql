-- Filters: which remittances a decision is about.

create function postmeter.nearest(word text, known text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    -- by letters and pairs of letters (Dice): what they share, twice, of what both have
    select k.word
    from unnest(known) k(word)
    cross join lateral (
        select 2.0 * count(*) filter (where strpos(' ' || lower(k.word) || ' ', g.some) > 0) / (count(*)
            + 2 * length(k.word) + 1) as likeness
        from (select distinct substr(' ' || lower(nearest.word) || ' ', n, many) as some
              from generate_series(1, 2) many, generate_series(3 - many, length(nearest.word) + 1) n) g) l
    where l.likeness >= 0.5
    order by l.likeness desc, k.word
    limit 1
$$;
comment on function postmeter.nearest(text, text[]) is
    'What was probably meant: the known word that is most like the given one, or null.';

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
                using errcode = 'PM037', column = f.key, constraint = 'filter_value',
                    hint = 'Values are texts; all is true or false.';
        elsif btrim(f.text, E' \t\r\n') = '' then
            raise exception 'filter field % is empty', quote_literal(f.key)
                using errcode = 'PM037', column = f.key, constraint = 'filter_value',
                    hint = 'Leave it out to name nothing by it.';
        elsif f.key = 'delivery' and f.text !~ '^[0-9]{1,18}$' or f.key = 'usage'
            and f.text !~* '^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$' then
            raise exception 'filter field % cannot be %', quote_literal(f.key), quote_literal(f.text)
                using errcode = 'PM037', column = f.key, constraint = 'filter_value',
                    hint = 'A remittance has a number, a usage a UUID.';
        elsif f.key in ('from', 'until') then
            begin
                t := f.text::timestamptz;
            exception when data_exception then
                raise exception 'filter field % is no time: %', quote_literal(f.key), quote_literal(f.text)
                    using errcode = 'PM037', column = f.key, constraint = 'filter_value',
                        hint = 'Such as 2024-09-18T10:00:00Z.';
            end;
        end if;
    end loop;
    if (filter ->> 'from')::timestamptz >= (filter ->> 'until')::timestamptz then
        raise exception 'no hour is from % on and before %', filter ->> 'from', filter ->> 'until'
            using errcode = 'PM037', column = 'until', constraint = 'filter_value',
                hint = 'until must be later than from.';
    end if;
    if not exists (select from jsonb_each(filter) e where e.value not in ('null', 'false')) then
        raise exception 'a filter is needed: nothing is changed by accident'
            using errcode = 'PM031', column = 'filter', constraint = 'filter_needed',
                  hint = 'Name org, product, reason …, or say {"all": true}.';
    end if;
end
$$;
comment on function postmeter.check_filter(jsonb, text[]) is
    'Refuses a filter of a correction that cannot be meant: an unknown field (PM030), nothing named (PM031), an '
    'empty value, one of the wrong kind or a span without an hour (PM037).';

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
            when 'product' then array(select d.product from postmeter.dimension d union select s.product
                from postmeter.subscription s union select h.product from postmeter.held h)
            when 'metric' then array(select d.metric from postmeter.dimension d union select h.metric
                from postmeter.held h)
            when 'org' then array(select s.org from postmeter.subscription s union select e.org
                from postmeter.exemption e union select h.org from postmeter.held h)
            when 'account' then array(select s.account from postmeter.subscription s where s.account is not null
                                      union select h.account from postmeter.held h where h.account is not null)
            when 'delivery' then array(select d.id::text from postmeter.delivery d where d.id = word::bigint)
            else array(select word from postmeter.usage u where u.id = word::uuid) end;
        continue when field = 'delivery' and known <> '{}' or word = any (known);
        meant := postmeter.nearest(word, known);
        raise exception 'there is no % %', case field when 'delivery' then 'remittance'
            else field end, quote_literal(word)
            using errcode = 'PM038', column = field, constraint = 'filter_known',
                  hint = case when word ~ '[%*]'
                      then 'A value is matched whole: there are no patterns. For everything say {"all": true}.'
                              when meant is not null then 'Did you mean ' || quote_literal(meant) || '?'
                              else 'Neither the catalogue nor held usage knows it.' end;
    end loop;
    raise exception '%', case when held_usage then 'no held usage fits this filter now'
        else 'no remittance fits this filter now' end
        using errcode = 'PM039', column = 'filter', constraint = 'filter_fits',
              hint = 'Each value exists, but not together, or not in this status, for this reason or in this time.';
end
$$;
comment on function postmeter.check_filter_known(jsonb, boolean) is
    'Says why a filter of a correction fits nothing: the first of its values that does not exist (PM038), or that '
    'they do not occur together now (PM039).';

create function postmeter.check_word(filter jsonb, field text, words text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if filter ->> field <> all (words) then
        raise exception 'a correction finds nothing by % %', field, quote_literal(filter ->> field)
            using errcode = 'PM038', column = field, constraint = 'filter_known',
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(filter ->> field, words)) || '? ',
                      '')
                         || 'There are: ' || array_to_string(words, ', ') || '.';
    end if;
end
$$;
comment on function postmeter.check_word(jsonb, text, text[]) is
    'Refuses a status or reason of a filter that no correction can find (PM038).';

create function postmeter.delivery_counts(delivery bigint, org text, account text, metric text)
returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select (delivery_counts.org is null and delivery_counts.account is null and delivery_counts.metric is null)
        or exists (
        select from postmeter.allocation a
        join postmeter.subscription s on s.id = a.subscription_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id
        where a.delivery_id = delivery_counts.delivery
          and (delivery_counts.org is null or s.org = delivery_counts.org)
          and (delivery_counts.account is null or s.account = delivery_counts.account)
          and (delivery_counts.metric is null or mm.metric = delivery_counts.metric))
$$;
comment on function postmeter.delivery_counts(bigint, text, text, text) is
    'Whether a remittance counts usage of this org, account and metric; null: of any.';

create function postmeter.delivery_counts_others(delivery bigint, filter jsonb) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with recursive counted as (
        select delivery_counts_others.delivery as id
        union
        -- quantity that a release gave to it
        select c.delivery_id from counted x join postmeter.decision c on c.target_delivery_id = x.id
            where c.verb = 'release'
    )
    select coalesce(filter ->> 'org', filter ->> 'account', filter ->> 'metric') is not null
        and filter ->> 'delivery' is null and exists (
        select from counted x
        join postmeter.allocation a on a.delivery_id = x.id
        join postmeter.subscription s on s.id = a.subscription_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id
        where s.org <> filter ->> 'org' or filter ->> 'account' is not null and s.account is distinct
            from filter ->> 'account'
           or mm.metric <> filter ->> 'metric')
$$;
comment on function postmeter.delivery_counts_others(bigint, jsonb) is
    'Whether a remittance counts usage, or released quantity, beside that of the org, account and metric that a '
    'filter names; false if the filter names the delivery: then all of it is meant.';

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
      and postmeter.delivery_counted(d.id, filter ->> 'org', filter ->> 'account', filter ->> 'metric')
      -- status and reason change: what counts is what they were when somebody decided
      and (filter ->> 'status' is null and filter ->> 'reason' is null
           or (filter ->> 'status' is null or d.status = filter ->> 'status')
               and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
           or exists (select from postmeter.decision c
                      where c.delivery_id = d.id
                        and (filter ->> 'status' is null or c.status_before = filter ->> 'status')
                        and (filter ->> 'reason' is null or c.detail ->> 'reason' = filter ->> 'reason')))
    group by 1 order by 1
$$;
comment on function postmeter.filter_fits(jsonb) is
    'Remittances that a filter of a correction names, whatever became of them, by status: what a correction that '
    'finds nothing left to do has met. Status and reason of the filter mean now, or when somebody decided.';

-- A filter may say within: only these of the remittances that it fits. A program that decides about many takes them in
-- shares this way, each in a transaction of its own; the decisions bear the filter without it.
create function postmeter.deliveries_by(filter jsonb, waiting boolean default false)
returns setof postmeter.delivery
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    given  jsonb := filter - 'within';
    named  bigint[];
    chosen bigint[];
    wholly text;
begin
    perform postmeter.check_filter(given,
        array['org', 'account', 'product', 'metric', 'destination', 'status', 'reason', 'from', 'until', 'delivery',
        'all']);
    perform postmeter.check_word(given, 'status', case when waiting then array['due']
        else array['rejected', 'expired', 'conflict', 'unknown', 'held'] end);
    perform postmeter.check_word(given, 'reason',
        array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'quantity_out_of_range', 'unrecognised_answer', 'tries_exhausted', 'poison',
            'by_operator', 'lost_time']);
    -- one that is named is looked up, not looked for among all: else many, one by one, cost the square of their number
    if filter ->> 'delivery' is not null then
        named := array[(filter ->> 'delivery')::bigint];
        perform postmeter.check_not_dropped(array[(filter ->> 'delivery')::bigint]);
    elsif filter ? 'within' then
        named := array(select w.id::bigint from jsonb_array_elements_text(filter -> 'within') w(id));
        perform postmeter.check_not_dropped(named);
    else
        named := array(select s.delivery_id from postmeter.stuck s where not waiting
                       union all select q.delivery_id from postmeter.due q where waiting
                       union all select l.delivery_id from postmeter.later l where waiting);
    end if;
    chosen := array(
        select d.id
        from postmeter.delivery d
        join postmeter.destination t on t.id = d.destination_id
        where d.id = any (named)
          and (not d.shadow or postmeter.told_dropped(d.id) is null)
          and d.status in ('rejected', 'expired', 'conflict', 'unknown', 'held', 'due') and (d.status = 'due') = waiting
          and (filter ->> 'status' is null or d.status = filter ->> 'status')
          and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
          and (filter ->> 'destination' is null or t.name = filter ->> 'destination')
          -- a shadow's are meant only by name: what is decided about live ones must not touch them, nor be hidden among
          -- them
          and (not d.shadow or filter ->> 'destination' is not null or filter ->> 'delivery' is not null)
          and (filter ->> 'from' is null or d.hour >= (filter ->> 'from')::timestamptz)
          and (filter ->> 'until' is null or d.hour < (filter ->> 'until')::timestamptz)
          and (filter ->> 'product' is null or d.product = filter ->> 'product')
          and postmeter.delivery_counts(d.id, filter ->> 'org', filter ->> 'account', filter ->> 'metric'));
    if filter ? 'within' then
        -- what the whole filter means was asked before
        return query select d.* from postmeter.delivery d where d.id = any (chosen) order by d.id;
        return;
    end if;
    if chosen = '{}' then
        -- nothing left to do is success, a filter that names nothing is a mistake
        if not exists (select from postmeter.filter_fits(filter)) then
            perform postmeter.check_filter_known(filter, false);
        end if;
        return;
    end if;
    if not coalesce((filter ->> 'all')::boolean, false)
        and coalesce(filter ->> 'destination', filter ->> 'delivery', filter ->> 'org', filter ->> 'account') is null
        then
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
    'Dead letters that a filter names: rejected, expired, conflict, unknown or held remittances; or, if waiting, '
    'those that wait to be sent. A shadow''s only if the filter names it or the delivery. With within, a list of '
    'deliveries, only those of them. None: nothing is left to do. The one home of what a filter may be: refuses '
    'what cannot be meant (PM030, PM031, PM037), values that do not exist (PM038), what fits no remittance '
    '(PM039), and all of several of a destination unless destination, org, account or all says so (PM031).';

create function postmeter.check_decider(who text, why text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(who, '') = '' or coalesce(why, '') = '' then
        raise exception 'a decision needs who and why'
            using errcode = 'PM032', column = case when coalesce(who, '') = '' then 'who'
                else 'why' end, constraint = 'decision_signed';
    end if;
end
$$;
comment on function postmeter.check_decider(text, text) is 'Refuses a decision without a name or a reason (PM032).';

-- what a recount moved away still says what a filter means
create function postmeter.delivery_counted(delivery bigint, org text, account text, metric text)
returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select postmeter.delivery_counts(delivery, org, account, metric) or exists (
        select from postmeter.recounted r
        join postmeter.subscription s on s.id = r.subscription_id
        join postmeter.meter_metric mm on mm.id = r.meter_metric_id
        where r.delivery_id = delivery_counted.delivery
          and (delivery_counted.org is null or s.org = delivery_counted.org)
          and (delivery_counted.account is null or s.account = delivery_counted.account)
          and (delivery_counted.metric is null or mm.metric = delivery_counted.metric))
$$;
comment on function postmeter.delivery_counted(bigint, text, text, text) is
    'Whether a remittance counts usage of this org, account and metric, or has counted it before a recount; null: '
    'of any.';
