-- 0058_pre_dropped_months: a closed and exported billing month drops its remittances and meters; what it came to stays.
-- programs: from 0022
-- lock: access exclusive on balance, for a moment: the view adds what dropped meters came to
-- lock: access exclusive on carried_place, for a moment: the view counts a dropped meter once
-- lock: access exclusive on contradiction_list, for a moment: the view names dropped remittances
-- lock: access exclusive on dead_letter, for a moment: the view says what helps in a dropped month
-- lock: access exclusive on decision_log, for a moment: the view names dropped remittances
-- lock: access exclusive on ledger_carry, for a moment: a check, which old rows meet, and a trigger
-- lock: access exclusive on meter_list, for a moment: the view adds dropped meters
-- lock: access exclusive on month_close, for a moment: the view adds what dropped months came to
-- lock: access exclusive on reconciled, for a moment: the view says of which days there is nothing to compare
-- lock: access exclusive on remittance_summary, for a moment: the view adds what dropped months came to
-- lock: access exclusive on unremitted, for a moment: the view adds what dropped months came to
-- lock: share row exclusive on closed_month, for a moment: a trigger
-- lock: share row exclusive on cut, for a moment: a trigger
-- lock: share row exclusive on destination, for a moment: a table refers to it
-- lock: share row exclusive on late_evidence, for a moment: a trigger
-- lock: share row exclusive on meter, for a moment: a trigger

-- What stays of a billing month, and the mark by which everything of it is refused from then on.
create table postmeter.dropped_month (
    -- a new destination of its name would bill the month again
    destination_id integer not null references postmeter.destination (id),
    month date not null check (extract(day from month) = 1),
    decision_id bigint not null,
    begun_at timestamptz not null default postmeter.clock(),
    finished_at timestamptz,
    remittances bigint not null default 0,
    meters_after bigint not null default 0,
    primary key (destination_id, month)
);
comment on table postmeter.dropped_month is 'Billing months whose remittances, cuts and meters were dropped after their export, or are being dropped in shares. Nothing of such a month can be sent, decided or billed any more.';
comment on column postmeter.dropped_month.destination_id is 'The destination, live or a shadow: it stays.';
comment on column postmeter.dropped_month.month is 'First day of the billing month, in the destination''s zone.';
comment on column postmeter.dropped_month.decision_id is 'The decision that dropped it.';
comment on column postmeter.dropped_month.begun_at is 'Since when nothing of it can be decided.';
comment on column postmeter.dropped_month.finished_at is 'When its last remittance was gone; null: postmeter ledger drop goes on with it.';
comment on column postmeter.dropped_month.remittances is 'How many remittances are gone.';
comment on column postmeter.dropped_month.meters_after is 'The remittances of its meters before this one are gone; where the next share begins.';

create table postmeter.dropped_meter (
    id bigint primary key,
    destination_id integer not null,
    buyer text not null collate "C",
    dimension text not null collate "C",
    month date not null,
    product text collate "C",
    rounding text not null,
    decimals integer not null,
    month_end text not null,
    billed numeric not null,
    carried numeric not null,
    billable numeric not null,
    denominator numeric not null,
    cuts integer not null,
    common numeric,
    recorded numeric not null,
    accepted numeric not null,
    held numeric not null,
    expired numeric not null,
    written_off numeric not null,
    dry_run numeric not null,
    covered numeric not null,
    remains numeric not null,
    unique (destination_id, buyer, dimension, month),
    -- its balance closes for ever: a row that does not add up cannot be written
    constraint dropped_meter_closes check (
        recorded = accepted + held + expired + written_off + dry_run + covered + remains)
);
create index dropped_meter_month on postmeter.dropped_meter (month, destination_id);
comment on table postmeter.dropped_meter is 'What a meter of a dropped billing month came to: balance, meter_list and month_close say of it what they said before. Append-only.';
comment on column postmeter.dropped_meter.id is 'Number that the meter had.';
comment on column postmeter.dropped_meter.destination_id is 'The destination.';
comment on column postmeter.dropped_meter.buyer is 'See meter.buyer.';
comment on column postmeter.dropped_meter.dimension is 'See meter.dimension.';
comment on column postmeter.dropped_meter.month is 'First day of the billing month.';
comment on column postmeter.dropped_meter.product is 'Our product: the first of its metrics; null: it had none.';
comment on column postmeter.dropped_meter.rounding is 'See meter.rounding.';
comment on column postmeter.dropped_meter.decimals is 'See meter.decimals.';
comment on column postmeter.dropped_meter.month_end is 'See meter.month_end.';
comment on column postmeter.dropped_meter.billed is 'See meter.billed.';
comment on column postmeter.dropped_meter.carried is 'See meter.carried.';
comment on column postmeter.dropped_meter.billable is 'See meter.billable.';
comment on column postmeter.dropped_meter.denominator is 'See meter.denominator.';
comment on column postmeter.dropped_meter.cuts is 'See meter.cuts.';
comment on column postmeter.dropped_meter.common is 'Common denominator of its factors, by which the following are multiplied; null: no metric was ever counted on it.';
comment on column postmeter.dropped_meter.recorded is 'All usage allocated to it, in billing units x common, like all that follow: see balance.';
comment on column postmeter.dropped_meter.accepted is 'Billed by accepted remittances.';
comment on column postmeter.dropped_meter.held is 'By held ones: of a shadow only.';
comment on column postmeter.dropped_meter.expired is 'By expired ones: of a shadow only.';
comment on column postmeter.dropped_meter.written_off is 'By those that were written off.';
comment on column postmeter.dropped_meter.dry_run is 'By those that ended as dry_run.';
comment on column postmeter.dropped_meter.covered is 'Paid for by contracts.';
comment on column postmeter.dropped_meter.remains is 'carried, in units x common: a remainder that was not billed, or (below zero) credit.';

create table postmeter.dropped_sum (
    meter_id bigint not null,
    answers text not null check (answers in ('remittance', 'month_close', 'remittance_summary', 'unremitted')),
    org text,
    account text,
    product text collate "C",
    metric text collate "C",
    unit text not null,
    status text not null,
    reason text,
    shared boolean not null default false,
    shadow boolean not null default false,
    remittances bigint not null,
    usages bigint not null default 0,
    used numeric,
    quantity numeric
);
create index dropped_sum_by_meter on postmeter.dropped_sum (meter_id);
create index dropped_sum_by_org on postmeter.dropped_sum (org) where org is not null;
comment on table postmeter.dropped_sum is 'What the remittances of a dropped meter came to, by status, org and metric, as the view that it answers asks. Append-only.';
comment on column postmeter.dropped_sum.meter_id is 'The meter: dropped_meter.';
comment on column postmeter.dropped_sum.answers is 'Which view adds it: month_close, remittance_summary or unremitted; remittance: how many of its own key there were, which bill_of_org.sql asks.';
comment on column postmeter.dropped_sum.org is 'The org; null in remittance and month_close, which ask for none.';
comment on column postmeter.dropped_sum.account is 'The org''s account, in remittance_summary.';
comment on column postmeter.dropped_sum.product is 'The product.';
comment on column postmeter.dropped_sum.metric is 'The metric; null: the remittances counted none of the org''s own.';
comment on column postmeter.dropped_sum.unit is 'Of quantity: metric or billing.';
comment on column postmeter.dropped_sum.status is 'Where they stood for ever; released in unremitted: given back, and billed by no hour.';
comment on column postmeter.dropped_sum.reason is 'Why they were held; of a shadow only.';
comment on column postmeter.dropped_sum.shared is 'Others were in the same remittances.';
comment on column postmeter.dropped_sum.shadow is 'Of a shadow: nothing was sent.';
comment on column postmeter.dropped_sum.remittances is 'How many remittances.';
comment on column postmeter.dropped_sum.usages is 'How many usages of it they counted.';
comment on column postmeter.dropped_sum.used is 'How much, in units of the metric; of remittance: as they hold it.';
comment on column postmeter.dropped_sum.quantity is 'What the view calls quantity.';

create table postmeter.dropped_numbers (
    chunk bigint not null,
    destination_id integer not null,
    month date not null,
    bits bit(8192) not null,
    primary key (chunk, destination_id, month)
);
comment on table postmeter.dropped_numbers is 'The numbers of remittances that were dropped, a bit each: who asks for one by its number is told so.';
comment on column postmeter.dropped_numbers.chunk is 'The numbers from chunk x 8192 on.';
comment on column postmeter.dropped_numbers.destination_id is 'The destination.';
comment on column postmeter.dropped_numbers.month is 'First day of the billing month.';
comment on column postmeter.dropped_numbers.bits is '8192 numbers; 1: dropped with this month.';

