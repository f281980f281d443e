-- What is left of a dropped billing month.

-- What stays of a billing month, and the mark by which everything of it is refused from then on.
create table postmeter.dropped_month (
    -- a new destination of its name would bill the month again
    destination_id integer     not null references postmeter.destination(id),
    month          date        not null check (extract(day from month) = 1),
    decision_id    bigint      not null,
    begun_at       timestamptz not null default postmeter.clock(),
    finished_at    timestamptz,
    remittances    bigint      not null default 0,
    meters_after   bigint      not null default 0,
    primary key (destination_id, month)
);
comment on table postmeter.dropped_month is
    'Billing months whose remittances, cuts and meters were dropped after their export, or are being dropped in '
    'shares. Nothing of such a month can be sent, decided or billed any more.';
comment on column postmeter.dropped_month.destination_id is 'The destination, live or a shadow: it stays.';
comment on column postmeter.dropped_month.month is 'First day of the billing month, in the destination''s zone.';
comment on column postmeter.dropped_month.decision_id is 'The decision that dropped it.';
comment on column postmeter.dropped_month.begun_at is 'Since when nothing of it can be decided.';
comment on column postmeter.dropped_month.finished_at is
    'When its last remittance was gone; null: postmeter ledger drop goes on with it.';
comment on column postmeter.dropped_month.remittances is 'How many remittances are gone.';
comment on column postmeter.dropped_month.meters_after is
    'The remittances of its meters before this one are gone; where the next share begins.';
create trigger append_only before delete or truncate on postmeter.dropped_month
    for each statement execute function postmeter.forbid_change();

create table postmeter.dropped_meter (
    id             bigint           primary key,
    destination_id integer          not null,
    buyer          text collate "C" not null,
    dimension      text collate "C" not null,
    month          date             not null,
    product        text collate "C",
    rounding       text             not null,
    decimals       integer          not null,
    month_end      text             not null,
    billed         numeric          not null,
    carried        numeric          not null,
    billable       numeric          not null,
    denominator    numeric          not null,
    cuts           integer          not null,
    common         numeric,
    recorded       numeric          not null,
    accepted       numeric          not null,
    held           numeric          not null,
    expired        numeric          not null,
    written_off    numeric          not null,
    dry_run        numeric          not null,
    covered        numeric          not null,
    remains        numeric          not null,
    unique (destination_id, buyer, dimension, month),
    -- its balance closes for ever: a row that does not add up cannot be written
    constraint dropped_meter_closes
        check (recorded = ((((((accepted + held) + expired) + written_off) + dry_run) + covered) + remains))
);
create index dropped_meter_month on postmeter.dropped_meter (month, destination_id);
comment on table postmeter.dropped_meter is
    'What a meter of a dropped billing month came to: balance, meter_list and month_close say of it what they said '
    'before. Append-only.';
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
comment on column postmeter.dropped_meter.common is
    'Common denominator of its factors, by which the following are multiplied; null: no metric was ever counted on '
    'it.';
comment on column postmeter.dropped_meter.recorded is
    'All usage allocated to it, in billing units x common, like all that follow: see balance.';
comment on column postmeter.dropped_meter.accepted is 'Billed by accepted remittances.';
comment on column postmeter.dropped_meter.held is 'By held ones: of a shadow only.';
comment on column postmeter.dropped_meter.expired is 'By expired ones: of a shadow only.';
comment on column postmeter.dropped_meter.written_off is 'By those that were written off.';
comment on column postmeter.dropped_meter.dry_run is 'By those that ended as dry_run.';
comment on column postmeter.dropped_meter.covered is 'Paid for by contracts.';
comment on column postmeter.dropped_meter.remains is
    'carried, in units x common: a remainder that was not billed, or (below zero) credit.';
create trigger append_only before delete or update or truncate on postmeter.dropped_meter
    for each statement execute function postmeter.forbid_change();

create table postmeter.dropped_sum (
    meter_id    bigint           not null,
    answers     text             not null
        check (answers in ('remittance', 'month_close', 'remittance_summary', 'unremitted')),
    org         text,
    account     text,
    product     text collate "C",
    metric      text collate "C",
    unit        text             not null,
    status      text             not null,
    reason      text,
    shared      boolean          not null default false,
    shadow      boolean          not null default false,
    remittances bigint           not null,
    usages      bigint           not null default 0,
    used        numeric,
    quantity    numeric
);
create index dropped_sum_by_meter on postmeter.dropped_sum (meter_id);
create index dropped_sum_by_org on postmeter.dropped_sum (org) where org is not null;
comment on table postmeter.dropped_sum is
    'What the remittances of a dropped meter came to, by status, org and metric, as the view that it answers asks. '
    'Append-only.';
comment on column postmeter.dropped_sum.meter_id is 'The meter: dropped_meter.';
comment on column postmeter.dropped_sum.answers is
    'Which view adds it: month_close, remittance_summary or unremitted; remittance: how many of its own key there '
    'were, which bill_of_org.sql asks.';
comment on column postmeter.dropped_sum.org is 'The org; null in remittance and month_close, which ask for none.';
comment on column postmeter.dropped_sum.account is 'The org''s account, in remittance_summary.';
comment on column postmeter.dropped_sum.product is 'The product.';
comment on column postmeter.dropped_sum.metric is 'The metric; null: the remittances counted none of the org''s own.';
comment on column postmeter.dropped_sum.unit is 'Of quantity: metric or billing.';
comment on column postmeter.dropped_sum.status is
    'Where they stood for ever; released in unremitted: given back, and billed by no hour.';
