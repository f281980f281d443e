-- 0061_pre_turns: whoever looks after a database can ask whether a turn of identities is overdue; record_usage says which field is missing.
-- programs: from 0022
-- lock: none

grant execute on function postmeter.identities_overdue(), postmeter.check_generation()
    to postmeter_reader, postmeter_operator, postmeter_worker;

-- one usage ---------------------------------------------------------------------------------------------------------------

create function postmeter.refuse_missing(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz
) returns void
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    field text := case when source is null then 'source' when event_id is null then 'event_id' when org is null then 'org'
                       when product is null then 'product' when metric is null then 'metric'
                       when quantity is null then 'quantity' when used_at is null then 'used_at' end;
begin
    if field is not null then
        raise exception 'usage %: % is missing', coalesce(quote_literal(left(event_id, 255)), '?'), field
            using errcode = '23502', schema = 'postmeter', table = 'outbox', column = field,
                  hint = 'Give it: a usage needs source, event_id, org, product, metric, quantity and used_at.';
    end if;
end
$$;
comment on function postmeter.refuse_missing(text, text, text, text, text, numeric, timestamptz) is
    'Refuses a usage that lacks a required field, by the first one''s name.';
revoke execute on function postmeter.refuse_missing(text, text, text, text, text, numeric, timestamptz) from public;

-- Postgres names the partition that refuses a null, which nobody knows: said before it is asked, where a usage is neither new
-- nor known.
do $$
declare
    definition text;
    changed    text;
begin
    select pg_get_functiondef(p.oid) into strict definition
    from pg_proc p
    where p.oid = 'postmeter.record_usage(text, text, text, text, text, numeric, timestamptz, text, text, text, text, jsonb)'::regprocedure;
    changed := replace(definition, '        is_new := found;
    end if;
', '        is_new := found;
    elsif num_nulls(record_usage.source, record_usage.event_id, record_usage.org, record_usage.product, record_usage.metric,
                    record_usage.quantity, record_usage.used_at) > 0 then
        perform postmeter.refuse_missing(record_usage.source, record_usage.event_id, record_usage.org, record_usage.product,
                                         record_usage.metric, record_usage.quantity, record_usage.used_at);
    end if;
');
    if changed = definition then
        raise exception 'record_usage is not as this migration knows it';
    end if;
    execute changed;
end
$$;

insert into postmeter.migration (version, name) values (61, '0061_pre_turns');
