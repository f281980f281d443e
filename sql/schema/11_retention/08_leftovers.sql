-- What stays of a dropped month of the ledger in tables that have no partitions.

create function postmeter.ledger_leftover_heads(month date)
returns table (table_name text, rows bigint, chain text, sums jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
    with ids as materialized (select * from postmeter.ledger_span(ledger_leftover_heads.month))
    select 'exempted', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'::jsonb
    from (select postmeter.ledger_line(r) as line from postmeter.exempted r
          where r.usage_id >= (select first_id from ids) and r.usage_id < (select until_id from ids)
          order by r.usage_id) l
    union all
    select 'usage_written_off', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.usage_written_off r
          where r.usage_id >= (select first_id from ids) and r.usage_id < (select until_id from ids)
          order by r.usage_id) l
$$;
comment on function postmeter.ledger_leftover_heads(date) is
    'Rows of exempted and usage_written_off of a month of the ledger, and the heads of their hash chains.';

create function postmeter.drop_ledger_leftovers(month date, most integer default 10000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
as $$
declare
    ids  record;
    gone bigint;
    more bigint;
begin
    perform 1 from postmeter.ledger_drop d where d.month = drop_ledger_leftovers.month;
    if not found then
        raise exception 'the ledger of % is not dropped', to_char(month, 'YYYY-MM')
            using errcode = 'PM041', column = 'month', constraint = 'ledger_dropped',
                hint = 'drop_ledger_month drops it.';
    end if;
    select * into ids from postmeter.ledger_span(drop_ledger_leftovers.month);
    perform 1 from postmeter.ledger_export e
    where e.month = drop_ledger_leftovers.month and e.manifest::jsonb ->> 'format' <> 'postmeter-ledger/1';
    if not found then
        return 0;
    end if;
    delete from postmeter.exempted x
    where x.usage_id in (select y.usage_id from postmeter.exempted y
                         where y.usage_id >= ids.first_id and y.usage_id < ids.until_id
                         order by y.usage_id limit most for update skip locked);
    get diagnostics gone = row_count;
    delete from postmeter.usage_written_off x
    where x.usage_id in (select y.usage_id from postmeter.usage_written_off y
                         where y.usage_id >= ids.first_id and y.usage_id < ids.until_id
                         order by y.usage_id limit most for update skip locked);
    get diagnostics more = row_count;
    return gone + more;
end
$$;
comment on function postmeter.drop_ledger_leftovers(date, integer) is
    'Deletes so many rows of exempted and usage_written_off of a dropped month of the ledger; returns how many. '
    'Each call is a transaction of its own; 0: none is left, or the export is an older program''s and has none of '
    'them, so that they stay.';
