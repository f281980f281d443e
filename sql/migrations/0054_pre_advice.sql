-- 0054_pre_advice: what to do, in every state, is what works there.
-- programs: from 0022
-- lock: access exclusive on dead_letter, for a moment: the view says what must come first
-- lock: access exclusive on remittance, for a moment: what counts as they hold it has the amount of that

create function postmeter.release_needs(meters bigint[]) returns text
language plpgsql stable cost 10000
security definer set search_path = pg_catalog, pg_temp
as $$
declare
    now      timestamptz := postmeter.clock();
    closed   boolean;
    policy   boolean;
    renewed  boolean;
begin
    select bool_or(x.closed), bool_or(x.over and not x.way and x.late_policy <> 'part'), bool_or(x.gone and not x.way)
    into closed, policy, renewed
    from (
        select s.closed, s.over, s.gone, s.late_policy,
               -- shortly after the end of a month or of a subscription, an hour of before may take it still
               case when s.closed or not s.over and not s.gone or s.month < postmeter.month_of(now - s.age_limit, s.zone) then false
                    else postmeter.target_hour(s.id) is not null end as way
        from (
            select m.id, m.month, t.zone, t.age_limit, t.late_policy,
                   exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = m.month) as closed,
                   m.month < postmeter.month_of(now, t.zone) as over,
                   not exists (select from postmeter.part_keys(m.id)) as gone
            from postmeter.meter m
            join postmeter.destination t on t.id = m.destination_id
            where m.id = any (meters)
        ) s
    ) x;
    return nullif(concat_ws(' and ', case when closed then 'reopen its month' end,
                            case when policy then 'set late_policy to part' end,
                            case when renewed then 'renew the subscription' end), '');
end
$$;
comment on function postmeter.release_needs(bigint[]) is
    'What must be done before another hour can take quantity of these meters, in words; null: nothing, an hour of the month or, by policy, the running one takes it. The same that release asks.';
revoke execute on function postmeter.release_needs(bigint[]) from public;
grant execute on function postmeter.release_needs(bigint[])
    to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

create function postmeter.held_needs(h postmeter.held) returns text
language sql stable
security definer set search_path = pg_catalog, pg_temp
as $$
    select nullif(concat_ws(' and ',
        case when t.late_policy <> 'part' and postmeter.month_of((h).hour, t.zone) < postmeter.month_of(postmeter.clock(), t.zone)
             then 'set late_policy to part' end,
        case when not exists (select from postmeter.subscription s
                              where s.destination_id = t.id and s.org = (h).org and s.product = (h).product
                                and s.valid_from <= postmeter.clock() and (s.valid_until is null or postmeter.clock() < s.valid_until))
             then 'renew the subscription' end), '')
    from postmeter.destination t
    -- a correction of what was counted lowers its month at once: it needs no hour; else it goes with what it corrects
    where t.id = (h).destination_id
      and ((h).corrected_id is null or exists (select from postmeter.held c where c.usage_id = (h).corrected_id))
$$;
comment on function postmeter.held_needs(postmeter.held) is
    'What must be done before usage that is too late for every hour of its month can be counted, in words; null: nothing.';
revoke execute on function postmeter.held_needs(postmeter.held) from public;
grant execute on function postmeter.held_needs(postmeter.held)
    to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

do $patch$
declare
    definition text := pg_get_viewdef('postmeter.dead_letter'::regclass);
    changed    text;
    change     record;
    closed     constant text := '(EXISTS ( SELECT FROM postmeter.destination y JOIN postmeter.closed_month z ON ((z.destination_id = y.id) AND (z.month = r.month)) WHERE (y.name = r.destination)))';
    needs      constant text := 'postmeter.release_needs(ARRAY( SELECT k.meter_id FROM postmeter.cut k WHERE ((k.delivery_id = r.delivery_id) AND (k.to_bill > 0))))';
