-- Closing a billing month, and opening it again.

create function postmeter.month_last_deadline(destination text, month date) returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_destination(destination);
    select x.* into t from postmeter.destination x where x.name = month_last_deadline.destination;
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    return postmeter.deadline_of(t.id, null,
        ((month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour');
end
$$;
comment on function postmeter.month_last_deadline(text, date) is
    'Until when the last hour of a month can be sent. Refuses an unknown destination (PM033) and a day that begins '
    'no month (PM036).';

create function postmeter.close_report(destination text, month date)
returns table (class text, reason text, meter_id bigint, buyer text, org text, product text, metric text,
    dimension text, items bigint, quantity numeric, unit text, amount numeric, currency text, to_do text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select v.class, v.reason, v.meter_id, v.buyer, v.org, v.product, v.metric, v.dimension, v.items, v.quantity, v.unit,
        v.amount, v.currency,
           case
               when v.class in ('held_usage', 'released') and v.destination is not null
                and exists (select from postmeter.destination t where t.name = v.destination
                    and postmeter.month_is_dropped(t.id, v.month))
                    then case v.class when 'held_usage' then 'write it off: the month was dropped'
                                      else 'nothing: the month was dropped, and no hour takes it any more' end
               when v.class = 'held_usage' and v.reason = 'month_closed' then 'write it off, or reopen the month'
               when v.class = 'held_usage' and v.destination is null
                   then 'mend the catalogue or write it off; no destination is known, so every destination lists it'
               when v.class = 'held_usage' and v.reason = 'too_late' then 'write it off'
               when v.class = 'held_usage' and v.reason = 'lost_time'
                   then 'see whether they hold it with another hour: write it off if so, else retry it before closing'
               when v.class = 'held' and v.reason = 'lost_time'
                   then 'see whether they hold it with another hour, then resolve it as billed or not billed'
               when v.class = 'held_usage' then 'mend its cause before closing, or write it off'
               when v.class = 'waiting'
                   then 'let workers fold it before closing; no destination is known yet, so every destination lists it'
               when v.class = 'open' then 'wait for the cut: it is sent, or expires'
               when v.class in ('due', 'in_flight') then 'wait until it is settled'
               when v.class = 'unknown' then 'look at the marketplace, then resolve it'
               when v.class = 'conflict'
                   then
                   'resolve it, and it counts as they hold it; write it off only if they hold nothing of it any more'
               when v.class = 'held'
                   then
                   'retry it while it can be sent, else release it before closing, or write it off; resolve it '
                       'first if it may have been billed'
               when v.class in ('rejected', 'expired')
                   then 'release it before closing where an hour can take it, else write it off'
               when v.class = 'released' then 'no hour has taken it: reopen the month while one can, or accept the loss'
               when v.class = 'remainder' then 'nothing: less than what can be billed, by the dimension''s rounding'
               when v.class = 'over_billed' then 'credit the customer by hand; nothing negative is ever sent'
           end
    from postmeter.month_close v
    where (v.destination = close_report.destination or v.destination is null) and v.month = close_report.month
      and v.class not in ('accepted', 'written_off', 'dry_run')
    order by array_position(array['waiting', 'held_usage', 'open', 'due', 'in_flight', 'unknown', 'conflict', 'held',
        'rejected', 'expired',
                                  'released', 'over_billed', 'remainder'], v.class),
             v.reason, v.org, v.buyer, v.product, v.metric, v.dimension
$$;
comment on function postmeter.close_report(text, date) is
    'Open items of a month at a destination, closed or not: where they are, whose, how much, and what to do. '
    'Quantities in billing units or units of the metric, as unit says.';

create function postmeter.close_month(
    destination text, month date, who text, why text, dry_run boolean default true, forced boolean default false
) returns table (class text, reason text, meter_id bigint, buyer text, org text, product text, metric text,
    dimension text, items bigint, quantity numeric, unit text, amount numeric, currency text, to_do text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    until timestamptz := postmeter.month_last_deadline(close_month.destination, close_month.month);
    t     postmeter.destination;
    made  bigint;
begin
    perform postmeter.check_decider(who, why);
    if dry_run is not false then
        return query select r.* from postmeter.close_report(close_month.destination, close_month.month) r;
        return;
    end if;
    select x.* into t from postmeter.destination x where x.name = close_month.destination;
    -- folds, releases and whatever else opens an hour have passed the gate, or wait and then find the month closed
    perform postmeter.month_gate_alone();
    if not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = close_month.month)
        then
        if until >= postmeter.clock() and not coalesce(forced, false) then
            raise exception 'hours of % can still be sent to % until %', to_char(close_month.month, 'YYYY-MM'),
                close_month.destination, until
                using errcode = 'PM035', schema = 'postmeter', table = 'closed_month', column = 'month',
                    constraint = 'month_still_sendable',
                      hint = 'Close it after that, or say forced => true: what is not folded by then is held.';
        end if;
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'close', t.id, 'open', 'closed',
            jsonb_build_object('month', close_month.month, 'forced', coalesce(forced, false)))
        returning id into made;
        insert into postmeter.closed_month (destination_id, month, decision_id) values (t.id, close_month.month, made);
    end if;
    return query select r.* from postmeter.close_report(close_month.destination, close_month.month) r;
end
$$;
comment on function postmeter.close_month(text, date, text, text, boolean, boolean) is
    'Closes a month at a destination and returns its open items. From then on its usage is held (month_closed) and '
    'nothing is carried into its hours; what was cut or allocated before goes on. Refused while hours of it can '
    'still be sent (PM035), unless forced. Closing twice changes nothing. Dry run unless told otherwise.';

create function postmeter.reopen_month(
    destination text, month date, who text, why text, dry_run boolean default true
) returns table (usages bigint, org text, product text, metric text, quantity numeric)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    first    uuid[];
    returned bigint;
    t        postmeter.destination;
begin
    perform postmeter.month_last_deadline(reopen_month.destination, reopen_month.month);
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate_alone();
    select x.* into t from postmeter.destination x where x.name = reopen_month.destination;
    perform postmeter.check_month_kept(t.id, reopen_month.month);
    -- whoever puts usage aside for the month has passed the gate before us: this is all of it
    return query
    select count(*), h.org, h.product, h.metric, trim_scale(sum(h.quantity)) from postmeter.held h
    where h.reason = 'month_closed' and h.destination_id = t.id
        and postmeter.month_of(h.hour, t.zone) = reopen_month.month
    group by 2, 3, 4 order by 2, 3, 4;
    if dry_run is not false then
        return;
    end if;
    select (array_agg(h.usage_id order by h.usage_id))[:1000], count(*) into first, returned
    from postmeter.held h
    where h.reason = 'month_closed' and h.destination_id = t.id
        and postmeter.month_of(h.hour, t.zone) = reopen_month.month;
    delete from postmeter.closed_month c where c.destination_id = t.id and c.month = reopen_month.month;
    if found then
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'reopen', t.id, 'closed', 'open',
            jsonb_build_object('month', reopen_month.month, 'returned', returned));
    end if;
    perform postmeter.return_cured_of(first);
    if returned > 1000 then
        -- folds wait for us: maintenance goes on with the rest
        insert into postmeter.cure default values;
    end if;
end
$$;
comment on function postmeter.reopen_month(text, date, text, text, boolean) is
    'Opens a closed month again: what was held as month_closed goes back to the outbox, a thousand at once; where '
    'more is held, maintenance goes on with the rest. Returns how much that is. Dry run unless told otherwise.';