create table postmeter.dropped_remittance (
    delivery_id bigint primary key,
    destination_id integer not null,
    meter_id bigint not null,
    key text not null collate "C",
    hour timestamptz not null,
    product text not null,
    status text not null,
    quantity numeric,
    shown_quantity numeric
);
comment on table postmeter.dropped_remittance is 'Dropped remittances about which somebody decided, or of which late evidence came: what that was about stays readable. Append-only.';
comment on column postmeter.dropped_remittance.delivery_id is 'Number of the remittance.';
comment on column postmeter.dropped_remittance.destination_id is 'The destination.';
comment on column postmeter.dropped_remittance.meter_id is 'Its meter: dropped_meter.';
comment on column postmeter.dropped_remittance.key is 'See delivery.key.';
comment on column postmeter.dropped_remittance.hour is 'See delivery.hour.';
comment on column postmeter.dropped_remittance.product is 'See delivery.product.';
comment on column postmeter.dropped_remittance.status is 'Where it stood for ever.';
comment on column postmeter.dropped_remittance.quantity is 'See delivery.quantity.';
comment on column postmeter.dropped_remittance.shown_quantity is 'See delivery.shown_quantity.';

create table postmeter.month_export (
    number integer primary key check (number > 0),
    destination_id integer not null,
    month date not null check (extract(day from month) = 1),
    manifest text not null,
    digest text not null collate "C" unique check (digest ~ '^[0-9a-f]{64}$'),
    exported_at timestamptz not null default postmeter.clock(),
    decision_id bigint not null
);
create index month_export_by_month on postmeter.month_export (destination_id, month);
comment on table postmeter.month_export is 'Exports of billing months with their remittances, cuts, parts, meters and metrics: the manifest to the letter, and its digest. One chain with ledger_export. The latest of a month counts. Append-only.';
comment on column postmeter.month_export.number is 'Which export this is; ledger_export goes on with it.';
comment on column postmeter.month_export.destination_id is 'The destination.';
comment on column postmeter.month_export.month is 'First day of the billing month.';
comment on column postmeter.month_export.manifest is 'The manifest, to the letter.';
comment on column postmeter.month_export.digest is 'SHA-256 of the manifest.';
comment on column postmeter.month_export.exported_at is 'When it was recorded.';
comment on column postmeter.month_export.decision_id is 'The decision.';

grant select on postmeter.dropped_month, postmeter.dropped_meter, postmeter.dropped_sum, postmeter.dropped_numbers,
    postmeter.dropped_remittance, postmeter.month_export to postmeter_reader, postmeter_operator, postmeter_worker;

create trigger append_only before delete or update or truncate on postmeter.dropped_meter
    for each statement execute function postmeter.forbid_change();
create trigger append_only before delete or update or truncate on postmeter.dropped_sum
    for each statement execute function postmeter.forbid_change();
create trigger append_only before delete or update or truncate on postmeter.dropped_remittance
    for each statement execute function postmeter.forbid_change();
create trigger append_only before delete or update or truncate on postmeter.month_export
    for each statement execute function postmeter.forbid_change();
create trigger append_only before delete or truncate on postmeter.dropped_month
    for each statement execute function postmeter.forbid_change();
create trigger append_only before delete or truncate on postmeter.dropped_numbers
    for each statement execute function postmeter.forbid_change();

-- the one that takes its place refuses all that this one did, but for rows of dropped meters
-- squawk-ignore ban-drop-constraint
alter table postmeter.ledger_carry drop constraint ledger_carry_check;
alter table postmeter.ledger_carry add constraint ledger_carry_check check (
    num_nonnulls(meter_metric_id, destination_id, delivery_id, subscription_id, hour) = case when place = 'allocated'
        then 5 else 0 end
    -- of meters that are gone: all their remittances together
    or place = 'allocated' and destination_id is not null and num_nonnulls(meter_metric_id, delivery_id,
        subscription_id, hour) = 0
) not valid;
comment on table postmeter.ledger_carry is 'What a dropped month of the ledger came to, of allocations per remittance, subscription, metric and hour: the balances and summaries add it, and say what they said before. Of remittances that were dropped, too, per org, metric and destination. Append-only.';
comment on column postmeter.ledger_carry.meter_metric_id is 'The meter and metric it was counted on, of what was allocated; null: its meter was dropped, and delivery_id, subscription_id and hour with it.';

-- Who is dropped, by number, by key and by month.
create function postmeter.dropped_with(delivery bigint) returns table (destination_id integer, month date)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select n.destination_id, n.month from postmeter.dropped_numbers n
    where n.chunk = delivery / 8192 and get_bit(n.bits, (delivery % 8192)::integer) = 1
    union
    -- on its way out, or with a part of a month that is
    select x.destination_id, x.month
    from postmeter.delivery d
    cross join lateral (select d.meter_id as id union select p.meter_id from postmeter.part p
        where p.delivery_id = d.id) c
    join lateral (select m.destination_id, m.month from postmeter.meter m where m.id = c.id
                  union all select k.destination_id, k.month from postmeter.dropped_meter k where k.id = c.id) k on true
    join postmeter.dropped_month x on x.destination_id = k.destination_id and x.month = k.month
    where d.id = dropped_with.delivery
$$;
comment on function postmeter.dropped_with(bigint) is
    'The dropped billing months that a remittance of this number went with, or has quantity of.';

create function postmeter.told_dropped(delivery bigint) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select format('was dropped with %s of %s, whose export tells of it', to_char(w.month, 'YYYY-MM'),
                  coalesce((select t.name from postmeter.destination t where t.id = w.destination_id),
                      'a destination that is gone'))
    from postmeter.dropped_with(told_dropped.delivery) w order by w.month limit 1
$$;
comment on function postmeter.told_dropped(bigint) is
    'With which billing month a remittance was dropped, as a sentence goes on; null: with none.';

create function postmeter.told_dropped_key(destination text, key text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select format('was dropped with %s of %s, whose export tells of it', to_char(k.month, 'YYYY-MM'), t.name)
    from (select regexp_match(told_dropped_key.key, '^(.+)/([^/]+)/(\d{4}-\d\d-\d\dT\d\d:00:00Z)$') as part) s
    join postmeter.destination t on told_dropped_key.destination is null or t.name = told_dropped_key.destination
    join postmeter.dropped_meter k
      on k.destination_id = t.id and k.month = postmeter.month_of(s.part[3]::timestamptz, t.zone)
     and k.buyer = s.part[1] and k.dimension = s.part[2]
    order by t.name limit 1
$$;
comment on function postmeter.told_dropped_key(text, text) is
    'The same of a key; null: no remittance of its month''s meter was dropped.';

create function postmeter.month_is_dropped(destination_id integer, month date) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (select from postmeter.dropped_month x
                   where x.destination_id = month_is_dropped.destination_id and x.month = month_is_dropped.month)
$$;
comment on function postmeter.month_is_dropped(integer, date) is
    'Whether the remittances of a billing month were dropped, or are being dropped.';

create function postmeter.check_not_dropped(deliveries bigint[]) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    bad record;
begin
    -- most databases have dropped nothing yet
    if not exists (select from postmeter.dropped_month) then
        return;
    end if;
    select d.id, postmeter.told_dropped(d.id) as told into bad
    from unnest(deliveries) d(id) where postmeter.told_dropped(d.id) is not null limit 1;
    if found then
        raise exception 'remittance % %', bad.id, bad.told
            using errcode = 'PM046', column = 'delivery', constraint = 'remittance_dropped',
                  hint = 'Nothing of it can be sent, given back, counted or decided any more.';
    end if;
end
$$;
comment on function postmeter.check_not_dropped(bigint[]) is
    'Refuses to decide about remittances that were dropped with their billing month (PM046).';

create function postmeter.check_month_kept(destination_id integer, month date) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if postmeter.month_is_dropped(destination_id, month) then
        raise exception 'the remittances of % were dropped%', to_char(month, 'YYYY-MM'),
            coalesce((select ' at ' || t.name from postmeter.destination t
                where t.id = check_month_kept.destination_id), '')
            using errcode = 'PM046', column = 'month', constraint = 'month_dropped',
                  hint = 'Nothing of it can be billed any more; its export tells of it.';
    end if;
end
$$;
comment on function postmeter.check_month_kept(integer, date) is
    'Refuses a billing month whose remittances were dropped (PM046).';

-- The last fence: whatever else fails, no key of such a month is made a second time.
create function postmeter.keep_dropped() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        perform postmeter.check_month_kept(new.destination_id, new.month);
        return new;
    end if;
    perform postmeter.check_month_kept(old.destination_id, old.month);
    return case tg_op when 'DELETE' then old else new end;
end
$$;
comment on function postmeter.keep_dropped() is
    'Trigger of meter and closed_month: a billing month whose remittances were dropped gets no meter, and stays closed.';
create trigger kept_dropped before insert on postmeter.meter for each row execute function postmeter.keep_dropped();
create trigger kept_dropped before delete or update on postmeter.closed_month
    for each row execute function postmeter.keep_dropped();

-- Append-only still, but for what goes with its month: whoever sets what opens the trigger can delete no more than that.
create function postmeter.only_dropped() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from gone g
               where not exists (select from postmeter.delivery d join postmeter.dropped_meter k on k.id = d.meter_id
                                 where d.id = g.delivery_id)) then
        raise exception '%.% is append-only: rows are never changed or deleted', tg_table_schema, tg_table_name
            using errcode = 'PM020', schema = tg_table_schema, table = tg_table_name,
                  hint = 'Record a decision instead; rows go with their billing month only.';
    end if;
    return null;