begin
    for change in
        select * from (values
            ('THEN ''compare with what they hold: resolve as billed, or write off''::text',
             'THEN (CASE WHEN ' || closed || ' THEN ''reopen its month, then ''::text ELSE ''''::text END || ''compare with what they hold: resolve as billed, and it counts as they hold it; write off only if they hold nothing of it any more''::text)
              WHEN (r.quantity = 0) THEN (CASE WHEN ((r.deadline >= c.now) AND (r.status <> ''expired''::text)) THEN ''mend the cause, then retry; or ''::text ELSE ''''::text END || ''write off: nothing was used in that hour''::text)'),
            ('ELSE ''mend the cause, then retry; if it was the catalogue, mend that, then recount''::text',
             'ELSE (''mend the cause, then retry; if it was the catalogue, mend that, ''::text || CASE WHEN ' || closed || ' THEN ''reopen its month, ''::text ELSE ''''::text END || ''then recount''::text)'),
            ('THEN ''write off, or set late_policy to part and retry''::text',
             'THEN CASE WHEN ((h.corrected_id IS NOT NULL) AND (NOT (EXISTS ( SELECT FROM postmeter.held x WHERE (x.usage_id = h.corrected_id)))))
                       THEN ''write off: what it corrects is not there any more''::text
                       ELSE COALESCE(''write off, or ''::text || postmeter.held_needs(h.*) || '' and retry''::text, ''retry, or write off''::text) END'),
            ('THEN ''write off, or reopen the month: it then goes on by itself''::text',
             'THEN (''write off, or ''::text || COALESCE(postmeter.held_needs(h.*) || '' and ''::text, ''''::text) || ''reopen the month: it then goes on by itself''::text)'),
            ('(postmeter.target_hour(m.id) IS NULL) AND',
             '(postmeter.target_hour(m.id) IS NULL) AND (postmeter.release_needs(ARRAY[m.id]) IS NOT NULL) AND')
        ) c(before, after)
    loop
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception 'dead_letter is not as this migration knows it: %', change.before;
        end if;
        definition := changed;
    end loop;
    -- past its deadline, and what they called too old before it
    changed := regexp_replace(definition, 'WHEN \(\(r\.deadline < c\.now\) AND \(EXISTS.*?''release, or write off''::text',
        'WHEN (r.reason = ''quantity_out_of_range''::text) THEN (COALESCE(' || needs || ' || '', then ''::text, ''''::text) || ''correct its usage, then release; or write off''::text)
         WHEN ((r.deadline < c.now) OR (r.status = ''expired''::text)) THEN COALESCE(''write off, or ''::text || ' || needs
            || ' || '' and release (recount as late usage, if the catalogue was mistaken)''::text, ''release to another hour of its month (recount as late usage, if the catalogue was mistaken), or write off''::text)');
    if changed = definition then
        raise exception 'dead_letter is not as this migration knows it: what its deadline has passed';
    end if;
    definition := changed;
    changed := regexp_replace(definition, 'CASE\s+?WHEN \(EXISTS \( SELECT\s+?FROM postmeter\.subscription y\s+?WHERE \(\(y\.destination_id = m\.destination_id\).*?\sEND',
        '(postmeter.release_needs(ARRAY[m.id]) || '': the running hour then takes it; else it is lost''::text)');
    if changed = definition then
        raise exception 'dead_letter is not as this migration knows it: what is stranded';
    end if;
    execute 'create or replace view postmeter.dead_letter as ' || changed;

    definition := pg_get_viewdef('postmeter.remittance'::regclass);
    changed := replace(definition, '(p.unit_price * d.quantity) AS amount',
        '(p.unit_price * CASE WHEN (d.status = ''accepted''::text) THEN COALESCE(d.shown_quantity, d.quantity) ELSE d.quantity END) AS amount');
    if changed = definition then
        raise exception 'remittance is not as this migration knows it';
    end if;
    execute 'create or replace view postmeter.remittance as ' || changed;
end
$patch$;
comment on column postmeter.remittance.amount is 'Quantity times unit price; of what counts as they hold it, their quantity. Null: unpriced.';

do $patch$
declare
    definition text;
    change     record;
begin
    for change in
        select * from (values
            ('count_held', 'hint = ''Reopen the month first, or write it off.''', 'hint = ''Reopen the month first.'''),
            ('close_report', 'then ''resolve it, or write it off''',
             'then ''resolve it, and it counts as they hold it; write it off only if they hold nothing of it any more'''),
            ('close_report', 'then ''retry it or write it off; resolve it first if it may have been billed''',
             'then ''retry it while it can be sent, else release it before closing, or write it off; resolve it first if it may have been billed''')
        ) c(name, before, after)
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        if position(change.before in definition) = 0 then
            raise exception '% is not as this migration knows it: %', change.name, change.before;
        end if;
        execute replace(definition, change.before, change.after);
    end loop;
end
$patch$;

insert into postmeter.migration (version, name) values (54, '0054_pre_advice');