comment on column postmeter.dropped_sum.reason is 'Why they were held; of a shadow only.';
comment on column postmeter.dropped_sum.shared is 'Others were in the same remittances.';
comment on column postmeter.dropped_sum.shadow is 'Of a shadow: nothing was sent.';
comment on column postmeter.dropped_sum.remittances is 'How many remittances.';
comment on column postmeter.dropped_sum.usages is 'How many usages of it they counted.';
comment on column postmeter.dropped_sum.used is 'How much, in units of the metric; of remittance: as they hold it.';
comment on column postmeter.dropped_sum.quantity is 'What the view calls quantity.';
create trigger append_only before delete or update or truncate on postmeter.dropped_sum
    for each statement execute function postmeter.forbid_change();

create table postmeter.dropped_numbers (
    chunk          bigint    not null,
    destination_id integer   not null,
    month          date      not null,
    bits           bit(8192) not null,
    primary key (chunk, destination_id, month)
);
comment on table postmeter.dropped_numbers is
    'The numbers of remittances that were dropped, a bit each: who asks for one by its number is told so.';
comment on column postmeter.dropped_numbers.chunk is 'The numbers from chunk x 8192 on.';
comment on column postmeter.dropped_numbers.destination_id is 'The destination.';
comment on column postmeter.dropped_numbers.month is 'First day of the billing month.';
comment on column postmeter.dropped_numbers.bits is '8192 numbers; 1: dropped with this month.';
create trigger append_only before delete or truncate on postmeter.dropped_numbers
    for each statement execute function postmeter.forbid_change();

create table postmeter.dropped_remittance (
    delivery_id    bigint           primary key,
    destination_id integer          not null,
    meter_id       bigint           not null,
    key            text collate "C" not null,
    hour           timestamptz      not null,
    product        text             not null,
    status         text             not null,
    quantity       numeric,
    shown_quantity numeric
);
comment on table postmeter.dropped_remittance is
    'Dropped remittances about which somebody decided, or of which late evidence came: what that was about stays '
    'readable. Append-only.';
comment on column postmeter.dropped_remittance.delivery_id is 'Number of the remittance.';
comment on column postmeter.dropped_remittance.destination_id is 'The destination.';
comment on column postmeter.dropped_remittance.meter_id is 'Its meter: dropped_meter.';
comment on column postmeter.dropped_remittance.key is 'See delivery.key.';
comment on column postmeter.dropped_remittance.hour is 'See delivery.hour.';
comment on column postmeter.dropped_remittance.product is 'See delivery.product.';
comment on column postmeter.dropped_remittance.status is 'Where it stood for ever.';
comment on column postmeter.dropped_remittance.quantity is 'See delivery.quantity.';
comment on column postmeter.dropped_remittance.shown_quantity is 'See delivery.shown_quantity.';
create trigger append_only before delete or update or truncate on postmeter.dropped_remittance
    for each statement execute function postmeter.forbid_change();

create table postmeter.month_export (
    number         integer          primary key check (number > 0),
    destination_id integer          not null,
    month          date             not null check (extract(day from month) = 1),
    manifest       text             not null,
    digest         text collate "C" not null unique check (digest ~ '^[0-9a-f]{64}$'),
    exported_at    timestamptz      not null default postmeter.clock(),
    decision_id    bigint           not null
);
create index month_export_by_month on postmeter.month_export (destination_id, month);
comment on table postmeter.month_export is
    'Exports of billing months with their remittances, cuts, parts, meters and metrics: the manifest to the '
    'letter, and its digest. One chain with ledger_export. The latest of a month counts. Append-only.';
comment on column postmeter.month_export.number is 'Which export this is; ledger_export goes on with it.';
comment on column postmeter.month_export.destination_id is 'The destination.';
comment on column postmeter.month_export.month is 'First day of the billing month.';
comment on column postmeter.month_export.manifest is 'The manifest, to the letter.';
comment on column postmeter.month_export.digest is 'SHA-256 of the manifest.';
comment on column postmeter.month_export.exported_at is 'When it was recorded.';
comment on column postmeter.month_export.decision_id is 'The decision.';
create trigger append_only before delete or update or truncate on postmeter.month_export
    for each statement execute function postmeter.forbid_change();

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
    'Trigger of meter and closed_month: a billing month whose remittances were dropped gets no meter, and stays '
    'closed.';
create trigger kept_dropped before insert on postmeter.meter for each row execute function postmeter.keep_dropped();
create trigger kept_dropped before delete or update on postmeter.closed_month
    for each row execute function postmeter.keep_dropped();

-- Append-only still, but for what goes with its month: whoever sets what opens the trigger can delete no more than
-- that.
create function postmeter.forbid_delete_unless_dropped() returns trigger
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
comment on function postmeter.forbid_delete_unless_dropped() is
    'Trigger of cut and ledger_carry: a row goes only with its remittance, and that with its billing month.';
create trigger only_dropped after delete on postmeter.cut
    referencing old table as gone for each statement execute function postmeter.forbid_delete_unless_dropped();
create trigger only_dropped after delete on postmeter.ledger_carry
    referencing old table as gone for each statement execute function postmeter.forbid_delete_unless_dropped();

-- Evidence that comes when its remittance is gone is a contradiction: somebody compares it with the export.
create function postmeter.note_late_evidence_of_dropped() returns trigger
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
comment on function postmeter.note_late_evidence_of_dropped() is
    'Trigger of late_evidence: what is said of a dropped remittance is an open contradiction, for nothing else can '
    'show it.';
create trigger of_dropped after insert on postmeter.late_evidence
    referencing new table as arrived for each statement execute function postmeter.note_late_evidence_of_dropped();