end
$$;
comment on function postmeter.only_dropped() is
    'Trigger of cut and ledger_carry: a row goes only with its remittance, and that with its billing month.';
create or replace trigger append_only before delete or update or truncate on postmeter.cut
    for each statement when (current_setting('postmeter.drops_remittances', true) is distinct from 'on')
        execute function postmeter.forbid_change();
create trigger only_dropped after delete on postmeter.cut referencing old table as gone
    for each statement execute function postmeter.only_dropped();
create or replace trigger append_only before delete or update or truncate on postmeter.ledger_carry
    for each statement when (current_setting('postmeter.drops_remittances', true) is distinct from 'on')
        execute function postmeter.forbid_change();
create trigger only_dropped after delete on postmeter.ledger_carry referencing old table as gone
    for each statement execute function postmeter.only_dropped();

-- What is dropped takes no proof back: its balance is in a row that adds up. A share forgets what its meters marked.
create or replace function postmeter.moved_by_delivery() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select x.meter_id, old.id
    from (select old.meter_id
          union select case when tg_op = 'UPDATE' then new.meter_id end
          union select p.meter_id from postmeter.part p where p.delivery_id = old.id
          union select c.meter_id from postmeter.cut c where c.delivery_id = old.id) x
    where x.meter_id is not null
      and not (tg_op = 'DELETE' and exists (select from postmeter.dropped_meter k where k.id = x.meter_id));
    return null;
end
$$;

create or replace function postmeter.moved_by_part() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'INSERT' and not (tg_op = 'DELETE' and exists (select from postmeter.dropped_meter k
        where k.id = old.meter_id)) then
        insert into postmeter.balance_moved (meter_id, delivery_id) values (old.meter_id, old.delivery_id);
    end if;
    if tg_op <> 'DELETE' then
        insert into postmeter.balance_moved (meter_id, delivery_id) values (new.meter_id, new.delivery_id);
    end if;
    return null;
end
$$;

-- Evidence that comes when its remittance is gone is a contradiction: somebody compares it with the export.
create function postmeter.late_of_dropped() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from postmeter.dropped_month) then
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, evidence_id,
            is_earlier, settled_as)
        select x.destination_id, e.delivery_id, 'late_evidence',
               case when e.outcome = 'conflict' then 'other_quantity'
                   else 'held' end, e.shown_quantity, e.id, true, 'dropped'
        from arrived e
        cross join lateral (select w.destination_id from postmeter.dropped_with(e.delivery_id) w order by w.month
            limit 1) x
        where not exists (select from postmeter.delivery d where d.id = e.delivery_id)
          -- what tells nothing of what they hold contradicts nothing
          and e.outcome in ('accepted', 'duplicate', 'conflict')
        order by e.id;
    end if;
    return null;
end
$$;
comment on function postmeter.late_of_dropped() is
    'Trigger of late_evidence: what is said of a dropped remittance is an open contradiction, for nothing else can show it.';
create trigger of_dropped after insert on postmeter.late_evidence referencing new table as arrived
    for each statement execute function postmeter.late_of_dropped();

-- Which billing months may go.
create function postmeter.month_unfinished(destination text, month date) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
declare
    t   postmeter.destination;
    bad record;
begin
    select x.* into t from postmeter.destination x where x.name = month_unfinished.destination;
    if t.shadow_of is null
       and not exists (select from postmeter.closed_month c where c.destination_id = t.id
           and c.month = month_unfinished.month) then
        return format('%s of %s is not closed', to_char(month, 'YYYY-MM'), t.name);
    end if;
    -- of its own keys, and of others that count on its meters
    select k.id, d.status, d.maybe_billed into bad
    from (select o.id from postmeter.meter m join postmeter.delivery o on o.meter_id = m.id
          where m.destination_id = t.id and m.month = month_unfinished.month
          union
          select p.delivery_id from postmeter.meter m join postmeter.part p on p.meter_id = m.id
          where m.destination_id = t.id and m.month = month_unfinished.month) k
    join postmeter.delivery d on d.id = k.id
    where d.maybe_billed or d.status in ('open', 'due', 'in_flight')
       or not d.shadow and d.status not in ('accepted', 'nothing_due', 'dry_run', 'written_off', 'released')
    order by d.id limit 1;
    if found then
        return format('remittance %s %s', bad.id,
                      case when bad.maybe_billed then 'may have been billed'
                          else 'is ' || replace(bad.status, '_', ' ') end);
    end if;
    -- a question that nobody could answer afterwards
    select q.id, q.what into bad
    from (select c.delivery_id as id, format('has contradiction %s open', c.id) as what from postmeter.contradiction c
          where c.decision_id is null and c.delivery_id is not null
          union all select x.delivery_id, 'may have been sent in the time that was lost' from postmeter.doubt x
              where x.decision_id is null
          union all select u.delivery_id, 'is not confirmed since commits were lost' from postmeter.unconfirmed u
          union all select w.delivery_id, 'stands for no hour' from postmeter.withheld w
              join postmeter.delivery h on h.id = w.delivery_id and h.status = 'held'
          union all select e.delivery_id, 'has an answer that nobody has read' from postmeter.late_evidence e
                    join postmeter.delivery r on r.id = e.delivery_id and e.id > r.evidence_read) q
    join postmeter.delivery d on d.id = q.id
    join postmeter.meter m on m.destination_id = t.id and m.month = month_unfinished.month
     and (m.id = d.meter_id or exists (select from postmeter.part p where p.delivery_id = d.id and p.meter_id = m.id))
    order by q.id limit 1;
    if found then
        return format('remittance %s %s', bad.id, bad.what);
    end if;
    -- a remittance that bills quantity of two months goes with the later one, and both are closed
    select d.id, o.month into bad
    from postmeter.meter m
    join postmeter.part p on p.meter_id = m.id
    join postmeter.delivery d on d.id = p.delivery_id
    join postmeter.meter o on o.id = d.meter_id and o.month <> m.month
    where m.destination_id = t.id and m.month = month_unfinished.month and t.shadow_of is null
      and not exists (select from postmeter.closed_month c where c.destination_id = o.destination_id
          and c.month = o.month)
    order by d.id limit 1;
    if found then
        return format('remittance %s of %s bills quantity of it, and that month is not closed', bad.id,
            to_char(bad.month, 'YYYY-MM'));
    end if;
    select d.id, o.month into bad
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id
    join postmeter.part p on p.delivery_id = d.id
    join postmeter.meter o on o.id = p.meter_id and o.month <> m.month
    where m.destination_id = t.id and m.month = month_unfinished.month
    order by d.id limit 1;
    if found then
        return format('remittance %s bills quantity of %s, too: that month goes first', bad.id,
            to_char(bad.month, 'YYYY-MM'));
    end if;
    return null;
end
$$;
comment on function postmeter.month_unfinished(text, date) is
    'Why a billing month may not be exported with its remittances: what is not finished in it; null: all is.';

create function postmeter.month_drop_why_not(destination text, month date, without date default null) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set jit = off
    set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    t        postmeter.destination;
    bad      record;
    why_not  text;
    first_id uuid := (select i.first_id from postmeter.ledger_span(without) i);
    until_id uuid := (select i.until_id from postmeter.ledger_span(without) i);
begin
    perform postmeter.check_destination(destination);
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    select x.* into t from postmeter.destination x where x.name = month_drop_why_not.destination;
    select x.finished_at is not null as is_done into bad from postmeter.dropped_month x
    where x.destination_id = t.id and x.month = month_drop_why_not.month;
    if found then
        return case when bad.is_done then 'it was dropped' else 'it is being dropped' end;
    end if;
    -- of the ledger, each month that it reaches into is gone: its zone's midnights are not those of UTC
    select g.m into bad
    from generate_series(date_trunc('month', month::timestamp at time zone t.zone at time zone 'UTC'),
                         ((month + interval '1 month')::timestamp at time zone t.zone - interval '1 microsecond')
                             at time zone 'UTC',
                         interval '1 month') g(m)
    where to_regclass(format('postmeter.usage_%s', to_char(g.m, 'YYYYMM'))) is not null and g.m::date is distinct
        from without
    order by 1 limit 1;
    if found then
        return format('the ledger of %s is not dropped', to_char(bad.m, 'YYYY-MM'));
    end if;
    why_not := postmeter.month_unfinished(month_drop_why_not.destination, month_drop_why_not.month);
    if why_not is not null then
        return why_not;
    end if;
    -- late usage, and what was sent again, are in later months of the ledger
    select postmeter.moment_of(x.id) as at into bad
    from (select o.id as delivery_id, m.id as meter_id from postmeter.meter m
        join postmeter.delivery o on o.meter_id = m.id
          where m.destination_id = t.id and m.month = month_drop_why_not.month
          union all
          select p.delivery_id, m.id from postmeter.meter m join postmeter.part p on p.meter_id = m.id
          where m.destination_id = t.id and m.month = month_drop_why_not.month) k
    cross join lateral (
        (select a.usage_id as id from postmeter.allocation a join postmeter.meter_metric mm on mm.id = a.meter_metric_id
         where a.delivery_id = k.delivery_id and mm.meter_id = k.meter_id
           and (without is null or a.usage_id < first_id or a.usage_id >= until_id) limit 1)
        union all
        (select a.id from postmeter.attempt a
         where a.delivery_id = k.delivery_id and (without is null or a.id < first_id or a.id >= until_id) limit 1)) x
    limit 1;
    if found then
        return format('the ledger of %s, which is not dropped, has rows of it',
            to_char(bad.at at time zone 'UTC', 'YYYY-MM'));
    end if;
    return null;
end
$$;
comment on function postmeter.month_drop_why_not(text, date, date) is
    'Why the remittances of a billing month may not be dropped: the first reason that is found; null: they may, once they are exported. Without: as if that month of the ledger were dropped. It reads the whole month.';

-- Its export: five tables, in lines like those of the ledger.
create function postmeter.ledger_line(d postmeter.delivery) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('id', (d).id, 'destination_id', (d).destination_id, 'kind', (d).kind, 'key', (d).key,
        'meter_id', (d).meter_id,
        'hour', postmeter.ledger_time((d).hour), 'identity', (d).identity, 'product', (d).product, 'status',
            (d).status, 'reason', (d).reason,
        'maybe_billed', (d).maybe_billed, 'maybe_since', postmeter.ledger_time((d).maybe_since), 'confirmed',
            (d).confirmed,
        'deadline', postmeter.ledger_time((d).deadline), 'round', (d).round, 'releases', (d).releases, 'quantity',
            (d).quantity::text,
        'body', (d).body, 'batch_group', (d).batch_group, 'idempotency_key', (d).idempotency_key, 'batch_limit',
            (d).batch_limit,
        'tries', (d).tries, 'attempts', (d).attempts, 'deaths', (d).deaths, 'attempt_id', (d).attempt_id,
            'evidence_read', (d).evidence_read,
        'shown_quantity', (d).shown_quantity::text, 'shadow', (d).shadow, 'opened_at',
            postmeter.ledger_time((d).opened_at),
        'cut_at', postmeter.ledger_time((d).cut_at), 'changed_at', postmeter.ledger_time((d).changed_at))::text;
end;
comment on function postmeter.ledger_line(postmeter.delivery) is 'A remittance as the export writes it.';
create function postmeter.ledger_line(c postmeter.cut) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('delivery_id', (c).delivery_id, 'meter_id', (c).meter_id, 'round', (c).round,
        'denominator', (c).denominator::text,
        'units', (c).units::text, 'billed_before', (c).billed_before::text, 'to_bill', (c).to_bill::text, 'carried',
            (c).carried::text,
        'deferred', (c).deferred, 'metrics', (c).metrics, 'cut_at', postmeter.ledger_time((c).cut_at))::text;
end;
comment on function postmeter.ledger_line(postmeter.cut) is 'A cut as the export writes it.';
create function postmeter.ledger_line(p postmeter.part) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('delivery_id', (p).delivery_id, 'meter_id', (p).meter_id)::text;
end;
comment on function postmeter.ledger_line(postmeter.part) is 'A part as the export writes it.';
create function postmeter.ledger_line(m postmeter.meter) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('id', (m).id, 'destination_id', (m).destination_id, 'buyer', (m).buyer, 'dimension',
        (m).dimension,
        'month', (m).month, 'rounding', (m).rounding, 'decimals', (m).decimals, 'month_end', (m).month_end, 'billed',
            (m).billed::text,
        'carried', (m).carried::text, 'billable', (m).billable::text, 'denominator', (m).denominator::text, 'cuts',
            (m).cuts)::text;
end;
comment on function postmeter.ledger_line(postmeter.meter) is 'A meter as the export writes it.';
create function postmeter.ledger_line(m postmeter.meter_metric) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('id', (m).id, 'meter_id', (m).meter_id, 'product', (m).product, 'metric', (m).metric,
        'factor_numerator', (m).factor_numerator, 'factor_denominator', (m).factor_denominator, 'used', (m).used::text,
        'covered', (m).covered::text, 'usages', (m).usages)::text;
end;
comment on function postmeter.ledger_line(postmeter.meter_metric) is 'A metric of a meter as the export writes it.';

create function postmeter.month_heads(destination text, month date)
returns table (table_name text, rows bigint, chain text, sums jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp set jit = off
as $$
    with meters as materialized (
        select m.id from postmeter.meter m join postmeter.destination t on t.id = m.destination_id
        where t.name = month_heads.destination and m.month = month_heads.month
    ), remittances as materialized (
        select d.id from meters m join postmeter.delivery d on d.meter_id = m.id
    )
    select 'delivery', count(*), encode(postmeter.chain_of(l.line), 'hex'),
        jsonb_build_object('quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.quantity as quantity from postmeter.delivery r
          where r.id in (select k.id from remittances k) order by r.id) l
    union all
    select 'cut', count(*), encode(postmeter.chain_of(l.line), 'hex'),
        jsonb_build_object('to_bill', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.to_bill as quantity from postmeter.cut r
          where r.delivery_id in (select k.id from remittances k) order by r.delivery_id, r.meter_id, r.round) l
    union all
    select 'part', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.part r
          where r.delivery_id in (select k.id from remittances k) order by r.delivery_id, r.meter_id) l
    union all
    select 'meter', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.meter r where r.id in (select m.id from meters m)
        order by r.id) l
    union all
    select 'meter_metric', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.meter_metric r
          where r.meter_id in (select m.id from meters m) order by r.id) l
$$;
comment on function postmeter.month_heads(text, date) is
    'Rows of a billing month, the heads of their hash chains, and their sums, as they are in the database now.';

create function postmeter.month_rows_differ(destination text, month date, manifest text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select h.table_name
    from postmeter.month_heads(month_rows_differ.destination, month_rows_differ.month) h
    left join jsonb_array_elements(manifest::jsonb -> 'tables') t on t ->> 'table' = h.table_name
    where (t ->> 'rows')::bigint is distinct from h.rows or t ->> 'chain' is distinct from h.chain
       or t -> 'sums' is distinct from h.sums limit 1
$$;
comment on function postmeter.month_rows_differ(text, date, text) is
    'A table whose rows of a billing month are not those of a manifest; null: all are. It reads them all.';

create function postmeter.check_month_rows(destination text, month date, manifest text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    bad text := postmeter.month_rows_differ(check_month_rows.destination, check_month_rows.month,
        check_month_rows.manifest);
begin
    if bad is not null then
        raise exception 'the rows of % of % at % are not those of its export', bad,
            to_char(check_month_rows.month, 'YYYY-MM'), check_month_rows.destination
            using errcode = 'PM043', column = 'manifest', constraint = 'month_rows',
                  hint = 'Something of it was decided since: export it again. Nothing is dropped.';
    end if;
end
$$;
comment on function postmeter.check_month_rows(text, date, text) is
    'Refuses a manifest that is not of a billing month''s rows in the database (PM043).';

create function postmeter.record_month_export(destination text, month date, manifest text, who text, why text)
    returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t       postmeter.destination;
    before  record;
    said    jsonb := manifest::jsonb;
    print   text := encode(sha256(convert_to(manifest, 'UTF8')), 'hex');
    made    bigint;
    why_not text;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select x.* into t from postmeter.destination x where x.name = record_month_export.destination;
    -- one chain: whoever records a month of the ledger waits, too
    lock table postmeter.ledger_export in share row exclusive mode;
    perform 1 from postmeter.month_export e where e.digest = print;
    if found then
        return print;
    end if;
    perform postmeter.check_month_kept(t.id, month);
    why_not := postmeter.month_unfinished(destination, month);
    if why_not is not null then
        raise exception '% of % is not finished: %', to_char(month, 'YYYY-MM'), destination, why_not
            using errcode = 'PM041', column = 'month', constraint = 'month_finished',
                hint = 'postmeter.ledger_month says it of every month.';
    end if;
    select e.number, e.digest into before
    from (select l.number, l.digest from postmeter.ledger_export l
          union all select m.number, m.digest from postmeter.month_export m) e order by e.number desc limit 1;
    if said ->> 'format' is distinct from 'postmeter-month/1' or said ->> 'destination' is distinct from destination
       or said ->> 'month' is distinct from to_char(record_month_export.month, 'YYYY-MM')
       or (said ->> 'number')::integer is distinct from coalesce(before.number, 0) + 1
           or said ->> 'previous' is distinct from before.digest then
        raise exception 'the manifest does not follow the last one' using errcode = 'PM042', column = 'manifest',
            constraint = 'ledger_chain', hint = 'Another export may have run: export it again.';
    end if;
    perform postmeter.check_month_rows(destination, month, manifest);
    insert into postmeter.decision (who, why, verb, destination_id, detail)
    values (who, why, 'export', t.id, jsonb_build_object('month', record_month_export.month, 'digest', print,
        'remittances', true)) returning id into made;
    insert into postmeter.month_export (number, destination_id, month, manifest, digest, decision_id)
    values ((said ->> 'number')::integer, t.id, record_month_export.month, manifest, print, made);
    return print;
end
$$;
comment on function postmeter.record_month_export(text, date, text, text, text) is
    'Records the manifest of a billing month''s export that was written and read again; returns its digest. Only of a finished month (PM041), in the order of exports (PM042), with the rows that are here (PM043). The same again changes nothing; a later one takes its place.';

-- one chain
do $patch$
declare
    change     record;
    definition text := pg_get_functiondef('postmeter.record_ledger_export(date,text,text,text)'::regprocedure);
begin
    for change in
        select * from (values
            ('select e.* into before from postmeter.ledger_export e order by e.number desc limit 1;',
             'select e.* into before
    from (select l.month, l.number, l.manifest, l.digest, l.exported_at, l.decision_id from postmeter.ledger_export l
          union all
          select m.month, m.number, m.manifest, m.digest, m.exported_at, m.decision_id from postmeter.month_export m) e
    order by e.number desc limit 1;'),
            ('said ->> ''format'' is distinct from ''postmeter-ledger/1''',
             'coalesce(said ->> ''format'', '''') not in (''postmeter-ledger/1'', ''postmeter-ledger/2'')')
        ) x(old, new)
    loop
        if position(change.old in definition) = 0 then
            raise exception 'record_ledger_export is not as this migration knows it: %', change.old;
        end if;
        definition := replace(definition, change.old, change.new);
    end loop;
    execute definition;
end
$patch$;

-- What meters came to, before they go.
create function postmeter.sum_meters(meters bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off
    set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
begin
    -- the row does not take what does not add up (dropped_meter_closes)
    insert into postmeter.dropped_meter (id, destination_id, buyer, dimension, month, product, rounding, decimals,
        month_end, billed, carried,
        billable, denominator, cuts, common, recorded, accepted, held, expired, written_off, dry_run, covered, remains)
    select m.id, m.destination_id, m.buyer, m.dimension, m.month,
           (select min(mm.product) from postmeter.meter_metric mm where mm.meter_id = m.id),
           m.rounding, m.decimals, m.month_end, m.billed, m.carried, m.billable, m.denominator, m.cuts,
           b.denominator, coalesce(b.recorded, 0), coalesce(b.accepted, 0), coalesce(b.held, 0), coalesce(b.expired, 0),
           coalesce(b.written_off, 0), coalesce(b.dry_run, 0), coalesce(b.covered, 0), coalesce(b.carried, 0)
    from postmeter.meter m
    left join lateral (select x.* from postmeter.balance x where x.meter_id = m.id offset 0) b on true
    where m.id = any (sum_meters.meters);
    -- usage_balance asks per month of the ledger
    insert into postmeter.ledger_carry (month, place, org, product, metric, destination_id, usages, quantity)
    select k.month, 'allocated', k.org, k.product, k.metric, k.destination_id, sum(k.usages), sum(k.quantity)
    from postmeter.meter_metric mm
    join postmeter.ledger_carry k on k.meter_metric_id = mm.id
    where mm.meter_id = any (sum_meters.meters)
    group by 1, 3, 4, 5, 6;
    insert into postmeter.dropped_sum (meter_id, answers, product, unit, status, reason, remittances, quantity)
    select c.meter_id, 'month_close', d.product, 'billing', d.status, d.reason, count(distinct d.id), sum(c.to_bill)
    from postmeter.cut c
    join postmeter.delivery d on d.id = c.delivery_id
    where c.meter_id = any (sum_meters.meters) and c.to_bill <> 0
        and d.status not in ('nothing_due', 'open', 'released')
    group by c.meter_id, d.product, d.status, d.reason;
    -- of its own key, whatever contract it counted on
    insert into postmeter.dropped_sum (meter_id, answers, product, unit, status, reason, shadow, remittances, used,
        quantity)
    select d.meter_id, 'remittance', d.product, 'billing', d.status, d.reason, d.shadow, count(*),
        sum(coalesce(d.shown_quantity, d.quantity)), sum(d.quantity)
    from postmeter.delivery d
    where d.meter_id = any (sum_meters.meters)
    group by d.meter_id, d.product, d.status, d.reason, d.shadow;
    perform postmeter.sum_orgs(sum_meters.meters);
    perform postmeter.sum_unremitted(sum_meters.meters);
end
$$;
comment on function postmeter.sum_meters(bigint[]) is
    'Writes down what these meters came to, before they are dropped: what balance, usage_balance, month_close, remittance_summary and unremitted will say of them.';

create function postmeter.sum_orgs(meters bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp set jit = off
    set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
    -- as remittance_summary counts it
    with counted as materialized (
        select k.org, s.account, k.product, k.metric, mm.meter_id, k.delivery_id, sum(k.usages)::bigint as usages,
            sum(k.quantity) as used
        from postmeter.meter_metric mm
        join postmeter.ledger_carry k on k.meter_metric_id = mm.id
        left join postmeter.subscription s on s.id = k.subscription_id
        where mm.meter_id = any (sum_orgs.meters)
        group by 1, 2, 3, 4, 5, 6
    ), other as materialized (
        -- remittances that bill on the meter and count no usage of it
        select distinct m.id as meter_id, m.month, m.buyer as contract, d.id as delivery_id, d.destination_id,
            d.product, d.hour, own.buyer
        from postmeter.meter m
        join postmeter.cut k on k.meter_id = m.id and k.to_bill > 0
        join postmeter.delivery d on d.id = k.delivery_id
        join lateral (select o.buyer from postmeter.meter o where o.id = d.meter_id
                      union all select o.buyer from postmeter.dropped_meter o where o.id = d.meter_id) own on true
        where m.id = any (sum_orgs.meters)
          and not exists (select from postmeter.ledger_carry a
              join postmeter.meter_metric mm on mm.id = a.meter_metric_id
                          where a.delivery_id = d.id and mm.meter_id = m.id)
    ), placed as (
        select c.org, c.account, c.product, c.metric, c.meter_id, c.delivery_id, c.usages, c.used,
               count(*) over (partition by c.meter_id, c.delivery_id) > 1 as shared
        from counted c
        union all
        select s.org, s.account, s.product, null, o.meter_id, o.delivery_id, 0, 0,
               exists (select from postmeter.subscription os
                       where os.destination_id = o.destination_id and os.buyer = o.buyer and os.product = o.product
                         and os.valid_from < o.hour + interval '1 hour'
                             and (os.valid_until is null or o.hour < os.valid_until)
                         and (os.org is distinct from s.org or os.account is distinct from s.account))
        from (
            select distinct s.org, s.account, s.product, o.meter_id, o.delivery_id
            from other o
            join postmeter.subscription s on s.destination_id = o.destination_id and s.buyer = o.buyer
                and s.product = o.product
             and s.valid_from < o.hour + interval '1 hour' and (s.valid_until is null or o.hour < s.valid_until)
            where o.buyer = o.contract and s.contract is null
               -- its contract is another than its buyer's
               or (s.buyer <> o.contract or s.contract is not null)
                  and (exists (select from postmeter.contract_member k
                               where k.subscription_id = s.id and k.month = o.month and k.contract = o.contract)
                       or postmeter.contract_name(s.product, s.contract) = o.contract
                          and not exists (select from postmeter.contract_member k where k.subscription_id = s.id
                              and k.month = o.month))
        ) s
        join other o on o.meter_id = s.meter_id and o.delivery_id = s.delivery_id
    )
    insert into postmeter.dropped_sum (meter_id, answers, org, account, product, metric, unit, status, shared, shadow,
        remittances, usages, used, quantity)
    select p.meter_id, 'remittance_summary', p.org, p.account, p.product, p.metric, 'billing', d.status, p.shared,
        d.shadow,
           count(*), sum(p.usages), sum(p.used),
           sum((select sum(k.to_bill) from postmeter.cut k where k.delivery_id = d.id and k.meter_id = p.meter_id
               and d.status <> 'open'))
    from placed p
    join postmeter.delivery d on d.id = p.delivery_id
    group by p.meter_id, p.org, p.account, p.product, p.metric, d.status, p.shared, d.shadow
$$;
comment on function postmeter.sum_orgs(bigint[]) is
    'What the remittances of these meters came to per org, as remittance_summary says it.';

create function postmeter.sum_unremitted(meters bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp set jit = off
    set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
    insert into postmeter.dropped_sum (meter_id, answers, org, product, metric, unit, status, reason, remittances,
        quantity)
    -- the usage in what was never accepted
    select mm.meter_id, 'unremitted', k.org, k.product, k.metric, 'metric', d.status, d.reason, count(distinct d.id),
        sum(k.quantity)
    from postmeter.meter_metric mm
    join postmeter.ledger_carry k on k.meter_metric_id = mm.id
    join postmeter.delivery d on d.id = k.delivery_id
    where mm.meter_id = any (sum_unremitted.meters) and d.status not in ('accepted', 'nothing_due', 'released')
        and not d.shadow
    group by mm.meter_id, k.org, k.product, k.metric, d.status, d.reason
    union all
    -- what such a remittance was given by releases, or bills without usage of its own
    select m.id, 'unremitted', s.org, d.product, null, 'billing', d.status, d.reason, count(*), sum(g.quantity)
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id
    cross join lateral (select case when exists (select from postmeter.ledger_carry k where k.delivery_id = d.id)
                                    then (select sum(c.quantity) from postmeter.decision c
                                        where c.target_delivery_id = d.id and c.verb = 'release')
                                    else d.quantity end as quantity) g
    left join lateral (select distinct x.org from postmeter.subscription x
                       where x.destination_id = m.destination_id and x.buyer = m.buyer and x.product = d.product
                         and x.valid_from < d.hour + interval '1 hour'
                             and (x.valid_until is null or d.hour < x.valid_until)) s on true
    where m.id = any (sum_unremitted.meters) and d.status not in ('accepted', 'nothing_due', 'released', 'open')
        and not d.shadow and g.quantity > 0
    group by m.id, s.org, d.product, d.status, d.reason
    union all
    -- what was given back, and no hour has billed it
    select m.id, 'unremitted', s.org, l.product, null, 'billing', 'released', null, 1, m.billable
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null
    cross join lateral (select d.product, d.hour from postmeter.delivery d where d.meter_id = m.id order by d.hour desc
        limit 1) l
    left join lateral (select distinct x.org from postmeter.contract_subscriptions(m.destination_id, m.buyer,
        m.month) b(subscription_id)
                       join postmeter.subscription x on x.id = b.subscription_id and x.product = l.product
                        and x.valid_from < l.hour + interval '1 hour'
                            and (x.valid_until is null or l.hour < x.valid_until)) s on true
    where m.id = any (sum_unremitted.meters) and m.billable > 0
$$;
comment on function postmeter.sum_unremitted(bigint[]) is
    'What of these meters was not accepted, per org, metric and status, as unremitted says it of each remittance.';

-- Dropping: the mark first, then shares.
create function postmeter.begin_month_drop(destination text, month date, who text, why text,
    dry_run boolean default true, without date default null)
returns table (table_name text, rows bigint, bytes bigint)
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
                  hint = 'An older program exported the usage of a month alone: export it again (postmeter ledger export).';
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
    'Marks a billing month as being dropped, or says what would be (without: as if that month of the ledger were dropped): from then on nothing of it is decided. Only if it may go (PM041), is exported with its remittances (PM042), and its rows are still those of the manifest (PM043). drop_month_share deletes it.';

create function postmeter.drop_month_share(destination text, month date, most integer default 1000,
    out meters bigint, out remittances bigint, out is_done boolean) returns record
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
    'Drops the next share of a billing month that is being dropped: its meters first, a hundredth as many, each with what it came to, then so many remittances with their cuts. Each call is a transaction of its own; is_done: nothing is left.';

create function postmeter.drop_remittances(deliveries bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp set jit = off
    set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
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
    'Deletes remittances of a month that is being dropped, with their cuts and parts, and keeps their numbers; of those that somebody decided about, a line.';

-- What asks for remittances by name is told that they were dropped; what decides about them is refused.
create or replace function postmeter.check_ledger_kept(destination text, month date) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    gone text;
begin
    select string_agg(to_char(d.month, 'YYYY-MM'), ', ' order by d.month) into gone
    from postmeter.ledger_drop d, postmeter.destination t
    where t.name = check_ledger_kept.destination
      and d.used_until >= check_ledger_kept.month::timestamp at time zone t.zone
      and d.used_from < (check_ledger_kept.month + interval '1 month')::timestamp at time zone t.zone;
    if gone is not null then
        raise exception 'usage of % was dropped with the ledger of %: it cannot be recalculated here',
            to_char(month, 'YYYY-MM'), gone
            using errcode = 'PM045', column = 'month', constraint = 'ledger_kept',
                hint = 'The export holds it; postmeter.ledger_carry says what it came to.';
    end if;
    perform postmeter.check_month_kept((select t.id from postmeter.destination t
        where t.name = check_ledger_kept.destination), month);
end
$$;

do $patch$
declare
    change     record;
    definition text;
begin
    for change in
        select * from (values
            ('postmeter.deliveries_by(jsonb,boolean)'::regprocedure,
             'named := array[(filter ->> ''delivery'')::bigint];',
             'named := array[(filter ->> ''delivery'')::bigint];
        perform postmeter.check_not_dropped(array[(filter ->> ''delivery'')::bigint]);'),
            ('postmeter.deliveries_by(jsonb,boolean)'::regprocedure,
             'named := array(select w.id::bigint from jsonb_array_elements_text(filter -> ''within'') w(id));',
             'named := array(select w.id::bigint from jsonb_array_elements_text(filter -> ''within'') w(id));
        perform postmeter.check_not_dropped(named);'),
            -- a shadow''s may be stuck for ever, and go all the same
            ('postmeter.deliveries_by(jsonb,boolean)'::regprocedure,
             'where d.id = any (named)
',
             'where d.id = any (named)
          and (not d.shadow or postmeter.told_dropped(d.id) is null)
'),
            ('postmeter.resolve_unknown(bigint,boolean,text,text)'::regprocedure,
             'perform postmeter.lock_to_resolve(resolve_unknown.delivery);',
             'perform postmeter.check_not_dropped(array[resolve_unknown.delivery]);
    perform postmeter.lock_to_resolve(resolve_unknown.delivery);'),
            ('postmeter.resolve_quantity(bigint,numeric,text,text)'::regprocedure,
             'perform postmeter.month_gate();',
             'perform postmeter.month_gate();
    perform postmeter.check_not_dropped(array[resolve_quantity.delivery]);'),
            ('postmeter.judge(bigint,text,text,text)'::regprocedure,
             '    if counts = ''theirs'' then
',
             '    if counts = ''theirs'' then
        perform postmeter.check_not_dropped(array[c.delivery_id]);
'),
            ('postmeter.reopen_month(text,date,text,text,boolean)'::regprocedure,
             'select x.* into t from postmeter.destination x where x.name = reopen_month.destination;',
             'select x.* into t from postmeter.destination x where x.name = reopen_month.destination;
    perform postmeter.check_month_kept(t.id, reopen_month.month);'),
            ('postmeter.held_rows(jsonb)'::regprocedure,
             'when o.hits = 0 then ''not_found''',
             'when o.hits = 0 or o.hits = 1 and postmeter.told_dropped(o.id) is not null then ''not_found'''),
            ('postmeter.held_rows(jsonb)'::regprocedure,
             'when o.hits = 0 then ''there is no such remittance''',
             'when o.hits = 0 then coalesce(postmeter.told_dropped(o.delivery), postmeter.told_dropped_key(o.destination, o.key), ''there is no such remittance'')
                when o.hits = 1 and postmeter.told_dropped(o.id) is not null then postmeter.told_dropped(o.id)'),
            ('postmeter.close_report(text,date)'::regprocedure,
             'when v.class = ''held_usage'' and v.reason = ''month_closed'' then',
             'when v.class in (''held_usage'', ''released'') and v.destination is not null
                and exists (select from postmeter.destination t where t.name = v.destination
                    and postmeter.month_is_dropped(t.id, v.month))
                    then case v.class when ''held_usage'' then ''write it off: the month was dropped''
                                      else ''nothing: the month was dropped, and no hour takes it any more'' end
               when v.class = ''held_usage'' and v.reason = ''month_closed'' then'),
            ('postmeter.note_day_contradictions(text,date,text)'::regprocedure,
             'and r.day = note_day_contradictions.day and r.verdict <> ''equal''',
             'and r.day = note_day_contradictions.day and r.verdict not in (''equal'', ''dropped'')')
        ) x(function, old, new)
    loop
        definition := pg_get_functiondef(change.function);
        if position(change.old in definition) = 0 then
            raise exception '% is not as this migration knows it: %', change.function, change.old;
        end if;
        execute replace(definition, change.old, change.new);
    end loop;
end
$patch$;

-- The views say what they said before.
create or replace view postmeter.carried_place as
select c.place, c.month, c.org, c.product, c.metric, c.quantity, c.usages,
       case when c.place = 'recorded' then c.quantity else - c.quantity end as left_over,
       case when c.place = 'recorded' then c.usages else - c.usages end as left_usages
from postmeter.ledger_carry c
left join postmeter.destination t on t.id = c.destination_id
where t.shadow_of is null
  -- of a dropped meter there is one row for all its remittances, beside theirs until those are gone
  and (c.meter_metric_id is null or exists (select from postmeter.meter_metric mm where mm.id = c.meter_metric_id));

do $patch$
declare
    change     record;
    definition text;
    more       record;
begin
    for change in
        select x.view, array_agg(x.old) as old, array_agg(x.new) as new from (values
            ('postmeter.unremitted'::regclass, 'WHERE (k.hour IS NOT NULL)',
             'WHERE ((k.hour IS NOT NULL) AND (EXISTS (SELECT FROM postmeter.meter_metric g WHERE (g.id = k.meter_metric_id))))'),
            ('postmeter.reconciled'::regclass, 'WHEN (h.buyer IS NULL) THEN ''ours_alone''::text',
             'WHEN {gone} THEN ''dropped''::text WHEN (h.buyer IS NULL) THEN ''ours_alone''::text'),
            ('postmeter.reconciled'::regclass,
                'trim_scale((COALESCE(h.quantity, (0)::numeric) - COALESCE(o.quantity, (0)::numeric))) AS difference',
             'CASE WHEN NOT {gone} THEN trim_scale((COALESCE(h.quantity, (0)::numeric) - COALESCE(o.quantity, (0)::numeric))) END AS difference'),
            ('postmeter.dead_letter'::regclass, 'CASE h.reason',
             'CASE CASE WHEN h.reason = ''month_closed'' AND postmeter.month_is_dropped(h.destination_id, postmeter.month_of(h.hour, t.zone)) '
             'THEN ''dropped'' ELSE h.reason END WHEN ''dropped'' THEN ''write off: its month was dropped''::text'),
            ('postmeter.decision_log'::regclass, 'd.key,', 'COALESCE(d.key, y.key) AS key,'),
            ('postmeter.decision_log'::regclass, 'COALESCE(c.destination_id, d.destination_id)',
                'COALESCE(c.destination_id, d.destination_id, y.destination_id)'),
            ('postmeter.decision_log'::regclass, 'LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id))',
             'LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id)) LEFT JOIN postmeter.dropped_remittance y ON ((y.delivery_id = c.delivery_id))'),
            ('postmeter.contradiction_list'::regclass, 'd.key,', 'COALESCE(d.key, y.key) AS key,'),
            ('postmeter.contradiction_list'::regclass, 'd.hour,', 'COALESCE(d.hour, y.hour) AS hour,'),
            ('postmeter.contradiction_list'::regclass, 'd.status,',
             'COALESCE(d.status, CASE WHEN y.delivery_id IS NOT NULL OR c.settled_as = ''dropped'' THEN ''dropped''::text END) AS status,'),
            ('postmeter.contradiction_list'::regclass, 'LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id))',
             'LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id)) LEFT JOIN postmeter.dropped_remittance y ON ((y.delivery_id = c.delivery_id))')
        ) x(view, old, new) group by x.view
    loop
        definition := pg_get_viewdef(change.view);
        for i in 1 .. cardinality(change.old) loop
            if position(change.old[i] in definition) = 0 then
                raise exception '% is not as this migration knows it: %', change.view, change.old[i];
            end if;
            -- a day of UTC that reaches into a dropped month
            definition := replace(definition, change.old[i], replace(change.new[i], '{gone}',
                '(EXISTS (SELECT FROM postmeter.dropped_month g WHERE g.destination_id = t.id '
                'AND g.month::timestamp AT TIME ZONE t.zone < (l.day + 1)::timestamp AT TIME ZONE ''UTC'' '
                'AND (g.month + interval ''1 month'')::timestamp AT TIME ZONE t.zone > l.day::timestamp AT TIME ZONE ''UTC''))'));
        end loop;
        execute 'create or replace view ' || change.view::text || ' as ' || definition;
    end loop;
    for more in
        select * from (values
            ('postmeter.balance'::regclass, $view$
                select t.name, k.buyer, k.dimension, k.month, k.id, k.common, trim_scale(k.recorded), 0::numeric,
                    0::numeric, 0::numeric,
                       trim_scale(k.accepted), trim_scale(k.held), 0::numeric, trim_scale(k.expired), 0::numeric,
                           trim_scale(k.written_off),
                       trim_scale(k.dry_run), trim_scale(k.covered), trim_scale(k.remains),
                       trim_scale(k.recorded - k.accepted - k.held - k.expired - k.written_off - k.dry_run - k.covered
                                  - k.remains),
                       t.shadow_of is not null
                from postmeter.dropped_meter k
                join postmeter.destination t on t.id = k.destination_id
                where k.common is not null$view$),
            ('postmeter.meter_list'::regclass, $view$
                select k.id, t.name, k.buyer, k.dimension, k.month, k.rounding, k.decimals, k.month_end,
                    trim_scale(k.billed),
                       trim_scale(k.carried), trim_scale(k.billable), k.denominator, k.cuts, c.closed_at
                from postmeter.dropped_meter k
                join postmeter.destination t on t.id = k.destination_id
                left join postmeter.closed_month c on c.destination_id = k.destination_id and c.month = k.month$view$),
            ('postmeter.month_close'::regclass, $view$
                select t.name, k.month, c.closed_at is not null, c.closed_at, i.class, i.reason, k.id, k.buyer,
                    null::text, i.product,
                       null::text collate "C", k.dimension, i.items, trim_scale(i.quantity), 'billing',
                       trim_scale(round(i.quantity * p.unit_price, 15)), p.currency, t.shadow_of is not null
                from postmeter.dropped_meter k
                join postmeter.destination t on t.id = k.destination_id
                left join postmeter.closed_month c on c.destination_id = k.destination_id and c.month = k.month
                cross join lateral (
                    select s.status as class, s.reason, s.product, s.remittances as items, s.quantity
                    from postmeter.dropped_sum s where s.meter_id = k.id and s.answers = 'month_close'
                    union all
                    select v.class, null::text as reason, k.product, 1 as items, v.quantity
                    from (values
                        ('over_billed', greatest(0,
                            k.billed - postmeter.round_units(k.carried + k.billed * k.denominator, k.denominator,
                            case when k.month_end = 'round_up' then 'up' else k.rounding end, k.decimals))),
                        ('released', k.billable),
                        ('remainder', round(greatest(0, k.carried / k.denominator - k.billable), 15))) v(class,
                            quantity)
                    where v.quantity > 0 and (k.carried <> 0 or k.billable > 0)) i
                left join lateral (
                    select x.unit_price, x.currency from postmeter.dimension x
                    where x.destination_id = k.destination_id and x.name = k.dimension and x.product = i.product
                        and x.valid_from <= k.month
                    order by x.valid_from desc, x.id limit 1) p on true$view$),
            ('postmeter.remittance_summary'::regclass, $view$
                select s.org, s.account, s.product, s.metric, t.name, k.month, s.status, s.shared, k.dimension,
                    sum(s.remittances)::bigint,
                       sum(s.usages)::bigint, trim_scale(sum(s.used)), trim_scale(sum(s.quantity)),
                       trim_scale(sum(s.quantity) * p.unit_price), p.currency, s.shadow
                from postmeter.dropped_sum s
                join postmeter.dropped_meter k on k.id = s.meter_id
                join postmeter.destination t on t.id = k.destination_id
                left join lateral (
                    select x.unit_price, x.currency from postmeter.dimension x
                    where x.destination_id = k.destination_id and x.name = k.dimension and x.product = s.product
                        and x.valid_from <= k.month
                    order by x.valid_from desc, x.id limit 1) p on true
                where s.answers = 'remittance_summary'
                group by s.org, s.account, s.product, s.metric, t.name, k.month, s.status, s.shared, k.dimension,
                    s.shadow, p.unit_price, p.currency$view$),
            ('postmeter.unremitted'::regclass, $view$
                select 'dropped', s.org, s.product, s.metric, k.month::timestamp at time zone t.zone, sum(s.quantity),
                    s.unit, s.status,
                       s.reason, null::timestamptz, x.begun_at, t.name, null::bigint, null::uuid,
                       jsonb_build_array('dropped', t.name, to_char(k.month, 'YYYY-MM'), s.org, s.product, s.metric,
                           s.status, s.reason, s.unit)::text
                from postmeter.dropped_sum s
                join postmeter.dropped_meter k on k.id = s.meter_id
                join postmeter.destination t on t.id = k.destination_id
                left join postmeter.dropped_month x on x.destination_id = k.destination_id and x.month = k.month
                where s.answers = 'unremitted'
                group by s.org, s.product, s.metric, k.month, t.zone, s.unit, s.status, s.reason, x.begun_at,
                    t.name$view$)
        ) x(view, part)
    loop
        execute 'create or replace view ' || more.view::text || ' as ' || rtrim(pg_get_viewdef(more.view),
            ';') || ' union all ' || more.part;
    end loop;
end
$patch$;

create view postmeter.ledger_month as
select t.name as destination, m.month, c.closed_at, postmeter.month_drop_why_not(t.name, m.month) as why_not,
       e.number as export, e.exported_at, e.digest, x.begun_at, x.finished_at as dropped_at,
           x.remittances as remittances_dropped
from (select k.destination_id, k.month from postmeter.meter k group by 1, 2
      union select k.destination_id, k.month from postmeter.dropped_month k) m
join postmeter.destination t on t.id = m.destination_id
left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
left join postmeter.dropped_month x on x.destination_id = m.destination_id and x.month = m.month
left join lateral (select y.number, y.exported_at, y.digest from postmeter.month_export y
                   where y.destination_id = m.destination_id and y.month = m.month order by y.number desc
                       limit 1) e on true;
comment on view postmeter.ledger_month is 'Billing months, and whether their remittances, cuts and meters may be dropped, are being dropped or were. Ask it by destination or month: a month whose ledger is gone is read whole.';
comment on column postmeter.ledger_month.destination is 'The destination.';
comment on column postmeter.ledger_month.month is 'First day of the billing month.';
comment on column postmeter.ledger_month.closed_at is 'When it was closed; null: it is open.';
comment on column postmeter.ledger_month.why_not is 'Why its remittances may not be dropped; null: they may, once they are exported.';
comment on column postmeter.ledger_month.export is 'The number of its latest export with its remittances; null: none, and an older program''s has none.';
comment on column postmeter.ledger_month.exported_at is 'When that was recorded.';
comment on column postmeter.ledger_month.digest is 'SHA-256 of its manifest.';
comment on column postmeter.ledger_month.begun_at is 'When its drop began.';
comment on column postmeter.ledger_month.dropped_at is 'When nothing was left of it.';
comment on column postmeter.ledger_month.remittances_dropped is 'How many remittances are gone.';
comment on column postmeter.reconciled.verdict is 'equal, quantity, ours_alone (they lost it) or theirs_alone (an unknown was taken, or somebody else sent it); dropped: the remittances of that day were dropped, and there is nothing to compare.';
comment on column postmeter.reconciled.difference is 'Theirs less ours; null: dropped.';
comment on view postmeter.unremitted is 'What was not sent or not accepted, and why: waiting and held usage, and remittances in every status but accepted, nothing_due and released (its quantity is with another remittance), by the hour of their usage. What a remittance was given by releases, and one that counts no usage of its own, is listed in billing units, and so is what an hour deferred or a release gave back and no hour has billed yet: with the open hour that takes it, or as released with the last hour of its meter. Of a dropped billing month (kind dropped) there is one row per org, metric and status, with the month''s first hour. Without shadows. Quick by org with a range of hour, and by delivery_id.';
comment on column postmeter.unremitted.kind is 'usage or remittance; dropped: remittances of a dropped billing month together.';
comment on column postmeter.contradiction_list.status is 'Where the remittance stands now; dropped: with its billing month.';

-- Of usage that was never billed: by which exemption, and by whose decision. It goes with its month of the ledger.
create function postmeter.ledger_line(x postmeter.exempted) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('usage_id', (x).usage_id, 'exemption_id', (x).exemption_id)::text;
end;
comment on function postmeter.ledger_line(postmeter.exempted) is 'What exempted a usage, as the export writes it.';
create function postmeter.ledger_line(x postmeter.usage_written_off) returns text
language sql stable parallel safe
begin atomic
    select json_build_object('usage_id', (x).usage_id, 'decision_id', (x).decision_id)::text;
end;
comment on function postmeter.ledger_line(postmeter.usage_written_off) is
    'By which decision a usage was given up, as the export writes it.';

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

create or replace function postmeter.check_ledger_rows(month date, manifest text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    bad text;
begin
    select h.table_name into bad
    from (select x.* from postmeter.ledger_heads(check_ledger_rows.month) x
          union all
          -- an older program's has four tables
          select x.* from postmeter.ledger_leftover_heads(check_ledger_rows.month) x
          where manifest::jsonb ->> 'format' is distinct from 'postmeter-ledger/1') h
    left join jsonb_array_elements(manifest::jsonb -> 'tables') t on t ->> 'table' = h.table_name
    where (t ->> 'rows')::bigint is distinct from h.rows or t ->> 'chain' is distinct from h.chain
       or t -> 'sums' is distinct from h.sums limit 1;
    if found then
        raise exception 'the rows of % in % are not those of the manifest', bad, to_char(check_ledger_rows.month, 'YYYY-MM')
            using errcode = 'PM043', column = 'manifest', constraint = 'ledger_rows',
                  hint = 'Report this as a defect; nothing is dropped.';
    end if;
end
$$;

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
            using errcode = 'PM041', column = 'month', constraint = 'ledger_dropped', hint = 'drop_ledger_month drops it.';
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
    'Deletes so many rows of exempted and usage_written_off of a dropped month of the ledger; returns how many. Each call is a transaction of its own; 0: none is left, or the export is an older program''s and has none of them, so that they stay.';

-- Who may.
do $grants$
declare
    f text;
begin
    foreach f in array array[
        'dropped_with(bigint)', 'told_dropped(bigint)', 'told_dropped_key(text, text)',
            'month_is_dropped(integer, date)',
        'check_not_dropped(bigint[])', 'check_month_kept(integer, date)', 'month_unfinished(text, date)',
            'month_drop_why_not(text, date, date)',
        'ledger_line(postmeter.exempted)', 'ledger_line(postmeter.usage_written_off)', 'ledger_leftover_heads(date)',
        'ledger_line(postmeter.delivery)', 'ledger_line(postmeter.cut)', 'ledger_line(postmeter.part)',
            'ledger_line(postmeter.meter)',
        'ledger_line(postmeter.meter_metric)', 'month_heads(text, date)', 'month_rows_differ(text, date, text)',
            'check_month_rows(text, date, text)'] loop
        execute format('revoke execute on function postmeter.%s from public', f);
        execute format('grant execute on function postmeter.%s '
                       'to postmeter_reader, postmeter_operator, postmeter_worker', f);
    end loop;
    foreach f in array array[
        'record_month_export(text, date, text, text, text)', 'begin_month_drop(text, date, text, text, boolean, date)',
        'drop_month_share(text, date, integer)', 'drop_ledger_leftovers(date, integer)'] loop
        execute format('revoke execute on function postmeter.%s from public', f);
        execute format('grant execute on function postmeter.%s to postmeter_operator', f);
    end loop;
    foreach f in array array[
        'keep_dropped()', 'only_dropped()', 'late_of_dropped()', 'sum_meters(bigint[])', 'sum_orgs(bigint[])',
            'sum_unremitted(bigint[])',
        'drop_remittances(bigint[])'] loop
        execute format('revoke execute on function postmeter.%s from public', f);
    end loop;
end
$grants$;
grant select on postmeter.ledger_month to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (58, '0058_pre_dropped_months');
