-- The whole schema, as the migrations make it: to read, to compare, or to load into an empty database after roles.sql.
-- Written by `make schema`; a test proves that it equals the migrations.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA postmeter;

COMMENT ON SCHEMA postmeter IS 'Postmeter: metered usage, the remittances made of it, and the ledger of every attempt to send them.';

CREATE FUNCTION postmeter.month_of(hour timestamp with time zone, zone text) RETURNS date
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (date_trunc('month'::text, (hour AT TIME ZONE zone)))::date AS date_trunc;
END;

COMMENT ON FUNCTION postmeter.month_of(hour timestamp with time zone, zone text) IS 'First day of the billing month that this hour belongs to, in the destination''s zone.';

CREATE TABLE postmeter.destination (
    id integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    quota_id integer NOT NULL,
    zone text DEFAULT 'UTC'::text NOT NULL,
    age_limit interval NOT NULL,
    month_cutoff interval,
    closing_window interval,
    margin interval DEFAULT '00:10:00'::interval NOT NULL,
    lead interval DEFAULT '00:30:00'::interval NOT NULL,
    grace interval DEFAULT '00:05:00'::interval NOT NULL,
    late_policy text DEFAULT 'expire'::text NOT NULL,
    expired_policy text DEFAULT 'hold'::text NOT NULL,
    dry_run boolean DEFAULT false NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    records_max integer NOT NULL,
    bytes_max integer NOT NULL,
    in_flight_max integer DEFAULT 8 NOT NULL,
    call_timeout interval DEFAULT '00:00:10'::interval NOT NULL,
    retry_first interval DEFAULT '00:00:02'::interval NOT NULL,
    retry_max interval DEFAULT '00:05:00'::interval NOT NULL,
    tries_max integer,
    memory interval,
    shadow_of integer,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT destination_age_limit_check CHECK ((age_limit >= '01:00:00'::interval)),
    CONSTRAINT destination_bytes_max_check CHECK ((bytes_max >= 1024)),
    CONSTRAINT destination_call_timeout_check CHECK (((call_timeout > '00:00:00'::interval) AND (call_timeout <= '00:00:15'::interval))),
    CONSTRAINT destination_closing_window_check CHECK ((closing_window >= '00:00:00'::interval)),
    CONSTRAINT destination_expired_policy_check CHECK ((expired_policy = ANY (ARRAY['hold'::text, 'roll_forward'::text]))),
    CONSTRAINT destination_grace_check CHECK ((grace >= '00:00:00'::interval)),
    CONSTRAINT destination_in_flight_max_check CHECK (((in_flight_max >= 1) AND (in_flight_max <= 1024))),
    CONSTRAINT destination_kind_check CHECK ((kind <> ''::text)),
    CONSTRAINT destination_late_policy_check CHECK ((late_policy = ANY (ARRAY['expire'::text, 'part'::text, 'hold'::text]))),
    CONSTRAINT destination_lead_check CHECK ((lead >= '00:00:00'::interval)),
    CONSTRAINT destination_margin_check CHECK ((margin >= '00:00:00'::interval)),
    CONSTRAINT destination_memory_check CHECK ((memory > '00:00:00'::interval)),
    CONSTRAINT destination_month_cutoff_check CHECK ((month_cutoff >= '00:00:00'::interval)),
    CONSTRAINT destination_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text)),
    CONSTRAINT destination_records_max_check CHECK ((records_max >= 1)),
    CONSTRAINT destination_retry_first_check CHECK ((retry_first > '00:00:00'::interval)),
    CONSTRAINT destination_retry_max_check CHECK ((retry_max >= '00:00:01'::interval)),
    CONSTRAINT destination_settings_check CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT destination_shadow_never_calls CHECK (((shadow_of IS NULL) OR dry_run)),
    CONSTRAINT destination_tries_max_check CHECK ((tries_max >= 1))
);

COMMENT ON TABLE postmeter.destination IS 'One configured marketplace endpoint with its policies. Secrets are never here: settings name a credentials profile at most.';

COMMENT ON COLUMN postmeter.destination.id IS 'Number of the destination.';

COMMENT ON COLUMN postmeter.destination.name IS 'Its name in the catalogue, in commands and in reports.';

COMMENT ON COLUMN postmeter.destination.kind IS 'Which marketplace''s code serves it: aws, azure or google.';

COMMENT ON COLUMN postmeter.destination.settings IS 'Settings of that code (AWS: region, endpoint, profile; docs/catalogue.md has them all).';

COMMENT ON COLUMN postmeter.destination.quota_id IS 'The quota its calls count against.';

COMMENT ON COLUMN postmeter.destination.zone IS 'IANA zone whose calendar the billing month follows.';

COMMENT ON COLUMN postmeter.destination.age_limit IS 'How old an hour may be when it arrives, counted from its start.';

COMMENT ON COLUMN postmeter.destination.month_cutoff IS 'How long after the end of a month its hours are still taken; null: no such rule.';

COMMENT ON COLUMN postmeter.destination.closing_window IS 'How long after the end of a subscription its hours are still taken; null: no such rule.';

COMMENT ON COLUMN postmeter.destination.margin IS 'Taken off every deadline.';

COMMENT ON COLUMN postmeter.destination.lead IS 'So long before its deadline an hour is cut even while its usage is still arriving.';

COMMENT ON COLUMN postmeter.destination.grace IS 'How long an hour stays open after its end.';

COMMENT ON COLUMN postmeter.destination.late_policy IS 'Late usage for which no unsent hour of its month is left: expire (its own hour, as a dead letter), part (in the open hour''s remittance, counted by its own month), hold.';

COMMENT ON COLUMN postmeter.destination.expired_policy IS 'What expired: hold it for a person, or roll_forward (release it to another hour of its month, with a decision signed by postmeter). Never what may have been billed.';

COMMENT ON COLUMN postmeter.destination.dry_run IS 'Do everything but the call.';

COMMENT ON COLUMN postmeter.destination.paused IS 'A person stopped sending; nothing is claimed.';

COMMENT ON COLUMN postmeter.destination.records_max IS 'Records in one call.';

COMMENT ON COLUMN postmeter.destination.bytes_max IS 'Bytes in one call''s body.';

COMMENT ON COLUMN postmeter.destination.in_flight_max IS 'Calls at the same time, per worker.';

COMMENT ON COLUMN postmeter.destination.call_timeout IS 'A call without an answer by then is unknown. Shorter than a worker''s lease.';

COMMENT ON COLUMN postmeter.destination.retry_first IS 'Delay after the first try.';

COMMENT ON COLUMN postmeter.destination.retry_max IS 'No delay is longer.';

COMMENT ON COLUMN postmeter.destination.tries_max IS 'Tries before a person is asked; null: until the deadline.';

COMMENT ON COLUMN postmeter.destination.memory IS 'How long the marketplace recognises a repeated key; null: as long as it takes the hour at all.';

COMMENT ON COLUMN postmeter.destination.shadow_of IS 'The live destination beside which this one, a shadow, counts the same usage and never calls. Cannot be changed.';

COMMENT ON COLUMN postmeter.destination.version IS 'Raised by every change of this row and of its quota''s limit, in the same transaction: nothing is claimed, and no call begins, by an older one.';

CREATE TABLE postmeter.dimension (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    product text NOT NULL COLLATE pg_catalog."C",
    metric text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    factor_numerator bigint DEFAULT 1 NOT NULL,
    factor_denominator bigint DEFAULT 1 NOT NULL,
    rounding text DEFAULT 'up'::text NOT NULL,
    decimals integer DEFAULT 0 NOT NULL,
    month_end text DEFAULT 'round_up'::text NOT NULL,
    unit_price numeric,
    currency text,
    valid_from date DEFAULT '2000-01-01'::date NOT NULL,
    max_quantity numeric,
    times_usual numeric,
    hour_alert numeric,
    zero text DEFAULT 'skip'::text NOT NULL,
    zero_since timestamp with time zone,
    allocate_by text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT dimension_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT dimension_decimals_check CHECK (((decimals >= 0) AND (decimals <= 15))),
    CONSTRAINT dimension_factor_denominator_check CHECK (((factor_denominator > 0) AND (factor_denominator <= 1000000000))),
    CONSTRAINT dimension_factor_numerator_check CHECK (((factor_numerator > 0) AND (factor_numerator <= 1000000000))),
    CONSTRAINT dimension_metric_check CHECK ((metric <> ''::text)),
    CONSTRAINT dimension_month_end_check CHECK ((month_end = ANY (ARRAY['round_up'::text, 'drop'::text]))),
    CONSTRAINT dimension_name_check CHECK (((name <> ''::text) AND (octet_length(name) <= 255))),
    CONSTRAINT dimension_priced CHECK (((unit_price IS NULL) = (currency IS NULL))),
    CONSTRAINT dimension_product_check CHECK ((product <> ''::text)),
    CONSTRAINT dimension_rounding_check CHECK ((rounding = ANY (ARRAY['up'::text, 'down'::text, 'nearest'::text]))),
    CONSTRAINT dimension_unit_price_check CHECK (((unit_price >= (0)::numeric) AND (unit_price < ('1000000000000'::bigint)::numeric))),
    CONSTRAINT dimension_valid_from_check CHECK ((EXTRACT(day FROM valid_from) = (1)::numeric))
);

COMMENT ON TABLE postmeter.dimension IS 'The marketplace''s name for a metric, and how its billing quantity is counted. Changes at a month''s start only.';

COMMENT ON COLUMN postmeter.dimension.id IS 'Number of the dimension.';

COMMENT ON COLUMN postmeter.dimension.destination_id IS 'The marketplace.';

COMMENT ON COLUMN postmeter.dimension.product IS 'Our product.';

COMMENT ON COLUMN postmeter.dimension.metric IS 'Our metric.';

COMMENT ON COLUMN postmeter.dimension.name IS 'Their name. Several metrics may share one.';

COMMENT ON COLUMN postmeter.dimension.factor_numerator IS 'Billing units per metric unit: numerator.';

COMMENT ON COLUMN postmeter.dimension.factor_denominator IS 'Billing units per metric unit: denominator.';

COMMENT ON COLUMN postmeter.dimension.rounding IS 'up: started units are billed; down: full units only; nearest: half and more counts.';

COMMENT ON COLUMN postmeter.dimension.decimals IS 'Digits after the point of a billing quantity (AWS: 0 or up to 6).';

COMMENT ON COLUMN postmeter.dimension.month_end IS 'What the month''s last cut does with a remainder below one unit: round_up bills it, drop leaves it carried.';

COMMENT ON COLUMN postmeter.dimension.unit_price IS 'Price of one billing unit, for information; never sent.';

COMMENT ON COLUMN postmeter.dimension.currency IS 'ISO 4217 code of the price.';

COMMENT ON COLUMN postmeter.dimension.valid_from IS 'First month, by its first day.';

COMMENT ON COLUMN postmeter.dimension.max_quantity IS 'A usage of more than this, in units of the metric, is held as implausible. Null: no limit.';

COMMENT ON COLUMN postmeter.dimension.times_usual IS 'A usage of more than this many times its org''s usual is held as implausible; an org without a usual is bound by max_quantity only. Null: no limit.';

COMMENT ON COLUMN postmeter.dimension.hour_alert IS 'More than this of the metric in one hour of one buyer is an alert; nothing is held for it. Null: none.';

COMMENT ON COLUMN postmeter.dimension.zero IS 'What becomes of an hour in which nothing is to be billed: skip, no call is made; send, it is reported as zero, a lead before its deadline.';

COMMENT ON COLUMN postmeter.dimension.zero_since IS 'Since when zero is send: only hours that begin after that are reported as zero.';

COMMENT ON COLUMN postmeter.dimension.allocate_by IS 'Attributes of the usage by which a remittance''s quantity is shared out for the buyer (AWS: usage allocations); empty: it is not.';

CREATE FUNCTION postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamp with time zone) RETURNS text[]
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT COALESCE(( SELECT x.allocate_by
            FROM (postmeter.dimension x
              JOIN postmeter.destination t ON ((t.id = x.destination_id)))
           WHERE ((x.allocate_by <> '{}'::text[]) AND (x.destination_id = allocates_by.destination_id) AND (x.product = allocates_by.product) AND (x.name = allocates_by.dimension) AND (x.valid_from <= postmeter.month_of(allocates_by.hour, t.zone)) AND (NOT (EXISTS ( SELECT
                    FROM postmeter.dimension y
                   WHERE ((y.destination_id = x.destination_id) AND (y.product = x.product) AND (y.metric = x.metric) AND (y.valid_from > x.valid_from) AND (y.valid_from <= postmeter.month_of(allocates_by.hour, t.zone)))))))
           ORDER BY x.id
          LIMIT 1), '{}'::text[]) AS "coalesce";
END;

COMMENT ON FUNCTION postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamp with time zone) IS 'The attributes by which the quantity of an hour of this destination, product and dimension is shared out; empty: it is not. The one home of that rule.';

CREATE FUNCTION postmeter.allocation_went() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- where a cut has counted it; what leaves an open hour is nothing to its meter
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select mm.meter_id, x.delivery_id
    from (values (old.delivery_id, old.meter_metric_id, old.round), (new.delivery_id, new.meter_metric_id, new.round)) x(delivery_id, metric, round)
    join postmeter.meter_metric mm on mm.id = x.metric
    where not exists (select from postmeter.delivery d where d.id = x.delivery_id and d.status = 'open' and d.round = x.round);
    insert into postmeter.usage_moved (slice) values (left(old.usage_id::text, 8));
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.allocation_went() IS 'Trigger of allocation: what counts elsewhere from now on, or nowhere, takes the proofs of its meters and of its usage back.';

CREATE FUNCTION postmeter.ask_meters_anew(many integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    asked bigint[];
begin
    asked := array(
        select x.id from (
            (select m.id from postmeter.meter m, postmeter.balance_check b where m.id > b.meters_after order by 1 limit many)
            union
            -- one that is gone is missed
            (select p.meter_id from postmeter.proven_meter p, postmeter.balance_check b where p.meter_id > b.meters_after order by 1 limit many)) x
        order by 1 limit many);
    insert into postmeter.balance_anew (meter_id) select a.id from unnest(asked) a(id) on conflict do nothing;
    -- null: that was all
    update postmeter.balance_check b set meters_after = case when cardinality(asked) = many then asked[many] end;
    return cardinality(asked);
end
$$;

COMMENT ON FUNCTION postmeter.ask_meters_anew(many integer) IS 'The next so many meters whose turn it is to be read again. Returns how many.';

CREATE FUNCTION postmeter.ask_open_anew() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    broken bigint := (select max(x.id) from postmeter.timeline_break x);
    asked  bigint;
begin
    -- noticed here and not by a trigger: whoever says that commits were lost waits for no proof
    if broken > (select b.break_id from postmeter.balance_check b) then
        asked := postmeter.prove_balance_anew();
        update postmeter.balance_check b set break_id = broken;
        return asked;
    end if;
    insert into postmeter.balance_anew (meter_id)
    select p.meter_id from postmeter.proven_meter p where p.difference <> 0 order by 1
    on conflict do nothing;
    get diagnostics asked = row_count;
    return asked;
end
$$;

COMMENT ON FUNCTION postmeter.ask_open_anew() IS 'Begins a proof: meters that did not close when they were proven last are read again whole; after commits were lost, all are. Returns how many.';

CREATE FUNCTION postmeter.awaited(deliveries bigint[]) RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- to others too the usage of a mark's org can go: what any of its buyers counts may come here
    select d.id
    from postmeter.delivery d
    join postmeter.meter m on m.id = d.meter_id
    where d.id = any (deliveries) and exists (
        select from postmeter.catalogue_mark k
        where k.destination_id = m.destination_id and k.buyer = m.buyer
          and (postmeter.mark_is_unread(k) or k.is_awaited and (k.awaits is null or exists (
                  select from postmeter.marked_usage(array(
                      select o.id from postmeter.catalogue_mark o
                      where o.org is not distinct from k.org and o.product is not distinct from k.product
                        and (k.org is not null or o.id = k.id)), null, false)))))
$$;

COMMENT ON FUNCTION postmeter.awaited(deliveries bigint[]) IS 'Of these remittances of marked buyers those that wait: usage that another one counts may come to them, or nobody has read yet to whom theirs belongs.';

CREATE FUNCTION postmeter.begin_month_drop(destination text, month date, who text, why text, dry_run boolean DEFAULT true, without date DEFAULT NULL::date) RETURNS TABLE(table_name text, rows bigint, bytes bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '100ms'
    SET jit TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.begin_month_drop(destination text, month date, who text, why text, dry_run boolean, without date) IS 'Marks a billing month as being dropped, or says what would be (without: as if that month of the ledger were dropped): from then on nothing of it is decided. Only if it may go (PM041), is exported with its remittances (PM042), and its rows are still those of the manifest (PM043). drop_month_share deletes it.';

CREATE TABLE postmeter.setting (
    only_row boolean DEFAULT true NOT NULL,
    purpose text DEFAULT 'production'::text NOT NULL,
    clock_shift interval DEFAULT '00:00:00'::interval NOT NULL,
    clock_frozen timestamp with time zone,
    usage_age_max interval DEFAULT '400 days'::interval NOT NULL,
    usage_lead_max interval DEFAULT '01:00:00'::interval NOT NULL,
    unresolved text DEFAULT 'hold'::text NOT NULL,
    tracker_retention interval DEFAULT '30 days'::interval NOT NULL,
    tracker_unfinished_after interval DEFAULT '01:00:00'::interval NOT NULL,
    tracker_success text[] DEFAULT '{success,succeeded,completed,finished,done}'::text[] NOT NULL,
    tracker_failure text[] DEFAULT '{error,failed,failure}'::text[] NOT NULL,
    ledger_retention interval,
    workers_expected integer,
    consoles_expected integer,
    CONSTRAINT clock_moves_only_outside_production CHECK (((purpose <> 'production'::text) OR ((clock_shift = '00:00:00'::interval) AND (clock_frozen IS NULL)))),
    CONSTRAINT ledger_outlives_intake CHECK ((ledger_retention >= usage_age_max)),
    CONSTRAINT setting_consoles_expected_check CHECK ((consoles_expected >= 0)),
    CONSTRAINT setting_only_row_check CHECK (only_row),
    CONSTRAINT setting_purpose_check CHECK ((purpose = ANY (ARRAY['production'::text, 'test'::text, 'demo'::text]))),
    CONSTRAINT setting_tracker_retention_check CHECK ((tracker_retention >= '1 day'::interval)),
    CONSTRAINT setting_tracker_unfinished_after_check CHECK ((tracker_unfinished_after >= '00:00:00'::interval)),
    CONSTRAINT setting_unresolved_check CHECK ((unresolved = ANY (ARRAY['hold'::text, 'refuse'::text]))),
    CONSTRAINT setting_usage_age_max_check CHECK ((usage_age_max > '00:00:00'::interval)),
    CONSTRAINT setting_usage_lead_max_check CHECK ((usage_lead_max >= '00:00:00'::interval)),
    CONSTRAINT setting_workers_expected_check CHECK ((workers_expected >= 0))
);

COMMENT ON TABLE postmeter.setting IS 'The one row of settings that every statement obeys. Changed by the migrator; test and demo may move the clock.';

COMMENT ON COLUMN postmeter.setting.only_row IS 'Always true: there is one row.';

COMMENT ON COLUMN postmeter.setting.purpose IS 'production, test or demo. Outside production the clock may move, and workers call loopback addresses only.';

COMMENT ON COLUMN postmeter.setting.clock_shift IS 'Added to the server''s time by postmeter.clock().';

COMMENT ON COLUMN postmeter.setting.clock_frozen IS 'If set, postmeter.clock() stands still here.';

COMMENT ON COLUMN postmeter.setting.usage_age_max IS 'Usage older than this is refused (PM005). Identities are kept at least as long.';

COMMENT ON COLUMN postmeter.setting.usage_lead_max IS 'Usage further ahead than this is refused (PM006).';

COMMENT ON COLUMN postmeter.setting.unresolved IS 'Usage that the catalogue does not resolve: hold it by name, or refuse it (PM007).';

COMMENT ON COLUMN postmeter.setting.tracker_retention IS 'Request statuses older than this are dropped, by the day.';

COMMENT ON COLUMN postmeter.setting.tracker_unfinished_after IS 'An open request without a new status for this long is in unfinished_request.';

COMMENT ON COLUMN postmeter.setting.tracker_success IS 'Statuses, in lower case, with which a service has finished well.';

COMMENT ON COLUMN postmeter.setting.tracker_failure IS 'Statuses, in lower case, with which a service has failed.';

COMMENT ON COLUMN postmeter.setting.ledger_retention IS 'Months of the ledger that ended longer ago than this may be dropped, once they are finished and exported. Null: everything is kept. Never shorter than usage_age_max.';

COMMENT ON COLUMN postmeter.setting.workers_expected IS 'Workers that should live at any time; fewer is an alert (fleet_incomplete). Null: as many as lived when one was lost without stopping in order, within a week.';

COMMENT ON COLUMN postmeter.setting.consoles_expected IS 'The same of consoles.';

CREATE FUNCTION postmeter.clock() RETURNS timestamp with time zone
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
    BEGIN ATOMIC
 SELECT COALESCE(setting.clock_frozen, (clock_timestamp() + setting.clock_shift)) AS "coalesce"
    FROM postmeter.setting;
END;

COMMENT ON FUNCTION postmeter.clock() IS 'The time of every decision. The server''s clock, which a test or demo database may shift or freeze. Leases do not use it.';

CREATE FUNCTION postmeter.id_at(moment timestamp with time zone) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (encode(OVERLAY('\x00000000000070008000000000000000'::bytea PLACING SUBSTRING(int8send((floor((EXTRACT(epoch FROM moment) * (1000)::numeric)))::bigint) FROM 3) FROM 1 FOR 6), 'hex'::text))::uuid AS encode;
END;

COMMENT ON FUNCTION postmeter.id_at(moment timestamp with time zone) IS 'The smallest id that new_id() can make at this moment: the bound of a partition.';

CREATE FUNCTION postmeter.moment_of(id uuid) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT to_timestamp((((((('x'::text || lpad(substr(replace((id)::text, '-'::text, ''::text), 1, 12), 16, '0'::text)))::bit(64))::bigint)::numeric / 1000.0))::double precision) AS to_timestamp;
END;

COMMENT ON FUNCTION postmeter.moment_of(id uuid) IS 'When new_id() made this id, to the millisecond.';

CREATE FUNCTION postmeter.new_id() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (encode(set_bit(set_bit(OVERLAY(uuid_send(gen_random_uuid()) PLACING SUBSTRING(int8send(((EXTRACT(epoch FROM clock_timestamp()) * (1000)::numeric))::bigint) FROM 3) FROM 1 FOR 6), (52)::bigint, 1), (53)::bigint, 1), 'hex'::text))::uuid AS encode;
END;

COMMENT ON FUNCTION postmeter.new_id() IS 'A UUIDv7 from the server''s clock: ids of usage and attempts, ordered by time to the millisecond, so that partitions by id are partitions by time.';

CREATE TABLE postmeter.attempt (
    id uuid DEFAULT postmeter.new_id() NOT NULL,
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    call_id uuid NOT NULL,
    worker_id uuid NOT NULL,
    number integer NOT NULL,
    claimed_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL
)
PARTITION BY RANGE (id);

COMMENT ON TABLE postmeter.attempt IS 'The intent to send a delivery in a call, committed before the call is made. Append-only. With outcome: the ledger.';

COMMENT ON COLUMN postmeter.attempt.id IS 'UUIDv7 made by the database.';

COMMENT ON COLUMN postmeter.attempt.delivery_id IS 'What is sent.';

COMMENT ON COLUMN postmeter.attempt.destination_id IS 'Where.';

COMMENT ON COLUMN postmeter.attempt.call_id IS 'Attempts of one call share it.';

COMMENT ON COLUMN postmeter.attempt.worker_id IS 'Who.';

COMMENT ON COLUMN postmeter.attempt.number IS 'Which attempt of this delivery, from 1.';

COMMENT ON COLUMN postmeter.attempt.claimed_at IS 'When it was claimed.';

CREATE TABLE postmeter.delivery (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    kind text DEFAULT 'usage'::text NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    meter_id bigint,
    hour timestamp with time zone,
    identity jsonb,
    product text,
    status text DEFAULT 'open'::text NOT NULL,
    reason text,
    maybe_billed boolean DEFAULT false NOT NULL,
    maybe_since timestamp with time zone,
    confirmed boolean,
    deadline timestamp with time zone NOT NULL,
    round integer DEFAULT 0 NOT NULL,
    releases integer DEFAULT 0 NOT NULL,
    quantity numeric,
    body text,
    batch_group text,
    idempotency_key uuid,
    batch_limit integer,
    tries integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    deaths integer DEFAULT 0 NOT NULL,
    attempt_id uuid,
    evidence_read bigint DEFAULT 0 NOT NULL,
    shown_quantity numeric,
    shadow boolean DEFAULT false NOT NULL,
    opened_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    cut_at timestamp with time zone,
    changed_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT delivery_batch_limit_check CHECK ((batch_limit >= 1)),
    CONSTRAINT delivery_body_check CHECK ((octet_length(body) <= 65536)),
    CONSTRAINT delivery_evidence CHECK (((NOT maybe_billed) OR (status = ANY (ARRAY['due'::text, 'in_flight'::text, 'unknown'::text, 'held'::text])))),
    CONSTRAINT delivery_frozen CHECK (((status = ANY (ARRAY['open'::text, 'nothing_due'::text, 'held'::text])) OR ((quantity IS NOT NULL) AND (body IS NOT NULL) AND (idempotency_key IS NOT NULL) AND (batch_group IS NOT NULL) AND (cut_at IS NOT NULL)))),
    CONSTRAINT delivery_held CHECK (((status = 'held'::text) = (reason IS NOT NULL))),
    CONSTRAINT delivery_in_flight CHECK (((status = 'in_flight'::text) = (attempt_id IS NOT NULL))),
    CONSTRAINT delivery_kind_check CHECK ((kind = 'usage'::text)),
    CONSTRAINT delivery_maybe CHECK ((maybe_billed = (maybe_since IS NOT NULL))),
    CONSTRAINT delivery_open CHECK (((status <> 'open'::text) OR ((quantity IS NULL) AND (body IS NULL) AND (NOT maybe_billed)))),
    CONSTRAINT delivery_quantity_check CHECK ((quantity >= (0)::numeric)),
    CONSTRAINT delivery_shadow CHECK (((NOT shadow) OR ((NOT maybe_billed) AND (confirmed IS NULL) AND (shown_quantity IS NULL) AND (status = ANY (ARRAY['open'::text, 'nothing_due'::text, 'due'::text, 'in_flight'::text, 'dry_run'::text, 'expired'::text, 'held'::text, 'released'::text, 'written_off'::text]))))),
    CONSTRAINT delivery_status_check CHECK ((status = ANY (ARRAY['open'::text, 'nothing_due'::text, 'due'::text, 'in_flight'::text, 'accepted'::text, 'rejected'::text, 'expired'::text, 'conflict'::text, 'unknown'::text, 'held'::text, 'dry_run'::text, 'written_off'::text, 'released'::text]))),
    CONSTRAINT delivery_unknown CHECK (((status <> 'unknown'::text) OR maybe_billed)),
    CONSTRAINT delivery_usage CHECK (((kind <> 'usage'::text) OR ((meter_id IS NOT NULL) AND (hour IS NOT NULL) AND (identity IS NOT NULL) AND (product IS NOT NULL))))
)
WITH (fillfactor='34', autovacuum_vacuum_scale_factor='0.05');

COMMENT ON TABLE postmeter.delivery IS 'Something owed to a destination; of kind usage it is a remittance: one per key. Touched a few times in its life; nothing claims from it.';

COMMENT ON COLUMN postmeter.delivery.id IS 'Number of the delivery.';

COMMENT ON COLUMN postmeter.delivery.destination_id IS 'Where it is owed.';

COMMENT ON COLUMN postmeter.delivery.kind IS 'usage: a remittance.';

COMMENT ON COLUMN postmeter.delivery.key IS 'What the marketplace deduplicates on, as canonical text.';

COMMENT ON COLUMN postmeter.delivery.meter_id IS 'The meter of its own hour.';

COMMENT ON COLUMN postmeter.delivery.hour IS 'The hour it reports, UTC.';

COMMENT ON COLUMN postmeter.delivery.identity IS 'The buyer''s identity as it is sent; fixed when the hour is opened.';

COMMENT ON COLUMN postmeter.delivery.product IS 'Our product.';

COMMENT ON COLUMN postmeter.delivery.status IS 'Where it stands; docs/states.md is the chart.';

COMMENT ON COLUMN postmeter.delivery.reason IS 'Why it is held: a stable code.';

COMMENT ON COLUMN postmeter.delivery.maybe_billed IS 'An attempt may have arrived and nothing has resolved it: only evidence or a person moves it.';

COMMENT ON COLUMN postmeter.delivery.maybe_since IS 'When the earliest such attempt was made.';

COMMENT ON COLUMN postmeter.delivery.confirmed IS 'Accepted: whether they confirmed the quantity (a bare duplicate does not).';

COMMENT ON COLUMN postmeter.delivery.deadline IS 'Last moment at which it may be sent, margin taken off.';

COMMENT ON COLUMN postmeter.delivery.round IS 'How often its hour was cut; allocations of an older round are counted already.';

COMMENT ON COLUMN postmeter.delivery.releases IS 'How often a decision released this key; part of the idempotency key.';

COMMENT ON COLUMN postmeter.delivery.quantity IS 'Billing units to send; frozen by the cut.';

COMMENT ON COLUMN postmeter.delivery.body IS 'The record to send, to the letter; frozen by the cut.';

COMMENT ON COLUMN postmeter.delivery.batch_group IS 'Only deliveries of one group share a call.';

COMMENT ON COLUMN postmeter.delivery.idempotency_key IS 'UUIDv5 of destination, key and releases.';

COMMENT ON COLUMN postmeter.delivery.batch_limit IS 'At most so many in its next call, while a refused batch is being halved.';

COMMENT ON COLUMN postmeter.delivery.tries IS 'Attempts that count against the retry policy.';

COMMENT ON COLUMN postmeter.delivery.attempts IS 'All attempts.';

COMMENT ON COLUMN postmeter.delivery.deaths IS 'Workers that died while it was in their hands, since the last answer. From the first on it is claimed alone.';

COMMENT ON COLUMN postmeter.delivery.attempt_id IS 'The open attempt.';

COMMENT ON COLUMN postmeter.delivery.evidence_read IS 'Last late evidence that was considered.';

COMMENT ON COLUMN postmeter.delivery.shown_quantity IS 'What the marketplace showed that it holds, if it did.';

COMMENT ON COLUMN postmeter.delivery.shadow IS 'Its destination is a shadow: it is never sent, and nothing can say that it was.';

COMMENT ON COLUMN postmeter.delivery.opened_at IS 'When its hour was opened (again).';

COMMENT ON COLUMN postmeter.delivery.cut_at IS 'When its hour was cut last.';

COMMENT ON COLUMN postmeter.delivery.changed_at IS 'When its status last changed.';

CREATE FUNCTION postmeter.beside(delivery bigint) RETURNS TABLE(delivery_id bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT b.delivery_id
    FROM (postmeter.attempt a
      JOIN postmeter.attempt b ON (((b.worker_id = a.worker_id) AND (b.call_id = a.call_id) AND ((b.id >= postmeter.id_at((postmeter.moment_of(a.id) - '00:00:01'::interval))) AND (b.id <= postmeter.id_at((postmeter.moment_of(a.id) + '00:00:01'::interval)))))))
   WHERE (a.delivery_id = beside.delivery)
 UNION
  SELECT g.id
    FROM (postmeter.delivery d
      JOIN postmeter.delivery g ON (((g.meter_id = d.meter_id) AND ((g.hour >= (d.hour - '7 days'::interval)) AND (g.hour <= (d.hour + '7 days'::interval))))))
   WHERE (d.id = beside.delivery);
END;

COMMENT ON FUNCTION postmeter.beside(delivery bigint) IS 'The remittances that went out in a call with this one, or bill the same buyer and dimension within a week of its hour; itself too.';

CREATE FUNCTION postmeter.broken_at() RETURNS timestamp with time zone
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select max(b.noticed_at) from postmeter.timeline_break b $$;

COMMENT ON FUNCTION postmeter.broken_at() IS 'When it was noticed last that commits were lost; null: never.';

CREATE TABLE postmeter.subscription (
    id bigint NOT NULL,
    org text NOT NULL,
    product text NOT NULL COLLATE pg_catalog."C",
    account text,
    destination_id integer NOT NULL,
    identity jsonb NOT NULL,
    buyer text COLLATE pg_catalog."C",
    buyer_account text,
    identity_form text,
    invalid text,
    valid_from timestamp with time zone NOT NULL,
    valid_until timestamp with time zone,
    contract text COLLATE pg_catalog."C",
    CONSTRAINT subscription_account_check CHECK ((account <> ''::text)),
    CONSTRAINT subscription_canonical CHECK ((((buyer IS NULL) = (identity_form IS NULL)) AND ((buyer IS NULL) OR (invalid IS NULL)))),
    CONSTRAINT subscription_identity_check CHECK ((jsonb_typeof(identity) = 'object'::text)),
    CONSTRAINT subscription_org_check CHECK ((org <> ''::text)),
    CONSTRAINT subscription_product_check CHECK ((product <> ''::text)),
    CONSTRAINT subscription_valid_range CHECK ((valid_until > valid_from))
);

COMMENT ON TABLE postmeter.subscription IS 'Who buys what where: an org''s product at a marketplace account, for a time. It may begin and end at any second; usage belongs to the one that is valid when it is used, its remittance to the whole hour.';

COMMENT ON COLUMN postmeter.subscription.id IS 'Number of the subscription.';

COMMENT ON COLUMN postmeter.subscription.org IS 'The customer, by your stable tag.';

COMMENT ON COLUMN postmeter.subscription.product IS 'The product, by your stable tag.';

COMMENT ON COLUMN postmeter.subscription.account IS 'Which marketplace account, where the org has several: what usage.account names.';

COMMENT ON COLUMN postmeter.subscription.destination_id IS 'Where its usage is reported.';

COMMENT ON COLUMN postmeter.subscription.identity IS 'The buyer as the marketplace knows it (AWS: license_arn or product_code, with customer_aws_account_id or customer_identifier).';

COMMENT ON COLUMN postmeter.subscription.buyer IS 'That identity as canonical text, written by the marketplace''s code: null until a worker or `catalog apply` has read it.';

COMMENT ON COLUMN postmeter.subscription.buyer_account IS 'The buyer''s account at the marketplace.';

COMMENT ON COLUMN postmeter.subscription.identity_form IS 'Which form of identity it is.';

COMMENT ON COLUMN postmeter.subscription.invalid IS 'Why the marketplace''s code refuses this identity; its usage is held until it is mended.';

COMMENT ON COLUMN postmeter.subscription.valid_from IS 'Its begin.';

COMMENT ON COLUMN postmeter.subscription.valid_until IS 'End (exclusive), at any second; null: open.';

COMMENT ON COLUMN postmeter.subscription.contract IS 'The contract on which its usage counts, by the name that the catalogue gives it (1 to 63 of A-Z, a-z, 0-9 and ._-); null: that of its buyer. It is one with the subscriptions of its product and destination that have the same name. A change counts from the next month on, where this one is metered.';

CREATE FUNCTION postmeter.buyers_now(subscription_id bigint) RETURNS TABLE(buyer text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT n.buyer
    FROM ((postmeter.subscription s
      JOIN postmeter.subscription n ON (((n.org = s.org) AND (n.product = s.product) AND (n.destination_id = s.destination_id) AND (NOT (n.account IS DISTINCT FROM s.account)))))
      CROSS JOIN ( SELECT postmeter.clock() AS now) c)
   WHERE ((s.id = buyers_now.subscription_id) AND (n.buyer IS NOT NULL) AND (n.valid_from <= c.now) AND ((n.valid_until IS NULL) OR (c.now < n.valid_until)));
END;

COMMENT ON FUNCTION postmeter.buyers_now(subscription_id bigint) IS 'The buyer of a subscription, or of the one that has followed it, if it is valid now.';

CREATE FUNCTION postmeter.carry_ledger(month date) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
    ids record;
begin
    select * into ids from postmeter.ledger_span(month);
    insert into postmeter.ledger_carry (month, place, org, product, metric, meter_metric_id, destination_id, delivery_id, subscription_id, hour, usages, quantity)
    select carry_ledger.month, 'recorded', u.org, u.product, u.metric, null::bigint, null::integer, null::bigint, null::bigint, null::timestamptz, count(*), sum(u.quantity)
    from postmeter.usage u where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'exempt', u.org, u.product, u.metric, null, null, null, null, null, count(*), sum(u.quantity)
    from postmeter.usage u join postmeter.exempted x on x.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'written_off', u.org, u.product, u.metric, null, null, null, null, null, count(*), sum(u.quantity)
    from postmeter.usage u join postmeter.usage_written_off x on x.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id group by 3, 4, 5
    union all
    select carry_ledger.month, 'allocated', s.org, mm.product, mm.metric, mm.id, a.destination_id, a.delivery_id, s.id, a.hour, count(*), sum(a.quantity)
    from postmeter.allocation a
    join postmeter.subscription s on s.id = a.subscription_id
    join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id group by s.id, mm.id, a.destination_id, a.delivery_id, a.hour;
end
$$;

COMMENT ON FUNCTION postmeter.carry_ledger(month date) IS 'Writes down what a month of the ledger came to, before it is dropped.';

CREATE FUNCTION postmeter.catalogue_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- slots and canonical forms are written by workers and are no decisions of people
    if tg_op = 'UPDATE' and (to_jsonb(old) - '{next_slot_at,buyer,buyer_account,identity_form,invalid,version}'::text[])
                          = (to_jsonb(new) - '{next_slot_at,buyer,buyer_account,identity_form,invalid,version}'::text[]) then
        return null;
    end if;
    insert into postmeter.catalogue_change (changed_by, entry, old_row, new_row)
    values (session_user, tg_table_name,
            case when tg_op <> 'INSERT' then to_jsonb(old) - 'version' end,
            case when tg_op <> 'DELETE' then to_jsonb(new) - 'version' end);
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.catalogue_changed() IS 'Trigger of the catalogue''s tables: keeps every change in catalogue_change.';

CREATE FUNCTION postmeter.catalogue_gate() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform postmeter.take_gate('catalogue');
end
$$;

COMMENT ON FUNCTION postmeter.catalogue_gate() IS 'One edit of the catalogue at a time, until the transaction ends.';

CREATE FUNCTION postmeter.catalogue_moves(since bigint) RETURNS TABLE(becomes text, destination text, buyer text, dimension text, hour timestamp with time zone, org text, product text, metric text, to_destination text, to_buyer text, to_dimension text, usages bigint, quantity numeric)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with marks as materialized (
        select coalesce(array_agg(c.id), '{}') as ids from postmeter.catalogue_mark c where c.id > since
    ), moved as materialized (
        select case when u.exemption_id is not null then 'exempt' when u.reason is not null then 'held: ' || u.reason else 'moved' end as becomes,
               u.destination_id, m.buyer, m.dimension, d.hour, u.org, u.product, u.metric,
               case when u.exemption_id is null and u.reason is null then u.to_destination_id end as to_destination_id,
               case when u.exemption_id is null and u.reason is null then u.to_buyer end as to_buyer,
               case when u.exemption_id is null and u.reason is null then u.to_dimension end as to_dimension, u.quantity
        from marks k
        cross join lateral postmeter.marked_usage(k.ids, null, true) u
        join postmeter.delivery d on d.id = u.delivery_id
        join postmeter.meter m on m.id = d.meter_id
        union all
        select 'billed', null, null, null, x.hour, x.org, x.product, x.metric, x.to_destination_id, x.to_buyer, x.to_dimension, x.quantity
        from marks k
        cross join lateral postmeter.marked_exempt(k.ids) x
        union all
        -- held usage that this edit has sent back to the outbox
        select 'resolved anew', null, null, null, postmeter.hour_of(o.used_at), o.org, o.product, o.metric, null, null, null, o.quantity
        from postmeter.outbox o
        where o.returned and o.xmin = pg_current_xact_id()::xid
        union all
        -- what the next cut counts by another cover
        select 'covered anew', a.destination_id, m.buyer, m.dimension, d.hour, s.org, s.product, mm.metric, null, null, null, a.quantity
        from (select distinct (coalesce(c.new_row, c.old_row) ->> 'subscription_id')::bigint as subscription_id,
                     coalesce(c.new_row, c.old_row) ->> 'metric' as metric
              from postmeter.catalogue_change c
              where c.entry = 'cover' and c.xmin = pg_current_xact_id()::xid) c
        join postmeter.subscription s on s.id = c.subscription_id
        join postmeter.destination t on t.id = s.destination_id
        join postmeter.allocation a on a.subscription_id = s.id and a.hour > postmeter.clock() - t.age_limit - interval '1 day'
        join postmeter.delivery d on d.id = a.delivery_id and d.status = 'open' and d.round = a.round
        join postmeter.meter m on m.id = d.meter_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id and mm.metric = c.metric
    )
    select m.becomes, f.name, m.buyer, m.dimension, m.hour, m.org, m.product, m.metric, t.name, m.to_buyer, m.to_dimension,
           count(*), trim_scale(sum(m.quantity))
    from moved m
    left join postmeter.destination f on f.id = m.destination_id
    left join postmeter.destination t on t.id = m.to_destination_id
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
$$;

COMMENT ON FUNCTION postmeter.catalogue_moves(since bigint) IS 'Within the transaction of an edit of the catalogue: what it changes of usage whose hour is open, by hour, org and metric. Since: the last mark before the edit.';

CREATE FUNCTION postmeter.chain_step(head bytea, line text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
 SELECT sha256((head || convert_to(line, 'UTF8'::name))) AS sha256;
END;

COMMENT ON FUNCTION postmeter.chain_step(head bytea, line text) IS 'The next link of a hash chain: SHA-256 of the one before and the line.';

CREATE FUNCTION postmeter.check_corrections(corrected uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    identities uuid[];
    bad        record;
begin
    -- corrected: the usages that correct; those that only repeat an earlier one are not in postmeter.usage
    identities := array(select distinct u.corrected_identity from postmeter.usage u where u.id = any (corrected));
    -- lock first, in sorted order; sum in a later statement, which sees what others committed while we waited
    perform 1 from postmeter.usage_identity i where i.identity = any (identities) order by i.identity for no key update;
    -- a write, not only a lock: under REPEATABLE READ the next correction then fails with 40001 instead of adding up
    -- without the sums that its snapshot hides
    update postmeter.usage_identity i set content = i.content where i.identity = any (identities);
    -- scalar and lateral sub-selects with a fence: look-ups by key, which no plan of another day turns into a scan
    select p.* into bad
    from (
        select c.id, c.source, c.event_id, c.corrects, case
            -- itself, or earlier corrections of it, would be missing in the sum
            when c.first_id is not null and exists (
                select from postmeter.ledger_drop d
                where d.month >= date_trunc('month', postmeter.moment_of(c.first_id) at time zone 'UTC')::date)
                then 'dropped'
            when o.id is null then 'unknown'
            when o.corrects is not null then 'correction'
            when (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account)
                then 'meter'
            when date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC') then 'month'
            end as problem
        from (select u.id, u.source, u.event_id, u.corrects, u.org, u.product, u.metric, u.account, u.used_at,
                     (select i.usage_id from postmeter.usage_identity i
                      where i.identity = u.corrected_identity) as first_id
              from postmeter.usage u where u.id = any (corrected) offset 0) c
        left join lateral (select u.* from postmeter.usage u where u.id = c.first_id offset 0) o on true
    ) p
    where p.problem is not null
    order by p.id desc
    limit 1;
    if not found then
        select c.id, c.source, c.event_id, c.corrects, 'below_zero' as problem into bad
        from (select i.identity,
                     (select o.quantity from postmeter.usage o where o.id = (
                          select f.usage_id from postmeter.usage_identity f where f.identity = i.identity))
                     + (select sum(x.quantity) from postmeter.usage x where x.corrected_identity = i.identity) as rest
              from unnest(identities) i(identity) offset 0) s
        join lateral (select u.* from postmeter.usage u
                      where u.id = any (corrected) and u.corrected_identity = s.identity
                      order by u.id desc limit 1) c on true
        where s.rest < 0
        limit 1;
    end if;
    if found then
        raise exception 'usage %: corrects % %', quote_literal(bad.event_id), quote_literal(bad.corrects),
            case bad.problem
            when 'dropped' then 'names usage whose month of the ledger, or a later one, was dropped'
            when 'unknown' then format('names no usage of source %L', bad.source)
            when 'correction' then 'names a correction; correct the usage itself'
            when 'meter' then 'has another org, product, metric or account'
            when 'month' then 'is usage of another month; use its used_at'
            else 'would bring that usage below zero' end
            using errcode = case bad.problem when 'unknown' then 'PM003' when 'below_zero' then 'PM004'
                            else 'PM001' end,
                  schema = 'postmeter', table = 'outbox', column = 'corrects',
                  constraint = 'corrects_' || bad.problem;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_corrections(corrected uuid[]) IS 'Given the ids of usages that correct: refuses corrections of the unknown (PM003), below zero (PM004), of another meter or month, or of what may have been dropped (PM001). Locks the corrected identities in sorted order.';

CREATE FUNCTION postmeter.check_decider(who text, why text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if coalesce(who, '') = '' or coalesce(why, '') = '' then
        raise exception 'a decision needs who and why'
            using errcode = 'PM032', column = case when coalesce(who, '') = '' then 'who' else 'why' end, constraint = 'decision_signed';
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_decider(who text, why text) IS 'Refuses a decision without a name or a reason (PM032).';

CREATE FUNCTION postmeter.check_destination(destination text) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from postmeter.destination t where t.name = check_destination.destination) then
        raise exception 'there is no destination %', coalesce(quote_literal(destination), 'without a name')
            using errcode = 'PM033', column = 'destination', constraint = 'destination_exists',
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(destination, array(select t.name from postmeter.destination t))) || '?',
                                  'postmeter catalog show lists them.');
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_destination(destination text) IS 'Refuses a destination that does not exist (PM033).';

CREATE FUNCTION postmeter.check_dimension() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    other postmeter.dimension;
begin
    select d.* into other from postmeter.dimension d
    where d.id <> new.id and d.destination_id = new.destination_id and d.product = new.product and d.name = new.name
      and d.valid_from = new.valid_from
      and (d.rounding, d.decimals, d.month_end) is distinct from (new.rounding, new.decimals, new.month_end)
    limit 1;
    if found then
        raise exception 'metrics % and % share dimension % but not its rounding, decimals and month_end',
            other.metric, new.metric, new.name
            using errcode = 'PM013', schema = 'postmeter', table = 'dimension', column = 'rounding',
                  constraint = 'dimension_shared_rounding',
                  hint = 'A dimension is rounded once: give all its metrics the same rounding, decimals and month_end.';
    end if;
    return new;
end
$$;

COMMENT ON FUNCTION postmeter.check_dimension() IS 'Trigger: metrics that share a dimension must share its rounding (PM013).';

CREATE FUNCTION postmeter.check_filter(filter jsonb, fields text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;

COMMENT ON FUNCTION postmeter.check_filter(filter jsonb, fields text[]) IS 'Refuses a filter of a correction that cannot be meant: an unknown field (PM030), nothing named (PM031), an empty value, one of the wrong kind or a span without an hour (PM037).';

CREATE FUNCTION postmeter.check_filter_known(filter jsonb, held_usage boolean) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.check_filter_known(filter jsonb, held_usage boolean) IS 'Says why a filter of a correction fits nothing: the first of its values that does not exist (PM038), or that they do not occur together now (PM039).';

CREATE FUNCTION postmeter.check_form_begins(entered postmeter.subscription, begins timestamp with time zone) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    hour text := to_char(begins at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"');
begin
    if begins is not null then
        raise exception 'product % of org % was sent under another identity form until %, and would be billed twice in those hours',
            entered.product, entered.org, hour
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'valid_from',
                  constraint = 'subscription_form_begins',
                  hint = format('Let the old form end (valid_until), and an entry with the new one begin (valid_from), at %s or later.', hour);
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_form_begins(entered postmeter.subscription, begins timestamp with time zone) IS 'Refuses a subscription whose form of identity would begin before the hours that were sent under another one are over (PM012), and says when it can.';

CREATE FUNCTION postmeter.check_ledger_finished(month date) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    why_not text;
begin
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    why_not := postmeter.ledger_why_not(month);
    if why_not is not null then
        raise exception '% is not finished: %', to_char(month, 'YYYY-MM'), why_not
            using errcode = 'PM041', column = 'month', constraint = 'ledger_finished', hint = 'postmeter.ledger_partition says it of every month.';
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_ledger_finished(month date) IS 'Refuses a month of the ledger in which something is not finished (PM041).';

CREATE FUNCTION postmeter.check_ledger_kept(destination text, month date) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.check_ledger_kept(destination text, month date) IS 'Refuses to recalculate a month whose usage was dropped (PM045).';

CREATE FUNCTION postmeter.check_ledger_rows(month date, manifest text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.check_ledger_rows(month date, manifest text) IS 'Refuses a manifest that is not of the rows in the database (PM043): it reads them all.';

CREATE FUNCTION postmeter.check_month_kept(destination_id integer, month date) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.check_month_kept(destination_id integer, month date) IS 'Refuses a billing month whose remittances were dropped (PM046).';

CREATE FUNCTION postmeter.check_month_rows(destination text, month date, manifest text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.check_month_rows(destination text, month date, manifest text) IS 'Refuses a manifest that is not of a billing month''s rows in the database (PM043).';

CREATE FUNCTION postmeter.check_not_dropped(deliveries bigint[]) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.check_not_dropped(deliveries bigint[]) IS 'Refuses to decide about remittances that were dropped with their billing month (PM046).';

CREATE FUNCTION postmeter.check_proof_state() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if current_setting('transaction_isolation') = 'read committed' then
        raise exception 'a proof needs one moment for all it reads' using errcode = '25000', hint = 'begin isolation level repeatable read; lock table postmeter.balance_gate';
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_proof_state() IS 'Refuses to prove where each statement sees another moment.';

CREATE FUNCTION postmeter.check_resolved(usage_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    bad record;
begin
    select u.event_id, r.reason, r.item into bad
    from (select array_agg(u.org order by u.id) o, array_agg(u.product order by u.id) p, array_agg(u.metric order by u.id) m,
                 array_agg(u.account order by u.id) a, array_agg(u.used_at order by u.id) h,
                 array_agg(u.event_id order by u.id) e
          from postmeter.usage u where u.id = any (usage_ids)) g,
         postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r, lateral (select g.e[r.item] as event_id) u
    where r.reason <> 'month_closed' limit 1;  -- late is nobody's mistake: it is recorded, and held
    if found then
        raise exception 'usage %: %', quote_literal(bad.event_id), replace(bad.reason, '_', ' ')
            using errcode = 'PM007', schema = 'postmeter', table = 'outbox',
                  column = case bad.reason when 'unmapped_dimension' then 'metric' else 'org' end, constraint = bad.reason,
                  hint = 'Setting unresolved is refuse: the catalogue must know the usage before it is recorded.';
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_resolved(usage_ids uuid[]) IS 'With setting unresolved = refuse: refuses usage that the catalogue does not resolve (PM007).';

CREATE FUNCTION postmeter.check_shadow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'UPDATE' and new.shadow_of is distinct from old.shadow_of then
        raise exception 'destination % cannot become a shadow, cease to be one, or become that of another', old.name
            using errcode = 'PM014', schema = 'postmeter', table = 'destination', column = 'shadow_of', constraint = 'destination_shadow_for_good',
                  hint = 'Make a new destination: what a shadow counted was never sent, and must not look as if it had been.';
    end if;
    perform 1 from postmeter.destination t where t.id = new.shadow_of and (t.shadow_of is not null or t.id = new.id);
    if found then
        raise exception 'destination % would be the shadow of a shadow', new.name
            using errcode = 'PM014', schema = 'postmeter', table = 'destination', column = 'shadow_of', constraint = 'destination_shadow_of_live';
    end if;
    return new;
end
$$;

COMMENT ON FUNCTION postmeter.check_shadow() IS 'Trigger: a shadow belongs to a live destination, and stays one for good (PM014).';

CREATE FUNCTION postmeter.check_shadow_outcome() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    bad text;
begin
    select o.outcome into bad from postmeter.outcome o
    where o.attempt_id = old.attempt_id and o.outcome not in ('dry_run', 'too_old', 'handed_back');
    if found then
        raise exception 'remittance % belongs to a shadow, and an outcome % would say that it was sent', new.id, bad
            using errcode = 'PM015', schema = 'postmeter', table = 'outcome', column = 'outcome', constraint = 'shadow_never_calls';
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.check_shadow_outcome() IS 'Trigger of delivery: an attempt of a shadow ends as dry_run, too_old or handed_back; whatever tells of a call is refused (PM015).';

CREATE FUNCTION postmeter.check_subscription() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    other  postmeter.subscription;
    begins timestamptz;
begin
    -- one writer at a time per org, product and destination: two overlapping rows must not pass each other unseen
    perform postmeter.take_gate('subscription ' || new.destination_id);
    if tg_op = 'UPDATE' and (new.identity, new.destination_id) is distinct from (old.identity, old.destination_id) then
        begins := postmeter.form_begins(old.destination_id, old.product, array[old.buyer], new.identity, new.valid_from, new.valid_until);
        new.buyer := null; new.buyer_account := null; new.identity_form := null; new.invalid := null;
    end if;
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.org = new.org and s.product = new.product and s.destination_id = new.destination_id
      and s.account is not distinct from new.account
      and s.valid_from < coalesce(new.valid_until, 'infinity') and new.valid_from < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception 'org % already has a subscription of product % at this destination from % until %',
            new.org, new.product, other.valid_from, coalesce(other.valid_until::text, 'further notice')
            using errcode = 'PM011', schema = 'postmeter', table = 'subscription', column = 'valid_from',
                  constraint = 'subscription_overlap',
                  hint = 'End the earlier one first (valid_until), or tell them apart by account.';
    end if;
    if new.buyer is null then
        perform postmeter.check_form_begins(new, begins);
        return new;
    end if;
    -- whole hours are sent: two forms in one hour bill it twice, though one ends in it before the other begins
    select s.* into other from postmeter.subscription s
    where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id
      and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form
      and postmeter.hour_of(s.valid_from) < coalesce(new.valid_until, 'infinity')
      and postmeter.hour_of(new.valid_from) < coalesce(s.valid_until, 'infinity')
    limit 1;
    if found then
        raise exception 'buyer % of product % would be known by two identity forms (% and %) in one hour and be billed twice',
            new.buyer_account, new.product, other.identity_form, new.identity_form
            using errcode = 'PM012', schema = 'postmeter', table = 'subscription', column = 'identity',
                  constraint = 'subscription_one_identity_form',
                  hint = 'End the old form at the full hour at which the new one begins.';
    end if;
    -- hours that were sent already: late usage of them must not be sent in the other form
    if tg_op = 'INSERT' or (new.buyer, new.valid_from) is distinct from (old.buyer, old.valid_from) then
        begins := postmeter.form_begins(new.destination_id, new.product, array(
            select distinct s.buyer from postmeter.subscription s
            where s.id <> new.id and s.product = new.product and s.destination_id = new.destination_id and s.buyer is not null
              and (s.buyer_account = new.buyer_account or s.org = new.org) and s.identity_form <> new.identity_form),
            new.identity, new.valid_from, new.valid_until);
    end if;
    perform postmeter.check_form_begins(new, begins);
    return new;
end
$$;

COMMENT ON FUNCTION postmeter.check_subscription() IS 'Trigger: refuses overlapping subscriptions (PM011) and a second identity form for the same buyer, product and hour (PM012).';

CREATE FUNCTION postmeter.check_word(filter jsonb, field text, words text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if filter ->> field <> all (words) then
        raise exception 'a correction finds nothing by % %', field, quote_literal(filter ->> field)
            using errcode = 'PM038', column = field, constraint = 'filter_known',
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(filter ->> field, words)) || '? ', '')
                         || 'There are: ' || array_to_string(words, ', ') || '.';
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.check_word(filter jsonb, field text, words text[]) IS 'Refuses a status or reason of a filter that no correction can find (PM038).';

CREATE FUNCTION postmeter.clear_disabled_alerts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update postmeter.alert a set cleared_at = postmeter.clock() where a.name = new.name and a.cleared_at is null;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.clear_disabled_alerts() IS 'Clears what is open of a rule that is switched off: nobody would look whether it is still so.';

CREATE FUNCTION postmeter.close_month(destination text, month date, who text, why text, dry_run boolean DEFAULT true, forced boolean DEFAULT false) RETURNS TABLE(class text, reason text, meter_id bigint, buyer text, org text, product text, metric text, dimension text, items bigint, quantity numeric, unit text, amount numeric, currency text, to_do text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
    if not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = close_month.month) then
        if until >= postmeter.clock() and not coalesce(forced, false) then
            raise exception 'hours of % can still be sent to % until %', to_char(close_month.month, 'YYYY-MM'), close_month.destination, until
                using errcode = 'PM035', schema = 'postmeter', table = 'closed_month', column = 'month', constraint = 'month_still_sendable',
                      hint = 'Close it after that, or say forced => true: what is not folded by then is held.';
        end if;
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'close', t.id, 'open', 'closed', jsonb_build_object('month', close_month.month, 'forced', coalesce(forced, false)))
        returning id into made;
        insert into postmeter.closed_month (destination_id, month, decision_id) values (t.id, close_month.month, made);
    end if;
    return query select r.* from postmeter.close_report(close_month.destination, close_month.month) r;
end
$$;

COMMENT ON FUNCTION postmeter.close_month(destination text, month date, who text, why text, dry_run boolean, forced boolean) IS 'Closes a month at a destination and returns its open items. From then on its usage is held (month_closed) and nothing is carried into its hours; what was cut or allocated before goes on. Refused while hours of it can still be sent (PM035), unless forced. Closing twice changes nothing. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.close_report(destination text, month date) RETURNS TABLE(class text, reason text, meter_id bigint, buyer text, org text, product text, metric text, dimension text, items bigint, quantity numeric, unit text, amount numeric, currency text, to_do text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select v.class, v.reason, v.meter_id, v.buyer, v.org, v.product, v.metric, v.dimension, v.items, v.quantity, v.unit, v.amount, v.currency,
           case
               when v.class in ('held_usage', 'released') and v.destination is not null
                and exists (select from postmeter.destination t where t.name = v.destination
                    and postmeter.month_is_dropped(t.id, v.month))
                    then case v.class when 'held_usage' then 'write it off: the month was dropped'
                                      else 'nothing: the month was dropped, and no hour takes it any more' end
               when v.class = 'held_usage' and v.reason = 'month_closed' then 'write it off, or reopen the month'
               when v.class = 'held_usage' and v.destination is null then 'mend the catalogue or write it off; no destination is known, so every destination lists it'
               when v.class = 'held_usage' and v.reason = 'too_late' then 'write it off'
               when v.class = 'held_usage' and v.reason = 'lost_time' then 'see whether they hold it with another hour: write it off if so, else retry it before closing'
               when v.class = 'held' and v.reason = 'lost_time' then 'see whether they hold it with another hour, then resolve it as billed or not billed'
               when v.class = 'held_usage' then 'mend its cause before closing, or write it off'
               when v.class = 'waiting' then 'let workers fold it before closing; no destination is known yet, so every destination lists it'
               when v.class = 'open' then 'wait for the cut: it is sent, or expires'
               when v.class in ('due', 'in_flight') then 'wait until it is settled'
               when v.class = 'unknown' then 'look at the marketplace, then resolve it'
               when v.class = 'conflict' then 'resolve it, and it counts as they hold it; write it off only if they hold nothing of it any more'
               when v.class = 'held' then 'retry it while it can be sent, else release it before closing, or write it off; resolve it first if it may have been billed'
               when v.class in ('rejected', 'expired') then 'release it before closing where an hour can take it, else write it off'
               when v.class = 'released' then 'no hour has taken it: reopen the month while one can, or accept the loss'
               when v.class = 'remainder' then 'nothing: less than what can be billed, by the dimension''s rounding'
               when v.class = 'over_billed' then 'credit the customer by hand; nothing negative is ever sent'
           end
    from postmeter.month_close v
    where (v.destination = close_report.destination or v.destination is null) and v.month = close_report.month
      and v.class not in ('accepted', 'written_off', 'dry_run')
    order by array_position(array['waiting', 'held_usage', 'open', 'due', 'in_flight', 'unknown', 'conflict', 'held', 'rejected', 'expired',
                                  'released', 'over_billed', 'remainder'], v.class),
             v.reason, v.org, v.buyer, v.product, v.metric, v.dimension
$$;

COMMENT ON FUNCTION postmeter.close_report(destination text, month date) IS 'Open items of a month at a destination, closed or not: where they are, whose, how much, and what to do. Quantities in billing units or units of the metric, as unit says.';

CREATE FUNCTION postmeter.confirm_day(destination text, day date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    agreed integer;
begin
    update postmeter.delivery d
    set confirmed = true, changed_at = postmeter.clock()
    from postmeter.unconfirmed u
    where d.id = u.delivery_id and d.status = 'accepted' and d.confirmed is false
      and d.hour >= confirm_day.day::timestamp at time zone 'UTC' and d.hour < (confirm_day.day + 1)::timestamp at time zone 'UTC'
      and exists (select from postmeter.meter m
                  join postmeter.destination t on t.id = m.destination_id and t.name = confirm_day.destination
                  join postmeter.reconciled r on r.destination = t.name and r.day = confirm_day.day and r.buyer = m.buyer
                   and r.dimension = m.dimension and r.verdict = 'equal'
                  where m.id = d.meter_id);
    get diagnostics agreed = row_count;
    return agreed;
end
$$;

COMMENT ON FUNCTION postmeter.confirm_day(destination text, day date) IS 'The latest answer about a day agrees with us: its unconfirmed remittances are confirmed. A part of note_day_contradictions. Returns how many.';

CREATE FUNCTION postmeter.console_seen(id uuid, name text, version text, stops boolean) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    insert into postmeter.console (id, name, version, stopped_at)
    values (console_seen.id, left(console_seen.name, 255), left(console_seen.version, 255), case when stops then clock_timestamp() end)
    on conflict on constraint console_pkey do update
    set seen_at = clock_timestamp(), stopped_at = case when stops then clock_timestamp() end
$$;

COMMENT ON FUNCTION postmeter.console_seen(id uuid, name text, version text, stops boolean) IS 'A console says that it lives, or that it stops.';

CREATE FUNCTION postmeter.contract_name(product text, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT ((('contract:'::text || product) || '/'::text) || name);
END;

COMMENT ON FUNCTION postmeter.contract_name(product text, name text) IS 'A named contract as meter.buyer has it: no marketplace''s buyer begins so. Null without a name.';

CREATE TABLE postmeter.contract_member (
    subscription_id bigint NOT NULL,
    month date NOT NULL,
    contract text NOT NULL COLLATE pg_catalog."C",
    decided_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT contract_member_contract_check CHECK ((contract <> ''::text)),
    CONSTRAINT contract_member_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric))
);

COMMENT ON TABLE postmeter.contract_member IS 'To which contract a subscription belongs in a month; without a row it is the one that it names (subscription.contract), else that of its buyer. Written once, by the catalogue''s trigger, when a subscription begins within a month, or its identity or its contract''s name changes in place: what was counted stays where it is.';

COMMENT ON COLUMN postmeter.contract_member.subscription_id IS 'The subscription.';

COMMENT ON COLUMN postmeter.contract_member.month IS 'First day of the billing month, in the destination''s zone.';

COMMENT ON COLUMN postmeter.contract_member.contract IS 'The contract: by the buyer under which its month began, or by its name (contract:PRODUCT/NAME); with a number (contract:PRODUCT/#NUMBER) where that buyer''s contract belongs to somebody who was entered under it by mistake.';

COMMENT ON COLUMN postmeter.contract_member.decided_at IS 'When.';

CREATE FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) RETURNS TABLE(subscription_id bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT s.id
    FROM postmeter.subscription s
   WHERE ((s.destination_id = contract_subscriptions.destination_id) AND (s.buyer = contract_subscriptions.contract) AND (s.contract IS NULL) AND (NOT (EXISTS ( SELECT
            FROM postmeter.contract_member k
           WHERE ((k.subscription_id = s.id) AND (k.month = contract_subscriptions.month) AND (k.contract <> contract_subscriptions.contract))))))
 UNION ALL
  SELECT s.id
    FROM postmeter.subscription s
   WHERE ((s.destination_id = contract_subscriptions.destination_id) AND (s.contract = "substring"(contract_subscriptions.contract, '^contract:.*/([^/]*)$'::text)) AND (postmeter.contract_name(s.product, s.contract) = contract_subscriptions.contract) AND (NOT (EXISTS ( SELECT
            FROM postmeter.contract_member k
           WHERE ((k.subscription_id = s.id) AND (k.month = contract_subscriptions.month) AND (k.contract <> contract_subscriptions.contract))))))
 UNION ALL
  SELECT s.id
    FROM (postmeter.contract_member k
      JOIN postmeter.subscription s ON ((s.id = k.subscription_id)))
   WHERE ((k.contract = contract_subscriptions.contract) AND (k.month = contract_subscriptions.month) AND (s.destination_id = contract_subscriptions.destination_id) AND (COALESCE(postmeter.contract_name(s.product, s.contract), s.buyer) IS DISTINCT FROM contract_subscriptions.contract));
END;

COMMENT ON FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) IS 'The subscriptions that belong to a contract in a month, whenever they are valid.';

CREATE TABLE postmeter.meter (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    buyer text NOT NULL COLLATE pg_catalog."C",
    dimension text NOT NULL COLLATE pg_catalog."C",
    month date NOT NULL,
    rounding text NOT NULL,
    decimals integer NOT NULL,
    month_end text NOT NULL,
    billed numeric DEFAULT 0 NOT NULL,
    carried numeric DEFAULT 0 NOT NULL,
    billable numeric DEFAULT 0 NOT NULL,
    denominator numeric DEFAULT 1 NOT NULL,
    cuts integer DEFAULT 0 NOT NULL,
    CONSTRAINT meter_billable_check CHECK ((billable >= (0)::numeric))
);

COMMENT ON TABLE postmeter.meter IS 'A contract''s dimension over a billing month: what rounding, cover and carry are counted on. A remittance belongs to the meter of its own key and counts on that of its contract, which is the same unless the contract has a name or its buyer has changed within the month. Written once per cut; locked before its remittances.';

COMMENT ON COLUMN postmeter.meter.id IS 'Number of the meter.';

COMMENT ON COLUMN postmeter.meter.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.meter.buyer IS 'The contract, by the buyer in canonical text under which its month began, or by its name: contract:PRODUCT/NAME.';

COMMENT ON COLUMN postmeter.meter.dimension IS 'The marketplace''s name of the dimension.';

COMMENT ON COLUMN postmeter.meter.month IS 'First day of the billing month, in the destination''s zone.';

COMMENT ON COLUMN postmeter.meter.rounding IS 'Rounding of the dimension in this month.';

COMMENT ON COLUMN postmeter.meter.decimals IS 'Decimals of the dimension in this month.';

COMMENT ON COLUMN postmeter.meter.month_end IS 'What the month''s last cut does with a remainder.';

COMMENT ON COLUMN postmeter.meter.billed IS 'Billing units of all its cut remittances that no decision has released, whatever became of them.';

COMMENT ON COLUMN postmeter.meter.carried IS 'Billing units x common denominator: used beyond cover and not billed yet (a remainder), or billed ahead (negative: credit).';

COMMENT ON COLUMN postmeter.meter.billable IS 'Billing units that a cut would bill now: more than zero after a release or a deferral; maintenance opens an hour for it.';

COMMENT ON COLUMN postmeter.meter.denominator IS 'Common denominator of the factors when carried was written.';

COMMENT ON COLUMN postmeter.meter.cuts IS 'How often it was cut.';

CREATE FUNCTION postmeter.contract_keys(meter_id bigint) RETURNS TABLE(key_meter_id bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT DISTINCT k.id
    FROM (((postmeter.meter m
      CROSS JOIN LATERAL postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c(subscription_id))
      JOIN postmeter.subscription s ON (((s.id = c.subscription_id) AND (s.buyer <> m.buyer))))
      JOIN postmeter.meter k ON (((k.destination_id = m.destination_id) AND (k.buyer = s.buyer) AND (k.dimension = m.dimension) AND (k.month = m.month))))
   WHERE (m.id = contract_keys.meter_id);
END;

COMMENT ON FUNCTION postmeter.contract_keys(meter_id bigint) IS 'The meters of the other keys under which a meter''s contract is sent in its month: where its buyer has changed.';

CREATE FUNCTION postmeter.contract_marks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- of its own org the subscription's edit has marked all; what it decides for others of its buyer is not in it
    insert into postmeter.catalogue_mark (destination_id, buyer, org, product, is_awaited)
    select s.destination_id, s.buyer, s.org, s.product, false
    from postmeter.subscription s
    where s.id = coalesce(new.subscription_id, old.subscription_id) and s.buyer <> coalesce(new.contract, old.contract)
      and not exists (select from postmeter.catalogue_mark c
                      where c.destination_id = s.destination_id and c.buyer = s.buyer and c.org = s.org and c.awaits is null);
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.contract_marks() IS 'Trigger of contract_member: marks the buyer of a subscription that belongs to another contract by now (catalogue_mark); what its open hours count is returned in shares and counted there.';

CREATE FUNCTION postmeter.contracts_follow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    was    text;
    member bigint;
begin
    if tg_op = 'UPDATE' and (old.org, old.product, old.account, old.destination_id, old.buyer, old.valid_from, old.contract)
           is not distinct from (new.org, new.product, new.account, new.destination_id, new.buyer, new.valid_from, new.contract) then
        return null;
    end if;
    if new.contract is not null and (tg_op = 'INSERT' or new.contract is distinct from old.contract) and exists (
        select from postmeter.worker w where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
           and coalesce(w.knows, 0) < 52) then
        raise exception 'contract % of org %: a worker of an older release is running, which would count its usage by its buyer',
            new.contract, new.org
            using errcode = 'PM052', schema = 'postmeter', table = 'subscription', column = 'contract',
                  constraint = 'subscription_contract_known',
                  hint = 'Bring all workers to this release first (postmeter.worker has those that run), then name contracts.';
    end if;
    if tg_op = 'UPDATE' then
        was := coalesce(postmeter.contract_name(old.product, old.contract), old.buyer);
    end if;
    if was is distinct from coalesce(postmeter.contract_name(new.product, new.contract), new.buyer) and was is not null then
        -- what was counted stays where it is, and what follows it within the month goes there
        insert into postmeter.contract_member (subscription_id, month, contract)
        select distinct new.id, m.month, was
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.buyer = was
        where t.id = old.destination_id and m.month >= postmeter.month_of(old.valid_from, t.zone)
          and m.month <= postmeter.month_of(postmeter.clock(), t.zone)
          and exists (select from postmeter.meter_metric mm where mm.meter_id = m.id)
          -- a worker that knows no contracts counts by the buyer
          and not exists (select from postmeter.worker w
                          where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
                            and coalesce(w.knows, 0) < 45)
        on conflict do nothing;
    end if;
    if tg_op = 'UPDATE' and (new.buyer, new.destination_id, new.valid_from, new.contract)
           is distinct from (old.buyer, old.destination_id, old.valid_from, old.contract) then
        -- where nothing was counted, it is decided anew
        delete from postmeter.contract_member k
        where k.subscription_id = new.id
          and not exists (select from postmeter.meter m
                          join postmeter.meter_metric mm on mm.meter_id = m.id
                          where m.destination_id = old.destination_id and m.buyer = k.contract and m.month = k.month);
    end if;
    if new.buyer is null then
        return null;
    end if;
    -- its successors too, which may have been read before it; who follows somebody first
    for member in
        select s.id
        from postmeter.subscription s
        join postmeter.destination t on t.id = s.destination_id
        where s.destination_id = new.destination_id and s.buyer is not null
          and (s.buyer = new.buyer or (s.org = new.org and s.product = new.product))
          and not exists (select from postmeter.contract_member k
                          where k.subscription_id = s.id and k.month = postmeter.month_of(s.valid_from, t.zone))
          -- one that begins with its month is a contract of its own name
          and s.valid_from <> postmeter.month_of(s.valid_from, t.zone)::timestamp at time zone t.zone
        order by not exists (select from postmeter.subscription p
                             where p.org = s.org and p.product = s.product and p.destination_id = s.destination_id
                               and p.account is not distinct from s.account and p.buyer is not null
                               and p.valid_from < s.valid_from),
                 s.valid_from, s.id
    loop
        perform postmeter.decide_contract(member);
    end loop;
    -- entered after the month's beginning under a buyer whose contract is somebody else's by then
    insert into postmeter.contract_member (subscription_id, month, contract)
    select new.id, x.month, f.contract
    from postmeter.destination t
    cross join lateral (select postmeter.month_of(postmeter.clock(), t.zone) as running) c
    cross join lateral (values (c.running), ((c.running - interval '1 month')::date)) x(month)
    cross join lateral (select postmeter.fresh_contract(new.id, x.month) as contract) f
    where t.id = new.destination_id and x.month >= postmeter.month_of(new.valid_from, t.zone) and f.contract is not null
      and (tg_op = 'INSERT' or old.buyer is distinct from new.buyer)
    on conflict do nothing;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.contracts_follow() IS 'Trigger of subscription: decides to which contract one belongs that begins within a month, and keeps one whose identity or contract''s name changes in place where it is (contract_member). Refuses a name while a worker runs that does not know it (PM052).';

CREATE FUNCTION postmeter.contradicted(delivery bigint) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(
        (select 'stands for no hour: it may have been billed with another one in the time that was lost. Resolve it as billed or not billed'
         from postmeter.withheld w where w.delivery_id = contradicted.delivery),
        (select format('the marketplace says otherwise: judge contradiction %s first', min(c.id))
         from postmeter.contradiction c where c.delivery_id = contradicted.delivery and c.decision_id is null having count(*) > 0),
        (select 'may have been sent in the time that was lost: look it up at the marketplace, then resolve it'
         from postmeter.doubt x where x.delivery_id = contradicted.delivery and x.decision_id is null),
        (select 'an answer to it came late and is about to be read: say it again in a moment'
         from postmeter.late_evidence e join postmeter.delivery d on d.id = e.delivery_id
         where e.delivery_id = contradicted.delivery and e.id > d.evidence_read and e.outcome in ('accepted', 'duplicate', 'conflict')
         limit 1))
$$;

COMMENT ON FUNCTION postmeter.contradicted(delivery bigint) IS 'Why a remittance must not be sent or given back now: evidence says otherwise than what was settled and nobody has judged it, or it is in doubt since commits were lost. Null: nothing is in the way.';

CREATE FUNCTION postmeter.contradiction_stays() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'UPDATE' and old.decision_id is null and new.decision_id is not null
       and to_jsonb(new) - 'decision_id' = to_jsonb(old) - 'decision_id' then
        return new;
    end if;
    raise exception 'a contradiction is evidence: it is judged, not edited'
        using errcode = 'PM020', hint = 'postmeter judge says what counts, with who and why.';
end
$$;

COMMENT ON FUNCTION postmeter.contradiction_stays() IS 'Trigger of contradiction: its row takes the decision that judges it, once, and nothing else.';

CREATE FUNCTION postmeter.correction_is_free(corrected uuid, destination integer, hour timestamp with time zone, reason text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- what it corrects says where it goes; while that is held too, it is returned with it
    select not exists (select from postmeter.held o where o.usage_id = corrected)
       and (reason <> 'month_closed' or not exists (
            select from postmeter.closed_month c join postmeter.destination t on t.id = c.destination_id
            where t.id = destination and c.month = postmeter.month_of(correction_is_free.hour, t.zone)))
$$;

COMMENT ON FUNCTION postmeter.correction_is_free(corrected uuid, destination integer, hour timestamp with time zone, reason text) IS 'Whether a held correction is held no longer for a reason of its own.';

CREATE FUNCTION postmeter.count_held(d postmeter.delivery, held numeric, who text, why text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    theirs  numeric := coalesce(held, d.shown_quantity);
    rest    numeric;
    delta   numeric;
    part    record;
    m       postmeter.meter;
    broken  bigint;
    first   bigint;
    decided bigint;
begin
    if theirs is null or theirs <= 0 then
        raise exception 'they did not say how much they hold of remittance %', d.id
            using errcode = 'PM037', column = 'quantity', constraint = 'resolve_quantity',
                  hint = format('Look it up there, and say it: postmeter resolve %s --billed --quantity N.', d.id);
    end if;
    rest := theirs - d.quantity;
    if rest <> 0 and exists (select from postmeter.cut k join postmeter.meter x on x.id = k.meter_id
                              join postmeter.closed_month c on c.destination_id = x.destination_id and c.month = x.month where k.delivery_id = d.id) then
        raise exception 'the month of remittance % is closed', d.id
            using errcode = 'PM034', column = 'quantity', constraint = 'resolve_month', hint = 'Reopen the month first.';
    end if;
    select max(b.id) into broken from postmeter.timeline_break b where d.hour + interval '1 hour' <= b.noticed_at;
    -- its own meter first, if it counts anything there
    for part in select k.meter_id, sum(k.to_bill) as to_bill from postmeter.cut k where k.delivery_id = d.id
                group by 1 order by sum(k.to_bill) = 0, k.meter_id <> d.meter_id, 1 loop
        first := coalesce(first, part.meter_id);
        delta := case when rest > 0 then postmeter.take_from_withheld(part.meter_id, rest, d.id, who, why) else greatest(rest, -part.to_bill) end;
        continue when delta = 0;
        rest := rest - delta;
        m := postmeter.recut(d.id, part.meter_id, delta);
        -- what they do not hold of it may have been billed with another hour in a time that was lost
        if delta < 0 and broken is not null then
            perform postmeter.withhold(m, -delta, broken);
        end if;
    end loop;
    if rest > 0 then
        perform postmeter.recut(d.id, first, rest);
    end if;
    update postmeter.delivery u
    set status = 'accepted', reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0, confirmed = true,
        shown_quantity = theirs, changed_at = postmeter.clock()
    where u.id = d.id;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, 'accepted', theirs,
            jsonb_build_object('billed', true, 'theirs', theirs::text, 'ours', trim_scale(d.quantity)::text)) returning id into decided;
    update postmeter.doubt x set decision_id = decided
    where x.delivery_id = d.id and x.decision_id is null;
    return 'accepted';
end
$$;

COMMENT ON FUNCTION postmeter.count_held(d postmeter.delivery, held numeric, who text, why text) IS 'Counts a locked remittance as they hold it, its meters locked too: what they do not hold of it goes back to its meter, as a release gives it back (withheld, if its hour lies before a loss of commits); what they hold beyond it is what was withheld, else credit.';

CREATE FUNCTION postmeter.counted(n bigint, thing text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (((to_char(n, 'FM999,999,999,999,990'::text) || ' '::text) || thing) ||
         CASE
             WHEN (n = 1) THEN ''::text
             ELSE 's'::text
         END);
END;

COMMENT ON FUNCTION postmeter.counted(n bigint, thing text) IS 'A number of things as people say it: 1 remittance, 10,000 remittances.';

CREATE FUNCTION postmeter.create_partition(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    child text := parent || to_char(month, '_YYYYMM');
    spare text := parent || '_default';
    key   text := postmeter.ledger_key(parent);
    ids   record;
    moved bigint;
    gone  bigint;
begin
    if to_regclass('postmeter.' || child) is not null then
        return false;
    end if;
    select * into ids from postmeter.ledger_span(month);
    -- attached rather than created as a partition: that would lock the parent against readers
    execute format('create table postmeter.%I (like postmeter.%I including defaults including generated including constraints including indexes)',
                   child, parent);
    execute format('comment on table postmeter.%I is %L', child, 'Partition of postmeter.' || parent || ' for a month of recording.');
    -- what attaching needs comes first, so that nothing is copied in vain
    execute format('lock table only postmeter.%I in share update exclusive mode', parent);
    execute format('lock table postmeter.%I in access exclusive mode', spare);
    execute format('insert into postmeter.%I select * from postmeter.%I where %3$I >= $1 and %3$I < $2', child, spare, key)
        using ids.first_id, ids.until_id;
    get diagnostics moved = row_count;
    if moved > 0 then
        -- evidence is moved, not deleted: by the owner alone, under this lock, and to the row
        execute format('alter table postmeter.%I disable trigger append_only', spare);
        execute format('delete from postmeter.%I where %2$I >= $1 and %2$I < $2', spare, key) using ids.first_id, ids.until_id;
        get diagnostics gone = row_count;
        execute format('alter table postmeter.%I enable trigger append_only', spare);
        if gone <> moved then
            raise exception '% rows of % were copied and % taken out', moved, spare, gone using errcode = 'PM040', table = spare, constraint = 'rows_moved';
        end if;
    end if;
    execute format('alter table postmeter.%I attach partition postmeter.%I for values from (%L) to (%L)', parent, child, ids.first_id, ids.until_id);
    -- triggers for statements are not handed down
    execute format('create trigger append_only before update or delete or truncate on postmeter.%I
                    for each statement execute function postmeter.forbid_change()', child);
    return true;
end
$_$;

COMMENT ON FUNCTION postmeter.create_partition(parent text, month date) IS 'Makes one monthly partition and moves into it what waits in the default partition, exactly (PM040). False: it is there.';

CREATE FUNCTION postmeter.create_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $_$
declare
    -- ids are made from the server's clock, so partitions follow it too
    this_month date := date_trunc('month', clock_timestamp() at time zone 'UTC')::date;
    spilled    date[] := array(select m from postmeter.spilled_months() m);
    wanted     date;
    parent     text;
    made       integer := 0;
    fresh      integer;
begin
    if not postmeter.try_gate('create_partitions') then
        return 0;
    end if;
    -- those that are made at once come first; then one that has rows to move, for its locks last until this commits
    for wanted in
        select w.month
        from (select (this_month + n * interval '1 month')::date as month from generate_series(0, months_ahead) n
              -- a month has all four or none
              union select to_date(right(c.relname, 6), 'YYYYMM') from pg_inherits i join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{6}$'
              where i.inhparent in ('postmeter.usage'::regclass, 'postmeter.allocation'::regclass, 'postmeter.attempt'::regclass, 'postmeter.outcome'::regclass)
              union select m from unnest(spilled) m where m <= this_month + months_ahead * interval '1 month') w
        where not exists (select from postmeter.ledger_drop d where d.month = w.month)
        order by w.month = any (spilled), w.month
    loop
        exit when made > 0 and wanted = any (spilled);
        fresh := 0;
        begin
            foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
                if postmeter.create_partition(parent, wanted) then
                    fresh := fresh + 1;
                    -- what moves rows stops those who write to that table until it commits: one table at a time
                    exit when wanted = any (spilled);
                end if;
            end loop;
            made := made + fresh;
        exception when lock_not_available then
            -- somebody reads: the next round tries again, and nobody queues behind us for long
            continue;
        end;
    end loop;
    return made;
end
$_$;

COMMENT ON FUNCTION postmeter.create_partitions(months_ahead integer) IS 'Makes the monthly partitions of usage, allocation, attempt and outcome from this month on, and one of a month that has rows in a default partition, which it moves: call it until it returns 0. Returns how many were made. Gives up after 100 ms behind a lock, so that nobody queues behind it; the next round tries again.';

CREATE FUNCTION postmeter.create_request_partitions(days_ahead integer, days_back integer DEFAULT 1) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '200ms'
    AS $$
declare
    columns text := 'request_key, date, digest, request_id, service, source, status, status_msg, account, org, inventory_id, system_id, recorded_at';
    today   timestamptz := date_trunc('day', postmeter.clock(), 'UTC');
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    day     timestamptz;
    name    text;
    made    integer := 0;
begin
    if not postmeter.try_gate('create_request_partitions') then
        return 0;
    end if;
    for day in
        select g from generate_series(today - make_interval(days => days_back), today + make_interval(days => days_ahead), '1 day') g where g >= horizon
        union
        select date_trunc('day', d.date, 'UTC') from postmeter.request_status_default d
        where d.date >= horizon and d.date < today + make_interval(days => days_ahead + 1)
        order by 1
    loop
        name := 'request_status_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass('postmeter.' || name) is not null;
        begin
            -- attached rather than created as a partition: that would lock the parent against readers
            execute format('create table postmeter.%I (like postmeter.request_status including defaults including generated including indexes)', name);
            execute format('comment on table postmeter.%I is %L', name, 'Request statuses of ' || to_char(day, 'YYYY-MM-DD') || '.');
            lock table postmeter.request_status_default in access exclusive mode;
            perform set_config('postmeter.moves_statuses', 'on', true);
            execute format('insert into postmeter.%I (%s) select %s from postmeter.request_status_default where date >= %L and date < %L',
                           name, columns, columns, day, day + interval '1 day');
            delete from postmeter.request_status_default d where d.date >= day and d.date < day + interval '1 day';
            perform set_config('postmeter.moves_statuses', 'off', true);
            execute format('alter table postmeter.request_status attach partition postmeter.%I for values from (%L) to (%L)',
                           name, day, day + interval '1 day');
            execute format('create trigger append_only before update or delete or truncate on postmeter.%I for each statement execute function postmeter.forbid_change()', name);
        exception when lock_not_available then
            -- somebody reads: the next round tries again, and nobody queues behind us for long
            perform set_config('postmeter.moves_statuses', 'off', true);
            continue;
        end;
        made := made + 1;
    end loop;
    return made;
end
$$;

COMMENT ON FUNCTION postmeter.create_request_partitions(days_ahead integer, days_back integer) IS 'Makes the day partitions of request_status for so many days back and ahead, and for every day within the retention that has rows in the default partition, which it moves. Returns how many were made; those it could not lock at once are left for the next call.';

CREATE FUNCTION postmeter.create_token(name text, hash bytea, scopes text[], org text, who text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made bigint;
begin
    if scopes is null or not scopes <@ array['intake', 'read', 'operate'] or cardinality(scopes) = 0 then
        raise exception 'scopes must be one or more of intake, read, operate'
            using errcode = 'PM001', column = 'scopes', constraint = 'token_scopes';
    elsif org is not null and 'operate' = any (scopes) then
        raise exception 'a token with the scope operate cannot be limited to one org: what operators do touches all'
            using errcode = 'PM001', column = 'org', constraint = 'operate_is_for_all_orgs';
    elsif exists (select from postmeter.token t where t.name = create_token.name) then
        raise exception 'there is a token % already; a name is never given twice, so that decisions stay signed', quote_literal(name)
            using errcode = 'PM001', column = 'name', constraint = 'token_name';
    end if;
    insert into postmeter.token (name, hash, scopes, org, created_by)
    values (create_token.name, create_token.hash, create_token.scopes, create_token.org, who)
    returning id into made;
    return made;
end
$$;

COMMENT ON FUNCTION postmeter.create_token(name text, hash bytea, scopes text[], org text, who text) IS 'Keeps a new token by its hash. Refuses unknown scopes, a second token of the same name, and an operator''s token for one org (PM001).';

CREATE FUNCTION postmeter.cure_held() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    first uuid[] := array(
        select h.usage_id from postmeter.held h
        where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        order by h.usage_id limit 1000);
begin
    perform postmeter.return_cured_of(first);
    if cardinality(first) = 1000 then
        insert into postmeter.cure default values;
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.cure_held() IS 'Sends held usage back to the outbox that a change of the catalogue cures: of a thousand at once; where more is held, maintenance goes on with the rest.';

CREATE FUNCTION postmeter.cure_implausible() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    first uuid[] := array(select h.usage_id from postmeter.held h where h.reason = 'implausible' order by h.usage_id limit 1000);
begin
    if cardinality(first) > 0 then
        perform postmeter.return_plausible_of(first);
    end if;
    if cardinality(first) = 1000 then
        insert into postmeter.cure default values;
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.cure_implausible() IS 'Trigger: sends back to the outbox what a limit held that is raised or gone: of a thousand at once; where more is held, maintenance goes on with the rest.';

CREATE FUNCTION postmeter.deadline_of(destination_id integer, buyer text, hour timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE COST 1000
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    return (
        select least(deadline_of.hour + t.age_limit,
                     ((postmeter.month_of(deadline_of.hour, t.zone) + interval '1 month') at time zone t.zone) + t.month_cutoff,
                     postmeter.served_until(t.id, deadline_of.buyer, deadline_of.hour) + t.closing_window) - t.margin
        from postmeter.destination t
        where t.id = deadline_of.destination_id
    );
end
$$;

COMMENT ON FUNCTION postmeter.deadline_of(destination_id integer, buyer text, hour timestamp with time zone) IS 'Last moment at which an hour may be sent: earliest of age limit, month cut-off and end of the subscriptions that serve it (served_until) plus closing window, less the margin.';

CREATE FUNCTION postmeter.deadline_now(delivery postmeter.delivery) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT COALESCE(( SELECT postmeter.deadline_of(m.destination_id, m.buyer, (deadline_now.delivery).hour) AS deadline_of
            FROM postmeter.meter m
           WHERE (m.id = (deadline_now.delivery).meter_id)), (delivery).deadline) AS "coalesce";
END;

COMMENT ON FUNCTION postmeter.deadline_now(delivery postmeter.delivery) IS 'The deadline of a remittance by what the catalogue says now, though maintenance may not have moved it yet; that of one that has expired is not moved.';

CREATE TABLE postmeter.deadline_change (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    buyer text NOT NULL COLLATE pg_catalog."C",
    wanted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    awaits xid8,
    since timestamp with time zone
);

COMMENT ON TABLE postmeter.deadline_change IS 'Buyers whose subscriptions, or whose destination''s limits, have changed: the deadlines of their hours that are not sent yet are to follow. Maintenance moves them, in shares, and deletes the row when none can come any more that goes by the old end; until then each claim goes by the new deadline.';

COMMENT ON COLUMN postmeter.deadline_change.id IS 'Number of the mark.';

COMMENT ON COLUMN postmeter.deadline_change.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.deadline_change.buyer IS 'The buyer.';

COMMENT ON COLUMN postmeter.deadline_change.wanted_at IS 'When the catalogue changed; the server''s time.';

COMMENT ON COLUMN postmeter.deadline_change.next_at IS 'From when on a worker takes it; later than now: one has it in hand.';

COMMENT ON COLUMN postmeter.deadline_change.awaits IS 'Every deadline has followed, as far as could be seen: it is looked once more when all transactions before this one have ended, for one of them may open an hour by the old end. Null: not yet.';

COMMENT ON COLUMN postmeter.deadline_change.since IS 'Hours after this are looked at, where the destination''s limits have changed; null: those that its age limit leaves.';

CREATE FUNCTION postmeter.deadlines_behind(marks bigint[]) RETURNS TABLE(delivery_id bigint, destination_id integer, buyer text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 WITH changed AS MATERIALIZED (
          SELECT c.destination_id,
             c.buyer,
             min(COALESCE(c.since, (( SELECT postmeter.clock() AS clock) - t.age_limit))) AS since
            FROM (postmeter.deadline_change c
              JOIN postmeter.destination t ON ((t.id = c.destination_id)))
           WHERE (c.id = ANY (deadlines_behind.marks))
           GROUP BY c.destination_id, c.buyer
         ), hours AS MATERIALIZED (
          SELECT o.id,
             o.destination_id,
             c.buyer,
             o.hour,
             o.deadline
            FROM ((changed c
              JOIN postmeter.meter m ON (((m.destination_id = c.destination_id) AND (m.buyer = c.buyer))))
              JOIN postmeter.delivery o ON (((o.meter_id = m.id) AND (o.hour > c.since))))
           WHERE ((o.hour > ( SELECT min(x.since) AS min
                    FROM changed x)) AND (o.status = ANY (ARRAY['open'::text, 'nothing_due'::text, 'due'::text, 'in_flight'::text, 'rejected'::text, 'unknown'::text, 'held'::text])))
         ), deadlines AS MATERIALIZED (
          SELECT h_1.destination_id,
             h_1.buyer,
             h_1.hour,
             postmeter.deadline_of(h_1.destination_id, h_1.buyer, h_1.hour) AS deadline
            FROM ( SELECT DISTINCT h_2.destination_id,
                     h_2.buyer,
                     h_2.hour
                    FROM hours h_2) h_1
         )
  SELECT h.id,
     h.destination_id,
     h.buyer
    FROM (hours h
      JOIN deadlines n ON (((n.destination_id = h.destination_id) AND (n.buyer = h.buyer) AND (n.hour = h.hour))))
   WHERE (n.deadline <> h.deadline);
END;

COMMENT ON FUNCTION postmeter.deadlines_behind(marks bigint[]) IS 'Remittances of these marks'' buyers that are not sent yet and whose deadline is not that of their subscriptions.';

CREATE FUNCTION postmeter.deadlines_follow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.buyer, old.valid_from, old.valid_until)
                            is not distinct from (new.destination_id, new.buyer, new.valid_from, new.valid_until) then
        return null;
    end if;
    -- the first of a buyer, without an end, leaves each deadline as it was
    if tg_op <> 'DELETE' and old.buyer is null and new.valid_until is null and not exists (
        select from postmeter.subscription s
        where s.destination_id = new.destination_id and s.buyer = new.buyer and s.id <> new.id) then
        return null;
    end if;
    -- who was never metered may be metered by a fold that is not committed yet
    insert into postmeter.deadline_change (destination_id, buyer)
    select x.destination_id, x.buyer
    from (values (old.destination_id, old.buyer), (new.destination_id, new.buyer)) x(destination_id, buyer)
    where x.buyer is not null
    group by x.destination_id, x.buyer
    order by x.destination_id, x.buyer;
    -- a program that knows no marks moves none, and sends what it has not heard of: for it a share moves at once
    if exists (select from postmeter.worker w
               where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp() and coalesce(w.knows, 0) < 41) then
        update postmeter.delivery d
        set deadline = x.deadline
        from (
            select o.id, n.deadline
            from (values (old.destination_id, old.buyer), (new.destination_id, new.buyer)) b(destination_id, buyer)
            join postmeter.meter m on m.destination_id = b.destination_id and m.buyer = b.buyer
            join postmeter.delivery o on o.meter_id = m.id
            cross join lateral (select postmeter.deadline_of(m.destination_id, m.buyer, o.hour) as deadline) n
            where o.hour > (select postmeter.clock() - max(t.age_limit) from postmeter.destination t
                            where t.id in (old.destination_id, new.destination_id))
              and o.status in ('open', 'due') and n.deadline <> o.deadline
            order by o.id
            limit 1000
            for update of o skip locked
        ) x
        where d.id = x.id;
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.deadlines_follow() IS 'Trigger of subscription: one that ends, is renewed, is removed or passes to another buyer marks its buyers (deadline_change); the deadlines of the hours that are not sent yet follow, in shares.';

CREATE FUNCTION postmeter.decide_contract(subscription bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    s       postmeter.subscription;
    zone    text;
    its     date;
    began   timestamptz;
    decided text;
begin
    select x.* into strict s from postmeter.subscription x where x.id = subscription;
    select t.zone into strict zone from postmeter.destination t where t.id = s.destination_id;
    its := postmeter.month_of(s.valid_from, zone);
    began := its::timestamp at time zone zone;
    if s.buyer is null or s.valid_from = began
       or exists (select from postmeter.contract_member k where k.subscription_id = s.id and k.month = its) then
        return;
    end if;
    -- whom it follows in this month, whatever it names: a contract changes with the month
    select coalesce(k.contract, postmeter.contract_name(p.product, p.contract), p.buyer) into decided
    from postmeter.subscription p
    left join postmeter.contract_member k on k.subscription_id = p.id and k.month = its
    where p.org = s.org and p.product = s.product and p.destination_id = s.destination_id
      and p.account is not distinct from s.account and p.buyer is not null
      and p.valid_from < s.valid_from and (p.valid_until is null or p.valid_until > began)
    order by p.valid_from desc limit 1;
    -- else the one that it names
    decided := coalesce(decided, postmeter.contract_name(s.product, s.contract));
    -- else whom its buyer's other subscriptions follow, if they all follow somebody; not into a contract with a name
    if decided is null then
        select case when bool_or(coalesce(k.contract, postmeter.contract_name(o.product, o.contract), o.buyer) = s.buyer) then s.buyer
                    else (array_agg(k.contract order by o.valid_from, o.id)
                          filter (where k.contract !~ '^contract:' or k.contract ~ '/#[0-9]+$'))[1] end into decided
        from postmeter.subscription o
        left join postmeter.contract_member k on k.subscription_id = o.id and k.month = its
        where o.destination_id = s.destination_id and o.buyer = s.buyer and o.id <> s.id
          and o.valid_from < (its + interval '1 month')::timestamp at time zone zone
          and (o.valid_until is null or o.valid_until > began)
          and (k.contract is not null or o.valid_from <= began);
    end if;
    decided := coalesce(decided, postmeter.fresh_contract(s.id, its));
    -- a worker that knows no contracts counts by the buyer
    if s.valid_from <= postmeter.clock() + interval '1 hour' and exists (
        select from postmeter.worker w where w.stopped_at is null and w.reaped_at is null and w.lease_until > clock_timestamp()
           and coalesce(w.knows, 0) < 45) then
        decided := null;
    end if;
    insert into postmeter.contract_member (subscription_id, month, contract)
    values (s.id, its, coalesce(decided, s.buyer)) on conflict do nothing;
end
$_$;

COMMENT ON FUNCTION postmeter.decide_contract(subscription bigint) IS 'Decides to which contract a subscription that begins within a month belongs in that month: to that of the one it follows, else the one that it names, else that of those its buyer has. Decides once.';

CREATE FUNCTION postmeter.declare_installation(what text, who text, why text, nothing_lost boolean DEFAULT false, name text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    i     postmeter.installation;
    doubt text;
    t     text;
begin
    perform postmeter.check_decider(who, why);
    if what is null or what not in ('original', 'copy') then
        raise exception 'an installation cannot be declared %', coalesce(quote_literal(what), 'null')
            using errcode = 'PM037', column = 'what', constraint = 'installation_what', hint = 'original: workers send from here; copy: nobody does.';
    end if;
    select x.* into i from postmeter.installation x for update;
    doubt := postmeter.installation_doubt();
    if (what = 'copy' and i.is_copy or what = 'original' and doubt is null) and (name is null or name = i.name) then
        return false;
    end if;
    if what = 'original' and doubt is not null and not nothing_lost then
        perform postmeter.timeline_went_back(who, why);
        -- known already, if this server has noted a break before: what is not paused for it is paused now
        for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
            perform postmeter.set_paused(t, true, who, why);
        end loop;
    end if;
    update postmeter.installation x
    set name = coalesce(declare_installation.name, x.name), server = postmeter.server_identity(), position = pg_current_wal_flush_lsn(),
        timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), is_copy = what = 'copy', settled_at = clock_timestamp();
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'declare', case when i.is_copy then 'copy' when doubt is null then 'original' else 'unclear' end, what,
            jsonb_strip_nulls(jsonb_build_object('doubt', doubt, 'server', i.server, 'nothing_lost', nothing_lost, 'name', coalesce(name, i.name))));
    return true;
end
$$;

COMMENT ON FUNCTION postmeter.declare_installation(what text, who text, why text, nothing_lost boolean, name text) IS 'A person says what this database is. copy: nothing is sent from here. original: it is the installation, on this server from now on; unless nothing was lost, what may have been sent since it was copied counts as possibly attempted, and every destination is paused until it is resumed (timeline_went_back). A name renames it. False: it was so already.';

CREATE FUNCTION postmeter.deliveries_by(filter jsonb, waiting boolean DEFAULT false) RETURNS SETOF postmeter.delivery
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    given  jsonb := filter - 'within';
    named  bigint[];
    chosen bigint[];
    wholly text;
begin
    perform postmeter.check_filter(given, array['org', 'account', 'product', 'metric', 'destination', 'status', 'reason', 'from', 'until', 'delivery', 'all']);
    perform postmeter.check_word(given, 'status', case when waiting then array['due'] else array['rejected', 'expired', 'conflict', 'unknown', 'held'] end);
    perform postmeter.check_word(given, 'reason', array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'quantity_out_of_range', 'unrecognised_answer', 'tries_exhausted', 'poison', 'by_operator', 'lost_time']);
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
          -- a shadow's are meant only by name: what is decided about live ones must not touch them, nor be hidden among them
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

COMMENT ON FUNCTION postmeter.deliveries_by(filter jsonb, waiting boolean) IS 'Dead letters that a filter names: rejected, expired, conflict, unknown or held remittances; or, if waiting, those that wait to be sent. A shadow''s only if the filter names it or the delivery. With within, a list of deliveries, only those of them. None: nothing is left to do. The one home of what a filter may be: refuses what cannot be meant (PM030, PM031, PM037), values that do not exist (PM038), what fits no remittance (PM039), and all of several of a destination unless destination, org, account or all says so (PM031).';

CREATE FUNCTION postmeter.delivery_counted(delivery bigint, org text, account text, metric text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select postmeter.delivery_counts(delivery, org, account, metric) or exists (
        select from postmeter.recounted r
        join postmeter.subscription s on s.id = r.subscription_id
        join postmeter.meter_metric mm on mm.id = r.meter_metric_id
        where r.delivery_id = delivery_counted.delivery
          and (delivery_counted.org is null or s.org = delivery_counted.org)
          and (delivery_counted.account is null or s.account = delivery_counted.account)
          and (delivery_counted.metric is null or mm.metric = delivery_counted.metric))
$$;

COMMENT ON FUNCTION postmeter.delivery_counted(delivery bigint, org text, account text, metric text) IS 'Whether a remittance counts usage of this org, account and metric, or has counted it before a recount; null: of any.';

CREATE FUNCTION postmeter.delivery_counts(delivery bigint, org text, account text, metric text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select (delivery_counts.org is null and delivery_counts.account is null and delivery_counts.metric is null) or exists (
        select from postmeter.allocation a
        join postmeter.subscription s on s.id = a.subscription_id
        join postmeter.meter_metric mm on mm.id = a.meter_metric_id
        where a.delivery_id = delivery_counts.delivery
          and (delivery_counts.org is null or s.org = delivery_counts.org)
          and (delivery_counts.account is null or s.account = delivery_counts.account)
          and (delivery_counts.metric is null or mm.metric = delivery_counts.metric))
$$;

COMMENT ON FUNCTION postmeter.delivery_counts(delivery bigint, org text, account text, metric text) IS 'Whether a remittance counts usage of this org, account and metric; null: of any.';

CREATE FUNCTION postmeter.delivery_counts_others(delivery bigint, filter jsonb) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.delivery_counts_others(delivery bigint, filter jsonb) IS 'Whether a remittance counts usage, or released quantity, beside that of the org, account and metric that a filter names; false if the filter names the delivery: then all of it is meant.';

CREATE FUNCTION postmeter.delivery_stuck() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if new.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held') then
        delete from postmeter.stuck s where s.delivery_id = new.id;
        return null;
    end if;
    insert into postmeter.stuck (delivery_id, destination_id, status, since, again_at)
    values (new.id, new.destination_id, new.status, new.changed_at, case
        when new.maybe_billed then null
        when new.status = 'held' and new.reason = 'invalid_subscription' and new.body is not null then new.changed_at + interval '10 minutes'
        when new.status = 'expired' and (select t.expired_policy from postmeter.destination t where t.id = new.destination_id) = 'roll_forward'
            then new.changed_at end)
    on conflict (delivery_id) do update set status = excluded.status, since = excluded.since, again_at = excluded.again_at;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.delivery_stuck() IS 'Trigger of delivery: keeps postmeter.stuck.';

CREATE FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) RETURNS TABLE(rounding text, decimals integer, month_end text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT d.rounding,
     d.decimals,
     d.month_end
    FROM postmeter.dimension d
   WHERE ((d.destination_id = dimension_in.destination_id) AND (d.name = dimension_in.name) AND (d.valid_from <= dimension_in.month) AND (NOT (EXISTS ( SELECT
            FROM postmeter.dimension l
           WHERE ((l.destination_id = d.destination_id) AND (l.product = d.product) AND (l.metric = d.metric) AND (l.valid_from > d.valid_from) AND (l.valid_from <= dimension_in.month))))))
   ORDER BY d.valid_from DESC, d.id
  LIMIT 1;
END;

COMMENT ON FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) IS 'How the marketplace''s dimension of that name is counted in a month; no row if no metric has it then.';

CREATE FUNCTION postmeter.dimension_marks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'UPDATE' and (old.destination_id, old.product, old.metric, old.name, old.valid_from)
           is not distinct from (new.destination_id, new.product, new.metric, new.name, new.valid_from)
       or least(old.valid_from, new.valid_from) > postmeter.recorded_until() then
        return null;
    end if;
    -- what had no dimension was held, and is cured
    if tg_op = 'INSERT' and not exists (
        select from postmeter.dimension d
        where d.id <> new.id and d.destination_id = new.destination_id and d.product = new.product and d.metric = new.metric) then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, product, is_awaited)
    select x.destination_id, x.buyer, x.product, true
    from (
        select s.destination_id, s.buyer, s.product
        from postmeter.subscription s
        join postmeter.destination t on t.id = s.destination_id
        where (s.destination_id, s.product) in ((old.destination_id, old.product), (new.destination_id, new.product)) and s.buyer is not null
          and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit) and s.valid_from < postmeter.recorded_until()
        group by 1, 2, 3
    ) x
    order by 1, 2;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.dimension_marks() IS 'Trigger of dimension: where a metric of a product is called otherwise, all its buyers are marked (catalogue_mark); what their open hours count under the old name is returned in shares.';

CREATE FUNCTION postmeter.drop_ledger_leftovers(month date, most integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
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

COMMENT ON FUNCTION postmeter.drop_ledger_leftovers(month date, most integer) IS 'Deletes so many rows of exempted and usage_written_off of a dropped month of the ledger; returns how many. Each call is a transaction of its own; 0: none is left, or the export is an older program''s and has none of them, so that they stay.';

CREATE FUNCTION postmeter.drop_ledger_month(month date, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(table_name text, rows bigint, bytes bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
#variable_conflict use_column
declare
    exported postmeter.ledger_export;
    closed   bigint[];
    ids      record;
    made     bigint;
    attempts integer := 0;
    parts    text[] := array(select t || to_char(drop_ledger_month.month, '_YYYYMM')
                             from unnest(array['usage', 'allocation', 'attempt', 'outcome']) t);
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_ledger_finished(drop_ledger_month.month);
    select e.* into exported from postmeter.ledger_export e where e.month = drop_ledger_month.month;
    if not found then
        raise exception '% was not exported', to_char(drop_ledger_month.month, 'YYYY-MM')
            using errcode = 'PM042', column = 'month', constraint = 'ledger_exported', hint = 'postmeter ledger export does it.';
    end if;
    if dry_run is false then
        perform postmeter.forget_shadow_usage(drop_ledger_month.month);
    end if;
    perform postmeter.check_ledger_rows(drop_ledger_month.month, exported.manifest);
    select * into ids from postmeter.ledger_span(drop_ledger_month.month);
    return query
    select t ->> 'table', (t ->> 'rows')::bigint,
           pg_total_relation_size(to_regclass(format('postmeter.%I', (t ->> 'table') || to_char(drop_ledger_month.month, '_YYYYMM'))))
    from jsonb_array_elements(exported.manifest::jsonb -> 'tables') t;
    if dry_run is not false then
        return;
    end if;
    closed := array(select c.decision_id from postmeter.ledger_closings(drop_ledger_month.month) c);
    perform postmeter.carry_ledger(drop_ledger_month.month);
    insert into postmeter.decision (who, why, verb, detail)
    values (who, why, 'drop', jsonb_build_object('month', drop_ledger_month.month, 'digest', exported.digest)) returning id into made;
    insert into postmeter.ledger_drop (month, decision_id, used_from, used_until)
    select drop_ledger_month.month, made, min(u.used_at), max(u.used_at) from postmeter.usage u where u.id >= ids.first_id and u.id < ids.until_id;
    -- from here on no month is closed or opened again: those that were closed above must still be
    perform postmeter.month_gate();
    if (select count(*) from postmeter.closed_month c where c.decision_id = any (closed)) <> cardinality(closed) then
        raise exception 'a billing month was opened again meanwhile' using errcode = 'PM041', column = 'month', constraint = 'ledger_finished';
    end if;
    loop
        attempts := attempts + 1;
        begin
            -- only what the drop changes: a vacuum of another month is none of its business
            lock table only postmeter.usage, only postmeter.allocation, only postmeter.attempt, only postmeter.outcome in access exclusive mode;
            execute format('lock table postmeter.%I, postmeter.%I, postmeter.%I, postmeter.%I in access exclusive mode', variadic parts);
            lock table postmeter.usage_default, postmeter.allocation_default, postmeter.attempt_default, postmeter.outcome_default
                in access exclusive mode;
            exit;
        exception when lock_not_available then
            -- nobody queues behind us for longer than the lock_timeout
            if attempts >= 10 then
                raise exception 'somebody reads or vacuums the ledger: nothing was dropped' using errcode = '55P03', hint = 'Try again later.';
            end if;
            perform pg_sleep(0.1);
        end;
    end loop;
    execute format('drop table postmeter.%I, postmeter.%I, postmeter.%I, postmeter.%I', variadic parts);
end
$$;

COMMENT ON FUNCTION postmeter.drop_ledger_month(month date, who text, why text, dry_run boolean) IS 'Drops a month of the ledger: its four partitions at once, never a row. Only if everything in it is finished (PM041), it was exported (PM042), and the rows are still those of the manifest (PM043). What it came to is carried in the balances; identities stay. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.drop_month_share(destination text, month date, most integer DEFAULT 1000, OUT meters bigint, OUT remittances bigint, OUT is_done boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    SET jit TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.drop_month_share(destination text, month date, most integer, OUT meters bigint, OUT remittances bigint, OUT is_done boolean) IS 'Drops the next share of a billing month that is being dropped: its meters first, a hundredth as many, each with what it came to, then so many remittances with their cuts. Each call is a transaction of its own; is_done: nothing is left.';

CREATE FUNCTION postmeter.drop_remittances(deliveries bigint[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.drop_remittances(deliveries bigint[]) IS 'Deletes remittances of a month that is being dropped, with their cuts and parts, and keeps their numbers; of those that somebody decided about, a line.';

CREATE FUNCTION postmeter.drop_request_partitions() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '200ms'
    AS $_$
declare
    horizon timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    name    text;
    day     timestamptz;
    dropped integer := 0;
begin
    -- gather counts whole days while they are there
    perform postmeter.take_gate('gather_requests');
    for name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'postmeter.request_status'::regclass and c.relname ~ '^request_status_[0-9]{8}$' order by 1 loop
        day := to_timestamp(right(name, 8), 'YYYYMMDD');
        exit when day >= horizon;
        begin
            execute format('drop table postmeter.%I', name);
        exception when lock_not_available then
            return dropped;
        end;
        delete from postmeter.request_news n where n.date >= day and n.date < day + interval '1 day';
        delete from postmeter.request_status_count c where c.hour >= day and c.hour < day + interval '1 day';
        delete from postmeter.request_message_count c where c.hour >= day and c.hour < day + interval '1 day';
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$_$;

COMMENT ON FUNCTION postmeter.drop_request_partitions() IS 'Drops the day partitions of request_status beyond setting.tracker_retention, with their counts. Returns how many; those it could not lock at once are left for the next call.';

CREATE FUNCTION postmeter.dropped_with(delivery bigint) RETURNS TABLE(destination_id integer, month date)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.dropped_with(delivery bigint) IS 'The dropped billing months that a remittance of this number went with, or has quantity of.';

CREATE FUNCTION postmeter.due_arrived() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- a notification in every commit costs most of the commit rate: only when something came, and someone sleeps
    if exists (select from arrived) and exists (select from postmeter.worker w where w.sleeping and w.lease_until > clock_timestamp()) then
        perform pg_notify('postmeter_due', '');
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.due_arrived() IS 'Trigger of due: wakes sleeping workers. Polling is the contract, this is a shortcut.';

CREATE FUNCTION postmeter.end_marked(deliveries bigint[], most integer, unread boolean) RETURNS SETOF bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chosen uuid[];
    places bigint[];
begin
    select array_agg(x.usage_id), array_agg(distinct x.delivery_id) into chosen, places
    from (select u.usage_id, u.delivery_id from postmeter.marked_usage(null, deliveries, unread) u limit most) x;
    if chosen is not null then
        perform postmeter.return_marked(chosen, places);
        return query select p from unnest(places) p order by p;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.end_marked(deliveries bigint[], most integer, unread boolean) IS 'Returns what these remittances of marked buyers count and the catalogue places elsewhere by now, at most so many usages; the caller has the remittances locked alone. Tells of which something was returned. Unread: as marked_usage has it.';

CREATE FUNCTION postmeter.end_wait(quota integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update postmeter.pace p set wait_until = '-infinity', wait_ended_at = clock_timestamp(), updated_at = clock_timestamp()
    where p.quota_id = quota;
    -- what was to wait with it is due; what somebody has in hand is decided about there
    with over as materialized (
        select l.delivery_id, d.destination_id, d.deadline
        from postmeter.later l
        join postmeter.delivery d on d.id = l.delivery_id
        join postmeter.destination t on t.id = l.destination_id and t.quota_id = quota
        where l.due_at > postmeter.clock()
          and (select o.retry_after from postmeter.attempt a join postmeter.outcome o on o.attempt_id = a.id
               where a.delivery_id = l.delivery_id order by a.id desc limit 1) is not null
        order by l.delivery_id
        for update of l, d skip locked
    ), gone as (
        delete from postmeter.later l using over o where l.delivery_id = o.delivery_id
    )
    insert into postmeter.due (delivery_id, destination_id, deadline)
    select o.delivery_id, o.destination_id, o.deadline from over o order by o.delivery_id;
    -- workers look at versions twice a second, and say by which they act
    update postmeter.destination t set version = t.version + 1
    where t.id in (select x.id from postmeter.destination x where x.quota_id = quota order by x.id for no key update);
end
$$;

COMMENT ON FUNCTION postmeter.end_wait(quota integer) IS 'Ends the wait of a quota, and of the remittances that were answered with it: a part of probe.';

CREATE FUNCTION postmeter.exemption_marks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if least(old.valid_from, new.valid_from) >= postmeter.recorded_until()
       or tg_op = 'UPDATE' and (old.org, old.product, old.valid_from, old.valid_until)
              is not distinct from (new.org, new.product, new.valid_from, new.valid_until) then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, org, exemption_id, is_awaited)
    select s.destination_id, s.buyer, s.org, max(old.id), tg_op <> 'INSERT'
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id
    where s.org in (old.org, new.org) and s.buyer is not null
      and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit) and s.valid_from < postmeter.recorded_until()
    group by 1, 2, 3
    order by 1, 2, 3;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.exemption_marks() IS 'Trigger of exemption: marks the buyers of its org (catalogue_mark); what their open hours count and is exempt now is returned in shares, and what was exempt and is not any more.';

CREATE FUNCTION postmeter.filter_fits(filter jsonb) RETURNS TABLE(status text, remittances bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
           or (filter ->> 'status' is null or d.status = filter ->> 'status') and (filter ->> 'reason' is null or d.reason = filter ->> 'reason')
           or exists (select from postmeter.decision c
                      where c.delivery_id = d.id
                        and (filter ->> 'status' is null or c.status_before = filter ->> 'status')
                        and (filter ->> 'reason' is null or c.detail ->> 'reason' = filter ->> 'reason')))
    group by 1 order by 1
$$;

COMMENT ON FUNCTION postmeter.filter_fits(filter jsonb) IS 'Remittances that a filter of a correction names, whatever became of them, by status: what a correction that finds nothing left to do has met. Status and reason of the filter mean now, or when somebody decided.';

CREATE FUNCTION postmeter.folded_until() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- ids are made from the server's clock; the oldest entry of each shard is the first of its index
    select postmeter.clock() - coalesce(greatest(interval '0', clock_timestamp() - to_timestamp(
        min(('x' || translate(left(o.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0)), interval '0')
    from generate_series(0, 1023) n(shard)
    cross join lateral (select x.id from postmeter.outbox x where x.shard = n.shard and not x.returned order by x.id limit 1) o
$$;

COMMENT ON FUNCTION postmeter.folded_until() IS 'What was recorded before this moment is folded: the silence after it says nothing about whoever reports.';

CREATE FUNCTION postmeter.forbid_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception '%.% is append-only: rows are never changed or deleted', tg_table_schema, tg_table_name
        using errcode = 'PM020', schema = tg_table_schema, table = tg_table_name,
              hint = 'Record a decision instead; retention drops whole partitions.';
end
$$;

COMMENT ON FUNCTION postmeter.forbid_change() IS 'Trigger of the append-only tables: refuses UPDATE, DELETE and TRUNCATE for everyone, the owner included (PM020).';

CREATE FUNCTION postmeter.forget_answers() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with old as (
        select i.caller, i.key from postmeter.idempotency i
        where i.answered_at < postmeter.clock() - interval '1 day'
        limit 10000
        for update skip locked
    ), forgotten as (
        delete from postmeter.idempotency i using old where i.caller = old.caller and i.key = old.key returning 1
    )
    select count(*) from forgotten
$$;

COMMENT ON FUNCTION postmeter.forget_answers() IS 'Deletes answers to idempotency keys that are older than a day, some at a time. The identity of usage remembers longer.';

CREATE FUNCTION postmeter.forget_processes(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    forgotten integer;
    consoles  integer;
begin
    delete from postmeter.worker w
    where w.id in (
        select x.id from postmeter.worker x
        where x.reaped_at < clock_timestamp() - interval '7 days'
          -- what it had in hand is known: nobody has to look for it any more
          and not exists (
            select from postmeter.attempt a
            where a.worker_id = x.id and a.id >= coalesce(x.oldest_attempt, postmeter.id_at(x.started_at - interval '1 hour'))
              and not exists (select from postmeter.outcome o where o.attempt_id = a.id))
          -- what it died with while it folded may be suspect for longer
          and (x.folding is null or x.reaped_at < clock_timestamp() - interval '30 days')
        order by x.reaped_at limit most for update skip locked);
    get diagnostics forgotten = row_count;
    delete from postmeter.console c
    where c.id in (
        select x.id from postmeter.console x where x.seen_at < clock_timestamp() - interval '7 days'
        order by x.seen_at limit most for update skip locked);
    get diagnostics consoles = row_count;
    return forgotten + consoles;
end
$$;

COMMENT ON FUNCTION postmeter.forget_processes(most integer) IS 'Forgets up to so many workers and so many consoles that ended more than a week ago: no worker of which an attempt has no outcome, and one that died while it folded only after 30 days. Attempts keep the worker''s id. Returns how many.';

CREATE FUNCTION postmeter.forget_requests(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    horizon   timestamptz := (select date_trunc('day', postmeter.clock() - s.tracker_retention, 'UTC') from postmeter.setting s);
    forgotten integer;
    further   integer;
begin
    perform postmeter.take_gate('gather_requests');
    if exists (select from postmeter.request_news n where n.recorded_at < horizon) then
        return 0;
    end if;
    -- what was dated before its day had a partition
    perform set_config('postmeter.moves_statuses', 'on', true);
    with old as (
        select d.request_key, d.date, d.digest from postmeter.request_status_default d
        where d.date < horizon and d.recorded_at < horizon limit most
    ), gone as (
        delete from postmeter.request_status_default d using old o
        where d.request_key = o.request_key and d.date = o.date and d.digest = o.digest
        returning d.kind, d.message, d.date, d.recorded_at
    ), unsaid as (
        update postmeter.request_message_count c set n = c.n - g.n
        from (select x.message, x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3, 4) g
        where c.message = g.message and c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    ), uncounted as (
        update postmeter.request_status_count c set n = c.n - g.n
        from (select x.kind, postmeter.hour_of(x.date) as hour, postmeter.hour_of(x.recorded_at) as recorded_hour, count(*) as n
              from gone x group by 1, 2, 3) g
        where c.kind = g.kind and c.hour = g.hour and c.recorded_hour = g.recorded_hour
    )
    select count(*) into further from gone;
    perform set_config('postmeter.moves_statuses', 'off', true);
    with old as (
        select q.id from postmeter.request q
        where q.last_date < horizon
          and not exists (select from postmeter.request_status r where r.request_key = q.request_key and r.date <= q.last_date)
        order by q.last_date limit most
    ), gone as (
        delete from postmeter.request q using old o where q.id = o.id returning q.org, q.account, q.outcome, postmeter.hour_of(q.created_at) as hour
    ), uncounted as (
        update postmeter.request_count c set n = c.n - g.n
        from (select x.org, x.account, x.outcome, x.hour, count(*) as n from gone x group by 1, 2, 3, 4) g
        where c.org = g.org and c.account = g.account and c.outcome = g.outcome and c.hour = g.hour
    ), fewer as (
        update postmeter.request_hour c set n = c.n - g.n
        from (select x.outcome, x.hour, count(*) as n from gone x group by 1, 2) g
        where c.outcome = g.outcome and c.hour = g.hour
    )
    select count(*) into forgotten from gone;
    delete from postmeter.request_hour c where c.n = 0 and c.hour < horizon;
    delete from postmeter.request_count c where c.n = 0 and c.hour < horizon;
    delete from postmeter.request_status_count c where c.n = 0 and c.hour < horizon;
    delete from postmeter.request_message_count c where c.n = 0 and c.hour < horizon;
    return forgotten + further;
end
$$;

COMMENT ON FUNCTION postmeter.forget_requests(most integer) IS 'Removes requests, and statuses dated before any partition, that setting.tracker_retention has passed, at most so many of each; returns how many.';

CREATE FUNCTION postmeter.forget_shadow_usage(month date) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- waits for a fold that has them in its hands; whoever calls looks at the rows of the ledger afterwards
    delete from postmeter.shadow_usage g using postmeter.ledger_span(forget_shadow_usage.month) i
    where g.usage_id >= i.first_id and g.usage_id < i.until_id
$$;

COMMENT ON FUNCTION postmeter.forget_shadow_usage(month date) IS 'What a shadow was given of a month of the ledger and does not count goes with the month.';

CREATE FUNCTION postmeter.form_begins(destination_id integer, product text, buyers text[], identity jsonb, since timestamp with time zone, until timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- what the marketplace takes no more is no hour of either form
    select max(d.hour) + interval '1 hour'
    from postmeter.destination t
    join postmeter.meter m on m.destination_id = t.id and m.buyer = any (buyers)
     and m.month >= postmeter.month_of(postmeter.clock() - t.age_limit - interval '1 day', 'UTC')
    join postmeter.delivery d on d.meter_id = m.id and d.product = form_begins.product
     and d.hour >= greatest(postmeter.hour_of(since), postmeter.clock() - t.age_limit) and d.hour < coalesce(until, 'infinity')
    where t.id = form_begins.destination_id and t.shadow_of is null
      and (d.maybe_billed or d.status in ('due', 'in_flight', 'accepted', 'unknown', 'conflict'))
      and array(select k from jsonb_object_keys(d.identity) k order by k)
          <> array(select k from jsonb_object_keys(form_begins.identity) k order by k)
$$;

COMMENT ON FUNCTION postmeter.form_begins(destination_id integer, product text, buyers text[], identity jsonb, since timestamp with time zone, until timestamp with time zone) IS 'The first hour of a product in which nothing was sent, in any dimension, for buyers of another form of identity than the given one; refused hours apart. Null: no hour of that time stands in its way.';

CREATE FUNCTION postmeter.fresh_contract(subscription bigint, month date) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    -- that of whoever else came to its buyer
    select coalesce((select k.contract
                     from postmeter.contract_member k
                     join postmeter.subscription o on o.id = k.subscription_id
                     where o.destination_id = s.destination_id and o.buyer = s.buyer and k.month = fresh_contract.month
                       and k.contract ~ '^contract:.*/#[0-9]+$'
                     order by k.decided_at, o.id limit 1), 'contract:' || s.product || '/#' || s.id)
    from postmeter.subscription s
    join postmeter.destination t on t.id = s.destination_id
    where s.id = fresh_contract.subscription and s.contract is null
      -- somebody who has moved away keeps the buyer's contract for this month
      and exists (select from postmeter.contract_member k
                  join postmeter.subscription o on o.id = k.subscription_id
                  join postmeter.meter m on m.destination_id = s.destination_id and m.buyer = s.buyer and m.month = k.month
                  where k.contract = s.buyer and k.month = fresh_contract.month
                    and o.destination_id = s.destination_id and o.buyer <> s.buyer)
      -- and nobody of the buyer's own has any of it
      and not exists (select from postmeter.subscription o
                      left join postmeter.contract_member k on k.subscription_id = o.id and k.month = fresh_contract.month
                      where o.destination_id = s.destination_id and o.buyer = s.buyer and o.id <> s.id
                        and coalesce(k.contract, postmeter.contract_name(o.product, o.contract), o.buyer) = s.buyer
                        and o.valid_from < (fresh_contract.month + interval '1 month')::timestamp at time zone t.zone
                        and (o.valid_until is null or o.valid_until > fresh_contract.month::timestamp at time zone t.zone))
$_$;

COMMENT ON FUNCTION postmeter.fresh_contract(subscription bigint, month date) IS 'A contract of its own for a subscription whose buyer''s contract belongs to somebody else in that month, who was entered under that buyer and has moved away; null: it needs none.';

CREATE FUNCTION postmeter.gather_gate() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform postmeter.take_gate('gather_requests');
end
$$;

COMMENT ON FUNCTION postmeter.gather_gate() IS 'One counts request statuses at a time, until the transaction ends: who waits for this waits for nobody''s status.';

CREATE FUNCTION postmeter.gather_requests(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    settings postmeter.setting;
    keys     text[];
    dates    timestamptz[];
    digests  uuid[];
    kinds    bigint[];
    messages bigint[];
    moments  timestamptz[];
    gathered integer;
    floor    postmeter.request_floor;
    ended    xid8;
    last_xid xid8;
    last_id  bigint;
begin
    -- Planned by hand: every look-up in a large table is lateral, by its primary key (a range of one moment keeps the
    -- planner from the index by date, where thousands may share a date); what is joined otherwise is small.
    -- What was committed before this statement is seen by it; if another gathers, wait until it has.
    floor := postmeter.request_floor_now();
    if not exists (select from postmeter.request_news n where (n.xid, n.id) >= (floor.xid, floor.id)) then
        return 0;
    end if;
    perform postmeter.take_gate('gather_requests');
    select * into settings from postmeter.setting;
    floor := postmeter.request_floor_now();
    -- transactions before this one have ended, so the next statement sees all that they recorded
    ended := pg_snapshot_xmin(pg_current_snapshot());
    with gone as (
        delete from postmeter.request_news n
        where (n.xid, n.id) in (select x.xid, x.id from postmeter.request_news x where (x.xid, x.id) >= (floor.xid, floor.id)
                                order by x.xid, x.id limit most)
        returning n.xid, n.id, n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    select array_agg(g.request_key), array_agg(g.date), array_agg(g.digest), array_agg(g.kind), array_agg(g.message),
           array_agg(g.recorded_at), count(*), (array_agg(g.xid order by g.xid desc, g.id desc))[1], (array_agg(g.id order by g.xid desc, g.id desc))[1]
    into keys, dates, digests, kinds, messages, moments, gathered, last_xid, last_id from gone g;
    if gathered < most or last_xid >= ended then
        last_xid := ended; last_id := -1;
    end if;
    update postmeter.request_floor f set xid = last_xid, id = last_id + 1;
    if gathered = 0 then
        return 0;
    end if;

    insert into postmeter.request_status_kind (kind, service, source, status, total)
    select n.kind, r.service, r.source, r.status, 0
    from (select distinct on (x.kind) x.* from unnest(keys, dates, digests, kinds) x(key, date, digest, kind)
          where x.kind not in (select k.kind from postmeter.request_status_kind k) order by x.kind) n
    cross join lateral (
        select r.service, r.source, r.status from postmeter.request_status r
        where r.request_key = n.key and r.date >= n.date and r.date <= n.date and r.digest = n.digest offset 0
    ) r
    order by n.kind
    on conflict do nothing;
    update postmeter.request_status_kind k set total = k.total + n.n
    from (select x.kind, count(*) as n from unnest(kinds) x(kind) group by 1) n where k.kind = n.kind;
    insert into postmeter.request_status_count as c (kind, hour, recorded_hour, n)
    select n.kind, postmeter.hour_of(n.date), postmeter.hour_of(n.recorded_at), count(*)
    from unnest(kinds, dates, moments) n(kind, date, recorded_at) group by 1, 2, 3
    on conflict (kind, hour, recorded_hour) do update set n = c.n + excluded.n;
    insert into postmeter.request_message_count as c (message, kind, hour, recorded_hour, n)
    select n.message, n.kind, postmeter.hour_of(n.date), postmeter.hour_of(n.recorded_at), count(*)
    from unnest(messages, kinds, dates, moments) n(message, kind, date, recorded_at) group by 1, 2, 3, 4
    on conflict (message, kind, hour, recorded_hour) do update set n = c.n + excluded.n;

    with touched as materialized (
        select n.key, min(n.date) as first_date, max(n.date) as last_date, max(n.recorded_at) as last_recorded_at, count(*) as n,
               (array_agg(n.date order by n.recorded_at, n.date, n.digest))[1] as created_at,
               (array_agg(n.digest order by n.recorded_at, n.date, n.digest))[1] as created_by
        from unnest(keys, dates, digests, moments) n(key, date, digest, recorded_at) group by 1
    ), known as materialized (
        select t.key, least(t.first_date, q.first_date) as first_date, greatest(t.last_date, q.last_date) as last_date,
               greatest(t.last_recorded_at, q.last_recorded_at) as last_recorded_at, t.n, t.created_by,
               coalesce(q.created_at, t.created_at) as created_at, q.request_id,
               q.org as old_org, q.account as old_account, q.outcome as old_outcome,
               q.inventory_id as old_inventory_id, q.system_id as old_system_id
        from touched t
        left join lateral (select x.* from postmeter.request x where x.request_key = t.key offset 0) q on true
    ), said as materialized (
        -- of a request with more messages than any real one has, the latest count
        select k.key, k.old_account, k.old_org, k.old_inventory_id, k.old_system_id, s.*,
               s.status = any (settings.tracker_success) as is_success, s.status = any (settings.tracker_failure) as is_failure
        from known k
        cross join lateral (
            select r.date, r.digest, r.kind, r.service, r.status, r.status_msg, r.account, r.org, r.inventory_id, r.system_id
            from postmeter.request_status r
            where r.request_key = k.key and r.date between k.first_date and k.last_date
            order by r.date desc, r.digest desc limit 1000
        ) s
    ), service as materialized (
        select s.key, s.service, bool_or(s.is_success or s.is_failure) as has_finished, min(s.date) filter (where s.is_failure) as failed_at,
               (array_agg(s.is_failure order by s.date desc, s.digest desc) filter (where s.is_success or s.is_failure))[1] as has_failed,
               (array_agg(s.status_msg order by s.date desc, s.digest desc) filter (where s.is_failure))[1] as failure
        from said s group by 1, 2
    ), outcome as materialized (
        select v.key, coalesce(array_agg(v.service order by v.service) filter (where not v.has_finished), '{}') as open_services,
               (array_agg(v.service order by v.failed_at, v.service) filter (where v.has_failed))[1] as failed_service,
               (array_agg(v.failure order by v.failed_at, v.service) filter (where v.has_failed))[1] as failure
        from service v group by 1
    ), said_last as materialized (
        -- what only a dropped message said stays
        select s.key, array_agg(distinct s.kind) as kinds,
               coalesce((array_agg(s.account order by s.date desc, s.digest desc) filter (where s.account <> ''))[1], max(s.old_account), '') as account,
               coalesce((array_agg(s.org order by s.date desc, s.digest desc) filter (where s.org <> ''))[1], max(s.old_org), '') as org,
               coalesce((array_agg(s.inventory_id order by s.date desc, s.digest desc) filter (where s.inventory_id <> ''))[1], max(s.old_inventory_id), '') as inventory_id,
               coalesce((array_agg(s.system_id order by s.date desc, s.digest desc) filter (where s.system_id <> ''))[1], max(s.old_system_id), '') as system_id
        from said s group by 1
    ), computed as materialized (
        select k.*, l.kinds, l.account, l.org, l.inventory_id, l.system_id, o.open_services, o.failed_service, o.failure,
               case when o.failed_service is not null then 'failed' when o.open_services <> '{}' then 'open' else 'succeeded' end as outcome
        from known k
        join outcome o on o.key = k.key
        join said_last l on l.key = k.key
    ), written as (
        insert into postmeter.request as w (request_key, request_id, account, org, inventory_id, system_id, created_at, first_date,
            last_date, last_recorded_at, statuses, kinds, outcome, failed_service, failure, open_services)
        select k.key, coalesce(k.request_id, r.request_id), k.account, k.org, k.inventory_id, k.system_id, k.created_at, k.first_date,
               k.last_date, k.last_recorded_at, k.n, k.kinds, k.outcome, k.failed_service, k.failure, k.open_services
        from computed k
        left join lateral (
            select x.request_id from postmeter.request_status x
            where k.request_id is null and x.request_key = k.key
              and x.date >= k.created_at and x.date <= k.created_at and x.digest = k.created_by offset 0
        ) r on true
        on conflict (request_key) do update set account = excluded.account, org = excluded.org, inventory_id = excluded.inventory_id,
            system_id = excluded.system_id, first_date = excluded.first_date, last_date = excluded.last_date,
            last_recorded_at = excluded.last_recorded_at, statuses = w.statuses + excluded.statuses, kinds = excluded.kinds,
            outcome = excluded.outcome, failed_service = excluded.failed_service, failure = excluded.failure,
            open_services = excluded.open_services
    ), moved as (
        select k.org, k.account, k.outcome, postmeter.hour_of(k.created_at) as hour, 1 as n from computed k
        union all
        select k.old_org, k.old_account, k.old_outcome, postmeter.hour_of(k.created_at), -1 from computed k where k.old_org is not null
    ), counted as (
        insert into postmeter.request_count as c (org, account, outcome, hour, n)
        select m.org, m.account, m.outcome, m.hour, sum(m.n) from moved m group by 1, 2, 3, 4 having sum(m.n) <> 0
        on conflict (org, account, outcome, hour) do update set n = c.n + excluded.n
    )
    insert into postmeter.request_hour as c (outcome, hour, n)
    select m.outcome, m.hour, sum(m.n) from moved m group by 1, 2 having sum(m.n) <> 0
    on conflict (outcome, hour) do update set n = c.n + excluded.n;
    return gathered;
end
$$;

COMMENT ON FUNCTION postmeter.gather_requests(most integer) IS 'Counts request statuses that nobody has counted yet, at most so many, and computes their requests anew; returns how many. One at a time; a second caller waits.';

CREATE FUNCTION postmeter.give_back(d postmeter.delivery, who text, why text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    part   record;
    target bigint;
    other  bigint;
begin
    select o.id into other
    from postmeter.withheld w
    join postmeter.timeline_break b on b.id = w.break_id
    join postmeter.hours_of_meter(w.meter_id) h on h.delivery_id <> d.id
    join postmeter.delivery o on o.id = h.delivery_id and o.hour + interval '1 hour' <= b.noticed_at
    where w.delivery_id = d.id
      and (o.status in ('open', 'due', 'in_flight', 'unknown') or o.status = 'held' and o.maybe_billed
           or o.status = 'conflict' and coalesce(o.shown_quantity > o.quantity, true))
      and not exists (select from postmeter.withheld x where x.delivery_id = o.id)
    order by o.hour limit 1;
    if other is not null then
        raise exception 'remittance % may hold what remittance % stands for', other, d.id
            using errcode = 'PM034', column = 'delivery', constraint = 'withheld_elsewhere',
                  hint = format('Settle %s first: it is of the same meter and of the time that was lost.', other);
    end if;
    if not exists (select from postmeter.meter m join postmeter.destination t on t.id = m.destination_id
                   where m.id in (select c.meter_id from postmeter.cut c where c.delivery_id = d.id)
                     and (t.late_policy = 'part' or postmeter.target_hour(m.id) is not null)
                     and not exists (select from postmeter.closed_month x where x.destination_id = t.id and x.month = m.month)) then
        -- no hour can take it now: it stays, and may be written off
        update postmeter.delivery u set maybe_billed = false, maybe_since = null, changed_at = postmeter.clock() where u.id = d.id;
        insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
        values (who, why, 'resolve', d.id, d.status, d.status, d.quantity, jsonb_build_object('billed', false, 'withheld', true));
        return d.status;
    end if;
    update postmeter.delivery u
    set status = 'released', reason = null, maybe_billed = false, maybe_since = null, releases = u.releases + 1, changed_at = postmeter.clock()
    where u.id = d.id;
    for part in select c.meter_id, sum(c.to_bill) as to_bill from postmeter.cut c where c.delivery_id = d.id group by 1 order by 1 loop
        update postmeter.meter m
        set billed = trim_scale(m.billed - part.to_bill), carried = trim_scale(m.carried + part.to_bill * m.denominator),
            billable = trim_scale(m.billable + part.to_bill)
        where m.id = part.meter_id;
        target := postmeter.open_target(part.meter_id, d.identity, d.product);
    end loop;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
    values (who, why, 'resolve', d.id, d.status, 'released', d.quantity, target, jsonb_build_object('billed', false, 'withheld', true));
    return 'released';
end
$$;

COMMENT ON FUNCTION postmeter.give_back(d postmeter.delivery, who text, why text) IS 'A person says that what was withheld was not billed in the time that was lost: it goes back to its meter, and with the next hour; if no hour can take it, it stays held, and may be written off. Refused while an hour of the same meter and time is not settled, for that may hold it. Its meter and the remittance are locked.';

CREATE TABLE postmeter.held (
    usage_id uuid NOT NULL,
    destination_id integer,
    reason text NOT NULL,
    org text NOT NULL,
    product text NOT NULL COLLATE pg_catalog."C",
    metric text NOT NULL,
    account text,
    quantity numeric NOT NULL,
    hour timestamp with time zone NOT NULL,
    deadline timestamp with time zone,
    held_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    corrected_id uuid,
    beyond text,
    bound numeric
);

COMMENT ON TABLE postmeter.held IS 'Usage that cannot be allocated yet, with the reason. A catalogue change that cures it sends it back to the outbox.';

COMMENT ON COLUMN postmeter.held.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.held.destination_id IS 'Where it would go, if that is known.';

COMMENT ON COLUMN postmeter.held.reason IS 'Stable code: no_subscription, ambiguous_subscription, unmapped_dimension, invalid_subscription, too_late, month_closed, poison, by_operator, implausible, lost_time (recorded before commits were lost, and may have been billed with another hour in that time).';

COMMENT ON COLUMN postmeter.held.org IS 'Its org.';

COMMENT ON COLUMN postmeter.held.product IS 'Its product.';

COMMENT ON COLUMN postmeter.held.metric IS 'Its metric.';

COMMENT ON COLUMN postmeter.held.account IS 'Its account.';

COMMENT ON COLUMN postmeter.held.quantity IS 'Its quantity.';

COMMENT ON COLUMN postmeter.held.hour IS 'Its hour.';

COMMENT ON COLUMN postmeter.held.deadline IS 'Last moment at which its own hour can be sent; null while no destination is known.';

COMMENT ON COLUMN postmeter.held.held_at IS 'Since when.';

COMMENT ON COLUMN postmeter.held.corrected_id IS 'The usage that this one corrects; while that is held, this one is returned or given up with it. Null too where an older program held it.';

COMMENT ON COLUMN postmeter.held.beyond IS 'Implausible: which limit of its dimension it is beyond, max_quantity or times_usual.';

COMMENT ON COLUMN postmeter.held.bound IS 'Implausible: that limit when it was held, in units of the metric.';

CREATE FUNCTION postmeter.held_needs(h postmeter.held) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.held_needs(h postmeter.held) IS 'What must be done before usage that is too late for every hour of its month can be counted, in words; null: nothing.';

CREATE FUNCTION postmeter.held_rows(rows jsonb) RETURNS TABLE(row_number bigint, delivery_id bigint, key text, quantity numeric, billed boolean, problem text, verdict text, note text, same bigint[])
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
    with said as materialized (
        select e.ordinality as number, r.*
        from jsonb_array_elements(rows) with ordinality e(value, ordinality) cross join lateral postmeter.read_held_row(e.value) r
    ), named as materialized (
        select s.number, f.id, s.receipt
        from said s
        cross join lateral (
            select s.delivery as id where s.delivery is not null
            union all
            select f.id from postmeter.destination t join postmeter.delivery f on f.destination_id = t.id and f.key = s.key
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
        select x.number, array_agg(f.id) as ids, min(f.id) as id, min(f.key) as key, count(distinct f.destination_id) as destinations
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
        select s.*, coalesce(cardinality(f.ids), 0) as hits, f.destinations, case when cardinality(f.ids) = 1 then f.id end as id,
               case when s.delivery is not null and s.key <> f.key
                        then format('key must be %s, as remittance %s bears it, or be left out', f.key, f.id)
                    when coalesce(s.delivery::text, s.key) is null
                      or exists (select from bearers b where b.receipt = s.receipt and b.delivery_id = any (f.ids)) then null
                    when exists (select from bearers b where b.receipt = s.receipt)
                        then format('receipt is that of remittance %s, not of this one',
                                    (select min(b.delivery_id) from bearers b where b.receipt = s.receipt))
                    when s.receipt is not null and exists (select from postmeter.receipts_of(f.id) r)
                        then format('receipt must be %s, as remittance %s was given it, or be left out',
                                    (select min(r.receipt) from postmeter.receipts_of(f.id) r), f.id) end as foreign_name
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
                when o.hits = 0 and coalesce(o.delivery::text, o.key) is null then 'no unresolved remittance has this receipt: name the key'
                when o.hits = 0 then coalesce(postmeter.told_dropped(o.delivery), postmeter.told_dropped_key(o.destination, o.key), 'there is no such remittance')
                when o.hits = 1 and postmeter.told_dropped(o.id) is not null then postmeter.told_dropped(o.id)
                when o.hits > 1 and o.destinations = o.hits then 'several remittances bear it: name the destination'
                when o.hits > 1 then 'several remittances bear it: name the key, or resolve each by its number' end,
           array_agg(o.number) over same
    from one o
    -- what cannot be read says nothing about anything
    window same as (partition by case when coalesce(o.problem, o.foreign_name) is null then o.id end,
                                 case when o.id is null or coalesce(o.problem, o.foreign_name) is not null then o.number end)
$$;

COMMENT ON FUNCTION postmeter.held_rows(rows jsonb) IS 'The rows of resolve_rows, each with the remittance that it names, and the verdict of those that decide nothing whatever the remittance is: malformed, not_found, ambiguous, contradictory (rows of one remittance that say different things: none of them counts), repeated.';

CREATE FUNCTION postmeter.held_together(usages uuid[], back boolean) RETURNS uuid[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with asked as materialized (
        select h.usage_id from postmeter.held h where h.usage_id = any (usages)
        union
        select h.corrected_id from postmeter.held h where back and h.usage_id = any (usages) and h.corrected_id is not null
    )
    select coalesce(array_agg(h.usage_id order by h.usage_id), '{}')
    from postmeter.held h
    where h.usage_id in (select a.usage_id from asked a) or h.corrected_id in (select a.usage_id from asked a)
$$;

COMMENT ON FUNCTION postmeter.held_together(usages uuid[], back boolean) IS 'Held usages with the held corrections of them; back: and with what they correct themselves. In order, so that whoever locks them all waits for nobody who waits for him.';

CREATE FUNCTION postmeter.held_usage_by(filter jsonb) RETURNS SETOF postmeter.held
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    given jsonb := filter - 'within';
begin
    perform postmeter.check_filter(given, array['org', 'account', 'product', 'metric', 'destination', 'reason', 'from', 'until', 'usage', 'all']);
    perform postmeter.check_word(given, 'reason', array['no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription',
        'too_late', 'month_closed', 'poison', 'by_operator', 'lost_time', 'implausible']);
    if filter ? 'within' then
        -- what the whole filter means was asked before; what is held for another reason by now is another matter
        return query
        select h.* from postmeter.held h
        where h.usage_id = any (array(select w.id::uuid from jsonb_array_elements_text(filter -> 'within') w(id)))
          and (filter ->> 'reason' is null or h.reason = filter ->> 'reason')
        order by h.usage_id;
        return;
    end if;
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

COMMENT ON FUNCTION postmeter.held_usage_by(filter jsonb) IS 'Held usage that a filter names; none: somebody decided about it already. With within, a list of usages, only those of them. Refuses what cannot be meant, values that do not exist, and what fits nothing, as deliveries_by does.';

CREATE FUNCTION postmeter.held_verdict(d postmeter.delivery, held numeric, billed boolean, OUT verdict text, OUT status_after text, OUT note text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
    if held > 0 and held <> coalesce(case when d.status in ('accepted', 'conflict') then d.shown_quantity end, d.quantity) then
        verdict := 'other_quantity';
        note := format('they hold %s, this remittance is %s: look it up, then resolve it alone or write it off', trim_scale(held), trim_scale(d.quantity));
    elsif d.status = 'conflict' and billed then
        verdict := 'billed'; status_after := 'accepted';
    elsif unclear then
        verdict := case when billed then 'billed' else 'not_billed' end;
        status_after := case when billed then 'accepted' when d.deadline >= postmeter.clock() then 'due' else 'expired' end;
    elsif d.status = 'accepted' and billed then
        verdict := 'agrees'; note := 'is accepted already';
    elsif billed = (select (c.detail ->> 'billed')::boolean from postmeter.decision c
                    where c.delivery_id = d.id and c.verb = 'resolve' order by c.id desc limit 1) then
        verdict := 'agrees'; note := format('was resolved so before, and is %s now', replace(d.status, '_', ' '));
    else
        verdict := 'nothing_to_resolve';
        note := case when d.status = 'accepted' then 'we call it accepted: look it up, it is a matter for their support'
                     when d.status = 'conflict' then 'they hold another quantity under this key: write it off, or say that it is billed'
                     when d.status in ('due', 'in_flight') then 'it is on its way: it is sent with the same key'
                     else format('is %s, and was never maybe billed', replace(d.status, '_', ' ')) end;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.held_verdict(d postmeter.delivery, held numeric, billed boolean, OUT verdict text, OUT status_after text, OUT note text) IS 'What resolve_rows makes of one remittance of which the marketplace holds this quantity (null: not said), or which it holds or not.';

CREATE FUNCTION postmeter.hold(filter jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f
             where f.id in (select b.id from postmeter.deliveries_by(filter, true) b) order by f.id for update loop
        -- claimed meanwhile: a call is under way, and nobody stops a call
        continue when d.status <> 'due';
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := 'held'; quantity := d.quantity;
        note := case when d.deadline < now + interval '1 hour' then 'its deadline is less than an hour away: it goes on while this is held' end;
        if not dry_run then
            delete from postmeter.due q where q.destination_id = d.destination_id and q.delivery_id = d.id;
            delete from postmeter.later l where l.delivery_id = d.id;
            update postmeter.delivery u set status = 'held', reason = 'by_operator', changed_at = now where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'hold', d.id, d.status, 'held', d.quantity, jsonb_build_object('filter', filter - 'within'));
        end if;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.hold(filter jsonb, who text, why text, dry_run boolean) IS 'Puts aside remittances that wait to be sent, as held by_operator: retry sends them again, release and write_off end them. Their deadlines go on. What is in flight is left alone. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.hour_of(moment timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT date_bin('01:00:00'::interval, moment, '2000-01-01 00:00:00+00'::timestamp with time zone) AS date_bin;
END;

COMMENT ON FUNCTION postmeter.hour_of(moment timestamp with time zone) IS 'Start of the hour in UTC, whatever the session''s time zone.';

CREATE TABLE postmeter.part (
    delivery_id bigint NOT NULL,
    meter_id bigint NOT NULL
);

COMMENT ON TABLE postmeter.part IS 'Other meters that a remittance also counts: of an earlier month, whose late or released quantity is a part of its own, or of the contract, where its month began under another buyer.';

COMMENT ON COLUMN postmeter.part.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.part.meter_id IS 'The meter of an earlier month or of the contract.';

CREATE FUNCTION postmeter.hours_of_meter(meter_id bigint) RETURNS TABLE(delivery_id bigint, hour timestamp with time zone, opened_at timestamp with time zone)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT d.id,
     d.hour,
     d.opened_at
    FROM postmeter.delivery d
   WHERE (d.meter_id = hours_of_meter.meter_id)
 UNION ALL
  SELECT d.id,
     d.hour,
     d.opened_at
    FROM (postmeter.part p
      JOIN postmeter.delivery d ON ((d.id = p.delivery_id)))
   WHERE ((p.meter_id = hours_of_meter.meter_id) AND (d.meter_id <> p.meter_id));
END;

COMMENT ON FUNCTION postmeter.hours_of_meter(meter_id bigint) IS 'The remittances that count on a meter: of its own key, and those of which it is a part.';

CREATE FUNCTION postmeter.id_window(OUT earliest uuid, OUT latest uuid) RETURNS record
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT postmeter.id_at((statement_timestamp() - '01:00:00'::interval)) AS id_at,
     postmeter.id_at((clock_timestamp() + '01:00:00'::interval)) AS id_at;
END;

COMMENT ON FUNCTION postmeter.id_window(OUT earliest uuid, OUT latest uuid) IS 'Between which ids those lie that the running statement makes. An id says when its row was recorded: the months of the ledger, and what looks for rows that wait, are ranges of ids.';

CREATE FUNCTION postmeter.identity_at(meter_id bigint, hour timestamp with time zone, given_identity jsonb, given_product text) RETURNS TABLE(identity jsonb, product text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select s.identity, s.product
    from postmeter.meter m
    join postmeter.subscription s on s.destination_id = m.destination_id and s.buyer = m.buyer
    where m.id = identity_at.meter_id
      and s.valid_from < identity_at.hour + interval '1 hour' and (s.valid_until is null or identity_at.hour < s.valid_until)
    order by s.product = identity_at.given_product desc, s.identity = identity_at.given_identity desc, s.id
    limit 1
$$;

COMMENT ON FUNCTION postmeter.identity_at(meter_id bigint, hour timestamp with time zone, given_identity jsonb, given_product text) IS 'The identity and product with which an hour of a meter''s key is sent; of several the given ones. No row: no subscription is valid then.';

CREATE FUNCTION postmeter.insert_parts(deliveries bigint[], meters bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into postmeter.part (delivery_id, meter_id)
    select distinct g.delivery_id, g.meter_id
    from unnest(deliveries, meters) g(delivery_id, meter_id)
    join postmeter.delivery d on d.id = g.delivery_id and d.meter_id <> g.meter_id
    order by 1, 2
    on conflict do nothing;
end
$$;

COMMENT ON FUNCTION postmeter.insert_parts(deliveries bigint[], meters bigint[]) IS 'Says that these remittances count on these meters too. The caller has them locked, and open.';

CREATE FUNCTION postmeter.installation_doubt() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    i   postmeter.installation;
    now text := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
begin
    select x.* into i from postmeter.installation x;
    return case
        when i.server is null then null
        when i.is_copy then 'this database was declared a copy'
        when i.server <> postmeter.server_identity()
            then format('this database was copied or restored: its installation stands at server/database %s, and this is %s', i.server, postmeter.server_identity())
        when i.timeline <> now
            then format('the server is on timeline %s and was on %s, and no worker that remembers its last commits has found them here', now, i.timeline)
        when i.position > pg_current_wal_insert_lsn()
            then format('the server stands at %s and stood at %s', pg_current_wal_insert_lsn(), i.position) end;
end
$$;

COMMENT ON FUNCTION postmeter.installation_doubt() IS 'Why nobody knows whether this database is the installation: then nothing is claimed, until a person has declared what it is. Null: it is.';

CREATE FUNCTION postmeter.installation_went_on(seen text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.installation i
    set timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), position = pg_current_wal_flush_lsn(), settled_at = clock_timestamp()
    where i.server = postmeter.server_identity() and not i.is_copy and i.timeline = seen
      and i.timeline <> substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
$$;

COMMENT ON FUNCTION postmeter.installation_went_on(seen text) IS 'A worker that remembers the last commits of this timeline, and saw them before a failover, has looked for them here: they are all there, or it has noted the break. Only on the very server and database that the installation was settled at.';

CREATE FUNCTION postmeter.judge(contradiction bigint, counts text, who text, why text, OUT status text, OUT changed boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    c       postmeter.contradiction;
    d       postmeter.delivery;
    part    record;
    after   text;
    decided bigint;
    now     timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    if counts is null or counts not in ('ours', 'theirs') then
        raise exception 'counts cannot be %', coalesce(quote_literal(counts), 'null')
            using errcode = 'PM037', column = 'counts', constraint = 'judge_counts', hint = 'ours: what was settled stands; theirs: it is counted as they say.';
    end if;
    perform postmeter.month_gate();
    select x.* into c from postmeter.contradiction x where x.id = judge.contradiction;
    if not found then
        raise exception 'there is no contradiction %', judge.contradiction
            using errcode = 'PM033', column = 'contradiction', constraint = 'contradiction_exists', hint = 'postmeter.contradiction_list lists them.';
    end if;
    -- meters first, then the remittance: the same order as the cut
    perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k where k.delivery_id = c.delivery_id));
    select f.* into d from postmeter.delivery f where f.id = c.delivery_id for update;
    select x.* into c from postmeter.contradiction x where x.id = judge.contradiction for update;
    status := d.status;
    changed := c.decision_id is null;
    if not changed then
        if exists (select from postmeter.decision x where x.id = c.decision_id and x.detail ->> 'counts' = counts) then
            return;
        end if;
        raise exception 'contradiction % was judged before, by decision %', c.id, c.decision_id
            using errcode = 'PM034', column = 'contradiction', constraint = 'contradiction_open', hint = 'postmeter.decision_log says by whom, and why.';
    end if;
    after := d.status;
    if counts = 'theirs' then
        perform postmeter.check_not_dropped(array[c.delivery_id]);
        if c.delivery_id is null or c.is_earlier or d.status not in ('accepted', 'rejected', 'expired', 'conflict', 'written_off', 'released', 'held') or d.maybe_billed
           or d.body is null then
            raise exception 'contradiction % cannot be counted as they say', c.id
                using errcode = 'PM034', column = 'counts', constraint = 'judge_theirs',
                      hint = case when c.delivery_id is null then 'It is about the sum of a day: correct its remittances (resolve, write off), then let ours stand.'
                                  when c.is_earlier then 'They speak of what was sent before the remittance was counted anew: agree with their support on what counts, then let ours stand.'
                                  else 'The remittance is on its way: wait until it is settled.' end;
        end if;
        after := case c.says when 'held' then 'accepted' when 'other_quantity' then 'conflict' else 'rejected' end;
        if d.status = 'released' and after <> 'rejected' then
            if exists (select from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
                       join postmeter.closed_month x on x.destination_id = m.destination_id and x.month = m.month
                       where k.delivery_id = d.id) then
                raise exception 'the month of contradiction % is closed', c.id
                    using errcode = 'PM034', column = 'counts', constraint = 'judge_month', hint = 'Reopen the month first, or let ours stand.';
            end if;
            -- what was given back is billed here after all: if it was billed elsewhere meanwhile, that is credit now
            for part in select k.meter_id, sum(k.to_bill) as to_bill from postmeter.cut k where k.delivery_id = d.id group by 1 order by 1 loop
                update postmeter.meter m
                set billed = trim_scale(m.billed + part.to_bill), carried = trim_scale(m.carried - part.to_bill * m.denominator),
                    billable = trim_scale(greatest(0, m.billable - part.to_bill))
                where m.id = part.meter_id;
            end loop;
        end if;
        if d.status = 'written_off' and after <> 'rejected' then
            perform postmeter.undo_write_off_corrected(d.id);
        end if;
        update postmeter.delivery u
        set status = after, reason = null, changed_at = now, maybe_billed = false, maybe_since = null,
            confirmed = case when after = 'accepted' then true end,
            shown_quantity = case when after = 'rejected' then null else coalesce(c.their_quantity, u.shown_quantity) end
        where u.id = d.id;
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, destination_id, status_before, status_after, quantity, detail)
    values (who, why, 'judge', c.delivery_id, c.destination_id, d.status, after, d.quantity,
            jsonb_strip_nulls(jsonb_build_object('contradiction', c.id, 'counts', counts, 'says', c.says, 'their_quantity', c.their_quantity::text)))
    returning id into decided;
    update postmeter.contradiction x set decision_id = decided where x.id = c.id;
    update postmeter.delivery u
    set confirmed = case when u.status = 'accepted' then true else u.confirmed end,
        evidence_read = case when u.status = 'open' then greatest(u.evidence_read, coalesce(c.evidence_id, 0)) else u.evidence_read end
    where u.id = c.delivery_id and (u.status = 'accepted' and u.confirmed is false or u.status = 'open' and u.evidence_read < c.evidence_id);
    update postmeter.doubt x set decision_id = decided where x.delivery_id = d.id and x.decision_id is null;
    status := after;
end
$$;

COMMENT ON FUNCTION postmeter.judge(contradiction bigint, counts text, who text, why text, OUT status text, OUT changed boolean) IS 'A person judges a contradiction. ours: what was settled stands, whatever they say. theirs: the remittance counts as they say: accepted, a conflict with their quantity, or, where they hold nothing of what was called accepted, rejected; what a release had given back is taken back from its meters, and is credit if it was billed elsewhere meanwhile. Returns the remittance''s status; changed is false if the same was judged before.';

CREATE FUNCTION postmeter.keep_dropped() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'INSERT' then
        perform postmeter.check_month_kept(new.destination_id, new.month);
        return new;
    end if;
    perform postmeter.check_month_kept(old.destination_id, old.month);
    return case tg_op when 'DELETE' then old else new end;
end
$$;

COMMENT ON FUNCTION postmeter.keep_dropped() IS 'Trigger of meter and closed_month: a billing month whose remittances were dropped gets no meter, and stays closed.';

CREATE FUNCTION postmeter.keep_held(usages uuid[]) RETURNS SETOF uuid
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select h.usage_id from postmeter.held h where h.usage_id = any (usages) order by h.usage_id for share skip locked
$$;

COMMENT ON FUNCTION postmeter.keep_held(usages uuid[]) IS 'Keeps held usage held until this transaction ends, as far as nobody is about to return it; which it is. A fold that holds their corrections then moves with them.';

CREATE FUNCTION postmeter.keep_unconfirmed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if new.status = 'accepted' and new.confirmed is false then
        insert into postmeter.unconfirmed (delivery_id)
        select new.id where new.hour + interval '1 hour' <= postmeter.broken_at()
        on conflict do nothing;
    else
        delete from postmeter.unconfirmed u where u.delivery_id = new.id;
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.keep_unconfirmed() IS 'Trigger of delivery: keeps postmeter.unconfirmed. What a person calls billed is no duplicate.';

CREATE FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT s.buyer
    FROM ((postmeter.meter m
      CROSS JOIN LATERAL postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c(subscription_id))
      JOIN postmeter.subscription s ON ((s.id = c.subscription_id)))
   WHERE ((m.id = key_of_hour.meter_id) AND (s.valid_from < (key_of_hour.hour + '01:00:00'::interval)) AND ((s.valid_until IS NULL) OR (key_of_hour.hour < s.valid_until)))
   ORDER BY (s.buyer <> m.buyer), s.valid_from DESC, s.id
  LIMIT 1;
END;

COMMENT ON FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) IS 'The buyer under which an hour of a meter''s contract is sent: the meter''s own if that is valid then. Null: none is.';

CREATE FUNCTION postmeter.key_of_identity(meter_id bigint, identity jsonb) RETURNS bigint
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT k.id
    FROM (((postmeter.meter m
      CROSS JOIN LATERAL postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c(subscription_id))
      JOIN postmeter.subscription s ON ((s.id = c.subscription_id)))
      JOIN postmeter.meter k ON (((k.destination_id = m.destination_id) AND (k.buyer = s.buyer) AND (k.dimension = m.dimension) AND (k.month = m.month))))
   WHERE ((m.id = key_of_identity.meter_id) AND (s.identity = key_of_identity.identity))
   ORDER BY k.id
  LIMIT 1;
END;

COMMENT ON FUNCTION postmeter.key_of_identity(meter_id bigint, identity jsonb) IS 'The meter of the key under which an identity of a meter''s contract is sent; null: its contract has no such identity.';

CREATE FUNCTION postmeter.largest_remainder(total numeric, decimals integer, weights numeric[]) RETURNS TABLE(item bigint, share numeric)
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
 WITH given AS (
          SELECT w.item,
             w.weight,
             sum(w.weight) OVER () AS weights,
             (largest_remainder.total * (('1e'::text || largest_remainder.decimals))::numeric) AS units
            FROM unnest(largest_remainder.weights) WITH ORDINALITY w(weight, item)
         ), floors AS (
          SELECT g.item,
             g.units,
             div((g.units * g.weight), g.weights) AS floor,
             mod((g.units * g.weight), g.weights) AS rest
            FROM given g
           WHERE (g.weights > (0)::numeric)
         ), ranked AS (
          SELECT f.item,
             f.floor,
             row_number() OVER (ORDER BY f.rest DESC, f.item) AS place,
             (f.units - sum(f.floor) OVER ()) AS left_over
            FROM floors f
         )
  SELECT r.item,
     ((r.floor + (
         CASE
             WHEN ((r.place)::numeric <= r.left_over) THEN 1
             ELSE 0
         END)::numeric) * (('1e-'::text || largest_remainder.decimals))::numeric)
    FROM ranked r
   ORDER BY r.item;
END;

COMMENT ON FUNCTION postmeter.largest_remainder(total numeric, decimals integer, weights numeric[]) IS 'Shares of a total that has so many decimals, by whole weights that are not negative: they sum to it exactly. What is left over after rounding down goes, a last digit each, to the largest remainders, of equal ones to the first. No rows if all weights are zero.';

CREATE FUNCTION postmeter.last_remittance(delivery bigint) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive way (delivery_id, steps) as (
        select delivery, 0
        union all
        select (select c.target_delivery_id from postmeter.decision c
                where c.delivery_id = w.delivery_id and c.verb = 'release' order by c.id desc limit 1), w.steps + 1
        from way w join postmeter.delivery d on d.id = w.delivery_id
        where d.status = 'released' and w.steps < 100
    )
    select w.delivery_id from way w where w.delivery_id is not null order by w.steps desc limit 1
$$;

COMMENT ON FUNCTION postmeter.last_remittance(delivery bigint) IS 'Where the quantity of a remittance is now: releases are followed to the remittance that it came to.';

CREATE FUNCTION postmeter.late_of_dropped() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.late_of_dropped() IS 'Trigger of late_evidence: what is said of a dropped remittance is an open contradiction, for nothing else can show it.';

CREATE FUNCTION postmeter.ledger_closings(month date) RETURNS TABLE(destination text, billing_month date, decision_id bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.name, m.month, c.decision_id
    from postmeter.ledger_meters(ledger_closings.month) k(meter_id)
    join postmeter.meter m on m.id = k.meter_id
    join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null
    left join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
    group by 1, 2, 3 order by 2, 1
$$;

COMMENT ON FUNCTION postmeter.ledger_closings(month date) IS 'The billing months of live destinations that a month of the ledger is about, and the decisions that closed them; null: not closed.';

CREATE FUNCTION postmeter.ledger_heads(month date) RETURNS TABLE(table_name text, rows bigint, chain text, sums jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
    with ids as materialized (select * from postmeter.ledger_span(ledger_heads.month))
    select 'usage', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.quantity as quantity from postmeter.usage r
          where r.id >= (select first_id from ids) and r.id < (select until_id from ids) order by r.id) l
    union all
    select 'allocation', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.quantity as quantity from postmeter.allocation r
          where r.usage_id >= (select first_id from ids) and r.usage_id < (select until_id from ids) order by r.usage_id, r.destination_id) l
    union all
    select 'attempt', count(*), encode(postmeter.chain_of(l.line), 'hex'), '{}'
    from (select postmeter.ledger_line(r) as line from postmeter.attempt r
          where r.id >= (select first_id from ids) and r.id < (select until_id from ids) order by r.id) l
    union all
    select 'outcome', count(*), encode(postmeter.chain_of(l.line), 'hex'),
           jsonb_build_object('shown_quantity', trim_scale(coalesce(sum(l.quantity), 0))::text)
    from (select postmeter.ledger_line(r) as line, r.shown_quantity as quantity from postmeter.outcome r
          where r.attempt_id >= (select first_id from ids) and r.attempt_id < (select until_id from ids) order by r.attempt_id) l
$$;

COMMENT ON FUNCTION postmeter.ledger_heads(month date) IS 'Rows of a month of the ledger, the heads of their hash chains, and their sums, as they are in the database now.';

CREATE FUNCTION postmeter.ledger_key(parent text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE parent
             WHEN 'allocation'::text THEN 'usage_id'::text
             WHEN 'outcome'::text THEN 'attempt_id'::text
             ELSE 'id'::text
         END AS "case";
END;

COMMENT ON FUNCTION postmeter.ledger_key(parent text) IS 'The column by which a table of the ledger is partitioned.';

CREATE FUNCTION postmeter.ledger_leftover_heads(month date) RETURNS TABLE(table_name text, rows bigint, chain text, sums jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.ledger_leftover_heads(month date) IS 'Rows of exempted and usage_written_off of a month of the ledger, and the heads of their hash chains.';

CREATE FUNCTION postmeter.ledger_time(moment timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT to_char((moment AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text) AS to_char;
END;

COMMENT ON FUNCTION postmeter.ledger_time(moment timestamp with time zone) IS 'A moment as the export writes it: UTC, microseconds, whatever the session says.';

CREATE TABLE postmeter.allocation (
    usage_id uuid NOT NULL,
    destination_id integer NOT NULL,
    delivery_id bigint NOT NULL,
    meter_metric_id bigint NOT NULL,
    round integer NOT NULL,
    quantity numeric NOT NULL,
    hour timestamp with time zone NOT NULL,
    subscription_id bigint NOT NULL
)
PARTITION BY RANGE (usage_id);

COMMENT ON TABLE postmeter.allocation IS 'Which remittance counts a usage, per destination, for ever. Written by fold; ended by a changed catalogue while its hour is open; moved by recount, which leaves a row in recounted.';

COMMENT ON COLUMN postmeter.allocation.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.allocation.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.allocation.delivery_id IS 'The remittance whose cut counts it.';

COMMENT ON COLUMN postmeter.allocation.meter_metric_id IS 'The meter and metric it is counted on.';

COMMENT ON COLUMN postmeter.allocation.round IS 'Which of the remittance''s cuts counts it, from 0; -1: none. A correction of what a cut has counted lowers the meter at once.';

COMMENT ON COLUMN postmeter.allocation.quantity IS 'Its quantity in units of the metric.';

COMMENT ON COLUMN postmeter.allocation.hour IS 'Its own hour; another than the remittance''s for late usage.';

COMMENT ON COLUMN postmeter.allocation.subscription_id IS 'The subscription that matched.';

CREATE FUNCTION postmeter.ledger_line(a postmeter.allocation) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('usage_id', (a).usage_id, 'destination_id', (a).destination_id, 'delivery_id', (a).delivery_id, 'meter_metric_id', (a).meter_metric_id, 'round', (a).round, 'quantity', ((a).quantity)::text, 'hour', postmeter.ledger_time((a).hour), 'subscription_id', (a).subscription_id))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(a postmeter.allocation) IS 'An allocation as the export writes it.';

CREATE FUNCTION postmeter.ledger_line(a postmeter.attempt) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('id', (a).id, 'delivery_id', (a).delivery_id, 'destination_id', (a).destination_id, 'call_id', (a).call_id, 'worker_id', (a).worker_id, 'number', (a).number, 'claimed_at', postmeter.ledger_time((a).claimed_at)))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(a postmeter.attempt) IS 'An attempt as the export writes it.';

CREATE TABLE postmeter.cut (
    delivery_id bigint NOT NULL,
    meter_id bigint NOT NULL,
    round integer NOT NULL,
    denominator numeric NOT NULL,
    units numeric NOT NULL,
    billed_before numeric NOT NULL,
    to_bill numeric NOT NULL,
    carried numeric NOT NULL,
    deferred boolean NOT NULL,
    metrics jsonb NOT NULL,
    cut_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL
);

COMMENT ON TABLE postmeter.cut IS 'The arithmetic of every cut, per meter counted in it, as it was. Append-only.';

COMMENT ON COLUMN postmeter.cut.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.cut.meter_id IS 'The meter: its own, or an earlier month''s for a part.';

COMMENT ON COLUMN postmeter.cut.round IS 'Of the remittance''s cuts, from 0; below zero: no cut. What was written off less what corrections had taken from it, or what they hold less what was cut.';

COMMENT ON COLUMN postmeter.cut.denominator IS 'Common denominator D of the meter''s factors.';

COMMENT ON COLUMN postmeter.cut.units IS 'Sum over the metrics of (used - covered) x factor x D, after this cut.';

COMMENT ON COLUMN postmeter.cut.billed_before IS 'Billing units billed on this meter before.';

COMMENT ON COLUMN postmeter.cut.to_bill IS 'Billing units that this cut adds: max(0, R(units / D) - billed before). In rounds below zero: corrected before it was written off, or held otherwise than it was cut.';

COMMENT ON COLUMN postmeter.cut.carried IS 'units - (billed before + to bill) x D: a remainder, or credit if negative.';

COMMENT ON COLUMN postmeter.cut.deferred IS 'The hour could no longer be sent in time: everything is carried to another hour of the month.';

COMMENT ON COLUMN postmeter.cut.metrics IS 'Per metric: used before, used here, cover, covered, factor.';

COMMENT ON COLUMN postmeter.cut.cut_at IS 'When.';

CREATE FUNCTION postmeter.ledger_line(c postmeter.cut) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('delivery_id', (c).delivery_id, 'meter_id', (c).meter_id, 'round', (c).round, 'denominator', ((c).denominator)::text, 'units', ((c).units)::text, 'billed_before', ((c).billed_before)::text, 'to_bill', ((c).to_bill)::text, 'carried', ((c).carried)::text, 'deferred', (c).deferred, 'metrics', (c).metrics, 'cut_at', postmeter.ledger_time((c).cut_at)))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(c postmeter.cut) IS 'A cut as the export writes it.';

CREATE FUNCTION postmeter.ledger_line(d postmeter.delivery) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('id', (d).id, 'destination_id', (d).destination_id, 'kind', (d).kind, 'key', (d).key, 'meter_id', (d).meter_id, 'hour', postmeter.ledger_time((d).hour), 'identity', (d).identity, 'product', (d).product, 'status', (d).status, 'reason', (d).reason, 'maybe_billed', (d).maybe_billed, 'maybe_since', postmeter.ledger_time((d).maybe_since), 'confirmed', (d).confirmed, 'deadline', postmeter.ledger_time((d).deadline), 'round', (d).round, 'releases', (d).releases, 'quantity', ((d).quantity)::text, 'body', (d).body, 'batch_group', (d).batch_group, 'idempotency_key', (d).idempotency_key, 'batch_limit', (d).batch_limit, 'tries', (d).tries, 'attempts', (d).attempts, 'deaths', (d).deaths, 'attempt_id', (d).attempt_id, 'evidence_read', (d).evidence_read, 'shown_quantity', ((d).shown_quantity)::text, 'shadow', (d).shadow, 'opened_at', postmeter.ledger_time((d).opened_at), 'cut_at', postmeter.ledger_time((d).cut_at), 'changed_at', postmeter.ledger_time((d).changed_at)))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(d postmeter.delivery) IS 'A remittance as the export writes it.';

CREATE TABLE postmeter.exempted (
    usage_id uuid NOT NULL,
    exemption_id bigint NOT NULL
);

COMMENT ON TABLE postmeter.exempted IS 'Usage of exempt orgs: accounted for, never sent.';

COMMENT ON COLUMN postmeter.exempted.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.exempted.exemption_id IS 'The exemption that applies.';

CREATE FUNCTION postmeter.ledger_line(x postmeter.exempted) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('usage_id', (x).usage_id, 'exemption_id', (x).exemption_id))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(x postmeter.exempted) IS 'What exempted a usage, as the export writes it.';

CREATE FUNCTION postmeter.ledger_line(m postmeter.meter) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('id', (m).id, 'destination_id', (m).destination_id, 'buyer', (m).buyer, 'dimension', (m).dimension, 'month', (m).month, 'rounding', (m).rounding, 'decimals', (m).decimals, 'month_end', (m).month_end, 'billed', ((m).billed)::text, 'carried', ((m).carried)::text, 'billable', ((m).billable)::text, 'denominator', ((m).denominator)::text, 'cuts', (m).cuts))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(m postmeter.meter) IS 'A meter as the export writes it.';

CREATE TABLE postmeter.meter_metric (
    id bigint NOT NULL,
    meter_id bigint NOT NULL,
    product text NOT NULL COLLATE pg_catalog."C",
    metric text NOT NULL COLLATE pg_catalog."C",
    factor_numerator bigint NOT NULL,
    factor_denominator bigint NOT NULL,
    used numeric DEFAULT 0 NOT NULL,
    covered numeric DEFAULT 0 NOT NULL,
    usages bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE postmeter.meter_metric IS 'The metrics counted on a meter, each with its factor of that month and its totals.';

COMMENT ON COLUMN postmeter.meter_metric.id IS 'Number; what allocations point to.';

COMMENT ON COLUMN postmeter.meter_metric.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.meter_metric.product IS 'Our product.';

COMMENT ON COLUMN postmeter.meter_metric.metric IS 'Our metric.';

COMMENT ON COLUMN postmeter.meter_metric.factor_numerator IS 'Billing units per metric unit: numerator.';

COMMENT ON COLUMN postmeter.meter_metric.factor_denominator IS 'Billing units per metric unit: denominator.';

COMMENT ON COLUMN postmeter.meter_metric.used IS 'Metric units of all hours cut so far this month.';

COMMENT ON COLUMN postmeter.meter_metric.covered IS 'Of these, covered by contract: lowered or ended cover acts on later usage only.';

COMMENT ON COLUMN postmeter.meter_metric.usages IS 'Usages of all hours cut so far this month; written with used.';

CREATE FUNCTION postmeter.ledger_line(m postmeter.meter_metric) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('id', (m).id, 'meter_id', (m).meter_id, 'product', (m).product, 'metric', (m).metric, 'factor_numerator', (m).factor_numerator, 'factor_denominator', (m).factor_denominator, 'used', ((m).used)::text, 'covered', ((m).covered)::text, 'usages', (m).usages))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(m postmeter.meter_metric) IS 'A metric of a meter as the export writes it.';

CREATE TABLE postmeter.outcome (
    attempt_id uuid NOT NULL,
    outcome text NOT NULL,
    code text,
    is_try boolean NOT NULL,
    shown_quantity numeric,
    retry_after interval,
    receipt text,
    http_status integer,
    their_request_id text,
    excerpt text,
    duration interval,
    recorded_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT outcome_code_check CHECK ((octet_length(code) <= 200)),
    CONSTRAINT outcome_excerpt_check CHECK ((octet_length(excerpt) <= 8000)),
    CONSTRAINT outcome_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'duplicate'::text, 'conflict'::text, 'rejected'::text, 'not_entitled'::text, 'batch_refused'::text, 'throttled'::text, 'unavailable'::text, 'unauthorised'::text, 'unknown'::text, 'unrecognised'::text, 'too_old'::text, 'not_sent'::text, 'no_credentials'::text, 'unmapped'::text, 'dry_run'::text, 'handed_back'::text]))),
    CONSTRAINT outcome_receipt_check CHECK ((octet_length(receipt) <= 1000)),
    CONSTRAINT outcome_their_request_id_check CHECK ((octet_length(their_request_id) <= 1000))
)
PARTITION BY RANGE (attempt_id);

COMMENT ON TABLE postmeter.outcome IS 'What an attempt told us. The first writer wins, and that is the fence. Append-only.';

COMMENT ON COLUMN postmeter.outcome.attempt_id IS 'The attempt.';

COMMENT ON COLUMN postmeter.outcome.outcome IS 'What one call told us: docs/states.md.';

COMMENT ON COLUMN postmeter.outcome.code IS 'The marketplace''s or the transport''s stable word.';

COMMENT ON COLUMN postmeter.outcome.is_try IS 'It counts against the retry policy.';

COMMENT ON COLUMN postmeter.outcome.shown_quantity IS 'The quantity they showed.';

COMMENT ON COLUMN postmeter.outcome.retry_after IS 'How long they asked us to wait.';

COMMENT ON COLUMN postmeter.outcome.receipt IS 'Their receipt (AWS: MeteringRecordId).';

COMMENT ON COLUMN postmeter.outcome.http_status IS 'HTTP status.';

COMMENT ON COLUMN postmeter.outcome.their_request_id IS 'Their id of the call, to quote to their support.';

COMMENT ON COLUMN postmeter.outcome.excerpt IS 'What they said, bounded and without secrets.';

COMMENT ON COLUMN postmeter.outcome.duration IS 'How long the call took.';

COMMENT ON COLUMN postmeter.outcome.recorded_at IS 'When it was recorded.';

CREATE FUNCTION postmeter.ledger_line(o postmeter.outcome) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('attempt_id', (o).attempt_id, 'outcome', (o).outcome, 'code', (o).code, 'is_try', (o).is_try, 'shown_quantity', ((o).shown_quantity)::text, 'retry_after', (EXTRACT(epoch FROM (o).retry_after))::text, 'receipt', (o).receipt, 'http_status', (o).http_status, 'their_request_id', (o).their_request_id, 'excerpt', (o).excerpt, 'duration', (EXTRACT(epoch FROM (o).duration))::text, 'recorded_at', postmeter.ledger_time((o).recorded_at)))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(o postmeter.outcome) IS 'An outcome as the export writes it; spans of time in seconds.';

CREATE FUNCTION postmeter.ledger_line(p postmeter.part) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('delivery_id', (p).delivery_id, 'meter_id', (p).meter_id))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(p postmeter.part) IS 'A part as the export writes it.';

CREATE TABLE postmeter.usage (
    id uuid NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    org text NOT NULL,
    product text NOT NULL,
    metric text NOT NULL,
    quantity numeric NOT NULL,
    used_at timestamp with time zone NOT NULL,
    account text,
    corrects text,
    corrected_identity uuid,
    request_id text,
    traceparent text,
    attributes jsonb NOT NULL,
    recorded_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT usage_check CHECK ((((corrects IS NULL) = (corrected_identity IS NULL)) AND ((quantity >= (0)::numeric) OR (corrects IS NOT NULL)))),
    CONSTRAINT usage_quantity_check CHECK (((quantity >= ('-1000000000000'::bigint)::numeric) AND (quantity <= ('1000000000000'::bigint)::numeric)))
)
PARTITION BY RANGE (id);

COMMENT ON TABLE postmeter.usage IS 'Every usage ever recorded: immutable facts. Partitioned by id, that is by time of recording.';

COMMENT ON COLUMN postmeter.usage.id IS 'Id given at the first recording.';

COMMENT ON COLUMN postmeter.usage.source IS 'The service that recorded it; with event_id its identity.';

COMMENT ON COLUMN postmeter.usage.event_id IS 'The service''s own id of the event.';

COMMENT ON COLUMN postmeter.usage.org IS 'The customer.';

COMMENT ON COLUMN postmeter.usage.product IS 'The product, by stable tag.';

COMMENT ON COLUMN postmeter.usage.metric IS 'What was metered, by stable tag.';

COMMENT ON COLUMN postmeter.usage.quantity IS 'An increment in units of the metric, never a running total; negative in a correction.';

COMMENT ON COLUMN postmeter.usage.used_at IS 'When it was used: decides the hour, in UTC.';

COMMENT ON COLUMN postmeter.usage.account IS 'Which marketplace account, where the org has several.';

COMMENT ON COLUMN postmeter.usage.corrects IS 'Event id, of the same source, of the usage that this one corrects.';

COMMENT ON COLUMN postmeter.usage.corrected_identity IS 'Identity of the usage that this one corrects.';

COMMENT ON COLUMN postmeter.usage.request_id IS 'The request that caused it, for tracking.';

COMMENT ON COLUMN postmeter.usage.traceparent IS 'W3C trace context of that request.';

COMMENT ON COLUMN postmeter.usage.attributes IS 'Evidence (service level, region …); never part of a key.';

COMMENT ON COLUMN postmeter.usage.recorded_at IS 'When it was recorded, on postmeter.clock().';

CREATE FUNCTION postmeter.ledger_line(u postmeter.usage) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('id', (u).id, 'source', (u).source, 'event_id', (u).event_id, 'org', (u).org, 'product', (u).product, 'metric', (u).metric, 'quantity', ((u).quantity)::text, 'used_at', postmeter.ledger_time((u).used_at), 'account', (u).account, 'corrects', (u).corrects, 'corrected_identity', (u).corrected_identity, 'request_id', (u).request_id, 'traceparent', (u).traceparent, 'attributes', (u).attributes, 'recorded_at', postmeter.ledger_time((u).recorded_at)))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(u postmeter.usage) IS 'A usage as the export writes it: every column, the quantity as text, to the letter.';

CREATE TABLE postmeter.usage_written_off (
    usage_id uuid NOT NULL,
    decision_id bigint NOT NULL
);

COMMENT ON TABLE postmeter.usage_written_off IS 'Held usage that a person gave up.';

COMMENT ON COLUMN postmeter.usage_written_off.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.usage_written_off.decision_id IS 'The decision.';

CREATE FUNCTION postmeter.ledger_line(x postmeter.usage_written_off) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (json_build_object('usage_id', (x).usage_id, 'decision_id', (x).decision_id))::text AS json_build_object;
END;

COMMENT ON FUNCTION postmeter.ledger_line(x postmeter.usage_written_off) IS 'By which decision a usage was given up, as the export writes it.';

CREATE FUNCTION postmeter.ledger_meters(month date) RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with ids as materialized (select * from postmeter.ledger_span(ledger_meters.month))
    select mm.meter_id from ids, postmeter.allocation a join postmeter.meter_metric mm on mm.id = a.meter_metric_id
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
    union
    select d.meter_id from ids, postmeter.attempt x join postmeter.delivery d on d.id = x.delivery_id
    where x.id >= ids.first_id and x.id < ids.until_id
$$;

COMMENT ON FUNCTION postmeter.ledger_meters(month date) IS 'The meters that a month of the ledger is about: of its usage, and of what was attempted in it.';

CREATE FUNCTION postmeter.ledger_span(month date, OUT first_id uuid, OUT until_id uuid) RETURNS record
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT postmeter.id_at(((month)::timestamp without time zone AT TIME ZONE 'UTC'::text)) AS id_at,
     postmeter.id_at(((month + '1 mon'::interval) AT TIME ZONE 'UTC'::text)) AS id_at;
END;

COMMENT ON FUNCTION postmeter.ledger_span(month date, OUT first_id uuid, OUT until_id uuid) IS 'The ids of a month of the ledger: from the first on, and before until_id.';

CREATE FUNCTION postmeter.ledger_why_not(month date) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
declare
    keep  interval := (select s.ledger_retention from postmeter.setting s);
    ends  timestamptz := (ledger_why_not.month + interval '1 month')::timestamp at time zone 'UTC';
    ids   record;
    bad   record;
    meters bigint[];
begin
    if exists (select from postmeter.ledger_drop d where d.month = ledger_why_not.month) then
        return 'it was dropped';
    elsif keep is null then
        return 'no retention is set: everything is kept';
    elsif ends > clock_timestamp() then
        return 'it is still written to';
    elsif ends > postmeter.clock() - keep then
        return format('it is kept until %s', to_char((ends + keep) at time zone 'UTC', 'YYYY-MM-DD'));
    end if;
    select * into ids from postmeter.ledger_span(ledger_why_not.month);
    if ledger_why_not.month in (select m from postmeter.spilled_months() m) then
        return 'rows of it wait in a default partition';
    end if;
    select count(*) as n into bad from postmeter.outbox o where o.id >= ids.first_id and o.id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it waits in the outbox: %s', bad.n);
    end if;
    select count(*) as n, min(h.reason) as reason into bad from postmeter.held h where h.usage_id >= ids.first_id and h.usage_id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it is held: %s (%s)', bad.n, bad.reason);
    end if;
    select count(*) as n into bad from postmeter.shadow_usage g where g.reason is null and g.usage_id >= ids.first_id and g.usage_id < ids.until_id;
    if bad.n > 0 then
        return format('usage of it waits for a shadow: %s', bad.n);
    end if;
    select a.delivery_id as id into bad from postmeter.attempt a
    where a.id >= ids.first_id and a.id < ids.until_id and not exists (select from postmeter.outcome o where o.attempt_id = a.id) limit 1;
    if found then
        return format('an attempt of remittance %s has no outcome', bad.id);
    end if;
    meters := array(select * from postmeter.ledger_meters(ledger_why_not.month));
    select d.id, d.status into bad
    from (select a.delivery_id from postmeter.allocation a where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
          union
          select a.delivery_id from postmeter.attempt a where a.id >= ids.first_id and a.id < ids.until_id
          union
          -- money moves on without usage of its own (released, deferred, carried, the month's last cut), but on its meter
          select o.id from postmeter.delivery o where o.meter_id = any (meters)
          union
          select p.delivery_id from postmeter.part p where p.meter_id = any (meters)) k
    join postmeter.delivery d on d.id = k.delivery_id
    where d.maybe_billed or d.status in ('open', 'due', 'in_flight')
       or not d.shadow and d.status not in ('accepted', 'nothing_due', 'dry_run', 'written_off', 'released')
    order by d.id limit 1;
    if found then
        return format('remittance %s is %s', bad.id, replace(bad.status, '_', ' '));
    end if;
    select c.destination, c.billing_month into bad from postmeter.ledger_closings(ledger_why_not.month) c where c.decision_id is null limit 1;
    if found then
        return format('%s of %s is not closed', to_char(bad.billing_month, 'YYYY-MM'), bad.destination);
    end if;
    select a.subscription_id as id into bad from postmeter.allocation a
    where a.usage_id >= ids.first_id and a.usage_id < ids.until_id
      and not exists (select from postmeter.subscription s where s.id = a.subscription_id) limit 1;
    if found then
        return format('usage of it was counted by subscription %s, which is gone', bad.id);
    end if;
    -- each usage in one place, with its quantity: what the balances will carry is what was
    select u.event_id, u.source into bad
    from postmeter.usage u
    left join (select a.usage_id, count(*) as n, sum(a.quantity) as quantity from postmeter.allocation a
               join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
               where a.usage_id >= ids.first_id and a.usage_id < ids.until_id group by 1) a on a.usage_id = u.id
    left join postmeter.exempted x on x.usage_id = u.id
    left join postmeter.usage_written_off w on w.usage_id = u.id
    where u.id >= ids.first_id and u.id < ids.until_id
      and (coalesce(a.n, 0) + num_nonnulls(x.usage_id, w.usage_id) <> 1 or a.quantity <> u.quantity)
    limit 1;
    if found then
        return format('usage %s of %s is not in exactly one place', bad.event_id, bad.source);
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.ledger_why_not(month date) IS 'Why a month of the ledger is not finished: the first reason that is found; null: it is, and may be exported and then dropped.';

CREATE FUNCTION postmeter.limits_follow() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    first_hour timestamptz := postmeter.clock() - greatest(old.age_limit, new.age_limit);
begin
    if (old.age_limit, old.month_cutoff, old.closing_window, old.margin, old.zone)
       is not distinct from (new.age_limit, new.month_cutoff, new.closing_window, new.margin, new.zone) then
        return null;
    end if;
    -- a mark each, and no lock on any hour: a fold that is not committed may meter whoever is subscribed
    insert into postmeter.deadline_change (destination_id, buyer, since)
    select new.id, b.buyer, first_hour
    from (select m.buyer from postmeter.meter m
          where m.destination_id = new.id and m.month >= postmeter.month_of(first_hour - interval '1 day', 'UTC')
          union
          select s.buyer from postmeter.subscription s where s.destination_id = new.id and s.buyer is not null) b
    order by b.buyer;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.limits_follow() IS 'Trigger of destination: where a limit that deadlines are made of has changed, all its buyers are marked (deadline_change); the deadlines of the hours that are not sent yet follow, in shares.';

CREATE FUNCTION postmeter.lock_meters(meters bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    now timestamptz := postmeter.clock();
begin
    -- made before any lock is taken, in the order of their keys, as fold makes them
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
    select distinct on (1, 2, 3, 4)
           m.destination_id, x.buyer, m.dimension, x.month, coalesce(i.rounding, m.rounding),
           coalesce(i.decimals, m.decimals), coalesce(i.month_end, m.month_end)
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    cross join lateral (
        select p.buyer, postmeter.month_of(now, t.zone) as month
        from postmeter.part_keys(m.id) p
        where t.late_policy = 'part' and m.month < postmeter.month_of(now, t.zone)
        union all
        -- other keys of its contract
        select s.buyer, m.month
        from postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) c
        join postmeter.subscription s on s.id = c.subscription_id
        where s.buyer <> m.buyer
    ) x
    left join lateral postmeter.dimension_in(m.destination_id, m.dimension, x.month) i on true
    where m.id = any (meters)
      and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = m.month)
      and not exists (select from postmeter.meter r
                      where r.destination_id = m.destination_id and r.buyer = x.buyer and r.dimension = m.dimension
                        and r.month = x.month)
    order by 1, 2, 3, 4
    on conflict do nothing;
    perform 1 from postmeter.meter l
    where l.id in (
        select unnest(meters)
        union
        select r.id
        from postmeter.meter m
        join postmeter.destination t on t.id = m.destination_id
        cross join lateral postmeter.part_keys(m.id) p
        join postmeter.meter r on r.destination_id = m.destination_id and r.buyer = p.buyer and r.dimension = m.dimension
                              and r.month = postmeter.month_of(now, t.zone)
        where m.id = any (meters) and t.late_policy = 'part'
        union
        select k.key_meter_id from unnest(meters) m(id) cross join lateral postmeter.contract_keys(m.id) k)
    order by l.id for update;
end
$$;

COMMENT ON FUNCTION postmeter.lock_meters(meters bigint[]) IS 'Locks meters in the order of their numbers, together with those of the running month to which their late or released quantity may go as a part, and those of their contract''s other keys: nobody who needs several takes one of them late.';

CREATE FUNCTION postmeter.lock_to_resolve(delivery bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- meters first, then the remittance: the same order as the cut. Only what moves quantity needs them
    if exists (select from postmeter.delivery d where d.id = lock_to_resolve.delivery and (d.status = 'conflict' or d.reason = 'lost_time')) then
        perform postmeter.month_gate();
        perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k where k.delivery_id = lock_to_resolve.delivery));
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.lock_to_resolve(delivery bigint) IS 'Locks the meters of a remittance whose resolution moves quantity.';

CREATE FUNCTION postmeter.make_alert_post(repeat_after interval) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    now  timestamptz := postmeter.clock();
    made uuid;
    ids  bigint[];
    news jsonb;
begin
    if not postmeter.try_gate('make_alert_post')
       or exists (select from postmeter.alert_post p where p.posted_at is null and p.given_up_at is null)
       -- a receiver that refuses what it is told is not told the same again at once
       or exists (select from postmeter.alert_post p where p.given_up_at > now - interval '15 minutes') then
        return null;
    end if;
    with changes as (
        select a.*, case when a.cleared_at is not null then 'cleared' when a.told_at is null then 'opened' else 'open' end as change
        from postmeter.alert a
        where (a.cleared_at is null and (a.told_at is null or a.told_at <= now - repeat_after))
           -- also what opened and cleared while the last post was on its way
           or (a.clear_told_at is null and a.cleared_at > now - interval '7 days'
               and (a.told_at is not null or a.opened_at >= (select max(p.made_at) from postmeter.alert_post p)))
        order by a.severity, a.id
        -- one that was too large for the receiver is followed by smaller ones
        limit case when exists (select from postmeter.alert_post p where p.given_up_at > now - interval '1 day') then 20 else 200 end
    ), rows as (
        select c.change, c.id, jsonb_build_object('id', c.id, 'name', c.name, 'subject', c.subject, 'severity', c.severity,
                   'count', c.count, 'summary', c.summary, 'opened_at', c.opened_at, 'last_seen_at', c.last_seen_at,
                   'cleared_at', c.cleared_at, 'details', c.details) as alert
        from changes c
    )
    select array_agg(r.id),
           jsonb_build_object('opened', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'opened'), '[]'),
                              'open', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'open'), '[]'),
                              'cleared', coalesce(jsonb_agg(r.alert order by r.id) filter (where r.change = 'cleared'), '[]'))
    into ids, news from rows r;
    if ids is null then
        return null;
    end if;
    insert into postmeter.alert_post (made_at, body)
    values (now, jsonb_build_object('type', 'postmeter.alerts', 'timestamp', now, 'data', news)::text)
    returning id into made;
    update postmeter.alert a set told_at = now, clear_told_at = case when a.cleared_at is not null then now end
    where a.id = any (ids);
    return made;
end
$$;

COMMENT ON FUNCTION postmeter.make_alert_post(repeat_after interval) IS 'Makes one post of all that is new: alerts opened, open for so long again since the last post, and cleared. Null: nothing is, or the last post has not arrived yet, or was given up a quarter of an hour ago.';

CREATE TABLE postmeter.catalogue_mark (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    buyer text NOT NULL COLLATE pg_catalog."C",
    org text COLLATE pg_catalog."C",
    product text COLLATE pg_catalog."C",
    exemption_id bigint,
    is_awaited boolean NOT NULL,
    wanted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    awaits xid8
);

COMMENT ON TABLE postmeter.catalogue_mark IS 'Buyers in whose open hours usage may be counted that the catalogue, since it was changed, places elsewhere. Maintenance returns that usage to the outbox, in shares, and deletes the row when none can come any more that goes by the old catalogue; until then the cut of such an hour looks itself.';

COMMENT ON COLUMN postmeter.catalogue_mark.id IS 'Number of the mark.';

COMMENT ON COLUMN postmeter.catalogue_mark.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.catalogue_mark.buyer IS 'The buyer.';

COMMENT ON COLUMN postmeter.catalogue_mark.org IS 'Only usage of this org can have moved; null: of any.';

COMMENT ON COLUMN postmeter.catalogue_mark.product IS 'Only usage of this product can have moved; null: of any.';

COMMENT ON COLUMN postmeter.catalogue_mark.exemption_id IS 'This exemption has ended earlier or begins later: what it exempted may have to be counted. Null: no exemption did.';

COMMENT ON COLUMN postmeter.catalogue_mark.is_awaited IS 'Usage may come to this buyer from elsewhere: its hours wait until it was returned, until a lead before their deadline at the latest.';

COMMENT ON COLUMN postmeter.catalogue_mark.wanted_at IS 'When the catalogue changed; the server''s time.';

COMMENT ON COLUMN postmeter.catalogue_mark.next_at IS 'From when on a worker takes it; later than now: one has it in hand.';

COMMENT ON COLUMN postmeter.catalogue_mark.awaits IS 'Nothing was left to return: it is looked once more when all transactions before this one have ended, for one of them may count usage by the old catalogue. Null: not yet.';

CREATE FUNCTION postmeter.mark_is_unread(mark postmeter.catalogue_mark) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM postmeter.subscription s
           WHERE ((s.org = (mark_is_unread.mark).org) AND (s.buyer IS NULL) AND (s.invalid IS NULL)))) AS "exists";
END;

COMMENT ON FUNCTION postmeter.mark_is_unread(mark postmeter.catalogue_mark) IS 'Whether an identity of the mark''s org was changed by SQL and no worker has read it yet: nobody knows where its usage goes.';

CREATE TABLE postmeter.closed_month (
    destination_id integer NOT NULL,
    month date NOT NULL,
    closed_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    decision_id bigint NOT NULL,
    CONSTRAINT closed_month_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric))
);

COMMENT ON TABLE postmeter.closed_month IS 'Months that a person closed at a destination: their usage is held from then on, and nothing is carried into their hours.';

COMMENT ON COLUMN postmeter.closed_month.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.closed_month.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.closed_month.closed_at IS 'When.';

COMMENT ON COLUMN postmeter.closed_month.decision_id IS 'The decision that closed it.';

CREATE TABLE postmeter.exemption (
    id bigint NOT NULL,
    org text NOT NULL,
    product text,
    reason text NOT NULL,
    valid_from timestamp with time zone DEFAULT '2000-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    valid_until timestamp with time zone,
    CONSTRAINT exemption_check CHECK (((valid_until = postmeter.hour_of(valid_until)) AND (valid_until > valid_from))),
    CONSTRAINT exemption_org_check CHECK ((org <> ''::text)),
    CONSTRAINT exemption_product_check CHECK ((product <> ''::text)),
    CONSTRAINT exemption_reason_check CHECK ((reason <> ''::text)),
    CONSTRAINT exemption_valid_from_check CHECK ((valid_from = postmeter.hour_of(valid_from)))
);

COMMENT ON TABLE postmeter.exemption IS 'Orgs that are not billed through a marketplace, and why.';

COMMENT ON COLUMN postmeter.exemption.id IS 'Number of the exemption.';

COMMENT ON COLUMN postmeter.exemption.org IS 'The org.';

COMMENT ON COLUMN postmeter.exemption.product IS 'Only for this product; null: for all.';

COMMENT ON COLUMN postmeter.exemption.reason IS 'Why, in a sentence.';

COMMENT ON COLUMN postmeter.exemption.valid_from IS 'First hour.';

COMMENT ON COLUMN postmeter.exemption.valid_until IS 'End (exclusive); null: open.';

CREATE FUNCTION postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamp with time zone[], shadow integer DEFAULT NULL::integer) RETURNS TABLE(item bigint, destination_id integer, subscription_id bigint, buyer text, identity jsonb, dimension_id bigint, exemption_id bigint, reason text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 WITH wanted AS MATERIALIZED (
          SELECT u.org,
             u.product,
             u.metric,
             u.account,
             u.hour,
             u.item
            FROM UNNEST(resolve.orgs, resolve.products, resolve.metrics, resolve.accounts, resolve.hours) WITH ORDINALITY u(org, product, metric, account, hour, item)
         ), matching AS MATERIALIZED (
          SELECT w_1.item,
             min(s_1.id) AS subscription_id,
             count(*) AS subscriptions
            FROM (wanted w_1
              JOIN postmeter.subscription s_1 ON (((s_1.org = w_1.org) AND (s_1.product = w_1.product) AND ((w_1.account IS NULL) OR (s_1.account = w_1.account)) AND (s_1.valid_from <= w_1.hour) AND ((s_1.valid_until IS NULL) OR (w_1.hour < s_1.valid_until)) AND
                 CASE
                     WHEN (resolve.shadow IS NULL) THEN (NOT (s_1.destination_id IN ( SELECT x.id
                        FROM postmeter.destination x
                       WHERE (x.shadow_of IS NOT NULL))))
                     ELSE (s_1.destination_id = resolve.shadow)
                 END)))
           GROUP BY w_1.item
         )
  SELECT w.item,
     s.destination_id,
     s.id,
     s.buyer,
     s.identity,
     d.id,
     e.id,
         CASE
             WHEN (e.id IS NOT NULL) THEN NULL::text
             WHEN (m.item IS NULL) THEN 'no_subscription'::text
             WHEN (m.subscriptions > 1) THEN 'ambiguous_subscription'::text
             WHEN (s.buyer IS NULL) THEN 'invalid_subscription'::text
             WHEN (d.id IS NULL) THEN 'unmapped_dimension'::text
             WHEN (EXISTS ( SELECT
                FROM postmeter.closed_month c
               WHERE ((c.destination_id = s.destination_id) AND (c.month = postmeter.month_of(w.hour, t.zone))))) THEN 'month_closed'::text
             ELSE NULL::text
         END AS "case"
    FROM (((((wanted w
      LEFT JOIN matching m ON ((m.item = w.item)))
      LEFT JOIN postmeter.subscription s ON ((s.id = m.subscription_id)))
      LEFT JOIN postmeter.destination t ON ((t.id = s.destination_id)))
      LEFT JOIN LATERAL ( SELECT d_1.id
            FROM postmeter.dimension d_1
           WHERE ((d_1.destination_id = s.destination_id) AND (d_1.product = w.product) AND (d_1.metric = w.metric) AND (d_1.valid_from <= postmeter.month_of(w.hour, t.zone)))
           ORDER BY d_1.valid_from DESC
          LIMIT 1) d ON (true))
      LEFT JOIN LATERAL ( SELECT e_1.id
            FROM postmeter.exemption e_1
           WHERE ((e_1.org = w.org) AND ((e_1.product IS NULL) OR (e_1.product = w.product)) AND (e_1.valid_from <= w.hour) AND ((e_1.valid_until IS NULL) OR (w.hour < e_1.valid_until)))
           ORDER BY e_1.id
          LIMIT 1) e ON (true));
END;

COMMENT ON FUNCTION postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamp with time zone[], shadow integer) IS 'For each org, product, metric, account and hour: the subscription and dimension that apply, the exemption, or the reason why none does; among the live destinations, or at the one shadow that is named. The one home of that rule.';

CREATE FUNCTION postmeter.resolved_at(org text, product text, used_at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT COALESCE(max(x.at), postmeter.hour_of(resolved_at.used_at)) AS "coalesce"
    FROM (postmeter.subscription s
      CROSS JOIN LATERAL ( VALUES (s.valid_from), (s.valid_until)) x(at))
   WHERE ((s.org = resolved_at.org) AND (s.product = resolved_at.product) AND (x.at > postmeter.hour_of(resolved_at.used_at)) AND (x.at <= resolved_at.used_at));
END;

COMMENT ON FUNCTION postmeter.resolved_at(org text, product text, used_at timestamp with time zone) IS 'The moment for which the catalogue is asked about a usage: the last end or begin of its org''s subscriptions within its hour that was not after it, else the start of its hour. Usages with the same moment are resolved alike.';

CREATE TABLE postmeter.outbox (
    id uuid DEFAULT postmeter.new_id() NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    org text NOT NULL,
    product text NOT NULL,
    metric text NOT NULL,
    quantity numeric NOT NULL,
    used_at timestamp with time zone NOT NULL,
    account text,
    corrects text,
    request_id text,
    traceparent text,
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    returned boolean DEFAULT false NOT NULL,
    shard smallint GENERATED ALWAYS AS (((hashtextextended(org, (0)::bigint) & (1023)::bigint))::smallint) STORED NOT NULL,
    entered_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

COMMENT ON TABLE postmeter.outbox IS 'Usage that is not accounted for yet. A producer writes this one row; identity and usage are written by its trigger. Inserted and deleted, never updated.';

COMMENT ON COLUMN postmeter.outbox.id IS 'Id of the usage. Producers have no grant on it.';

COMMENT ON COLUMN postmeter.outbox.source IS 'See usage.source. Up to 255 bytes.';

COMMENT ON COLUMN postmeter.outbox.event_id IS 'See usage.event_id. Up to 255 bytes.';

COMMENT ON COLUMN postmeter.outbox.org IS 'See usage.org. Up to 255 bytes.';

COMMENT ON COLUMN postmeter.outbox.product IS 'See usage.product. Up to 255 bytes.';

COMMENT ON COLUMN postmeter.outbox.metric IS 'See usage.metric. Up to 255 bytes.';

COMMENT ON COLUMN postmeter.outbox.quantity IS 'See usage.quantity. At most 10^12 with at most 15 decimals.';

COMMENT ON COLUMN postmeter.outbox.used_at IS 'See usage.used_at.';

COMMENT ON COLUMN postmeter.outbox.account IS 'See usage.account.';

COMMENT ON COLUMN postmeter.outbox.corrects IS 'See usage.corrects.';

COMMENT ON COLUMN postmeter.outbox.request_id IS 'See usage.request_id.';

COMMENT ON COLUMN postmeter.outbox.traceparent IS 'See usage.traceparent.';

COMMENT ON COLUMN postmeter.outbox.attributes IS 'See usage.attributes. A JSON object of at most 8 KiB.';

COMMENT ON COLUMN postmeter.outbox.returned IS 'This usage was recorded before and comes back (from held, or from a fold that met a cut hour). Producers have no grant on it.';

COMMENT ON COLUMN postmeter.outbox.shard IS 'Bucket of the org, so that folds take tenants in turn.';

COMMENT ON COLUMN postmeter.outbox.entered_at IS 'When it came into the outbox: recorded, or sent back from held. What a fold gives back keeps it. Producers have no grant on it.';

CREATE TABLE postmeter.usage_identity (
    identity uuid NOT NULL,
    content uuid NOT NULL,
    usage_id uuid NOT NULL
);

COMMENT ON TABLE postmeter.usage_identity IS 'Which identities were recorded, and with what content: what makes recording twice harmless.';

COMMENT ON COLUMN postmeter.usage_identity.identity IS 'Hash of source and event id (postmeter.usage_identity_of).';

COMMENT ON COLUMN postmeter.usage_identity.content IS 'Hash of what must be equal in a repetition (postmeter.usage_content_of).';

COMMENT ON COLUMN postmeter.usage_identity.usage_id IS 'The usage.';

CREATE FUNCTION postmeter.marked_exempt(marks bigint[]) RETURNS TABLE(usage_id uuid, exemption_id bigint, org text, product text, metric text, hour timestamp with time zone, quantity numeric, to_destination_id integer, to_buyer text, to_dimension text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 WITH counted AS MATERIALIZED (
          SELECT x.usage_id,
             x.exemption_id,
             u.org,
             u.product,
             u.metric,
             u.account,
             u.quantity,
             postmeter.hour_of(u.used_at) AS hour,
             postmeter.resolved_at(u.org, u.product, u.used_at) AS at,
             u.corrected_identity
            FROM (((( SELECT DISTINCT c.exemption_id
                    FROM postmeter.catalogue_mark c
                   WHERE ((c.id = ANY (marked_exempt.marks)) AND (c.exemption_id IS NOT NULL))) k
              JOIN postmeter.exemption e ON ((e.id = k.exemption_id)))
              JOIN postmeter.exempted x ON (((x.exemption_id = k.exemption_id) AND (x.usage_id >= postmeter.id_at((clock_timestamp() - ( SELECT (max(t.age_limit) + '1 day'::interval)
                    FROM postmeter.destination t)))))))
              JOIN postmeter.usage u ON ((u.id = x.usage_id)))
           WHERE ((u.org <> e.org) OR (u.product <> e.product) OR (u.used_at < e.valid_from) OR (u.used_at >= e.valid_until) OR (u.corrected_identity IS NOT NULL))
         ), kind AS MATERIALIZED (
          SELECT c.org,
             c.product,
             c.metric,
             c.account,
             c.hour,
             c.at,
             row_number() OVER () AS item
            FROM counted c
           WHERE (c.corrected_identity IS NULL)
           GROUP BY c.org, c.product, c.metric, c.account, c.hour, c.at
         ), given AS (
          SELECT array_agg(k.org ORDER BY k.item) AS orgs,
             array_agg(k.product ORDER BY k.item) AS products,
             array_agg(k.metric ORDER BY k.item) AS metrics,
             array_agg(k.account ORDER BY k.item) AS accounts,
             array_agg(k.at ORDER BY k.item) AS moments
            FROM kind k
         ), billed AS MATERIALIZED (
          SELECT k.org,
             k.product,
             k.metric,
             k.account,
             k.hour,
             k.at,
             k.item,
             r.destination_id,
             r.buyer,
             n.name
            FROM ((((((given g
              CROSS JOIN LATERAL postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments) r(item, destination_id, subscription_id, buyer, identity, dimension_id, exemption_id, reason))
              JOIN kind k ON ((k.item = r.item)))
              JOIN postmeter.dimension n ON ((n.id = r.dimension_id)))
              JOIN postmeter.destination t ON ((t.id = r.destination_id)))
              LEFT JOIN postmeter.meter m ON (((m.destination_id = t.id) AND (m.buyer = r.buyer) AND (m.dimension = n.name) AND (m.month = postmeter.month_of(k.hour, t.zone)))))
              LEFT JOIN postmeter.delivery d ON (((d.meter_id = m.id) AND (d.hour = k.hour))))
           WHERE ((r.exemption_id IS NULL) AND (r.reason IS NULL) AND
                 CASE
                     WHEN (d.id IS NULL) THEN (((k.hour + '01:00:00'::interval) + t.grace) > ( SELECT postmeter.clock() AS clock))
                     ELSE (d.status = 'open'::text)
                 END)
         ), moved AS MATERIALIZED (
          SELECT c.usage_id,
             c.exemption_id,
             c.org,
             c.product,
             c.metric,
             c.account,
             c.quantity,
             c.hour,
             c.at,
             c.corrected_identity,
             b.destination_id,
             b.buyer,
             b.name
            FROM (counted c
              JOIN billed b ON (((b.org = c.org) AND (b.product = c.product) AND (b.metric = c.metric) AND (NOT (b.account IS DISTINCT FROM c.account)) AND (b.hour = c.hour) AND (b.at = c.at))))
           WHERE (c.corrected_identity IS NULL)
         )
  SELECT m.usage_id,
     m.exemption_id,
     m.org,
     m.product,
     m.metric,
     m.hour,
     m.quantity,
     m.destination_id,
     m.buyer,
     m.name
    FROM moved m
 UNION ALL
  SELECT c.usage_id,
     c.exemption_id,
     c.org,
     c.product,
     c.metric,
     COALESCE(m.hour, c.hour) AS "coalesce",
     c.quantity,
     m.destination_id,
     m.buyer,
     m.name
    FROM ((counted c
      JOIN postmeter.usage_identity i ON ((i.identity = c.corrected_identity)))
      LEFT JOIN moved m ON ((m.usage_id = i.usage_id)))
   WHERE ((c.corrected_identity IS NOT NULL) AND ((m.usage_id IS NOT NULL) OR (EXISTS ( SELECT
            FROM postmeter.outbox o
           WHERE ((o.shard = ((hashtextextended(c.org, (0)::bigint) & (1023)::bigint))::smallint) AND (o.id = i.usage_id)))) OR (EXISTS ( SELECT
            FROM (postmeter.allocation a
              JOIN postmeter.destination t ON (((t.id = a.destination_id) AND (t.shadow_of IS NULL))))
           WHERE (a.usage_id = i.usage_id)))));
END;

COMMENT ON FUNCTION postmeter.marked_exempt(marks bigint[]) IS 'Usage that is exempt by the exemptions of these marks and that the catalogue counts by now, with its corrections, and where; its hour is still open.';

CREATE FUNCTION postmeter.placed_otherwise(deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamp with time zone[], moments timestamp with time zone[], unread boolean) RETURNS TABLE(item bigint, to_destination_id integer, to_buyer text, to_dimension text, exemption_id bigint, reason text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 WITH kind AS MATERIALIZED (
          SELECT k_1.item,
             k_1.org,
             k_1.account,
             k_1.hour,
             k_1.at,
             d.hour AS counted_in,
             d.destination_id,
             t.zone,
                 CASE
                     WHEN (t.shadow_of IS NOT NULL) THEN t.id
                     ELSE NULL::integer
                 END AS shadow,
             y.buyer,
             y.dimension,
             mm.product,
             mm.metric,
             c.buyer AS contract
            FROM (((((UNNEST(placed_otherwise.deliveries, placed_otherwise.meter_metrics, placed_otherwise.orgs, placed_otherwise.accounts, placed_otherwise.hours, placed_otherwise.moments) WITH ORDINALITY k_1(delivery, meter_metric, org, account, hour, at, item)
              JOIN postmeter.delivery d ON ((d.id = k_1.delivery)))
              JOIN postmeter.destination t ON ((t.id = d.destination_id)))
              JOIN postmeter.meter y ON ((y.id = d.meter_id)))
              JOIN postmeter.meter_metric mm ON ((mm.id = k_1.meter_metric)))
              JOIN postmeter.meter c ON ((c.id = mm.meter_id)))
         ), given AS MATERIALIZED (
          SELECT k_1.shadow,
             array_agg(k_1.item ORDER BY k_1.item) AS items,
             array_agg(k_1.org ORDER BY k_1.item) AS orgs,
             array_agg(k_1.product ORDER BY k_1.item) AS products,
             array_agg(k_1.metric ORDER BY k_1.item) AS metrics,
             array_agg(k_1.account ORDER BY k_1.item) AS accounts,
             array_agg(k_1.at ORDER BY k_1.item) AS moments
            FROM kind k_1
           GROUP BY k_1.shadow
         ), said AS MATERIALIZED (
          SELECT g.items[r_1.item] AS item,
             r_1.destination_id,
             r_1.subscription_id,
             r_1.buyer,
             r_1.dimension_id,
             r_1.exemption_id,
             r_1.reason
            FROM (given g
              CROSS JOIN LATERAL postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments, g.shadow) r_1(item, destination_id, subscription_id, buyer, identity, dimension_id, exemption_id, reason))
         )
  SELECT k.item,
     r.destination_id,
     r.buyer,
     n.name,
     r.exemption_id,
     r.reason
    FROM (((said r
      JOIN kind k ON ((k.item = r.item)))
      LEFT JOIN postmeter.dimension n ON ((n.id = r.dimension_id)))
      LEFT JOIN postmeter.contract_member b ON (((b.subscription_id = r.subscription_id) AND (b.month = postmeter.month_of(k.hour, k.zone)))))
   WHERE
         CASE
             WHEN (r.exemption_id IS NOT NULL) THEN true
             WHEN (r.reason = 'month_closed'::text) THEN false
             WHEN (r.reason = 'invalid_subscription'::text) THEN (placed_otherwise.unread OR (EXISTS ( SELECT
                FROM postmeter.subscription s
               WHERE ((s.id = r.subscription_id) AND (s.invalid IS NOT NULL)))))
             WHEN (r.reason IS NOT NULL) THEN true
             WHEN ((r.destination_id <> k.destination_id) OR (n.name <> k.dimension) OR (COALESCE(b.contract, ( SELECT postmeter.contract_name(e.product, e.contract) AS contract_name
                FROM postmeter.subscription e
               WHERE (e.id = r.subscription_id)), r.buyer) <> k.contract)) THEN true
             WHEN (k.hour = k.counted_in) THEN (r.buyer <> k.buyer)
             ELSE (NOT (EXISTS ( SELECT
                FROM postmeter.subscription s
               WHERE ((s.destination_id = k.destination_id) AND (s.buyer = k.buyer) AND (s.valid_from < (k.counted_in + '01:00:00'::interval)) AND ((s.valid_until IS NULL) OR (k.counted_in < s.valid_until))))))
         END;
END;

COMMENT ON FUNCTION postmeter.placed_otherwise(deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamp with time zone[], moments timestamp with time zone[], unread boolean) IS 'Of kinds of usage that open remittances count (remittance, what counts it, org, account, hour, and the moment for which the catalogue is asked): those that the catalogue places elsewhere by now, and where, or exempts, or does not know. Unread: also those whose subscription''s new identity no worker has read yet.';

CREATE FUNCTION postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean) RETURNS TABLE(usage_id uuid, delivery_id bigint, destination_id integer, org text, product text, metric text, hour timestamp with time zone, quantity numeric, to_destination_id integer, to_buyer text, to_dimension text, exemption_id bigint, reason text)
    LANGUAGE sql STABLE
    SET enable_nestloop TO 'off'
    SET jit TO 'off'
    BEGIN ATOMIC
 WITH mark AS MATERIALIZED (
          SELECT DISTINCT c.destination_id,
             c.buyer,
             c.org,
             c.product
            FROM postmeter.catalogue_mark c
           WHERE ((marked_usage.marks IS NULL) OR (c.id = ANY (marked_usage.marks)))
         ), opened AS MATERIALIZED (
          SELECT d.id,
             d.round,
                 CASE
                     WHEN bool_or((k.org IS NULL)) THEN NULL::text[]
                     ELSE array_agg(DISTINCT k.org)
                 END AS orgs,
                 CASE
                     WHEN bool_or((k.product IS NULL)) THEN NULL::text[]
                     ELSE array_agg(DISTINCT k.product)
                 END AS products
            FROM (((mark k
              JOIN postmeter.destination t ON ((t.id = k.destination_id)))
              JOIN postmeter.meter m ON (((m.destination_id = k.destination_id) AND (m.buyer = k.buyer))))
              JOIN postmeter.delivery d ON ((d.meter_id = m.id)))
           WHERE ((d.status = 'open'::text) AND
                 CASE
                     WHEN (marked_usage.deliveries IS NULL) THEN (d.hour > ((( SELECT postmeter.clock() AS clock) - t.age_limit) - '1 day'::interval))
                     ELSE (d.id = ANY (marked_usage.deliveries))
                 END)
           GROUP BY d.id, d.round
         ), counted AS MATERIALIZED (
          SELECT a.usage_id,
             a.delivery_id,
             a.destination_id,
             a.meter_metric_id,
             a.hour,
             a.quantity,
             u.org,
             u.product,
             u.metric,
             u.account,
             u.used_at,
             u.corrected_identity
            FROM (((opened o
              CROSS JOIN LATERAL ( SELECT y.usage_id,
                     y.destination_id,
                     y.delivery_id,
                     y.meter_metric_id,
                     y.round,
                     y.quantity,
                     y.hour,
                     y.subscription_id
                    FROM postmeter.allocation y
                   WHERE ((y.delivery_id = o.id) AND (y.round = o.round))
                  OFFSET 0) a)
              JOIN postmeter.subscription s ON (((s.id = a.subscription_id) AND ((o.orgs IS NULL) OR (s.org = ANY (o.orgs))) AND ((o.products IS NULL) OR (s.product = ANY (o.products))))))
              CROSS JOIN LATERAL ( SELECT y.id,
                     y.source,
                     y.event_id,
                     y.org,
                     y.product,
                     y.metric,
                     y.quantity,
                     y.used_at,
                     y.account,
                     y.corrects,
                     y.corrected_identity,
                     y.request_id,
                     y.traceparent,
                     y.attributes,
                     y.recorded_at
                    FROM postmeter.usage y
                   WHERE (y.id = a.usage_id)
                  OFFSET 0) u)
         ), inside AS MATERIALIZED (
          SELECT x.org,
             x.product,
             x.at
            FROM (( SELECT min(c.hour) AS first,
                     (max(c.hour) + '01:00:00'::interval) AS last
                    FROM counted c) b
              CROSS JOIN LATERAL ( SELECT s.org,
                     s.product,
                     s.valid_until AS at
                    FROM postmeter.subscription s
                   WHERE ((s.valid_until > b.first) AND (s.valid_until < b.last) AND (s.valid_until <> postmeter.hour_of(s.valid_until)))
                 UNION
                  SELECT s.org,
                     s.product,
                     s.valid_from
                    FROM postmeter.subscription s
                   WHERE ((s.valid_from > b.first) AND (s.valid_from < b.last) AND (s.valid_from <> postmeter.hour_of(s.valid_from)))) x)
         ), timed AS MATERIALIZED (
          SELECT c.usage_id,
             c.delivery_id,
             c.destination_id,
             c.meter_metric_id,
             c.hour,
             c.quantity,
             c.org,
             c.product,
             c.metric,
             c.account,
             c.used_at,
             c.corrected_identity,
             COALESCE(( SELECT max(i.at) AS max
                    FROM inside i
                   WHERE ((i.org = c.org) AND (i.product = c.product) AND (i.at > c.hour) AND (i.at <= c.used_at))), c.hour) AS at
            FROM counted c
           WHERE (c.corrected_identity IS NULL)
         ), kind AS MATERIALIZED (
          SELECT t.delivery_id,
             t.meter_metric_id,
             t.org,
             t.account,
             t.hour,
             t.at,
             row_number() OVER () AS item
            FROM timed t
           GROUP BY t.delivery_id, t.meter_metric_id, t.org, t.account, t.hour, t.at
         ), given AS (
          SELECT array_agg(k.delivery_id ORDER BY k.item) AS deliveries,
             array_agg(k.meter_metric_id ORDER BY k.item) AS meter_metrics,
             array_agg(k.org ORDER BY k.item) AS orgs,
             array_agg(k.account ORDER BY k.item) AS accounts,
             array_agg(k.hour ORDER BY k.item) AS hours,
             array_agg(k.at ORDER BY k.item) AS moments
            FROM kind k
         ), moved AS MATERIALIZED (
          SELECT t.usage_id,
             t.delivery_id,
             t.destination_id,
             t.org,
             t.product,
             t.metric,
             t.hour,
             t.quantity,
             o.to_destination_id,
             o.to_buyer,
             o.to_dimension,
             o.exemption_id,
             o.reason
            FROM (((given g
              CROSS JOIN LATERAL postmeter.placed_otherwise(g.deliveries, g.meter_metrics, g.orgs, g.accounts, g.hours, g.moments, marked_usage.unread) o(item, to_destination_id, to_buyer, to_dimension, exemption_id, reason))
              JOIN kind k ON ((k.item = o.item)))
              JOIN timed t ON (((t.delivery_id = k.delivery_id) AND (t.meter_metric_id = k.meter_metric_id) AND (t.org = k.org) AND (NOT (t.account IS DISTINCT FROM k.account)) AND (t.hour = k.hour) AND (t.at = k.at))))
         )
  SELECT m.usage_id,
     m.delivery_id,
     m.destination_id,
     m.org,
     m.product,
     m.metric,
     m.hour,
     m.quantity,
     m.to_destination_id,
     m.to_buyer,
     m.to_dimension,
     m.exemption_id,
     m.reason
    FROM moved m
 UNION ALL
  SELECT c.usage_id,
     c.delivery_id,
     c.destination_id,
     c.org,
     c.product,
     c.metric,
     m.hour,
     c.quantity,
     m.to_destination_id,
     m.to_buyer,
     m.to_dimension,
     m.exemption_id,
     m.reason
    FROM ((counted c
      JOIN postmeter.usage_identity i ON ((i.identity = c.corrected_identity)))
      JOIN moved m ON (((m.usage_id = i.usage_id) AND (m.delivery_id = c.delivery_id))))
   WHERE (c.corrected_identity IS NOT NULL);
END;

COMMENT ON FUNCTION postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean) IS 'Usage that open remittances of marked buyers count and that the catalogue places elsewhere by now, with its corrections, and where it goes: of these marks, or of all of them in these remittances. Unread: also that of subscriptions whose new identity no worker has read yet.';

CREATE FUNCTION postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT LEAST(meter_ends.month_ends, max(COALESCE(s.valid_until, 'infinity'::timestamp with time zone))) AS "least"
    FROM ((postmeter.destination t
      CROSS JOIN LATERAL postmeter.contract_subscriptions(t.id, meter_ends.buyer, postmeter.month_of((meter_ends.month_ends - '00:00:00.000001'::interval), t.zone)) b(subscription_id))
      JOIN postmeter.subscription s ON ((s.id = b.subscription_id)))
   WHERE ((t.id = meter_ends.destination_id) AND (s.valid_from < meter_ends.month_ends));
END;

COMMENT ON FUNCTION postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamp with time zone) IS 'When a meter ends: with its month, or before with the last of its contract''s subscriptions in it. The cut of the hour before that settles what is left, and so does any later one.';

CREATE FUNCTION postmeter.meters_are_free(delivery bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    wanted bigint[] := array(select distinct k.meter_id from postmeter.cut k join postmeter.delivery d on d.id = k.delivery_id
                             where d.id = meters_are_free.delivery and (d.status = 'conflict' or d.reason = 'lost_time'));
begin
    if wanted = '{}' then
        return true;
    end if;
    return (select count(*) from (select m.id from postmeter.meter m where m.id = any (wanted) order by m.id for no key update skip locked) l)
           = cardinality(wanted);
end
$$;

COMMENT ON FUNCTION postmeter.meters_are_free(delivery bigint) IS 'Takes the meters of a remittance whose resolution moves quantity, if nobody works on them.';

CREATE FUNCTION postmeter.month_drop_why_not(destination text, month date, without date DEFAULT NULL::date) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.month_drop_why_not(destination text, month date, without date) IS 'Why the remittances of a billing month may not be dropped: the first reason that is found; null: they may, once they are exported. Without: as if that month of the ledger were dropped. It reads the whole month.';

CREATE FUNCTION postmeter.month_gate() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    lock table postmeter.closed_month in row share mode;
end
$$;

COMMENT ON FUNCTION postmeter.month_gate() IS 'Passed by whatever opens hours, until its transaction ends: months are neither closed nor opened again meanwhile.';

CREATE FUNCTION postmeter.month_gate_alone() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    lock table postmeter.closed_month in exclusive mode;
end
$$;

COMMENT ON FUNCTION postmeter.month_gate_alone() IS 'Passed by who closes a month, opens one again or tells a shadow of a buyer: folds have ended, or wait until this transaction ends.';

CREATE FUNCTION postmeter.month_heads(destination text, month date) RETURNS TABLE(table_name text, rows bigint, chain text, sums jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.month_heads(destination text, month date) IS 'Rows of a billing month, the heads of their hash chains, and their sums, as they are in the database now.';

CREATE FUNCTION postmeter.month_is_dropped(destination_id integer, month date) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from postmeter.dropped_month x
                   where x.destination_id = month_is_dropped.destination_id and x.month = month_is_dropped.month)
$$;

COMMENT ON FUNCTION postmeter.month_is_dropped(destination_id integer, month date) IS 'Whether the remittances of a billing month were dropped, or are being dropped.';

CREATE FUNCTION postmeter.month_last_deadline(destination text, month date) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_destination(destination);
    select x.* into t from postmeter.destination x where x.name = month_last_deadline.destination;
    if month is null or extract(day from month) <> 1 then
        raise exception 'a month is named by its first day, not by %', coalesce(month::text, 'nothing')
            using errcode = 'PM036', column = 'month', constraint = 'month_first_day';
    end if;
    return postmeter.deadline_of(t.id, null, ((month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour');
end
$$;

COMMENT ON FUNCTION postmeter.month_last_deadline(destination text, month date) IS 'Until when the last hour of a month can be sent. Refuses an unknown destination (PM033) and a day that begins no month (PM036).';

CREATE FUNCTION postmeter.month_rows_differ(destination text, month date, manifest text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select h.table_name
    from postmeter.month_heads(month_rows_differ.destination, month_rows_differ.month) h
    left join jsonb_array_elements(manifest::jsonb -> 'tables') t on t ->> 'table' = h.table_name
    where (t ->> 'rows')::bigint is distinct from h.rows or t ->> 'chain' is distinct from h.chain
       or t -> 'sums' is distinct from h.sums limit 1
$$;

COMMENT ON FUNCTION postmeter.month_rows_differ(destination text, month date, manifest text) IS 'A table whose rows of a billing month are not those of a manifest; null: all are. It reads them all.';

CREATE FUNCTION postmeter.month_unfinished(destination text, month date) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.month_unfinished(destination text, month date) IS 'Why a billing month may not be exported with its remittances: what is not finished in it; null: all is.';

CREATE FUNCTION postmeter.moved_by_allocation() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id)
    select mm.meter_id, new.delivery_id from postmeter.meter_metric mm where mm.id = new.meter_metric_id;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.moved_by_allocation() IS 'Trigger of allocation: a correction of what was cut long ago takes the meter''s proof back.';

CREATE FUNCTION postmeter.moved_by_carry() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into postmeter.balance_anew (meter_id)
    select distinct mm.meter_id from written w join postmeter.meter_metric mm on mm.id = w.meter_metric_id
    order by 1
    on conflict do nothing;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.moved_by_carry() IS 'Trigger of ledger_carry: of a month that is dropped, every meter is proven again from what it came to.';

CREATE FUNCTION postmeter.moved_by_cut() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into postmeter.balance_moved (meter_id, delivery_id) select w.meter_id, w.delivery_id from written w;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.moved_by_cut() IS 'Trigger of cut: takes the proof of its meters back.';

CREATE FUNCTION postmeter.moved_by_delivery() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.moved_by_delivery() IS 'Trigger of delivery: takes the proof of every meter that it counts on back.';

CREATE FUNCTION postmeter.moved_by_meter() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op <> 'INSERT' then
        insert into postmeter.balance_moved (meter_id) values (old.id);
    end if;
    if tg_op = 'INSERT' or tg_op = 'UPDATE' and new.id <> old.id then
        insert into postmeter.balance_moved (meter_id) values (new.id);
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.moved_by_meter() IS 'Trigger of meter: takes its proof back.';

CREATE FUNCTION postmeter.moved_by_metric() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- another factor counts everything anew
    insert into postmeter.balance_anew (meter_id)
    select x.id from (values (old.meter_id), (new.meter_id)) x(id)
    where tg_op = 'DELETE' and x.id is not null
       or tg_op = 'UPDATE' and (old.id, old.meter_id, old.factor_numerator, old.factor_denominator)
                               is distinct from (new.id, new.meter_id, new.factor_numerator, new.factor_denominator)
    on conflict do nothing;
    insert into postmeter.balance_moved (meter_id) values (coalesce(new.meter_id, old.meter_id));
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.moved_by_metric() IS 'Trigger of meter_metric: takes the meter''s proof back; where a factor changes, everything of it is read again.';

CREATE FUNCTION postmeter.moved_by_part() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.moved_by_part() IS 'Trigger of part: takes the meter''s proof back.';

CREATE FUNCTION postmeter.nearest(word text, known text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.nearest(word text, known text[]) IS 'What was probably meant: the known word that is most like the given one, or null.';

CREATE FUNCTION postmeter.next_usage_anew(many integer, OUT first text, OUT last text) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    after text := (select b.usage_after from postmeter.balance_check b);
begin
    if after is null or after = 'ffffffff' then
        return;
    end if;
    first := case when after = '' then '00000000' else lpad(to_hex(('x' || after)::bit(32)::bigint + 1), 8, '0') end;
    last := (select left(u.id::text, 8) from postmeter.usage u
             where u.id >= (next_usage_anew.first || '-0000-0000-0000-000000000000')::uuid order by u.id offset many - 1 limit 1);
    last := coalesce(last, 'ffffffff');
end
$$;

COMMENT ON FUNCTION postmeter.next_usage_anew(many integer, OUT first text, OUT last text) IS 'The next slices whose turn it is to be read again, with about so many usages. Null: there are none.';

CREATE FUNCTION postmeter.note_alert_failure(rule text, failure text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.alert_rule r
    set failure = left(note_alert_failure.failure, 500),
        failing_since = case when note_alert_failure.failure is not null then coalesce(r.failing_since, clock_timestamp()) end
    where r.name = rule and (r.failure is not null or note_alert_failure.failure is not null)
$$;

COMMENT ON FUNCTION postmeter.note_alert_failure(rule text, failure text) IS 'Notes why a rule could not be looked at; null: it could. Its alerts stay as they were.';

CREATE FUNCTION postmeter.note_alerts(rule text, seen jsonb) RETURNS TABLE(change text, subject text, severity text, count bigint, summary text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    now timestamptz := postmeter.clock();
    level text;
begin
    select r.severity into level from postmeter.alert_rule r where r.name = rule;
    return query
    update postmeter.alert a set cleared_at = now
    where a.name = rule and a.cleared_at is null
      and not exists (select from jsonb_to_recordset(note_alerts.seen) f(subject text) where f.subject = a.subject)
    returning 'cleared', a.subject, a.severity, a.count, a.summary;
    update postmeter.alert a set last_seen_at = now, count = f.count, summary = f.summary, details = f.details
    from jsonb_to_recordset(note_alerts.seen) f(subject text, count bigint, summary text, details jsonb)
    where a.name = rule and a.cleared_at is null and f.subject = a.subject;
    return query
    insert into postmeter.alert (name, subject, severity, opened_at, last_seen_at, count, summary, details)
    select rule, f.subject, level, now, now, f.count, f.summary, f.details
    from jsonb_to_recordset(note_alerts.seen) f(subject text, count bigint, summary text, details jsonb)
    order by f.subject
    on conflict (name, subject) where cleared_at is null do nothing
    returning 'opened', alert.subject, alert.severity, alert.count, alert.summary;
    delete from postmeter.alert a where a.cleared_at < now - interval '90 days';
    delete from postmeter.alert_post p where coalesce(p.posted_at, p.given_up_at) < now - interval '90 days';
end
$$;

COMMENT ON FUNCTION postmeter.note_alerts(rule text, seen jsonb) IS 'Notes what a rule found: an array of subject, count, summary, details. Opens what is new, refreshes what is open, clears what is not there any more, and returns what it opened and cleared.';

CREATE FUNCTION postmeter.note_contradictions(deliveries bigint[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    noted bigint[];
begin
    -- read before the review moves them, in the transaction that holds them locked
    with said as materialized (
        select e.id, e.delivery_id, e.outcome, e.shown_quantity,
               coalesce((select a.claimed_at < d.cut_at from postmeter.attempt a where a.id = e.attempt_id), false) as is_earlier
        from postmeter.late_evidence e
        join postmeter.delivery d on d.id = e.delivery_id
        where e.delivery_id = any (deliveries) and e.id > d.evidence_read and d.status <> 'in_flight' and not d.shadow
    ), weighed as materialized (
        select d.id, d.destination_id, s.is_earlier, d.status, d.quantity, d.maybe_billed, d.shown_quantity, d.confirmed,
               max(s.id) filter (where s.outcome in ('accepted', 'duplicate', 'conflict')) as proof,
               max(s.id) as last,
               bool_or(s.outcome in ('accepted', 'duplicate')) as is_held, bool_or(s.outcome = 'conflict') as is_conflict,
               bool_or(s.outcome in ('rejected', 'not_entitled', 'batch_refused', 'unauthorised', 'too_old', 'not_sent', 'no_credentials', 'unmapped')) as is_refused,
               max(s.shown_quantity) as shown,
               (select c.id from postmeter.decision c
                where c.delivery_id = d.id and c.verb in ('resolve', 'release', 'recount', 'write_off', 'hold', 'judge') order by c.id desc limit 1) as settled_by,
               (select (c.detail ->> 'billed')::boolean from postmeter.decision c
                where c.delivery_id = d.id and c.verb = 'resolve' and c.decided_at >= d.cut_at order by c.id desc limit 1) as said_billed,
               -- what was sent then: a release says what it gave back
               (select c.quantity from postmeter.decision c
                where c.delivery_id = d.id and c.verb in ('release', 'recount') and s.is_earlier order by c.id desc limit 1) as earlier_quantity
        from said s join postmeter.delivery d on d.id = s.delivery_id
        group by d.id, s.is_earlier
    ), found as materialized (
        select w.*, case
            when w.is_earlier and (w.is_held or w.is_conflict) then case when w.is_held then 'held' else 'other_quantity' end
            when w.is_earlier then null
            -- nothing is settled yet: the evidence settles it, and contradicts only who said that they hold nothing
            when w.maybe_billed or w.status in ('due', 'held') then
                case when w.maybe_billed or w.said_billed is distinct from false then null
                     when w.is_held then 'held' when w.is_conflict then 'other_quantity' end
            when w.status = 'accepted' then
                case when w.is_conflict and (w.shown is null or w.shown <> coalesce(w.shown_quantity, w.quantity)) then 'other_quantity'
                     when w.is_held and w.shown <> coalesce(w.shown_quantity, w.quantity) then 'other_quantity'
                     when not w.is_held and not w.is_conflict and w.is_refused and w.said_billed
                      and not exists (select from postmeter.attempt a left join postmeter.outcome o on o.attempt_id = a.id
                                      where a.delivery_id = w.id and a.id not in (select e.attempt_id from postmeter.late_evidence e where e.delivery_id = w.id)
                                        and coalesce(o.outcome, 'unknown') in ('unknown', 'accepted', 'duplicate')) then 'not_held' end
            when w.status = 'conflict' then
                case when w.is_held then 'held' when w.is_conflict and w.shown <> w.shown_quantity then 'other_quantity' end
            when w.is_held or w.is_conflict and w.shown = w.quantity then 'held'
            when w.is_conflict then 'other_quantity' end as says
        from weighed w
    ), written as (
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, evidence_id, is_earlier, settled_as, settled_by, our_quantity)
        select f.destination_id, f.id, 'late_evidence', f.says,
               case when f.says = 'not_held' then 0
                    else coalesce(f.shown, case when f.says = 'held' then case when f.is_earlier then f.earlier_quantity else f.quantity end end) end,
               case when f.says = 'not_held' then f.last else f.proof end, f.is_earlier, f.status, f.settled_by, f.quantity
        from found f
        where f.says is not null
          -- said twice, it is one contradiction
          and not exists (select from postmeter.contradiction c
                          where c.delivery_id = f.id and c.decision_id is null and c.says = f.says
                            and (f.shown is null or c.their_quantity is not distinct from f.shown))
        returning delivery_id
    )
    select array_agg(w.delivery_id) into noted from written w;
    -- nothing moves by itself before somebody has judged it
    update postmeter.stuck s set again_at = null where s.delivery_id = any (noted) and s.again_at is not null;
    return coalesce(cardinality(noted), 0);
end
$$;

COMMENT ON FUNCTION postmeter.note_contradictions(deliveries bigint[]) IS 'Notes which of these locked deliveries have unread late evidence that contradicts what was settled: a part of review, before it moves them. Returns how many.';

CREATE FUNCTION postmeter.note_day_contradictions(destination text, day date, who text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    asked postmeter.reconciliation;
    noted integer;
    decided bigint;
    c     record;
begin
    perform postmeter.confirm_day(destination, day);
    select r.* into asked from postmeter.reconciliation r join postmeter.destination t on t.id = r.destination_id
    where t.name = note_day_contradictions.destination and r.day = note_day_contradictions.day order by r.id desc limit 1;
    -- a day that goes on differs by what is still on its way
    if not found or (day + 1)::timestamp at time zone 'UTC' > asked.asked_at then
        return 0;
    end if;
    insert into postmeter.contradiction (destination_id, source, says, their_quantity, reconciliation_id, buyer, dimension, said_by, settled_as, our_quantity)
    select asked.destination_id, 'reconciliation', case r.verdict when 'ours_alone' then 'not_held' when 'theirs_alone' then 'held' else 'other_quantity' end,
           coalesce(r.theirs, 0), asked.id, r.buyer, r.dimension, who, case when r.ours is null then null else 'accepted' end, coalesce(r.ours, 0)
    from postmeter.reconciled r
    where r.destination = note_day_contradictions.destination and r.day = note_day_contradictions.day and r.verdict not in ('equal', 'dropped')
      and not exists (select from postmeter.meter m join postmeter.delivery d on d.meter_id = m.id
                      where m.destination_id = asked.destination_id and m.buyer = r.buyer and m.dimension = r.dimension
                        and m.month between date_trunc('month', asked.day - 1)::date and date_trunc('month', asked.day + 1)::date
                        and d.hour >= asked.day::timestamp at time zone 'UTC' and d.hour < (asked.day + 1)::timestamp at time zone 'UTC'
                        and (d.status in ('open', 'due', 'in_flight', 'unknown') or d.maybe_billed))
      and not exists (select from postmeter.contradiction o
                      left join postmeter.reconciliation b on b.id = o.reconciliation_id
                      where b.destination_id = asked.destination_id and b.day = asked.day and o.buyer = r.buyer and o.dimension = r.dimension
                        and o.their_quantity = coalesce(r.theirs, 0) and o.our_quantity = coalesce(r.ours, 0))
    order by r.buyer, r.dimension;
    get diagnostics noted = row_count;
    -- what they said before and say no more is over: they are asked about the same day again, and agree or say another sum
    for c in select o.id, o.says from postmeter.contradiction o
             join postmeter.reconciliation b on b.id = o.reconciliation_id and b.destination_id = asked.destination_id and b.day = asked.day
             left join postmeter.reconciled r on r.destination = note_day_contradictions.destination and r.day = asked.day
              and r.buyer = o.buyer and r.dimension = o.dimension and r.verdict <> 'equal'
             where o.decision_id is null
               and (r.buyer is null or coalesce(r.theirs, 0) <> o.their_quantity or coalesce(r.ours, 0) <> o.our_quantity)
             order by o.id for update of o loop
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, 'asked again: they no longer say so', 'judge', asked.destination_id, 'open', 'over',
                jsonb_build_object('contradiction', c.id, 'says', c.says)) returning id into decided;
        update postmeter.contradiction o set decision_id = decided where o.id = c.id;
    end loop;
    return noted;
end
$$;

COMMENT ON FUNCTION postmeter.note_day_contradictions(destination text, day date, who text) IS 'Notes what the latest answer about a day contradicts: sums of a buyer and dimension that are settled here and other there. A day that is not over, or of which something is still on its way, is not compared. What an earlier answer said and this one does not is closed. Returns how many are new.';

CREATE FUNCTION postmeter.note_said(d postmeter.delivery, held numeric, billed boolean, who text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    what  text;
    noted bigint;
begin
    what := case
        when d.maybe_billed or d.shadow then null
        when d.status = 'accepted' and not billed then 'not_held'
        when d.status = 'accepted' and held <> coalesce(d.shown_quantity, d.quantity) then 'other_quantity'
        when d.status = 'conflict' and held <> d.shown_quantity then 'other_quantity'
        when d.status in ('rejected', 'expired', 'written_off', 'released') and billed
            then case when held <> d.quantity then 'other_quantity' else 'held' end end;
    if what is null then
        return null;
    end if;
    select c.id into noted from postmeter.contradiction c
    where c.delivery_id = d.id and c.decision_id is null and c.says = what
      and c.their_quantity is not distinct from case when what = 'not_held' then 0 when what = 'held' then d.quantity else held end;
    if noted is null then
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, said_by, settled_as, settled_by, our_quantity)
        values (d.destination_id, d.id, 'person', what, case when what = 'not_held' then 0 when what = 'held' then d.quantity else held end, who, d.status,
                (select c.id from postmeter.decision c
                 where c.delivery_id = d.id and c.verb in ('resolve', 'release', 'write_off', 'hold', 'judge') order by c.id desc limit 1), d.quantity)
        returning id into noted;
        update postmeter.stuck s set again_at = null where s.delivery_id = d.id and s.again_at is not null;
    end if;
    return noted;
end
$$;

COMMENT ON FUNCTION postmeter.note_said(d postmeter.delivery, held numeric, billed boolean, who text) IS 'Notes what a person''s report says otherwise than a locked delivery was settled: a part of resolve_rows. Returns the contradiction; null: there is none.';

CREATE FUNCTION postmeter.only_dropped() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.only_dropped() IS 'Trigger of cut and ledger_carry: a row goes only with its remittance, and that with its billing month.';

CREATE FUNCTION postmeter.open_attempts() RETURNS TABLE(attempt_id uuid, delivery_id bigint, worker_id uuid)
    LANGUAGE sql STABLE ROWS 100
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select a.id, a.delivery_id, a.worker_id
    from postmeter.worker w
    join postmeter.attempt a on a.worker_id = w.id
     and a.id >= coalesce(w.oldest_attempt, postmeter.id_at(w.started_at - interval '1 hour'))
    where not exists (select from postmeter.outcome o where o.attempt_id = a.id)
$$;

COMMENT ON FUNCTION postmeter.open_attempts() IS 'Attempts without an outcome: a call may be under way, or its worker died.';

CREATE FUNCTION postmeter.open_hour_at(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    opened postmeter.delivery;
begin
    perform postmeter.month_gate();
    perform 1 from postmeter.meter m
    join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
    where m.id = open_hour_at.meter_id;
    if found then
        return null;
    end if;
    -- a contract with a name is nobody's key
    perform 1 from postmeter.meter m where m.id = open_hour_at.meter_id and m.buyer like 'contract:%';
    if found then
        return null;
    end if;
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, shadow)
    select m.destination_id, postmeter.remittance_key(m.buyer, m.dimension, open_hour_at.hour), m.id, open_hour_at.hour,
           open_hour_at.identity, open_hour_at.product,
           postmeter.deadline_of(m.destination_id, m.buyer, open_hour_at.hour), t.shadow_of is not null
    from postmeter.meter m
    join postmeter.destination t on t.id = m.destination_id
    where m.id = open_hour_at.meter_id
    on conflict do nothing;
    select d.* into strict opened from postmeter.delivery d
    where d.meter_id = open_hour_at.meter_id and d.hour = open_hour_at.hour for update;
    if opened.status = 'nothing_due' then
        update postmeter.delivery d
        set status = 'open', quantity = null, opened_at = postmeter.clock(), changed_at = postmeter.clock()
        where d.id = opened.id;
    elsif opened.status <> 'open' then
        return null;
    end if;
    insert into postmeter.open_hour (delivery_id, destination_id, hour)
    values (opened.id, opened.destination_id, opened.hour) on conflict do nothing;
    return opened.id;
end
$$;

COMMENT ON FUNCTION postmeter.open_hour_at(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) IS 'Opens an hour of a meter, or opens it again if nothing was due; returns the remittance, or null if it was sent or its month is closed. The caller holds the meter''s lock.';

CREATE FUNCTION postmeter.open_last_hour(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    last   postmeter.meter;
    key    bigint;
    sent   record;
    opened bigint;
begin
    perform postmeter.lock_meters(array[open_last_hour.meter_id]);
    select m.* into strict last from postmeter.meter m where m.id = open_last_hour.meter_id;
    select k.id into key
    from postmeter.meter k
    where k.destination_id = last.destination_id and k.dimension = last.dimension and k.month = last.month
      and k.buyer = postmeter.key_of_hour(last.id, open_last_hour.hour);
    if key is null or key = last.id then
        return postmeter.open_hour_at(last.id, hour, identity, product);
    end if;
    select i.* into strict sent from postmeter.identity_at(key, open_last_hour.hour, open_last_hour.identity, open_last_hour.product) i;
    opened := postmeter.open_hour_at(key, hour, sent.identity, sent.product);
    if opened is not null then
        insert into postmeter.part (delivery_id, meter_id) values (opened, last.id) on conflict do nothing;
    end if;
    return opened;
end
$$;

COMMENT ON FUNCTION postmeter.open_last_hour(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) IS 'Opens the last hour of a meter, under the key of its contract that is valid then, and returns the remittance; null if it was sent or its month is closed.';

CREATE FUNCTION postmeter.open_late(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    target bigint := postmeter.open_target(meter_id, identity, product);
begin
    if target is not null then
        return target;
    end if;
    perform 1 from postmeter.meter m join postmeter.destination t on t.id = m.destination_id
    where m.id = open_late.meter_id and t.late_policy <> 'hold';
    if not found then
        return null;
    end if;
    -- no hour of its month can take it: its own, if it was never sent, so that it shows as expired
    return postmeter.open_hour_at(coalesce(postmeter.key_of_identity(meter_id, identity), meter_id), hour, identity, product);
end
$$;

COMMENT ON FUNCTION postmeter.open_late(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) IS 'The remittance that takes late usage of a meter: by open_target; else its own hour, to expire there; null: it must be held.';

CREATE FUNCTION postmeter.open_target(meter_id bigint, identity jsonb, product text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    late   postmeter.meter;
    way    record;
    sent   record;
    opened bigint;
    now    timestamptz := postmeter.clock();
begin
    perform postmeter.month_gate();
    perform postmeter.lock_meters(array[open_target.meter_id]);
    select m.* into strict late from postmeter.meter m where m.id = open_target.meter_id;
    select w.* into way from postmeter.target_way_as(late.id, open_target.identity) w;
    if not found then
        select m.id as key_meter_id, postmeter.hour_of(now) as hour into way
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.dimension = late.dimension
         and m.buyer = postmeter.part_key(late.id, open_target.identity)
         and m.month = postmeter.month_of(now, t.zone)
        where t.id = late.destination_id and t.late_policy = 'part'
          and not exists (select from postmeter.closed_month c where c.destination_id = t.id and c.month = late.month);
        if not found then
            return null;
        end if;
    end if;
    select i.* into sent from postmeter.identity_at(way.key_meter_id, way.hour, open_target.identity, open_target.product) i;
    opened := postmeter.open_hour_at(way.key_meter_id, way.hour, coalesce(sent.identity, open_target.identity),
                                     coalesce(sent.product, open_target.product));
    if opened is not null and way.key_meter_id <> late.id then
        -- released quantity brings no allocation: the cut must know that this meter counts here
        insert into postmeter.part (delivery_id, meter_id) values (opened, late.id) on conflict do nothing;
    end if;
    return opened;
end
$$;

COMMENT ON FUNCTION postmeter.open_target(meter_id bigint, identity jsonb, product text) IS 'Opens the hour to which a meter''s late or released quantity goes (target_way, else by policy the running hour, as a part) and returns its remittance; null if there is none.';

CREATE FUNCTION postmeter.outbox_arrived() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    settings  postmeter.setting;
    now       timestamptz;
    recorded  bigint;
    fresh     bigint;
    corrected uuid[];
    foreign_time boolean;
    bad       record;
    fault     text;
    shards    smallint[];
    repeats   uuid[];
    repeated  record;
    other     uuid;
begin
    select * into settings from postmeter.setting;
    -- what postmeter.clock() says, without asking for the row at hand again
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    select count(*), max(postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric, a.quantity,
                a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                now - settings.usage_age_max, now + settings.usage_lead_max)),
           array_agg(a.id) filter (where a.corrects is not null), bool_or(a.id < b.earliest or a.id > b.latest)
    into recorded, fault, corrected, foreign_time
    from arrived a, postmeter.id_window() b
    where not a.returned;
    if recorded = 0 then
        return null;
    end if;
    if fault is not null then
        select a.event_id, f.fault into bad
        from arrived a, lateral (select postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric,
                a.quantity, a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                now - settings.usage_age_max, now + settings.usage_lead_max)) f(fault)
        where not a.returned and f.fault is not null limit 1;
        perform postmeter.refuse_usage(bad.fault, bad.event_id);
    end if;
    if foreign_time then
        raise exception 'usage: id is not of this time'
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'id', constraint = 'id_of_this_time',
                  hint = 'Leave id out: the database gives it.';
    end if;
    -- sorted, so that two batches with the same identities wait for each other instead of deadlocking; of an identity
    -- that stands twice in this one, the first stays
    insert into postmeter.usage_identity (identity, content, usage_id)
    select postmeter.usage_identity_of(a.source, a.event_id),
           postmeter.usage_content_of(a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects), a.id
    from arrived a where not a.returned
    order by 1, a.id
    on conflict do nothing;
    get diagnostics fresh = row_count;
    if fresh < recorded then
        -- whoever recorded must look up which ids stand; otherwise they are the rows' own
        perform set_config('postmeter.repeated', 'on', true);
        -- a statement of its own: this one sees the rows that the racing insert waited for
        select array_agg(r.shard), array_agg(r.id), (array_agg(r.id) filter (where (r.known).content
                   <> postmeter.usage_content_of(r.org, r.product, r.metric, r.quantity, r.used_at, r.account, r.corrects)))[1]
        into shards, repeats, other
        from (select a.*, (select i from postmeter.usage_identity i
                           where i.identity = postmeter.usage_identity_of(a.source, a.event_id)) as known
              from arrived a where not a.returned offset 0) r
        where (r.known).usage_id <> r.id;
        if other is not null then
            -- What was recorded is not the caller's to read, and a value in a variable is: any session may have its plans
            -- printed (debug_print_plan), with what their parameters hold. Only names leave this statement.
            select a.source, a.event_id, case when f.found then array_remove(array[
                       case when f.org <> a.org then 'org' end, case when f.product <> a.product then 'product' end,
                       case when f.metric <> a.metric then 'metric' end,
                       case when f.quantity <> a.quantity then 'quantity' end,
                       case when f.used_at <> a.used_at then 'used_at' end,
                       case when f.account is distinct from a.account then 'account' end,
                       case when f.corrects is distinct from a.corrects then 'corrects' end], null) end as fields
            into bad
            from (select x.*, (select i.usage_id from postmeter.usage_identity i
                               where i.identity = postmeter.usage_identity_of(x.source, x.event_id)) as first_id
                  from arrived x where x.id = other offset 0) a
            left join lateral (
                select true as found, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects
                from postmeter.usage u where u.id = a.first_id
                union all
                select true, y.org, y.product, y.metric, y.quantity, y.used_at, y.account, y.corrects
                from arrived y where y.id = a.first_id
                limit 1) f on true;
            perform postmeter.refuse_other_content(bad.source, bad.event_id, bad.fields);
        end if;
        -- one by one: a set of ids would be a filter on its shard in a plan that was made over a small outbox
        for repeated in select r.shard, r.id from unnest(shards, repeats) r(shard, id) loop
            delete from postmeter.outbox o where o.shard = repeated.shard and o.id = repeated.id;
        end loop;
    end if;
    insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                 corrected_identity, request_id, traceparent, attributes, recorded_at)
    select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects,
           case when a.corrects is not null then postmeter.usage_identity_of(a.source, a.corrects) end,
           a.request_id, a.traceparent, a.attributes, now
    from arrived a
    where not a.returned
      and (fresh = recorded or a.id = (select i.usage_id from postmeter.usage_identity i
                                       where i.identity = postmeter.usage_identity_of(a.source, a.event_id)));
    if corrected is not null then
        perform postmeter.check_corrections(corrected);
    end if;
    if settings.unresolved = 'refuse' then
        perform postmeter.check_resolved(array(select a.id from arrived a where not a.returned and a.corrects is null));
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.outbox_arrived() IS 'Trigger of the outbox: checks what arrived, writes identity and usage, drops identical repetitions, refuses the same id with other content (PM002).';

CREATE FUNCTION postmeter.part_keys(meter_id bigint) RETURNS TABLE(buyer text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT s.buyer
    FROM ((postmeter.meter m
      CROSS JOIN ( SELECT postmeter.clock() AS now) c)
      JOIN postmeter.subscription s ON (((s.destination_id = m.destination_id) AND (s.buyer = m.buyer) AND (s.valid_from <= c.now) AND ((s.valid_until IS NULL) OR (c.now < s.valid_until)))))
   WHERE (m.id = part_keys.meter_id)
 UNION
  SELECT b.buyer
    FROM ((postmeter.meter m
      CROSS JOIN LATERAL postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) o(subscription_id))
      CROSS JOIN LATERAL postmeter.buyers_now(o.subscription_id) b(buyer))
   WHERE (m.id = part_keys.meter_id);
END;

COMMENT ON FUNCTION postmeter.part_keys(meter_id bigint) IS 'Under which buyers a part of a meter can be sent in the running hour: its own, and those that its contract''s subscriptions or whoever follows them have now.';

CREATE FUNCTION postmeter.part_key(meter_id bigint, identity jsonb) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT p.buyer
    FROM (postmeter.meter m
      CROSS JOIN LATERAL postmeter.part_keys(m.id) p(buyer))
   WHERE (m.id = part_key.meter_id)
   ORDER BY (EXISTS ( SELECT
            FROM ((postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) o(subscription_id)
              JOIN postmeter.subscription s ON (((s.id = o.subscription_id) AND (s.identity = part_key.identity))))
              CROSS JOIN LATERAL postmeter.buyers_now(s.id) b(buyer))
           WHERE (b.buyer = p.buyer))) DESC, (p.buyer = m.buyer) DESC, p.buyer
  LIMIT 1;
END;

COMMENT ON FUNCTION postmeter.part_key(meter_id bigint, identity jsonb) IS 'Under which buyer a part of a meter is sent in the running hour: that of the identity under which it was used, or of whoever follows it; null: nobody of its contract has a subscription now.';

CREATE FUNCTION postmeter.pause(destination text, who text, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return postmeter.set_paused(destination, true, who, why);
end
$$;

COMMENT ON FUNCTION postmeter.pause(destination text, who text, why text) IS 'Stops sending to a destination; what is in flight ends by itself. False: it was paused already.';

CREATE FUNCTION postmeter.this_week() RETURNS date
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT (date_trunc('week'::text, (postmeter.clock() AT TIME ZONE 'UTC'::text)))::date AS date_trunc;
END;

COMMENT ON FUNCTION postmeter.this_week() IS 'Monday of the running week, UTC.';

CREATE TABLE postmeter.usual (
    id bigint NOT NULL,
    org text NOT NULL COLLATE pg_catalog."C",
    product text NOT NULL COLLATE pg_catalog."C",
    metric text NOT NULL COLLATE pg_catalog."C",
    week date NOT NULL,
    largest numeric NOT NULL
);

COMMENT ON TABLE postmeter.usual IS 'The largest usage that was counted of an org and metric in a week, for metrics with times_usual. The usual is the largest of this week and the four before, once an earlier one than this is known. Inserted by folds, and deleted by maintenance when it is old or a larger one of its week is there.';

COMMENT ON COLUMN postmeter.usual.id IS 'Number.';

COMMENT ON COLUMN postmeter.usual.org IS 'The org.';

COMMENT ON COLUMN postmeter.usual.product IS 'Our product.';

COMMENT ON COLUMN postmeter.usual.metric IS 'Our metric.';

COMMENT ON COLUMN postmeter.usual.week IS 'The week in which it was counted, by its Monday (UTC).';

COMMENT ON COLUMN postmeter.usual.largest IS 'Units of the metric.';

CREATE FUNCTION postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[]) RETURNS TABLE(item bigint, bound numeric, beyond text, is_usual_kept boolean, known numeric)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT g.item,
     LEAST(d.max_quantity, u.bound) AS "least",
         CASE
             WHEN ((u.bound IS NULL) OR (d.max_quantity <= u.bound)) THEN 'max_quantity'::text
             ELSE 'times_usual'::text
         END AS "case",
     (d.times_usual IS NOT NULL),
     u.known
    FROM (((UNNEST(plausible.orgs, plausible.products, plausible.metrics, plausible.dimensions) WITH ORDINALITY g(org, product, metric, dimension_id, item)
      CROSS JOIN ( SELECT postmeter.this_week() AS week) w)
      JOIN postmeter.dimension d ON ((d.id = g.dimension_id)))
      LEFT JOIN LATERAL ( SELECT
                 CASE
                     WHEN (min(x.week) < w.week) THEN trunc(LEAST((max(x.largest) * d.times_usual), ('10000000000000'::bigint)::numeric), 15)
                     ELSE NULL::numeric
                 END AS bound,
             max(x.largest) FILTER (WHERE (x.week = w.week)) AS known
            FROM postmeter.usual x
           WHERE ((x.org = g.org) AND (x.product = g.product) AND (x.metric = g.metric) AND ((x.week >= (w.week - 28)) AND (x.week <= w.week)))) u ON ((d.times_usual IS NOT NULL)))
   WHERE ((d.max_quantity IS NOT NULL) OR (d.times_usual IS NOT NULL));
END;

COMMENT ON FUNCTION postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[]) IS 'For each org, product, metric and dimension with a limit: beyond which quantity a usage is implausible (null: nothing bounds it yet), which limit that is, whether the usual is kept, and the largest of this week so far. The one home of that rule.';

CREATE FUNCTION postmeter.probe(destination text, who text, why text, OUT breaker text, OUT changed boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    d record;
    t record;
    waited timestamptz;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select x.id, x.quota_id, q.name as quota into d
    from postmeter.destination x join postmeter.quota q on q.id = x.quota_id where x.name = probe.destination;
    select b.ramp, b.open_until into t from postmeter.breaker b where b.destination_id = d.id for update;
    breaker := case when not found then 'closed' when t.ramp is not null then 'recovering'
                    when t.open_until > clock_timestamp() then 'open' else 'half_open' end;
    if breaker = 'open' then
        update postmeter.breaker b set open_until = clock_timestamp(), updated_at = clock_timestamp() where b.destination_id = d.id;
    end if;
    changed := breaker = 'open';
    -- their wait is that of the quota, and of all that share it
    select p.wait_until into waited from postmeter.pace p where p.quota_id = d.quota_id and p.wait_until > clock_timestamp() for update;
    if found then
        perform postmeter.end_wait(d.quota_id);
        breaker := 'waiting';
        changed := true;
    end if;
    if changed then
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'probe', d.id, breaker, case breaker when 'open' then 'half_open' else 'sending' end,
                case when waited is null then '{}'::jsonb else jsonb_build_object('quota', d.quota, 'wait_until', waited) end);
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.probe(destination text, who text, why text, OUT breaker text, OUT changed boolean) IS 'Tries a destination before its time: ends the pause of its breaker, so that a worker probes at its next look, and the wait that the marketplace asked for (Retry-After), for all destinations of its quota. What the calls are answered decides. Returns waiting if it ended such a wait, else where the breaker stood; changed is false where there was neither to end.';

CREATE FUNCTION postmeter.prove_anew(meters bigint[], most integer) RETURNS TABLE(remittances bigint, proven bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    on_meters bigint[];
    of_these  bigint[];
    finished  bigint[];
begin
    perform postmeter.check_proof_state();
    select array_agg(w.meter_id), array_agg(x.delivery_id) into on_meters, of_these
    from postmeter.balance_anew w
    cross join lateral (
        select y.delivery_id
        from (select d.id as delivery_id from postmeter.delivery d where d.meter_id = w.meter_id and d.id > w.after
              union select p.delivery_id from postmeter.part p where p.meter_id = w.meter_id and p.delivery_id > w.after
              union select c.delivery_id from postmeter.cut c where c.meter_id = w.meter_id and c.delivery_id > w.after
              union select k.delivery_id from postmeter.proven_remittance k where k.meter_id = w.meter_id and k.delivery_id > w.after) y
        order by y.delivery_id limit most) x
    where w.meter_id = any (prove_anew.meters);
    remittances := postmeter.read_remittances(on_meters, of_these);
    update postmeter.balance_anew w set after = x.last
    from (select p.meter_id, max(p.delivery_id) as last from unnest(on_meters, of_these) p(meter_id, delivery_id) group by 1) x
    where w.meter_id = x.meter_id;
    with finished_now as (
        delete from postmeter.balance_anew w
        where w.meter_id = any (prove_anew.meters)
          and (select count(*) from unnest(on_meters) p(meter_id) where p.meter_id = w.meter_id) < most
        returning w.meter_id
    )
    select array_agg(f.meter_id) into finished from finished_now f;
    -- everything of these has been read: what was kept of the sum does not count any more
    with meter as materialized (
        select b.meter_id, b.denominator, b.holds from postmeter.meter_balance b where b.meter_id = any (finished)
    ), total as materialized (
        select f.id, coalesce(b.denominator, 1) as denominator, coalesce(b.holds, 0) as holds,
               (select coalesce(sum(k.remains * (coalesce(b.denominator, 1) / k.denominator)), 0)
                from postmeter.proven_remittance k where k.meter_id = f.id) as remains,
               -- what is marked is proven with its mark
               not exists (select from postmeter.balance_moved v where v.meter_id = f.id) as is_all
        from unnest(finished) f(id)
        left join meter b on b.meter_id = f.id
    )
    insert into postmeter.proven_meter as p (meter_id, denominator, remains, difference, proven_at, read_at)
    select t.id, t.denominator, t.remains, case when t.is_all then trim_scale(t.remains - t.holds) end, case when t.is_all then clock_timestamp() end,
           clock_timestamp()
    from total t
    on conflict (meter_id) do update
    set denominator = excluded.denominator, remains = excluded.remains, read_at = excluded.read_at,
        difference = coalesce(excluded.difference, p.difference), proven_at = coalesce(excluded.proven_at, p.proven_at);
    get diagnostics proven = row_count;
    return next;
end
$$;

COMMENT ON FUNCTION postmeter.prove_anew(meters bigint[], most integer) IS 'Reads all remittances of these meters again, at most so many of each at a time; a meter of which all were read is proven from them.';

CREATE FUNCTION postmeter.prove_balance_anew() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    asked bigint;
begin
    insert into postmeter.balance_anew (meter_id)
    select m.id from postmeter.meter m union select p.meter_id from postmeter.proven_meter p order by 1
    on conflict (meter_id) do update set after = 0, asked_at = excluded.asked_at;
    get diagnostics asked = row_count;
    update postmeter.balance_check b
    set round_at = clock_timestamp(), round_ends_at = clock_timestamp(), meters_after = null, usage_after = '', round_seconds = 0, next_at = '-infinity';
    return asked;
end
$$;

COMMENT ON FUNCTION postmeter.prove_balance_anew() IS 'Takes every proof back: all meters and all usage are read again from the beginning, by the workers'' checks or by postmeter balance --prove. Returns how many meters.';

CREATE FUNCTION postmeter.prove_carried() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    bad bigint;
    who text;
begin
    select count(*), min(format('%s %s %s of %s: %s', b.org, b.product, b.metric, to_char(b.month, 'YYYY-MM'), trim_scale(b.left_over)))
    into bad, who
    from (select p.month, p.org, p.product, p.metric, sum(p.left_over) as left_over, sum(p.left_usages) as left_usages
          from postmeter.carried_place p group by 1, 2, 3, 4) b
    where b.left_over <> 0 or b.left_usages <> 0;
    delete from postmeter.usage_open o where o.first = 'carried';
    insert into postmeter.usage_open (first, last, open, example) select 'carried', 'carried', bad, who where bad > 0;
    return bad;
end
$$;

COMMENT ON FUNCTION postmeter.prove_carried() IS 'Proves that all usage of dropped months was somewhere (carried_place), and keeps it if it was not. Returns how many orgs'' metrics do not add up.';

CREATE FUNCTION postmeter.prove_moved(meters bigint[]) RETURNS TABLE(remittances bigint, proven bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    on_meters  bigint[];
    of_these   bigint[];
begin
    perform postmeter.check_proof_state();
    with gone as (
        delete from postmeter.balance_moved m where m.meter_id = any (prove_moved.meters) returning m.meter_id, m.delivery_id
    )
    select array_agg(g.meter_id), array_agg(g.delivery_id) into on_meters, of_these
    from (select distinct x.meter_id, x.delivery_id from gone x where x.delivery_id is not null) g;
    remittances := postmeter.read_remittances(on_meters, of_these);
    insert into postmeter.proven_meter (meter_id, denominator, remains)
    select m.id, 1, 0 from unnest(prove_moved.meters) m(id)
    on conflict do nothing;
    with meter as materialized (
        select b.meter_id, b.denominator, b.holds from postmeter.meter_balance b where b.meter_id = any (prove_moved.meters)
    ), closed as materialized (
        select p.meter_id, p.remains * (coalesce(b.denominator, p.denominator) / p.denominator) - coalesce(b.holds, 0) as difference
        from postmeter.proven_meter p
        left join meter b on b.meter_id = p.meter_id
        where p.meter_id = any (prove_moved.meters)
          and not exists (select from postmeter.balance_anew w where w.meter_id = p.meter_id)
    ), suspect as (
        -- nobody is accused by what was kept: all of it is read again first
        insert into postmeter.balance_anew (meter_id) select c.meter_id from closed c where c.difference <> 0
    ), written as (
        update postmeter.proven_meter p set difference = 0, proven_at = clock_timestamp()
        from closed c where p.meter_id = c.meter_id and c.difference = 0
        returning 1
    )
    select count(*) into proven from written;
    return next;
end
$$;

COMMENT ON FUNCTION postmeter.prove_moved(meters bigint[]) IS 'Proves these meters from what was written since and what is kept of the rest. One whose balance does not close that way is read again whole before anybody says so.';

CREATE FUNCTION postmeter.prove_slices(slices text[]) RETURNS TABLE(orgs bigint, open bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $$
declare
    run record;
    n   bigint;
    bad bigint;
    who text;
begin
    orgs := 0;
    open := 0;
    -- neighbours are read together
    for run in
        select min(x.slice) as first, max(x.slice) as last
        from (select s.slice, ('x' || s.slice)::bit(32)::bigint - row_number() over (order by s.slice) as run
              from (select distinct u.slice collate "C" as slice from unnest(slices) u(slice)) s) x
        group by x.run order by 1
    loop
        select * into n, bad, who from postmeter.prove_usage(run.first, run.last);
        orgs := orgs + n;
        open := open + bad;
    end loop;
    return next;
end
$$;

COMMENT ON FUNCTION postmeter.prove_slices(slices text[]) IS 'Proves that all usage of these slices is somewhere.';

CREATE FUNCTION postmeter.prove_usage(first text, last text, OUT checked bigint, OUT open bigint, OUT example text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS $_$
begin
    perform postmeter.check_proof_state();
    if first !~ '^[0-9a-f]{8}$' or last !~ '^[0-9a-f]{8}$' then
        raise exception 'a slice has eight digits' using errcode = '22023';
    end if;
    delete from postmeter.usage_moved m where m.slice >= prove_usage.first collate "C" and m.slice <= prove_usage.last collate "C";
    -- written out, so that only partitions that have such usage are looked at, or waited for
    execute format($q$
        select count(*), count(*) filter (where b.left_over <> 0 or b.left_usages <> 0),
               (array_agg(format('%%s %%s %%s: %%s', b.org, b.product, b.metric, trim_scale(b.left_over)) order by b.org)
                filter (where b.left_over <> 0 or b.left_usages <> 0))[1]
        from (select p.org, p.product, p.metric, sum(p.left_over) as left_over, sum(p.left_usages) as left_usages
              from postmeter.usage_place p where p.usage_id >= %L::uuid and p.usage_id <= %L::uuid group by 1, 2, 3) b $q$,
        first || '-0000-0000-0000-000000000000', last || '-ffff-ffff-ffff-ffffffffffff')
    into checked, open, example;
    delete from postmeter.usage_open o where o.first >= prove_usage.first collate "C" and o.last <= prove_usage.last collate "C";
    insert into postmeter.usage_open (first, last, open, example)
    select prove_usage.first, prove_usage.last, prove_usage.open, prove_usage.example
    where prove_usage.open > 0
      and not exists (select from postmeter.usage_open o where o.first <= prove_usage.first collate "C" and o.last >= prove_usage.last collate "C");
end
$_$;

COMMENT ON FUNCTION postmeter.prove_usage(first text, last text, OUT checked bigint, OUT open bigint, OUT example text) IS 'Proves that all usage of these slices, and of those between them, is somewhere (usage_place), and keeps it if it is not.';

CREATE FUNCTION postmeter.put_request_news_behind() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    floor postmeter.request_floor;
    moved text;
begin
    perform postmeter.take_gate('gather_requests');
    floor := postmeter.request_floor_now();
    with gone as (
        delete from postmeter.request_news n
        where (n.xid, n.id) in (select x.xid, x.id from postmeter.request_news x where (x.xid, x.id) >= (floor.xid, floor.id)
                                order by x.xid, x.id limit 1)
        returning n.request_key, n.date, n.digest, n.kind, n.message, n.recorded_at
    )
    insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
    select g.request_key, g.date, g.digest, g.kind, g.message, g.recorded_at from gone g
    returning request_key into moved;
    return moved;
end
$$;

COMMENT ON FUNCTION postmeter.put_request_news_behind() IS 'Puts the first request status that gather has not counted behind all others: alone, it could not be gathered. Returns its request''s key; null: there is none.';

CREATE FUNCTION postmeter.raise_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- whoever sets it by hand raises it too
    if new is distinct from old then
        new.version := old.version + 1;
    end if;
    return new;
end
$$;

COMMENT ON FUNCTION postmeter.raise_version() IS 'Trigger: whatever changes a destination raises its version.';

CREATE FUNCTION postmeter.raise_versions_of_quota() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update postmeter.destination t set version = t.version + 1 where t.quota_id = new.id;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.raise_versions_of_quota() IS 'Trigger: whatever changes a quota''s limit raises the version of its destinations.';

CREATE FUNCTION postmeter.read_again_over() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with n as materialized (select clock_timestamp() as now), next as materialized (
        -- a fiftieth of the time at most, but once a day
        select n.now, greatest(n.now, x.round_at + make_interval(secs => least(60 * x.round_seconds, 86400))) as at
        from postmeter.balance_check x, n
    )
    update postmeter.balance_check b
    set whole_from = b.round_at, whole_until = n.now, whole_seconds = b.round_seconds, round_seconds = 0,
        meters_after = 0, usage_after = '', round_at = n.at, round_ends_at = n.at + make_interval(secs => least(50 * b.round_seconds, 72000))
    from next n
$$;

COMMENT ON FUNCTION postmeter.read_again_over() IS 'The whole ledger was read again: says between when, and when that begins anew. The next time takes as much of the time as this one took, fifty times over, and 20 hours at most; it begins a day after this one at the latest.';

CREATE FUNCTION postmeter.read_again_took(seconds double precision) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.balance_check b set round_seconds = b.round_seconds + read_again_took.seconds
$$;

COMMENT ON FUNCTION postmeter.read_again_took(seconds double precision) IS 'Notes how long reading again took.';

CREATE FUNCTION postmeter.read_held_row(said jsonb, OUT delivery bigint, OUT key text, OUT receipt text, OUT destination text, OUT quantity numeric, OUT billed boolean, OUT problem text) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
    delivery := said ->> 'delivery'; key := said ->> 'key'; receipt := said ->> 'receipt'; destination := said ->> 'destination';
    quantity := said ->> 'quantity'; billed := said ->> 'billed';
    if billed <> (quantity > 0) then
        problem := format('billed is %s and quantity is %s: one of them must be wrong', billed, trim_scale(quantity));
    end if;
    billed := coalesce(billed, quantity > 0);
end
$_$;

COMMENT ON FUNCTION postmeter.read_held_row(said jsonb, OUT delivery bigint, OUT key text, OUT receipt text, OUT destination text, OUT quantity numeric, OUT billed boolean, OUT problem text) IS 'Reads a row of resolve_rows: which remittance it names, whether the marketplace holds it (told by the quantity where billed is left out), and what is wrong with the row, if anything.';

CREATE FUNCTION postmeter.read_remittances(meters bigint[], deliveries bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    pairs bigint;
begin
    with pair as materialized (
        select distinct p.meter_id, p.delivery_id from unnest(meters, deliveries) p(meter_id, delivery_id)
    ), fresh as materialized (
        select r.meter_id, r.delivery_id, r.denominator, r.remains
        from postmeter.remittance_balance r
        where r.meter_id = any (meters) and r.delivery_id = any (deliveries)
    ), change as materialized (
        select p.meter_id, p.delivery_id, f.denominator, coalesce(f.remains, 0) as remains,
               k.denominator as denominator_before, coalesce(k.remains, 0) as remains_before
        from pair p
        left join fresh f on f.meter_id = p.meter_id and f.delivery_id = p.delivery_id
        left join postmeter.proven_remittance k on k.meter_id = p.meter_id and k.delivery_id = p.delivery_id
    ), gone as (
        delete from postmeter.proven_remittance k using change c
        where k.meter_id = c.meter_id and k.delivery_id = c.delivery_id and c.remains = 0
    ), kept as (
        insert into postmeter.proven_remittance (meter_id, delivery_id, denominator, remains)
        select c.meter_id, c.delivery_id, c.denominator, trim_scale(c.remains) from change c where c.remains <> 0
        on conflict (meter_id, delivery_id) do update set denominator = excluded.denominator, remains = excluded.remains
    ), meter as materialized (
        select b.meter_id, b.denominator from postmeter.meter_balance b where b.meter_id = any (meters)
    ), total as (
        select x.meter_id, x.denominator,
               sum(x.remains * (x.denominator / coalesce(x.denominator_now, x.denominator))
                   - x.remains_before * (x.denominator / coalesce(x.denominator_before, x.denominator))) as more
        from (select c.meter_id, c.remains, c.remains_before, c.denominator_before, c.denominator as denominator_now,
                     -- a meter that is gone: as it was
                     coalesce(m.denominator, (select max(k.denominator) from postmeter.proven_remittance k where k.meter_id = c.meter_id), 1) as denominator
              from change c left join meter m on m.meter_id = c.meter_id) x
        group by 1, 2
    ), totals as (
        insert into postmeter.proven_meter as p (meter_id, denominator, remains)
        select t.meter_id, t.denominator, t.more from total t
        on conflict (meter_id) do update
        set remains = trim_scale(p.remains * (excluded.denominator / p.denominator) + excluded.remains), denominator = excluded.denominator
    )
    select count(*) into pairs from pair;
    return pairs;
end
$$;

COMMENT ON FUNCTION postmeter.read_remittances(meters bigint[], deliveries bigint[]) IS 'Reads what these remittances leave on these meters, pair by pair, and keeps it.';

CREATE FUNCTION postmeter.read_usage_anew(until text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.balance_check b set usage_after = nullif(until, 'ffffffff')
$$;

COMMENT ON FUNCTION postmeter.read_usage_anew(until text) IS 'Usage up to this slice was read again in turn.';

CREATE FUNCTION postmeter.recalculate(destination text, month date) RETURNS TABLE(buyer text, dimension text, meter_id bigint, denominator numeric, org text, product text, metric text, part text, reason text, quantity numeric)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET work_mem TO '128MB'
    SET jit TO 'off'
    SET enable_nestloop TO 'off'
    AS $$
#variable_conflict use_column
declare
    t       postmeter.destination;
    began   timestamptz;
    ended   timestamptz;
    first   uuid := '00000000-0000-0000-0000-000000000000';
    others  integer[];
begin
    perform postmeter.month_last_deadline(recalculate.destination, recalculate.month);
    perform postmeter.check_ledger_kept(recalculate.destination, recalculate.month);
    select x.* into t from postmeter.destination x where x.name = recalculate.destination;
    -- usage is with one live destination, and with each shadow: these look at different allocations
    others := array(select x.id from postmeter.destination x
                    where case when t.shadow_of is null then x.shadow_of is not null else x.id <> t.id end);
    began := recalculate.month::timestamp at time zone t.zone;
    ended := (recalculate.month + interval '1 month')::timestamp at time zone t.zone;
    -- an id is as old as its recording, and no usage is recorded before it is used by more than the lead: older
    -- partitions are not read. Where the clock may move, ids tell nothing.
    select case when s.purpose = 'production' then postmeter.id_at(began - s.usage_lead_max - interval '1 day') else first end
    into first from postmeter.setting s;
    return query
    with correction as materialized (
        -- a correction belongs to the hour of what it corrects
        select c.id, o.used_at, o.recorded_at
        from (select u.id, (select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity) as corrected_id
              from postmeter.usage u where u.corrected_identity is not null and u.id >= first offset 0) c
        cross join lateral (select (select x from postmeter.usage x where x.id = c.corrected_id) as o offset 0) l
        cross join lateral (select (l.o).used_at, (l.o).recorded_at) o
        where (l.o).id is not null
    ), member as materialized (
        -- to which contract each subscription belongs in this month
        select s.id, s.product, s.org, s.valid_from, s.valid_until, coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer) as contract
        from postmeter.subscription s
        left join postmeter.contract_member k on k.subscription_id = s.id and k.month = recalculate.month
        where s.destination_id = t.id and s.buyer is not null
    ), ends as materialized (
        -- as meter_ends says it
        select m.contract, least(ended, max(coalesce(m.valid_until, 'infinity'))) as at from member m where m.valid_from < ended group by 1
    ), boundary as materialized (
        -- hours of the month at which the catalogue begins to say something else about an org
        select b.org, array_agg(distinct b.hour) as hours
        from (select s.org, unnest(array[s.valid_from, s.valid_until]) as hour from postmeter.subscription s
              union all
              select e.org, unnest(array[e.valid_from, e.valid_until]) from postmeter.exemption e) b
        where b.hour > began and b.hour < ended
        group by 1
    ), covered_kind as materialized (
        select distinct o.org, o.product, c.metric
        from postmeter.cover c
        join member s on s.id = c.subscription_id
        join member o on o.contract = s.contract and o.product = s.product
    ), open_now as materialized (
        select d.id, d.round from postmeter.delivery d where d.destination_id = t.id and d.status = 'open'
    ), told_of as materialized (
        -- when a shadow was told last of whom it shadows: what was recorded before may not have been given to it
        select c.new_row ->> 'org' as org, c.new_row ->> 'product' as product, max(c.changed_at) as changed_at
        from postmeter.catalogue_change c
        where t.shadow_of is not null and c.entry = 'subscription' and c.new_row ->> 'destination_id' = t.id::text
        group by 1, 2
    ), found as materialized (
        select u.org, u.product, u.metric, coalesce(u.account, '') as account,
               case when b.org is null then began else (select coalesce(max(h), began) from unnest(b.hours) h where h <= coalesce(k.used_at, u.used_at)) end as since,
               case when c.org is not null then postmeter.hour_of(coalesce(k.used_at, u.used_at)) end as hour,
               case when t.shadow_of is null and num_nonnulls(a.usage_id, h.usage_id, w.id, x.usage_id, g.usage_id) > 1
                         or num_nonnulls(a.usage_id, v.usage_id) > 1 then 'twice'
                    when a.destination_id <> t.id then 'elsewhere'
                    when a.usage_id is not null then case when o.id is not null then 'open_hour' else 'counted' end
                    when v.usage_id is not null then
                        case when v.reason is null then 'waiting' when v.reason = 'exempt' then 'exempt' else 'held_usage' end
                    when t.shadow_of is not null then
                        case when x.usage_id is not null then 'exempt' when not w.returned then 'waiting'
                             when coalesce(k.recorded_at, u.recorded_at) <= n.changed_at then 'not_given' else 'nowhere' end
                    when h.usage_id is not null then 'held_usage'
                    when w.id is not null then 'waiting'
                    when x.usage_id is not null then 'exempt'
                    when g.usage_id is not null then 'written_off_usage'
                    else 'nowhere' end as place,
               case when t.shadow_of is null then h.reason else nullif(v.reason, 'exempt') end as reason, case when a.destination_id = t.id then a.meter_metric_id end as meter_metric_id, u.quantity < 0 as corrects,
               sum(u.quantity) as quantity, sum(a.quantity) - sum(u.quantity) as differs
        from postmeter.usage u
        left join correction k on k.id = u.id
        left join postmeter.allocation a on a.usage_id = u.id and a.destination_id <> all (others)
        left join postmeter.shadow_usage v on v.usage_id = u.id and v.destination_id = t.id
        left join told_of n on n.org = u.org and n.product = u.product
        left join open_now o on o.id = a.delivery_id and o.round = a.round
        left join postmeter.held h on h.usage_id = u.id
        left join postmeter.outbox w on w.id = u.id
        left join postmeter.exempted x on x.usage_id = u.id
        left join postmeter.usage_written_off g on g.usage_id = u.id
        left join boundary b on b.org = u.org
        left join covered_kind c on c.org = u.org and c.product = u.product and c.metric = u.metric
        where coalesce(k.used_at, u.used_at) >= began and coalesce(k.used_at, u.used_at) < ended and u.id >= first
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    ), kind as materialized (
        select k.*, row_number() over () as item from (select distinct f.org, f.product, f.metric, f.account, f.since from found f) k
    ), resolved as materialized (
        select k.org, k.product, k.metric, k.account, k.since, b.contract as buyer, d.name as dimension, r.destination_id,
               -- usage that the catalogue calls exempt by now belongs to no meter
               r.destination_id = t.id and r.buyer is not null and d.id is not null and r.exemption_id is null as mapped,
               d.factor_numerator, d.factor_denominator, d.rounding, d.decimals, d.month_end
        from (select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                     array_agg(nullif(k.account, '') order by k.item) a, array_agg(k.since order by k.item) h from kind k) g,
             postmeter.resolve(g.o, g.p, g.m, g.a, g.h, case when t.shadow_of is not null then t.id end) r
        join kind k on k.item = r.item
        left join postmeter.dimension d on d.id = r.dimension_id
        left join member b on b.id = r.subscription_id
    ), ledger as materialized (
        select m.id as meter_id, m.buyer, m.dimension, m.rounding, m.decimals, m.month_end, mm.id, mm.product, mm.metric,
               mm.factor_numerator, mm.factor_denominator, mm.used, mm.covered
        from postmeter.meter m join postmeter.meter_metric mm on mm.meter_id = m.id
        where m.destination_id = t.id and m.month = recalculate.month
    ), placed as materialized (
        select f.org, f.product, f.metric, f.hour, f.place, f.reason, f.meter_metric_id, f.corrects, f.quantity, f.differs,
               coalesce(r.mapped, false) as mapped, r.buyer, r.dimension, l.id is not null as here,
               l.buyer as old_buyer, l.dimension as old_dimension, l.product as old_product, l.metric as old_metric,
               r.mapped and l.id is not null
                   and (r.buyer, r.dimension, f.product, f.metric) = (l.buyer, l.dimension, l.product, l.metric) as same
        from found f
        join resolved r on r.org = f.org and r.product = f.product and r.metric = f.metric and r.account = f.account and r.since = f.since
        left join ledger l on l.id = f.meter_metric_id
        -- usage of another destination, wherever it is, is not ours to explain
        where r.destination_id = t.id or f.meter_metric_id is not null or (r.destination_id is null and f.place <> 'elsewhere'
                                                                            and (t.shadow_of is null or f.place = 'held_usage'))
    ), told as materialized (
        -- per meter and metric, in its units: used and corrected are the usage; the other parts say where it is
        select p.buyer, p.dimension, p.product, p.metric, case when p.corrects then 'corrected' else 'used' end as part, null::text as reason, p.quantity
        from placed p where p.mapped
        union all
        select p.buyer, p.dimension, p.product, p.metric,
               case when p.place in ('nowhere', 'twice') then 'unexplained' when p.place in ('counted', 'open_hour', 'elsewhere') then 'catalogue_changed' else p.place end,
               case p.place when 'nowhere' then 'usage that is nowhere' when 'twice' then 'usage that is in two places'
                            when 'counted' then 'counted on another meter' when 'open_hour' then 'counted on another meter'
                            when 'elsewhere' then 'counted at another destination' else p.reason end, p.quantity
        from placed p where p.mapped and not coalesce(p.same, false)
        union all
        select p.old_buyer, p.old_dimension, p.old_product, p.old_metric, case p.place when 'twice' then 'unexplained' else p.place end,
               case p.place when 'twice' then 'usage that is in two places' end, p.quantity
        from placed p where p.here
        union all
        select p.old_buyer, p.old_dimension, p.old_product, p.old_metric, 'catalogue_changed', 'no longer of this meter', -p.quantity
        from placed p where p.here and not coalesce(p.same, false)
    ), faults as (
        select p.meter_metric_id as id, 'an allocation says another quantity than its usage' as reason, sum(p.differs) as quantity
        from placed p where p.here group by 1
        union all
        select l.id, 'the meter counted other than its usage says', l.used - coalesce(c.quantity, 0)
        from ledger l
        left join (select p.meter_metric_id, sum(p.quantity) as quantity from placed p where p.place in ('counted', 'twice') group by 1) c
          on c.meter_metric_id = l.id
    ), metric_rows as materialized (
        select k.buyer, k.dimension, k.product, k.metric, k.part, k.reason, sum(k.quantity) as quantity
        from told k group by 1, 2, 3, 4, 5, 6
        union all
        select l.buyer, l.dimension, l.product, l.metric, 'unexplained', f.reason, f.quantity
        from faults f join ledger l on l.id = f.id where f.quantity <> 0
    ), hours as materialized (
        select p.buyer, p.dimension, p.product, p.metric, p.hour, sum(sum(p.quantity)) over (
                   partition by p.buyer, p.dimension, p.product, p.metric order by p.hour) as used
        from placed p where p.mapped and p.hour is not null
        group by 1, 2, 3, 4, 5
    ), cover_now as materialized (
        -- covered := min(T, max(covered, C)) from hour to hour comes to the greatest C that later corrections leave room for
        select h.buyer, h.dimension, h.product, h.metric, greatest(0, max(least(h.cover, h.lowest))) as covered
        from (select h.buyer, h.dimension, h.product, h.metric, h.hour,
                     greatest(coalesce(sum(c.quantity) filter (where s.valid_from <= h.hour), 0),
                              coalesce(sum(c.quantity) filter (
                                  where s.valid_until is null or s.valid_until >= h.hour + interval '1 hour'), 0)) as cover,
                     min(min(h.used)) over (partition by h.buyer, h.dimension, h.product, h.metric order by h.hour
                                            rows between current row and unbounded following) as lowest
              from hours h
              left join (member s join postmeter.cover c on c.subscription_id = s.id)
                on s.contract = h.buyer and s.product = h.product and c.metric = h.metric
               and s.valid_from < h.hour + interval '1 hour' and (s.valid_until is null or h.hour < s.valid_until)
              group by 1, 2, 3, 4, 5) h
        group by 1, 2, 3, 4
    ), factor as materialized (
        select f.buyer, f.dimension, f.product, f.metric,
               coalesce(max(f.numerator) filter (where f.is_now), max(f.numerator)) as numerator,
               coalesce(max(f.denominator) filter (where f.is_now), max(f.denominator)) as denominator,
               coalesce(max(f.numerator) filter (where not f.is_now), max(f.numerator)) as old_numerator,
               coalesce(max(f.denominator) filter (where not f.is_now), max(f.denominator)) as old_denominator
        from (select distinct r.buyer, r.dimension, r.product, r.metric, r.factor_numerator as numerator, r.factor_denominator as denominator, true as is_now
              from resolved r where r.mapped
              union all
              select l.buyer, l.dimension, l.product, l.metric, l.factor_numerator, l.factor_denominator, false from ledger l) f
        group by 1, 2, 3, 4
    ), common as materialized (
        select f.buyer, f.dimension, lcm(postmeter.lcm_of(f.denominator), postmeter.lcm_of(f.old_denominator))::numeric as denominator
        from factor f group by 1, 2
    ), unit as materialized (
        select f.*, c.denominator as d, f.numerator * (c.denominator / f.denominator) as units,
               f.old_numerator * (c.denominator / f.old_denominator) as old_units
        from factor f join common c on c.buyer = f.buyer and c.dimension = f.dimension
    ), rounding as materialized (
        select c.buyer, c.dimension, c.denominator, m.id as meter_id, m.billed, m.carried * (c.denominator / m.denominator) as carried,
               m.billable * c.denominator as billable, coalesce(m.decimals, n.decimals) as decimals,
               case when coalesce(m.month_end, n.month_end) = 'round_up'
                         and e.at <= postmeter.clock()
                    then 'up' else coalesce(m.rounding, n.rounding) end as rounding,
               case when m.month_end = 'round_up' then 'up' else m.rounding end as most, m.decimals as old_decimals
        from common c
        left join ends e on e.contract = c.buyer
        left join postmeter.meter m on m.destination_id = t.id and m.month = recalculate.month and m.buyer = c.buyer and m.dimension = c.dimension
        left join (select r.buyer, r.dimension, max(r.rounding) as rounding, max(r.decimals) as decimals, max(r.month_end) as month_end
                   from resolved r where r.mapped group by 1, 2) n on n.buyer = c.buyer and n.dimension = c.dimension
    ), billed as materialized (
        select c.meter_id, d.status, d.reason, sum(c.to_bill) as quantity
        from postmeter.cut c
        join postmeter.delivery d on d.id = c.delivery_id and d.status <> 'released'
        where c.meter_id in (select l.meter_id from ledger l) and c.to_bill <> 0
        group by 1, 2, 3
    ), usage_units as (
        select k.buyer, k.dimension,
               sum(k.quantity * u.units) filter (where k.part in ('used', 'corrected')) as used
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product and u.metric = k.metric
        group by 1, 2
    ), ledger_units as (
        select l.buyer, l.dimension, sum((l.used - l.covered) * u.old_units) as units
        from ledger l join unit u on u.buyer = l.buyer and u.dimension = l.dimension and u.product = l.product and u.metric = l.metric
        group by 1, 2
    ), cover_units as (
        select u.buyer, u.dimension, sum(coalesce(c.covered, 0) * u.units) as now, sum(coalesce(l.covered, 0) * u.old_units) as before
        from unit u
        left join cover_now c on c.buyer = u.buyer and c.dimension = u.dimension and c.product = u.product and c.metric = u.metric
        left join ledger l on l.buyer = u.buyer and l.dimension = u.dimension and l.product = u.product and l.metric = u.metric
        group by 1, 2
    ), total as materialized (
        select r.buyer, r.dimension, r.meter_id, r.denominator, r.carried, r.billable, r.decimals,
               coalesce(w.used, 0) - c.now as units, c.now as covered, c.before - c.now as cover_changed,
               greatest(0, coalesce(postmeter.round_units(coalesce(w.used, 0) - c.now, r.denominator, r.rounding, r.decimals), 0)) * r.denominator as should,
               coalesce(greatest(0, r.billed - postmeter.round_units(l.units, r.denominator, r.most, r.old_decimals)), 0) * r.denominator as over_billed
        from rounding r
        left join usage_units w on w.buyer = r.buyer and w.dimension = r.dimension
        left join ledger_units l on l.buyer = r.buyer and l.dimension = r.dimension
        left join cover_units c on c.buyer = r.buyer and c.dimension = r.dimension
    ), meter_rows as materialized (
        -- per meter, in billing units x denominator: should is the sum of the other parts
        select x.buyer, x.dimension, 'should' as part, null::text as reason, x.should as quantity from total x
        union all
        select x.buyer, x.dimension, b.status, b.reason, b.quantity * x.denominator from billed b join total x on x.meter_id = b.meter_id
        union all
        select k.buyer, k.dimension, k.part, k.reason, sum(k.quantity * u.units)
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product and u.metric = k.metric
        where k.part in ('waiting', 'not_given', 'open_hour', 'held_usage', 'written_off_usage', 'exempt', 'catalogue_changed')
        group by 1, 2, 3, 4
        union all
        select k.buyer, k.dimension, 'catalogue_changed', 'another factor', sum(k.quantity * (u.units - u.old_units))
        from metric_rows k join unit u on u.buyer = k.buyer and u.dimension = k.dimension and u.product = k.product and u.metric = k.metric
        where k.part = 'counted'
        group by 1, 2
        union all
        select x.buyer, x.dimension, 'cover_changed', null, x.cover_changed from total x
        union all
        select x.buyer, x.dimension, 'released', null, x.billable from total x
        union all
        select x.buyer, x.dimension, 'credit', null, -x.over_billed from total x
        union all
        -- at most one step of what can be billed: more than that would be no rounding
        select y.buyer, y.dimension, case when y.is_rounding then 'below_one_unit' else 'unexplained' end,
               case when not y.is_rounding then 'more than rounding' end, y.below
        from (select x.*, b.below, abs(b.below) <= x.denominator * (0.1 ^ x.decimals)::numeric(20, 15) as is_rounding
              from total x, lateral (select coalesce(x.carried - x.billable, 0) + x.should - x.units + x.over_billed as below) b) y
    ), every as (
        select k.buyer, k.dimension, null::text as org, k.product, k.metric, k.part, k.reason, k.quantity from metric_rows k
        union all
        select null, null, p.org, p.product, p.metric, v.part, v.reason, sum(p.quantity)
        from placed p
        cross join lateral (values (case when p.corrects then 'corrected' else 'used' end, null),
            (case when p.place in ('nowhere', 'twice') then 'unexplained' else p.place end,
             case p.place when 'nowhere' then 'usage that is nowhere' when 'twice' then 'usage that is in two places' else p.reason end)) v(part, reason)
        where not p.mapped and not p.here
        group by 3, 4, 5, 6, 7
        union all
        select k.buyer, k.dimension, null, null, null, k.part, k.reason, k.quantity from meter_rows k
        union all
        select k.buyer, k.dimension, null, null, null, 'unexplained', 'the bill',
               sum(k.quantity) filter (where k.part = 'should') - coalesce(sum(k.quantity) filter (where k.part <> 'should'), 0)
        from meter_rows k group by 1, 2
    )
    select e.buyer, e.dimension, x.meter_id, case when e.metric is null then x.denominator end, e.org, e.product, e.metric, e.part, e.reason, trim_scale(e.quantity)
    from every e
    left join total x on x.buyer = e.buyer and x.dimension = e.dimension
    where e.quantity <> 0 or e.part in ('used', 'should')
    order by e.buyer, e.dimension, e.metric is not null, e.org, e.product, e.metric,
             array_position(array['should', 'used', 'corrected', 'counted'], e.part), e.part, e.reason;
end
$$;

COMMENT ON FUNCTION postmeter.recalculate(destination text, month date) IS 'A month from its usage, by the catalogue as it is now, against what was billed. Rows with a metric are usage in its units: used and corrected, and the parts that say where it is. Rows without a metric are a meter''s bill in billing units x denominator: should, and the parts that it is made of. A row unexplained (there should be none) says what does not add up. Of a shadow, not_given is what was recorded before it was told of that buyer.';

CREATE TABLE postmeter.late_evidence (
    id bigint NOT NULL,
    attempt_id uuid NOT NULL,
    delivery_id bigint NOT NULL,
    outcome text NOT NULL,
    code text,
    shown_quantity numeric,
    receipt text,
    http_status integer,
    their_request_id text,
    excerpt text,
    worker_id uuid,
    recorded_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL
);

COMMENT ON TABLE postmeter.late_evidence IS 'Outcomes that came after another was recorded for their attempt: from a worker that had lost its claim. Read before any resend or hold. Append-only.';

COMMENT ON COLUMN postmeter.late_evidence.id IS 'Order of arrival.';

COMMENT ON COLUMN postmeter.late_evidence.attempt_id IS 'The attempt.';

COMMENT ON COLUMN postmeter.late_evidence.delivery_id IS 'The delivery.';

COMMENT ON COLUMN postmeter.late_evidence.outcome IS 'See outcome.outcome.';

COMMENT ON COLUMN postmeter.late_evidence.code IS 'See outcome.code.';

COMMENT ON COLUMN postmeter.late_evidence.shown_quantity IS 'See outcome.shown_quantity.';

COMMENT ON COLUMN postmeter.late_evidence.receipt IS 'See outcome.receipt.';

COMMENT ON COLUMN postmeter.late_evidence.http_status IS 'See outcome.http_status.';

COMMENT ON COLUMN postmeter.late_evidence.their_request_id IS 'See outcome.their_request_id.';

COMMENT ON COLUMN postmeter.late_evidence.excerpt IS 'See outcome.excerpt.';

COMMENT ON COLUMN postmeter.late_evidence.worker_id IS 'Who brought it.';

COMMENT ON COLUMN postmeter.late_evidence.recorded_at IS 'When.';

CREATE FUNCTION postmeter.receipts_of(delivery bigint) RETURNS TABLE(receipt text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT o.receipt
    FROM (postmeter.attempt a
      JOIN postmeter.outcome o ON ((o.attempt_id = a.id)))
   WHERE ((a.delivery_id = receipts_of.delivery) AND (o.receipt IS NOT NULL))
 UNION ALL
  SELECT l.receipt
    FROM postmeter.late_evidence l
   WHERE ((l.delivery_id = receipts_of.delivery) AND (l.receipt IS NOT NULL));
END;

COMMENT ON FUNCTION postmeter.receipts_of(delivery bigint) IS 'The receipts that a remittance was given, by its attempts and by what came too late.';

CREATE FUNCTION postmeter.reconsider(deliveries bigint[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    d       postmeter.delivery;
    now     timestamptz := postmeter.clock();
    changed integer := 0;
    after   text;
begin
    -- before any lock: an edit of the catalogue keeps the gate shut and then waits for meters
    perform postmeter.month_gate();
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(select c.meter_id from postmeter.cut c where c.delivery_id = any (deliveries)));
    for d in select f.* from postmeter.delivery f where f.id = any (deliveries) order by f.id for update loop
        continue when not exists (select from postmeter.stuck s where s.delivery_id = d.id and s.again_at <= now);
        after := d.status;
        if d.status = 'expired' then
            select r.status_after into after
            from postmeter.release(jsonb_build_object('delivery', d.id), 'postmeter', 'expired; expired_policy is roll_forward', false) r;
        elsif d.status = 'held' and d.reason = 'invalid_subscription' and not d.maybe_billed and d.deadline >= now then
            after := 'due';
            update postmeter.delivery u set status = after, reason = null, batch_limit = 1, changed_at = now where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
        end if;
        if after is distinct from d.status then
            changed := changed + 1;
        else
            update postmeter.stuck s set again_at = case when d.status = 'expired' then now + interval '1 hour' end where s.delivery_id = d.id;
        end if;
    end loop;
    return changed;
end
$$;

COMMENT ON FUNCTION postmeter.reconsider(deliveries bigint[]) IS 'These dead letters may move without a person, if their time has come: a held remittance whose buyer was not entitled is sent again (every 10 minutes, until its deadline), an expired one is released where the destination''s expired_policy is roll_forward, with a decision signed by postmeter. Never what may have been billed. Returns how many moved.';

CREATE FUNCTION postmeter.reconsider_stuck(most integer, shadows boolean DEFAULT false) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return postmeter.reconsider(array(
        select s.delivery_id from postmeter.stuck s
        where s.again_at <= postmeter.clock()
          and (s.destination_id in (select t.id from postmeter.destination t where t.shadow_of is not null)) = shadows
        order by s.again_at limit most));
end
$$;

COMMENT ON FUNCTION postmeter.reconsider_stuck(most integer, shadows boolean) IS 'Dead letters that may move without a person: a held remittance whose buyer was not entitled is sent again (every 10 minutes, until its deadline), an expired one is released where the destination''s expired_policy is roll_forward, with a decision signed by postmeter. Never what may have been billed. Of live destinations, or of shadows.';

CREATE FUNCTION postmeter.record_ledger_export(month date, manifest text, who text, why text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known  postmeter.ledger_export;
    before postmeter.ledger_export;
    said   jsonb := manifest::jsonb;
    digest text := encode(sha256(convert_to(manifest, 'UTF8')), 'hex');
    made   bigint;
begin
    perform postmeter.check_decider(who, why);
    lock table postmeter.ledger_export in share row exclusive mode;
    select e.* into known from postmeter.ledger_export e where e.month = record_ledger_export.month;
    if found then
        if known.digest = digest then
            return digest;
        end if;
        raise exception '% was exported before, with another manifest', to_char(record_ledger_export.month, 'YYYY-MM')
            using errcode = 'PM042', column = 'manifest', constraint = 'ledger_exported_once';
    end if;
    perform postmeter.check_ledger_finished(record_ledger_export.month);
    select e.* into before
    from (select l.month, l.number, l.manifest, l.digest, l.exported_at, l.decision_id from postmeter.ledger_export l
          union all
          select m.month, m.number, m.manifest, m.digest, m.exported_at, m.decision_id from postmeter.month_export m) e
    order by e.number desc limit 1;
    if coalesce(said ->> 'format', '') not in ('postmeter-ledger/1', 'postmeter-ledger/2') or said ->> 'month' is distinct from to_char(record_ledger_export.month, 'YYYY-MM')
       or (said ->> 'number')::integer is distinct from coalesce(before.number, 0) + 1 or said ->> 'previous' is distinct from before.digest then
        raise exception 'the manifest does not follow the last one' using errcode = 'PM042', column = 'manifest',
            constraint = 'ledger_chain', hint = 'Another export may have run: export it again.';
    end if;
    -- a shadow whose catalogue is mended later must not count into a month that is exported
    perform postmeter.forget_shadow_usage(record_ledger_export.month);
    perform postmeter.check_ledger_rows(record_ledger_export.month, manifest);
    insert into postmeter.decision (who, why, verb, detail)
    values (who, why, 'export', jsonb_build_object('month', record_ledger_export.month, 'digest', digest)) returning id into made;
    insert into postmeter.ledger_export (month, number, manifest, digest, decision_id)
    values (record_ledger_export.month, (said ->> 'number')::integer, manifest, digest, made);
    return digest;
end
$$;

COMMENT ON FUNCTION postmeter.record_ledger_export(month date, manifest text, who text, why text) IS 'Records the manifest of an export that was written and read again; returns its digest. Only of a finished month (PM041), in the order of exports (PM042), with the rows that are here (PM043). The same again changes nothing.';

CREATE FUNCTION postmeter.record_month_export(destination text, month date, manifest text, who text, why text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.record_month_export(destination text, month date, manifest text, who text, why text) IS 'Records the manifest of a billing month''s export that was written and read again; returns its digest. Only of a finished month (PM041), in the order of exports (PM042), with the rows that are here (PM043). The same again changes nothing; a later one takes its place.';

CREATE FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at date, account text DEFAULT NULL::text, corrects text DEFAULT NULL::text, request_id text DEFAULT NULL::text, traceparent text DEFAULT NULL::text, attributes jsonb DEFAULT '{}'::jsonb) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'usage %: used_at is a date, and marketplaces count hours; pass a timestamptz',
                    coalesce(quote_literal(event_id), '?')
        using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'used_at', constraint = 'used_at_zone',
              hint = 'Pass the moment of use, with its zone.';
end
$$;

COMMENT ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at date, account text, corrects text, request_id text, traceparent text, attributes jsonb) IS 'Refuses a date (PM001): it names no hour, and its midnight is another moment in every session.';

CREATE FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp without time zone, account text DEFAULT NULL::text, corrects text DEFAULT NULL::text, request_id text DEFAULT NULL::text, traceparent text DEFAULT NULL::text, attributes jsonb DEFAULT '{}'::jsonb) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'usage %: used_at is a timestamp without time zone, which is another moment in every session; pass a timestamptz',
                    coalesce(quote_literal(event_id), '?')
        using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'used_at', constraint = 'used_at_zone',
              hint = 'Give your time its zone where it is made, or write: used_at at time zone ''UTC''.';
end
$$;

COMMENT ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp without time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) IS 'Refuses a time without a zone (PM001): cast silently, it would mean another moment in every session.';

CREATE FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text DEFAULT NULL::text, corrects text DEFAULT NULL::text, request_id text DEFAULT NULL::text, traceparent text DEFAULT NULL::text, attributes jsonb DEFAULT '{}'::jsonb) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    recorded uuid;
begin
    insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes)
    values (record_usage.source, record_usage.event_id, record_usage.org, record_usage.product, record_usage.metric,
            record_usage.quantity, record_usage.used_at, record_usage.account, record_usage.corrects,
            record_usage.request_id, record_usage.traceparent, coalesce(record_usage.attributes, '{}'))
    returning id into recorded;
    if current_setting('postmeter.repeated', true) = 'on' then
        select i.usage_id into strict recorded from postmeter.usage_identity i
        where i.identity = postmeter.usage_identity_of(record_usage.source, record_usage.event_id);
    end if;
    return recorded;
end
$$;

COMMENT ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) IS 'Records one usage in the caller''s transaction and returns its id; repeated with the same content it returns the first id again. Errors: 23502, PM001 to PM007 (docs/integrate.md).';

CREATE FUNCTION postmeter.record_usage_batch(usages jsonb) RETURNS TABLE(item integer, verdict text, usage_id uuid, error_code text, field text, message text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
    ids      uuid[];
    usage    jsonb;
    quantity numeric;
    used_at  timestamptz;
    named    text;
begin
    if jsonb_typeof(usages) is distinct from 'array' then
        raise exception 'usages must be a JSON array of objects' using errcode = 'PM001', column = 'usages', constraint = 'usages_array';
    end if;
    if not exists (select from jsonb_array_elements(usages) e where postmeter.usage_text_fault(e) is not null) then
        begin
            ids := array(select postmeter.new_id() from generate_series(1, jsonb_array_length(usages)));
            insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                          request_id, traceparent, attributes)
            select ids[u.ordinality], u.usage ->> 'source', u.usage ->> 'event_id', u.usage ->> 'org', u.usage ->> 'product',
                   u.usage ->> 'metric', (u.usage ->> 'quantity')::numeric, postmeter.usage_time(u.usage ->> 'used_at'),
                   u.usage ->> 'account', u.usage ->> 'corrects', u.usage ->> 'request_id', u.usage ->> 'traceparent',
                   coalesce(nullif(u.usage -> 'attributes', 'null'), '{}')
            from jsonb_array_elements(usages) with ordinality u(usage, ordinality);
            if current_setting('postmeter.repeated', true) is distinct from 'on' then
                return query
                select k.ordinality::integer, 'recorded'::text, k.id, null::text, null::text, null::text
                from unnest(ids) with ordinality k(id, ordinality);
                return;
            end if;
            -- no join, so that no plan can be quadratic: an id of ours stands for an identity if one of its items brought it
            return query
            select s.item, case when s.is_ours and s.nth = 1 then 'recorded' else 'repeated' end, s.standing,
                   null::text, null::text, null::text
            from (
                select l.item, l.standing, bool_or(l.standing = ids[l.item]) over (partition by l.standing) as is_ours,
                       row_number() over (partition by l.standing order by l.item) as nth
                from (
                    select n.ordinality::integer as item, (
                               select i.usage_id from postmeter.usage_identity i
                               where i.identity = postmeter.usage_identity_of(n.usage ->> 'source', n.usage ->> 'event_id')
                           ) as standing
                    from jsonb_array_elements(usages) with ordinality n(usage, ordinality)
                    offset 0) l
            ) s
            order by s.item;
            return;
        exception when others then
            -- bad data of some row: every row gets its own verdict below; anything else is the caller's business
            if sqlstate !~ '^(22|23|PM)' then
                raise;
            end if;
        end;
    end if;
    item := 0;
    for usage in select e from jsonb_array_elements(usages) e loop
        item := item + 1;
        usage_id := null; verdict := 'refused';
        select f.error_code, f.field, f.message into error_code, field, message from postmeter.usage_text_refusal(usage) f;
        if error_code is not null then
            return next;
            continue;
        end if;
        begin
            -- what a cast refuses is told by the field at hand: messages come in the server's language
            field := 'quantity';
            quantity := (usage ->> 'quantity')::numeric;
            field := 'used_at';
            used_at := postmeter.usage_time(usage ->> 'used_at');
            field := null;
            usage_id := (select i.usage_id from postmeter.usage_identity i
                         where i.identity = postmeter.usage_identity_of(usage ->> 'source', usage ->> 'event_id'));
            verdict := case when usage_id is null then 'recorded' else 'repeated' end;
            usage_id := postmeter.record_usage(usage ->> 'source', usage ->> 'event_id', usage ->> 'org', usage ->> 'product',
                usage ->> 'metric', quantity, used_at, usage ->> 'account', usage ->> 'corrects', usage ->> 'request_id',
                usage ->> 'traceparent', nullif(usage -> 'attributes', 'null'));
        exception when others then
            get stacked diagnostics error_code = returned_sqlstate, named = column_name, message = message_text;
            if error_code !~ '^(22|23|PM)' then
                raise;
            end if;
            verdict := 'refused';
            usage_id := null;
            if field is not null then
                message := format('usage %L: %s: %s', usage ->> 'event_id', field, message);
            end if;
            field := coalesce(nullif(named, ''), field);
        end;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.record_usage_batch(usages jsonb) IS 'Records many usages in one round trip: an array of objects with the parameters of record_usage. A verdict per row: recorded, repeated or refused (with error code, field and message); what is refused does not stop the rest.';

CREATE FUNCTION postmeter.recorded_before_loss(usages uuid[], destinations integer[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with broken as materialized (select postmeter.broken_at() as at)
    select u.id
    from unnest(usages, destinations) g(id, destination_id)
    join postmeter.destination t on t.id = g.destination_id and t.shadow_of is null
    join postmeter.usage u on u.id = g.id
    where (select b.at from broken b) is not null
      -- a correction goes where its usage stands
      and (u.recorded_at <= (select b.at from broken b)
           or u.corrects is null and postmeter.hour_of(u.used_at) + interval '1 hour' <= (select b.at from broken b))
      and not exists (select from postmeter.asked_usage a where a.usage_id = g.id and a.asked_at >= (select b.at from broken b))
$$;

COMMENT ON FUNCTION postmeter.recorded_before_loss(usages uuid[], destinations integer[]) IS 'Which of these usages, too late for their own hours, were recorded before commits were lost, or are of an hour that was over by then and may have been recorded in the time that was lost: they may have been billed with another hour in that time, and nobody has said yet that they were not. Without a loss it reads nothing else.';

CREATE FUNCTION postmeter.recorded_until() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT (postmeter.hour_of((postmeter.clock() + s.usage_lead_max)) + '01:00:00'::interval)
    FROM postmeter.setting s;
END;

COMMENT ON FUNCTION postmeter.recorded_until() IS 'Usage of later hours cannot have been recorded yet: what the catalogue changes for them moves nothing.';

CREATE FUNCTION postmeter.recount(filter jsonb, who text, why text, dry_run boolean DEFAULT true, late boolean DEFAULT false) RETURNS TABLE(delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    d       postmeter.delivery;
    dead    bigint;
    sources bigint[];
    way     record;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    for dead in select b.id from postmeter.deliveries_by(filter) b order by 1 loop
        sources := array(select s.delivery_id from postmeter.recount_sources(dead) s order by 1);
        note := postmeter.recount_look(dead, filter, late);
        if note is null and not dry_run then
            perform postmeter.recount_lock(sources);
            -- later statements than the last lock: what somebody else has done meanwhile counts
            note := case when sources <> array(select s.delivery_id from postmeter.recount_sources(dead) s order by 1)
                         then 'somebody else has it in hand: say it again' else postmeter.recount_look(dead, filter, late) end;
        end if;
        select x.* into d from postmeter.delivery x where x.id = dead;
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; status_after := d.status; quantity := d.quantity;
        if note is null and dry_run then
            select bool_or(w.to_destination = d.destination_id and k.key = d.key) as is_same,
                   format('%s: %s', postmeter.counted(sum(cardinality(w.usages)), 'usage'),
                          string_agg(distinct coalesce('to ' || k.key, 'exempt by now'), ', ')) as says into way
            from postmeter.recount_ways(sources) w
            cross join lateral (select case when w.to_exemption is null
                                            then postmeter.remittance_key(w.to_buyer, w.to_dimension, w.hour) end as key) k;
            status_after := case when way.is_same then 'open' else 'released' end;
            note := way.says;
        elsif note is null then
            note := postmeter.recount_move(d, sources, who, why,
                jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
            select x.status into status_after from postmeter.delivery x where x.id = d.id;
        end if;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.recount(filter jsonb, who text, why text, dry_run boolean, late boolean) IS 'Counts the usage of dead letters again, by today''s catalogue and in its own hour: takes back what they counted, with the remainders and cover that went into it. Only where every attempt of that contract, dimension and hour under any key, and of that hour of the new key, is proven not accepted; else it names what stands in the way, and with late counts it as late usage. Refused while maybe billed, and in a closed month. One call is one transaction: name one remittance where one counts very many usages. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.recount_beside(destination_id integer, buyer text, dimension text, hour timestamp with time zone, identity jsonb, product text, contract text, sources bigint[]) RETURNS TABLE(delivery_id bigint, is_target boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select d.id, true
    from postmeter.meter m
    join postmeter.delivery d on d.meter_id = m.id and d.hour = recount_beside.hour
    where m.destination_id = recount_beside.destination_id and m.buyer = recount_beside.buyer
      and m.dimension = recount_beside.dimension
    union
    -- the same contract under other keys; of another form of identity in any dimension: never two forms in one hour
    select d.id, false
    from (select recount_beside.contract as buyer
          union
          select s.buyer
          from postmeter.destination t
          cross join lateral postmeter.contract_subscriptions(
              t.id, recount_beside.contract, postmeter.month_of(recount_beside.hour, t.zone)) c
          join postmeter.subscription s on s.id = c.subscription_id
          where t.id = recount_beside.destination_id
          union
          select m.buyer from postmeter.delivery x join postmeter.meter m on m.id = x.meter_id where x.id = any (sources)) b
    join postmeter.meter m on m.destination_id = recount_beside.destination_id and m.buyer = b.buyer
    join postmeter.delivery d on d.meter_id = m.id and d.hour = recount_beside.hour and d.id <> all (sources)
    where b.buyer <> recount_beside.buyer
      and (m.dimension = recount_beside.dimension
           or d.product = recount_beside.product
              and array(select k from jsonb_object_keys(d.identity) k order by k)
                  <> array(select k from jsonb_object_keys(recount_beside.identity) k order by k))
    union
    -- where its usage was before earlier recounts
    select d.id, false
    from postmeter.recounted r
    join postmeter.delivery d on d.id = r.delivery_id and d.hour = recount_beside.hour and d.id <> all (sources)
    where r.target_delivery_id = any (sources)
$$;

COMMENT ON FUNCTION postmeter.recount_beside(destination_id integer, buyer text, dimension text, hour timestamp with time zone, identity jsonb, product text, contract text, sources bigint[]) IS 'Remittances on which it depends whether an hour of a key can take a contract''s usage of that hour: the hour of that very key (is_target), and that hour under other keys of the contract.';

CREATE FUNCTION postmeter.recount_late(meter_id bigint, destination_id integer, buyer text, dimension text, identity jsonb, product text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    target bigint := postmeter.open_target(meter_id, identity, product);
begin
    if target is null then
        -- as a part of the running hour of the key under which it is sent by now
        select postmeter.open_hour_at(m.id, postmeter.hour_of(postmeter.clock()), recount_late.identity, recount_late.product) into target
        from postmeter.destination t
        join postmeter.meter m on m.destination_id = t.id and m.buyer = recount_late.buyer and m.dimension = recount_late.dimension
         and m.month = postmeter.month_of(postmeter.clock(), t.zone)
        where t.id = recount_late.destination_id and t.late_policy = 'part';
    end if;
    return target;
end
$$;

COMMENT ON FUNCTION postmeter.recount_late(meter_id bigint, destination_id integer, buyer text, dimension text, identity jsonb, product text) IS 'Opens the hour that takes usage which a recount counts as late: by open_target, else by policy the running hour of the key of today''s catalogue.';

CREATE FUNCTION postmeter.recount_lock(sources bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    meters bigint[];
begin
    -- made before any lock is taken, in the order of their keys, as fold makes them
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
    select distinct on (1, 2, 3, 4)
           w.to_destination, x.buyer, w.to_dimension, x.month, coalesce(i.rounding, n.rounding),
           coalesce(i.decimals, n.decimals), coalesce(i.month_end, n.month_end)
    from postmeter.recount_ways(sources) w
    join postmeter.dimension n on n.id = w.to_dimension_id
    join postmeter.destination t on t.id = w.to_destination
    cross join lateral (select w.to_buyer, w.key_month
                        union select w.to_contract, w.month
                        union select w.to_buyer, postmeter.month_of(postmeter.clock(), t.zone) where t.late_policy = 'part') x(buyer, month)
    left join lateral postmeter.dimension_in(w.to_destination, w.to_dimension, x.month) i on true
    where w.reason is null and w.to_exemption is null
    order by 1, 2, 3, 4
    on conflict do nothing;
    insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator)
    select distinct on (1, 2, 3) m.id, n.product, n.metric, n.factor_numerator, n.factor_denominator
    from postmeter.recount_ways(sources) w
    join postmeter.dimension n on n.id = w.to_dimension_id
    join postmeter.meter m on m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension
     and m.month = w.month
    where w.reason is null and w.to_exemption is null
    order by 1, 2, 3
    on conflict do nothing;
    meters := array(
        select k.meter_id from postmeter.cut k where k.delivery_id = any (sources)
        union
        select mm.meter_id from postmeter.recount_ways(sources) w join postmeter.meter_metric mm on mm.id = w.meter_metric_id
        union
        select m.id
        from postmeter.recount_ways(sources) w
        join postmeter.meter m on m.destination_id = w.to_destination and m.dimension = w.to_dimension
         and (m.buyer = w.to_buyer and m.month >= w.key_month or (m.buyer, m.month) = (w.to_contract, w.month)));
    perform postmeter.lock_meters(array(
        select g.id from unnest(meters) g(id)
        union
        select s.other_id from unnest(meters) g(id) cross join lateral postmeter.shares_cover(g.id) s));
    perform 1 from postmeter.delivery d
    where d.id = any (sources) or d.id in (
        select b.delivery_id
        from postmeter.recount_ways(sources) w
        cross join lateral postmeter.recount_beside(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity,
                                                    w.to_product, w.to_contract, sources) b)
    order by d.id for update;
end
$$;

COMMENT ON FUNCTION postmeter.recount_lock(sources bigint[]) IS 'Makes the meters that a recount needs, and locks them, those that count now and all remittances on which it depends: meters first, each in order.';

CREATE FUNCTION postmeter.recount_look(delivery bigint, filter jsonb, late boolean) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    d       postmeter.delivery;
    w       record;
    sources bigint[] := array(select s.delivery_id from postmeter.recount_sources(recount_look.delivery) s order by 1);
    told    text;
    changes boolean := false;
    held_up text;
    late_at timestamptz;
    part    record;
begin
    select x.* into d from postmeter.delivery x where x.id = recount_look.delivery;
    if d.shadow then
        return 'is a shadow''s, and is never sent';
    elsif d.maybe_billed then
        return 'may have been billed: resolve it first';
    elsif d.status = 'conflict' then
        return 'they hold a quantity under this key: resolve it or write it off';
    elsif postmeter.delivery_counts_others(d.id, filter) then
        return 'also counts usage outside the filter: name the delivery to count all of it again';
    end if;
    -- evidence about whatever would be moved
    select case when s.id = d.id then '' else format('remittance %s, whose quantity it has, ', s.id) end || postmeter.contradicted(s.id)
    into told
    from unnest(sources) s(id) where postmeter.contradicted(s.id) is not null limit 1;
    if told is not null then
        return told;
    end if;
    perform 1 from postmeter.ledger_carry k where k.delivery_id = any (sources);
    if found then
        return 'its usage was dropped with its month of the ledger: release it or write it off';
    end if;
    for w in
        select k.delivery_id, k.destination_id, k.hour, k.org, k.metric, k.to_destination, k.to_buyer, k.to_identity, k.to_product,
               k.to_dimension, k.to_exemption, k.to_contract, k.month, k.reason, k.changes, mm.meter_id
        from postmeter.recount_ways(sources) k
        join postmeter.meter_metric mm on mm.id = k.meter_metric_id
    loop
        changes := changes or w.changes;
        if w.reason is not null then
            return format('the catalogue does not take %s of %s (%s): mend it first', w.metric, w.org, w.reason);
        elsif exists (select from postmeter.meter m
                      join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
                      where m.id = w.meter_id)
              or exists (select from postmeter.closed_month c where c.destination_id = w.to_destination and c.month = w.month) then
            return 'its month is closed: reopen the month first, or write it off';
        end if;
        continue when w.to_exemption is not null;
        held_up := postmeter.recount_obstacle(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity, w.to_product,
                                              w.to_contract, sources);
        continue when held_up is null;
        if not late then
            return format('its own hour cannot take it, for %s: settle that first, or let it count as late usage (--late)', held_up);
        end if;
        -- where the meter of its key is not there yet, nothing was sent of its month: this is asked again once it is made
        select postmeter.target_hour(m.id) into late_at
        from postmeter.meter m
        join postmeter.meter k on k.destination_id = m.destination_id and k.buyer = w.to_buyer and k.dimension = m.dimension
         and k.month = m.month
        where m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension and m.month = w.month;
        if late_at = w.hour then
            return format('its own hour cannot take it, for %s, and there is no other hour yet: say it again in an hour', held_up);
        elsif late_at is null and (found or exists (
            select from postmeter.destination t
            where t.id = w.to_destination and postmeter.deadline_of(t.id, w.to_buyer,
                ((w.month + interval '1 month')::timestamp at time zone t.zone) - interval '1 hour') < postmeter.clock())) then
            select t.late_policy = 'part' as policy, s.subscribed into part
            from postmeter.destination t
            cross join lateral (select exists (select from postmeter.subscription s
                                where s.destination_id = t.id and s.buyer = w.to_buyer and s.valid_from <= postmeter.clock()
                                  and (s.valid_until is null or postmeter.clock() < s.valid_until)) as subscribed) s
            where t.id = w.to_destination;
            if not part.policy then
                return 'no hour of its month can take it any more: write it off, or set the destination''s late_policy to part';
            elsif not part.subscribed then
                return 'no hour of its month can take it any more, and its buyer has no subscription in whose hour it could be a part: '
                    || 'write it off, or renew the subscription first';
            end if;
        end if;
    end loop;
    if not changes then
        return 'the catalogue says of it what it said when it was sent: mend the catalogue first, or retry it';
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.recount_look(delivery bigint, filter jsonb, late boolean) IS 'Why a recount leaves a remittance as it is; null: it counts its usage again.';

CREATE FUNCTION postmeter.recount_meter(meter bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.meter m
    set carried = trim_scale(t.units - m.billed * t.denominator), denominator = t.denominator,
        -- what an hour has to take: what is owed by now, and no more than there was besides
        billable = trim_scale(greatest(
            0, postmeter.round_units(t.units, t.denominator, m.rounding, m.decimals) - m.billed,
            least(m.billable, postmeter.round_units(t.units, t.denominator,
                case when m.month_end = 'round_up' then 'up' else m.rounding end, m.decimals) - m.billed)))
    from (select k.denominator, sum((k.used - k.covered) * k.factor_numerator * (k.denominator / k.factor_denominator)) as units
          from (select mm.*, postmeter.lcm_of(mm.factor_denominator) over () as denominator
                from postmeter.meter_metric mm where mm.meter_id = recount_meter.meter) k
          group by 1) t
    where m.id = recount_meter.meter
$$;

COMMENT ON FUNCTION postmeter.recount_meter(meter bigint) IS 'Brings a locked meter''s carried and billable up to what it has used, covered and billed.';

CREATE FUNCTION postmeter.recount_move(d postmeter.delivery, sources bigint[], who text, why text, detail jsonb) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w        record;
    key      bigint;
    counts   bigint;
    metric   bigint;
    target   bigint;
    late     boolean;
    decided  bigint;
    usages   bigint := 0;
    moved    jsonb := '[]';
    kept     jsonb := '[]';
    now      timestamptz := postmeter.clock();
begin
    -- read once: what today's catalogue says is the same for all that follows
    select coalesce(jsonb_agg(to_jsonb(x)), '[]') into kept from postmeter.recount_ways(sources) x;
    -- the old totals are taken back
    update postmeter.meter_metric mm
    set used = trim_scale(mm.used - g.quantity), usages = mm.usages - g.usages,
        covered = trim_scale(greatest(0, least(mm.used - g.quantity, mm.covered)))
    from (select (k.way ->> 'meter_metric_id')::bigint as id, sum((k.way ->> 'quantity')::numeric) as quantity,
                 sum(jsonb_array_length(k.way -> 'usages')) as usages
          from jsonb_array_elements(kept) k(way) group by 1) g
    where mm.id = g.id;
    update postmeter.meter m
    set billed = trim_scale(m.billed - k.to_bill)
    from (select x.meter_id, sum(x.to_bill) as to_bill from postmeter.cut x where x.delivery_id = d.id group by 1) k
    where m.id = k.meter_id;
    perform postmeter.recount_meter(m.id)
    from (select x.meter_id as id from postmeter.cut x where x.delivery_id = d.id
          union
          select mm.meter_id from jsonb_array_elements(kept) k(way)
          join postmeter.meter_metric mm on mm.id = (k.way ->> 'meter_metric_id')::bigint) m;
    update postmeter.delivery u
    set status = 'released', reason = null, releases = u.releases + 1, changed_at = now,
        body = coalesce(u.body, ''), batch_group = coalesce(u.batch_group, ''),
        idempotency_key = coalesce(u.idempotency_key, '00000000-0000-0000-0000-000000000000')
    where u.id = d.id;
    perform set_config('postmeter.ends_allocations', 'on', true);
    for w in
        select k.* from jsonb_array_elements(kept) j(way)
        cross join lateral jsonb_to_record(j.way) k(delivery_id bigint, destination_id integer, hour timestamptz,
            subscription_id bigint, meter_metric_id bigint, usages uuid[], quantity numeric, to_destination integer, to_subscription bigint, to_buyer text,
            to_identity jsonb, to_product text, to_dimension text, to_exemption bigint, to_contract text, key_month date,
            month date, metric text)
    loop
        usages := usages + cardinality(w.usages);
        if w.to_exemption is not null then
            delete from postmeter.allocation a where a.usage_id = any (w.usages) and a.destination_id = w.destination_id;
            insert into postmeter.exempted (usage_id, exemption_id) select g.id, w.to_exemption from unnest(w.usages) g(id);
            moved := moved || jsonb_build_object('delivery_id', w.delivery_id, 'meter_metric_id', w.meter_metric_id, 'subscription_id', w.subscription_id, 'exemption_id',
                w.to_exemption, 'is_late', false, 'usages', cardinality(w.usages), 'quantity', w.quantity);
            continue;
        end if;
        select m.id into strict key from postmeter.meter m
        where m.destination_id = w.to_destination and m.buyer = w.to_buyer and m.dimension = w.to_dimension and m.month = w.key_month;
        select m.id, mm.id into strict counts, metric
        from postmeter.meter m
        join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = w.to_product and mm.metric = w.metric
        where m.destination_id = w.to_destination and m.buyer = w.to_contract and m.dimension = w.to_dimension and m.month = w.month;
        late := postmeter.recount_obstacle(w.to_destination, w.to_buyer, w.to_dimension, w.hour, w.to_identity, w.to_product,
                                           w.to_contract, sources) is not null;
        target := case when late then postmeter.recount_late(counts, w.to_destination, w.to_buyer, w.to_dimension, w.to_identity, w.to_product)
                       else postmeter.recount_open(key, w.hour, w.to_identity, w.to_product) end;
        if target is null then
            raise exception 'usage of remittance % finds no hour', w.delivery_id
                using errcode = 'PM034', column = 'delivery', constraint = 'recount_target', hint = 'Say it again.';
        end if;
        insert into postmeter.part (delivery_id, meter_id)
        select x.id, counts from postmeter.delivery x where x.id = target and x.meter_id <> counts on conflict do nothing;
        update postmeter.allocation a
        set destination_id = w.to_destination, delivery_id = target, meter_metric_id = metric, subscription_id = w.to_subscription,
            round = (select x.round from postmeter.delivery x where x.id = target)
        where a.usage_id = any (w.usages) and a.destination_id = w.destination_id;
        moved := moved || jsonb_build_object('delivery_id', w.delivery_id, 'meter_metric_id', w.meter_metric_id, 'subscription_id', w.subscription_id, 'target_delivery_id',
            target, 'target_meter_metric_id', metric, 'is_late', late, 'usages', cardinality(w.usages), 'quantity', w.quantity);
    end loop;
    perform set_config('postmeter.ends_allocations', 'off', true);
    -- where the quantity of the remittance itself went
    select (m.row ->> 'target_delivery_id')::bigint into target
    from jsonb_array_elements(moved) m(row) order by (m.row ->> 'delivery_id')::bigint <> d.id limit 1;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
    select who, why, 'recount', d.id, d.status, x.status, d.quantity, target, detail || jsonb_build_object('usages', usages)
    from postmeter.delivery x where x.id = d.id
    returning id into decided;
    insert into postmeter.recounted (decision_id, delivery_id, meter_metric_id, subscription_id, target_delivery_id, target_meter_metric_id,
                                     exemption_id, is_late, usages, quantity)
    select decided, r.delivery_id, r.meter_metric_id, r.subscription_id, r.target_delivery_id, r.target_meter_metric_id, r.exemption_id, r.is_late,
           r.usages, r.quantity
    from jsonb_array_elements(moved) m(row)
    cross join lateral jsonb_to_record(m.row) r(delivery_id bigint, meter_metric_id bigint, subscription_id bigint, target_delivery_id bigint,
        target_meter_metric_id bigint, exemption_id bigint, is_late boolean, usages bigint, quantity numeric);
    return (select format('%s: %s', postmeter.counted(usages, 'usage'),
                          string_agg(distinct case when (m.row ->> 'exemption_id') is not null then 'exempt by now'
                              else format('in remittance %s%s', m.row ->> 'target_delivery_id',
                                          case when (m.row ->> 'is_late')::boolean then ' as late usage' else '' end) end, ', '))
            from jsonb_array_elements(moved) m(row));
end
$$;

COMMENT ON FUNCTION postmeter.recount_move(d postmeter.delivery, sources bigint[], who text, why text, detail jsonb) IS 'Takes back what a remittance and its sources have counted, and allocates their usage by today''s catalogue; returns where it went, in words. Everything is locked and was looked at.';

CREATE FUNCTION postmeter.recount_obstacle(destination_id integer, buyer text, dimension text, hour timestamp with time zone, identity jsonb, product text, contract text, sources bigint[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(
        (select format('remittance %s is %s%s', d.id, replace(d.status, '_', ' '),
                       case when d.maybe_billed then ' and may have been billed' else coalesce(': ' || c.why, '') end)
         from postmeter.recount_beside(recount_obstacle.destination_id, recount_obstacle.buyer, recount_obstacle.dimension,
                                       recount_obstacle.hour, recount_obstacle.identity, recount_obstacle.product,
                                       recount_obstacle.contract, recount_obstacle.sources) b
         join postmeter.delivery d on d.id = b.delivery_id
         cross join lateral (select postmeter.contradicted(d.id) as why) c
         where d.maybe_billed or c.why is not null
            or case when b.is_target then d.id <> all (sources) and d.status not in ('open', 'nothing_due', 'released')
                    else d.status in ('due', 'in_flight', 'accepted', 'unknown', 'conflict', 'dry_run', 'open') end
         order by b.is_target desc, d.id limit 1),
        case when postmeter.deadline_of(destination_id, buyer, hour) < postmeter.clock()
             then 'the hour cannot be sent any more' end)
$$;

COMMENT ON FUNCTION postmeter.recount_obstacle(destination_id integer, buyer text, dimension text, hour timestamp with time zone, identity jsonb, product text, contract text, sources bigint[]) IS 'What keeps an hour of a key from taking a contract''s usage of that hour: a remittance of it that was, or may have been, accepted, or its deadline. Null: every attempt is proven not accepted.';

CREATE FUNCTION postmeter.recount_open(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    d      postmeter.delivery;
    opened bigint;
begin
    select x.* into d from postmeter.delivery x where x.meter_id = recount_open.meter_id and x.hour = recount_open.hour;
    if d.status is distinct from 'released' then
        opened := postmeter.open_hour_at(meter_id, hour, identity, product);
        if d.status = 'nothing_due' then
            update postmeter.delivery u set identity = recount_open.identity, product = recount_open.product where u.id = opened;
        end if;
        return opened;
    end if;
    -- its quantity was given back when it was released: what it is cut for now is all it bills
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    select d.id, m.id, least(min(k.round), 0) - 1, m.denominator, trim_scale(m.carried + m.billed * m.denominator), m.billed,
           -sum(k.to_bill), m.carried, false, '[]'
    from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
    where k.delivery_id = d.id
    group by m.id having sum(k.to_bill) <> 0;
    update postmeter.delivery u
    set status = 'open', reason = null, quantity = null, body = null, batch_group = null, idempotency_key = null,
        identity = recount_open.identity, product = recount_open.product, confirmed = null, shown_quantity = null,
        tries = 0, deaths = 0, batch_limit = null, deadline = postmeter.deadline_of(m.destination_id, m.buyer, d.hour),
        opened_at = postmeter.clock(), changed_at = postmeter.clock(),
        -- what was attempted before is of an earlier cut
        cut_at = postmeter.clock()
    from postmeter.meter m
    where u.id = d.id and m.id = d.meter_id;
    insert into postmeter.open_hour (delivery_id, destination_id, hour)
    values (d.id, d.destination_id, d.hour) on conflict do nothing;
    return d.id;
end
$$;

COMMENT ON FUNCTION postmeter.recount_open(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) IS 'Opens the hour of a key for usage that is counted again, also one that was released: every attempt of it is proven not accepted, and its idempotency key counts the release. Null: it was sent. Meters and remittances are locked.';

CREATE FUNCTION postmeter.recount_sources(delivery bigint) RETURNS TABLE(delivery_id bigint)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive given as (
        select recount_sources.delivery as id
        union
        -- quantity that a release gave to it
        select c.delivery_id
        from given g
        join postmeter.decision c on c.target_delivery_id = g.id and c.verb = 'release'
        join postmeter.delivery d on d.id = c.delivery_id and d.status = 'released'
        where c.id = (select max(x.id) from postmeter.decision x where x.delivery_id = c.delivery_id and x.verb = 'release')
    ), meters as materialized (
        select distinct k.meter_id from postmeter.cut k where k.delivery_id in (select g.id from given g)
    ), kept as materialized (
        -- what each of the meters has billed last, and keeps
        select b.meter_id, max(b.at) as at
        from (select k.meter_id, k.delivery_id, max(k.cut_at) as at
              from postmeter.cut k
              join postmeter.delivery d on d.id = k.delivery_id and d.status <> 'released'
              where k.meter_id in (select m.meter_id from meters m) and k.delivery_id not in (select g.id from given g)
              group by 1, 2 having sum(k.to_bill) > 0) b
        group by 1
    )
    select g.id from given g
    union
    -- hours that had nothing to bill: what they carried, or covered, is in what was refused
    select d.id
    from meters m
    join postmeter.cut k on k.meter_id = m.meter_id and k.round >= 0
    join postmeter.delivery d on d.id = k.delivery_id and d.status = 'nothing_due'
    left join kept b on b.meter_id = m.meter_id
    where b.at is null or k.cut_at > b.at
$$;

COMMENT ON FUNCTION postmeter.recount_sources(delivery bigint) IS 'The remittances whose usage a recount of one may move: itself, those that releases gave to it, and the hours since its meters billed anything else, which had nothing to bill: their remainder and cover move along where their contract is another one by now.';

CREATE FUNCTION postmeter.recount_ways(sources bigint[]) RETURNS TABLE(delivery_id bigint, destination_id integer, hour timestamp with time zone, subscription_id bigint, meter_metric_id bigint, org text, metric text, usages uuid[], quantity numeric, to_destination integer, to_subscription bigint, to_buyer text, to_identity jsonb, to_product text, to_dimension_id bigint, to_dimension text, to_exemption bigint, to_contract text, key_month date, month date, reason text, changes boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with counted as materialized (
        select a.delivery_id, a.subscription_id, a.meter_metric_id, a.hour, a.usage_id, a.quantity, u.org, u.product, u.metric,
               coalesce(o.account, u.account) as account,
               postmeter.resolved_at(u.org, u.product, coalesce(o.used_at, u.used_at)) as at
        from postmeter.delivery d
        join postmeter.allocation a on a.delivery_id = d.id and a.destination_id = d.destination_id
        join postmeter.usage u on u.id = a.usage_id
        -- a correction goes with what it corrects
        left join lateral (
            select x.account, x.used_at
            from postmeter.usage_identity i join postmeter.usage x on x.id = i.usage_id
            where i.identity = u.corrected_identity offset 0) o on u.corrected_identity is not null
        where d.id = any (sources)
    ), kind as materialized (
        select k.*, row_number() over () as item
        from (select distinct c.org, c.product, c.metric, c.account, c.at from counted c) k
    ), resolved as materialized (
        select k.org, k.product, k.metric, k.account, k.at, r.destination_id, r.subscription_id, r.buyer, r.identity,
               r.dimension_id, r.exemption_id, r.reason
        from (select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p,
                     array_agg(k.metric order by k.item) m, array_agg(k.account order by k.item) a,
                     array_agg(k.at order by k.item) h from kind k) g,
             postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r
        join kind k on k.item = r.item
    ), placed as materialized (
        select c.delivery_id, d.destination_id, d.hour, c.subscription_id, c.meter_metric_id, c.org, c.metric,
               array_agg(c.usage_id) as usages, sum(c.quantity) as quantity, r.destination_id as to_destination,
               r.subscription_id as to_subscription, r.buyer, r.identity, c.product, r.dimension_id, n.name as dimension,
               r.exemption_id, coalesce(k.contract, (select postmeter.contract_name(e.product, e.contract) from postmeter.subscription e
                                     where e.id = r.subscription_id), r.buyer) as contract, postmeter.month_of(d.hour, t.zone) as key_month,
               postmeter.month_of(c.hour, t.zone) as month, r.reason
        from counted c
        join postmeter.delivery d on d.id = c.delivery_id
        join resolved r on r.org = c.org and r.product = c.product and r.metric = c.metric
         and r.account is not distinct from c.account and r.at = c.at
        left join postmeter.destination t on t.id = r.destination_id
        left join postmeter.dimension n on n.id = r.dimension_id
        left join postmeter.contract_member k on k.subscription_id = r.subscription_id
         and k.month = postmeter.month_of(c.hour, t.zone)
        group by c.delivery_id, d.destination_id, d.hour, c.subscription_id, c.meter_metric_id, c.org, c.metric, r.destination_id,
                 r.subscription_id, r.buyer, r.identity, c.product, r.dimension_id, n.name, r.exemption_id, k.contract, t.zone,
                 c.hour, r.reason
    )
    select p.delivery_id, p.destination_id, p.hour, p.subscription_id, p.meter_metric_id, p.org, p.metric, p.usages, p.quantity,
           p.to_destination, p.to_subscription, p.buyer, p.identity, p.product, p.dimension_id, p.dimension, p.exemption_id,
           p.contract, p.key_month, p.month, p.reason,
           p.exemption_id is not null or x.counts_elsewhere
               or (p.to_destination, p.buyer, p.dimension, p.identity)
                  is distinct from (own.destination_id, own.buyer, own.dimension, d.identity)
    from placed p
    join postmeter.delivery d on d.id = p.delivery_id
    join postmeter.meter own on own.id = d.meter_id
    join postmeter.meter_metric mm on mm.id = p.meter_metric_id
    join postmeter.meter m on m.id = mm.meter_id
    cross join lateral (
        select (p.to_destination, p.contract, p.dimension, p.month)
               is distinct from (m.destination_id, m.buyer, m.dimension, m.month) as counts_elsewhere) x
    -- what had nothing to bill stays where it is, as long as its contract does
    where d.status <> 'nothing_due' or x.counts_elsewhere or p.exemption_id is not null
$$;

COMMENT ON FUNCTION postmeter.recount_ways(sources bigint[]) IS 'What today''s catalogue says of the usage that these remittances count, by kind: the subscription, key and contract that it belongs to, or the reason why none takes it. changes: otherwise than when it was counted.';

CREATE FUNCTION postmeter.recut(delivery bigint, meter bigint, units numeric) RETURNS postmeter.meter
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    m postmeter.meter;
begin
    select x.* into strict m from postmeter.meter x where x.id = recut.meter;
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    values (recut.delivery, m.id,
            (select least(min(c.round), 0) - 1 from postmeter.cut c where c.delivery_id = recut.delivery and c.meter_id = m.id), m.denominator,
            trim_scale(m.carried + m.billed * m.denominator), m.billed, recut.units, trim_scale(m.carried - recut.units * m.denominator), false, '[]');
    update postmeter.meter u
    set billed = trim_scale(u.billed + recut.units), carried = trim_scale(u.carried - recut.units * u.denominator),
        billable = trim_scale(greatest(0, u.billable - recut.units))
    where u.id = m.id returning * into m;
    return m;
end
$$;

COMMENT ON FUNCTION postmeter.recut(delivery bigint, meter bigint, units numeric) IS 'Bills so many units more (below zero: less) of a locked meter by a locked remittance than its cut did, as a cut of a round below zero. Returns the meter as it is then.';

CREATE FUNCTION postmeter.refuse_other_content(source text, event_id text, fields text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'usage % of source % was recorded before with other content: %',
        quote_literal(event_id), quote_literal(source), case
            when fields is null then 'its month of the ledger was dropped'
            else array_to_string(fields, ', ') || case when cardinality(fields) > 1 then ' differ' else ' differs' end end
        using errcode = 'PM002', schema = 'postmeter', table = 'outbox', column = 'event_id',
              constraint = 'usage_identity',
              hint = 'An event id names one usage for ever. Give the new usage a new id, or record a correction.';
end
$$;

COMMENT ON FUNCTION postmeter.refuse_other_content(source text, event_id text, fields text[]) IS 'Raises PM002 for a usage whose identity is known with other content, and names the fields that differ.';

CREATE FUNCTION postmeter.refuse_usage(fault text, event_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    field text := substring(fault from '^(source|event_id|org|product|metric|account|corrects|request_id|traceparent|quantity|used_at|attributes)_');
    settings postmeter.setting;
begin
    select * into settings from postmeter.setting;
    raise exception 'usage %: % %', coalesce(quote_literal(event_id), '?'), field, case
        when fault like '%_length' then 'must have 1 to 255 bytes'
        when fault = 'quantity_range' then 'must be a number between -10^12 and 10^12'
        when fault = 'quantity_decimals' then 'has more than 15 decimals; round it at the source, where its meaning is known'
        when fault = 'quantity_negative' then 'is negative; a correction must say in "corrects" which event it corrects'
        when fault = 'corrects_negative' then 'is given, so the quantity must be below zero'
        when fault = 'used_at_too_old' then format('is more than %s ago; usage of that age is no longer recognised if repeated', settings.usage_age_max)
        when fault = 'used_at_too_far_ahead' then format('is more than %s ahead of the database''s clock', settings.usage_lead_max)
        else 'must be a JSON object of at most 8 KiB' end
        using errcode = case fault when 'used_at_too_old' then 'PM005' when 'used_at_too_far_ahead' then 'PM006' else 'PM001' end,
              schema = 'postmeter', table = 'outbox', column = field, constraint = fault;
end
$$;

COMMENT ON FUNCTION postmeter.refuse_usage(fault text, event_id text) IS 'Raises the error for a fault named by usage_fault: PM001, PM005 or PM006, with column and constraint.';

CREATE FUNCTION postmeter.release(filter jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
        note := postmeter.contradicted(d.id);
        if note is not null then
            null;
        elsif d.maybe_billed then
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
                      where c.delivery_id = d.id and c.to_bill > 0 and postmeter.target_hour(m.id) is null and t.late_policy <> 'part') then
            note := 'no hour of its month can take it any more: ' || case
                when not exists (select from postmeter.subscription s join postmeter.meter m on m.id = d.meter_id
                                 where s.destination_id = d.destination_id and s.buyer = m.buyer
                                   and s.valid_from < d.hour + interval '1 hour' and (s.valid_until is null or d.hour < s.valid_until))
                then 'the catalogue knows its buyer no more: recount it, or write it off'
                else 'write it off, or set the destination''s late_policy to part' end;
        elsif exists (select from postmeter.cut c join postmeter.meter m on m.id = c.meter_id
                      where c.delivery_id = d.id and c.to_bill > 0 and postmeter.target_hour(m.id) is null
                        and not exists (select from postmeter.part_keys(m.id))) then
            note := 'no hour of its month can take it any more, and its buyer has no subscription in whose hour it could be a part: '
                || 'recount it if the catalogue was mistaken; else write it off, or renew the subscription first';
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
            values (who, why, 'release', d.id, d.status, 'released', d.quantity, target, jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
            note := 'its quantity goes to remittance ' || target;
        end if;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.release(filter jsonb, who text, why text, dry_run boolean) IS 'Gives the quantity of dead letters back to their meters; it is billed with another hour of the month, or by policy as a part of the running one. Refused while maybe billed, and in a closed month. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.release_needs(meters bigint[]) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER COST 10000
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION postmeter.release_needs(meters bigint[]) IS 'What must be done before another hour can take quantity of these meters, in words; null: nothing, an hour of the month or, by policy, the running one takes it. The same that release asks.';

CREATE FUNCTION postmeter.remainder_is_elsewhere(m postmeter.meter) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- its last hour was sent, so that the month's end takes another one
    select exists (
        select from postmeter.destination t
        cross join lateral (select postmeter.meter_ends(t.id, (m).buyer, ((m).month + interval '1 month')::timestamp at time zone t.zone) as at) e
        cross join lateral (select postmeter.hour_of(e.at - interval '1 microsecond') as hour) l
        join postmeter.meter k on k.destination_id = t.id and k.dimension = (m).dimension and k.month = (m).month
         and k.buyer = coalesce(postmeter.key_of_hour((m).id, l.hour), (m).buyer)
        join postmeter.delivery d on d.meter_id = k.id and d.hour = l.hour and d.status not in ('open', 'nothing_due')
        where t.id = (m).destination_id and e.at <= postmeter.clock())
$$;

COMMENT ON FUNCTION postmeter.remainder_is_elsewhere(m postmeter.meter) IS 'A meter has ended, and its last hour was sent: what remains goes with another hour.';

CREATE FUNCTION postmeter.remittance_key(buyer text, dimension text, hour timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT ((((buyer || '/'::text) || dimension) || '/'::text) || to_char((hour AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'::text));
END;

COMMENT ON FUNCTION postmeter.remittance_key(buyer text, dimension text, hour timestamp with time zone) IS 'Canonical key of a remittance; the program builds the same text.';

CREATE FUNCTION postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(usages bigint, org text, product text, metric text, quantity numeric)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
    where h.reason = 'month_closed' and h.destination_id = t.id and postmeter.month_of(h.hour, t.zone) = reopen_month.month
    group by 2, 3, 4 order by 2, 3, 4;
    if dry_run is not false then
        return;
    end if;
    select (array_agg(h.usage_id order by h.usage_id))[:1000], count(*) into first, returned
    from postmeter.held h
    where h.reason = 'month_closed' and h.destination_id = t.id and postmeter.month_of(h.hour, t.zone) = reopen_month.month;
    delete from postmeter.closed_month c where c.destination_id = t.id and c.month = reopen_month.month;
    if found then
        insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after, detail)
        values (who, why, 'reopen', t.id, 'closed', 'open', jsonb_build_object('month', reopen_month.month, 'returned', returned));
    end if;
    perform postmeter.return_cured_of(first);
    if returned > 1000 then
        -- folds wait for us: maintenance goes on with the rest
        insert into postmeter.cure default values;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean) IS 'Opens a closed month again: what was held as month_closed goes back to the outbox, a thousand at once; where more is held, maintenance goes on with the rest. Returns how much that is. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM (postmeter.dimension x
              JOIN postmeter.destination t ON (((t.id = x.destination_id) AND (t.shadow_of IS NULL))))
           WHERE ((x.zero = 'send'::text) AND (x.destination_id = reports_zero.destination_id) AND (x.product = reports_zero.product) AND (x.name = reports_zero.dimension) AND (x.zero_since <= reports_zero.hour) AND (x.valid_from <= postmeter.month_of(reports_zero.hour, t.zone)) AND (NOT (EXISTS ( SELECT
                    FROM postmeter.dimension y
                   WHERE ((y.destination_id = x.destination_id) AND (y.product = x.product) AND (y.metric = x.metric) AND (y.valid_from > x.valid_from) AND (y.valid_from <= postmeter.month_of(reports_zero.hour, t.zone))))))))) AS "exists";
END;

COMMENT ON FUNCTION postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamp with time zone) IS 'Whether a silent hour of this destination, product and dimension is to be reported as zero. The one home of that rule.';

CREATE TABLE postmeter.request_floor (
    only_row boolean DEFAULT true NOT NULL,
    xid xid8 DEFAULT '0'::xid8 NOT NULL,
    id bigint DEFAULT 0 NOT NULL,
    CONSTRAINT request_floor_only_row_check CHECK (only_row)
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.request_floor IS 'Below this nothing is left in request_news and nothing can come: a scan that begins here walks over no dead rows.';

COMMENT ON COLUMN postmeter.request_floor.only_row IS 'Always true: there is one row.';

COMMENT ON COLUMN postmeter.request_floor.xid IS 'Transactions before this one have ended and were gathered.';

COMMENT ON COLUMN postmeter.request_floor.id IS 'Of this transaction, what is below.';

CREATE FUNCTION postmeter.request_floor_now() RETURNS postmeter.request_floor
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- a database that was loaded into another cluster, where transactions count anew, begins from the start
    select true, case when f.xid <= pg_snapshot_xmin(pg_current_snapshot()) then f.xid else '0' end,
           case when f.xid <= pg_snapshot_xmin(pg_current_snapshot()) then f.id else 0 end
    from postmeter.request_floor f
$$;

COMMENT ON FUNCTION postmeter.request_floor_now() IS 'The floor, or zero if it is not of this cluster.';

CREATE FUNCTION postmeter.request_key_of(request_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (request_id ~ '^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$'::text) THEN translate(request_id, 'ABCDEF-'::text, 'abcdef'::text)
             ELSE request_id
         END AS request_id;
END;

COMMENT ON FUNCTION postmeter.request_key_of(request_id text) IS 'What makes two request ids the same request: a UUID in any form is its 32 digits in lower case; any other text is itself.';

CREATE FUNCTION postmeter.request_status_digest(service text, source text, status text, status_msg text, account text, org text, inventory_id text, system_id text) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (encode(SUBSTRING(sha256(convert_to((((((((((((((((((((((length(service) || ':'::text) || service) || length(source)) || ':'::text) || source) || length(status)) || ':'::text) || status) || length(status_msg)) || ':'::text) || status_msg) || length(account)) || ':'::text) || account) || length(org)) || ':'::text) || org) || length(inventory_id)) || ':'::text) || inventory_id) || system_id), 'UTF8'::name)) FROM 1 FOR 16), 'hex'::text))::uuid AS encode;
END;

COMMENT ON FUNCTION postmeter.request_status_digest(service text, source text, status text, status_msg text, account text, org text, inventory_id text, system_id text) IS 'With request and date: what must be equal for two messages to be the same message.';

CREATE FUNCTION postmeter.request_steps(key text) RETURNS TABLE(date timestamp with time zone, service text, source text, status text, status_msg text, org text, account text, delivery_id bigint, usage_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with used as materialized (
        select u.* from postmeter.usage u where u.request_id is not null and postmeter.request_key_of(u.request_id) = key
        order by u.id limit 1000
    ), remitted as materialized (
        select d.id, t.name as destination, d.status, d.reason, d.hour, d.quantity, d.cut_at, d.changed_at,
               min(u.org) as org, min(u.account) as account
        from used u
        join postmeter.allocation a on a.usage_id = u.id
        join postmeter.delivery d on d.id = a.delivery_id
        join postmeter.destination t on t.id = a.destination_id
        group by 1, 2, 3, 4, 5, 6, 7, 8
    )
    select u.recorded_at, 'postmeter', '', 'received', format('usage %s of %s: %s %s of %s', u.event_id, u.source, trim_scale(u.quantity), u.metric, u.product),
           u.org, coalesce(u.account, ''), null::bigint, u.id
    from used u
    union all
    select u.recorded_at, 'postmeter', '', 'success', format('usage %s of %s: exempt, %s', u.event_id, u.source, e.reason), u.org,
           coalesce(u.account, ''), null, u.id
    from used u join postmeter.exempted x on x.usage_id = u.id join postmeter.exemption e on e.id = x.exemption_id
    union all
    select h.held_at, 'postmeter', coalesce(t.name, ''), 'held', format('usage %s of %s: %s', u.event_id, u.source, h.reason), u.org,
           coalesce(u.account, ''), null, u.id
    from used u join postmeter.held h on h.usage_id = u.id left join postmeter.destination t on t.id = h.destination_id
    union all
    select r.cut_at, 'postmeter', r.destination, 'processing', format('remittance %s: hour cut, %s to send', r.id, r.quantity), r.org,
           coalesce(r.account, ''), r.id, null
    from remitted r where r.cut_at is not null and r.status <> 'open'
    union all
    select f.claimed_at, 'postmeter', r.destination, 'sent', format('remittance %s: attempt 1', r.id), r.org, coalesce(r.account, ''), r.id, null
    from remitted r
    cross join lateral (select a.claimed_at from postmeter.attempt a where a.delivery_id = r.id order by a.id limit 1) f
    union all
    select r.changed_at, 'postmeter', r.destination,
           case r.status when 'accepted' then 'success' when 'nothing_due' then 'success' when 'dry_run' then 'success'
                         when 'held' then 'held' when 'unknown' then 'unknown' else 'error' end,
           concat_ws(', ', format('remittance %s: %s', r.id, replace(r.status, '_', ' ')), r.reason,
                     (select nullif(concat_ws(': ', o.outcome, o.code), '') from postmeter.attempt a
                      join postmeter.outcome o on o.attempt_id = a.id where a.delivery_id = r.id order by a.id desc limit 1)),
           r.org, coalesce(r.account, ''), r.id, null
    from remitted r where r.status not in ('open', 'due', 'in_flight')
$$;

COMMENT ON FUNCTION postmeter.request_steps(key text) IS 'What Postmeter itself did with the usage of a request (by request_key), as statuses of a service: received, held, cut, sent, and how it ended at each destination. Computed from the ledger, never stored.';

CREATE FUNCTION postmeter.resolve_doubt(d postmeter.delivery, billed boolean, who text, why text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    after   text := case when billed and d.status <> 'released' then 'accepted' else d.status end;
    decided bigint;
begin
    if billed and d.status = 'released' then
        -- its quantity went to another hour: what counts is for the person to judge
        insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity, said_by, settled_as, settled_by, our_quantity)
        select d.destination_id, d.id, 'person', 'held', d.quantity, who, d.status,
               (select max(c.id) from postmeter.decision c where c.delivery_id = d.id and c.verb = 'release'), d.quantity
        where not exists (select from postmeter.contradiction o where o.delivery_id = d.id and o.decision_id is null and o.says = 'held');
    elsif after <> d.status then
        update postmeter.delivery u
        set status = after, reason = null, confirmed = false, changed_at = postmeter.clock()
        where u.id = d.id;
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, after, d.quantity, jsonb_build_object('billed', billed, 'doubt', true))
    returning id into decided;
    update postmeter.doubt x set decision_id = decided where x.delivery_id = d.id and x.decision_id is null;
    return after;
end
$$;

COMMENT ON FUNCTION postmeter.resolve_doubt(d postmeter.delivery, billed boolean, who text, why text) IS 'A person says of a locked remittance in doubt whether it was billed in the time that was lost: a part of resolve_unknown. Billed, it is accepted (if it was released: a contradiction, to be judged); not billed, it stays as it is and may be corrected.';

CREATE FUNCTION postmeter.resolve_quantity(delivery bigint, quantity numeric, who text, why text, OUT status text, OUT changed boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    d postmeter.delivery;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.month_gate();
    perform postmeter.check_not_dropped(array[resolve_quantity.delivery]);
    perform postmeter.lock_meters(array(select k.meter_id from postmeter.cut k where k.delivery_id = resolve_quantity.delivery));
    select f.* into d from postmeter.delivery f where f.id = resolve_quantity.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery', constraint = 'delivery_exists';
    end if;
    if quantity > 0 and quantity <> d.quantity and (d.status = 'conflict' or d.maybe_billed and d.status in ('unknown', 'held'))
       and not exists (select from postmeter.withheld w where w.delivery_id = d.id)
       or quantity > 0 and d.status = 'conflict' then
        if d.status = 'conflict' and d.shown_quantity <> resolve_quantity.quantity then
            raise exception 'they said that they hold % of remittance %, and this says %', trim_scale(d.shown_quantity), d.id, quantity
                using errcode = 'PM037', column = 'quantity', constraint = 'resolve_quantity',
                      hint = 'Leave the quantity out to count what they said; what their report says otherwise is noted by resolve --file.';
        end if;
        status := postmeter.count_held(d, quantity, who, why);
        changed := true;
        return;
    elsif quantity > 0 and quantity <> coalesce(d.shown_quantity, d.quantity) then
        raise exception 'remittance % is % of %, and this says %', d.id, d.status, trim_scale(coalesce(d.shown_quantity, d.quantity)), quantity
            using errcode = 'PM034', column = 'quantity', constraint = 'resolve_quantity',
                  hint = 'Only a conflict, or what may have been billed, is counted with another quantity than ours.';
    end if;
    select r.status, r.changed into status, changed from postmeter.resolve_unknown(delivery, quantity > 0, who, why) r;
end
$$;

COMMENT ON FUNCTION postmeter.resolve_quantity(delivery bigint, quantity numeric, who text, why text, OUT status text, OUT changed boolean) IS 'A person says how much they hold of a remittance (0: nothing): a conflict, or what may have been billed, counts as that. As resolve_unknown where it is our very quantity.';

CREATE FUNCTION postmeter.resolve_rows(rows jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(row_number bigint, delivery_id bigint, key text, status_before text, status_after text, quantity numeric, verdict text, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    r postmeter.delivery;
    h record;
begin
    perform postmeter.check_decider(who, why);
    if jsonb_typeof(rows) is distinct from 'array' or jsonb_array_length(rows) > 1000 then
        raise exception 'rows must be an array of 1000 objects at most'
            using errcode = 'PM037', column = 'rows', constraint = 'resolve_rows', hint = 'Say many in shares: each is a transaction of its own.';
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
                note := coalesce(note, case verdict when 'locked' then 'somebody works on it at this moment: say it again' end);
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
                note := coalesce('contradiction ' || postmeter.note_said(r, h.quantity, h.billed, who) || ' for postmeter judge: ', '') || note;
            end if;
        end if;
        if (status_after <> status_before or verdict in ('billed', 'not_billed')) and not dry_run then
            if r.status = 'conflict' and h.quantity > 0 then
                perform postmeter.resolve_quantity(r.id, h.quantity, who, why);
            else
                perform postmeter.resolve_unknown(r.id, h.billed, who, why);
            end if;
        elsif verdict = 'agrees' and r.status = 'accepted' and r.confirmed is false and h.quantity > 0 and not dry_run then
            -- their report says our very quantity of what they called a duplicate
            update postmeter.delivery u set confirmed = true, changed_at = postmeter.clock() where u.id = r.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'resolve', r.id, r.status, r.status, r.quantity, jsonb_build_object('billed', true, 'confirmed', true));
        end if;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.resolve_rows(rows jsonb, who text, why text, dry_run boolean) IS 'A person says of many remittances what the marketplace holds (an array of 1000 objects at most: delivery, key or receipt, destination where a key is at several, and quantity or billed), as resolve_unknown says it of one. A verdict for every row: billed, not_billed, agrees, other_quantity, nothing_to_resolve, not_found, ambiguous, contradictory, repeated, locked, malformed; the other rows go on. A quantity of 0 means that they hold nothing. Of rows that say different things of one remittance none is carried out. Nothing changes if dry_run.';

CREATE FUNCTION postmeter.resolve_stray(stray bigint, record boolean, who text, why text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    s        postmeter.stray_entry;
    e        postmeter.outbox;
    recorded uuid;
    decided  bigint;
begin
    perform postmeter.check_decider(who, why);
    select * into s from postmeter.stray_entry x where x.id = stray for update;
    if s.id is null then
        raise exception 'there is no stray entry %', stray
            using errcode = 'PM033', column = 'stray', constraint = 'stray_exists';
    elsif s.decision_id is not null then
        raise exception 'stray entry % was resolved before: decision %', stray, s.decision_id
            using errcode = 'PM033', column = 'stray', constraint = 'stray_open';
    end if;
    if record then
        e := jsonb_populate_record(null::postmeter.outbox, s.entry);
        recorded := postmeter.record_usage(e.source, e.event_id, e.org, e.product, e.metric, e.quantity, e.used_at,
                                           e.account, e.corrects, e.request_id, e.traceparent, e.attributes);
    end if;
    insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, detail)
    values (who, why, 'resolve', coalesce(recorded, s.usage_id), s.reason,
            case when record then 'recorded' else 'dropped' end,
            jsonb_build_object('stray', stray, 'source', s.entry -> 'source', 'event_id', s.entry -> 'event_id'))
    returning id into decided;
    update postmeter.stray_entry x set decision_id = decided where x.id = stray;
    return recorded;
end
$$;

COMMENT ON FUNCTION postmeter.resolve_stray(stray bigint, record boolean, who text, why text) IS 'A person resolves a stray entry. record: it is usage; it comes in through intake under its own source and event id (recorded before: that usage stands, nothing is added). Else nothing of it is billed. Returns the usage.';

CREATE FUNCTION postmeter.resolve_unknown(delivery bigint, billed boolean, who text, why text, OUT status text, OUT changed boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    d     postmeter.delivery;
    now   timestamptz := postmeter.clock();
    after text;
    last  boolean;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_not_dropped(array[resolve_unknown.delivery]);
    perform postmeter.lock_to_resolve(resolve_unknown.delivery);
    select f.* into d from postmeter.delivery f where f.id = resolve_unknown.delivery for update;
    if not found then
        raise exception 'there is no remittance %', delivery using errcode = 'PM033', column = 'delivery', constraint = 'delivery_exists';
    end if;
    d.deadline := postmeter.deadline_now(d);
    changed := true;
    if not d.maybe_billed and not (d.status = 'conflict' and billed) and exists (select from postmeter.doubt x where x.delivery_id = d.id and x.decision_id is null) then
        status := postmeter.resolve_doubt(d, billed, who, why);
        return;
    end if;
    if d.status = 'conflict' and billed then
        status := postmeter.count_held(d, null, who, why);
        return;
    elsif d.reason = 'lost_time' and not billed then
        status := postmeter.give_back(d, who, why);
        return;
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
        if billed and d.status = 'accepted' and d.confirmed is false then
            update postmeter.delivery u set confirmed = true, changed_at = now where u.id = d.id;
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'resolve', d.id, d.status, d.status, d.quantity, jsonb_build_object('billed', true));
            status := d.status;
            return;
        end if;
        raise exception 'remittance % is % and has nothing to resolve', delivery, d.status
            using errcode = 'PM034', column = 'delivery', constraint = 'delivery_unresolved',
                  hint = 'Only what may have been billed, or a conflict that they hold as ours, is resolved by hand.';
    end if;
    update postmeter.delivery u
    set status = after, reason = null, maybe_billed = false, maybe_since = null, deaths = 0, tries = 0,
        confirmed = case when after = 'accepted' then false end, deadline = d.deadline, changed_at = now
    where u.id = d.id;
    if after = 'due' then
        insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
    end if;
    insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
    values (who, why, 'resolve', d.id, d.status, after, d.quantity, jsonb_build_object('billed', billed));
    status := after;
end
$$;

COMMENT ON FUNCTION postmeter.resolve_unknown(delivery bigint, billed boolean, who text, why text, OUT status text, OUT changed boolean) IS 'A person says whether an unknown remittance was billed: billed, it is accepted (quantity not confirmed); not billed, it is sent again while its deadline allows, else it is expired. A conflict that is billed counts as they hold it, if they have said how much. What was withheld and not billed goes back to its meter. Returns the status; changed is false if the same was said before.';

CREATE FUNCTION postmeter.resume(destination text, who text, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return postmeter.set_paused(destination, false, who, why);
end
$$;

COMMENT ON FUNCTION postmeter.resume(destination text, who text, why text) IS 'Sends to a paused destination again. False: it was not paused.';

CREATE FUNCTION postmeter.retry(filter jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    for d in select f.* from postmeter.delivery f where f.id in (select b.id from postmeter.deliveries_by(filter) b) order by f.id for update loop
        continue when d.status not in ('rejected', 'expired', 'conflict', 'unknown', 'held');
        delivery_id := d.id; key := d.key; status_before := d.status; quantity := d.quantity; note := null;
        d.deadline := postmeter.deadline_now(d);
        status_after := d.status;
        note := postmeter.contradicted(d.id);
        if note is not null then
            null;
        elsif d.body is null then
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
            if not exists (select from postmeter.subscription s join postmeter.meter m on m.id = d.meter_id
                           where s.destination_id = d.destination_id and s.buyer = m.buyer
                             and s.valid_from < d.hour + interval '1 hour' and (s.valid_until is null or d.hour < s.valid_until)) then
                note := 'the catalogue knows its buyer no more, and this sends it under that buyer: recount counts it by the catalogue';
            end if;
        end if;
        if status_after = 'due' and not dry_run then
            update postmeter.delivery u
            set status = 'due', reason = null, tries = 0, deaths = 0, batch_limit = 1, deadline = d.deadline, changed_at = now
            where u.id = d.id;
            insert into postmeter.due (delivery_id, destination_id, deadline) values (d.id, d.destination_id, d.deadline);
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'retry', d.id, d.status, 'due', d.quantity, jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
        end if;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.retry(filter jsonb, who text, why text, dry_run boolean) IS 'Sends dead letters again, with the same bytes and key, while their deadline allows. Dry run unless told otherwise. Never touches what is accepted.';

CREATE FUNCTION postmeter.retry_held(filter jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(usage_id uuid, reason text, quantity numeric)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    chosen uuid[];
begin
    perform postmeter.check_decider(who, why);
    select array_agg(h.usage_id order by h.usage_id) into chosen from postmeter.held_usage_by(filter) h;
    -- a correction and what it corrects are returned together
    chosen := postmeter.held_together(chosen, true);
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen) order by 1 for update;
    if not dry_run then
        insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
        select who, why, 'retry', h.usage_id, 'held', 'outbox', h.quantity, jsonb_build_object('filter', filter - 'within', 'reason', h.reason, 'destination', t.name)
        from postmeter.held h left join postmeter.destination t on t.id = h.destination_id where h.usage_id = any (chosen);
        insert into postmeter.asked_usage (usage_id)
        select h.usage_id from postmeter.held h where h.usage_id = any (chosen) and h.reason = 'lost_time' order by 1
        on conflict on constraint asked_usage_pkey do update set asked_at = excluded.asked_at;
        perform postmeter.return_held(chosen);
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.retry_held(filter jsonb, who text, why text, dry_run boolean) IS 'Sends held usage back to the outbox. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.return_cured(most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    cured uuid[];
begin
    with waiting as materialized (
        select h.* from postmeter.held h
        where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        for update skip locked
    ), kinds as materialized (
        select w.org, w.product, w.metric, w.account, w.hour, w.reason, row_number() over () as item
        from waiting w where w.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
        from kinds k
    ), changed as (
        select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is distinct from k.reason
    )
    select array_agg(w.usage_id) into cured
    from (select w.usage_id from waiting w
          join changed k on k.org = w.org and k.product = w.product and k.metric = w.metric
           and k.account is not distinct from w.account and k.hour = w.hour and k.reason = w.reason
          limit most) w;
    cured := coalesce(cured, '{}') || array(
        select h.usage_id from postmeter.held h
        where h.corrected_id is not null
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason)
        limit most);
    return postmeter.return_held(cured);
end
$$;

COMMENT ON FUNCTION postmeter.return_cured(most integer) IS 'Sends back to the outbox held usage whose reason no longer holds. A catalogue change calls it; maintenance calls it too, since a fold and a catalogue change can miss each other.';

CREATE FUNCTION postmeter.return_cured_of(usages uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    cured uuid[];
begin
    with waiting as materialized (
        select h.*, coalesce(postmeter.resolved_at(h.org, h.product, u.used_at), h.hour) as at
        from postmeter.held h
        left join postmeter.usage u on u.id = h.usage_id
        where h.usage_id = any (usages)
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
        for update of h skip locked
    ), kinds as materialized (
        -- a correction has no time of its own: it is held with what it corrects, or until its month is open
        select w.org, w.product, w.metric, w.account, w.at, w.reason, row_number() over () as item
        from waiting w where w.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
        from kinds k
    ), changed as (
        select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is distinct from k.reason
    )
    select array_agg(w.usage_id) into cured
    from waiting w
    join changed k on k.org = w.org and k.product = w.product and k.metric = w.metric
     and k.account is not distinct from w.account and k.at = w.at and k.reason = w.reason
    where w.corrected_id is null;
    cured := coalesce(cured, '{}') || array(
        select h.usage_id from postmeter.held h
        where h.usage_id = any (usages) and h.corrected_id is not null
          and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
          and postmeter.correction_is_free(h.corrected_id, h.destination_id, h.hour, h.reason));
    return postmeter.return_held(cured);
end
$$;

COMMENT ON FUNCTION postmeter.return_cured_of(usages uuid[]) IS 'Sends back to the outbox those of these held usages whose reason no longer holds; what another session holds is passed over. Returns how many.';

CREATE FUNCTION postmeter.return_exempted(usages uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    returned bigint;
begin
    with family as materialized (
        select n.id from unnest(usages) n(id)
        union
        select c.id
        from unnest(usages) n(id)
        join postmeter.usage u on u.id = n.id
        join postmeter.usage c on c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)
    ), ours as materialized (
        select x.usage_id from postmeter.exempted x join family f on f.id = x.usage_id order by x.usage_id for update of x skip locked
    ), gone as (
        delete from postmeter.exempted x using ours o where x.usage_id = o.usage_id returning x.usage_id
    )
    insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes, returned)
    select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
           u.request_id, u.traceparent, u.attributes, true
    from gone g join postmeter.usage u on u.id = g.usage_id;
    get diagnostics returned = row_count;
    return returned;
end
$$;

COMMENT ON FUNCTION postmeter.return_exempted(usages uuid[]) IS 'Returns exempt usage to the outbox, with its corrections; what another session has in hand is passed over. Returns how much.';

CREATE FUNCTION postmeter.return_held(usage_ids uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    family   uuid[] := postmeter.held_together(usage_ids, true);
    returned bigint;
begin
    perform 1 from postmeter.held h where h.usage_id = any (family) order by h.usage_id for update;
    -- a later statement: it sees the corrections that a fold has held meanwhile
    family := postmeter.held_together(usage_ids, true);
    with cured as (
        delete from postmeter.held h where h.usage_id = any (family) returning h.usage_id
    )
    insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                  request_id, traceparent, attributes, returned)
    select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
           u.request_id, u.traceparent, u.attributes, true
    from cured c join postmeter.usage u on u.id = c.usage_id;
    get diagnostics returned = row_count;
    return returned;
end
$$;

COMMENT ON FUNCTION postmeter.return_held(usage_ids uuid[]) IS 'Returns held usage to the outbox, with its corrections and what it corrects.';

CREATE FUNCTION postmeter.return_marked(usages uuid[], deliveries bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    family   uuid[];
    returned bigint;
begin
    -- the caller has the remittances locked alone: no fold adds to them, and no cut counts them
    select array_agg(x.id) into family
    from (select n.id from unnest(usages) n(id)
          union
          select c.id
          from unnest(usages) n(id)
          join postmeter.usage u on u.id = n.id
          join postmeter.usage c on c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)) x;
    perform set_config('postmeter.ends_allocations', 'on', true);
    with gone as (
        delete from postmeter.allocation a
        using postmeter.delivery d
        where a.usage_id = any (family) and a.delivery_id = any (deliveries)
          -- what a cut has counted stays
          and d.id = a.delivery_id and d.status = 'open' and d.round = a.round
        returning a.usage_id, a.destination_id, a.hour
    ), back as (
        insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                      request_id, traceparent, attributes, returned)
        select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
               u.request_id, u.traceparent, u.attributes, true
        from gone g
        join postmeter.destination t on t.id = g.destination_id and t.shadow_of is null
        join postmeter.usage u on u.id = g.usage_id
    ), shown as (
        insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour, reason, corrected_id)
        select g.destination_id, u.id, u.org, u.product, u.metric, u.account, u.quantity, g.hour, null,
               (select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity)
        from gone g
        join postmeter.destination t on t.id = g.destination_id and t.shadow_of is not null
        join postmeter.usage u on u.id = g.usage_id
    )
    select count(*) into returned from gone g;
    perform set_config('postmeter.ends_allocations', 'off', true);
    return returned;
end
$$;

COMMENT ON FUNCTION postmeter.return_marked(usages uuid[], deliveries bigint[]) IS 'Ends the allocations of these usages, with those of their corrections, in these remittances, as far as they are still open, and returns the usage to the outbox (or to its shadow); the caller has the remittances locked alone. Returns how many.';

CREATE FUNCTION postmeter.return_plausible_of(usages uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    free uuid[];
begin
    with waiting as materialized (
        select h.*, coalesce(postmeter.resolved_at(h.org, h.product, u.used_at), h.hour) as at
        from postmeter.held h
        left join postmeter.usage u on u.id = h.usage_id
        -- a correction is returned with what it corrects
        where h.usage_id = any (usages) and h.reason = 'implausible' and h.corrected_id is null
        for update of h skip locked
    ), kinds as materialized (
        select w.org, w.product, w.metric, w.account, w.at, row_number() over () as item from waiting w group by 1, 2, 3, 4, 5
    ), given as (
        select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
               array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
        from kinds k
    ), resolved as materialized (
        select k.*, r.dimension_id, r.exemption_id
        from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r join kinds k on k.item = r.item
        where r.reason is null
    ), limited as materialized (
        select p.item, p.bound, p.is_usual_kept
        from (select array_agg(r.org order by r.item) o, array_agg(r.product order by r.item) p, array_agg(r.metric order by r.item) m,
                     array_agg(r.dimension_id order by r.item) d, array_agg(r.item order by r.item) i
              from resolved r where r.exemption_id is null) g,
             postmeter.plausible(g.o, g.p, g.m, g.d) x
             cross join lateral (select g.i[x.item] as item, x.bound, x.is_usual_kept) p
    )
    select array_agg(w.usage_id) into free
    from waiting w
    join resolved r on r.org = w.org and r.product = w.product and r.metric = w.metric
     and r.account is not distinct from w.account and r.at = w.at
    left join limited l on l.item = r.item
    where l.item is null or w.quantity <= l.bound
       -- a usual that is forgotten lets nothing go that it held
       or l.bound is null and not (l.is_usual_kept and w.beyond = 'times_usual');
    return postmeter.return_held(coalesce(free, '{}'));
end
$$;

COMMENT ON FUNCTION postmeter.return_plausible_of(usages uuid[]) IS 'Sends back to the outbox those of these implausible usages, with their corrections, that no limit of today''s catalogue holds; what another session holds is passed over. Returns how many.';

CREATE FUNCTION postmeter.return_shadow(most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    of       integer;
    changed  bigint;
    returned bigint := 0;
begin
    for of in select t.id from postmeter.destination t where t.shadow_of is not null loop
        with kinds as materialized (
            select g.org, g.product, g.metric, g.account, g.hour, g.reason, row_number() over () as item
            from postmeter.shadow_usage g
            where g.destination_id = of
              and g.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
            group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.hour order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, of) r join kinds k on k.item = r.item
            where r.reason is distinct from k.reason
        ), chosen as materialized (
            -- nothing is locked but what changes
            select g.usage_id
            from postmeter.shadow_usage g
            join cured k on k.org = g.org and k.product = g.product and k.metric = g.metric
             and k.account is not distinct from g.account and k.hour = g.hour and k.reason = g.reason
            where g.destination_id = of and g.reason is not null
            limit most
            for update of g skip locked
        )
        update postmeter.shadow_usage u
        set reason = null
        from chosen c
        where u.destination_id = of and u.usage_id = c.usage_id;
        get diagnostics changed = row_count;
        returned := returned + changed;
    end loop;
    return returned;
end
$$;

COMMENT ON FUNCTION postmeter.return_shadow(most integer) IS 'Lets shadows count usage whose reason no longer holds. Maintenance calls it, beside the live work: an edit of the catalogue does not wait for it.';

CREATE FUNCTION postmeter.return_shadow_of(shadows integer[], usages uuid[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    shadow   integer;
    changed  bigint;
    returned bigint := 0;
begin
    for shadow in select distinct g.shadow from unnest(shadows) g(shadow) order by 1 loop
        with waiting as materialized (
            select u.*, coalesce(postmeter.resolved_at(u.org, u.product, x.used_at), u.hour) as at
            from postmeter.shadow_usage u
            -- a correction is asked about as what it corrects
            left join postmeter.usage x on x.id = coalesce(u.corrected_id, u.usage_id)
            where u.destination_id = shadow
              and u.usage_id in (select g.usage_id from unnest(shadows, usages) g(of, usage_id) where g.of = shadow)
              and u.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed')
            order by u.usage_id
            for update of u skip locked
        ), kinds as materialized (
            select w.org, w.product, w.metric, w.account, w.at, w.reason, row_number() over () as item
            from waiting w group by 1, 2, 3, 4, 5, 6
        ), given as (
            select array_agg(k.org order by k.item) o, array_agg(k.product order by k.item) p, array_agg(k.metric order by k.item) m,
                   array_agg(k.account order by k.item) a, array_agg(k.at order by k.item) h
            from kinds k
        ), cured as materialized (
            select k.* from given g, postmeter.resolve(g.o, g.p, g.m, g.a, g.h, shadow) r join kinds k on k.item = r.item
            where r.reason is distinct from k.reason
        )
        update postmeter.shadow_usage u
        set reason = null
        from waiting w
        join cured k on k.org = w.org and k.product = w.product and k.metric = w.metric
         and k.account is not distinct from w.account and k.at = w.at and k.reason = w.reason
        where u.destination_id = shadow and u.usage_id = w.usage_id;
        get diagnostics changed = row_count;
        returned := returned + changed;
    end loop;
    return returned;
end
$$;

COMMENT ON FUNCTION postmeter.return_shadow_of(shadows integer[], usages uuid[]) IS 'Lets shadows count those of these usages (each with the shadow that did not count it) whose reason no longer holds; what another session holds is passed over. Returns how many.';

CREATE FUNCTION postmeter.revoke_token(name text, who text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    found_token postmeter.token;
begin
    select * into found_token from postmeter.token t where t.name = revoke_token.name for update;
    if not found then
        raise exception 'there is no token %', quote_literal(name) using errcode = 'PM033', column = 'name', constraint = 'token_exists';
    end if;
    update postmeter.token t set revoked_at = postmeter.clock(), revoked_by = who where t.id = found_token.id and t.revoked_at is null;
    return found_token.revoked_at is null;
end
$$;

COMMENT ON FUNCTION postmeter.revoke_token(name text, who text) IS 'Revokes a token, for ever; false if it was revoked before.';

CREATE FUNCTION postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT ((w.whole + (
         CASE round_units.rounding
             WHEN 'up'::text THEN ((w.rest > (0)::numeric))::integer
             WHEN 'nearest'::text THEN ((((2)::numeric * w.rest) >= round_units.denominator))::integer
             ELSE 0
         END)::numeric) * ((0.1 ^ (round_units.decimals)::numeric))::numeric(20,15))
    FROM ( SELECT (div(s.scaled, round_units.denominator) - (((mod(s.scaled, round_units.denominator) < (0)::numeric))::integer)::numeric) AS whole,
             mod((mod(s.scaled, round_units.denominator) + round_units.denominator), round_units.denominator) AS rest
            FROM ( SELECT (round_units.units * (((10)::numeric ^ (round_units.decimals)::numeric))::numeric(20,0)) AS scaled) s) w;
END;

COMMENT ON FUNCTION postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) IS 'units / denominator rounded up, down or to the nearest with so many decimals, exactly.';

CREATE FUNCTION postmeter.served_until(destination_id integer, buyer text, hour timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    return (
        select e.valid_until
        from (select max(coalesce(s.valid_until, 'infinity')) as at
              from postmeter.subscription s
              where s.destination_id = served_until.destination_id and s.buyer = served_until.buyer
                and s.valid_from < served_until.hour + interval '1 hour') f
        join postmeter.subscription e
          on e.destination_id = served_until.destination_id and e.buyer = served_until.buyer and e.valid_until >= f.at
        where not exists (select from postmeter.subscription r
                          where r.destination_id = served_until.destination_id and r.buyer = served_until.buyer
                            and r.valid_from <= e.valid_until and (r.valid_until is null or r.valid_until > e.valid_until))
        order by e.valid_until
        limit 1
    );
end
$$;

COMMENT ON FUNCTION postmeter.served_until(destination_id integer, buyer text, hour timestamp with time zone) IS 'When the subscriptions of a buyer end that serve an hour: the last one that begins before the hour''s end, and those that follow without a gap. Null: they do not end. A later one behind a gap changes nothing.';

CREATE FUNCTION postmeter.server_identity() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    database text := (select d.oid::text from pg_database d where d.datname = current_database());
begin
    -- a managed server may keep it to itself: then only the database's number tells
    if has_function_privilege('pg_catalog.pg_control_system()', 'execute') then
        return (select s.system_identifier::text from pg_control_system() s) || '/' || database;
    end if;
    return '-/' || database;
end
$$;

COMMENT ON FUNCTION postmeter.server_identity() IS 'The server''s system identifier and the database''s number: a standby has both, a restored or copied database never has. Where the server does not tell its identifier, a dash stands for it.';

CREATE FUNCTION postmeter.set_alert_rule(name text, who text, why text, severity text DEFAULT NULL::text, every interval DEFAULT NULL::interval, patience interval DEFAULT NULL::interval, within interval DEFAULT NULL::interval, enabled boolean DEFAULT NULL::boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    r      postmeter.alert_rule;
    before text;
    after  text;
begin
    perform postmeter.check_decider(who, why);
    select x.* into r from postmeter.alert_rule x where x.name = set_alert_rule.name for update;
    if not found then
        raise exception 'there is no alert %', coalesce(quote_literal(name), 'without a name')
            using errcode = 'PM033', column = 'name', constraint = 'alert_rule_exists',
                  hint = coalesce('Did you mean ' || quote_literal(postmeter.nearest(name, array(select x.name from postmeter.alert_rule x))) || '?',
                                  'postmeter.alert_rule lists them.');
    end if;
    select string_agg(format('%s %s', c.field, c.old), ', ' order by c.field), string_agg(format('%s %s', c.field, c.new), ', ' order by c.field)
    into before, after
    from (values ('severity', r.severity, severity), ('every', r.every::text, every::text), ('patience', r.patience::text, patience::text),
                 ('within', r.within::text, within::text), ('enabled', r.enabled::text, enabled::text)) c(field, old, new)
    where c.new <> c.old;
    if after is null then
        return false;
    end if;
    begin
        update postmeter.alert_rule x
        set severity = coalesce(set_alert_rule.severity, x.severity), every = coalesce(set_alert_rule.every, x.every),
            patience = coalesce(set_alert_rule.patience, x.patience), within = coalesce(set_alert_rule.within, x.within),
            enabled = coalesce(set_alert_rule.enabled, x.enabled)
        where x.name = r.name;
    exception when check_violation then
        raise exception 'alert % cannot have %', quote_literal(name), after
            using errcode = 'PM037', constraint = 'alert_rule_value',
                  hint = 'severity is critical or warning, every at least 1 second, patience not negative, within up to 2 minutes.';
    end;
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'set_alert', before, after, jsonb_build_object('alert', r.name));
    return true;
end
$$;

COMMENT ON FUNCTION postmeter.set_alert_rule(name text, who text, why text, severity text, every interval, patience interval, within interval, enabled boolean) IS 'Changes a rule of the alerts: how grave it is, how often it is looked at, how patient it is, how long a look may take, and whether there is one. What is null stays. Switching a rule off clears what is open of it. False: it was so already.';

CREATE FUNCTION postmeter.set_ledger_retention(retention interval, who text, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    s postmeter.setting;
begin
    perform postmeter.check_decider(who, why);
    select x.* into s from postmeter.setting x for update;
    -- as spans of the calendar: a year counts as 360 days where two intervals are compared
    if clock_timestamp() - retention > clock_timestamp() - s.usage_age_max then
        raise exception 'the ledger cannot be kept for less than usage is taken: %', s.usage_age_max
            using errcode = 'PM044', column = 'retention', constraint = 'ledger_outlives_intake';
    elsif retention is not distinct from s.ledger_retention then
        return false;
    end if;
    update postmeter.setting x set ledger_retention = retention;
    insert into postmeter.decision (who, why, verb, status_before, status_after)
    values (who, why, 'retain', coalesce(s.ledger_retention::text, 'for ever'), coalesce(retention::text, 'for ever'));
    return true;
end
$$;

COMMENT ON FUNCTION postmeter.set_ledger_retention(retention interval, who text, why text) IS 'For how long the ledger is kept at least; null: for ever. Never for less than usage is taken (PM044). False: it was so already.';

CREATE FUNCTION postmeter.set_paused(destination text, paused boolean, who text, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    t postmeter.destination;
begin
    perform postmeter.check_decider(who, why);
    perform postmeter.check_destination(destination);
    select * into t from postmeter.destination x where x.name = set_paused.destination for no key update;
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

COMMENT ON FUNCTION postmeter.set_paused(destination text, paused boolean, who text, why text) IS 'What pause and resume share.';

CREATE FUNCTION postmeter.setback_is_over(step text, member text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    case
        when step in ('cut', 'shadow_cut') then
            return not exists (select from postmeter.open_hour o where o.delivery_id = setback_is_over.member::bigint);
        when step = 'promote' then
            return not exists (select from postmeter.later l where l.delivery_id = setback_is_over.member::bigint);
        when step = 'deadlines' then
            -- its deadline is right, or no mark of its buyer stands
            return not exists (
                select from postmeter.delivery d
                join postmeter.meter m on m.id = d.meter_id
                where d.id = setback_is_over.member::bigint
                  and d.status in ('open', 'nothing_due', 'due', 'in_flight', 'rejected', 'unknown', 'held')
                  and postmeter.deadline_of(d.destination_id, m.buyer, d.hour) <> d.deadline
                  and exists (select from postmeter.deadline_change c where c.destination_id = d.destination_id and c.buyer = m.buyer));
        when step = 'marked' then
            -- it is counted in no open hour of a marked buyer any more
            return not exists (
                select from postmeter.allocation a
                join postmeter.delivery d on d.id = a.delivery_id and d.status = 'open' and d.round = a.round
                join postmeter.meter m on m.id = d.meter_id
                join postmeter.catalogue_mark c on c.destination_id = m.destination_id and c.buyer = m.buyer
                where a.usage_id = setback_is_over.member::uuid);
        when step in ('settle', 'reap') then
            return not exists (
                select from postmeter.attempt a
                where a.delivery_id = setback_is_over.member::bigint
                  and not exists (select from postmeter.outcome o where o.attempt_id = a.id));
        else
            return false;
    end case;
end
$$;

COMMENT ON FUNCTION postmeter.setback_is_over(step text, member text) IS 'Whether the step has nothing to do with this member of postmeter.setback any more, whoever saw to that. False where only the step itself can tell.';

CREATE FUNCTION postmeter.setbacks_over(step text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    members text[];
begin
    if step <> 'gather' then
        return query
        select s.member from postmeter.setback s
        where s.step = setbacks_over.step and postmeter.setback_is_over(s.step, s.member);
        return;
    end if;
    select array_agg(s.member) into members from postmeter.setback s where s.step = setbacks_over.step;
    if members is null then
        return;
    end if;
    -- once through what is not counted yet, however many members there are
    return query
    select m.member from unnest(members) m(member)
    except
    select left(n.request_key, 50) from postmeter.request_news n where left(n.request_key, 50) = any (members);
end
$$;

COMMENT ON FUNCTION postmeter.setbacks_over(step text) IS 'Members of postmeter.setback with which this step has nothing to do any more, whoever saw to that.';

CREATE FUNCTION postmeter.settle_alert_post(number bigint, http_status integer, error text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    told jsonb;
begin
    update postmeter.alert_post p
    set http_status = settle_alert_post.http_status, error = left(settle_alert_post.error, 500),
        posted_at = case when settle_alert_post.error is null then postmeter.clock() end,
        -- refused for what it is, or nobody is there: what waits behind it is newer, and must not wait for ever
        given_up_at = case when settle_alert_post.error is not null and p.tries >= 3
                            and (settle_alert_post.http_status between 400 and 499 and settle_alert_post.http_status not in (408, 429)
                                 or p.made_at < postmeter.clock() - interval '1 hour')
                           then postmeter.clock() end,
        next_at = clock_timestamp() + least(interval '15 minutes', interval '5 seconds' * 2 ^ least(p.tries - 1, 10))
    where p.number = settle_alert_post.number and p.posted_at is null and p.given_up_at is null
    returning case when p.given_up_at is not null then p.body::jsonb -> 'data' end into told;
    if told is not null then
        update postmeter.alert a
        set told_at = case when a.cleared_at is not null then a.told_at end, clear_told_at = null
        from jsonb_each(told) k cross join lateral jsonb_array_elements(k.value) t
        where a.id = (t ->> 'id')::bigint;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.settle_alert_post(number bigint, http_status integer, error text) IS 'Notes what the receiver answered: without an error it has arrived; else it is sent again after 5 seconds, 10, 20 and so on up to 15 minutes, until it is given up, and its alerts are told anew.';

CREATE FUNCTION postmeter.settle_installation(name text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known text;
begin
    update postmeter.installation i
    set server = postmeter.server_identity(), timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
        position = pg_current_wal_flush_lsn(), settled_at = clock_timestamp()
    where i.server is null;
    update postmeter.installation i set name = settle_installation.name where i.name is null and settle_installation.name is not null;
    select i.name into known from postmeter.installation i;
    return case
        when known is null or known = settle_installation.name then null
        when settle_installation.name is null then format('this database serves the installation %s, and this worker was not told which one it serves: set installation in section [worker]', quote_literal(known))
        else format('this database serves the installation %s, and this worker is configured for %s', quote_literal(known), quote_literal(settle_installation.name)) end;
end
$$;

COMMENT ON FUNCTION postmeter.settle_installation(name text) IS 'A worker starts, for the installation of this name (null: none was configured). The first one settles on which server the installation is, the first name what it is called. Returns why this worker must not send from here; null: it may.';

CREATE FUNCTION postmeter.shadow_told() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- folds that began before have ended, and those that begin now wait until this is committed: from then on, and not
    -- before, usage is given to the shadow
    perform postmeter.month_gate_alone()
    from postmeter.destination t where t.id = new.destination_id and t.shadow_of is not null;
    return new;
end
$$;

COMMENT ON FUNCTION postmeter.shadow_told() IS 'Trigger of subscription: a shadow is told of a buyer between folds, never during one.';

CREATE TABLE postmeter.cover (
    subscription_id bigint NOT NULL,
    metric text NOT NULL COLLATE pg_catalog."C",
    quantity numeric NOT NULL,
    CONSTRAINT cover_metric_check CHECK ((metric <> ''::text)),
    CONSTRAINT cover_quantity_check CHECK (((quantity >= (0)::numeric) AND (quantity <= ('1000000000000'::bigint)::numeric) AND (scale(trim_scale(quantity)) <= 15)))
);

COMMENT ON TABLE postmeter.cover IS 'What a subscription''s contract covers: metric units a month that are not billed.';

COMMENT ON COLUMN postmeter.cover.subscription_id IS 'The subscription.';

COMMENT ON COLUMN postmeter.cover.metric IS 'The metric.';

COMMENT ON COLUMN postmeter.cover.quantity IS 'Units of the metric covered each month.';

CREATE FUNCTION postmeter.shares_cover(meter_id bigint) RETURNS TABLE(other_id bigint)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT DISTINCT b.meter_id
    FROM (((postmeter.meter m
      JOIN postmeter.meter_metric a ON ((a.meter_id = m.id)))
      JOIN postmeter.meter o ON (((o.destination_id = m.destination_id) AND (o.buyer = m.buyer) AND (o.month = m.month) AND (o.id <> m.id))))
      JOIN postmeter.meter_metric b ON (((b.meter_id = o.id) AND (b.product = a.product) AND (b.metric = a.metric))))
   WHERE ((m.id = shares_cover.meter_id) AND (EXISTS ( SELECT
            FROM (postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) s(subscription_id)
              JOIN postmeter.cover c ON (((c.subscription_id = s.subscription_id) AND (c.metric = a.metric)))))));
END;

COMMENT ON FUNCTION postmeter.shares_cover(meter_id bigint) IS 'Other meters of a meter''s contract and month that count one of its metrics, where a contract covers it: the cover is given once for all of them.';

CREATE FUNCTION postmeter.sign_catalogue(who text, why text, detail jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made bigint;
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.decision (who, why, verb, detail) values (who, why, 'apply', coalesce(detail, '{}')) returning id into made;
    return made;
end
$$;

COMMENT ON FUNCTION postmeter.sign_catalogue(who text, why text, detail jsonb) IS 'Writes down who applied a catalogue and why, in the transaction that applies it. What it changed is in postmeter.catalogue_change.';

CREATE FUNCTION postmeter.spilled_months() RETURNS SETOF date
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    parent text;
    -- nothing is recorded ahead of the server's clock: what bears such an id is no row to make months for
    last   uuid := postmeter.id_at(clock_timestamp() + interval '1 month');
    id     uuid;
    month  date;
begin
    foreach parent in array array['usage', 'allocation', 'attempt', 'outcome'] loop
        id := '00000000-0000-0000-0000-000000000000';
        loop
            -- from month to month by the index: what waits there may be much
            execute format('select d.%1$I from postmeter.%2$I d where d.%1$I >= $1 and d.%1$I < $2 order by 1 limit 1',
                           postmeter.ledger_key(parent), parent || '_default') into id using id, last;
            exit when id is null;
            month := date_trunc('month', postmeter.moment_of(id) at time zone 'UTC')::date;
            return next month;
            id := (postmeter.ledger_span(month)).until_id;
        end loop;
    end loop;
end
$_$;

COMMENT ON FUNCTION postmeter.spilled_months() IS 'Months of which rows are in a default partition, up to the coming one.';

CREATE FUNCTION postmeter.status_fault(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (request_id IS NULL) THEN 'request_id_missing'::text
             WHEN (service IS NULL) THEN 'service_missing'::text
             WHEN (status IS NULL) THEN 'status_missing'::text
             WHEN ((octet_length(request_id) < 1) OR (octet_length(request_id) > 255)) THEN 'request_id_length'::text
             WHEN ((octet_length(service) < 1) OR (octet_length(service) > 255)) THEN 'service_length'::text
             WHEN ((octet_length(status) < 1) OR (octet_length(status) > 255)) THEN 'status_length'::text
             WHEN (octet_length(source) > 255) THEN 'source_length'::text
             WHEN (octet_length(account) > 255) THEN 'account_length'::text
             WHEN (octet_length(org) > 255) THEN 'org_length'::text
             WHEN (octet_length(inventory_id) > 255) THEN 'inventory_id_length'::text
             WHEN (octet_length(system_id) > 255) THEN 'system_id_length'::text
             WHEN (octet_length(status_msg) > 8192) THEN 'status_msg_length'::text
             WHEN (NOT ((date >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (date < '9999-12-30 00:00:00+00'::timestamp with time zone))) THEN 'date_range'::text
             ELSE NULL::text
         END AS "case";
END;

COMMENT ON FUNCTION postmeter.status_fault(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) IS 'Name of the first rule that a request status breaks, or null. docs/tracking.md lists them.';

CREATE FUNCTION postmeter.stray_reason(entry postmeter.outbox) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    u postmeter.usage;
begin
    select * into u from postmeter.usage x where x.id = entry.id;
    if u.id is null then
        return 'without_usage';
    elsif (u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects)
          is distinct from (entry.source, entry.event_id, entry.org, entry.product, entry.metric, entry.quantity,
                            entry.used_at, entry.account, entry.corrects) then
        return 'other_content';
    elsif exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                  where a.usage_id = u.id and t.shadow_of is null)
          or exists (select from postmeter.held h where h.usage_id = u.id)
          or exists (select from postmeter.exempted e where e.usage_id = u.id)
          or exists (select from postmeter.usage_written_off w where w.usage_id = u.id) then
        return 'accounted_for';
    end if;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.stray_reason(entry postmeter.outbox) IS 'Why this outbox entry must not be folded: no usage stands behind it, or its usage is accounted for already. Null: it may be.';

CREATE FUNCTION postmeter.subscription_marks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if tg_op = 'UPDATE' and (old.org, old.product, old.account, old.destination_id, old.buyer, old.invalid, old.valid_from)
           is not distinct from (new.org, new.product, new.account, new.destination_id, new.buyer, new.invalid, new.valid_from) then
        if old.valid_until is not distinct from new.valid_until or least(old.valid_until, new.valid_until) >= postmeter.recorded_until() then
            return null;
        end if;
    elsif least(old.valid_from, new.valid_from) >= postmeter.recorded_until() then
        return null;
    end if;
    insert into postmeter.catalogue_mark (destination_id, buyer, org, product, is_awaited)
    select x.destination_id, x.buyer, coalesce(new.org, old.org), coalesce(new.product, old.product), x.buyers > 1
    from (
        select b.destination_id, b.buyer, count(*) over () as buyers
        from (
            select old.destination_id, old.buyer
            union
            select new.destination_id, new.buyer
            union
            -- to whom the org's usage can go, or from whom it can come
            select s.destination_id, s.buyer
            from postmeter.subscription s
            join postmeter.destination t on t.id = s.destination_id
            where (s.org, s.product) in ((old.org, old.product), (new.org, new.product))
              and (s.valid_until is null or s.valid_until > postmeter.clock() - t.age_limit)
              and s.valid_from < postmeter.recorded_until()
            union
            -- for whom it was counted before an identity was changed that has been read now
            select c.destination_id, c.buyer
            from postmeter.catalogue_mark c
            where (c.org, c.product) in ((old.org, old.product), (new.org, new.product))
        ) b(destination_id, buyer)
        where b.buyer is not null
    ) x
    -- nothing can be counted of an org that has nobody else, and had nobody
    where x.buyers > 1 or old.buyer is not null
    order by x.destination_id, x.buyer;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.subscription_marks() IS 'Trigger of subscription: marks the buyers of its org (catalogue_mark), in whose open hours usage may be counted that belongs elsewhere by now; it is returned in shares.';

CREATE FUNCTION postmeter.sum_meters(meters bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.sum_meters(meters bigint[]) IS 'Writes down what these meters came to, before they are dropped: what balance, usage_balance, month_close, remittance_summary and unremitted will say of them.';

CREATE FUNCTION postmeter.sum_orgs(meters bigint[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.sum_orgs(meters bigint[]) IS 'What the remittances of these meters came to per org, as remittance_summary says it.';

CREATE FUNCTION postmeter.sum_unremitted(meters bigint[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
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

COMMENT ON FUNCTION postmeter.sum_unremitted(meters bigint[]) IS 'What of these meters was not accepted, per org, metric and status, as unremitted says it of each remittance.';

CREATE FUNCTION postmeter.take_alert_post(lease interval) RETURNS TABLE(number bigint, id uuid, body text, seconds bigint)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.alert_post p set tries = p.tries + 1, next_at = clock_timestamp() + lease
    where p.number = (select x.number from postmeter.alert_post x where x.posted_at is null and x.given_up_at is null
                      order by x.number limit 1 for update skip locked)
      and p.next_at <= clock_timestamp()
    returning p.number, p.id, p.body, extract(epoch from clock_timestamp())::bigint
$$;

COMMENT ON FUNCTION postmeter.take_alert_post(lease interval) IS 'Takes the post that waits, for so long: a worker that dies with it leaves it to the next. With the real time in seconds, for its signature.';

CREATE FUNCTION postmeter.take_alert_rule(names text[], always boolean) RETURNS TABLE(name text, within_ms bigint)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    update postmeter.alert_rule r set checked_at = clock_timestamp()
    where r.name = (
        select x.name from postmeter.alert_rule x
        where x.name = any (names) and x.enabled and (always or x.checked_at + x.every <= clock_timestamp())
        order by x.checked_at, x.name limit 1 for update skip locked)
    returning r.name, (extract(epoch from r.within) * 1000)::bigint
$$;

COMMENT ON FUNCTION postmeter.take_alert_rule(names text[], always boolean) IS 'Takes one of these rules whose time has come (or always) for this transaction to look at: whoever else comes meanwhile passes over it.';

CREATE FUNCTION postmeter.take_from_withheld(meter bigint, quantity numeric, with_delivery bigint, who text, why text) RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w     postmeter.delivery;
    take  numeric;
    total numeric := 0;
begin
    for w in select d.* from postmeter.withheld x join postmeter.delivery d on d.id = x.delivery_id
             where x.meter_id = take_from_withheld.meter and d.status in ('held', 'accepted') and d.quantity > 0 order by d.id for update of d loop
        exit when total >= take_from_withheld.quantity;
        take := least(w.quantity, take_from_withheld.quantity - total);
        perform postmeter.recut(w.id, take_from_withheld.meter, -take);
        update postmeter.delivery u
        set quantity = trim_scale(u.quantity - take), changed_at = postmeter.clock(),
            status = case when u.quantity = take then 'released' else u.status end,
            reason = case when u.quantity > take then u.reason end,
            maybe_billed = u.maybe_billed and u.quantity > take, maybe_since = case when u.quantity > take then u.maybe_since end
        where u.id = w.id;
        insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, target_delivery_id, detail)
        select who, why, 'resolve', w.id, w.status, u.status, take, with_delivery, jsonb_build_object('billed', true, 'withheld', true)
        from postmeter.delivery u where u.id = w.id;
        total := total + take;
    end loop;
    return total;
end
$$;

COMMENT ON FUNCTION postmeter.take_from_withheld(meter bigint, quantity numeric, with_delivery bigint, who text, why text) IS 'They hold more of another remittance of a locked meter than we cut: that is what was withheld, so it counts there and no longer here. Returns how much.';

CREATE FUNCTION postmeter.take_gate(gate text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform from postmeter.gate g where g.name = gate for update;
    if not found then
        insert into postmeter.gate (name) values (gate) on conflict do nothing;
        perform from postmeter.gate g where g.name = gate for update;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.take_gate(gate text) IS 'Waits until nobody else does what the gate names, and keeps others from it until the transaction ends.';

CREATE FUNCTION postmeter.target_hour(meter_id bigint) RETURNS timestamp with time zone
    LANGUAGE sql STABLE COST 10000
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select w.hour from postmeter.target_way(target_hour.meter_id) w $$;

COMMENT ON FUNCTION postmeter.target_hour(meter_id bigint) IS 'Where a meter''s late or released quantity can go: the newest closed hour of its month that was never sent and has time for retries (a quarter of the age limit), else the running hour if it is of that month, else a closed hour nearer its deadline, else null; of its own key, else of another key of its contract. Null too if its month is closed.';

CREATE FUNCTION postmeter.target_hour_of_key(meter_id bigint) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE COST 10000
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    the_clock  timestamptz := postmeter.clock();
    the_break  timestamptz := coalesce(postmeter.broken_at(), '-infinity');
begin
    return (
        select h.hour
        from postmeter.meter m
        join postmeter.destination t on t.id = m.destination_id
        cross join generate_series(0, (extract(epoch from t.age_limit) / 3600)::integer) back
        cross join lateral (
            select postmeter.hour_of(the_clock) - back * interval '1 hour' as hour) h
        cross join lateral (
            select postmeter.deadline_of(m.destination_id, m.buyer, h.hour) as deadline) l
        where m.id = target_hour_of_key.meter_id
          and postmeter.month_of(h.hour, t.zone) = m.month
          and not exists (select from postmeter.closed_month c where c.destination_id = m.destination_id and c.month = m.month)
          and exists (select from postmeter.subscription s
                      where s.destination_id = m.destination_id and s.buyer = m.buyer
                        and s.valid_from < h.hour + interval '1 hour' and (s.valid_until is null or h.hour < s.valid_until))
          and l.deadline >= the_clock
          and not exists (select from postmeter.delivery d
                          where d.meter_id = m.id and d.hour = h.hour and d.status not in ('open', 'nothing_due'))
        -- a closed hour with time for retries, the newest first; then the running hour; a closed hour near its deadline last
        order by h.hour + interval '1 hour' <= the_break,
                 case when back > 0 and l.deadline >= the_clock + greatest(t.lead, t.age_limit / 4) then 0 when back = 0 then 1 else 2 end, back
        limit 1
    );
end
$$;

COMMENT ON FUNCTION postmeter.target_hour_of_key(meter_id bigint) IS 'The hour under a meter''s own key to which late or released quantity can go: the newest closed hour of its month that was never sent and has time for retries (a quarter of the age limit), else the running hour if it is of that month, else a closed hour nearer its deadline, else null. Null too if its month is closed.';

CREATE FUNCTION postmeter.target_way(meter_id bigint) RETURNS TABLE(key_meter_id bigint, hour timestamp with time zone)
    LANGUAGE plpgsql STABLE COST 10000
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    own timestamptz := postmeter.target_hour_of_key(target_way.meter_id);
begin
    if own is not null then
        return query select target_way.meter_id, own;
        return;
    end if;
    return query
    with other as materialized (
        select k.key_meter_id from postmeter.contract_keys(target_way.meter_id) k
    )
    select o.key_meter_id, h.hour
    from other o
    cross join lateral (select postmeter.target_hour_of_key(o.key_meter_id) as hour) h
    where h.hour is not null
    order by h.hour desc, o.key_meter_id
    limit 1;
end
$$;

COMMENT ON FUNCTION postmeter.target_way(meter_id bigint) IS 'The hour to which a meter''s late or released quantity can go, and the meter of the key under which it is sent: its own, else another one of its contract. No row if there is none.';

CREATE FUNCTION postmeter.target_way_as(meter_id bigint, identity jsonb) RETURNS TABLE(key_meter_id bigint, hour timestamp with time zone)
    LANGUAGE sql STABLE COST 10000
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with own as materialized (
        select k.id, postmeter.target_hour_of_key(k.id) as hour
        from (select coalesce(postmeter.key_of_identity(target_way_as.meter_id, target_way_as.identity), target_way_as.meter_id) as id) k
    )
    select o.id, o.hour from own o where o.hour is not null
    union all
    select w.key_meter_id, w.hour from own o cross join lateral postmeter.target_way(target_way_as.meter_id) w where o.hour is null
$$;

COMMENT ON FUNCTION postmeter.target_way_as(meter_id bigint, identity jsonb) IS 'As target_way, but first under the key of the identity under which it was used: a contract may have several.';

CREATE FUNCTION postmeter.timeline_went_back(who text, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    t       text;
    noted   bigint;
    -- commits are lost in order: this one is there, so nothing before it is lost
    last_at timestamptz := coalesce((select a.claimed_at from postmeter.attempt a order by a.id desc limit 1), '-infinity');
begin
    perform postmeter.check_decider(who, why);
    insert into postmeter.timeline_break (who, why, timeline, server_started_at)
    values (who, why, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), pg_postmaster_start_time())
    on conflict do nothing returning id into noted;
    if noted is null then
        return false;
    end if;
    perform postmeter.withhold_all(noted);
    -- what may have been sent in the time that was lost: only evidence or a person moves it on
    update postmeter.delivery d
    set maybe_billed = true,
        maybe_since = d.hour + interval '1 hour' - coalesce((select t.memory from postmeter.destination t where t.id = d.destination_id), interval '0')
    from (select x.id from postmeter.delivery x
          where x.status in ('due', 'in_flight', 'held') and not x.maybe_billed and not x.shadow and x.body is not null
            and x.hour + interval '1 hour' <= postmeter.clock() order by x.id for update) o
    where d.id = o.id;
    -- what could still be sent after the last commit that survived, and every dead letter whose month is not closed
    insert into postmeter.doubt (delivery_id, break_id, status)
    select d.id, noted, d.status
    from postmeter.delivery d
    where d.status in ('rejected', 'expired', 'conflict', 'written_off', 'released') and not d.shadow and not d.maybe_billed and d.body is not null
      and (d.deadline > last_at
           or d.id in (select s.delivery_id from postmeter.stuck s)
              and not exists (select from postmeter.cut k join postmeter.meter m on m.id = k.meter_id
                              join postmeter.closed_month c on c.destination_id = m.destination_id and c.month = m.month
                              where k.delivery_id = d.id))
    order by d.id
    on conflict do nothing;
    -- nothing moves by itself: what is stuck here may have been moved already in that time
    update postmeter.stuck s set again_at = null where s.again_at is not null;
    for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
        perform postmeter.set_paused(t, true, who, why);
    end loop;
    return true;
end
$$;

COMMENT ON FUNCTION postmeter.timeline_went_back(who text, why text) IS 'Says that commits were lost: pauses every destination, each with a decision, counts what may have been sent as possibly attempted, and notes a doubt about what was settled and may have been reopened. Workers call it; after a restore declare_installation does. False: this break is known already.';

CREATE FUNCTION postmeter.told_dropped(delivery bigint) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('was dropped with %s of %s, whose export tells of it', to_char(w.month, 'YYYY-MM'),
                  coalesce((select t.name from postmeter.destination t where t.id = w.destination_id),
                      'a destination that is gone'))
    from postmeter.dropped_with(told_dropped.delivery) w order by w.month limit 1
$$;

COMMENT ON FUNCTION postmeter.told_dropped(delivery bigint) IS 'With which billing month a remittance was dropped, as a sentence goes on; null: with none.';

CREATE FUNCTION postmeter.told_dropped_key(destination text, key text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format('was dropped with %s of %s, whose export tells of it', to_char(k.month, 'YYYY-MM'), t.name)
    from (select regexp_match(told_dropped_key.key, '^(.+)/([^/]+)/(\d{4}-\d\d-\d\dT\d\d:00:00Z)$') as part) s
    join postmeter.destination t on told_dropped_key.destination is null or t.name = told_dropped_key.destination
    join postmeter.dropped_meter k
      on k.destination_id = t.id and k.month = postmeter.month_of(s.part[3]::timestamptz, t.zone)
     and k.buyer = s.part[1] and k.dimension = s.part[2]
    order by t.name limit 1
$_$;

COMMENT ON FUNCTION postmeter.told_dropped_key(destination text, key text) IS 'The same of a key; null: no remittance of its month''s meter was dropped.';

CREATE FUNCTION postmeter.track(service text, request_id text, status text, date timestamp with time zone DEFAULT NULL::timestamp with time zone, source text DEFAULT NULL::text, status_msg text DEFAULT NULL::text, account text DEFAULT NULL::text, org text DEFAULT NULL::text, inventory_id text DEFAULT NULL::text, system_id text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    fault text := postmeter.status_fault(service, request_id, status, date, source, status_msg, account, org, inventory_id, system_id);
    field text := regexp_replace(fault, '_(missing|length|range)$', '');
begin
    if fault is not null then
        raise exception 'request status: % %', field, case
            when fault like '%_missing' then 'is missing'
            when fault = 'status_msg_length' then 'has more than 8 KiB'
            when fault = 'date_range' then 'must lie in the years 1 to 9999'
            when field in ('service', 'request_id', 'status') then 'must have 1 to 255 bytes'
            else 'must have at most 255 bytes' end
            using errcode = case when fault like '%_missing' then '23502' else 'PM001' end,
                  schema = 'postmeter', table = 'request_status', column = field, constraint = fault;
    end if;
    with said as (
        insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status, status_msg,
                                              account, org, inventory_id, system_id, recorded_at)
        select postmeter.request_key_of(m.request_id), coalesce(m.date, m.now),
               postmeter.request_status_digest(m.service, m.source, m.status, m.status_msg, m.account, m.org, m.inventory_id, m.system_id),
               m.request_id, m.service, m.source, m.status, m.status_msg, m.account, m.org, m.inventory_id, m.system_id, m.now
        from (select track.request_id, track.date, lower(track.service) as service, lower(coalesce(track.source, '')) as source,
                     lower(track.status) as status, coalesce(track.status_msg, '') as status_msg,
                     coalesce(track.account, '') as account, coalesce(track.org, '') as org,
                     coalesce(track.inventory_id, '') as inventory_id, coalesce(track.system_id, '') as system_id,
                     postmeter.clock() as now) m
        on conflict do nothing
        returning *
    )
    insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
    select s.request_key, s.date, s.digest, s.kind, s.message, s.recorded_at from said s;
    return found;
end
$_$;

COMMENT ON FUNCTION postmeter.track(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) IS 'Records what a service says about a request, in the caller''s transaction. True: recorded; false: this very message was recorded before. Errors: 23502, PM001 (docs/tracking.md).';

CREATE FUNCTION postmeter.track_batch(statuses jsonb) RETURNS TABLE(item integer, verdict text, error_code text, field text, message text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    now    timestamptz := postmeter.clock();
    status jsonb;
begin
    if jsonb_typeof(statuses) is distinct from 'array' then
        raise exception 'statuses must be a JSON array of objects' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_array';
    end if;
    begin
        return query
        with given as materialized (
            select g.ordinality, g.request_id, postmeter.request_key_of(g.request_id) as key, coalesce(g.date, now) as date,
                   lower(g.service) as service, lower(coalesce(g.source, '')) as source, lower(g.status) as status,
                   coalesce(g.status_msg, '') as status_msg, coalesce(g.account, '') as account, coalesce(g.org, '') as org,
                   coalesce(g.inventory_id, '') as inventory_id, coalesce(g.system_id, '') as system_id
            from rows from (jsonb_to_recordset(statuses) as (service text, request_id text, status text, date timestamptz,
                    source text, status_msg text, account text, org text, inventory_id text, system_id text))
                 with ordinality g(service, request_id, status, date, source, status_msg, account, org, inventory_id, system_id, ordinality)
        ), hashed as materialized (
            select g.*, postmeter.request_status_digest(g.service, g.source, g.status, g.status_msg, g.account, g.org,
                                                        g.inventory_id, g.system_id) as digest
            from given g
            where not exists (select from given f where postmeter.status_fault(f.service, f.request_id, f.status, f.date,
                f.source, f.status_msg, f.account, f.org, f.inventory_id, f.system_id) is not null)
        ), said as (
            -- sorted, so that two batches with the same messages wait for each other instead of deadlocking
            insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status, status_msg,
                                                  account, org, inventory_id, system_id, recorded_at)
            select h.key, h.date, h.digest, h.request_id, h.service, h.source, h.status, h.status_msg,
                   h.account, h.org, h.inventory_id, h.system_id, now
            from hashed h order by h.key, h.date, h.digest, h.ordinality
            on conflict do nothing
            returning *
        ), news as (
            insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
            select s.request_key, s.date, s.digest, s.kind, s.message, s.recorded_at from said s
        )
        -- one that stands twice here is new the first time
        select h.ordinality::integer,
               case when s.request_key is not null
                     and row_number() over (partition by h.key, h.date, h.digest order by h.ordinality) = 1
                    then 'recorded' else 'repeated' end, null::text, null::text, null::text
        from hashed h
        left join said s on s.request_key = h.key and s.date = h.date and s.digest = h.digest
        order by h.ordinality;
        if found or statuses = '[]' then
            return;
        end if;
    exception when others then
        -- bad data of some item: every item gets its own verdict below; anything else is the caller's business
        if sqlstate !~ '^(22|23|PM)' then
            raise;
        end if;
    end;
    item := 0;
    for status in select e from jsonb_array_elements(statuses) e loop
        item := item + 1;
        error_code := null; field := null; message := null;
        begin
            if jsonb_typeof(status) <> 'object' then
                raise exception 'request status: must be an object' using errcode = 'PM001', column = 'statuses', constraint = 'statuses_object';
            end if;
            verdict := case when postmeter.track(status ->> 'service', status ->> 'request_id', status ->> 'status',
                (status ->> 'date')::timestamptz, status ->> 'source', status ->> 'status_msg', status ->> 'account',
                status ->> 'org', status ->> 'inventory_id', status ->> 'system_id') then 'recorded' else 'repeated' end;
        exception when others then
            get stacked diagnostics error_code = returned_sqlstate, field = column_name, message = message_text;
            if error_code !~ '^(22|23|PM)' then
                raise;
            end if;
            verdict := 'refused';
            field := coalesce(nullif(field, ''), case when message like '%time%' then 'date' end);
        end;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.track_batch(statuses jsonb) IS 'Records many request statuses in one round trip: an array of objects with the parameters of track. A verdict per item: recorded, repeated or refused (with error code, field and message); what is refused does not stop the rest.';

CREATE FUNCTION postmeter.try_gate(gate text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform from postmeter.gate g where g.name = gate for update skip locked;
    return found;
end
$$;

COMMENT ON FUNCTION postmeter.try_gate(gate text) IS 'As take_gate, but false at once if somebody else holds it. For gates that the schema brings along.';

CREATE TABLE postmeter.setback (
    step text NOT NULL COLLATE pg_catalog."C",
    member text NOT NULL COLLATE pg_catalog."C",
    destination_id integer,
    org text,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    code text,
    reason text,
    holder text,
    set_aside_at timestamp with time zone,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    held_off_until timestamp with time zone,
    CONSTRAINT setback_failed_check CHECK ((failed >= 0)),
    CONSTRAINT setback_member_check CHECK (((octet_length(member) >= 1) AND (octet_length(member) <= 300))),
    CONSTRAINT setback_skipped_check CHECK ((skipped >= 0)),
    CONSTRAINT setback_step_check CHECK (((octet_length(step) >= 1) AND (octet_length(step) <= 50)))
);

COMMENT ON TABLE postmeter.setback IS 'Members of a step''s batch that did not go through: locked by another session, or failing. The rest of the batch went on. A row goes when its member passes. All times are the server''s.';

COMMENT ON COLUMN postmeter.setback.step IS 'The step: fold, cut, carry, month_end, review, …';

COMMENT ON COLUMN postmeter.setback.member IS 'What the step handles one of, by its number or id: fold a usage (or an org, as org:…), cut and review a remittance, carry and month_end a meter.';

COMMENT ON COLUMN postmeter.setback.destination_id IS 'The member''s destination, if it has one.';

COMMENT ON COLUMN postmeter.setback.org IS 'The member''s org, where the step knows it.';

COMMENT ON COLUMN postmeter.setback.since IS 'When it first did not go through.';

COMMENT ON COLUMN postmeter.setback.last_at IS 'When it last did not.';

COMMENT ON COLUMN postmeter.setback.skipped IS 'Rounds in a row in which another session held its lock.';

COMMENT ON COLUMN postmeter.setback.failed IS 'Times in a row that it failed alone while another member passed.';

COMMENT ON COLUMN postmeter.setback.code IS 'SQLSTATE of the last failure.';

COMMENT ON COLUMN postmeter.setback.reason IS 'The server''s message of the last failure.';

COMMENT ON COLUMN postmeter.setback.holder IS 'The session that held the lock when it was last waited for.';

COMMENT ON COLUMN postmeter.setback.set_aside_at IS 'When it was set aside: it failed twice alone while another passed. It is tried again at next_at.';

COMMENT ON COLUMN postmeter.setback.next_at IS 'Not tried again before, unless a change could cure it (postmeter.try_setbacks_again).';

COMMENT ON COLUMN postmeter.setback.held_off_until IS 'Until then no new fold locks it: whoever waits to lock it alone comes next.';

CREATE FUNCTION postmeter.try_setbacks_again() RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 WITH waiting AS MATERIALIZED (
          SELECT s.step,
             s.member
            FROM postmeter.setback s
           WHERE (s.next_at > clock_timestamp())
           ORDER BY s.step, s.member
          FOR UPDATE OF s
         ), again AS (
          UPDATE postmeter.setback s SET next_at = clock_timestamp()
            FROM waiting w
           WHERE ((s.step = w.step) AND (s.member = w.member))
           RETURNING 1 AS "?column?"
         )
  SELECT (count(*))::integer AS count
    FROM again;
END;

COMMENT ON FUNCTION postmeter.try_setbacks_again() IS 'What was set aside is tried again in the next round: after a change that could cure it. Returns how many.';

CREATE FUNCTION postmeter.undo_write_off_corrected(delivery bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    part record;
begin
    -- its meters are locked, and so is the delivery
    for part in select c.meter_id, sum(c.to_bill) as to_bill
                from postmeter.cut c where c.delivery_id = undo_write_off_corrected.delivery and c.round < 0 group by 1 having sum(c.to_bill) <> 0 order by 1 loop
        perform postmeter.recut(undo_write_off_corrected.delivery, part.meter_id, -part.to_bill);
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.undo_write_off_corrected(delivery bigint) IS 'What is counted after all is counted whole: adds again what write_off_corrected took back.';

CREATE FUNCTION postmeter.usage_content_of(org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (encode(SUBSTRING(sha256(convert_to((((((((((((((length(org) || ':'::text) || org) || length(product)) || ':'::text) || product) || length(metric)) || ':'::text) || metric) || (trim_scale(quantity))::text) || '@'::text) || (EXTRACT(epoch FROM used_at))::text) || COALESCE(((('#'::text || length(account)) || ':'::text) || account), ''::text)) || COALESCE(('~'::text || corrects), ''::text)), 'UTF8'::name)) FROM 1 FOR 16), 'hex'::text))::uuid AS encode;
END;

COMMENT ON FUNCTION postmeter.usage_content_of(org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text) IS 'What must be equal for a repeated identity to be the same usage: quantity by value, time as an instant; labels do not count.';

CREATE FUNCTION postmeter.usage_fault(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb, earliest timestamp with time zone, latest timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN ((source = ''::text) OR (octet_length(source) > 255)) THEN 'source_length'::text
             WHEN ((event_id = ''::text) OR (octet_length(event_id) > 255)) THEN 'event_id_length'::text
             WHEN ((org = ''::text) OR (octet_length(org) > 255)) THEN 'org_length'::text
             WHEN ((product = ''::text) OR (octet_length(product) > 255)) THEN 'product_length'::text
             WHEN ((metric = ''::text) OR (octet_length(metric) > 255)) THEN 'metric_length'::text
             WHEN ((octet_length(account) < 1) OR (octet_length(account) > 255)) THEN 'account_length'::text
             WHEN ((octet_length(corrects) < 1) OR (octet_length(corrects) > 255)) THEN 'corrects_length'::text
             WHEN ((octet_length(request_id) < 1) OR (octet_length(request_id) > 255)) THEN 'request_id_length'::text
             WHEN ((octet_length(traceparent) < 1) OR (octet_length(traceparent) > 255)) THEN 'traceparent_length'::text
             WHEN (NOT ((quantity >= ('-1000000000000'::bigint)::numeric) AND (quantity <= ('1000000000000'::bigint)::numeric))) THEN 'quantity_range'::text
             WHEN ((scale(quantity) > 15) AND (scale(trim_scale(quantity)) > 15)) THEN 'quantity_decimals'::text
             WHEN ((quantity < (0)::numeric) AND (corrects IS NULL)) THEN 'quantity_negative'::text
             WHEN ((quantity >= (0)::numeric) AND (corrects IS NOT NULL)) THEN 'corrects_negative'::text
             WHEN (used_at < earliest) THEN 'used_at_too_old'::text
             WHEN (used_at > latest) THEN 'used_at_too_far_ahead'::text
             WHEN ((jsonb_typeof(attributes) <> 'object'::text) OR (pg_column_size(attributes) > 8192) OR (octet_length((attributes)::text) > 8192)) THEN 'attributes_object'::text
             ELSE NULL::text
         END AS "case";
END;

COMMENT ON FUNCTION postmeter.usage_fault(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb, earliest timestamp with time zone, latest timestamp with time zone) IS 'Name of the first rule that a usage breaks, or null. The rules of intake, in one place; docs/integrate.md lists them.';

CREATE FUNCTION postmeter.usage_identity_of(source text, event_id text) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (encode(SUBSTRING(sha256(convert_to((((length(source) || ':'::text) || source) || event_id), 'UTF8'::name)) FROM 1 FOR 16), 'hex'::text))::uuid AS encode;
END;

COMMENT ON FUNCTION postmeter.usage_identity_of(source text, event_id text) IS 'The identity of a usage: 16 bytes of SHA-256 over source and event id.';

CREATE FUNCTION postmeter.usage_text_fault(usage jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (jsonb_typeof(usage) IS DISTINCT FROM 'object'::text) THEN 'usage_object'::text
             WHEN ((usage - ARRAY['source'::text, 'event_id'::text, 'org'::text, 'product'::text, 'metric'::text, 'quantity'::text, 'used_at'::text, 'account'::text, 'corrects'::text, 'request_id'::text, 'traceparent'::text, 'attributes'::text]) <> '{}'::jsonb) THEN 'unknown_field'::text
             WHEN ((usage ->> 'source'::text) IS NULL) THEN 'source_missing'::text
             WHEN ((usage ->> 'event_id'::text) IS NULL) THEN 'event_id_missing'::text
             WHEN ((usage ->> 'org'::text) IS NULL) THEN 'org_missing'::text
             WHEN ((usage ->> 'product'::text) IS NULL) THEN 'product_missing'::text
             WHEN ((usage ->> 'metric'::text) IS NULL) THEN 'metric_missing'::text
             WHEN ((usage ->> 'quantity'::text) IS NULL) THEN 'quantity_missing'::text
             WHEN ((usage ->> 'used_at'::text) IS NULL) THEN 'used_at_missing'::text
             WHEN (jsonb_typeof((usage -> 'source'::text)) <> 'string'::text) THEN 'source_text'::text
             WHEN (jsonb_typeof((usage -> 'event_id'::text)) <> 'string'::text) THEN 'event_id_text'::text
             WHEN (jsonb_typeof((usage -> 'org'::text)) <> 'string'::text) THEN 'org_text'::text
             WHEN (jsonb_typeof((usage -> 'product'::text)) <> 'string'::text) THEN 'product_text'::text
             WHEN (jsonb_typeof((usage -> 'metric'::text)) <> 'string'::text) THEN 'metric_text'::text
             WHEN (jsonb_typeof((usage -> 'account'::text)) <> ALL (ARRAY['string'::text, 'null'::text])) THEN 'account_text'::text
             WHEN (jsonb_typeof((usage -> 'corrects'::text)) <> ALL (ARRAY['string'::text, 'null'::text])) THEN 'corrects_text'::text
             WHEN (jsonb_typeof((usage -> 'request_id'::text)) <> ALL (ARRAY['string'::text, 'null'::text])) THEN 'request_id_text'::text
             WHEN (jsonb_typeof((usage -> 'traceparent'::text)) <> ALL (ARRAY['string'::text, 'null'::text])) THEN 'traceparent_text'::text
             WHEN ((jsonb_typeof((usage -> 'quantity'::text)) <> ALL (ARRAY['number'::text, 'string'::text])) OR ((usage ->> 'quantity'::text) !~* '^[+-]?(([0-9]+[.]?[0-9]*|[.][0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)$'::text)) THEN 'quantity_number'::text
             WHEN ((jsonb_typeof((usage -> 'used_at'::text)) <> 'string'::text) OR ((usage ->> 'used_at'::text) !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?([Zz]|[+-][0-9]{2}(:?[0-5][0-9])?)$'::text)) THEN
             CASE
                 WHEN ((jsonb_typeof((usage -> 'used_at'::text)) = 'string'::text) AND ((usage ->> 'used_at'::text) ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?)?$'::text)) THEN 'used_at_zone'::text
                 ELSE 'used_at_time'::text
             END
             ELSE NULL::text
         END AS "case";
END;

COMMENT ON FUNCTION postmeter.usage_text_fault(usage jsonb) IS 'Name of the first thing that is wrong with a usage as JSON, before its rules are asked (postmeter.usage_fault), or null. What it lets through means the same in every session, whatever its time zone and date style.';

CREATE FUNCTION postmeter.usage_text_refusal(usage jsonb, OUT error_code text, OUT field text, OUT message text) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    fault text := postmeter.usage_text_fault(usage);
    fields constant text[] := array['source', 'event_id', 'org', 'product', 'metric', 'quantity', 'used_at', 'account',
                                    'corrects', 'request_id', 'traceparent', 'attributes'];
begin
    if fault is null then
        return;
    end if;
    field := case fault when 'usage_object' then null
                        when 'unknown_field' then (select left(min(k), 255) from jsonb_object_keys(usage - fields) k)
                        else regexp_replace(fault, '_(missing|text|number|zone|time)$', '') end;
    error_code := case when fault like '%_missing' then '23502' when fault = 'quantity_number' then '22P02'
                       when fault = 'used_at_time' then '22007' else 'PM001' end;
    message := case
        when fault = 'usage_object' then 'must be a JSON object'
        when fault = 'unknown_field' then format('%I is no field of a usage; there are %s', field, array_to_string(fields, ', '))
        when fault like '%_missing' then format('%s is missing', field)
        when fault like '%_text' then format('%s must be a text, in quotation marks', field)
        when fault = 'quantity_number' then 'quantity must be a number, or a text that holds one, such as 12.5'
        when fault = 'used_at_zone'
            then 'used_at has no zone; add Z for UTC or an offset, as in 2026-11-21T10:00:00+01:00'
        else 'used_at must be a time with its zone, such as 2026-11-21T10:00:00Z' end;
    message := format('usage %s: %s', case when jsonb_typeof(usage -> 'event_id') in ('string', 'number')
                                           then quote_literal(left(usage ->> 'event_id', 255)) else '?' end, message);
end
$_$;

COMMENT ON FUNCTION postmeter.usage_text_refusal(usage jsonb, OUT error_code text, OUT field text, OUT message text) IS 'The verdict on a usage that postmeter.usage_text_fault finds fault with: SQLSTATE, field and sentence. All null: it finds none.';

CREATE FUNCTION postmeter.usage_time(text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (regexp_replace($1, '([.][0-9]{6})[0-9]+'::text, '\1'::text))::timestamp with time zone AS regexp_replace;
END;

COMMENT ON FUNCTION postmeter.usage_time(text) IS 'A time that postmeter.usage_text_fault let through, cut down to microseconds: rounded up, the last moment of a month would be the next one''s.';

CREATE FUNCTION postmeter.usage_went() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into postmeter.usage_moved (slice) select distinct left(w.usage_id::text, 8) from went w;
    return null;
end
$$;

COMMENT ON FUNCTION postmeter.usage_went() IS 'Trigger of held: what leaves it must be somewhere else, and its slice is proven again. A row for each 66 seconds of recording that a statement touches.';

CREATE FUNCTION postmeter.when_said(moment timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT to_char((moment AT TIME ZONE 'UTC'::text), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'::text) AS to_char;
END;

COMMENT ON FUNCTION postmeter.when_said(moment timestamp with time zone) IS 'A time as people read it, in UTC, to the second.';

CREATE FUNCTION postmeter.withhold(m postmeter.meter, quantity numeric, break_id bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    now  timestamptz := postmeter.clock();
    made bigint;
    last record;
    n    bigint := (select count(*) + 1 from postmeter.withheld w where w.meter_id = m.id);
    -- no hour of anybody: its time lies inside one
    at   timestamptz := postmeter.hour_of(now) + n * interval '1 second';
begin
    select d.identity, d.product into last
    from postmeter.hours_of_meter(m.id) h join postmeter.delivery d on d.id = h.delivery_id
    order by h.hour desc limit 1;
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status, reason, maybe_billed, maybe_since,
                                    round, quantity, body, batch_group, idempotency_key, cut_at)
    values (m.destination_id, format('%s/%s/withheld/%s/%s', m.buyer, m.dimension, m.id, n), m.id, at, coalesce(last.identity, '{}'), coalesce(last.product, ''),
            postmeter.deadline_of(m.destination_id, m.buyer, postmeter.hour_of(now)), 'held', 'lost_time', true, now,
            1, quantity, '', '', '00000000-0000-0000-0000-000000000000', now)
    returning id into made;
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    values (made, m.id, 0, m.denominator, trim_scale(m.carried + m.billed * m.denominator), m.billed, quantity,
            trim_scale(m.carried - quantity * m.denominator), false, '[]');
    update postmeter.meter u
    set billed = trim_scale(u.billed + quantity), carried = trim_scale(u.carried - quantity * u.denominator),
        billable = trim_scale(greatest(0, u.billable - quantity))
    where u.id = m.id;
    insert into postmeter.withheld (delivery_id, meter_id, break_id) values (made, m.id, break_id);
    -- it was not held by an update
    insert into postmeter.stuck (delivery_id, destination_id, status, since) values (made, m.destination_id, 'held', now);
    return made;
end
$$;

COMMENT ON FUNCTION postmeter.withhold(m postmeter.meter, quantity numeric, break_id bigint) IS 'Takes a quantity of a locked meter out of what is to be billed, as a held remittance that may have been billed. Returns that remittance.';

CREATE FUNCTION postmeter.withhold_all(break_id bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    now    timestamptz := postmeter.clock();
    m      postmeter.meter;
    owing  numeric;
    made   integer := 0;
    chosen bigint[];
begin
    perform postmeter.month_gate();
    select array_agg(x.id order by x.id) into chosen
    from postmeter.meter x
    join postmeter.destination t on t.id = x.destination_id and t.shadow_of is null
    where (x.billable > 0 or x.month_end = 'round_up' and x.carried > 0
                             and x.month >= postmeter.month_of(now - t.age_limit - interval '1 day', t.zone)
                             and postmeter.meter_ends(t.id, x.buyer, (x.month + interval '1 month')::timestamp at time zone t.zone) <= now)
      and not exists (select from postmeter.closed_month c where c.destination_id = x.destination_id and c.month = x.month);
    perform postmeter.lock_meters(chosen);
    for m in select x.* from postmeter.meter x where x.id = any (chosen) order by x.id loop
        owing := m.billable;
        if m.month_end = 'round_up' and m.carried > 0 and postmeter.remainder_is_elsewhere(m) then
            owing := greatest(owing, postmeter.round_units(m.carried + m.billed * m.denominator, m.denominator, 'up', m.decimals) - m.billed);
        end if;
        if owing > 0 then
            perform postmeter.withhold(m, owing, break_id);
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;

COMMENT ON FUNCTION postmeter.withhold_all(break_id bigint) IS 'Withholds what meters had to bill when commits were lost and would send with any hour: a part of timeline_went_back. Returns how many.';

CREATE FUNCTION postmeter.write_off(filter jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(delivery_id bigint, key text, status_before text, status_after text, quantity numeric, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    d   postmeter.delivery;
    now timestamptz := postmeter.clock();
begin
    perform postmeter.check_decider(who, why);
    -- meters first, then remittances, each in order: the same order as the cut
    perform postmeter.lock_meters(array(
        select c.meter_id from postmeter.cut c where c.delivery_id in (select b.id from postmeter.deliveries_by(filter) b)));
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
            perform postmeter.write_off_corrected(d.id);
            insert into postmeter.decision (who, why, verb, delivery_id, status_before, status_after, quantity, detail)
            values (who, why, 'write_off', d.id, d.status, 'written_off', d.quantity, jsonb_strip_nulls(jsonb_build_object('filter', filter - 'within', 'reason', d.reason)));
        end if;
        return next;
    end loop;
end
$$;

COMMENT ON FUNCTION postmeter.write_off(filter jsonb, who text, why text, dry_run boolean) IS 'Gives up dead letters: their quantity is shown as written off and is not billed again. Refused while maybe billed. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.write_off_corrected(delivery bigint) RETURNS numeric
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    m       record;
    reduced numeric;
    total   numeric := 0;
begin
    -- its meters are locked, and so is the delivery
    for m in
        with recursive counted as (
            select write_off_corrected.delivery as id
            union
            -- quantity that a release gave to it
            select c.delivery_id from counted x join postmeter.decision c on c.target_delivery_id = x.id where c.verb = 'release'
        ), credit as materialized (
            select mm.meter_id, sum(a.quantity * mm.factor_numerator * (t.denominator / mm.factor_denominator)) as units
            from counted x
            join postmeter.allocation a on a.delivery_id = x.id and a.round = -1
            join postmeter.meter_metric mm on mm.id = a.meter_metric_id
            join postmeter.meter t on t.id = mm.meter_id
            group by 1
        )
        select t.*, k.to_bill, u.units,
               postmeter.round_units(u.units - c.units, t.denominator, r.rounding, t.decimals) as before,
               postmeter.round_units(u.units, t.denominator, r.rounding, t.decimals) as after
        from credit c
        join postmeter.meter t on t.id = c.meter_id
        cross join lateral (select t.carried + t.billed * t.denominator as units) u
        cross join lateral (select case when t.month_end = 'round_up' then 'up' else t.rounding end as rounding) r
        cross join lateral (select sum(x.to_bill) as to_bill from postmeter.cut x
                            where x.delivery_id = write_off_corrected.delivery and x.meter_id = t.id) k
        where k.to_bill > 0
        order by t.id
    loop
        reduced := least(m.to_bill, m.before - m.after);
        continue when reduced <= 0;
        insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
        values (write_off_corrected.delivery, m.id, -1, m.denominator, m.units, m.billed, -reduced,
                trim_scale(m.carried + reduced * m.denominator), false, '[]');
        update postmeter.meter u
        set billed = trim_scale(u.billed - reduced), carried = trim_scale(u.carried + reduced * u.denominator),
            -- what later usage did not pay because of it
            billable = trim_scale(greatest(u.billable, m.after - (u.billed - reduced)))
        where u.id = m.id;
        total := total + reduced;
    end loop;
    return total;
end
$$;

COMMENT ON FUNCTION postmeter.write_off_corrected(delivery bigint) IS 'What is written off is what its usage still was: takes back what corrections had taken from it after its cut, so that they lower no other bill. Returns those billing units.';

CREATE FUNCTION postmeter.write_off_held(filter jsonb, who text, why text, dry_run boolean DEFAULT true) RETURNS TABLE(usage_id uuid, reason text, quantity numeric)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    chosen uuid[];
begin
    perform postmeter.check_decider(who, why);
    select array_agg(h.usage_id order by h.usage_id) into chosen from postmeter.held_usage_by(filter) h;
    -- what corrects it is given up with it
    perform 1 from postmeter.held h where h.usage_id = any (chosen) order by h.usage_id for update;
    chosen := postmeter.held_together(chosen, false);
    return query select h.usage_id, h.reason, h.quantity from postmeter.held h where h.usage_id = any (chosen) order by 1 for update;
    if not dry_run then
        with given_up as (
            delete from postmeter.held h where h.usage_id = any (chosen) returning h.usage_id, h.destination_id, h.quantity, h.reason
        ), decided as (
            insert into postmeter.decision (who, why, verb, usage_id, status_before, status_after, quantity, detail)
            select who, why, 'write_off', g.usage_id, 'held', 'written_off', g.quantity, jsonb_build_object('filter', filter - 'within', 'reason', g.reason, 'destination', t.name)
            from given_up g left join postmeter.destination t on t.id = g.destination_id
            returning id, usage_id
        )
        insert into postmeter.usage_written_off (usage_id, decision_id) select d.usage_id, d.id from decided d;
    end if;
end
$$;

COMMENT ON FUNCTION postmeter.write_off_held(filter jsonb, who text, why text, dry_run boolean) IS 'Gives up held usage. Dry run unless told otherwise.';

CREATE FUNCTION postmeter.zero_since() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if new.zero <> 'send' then
        new.zero_since := null;
    elsif tg_op = 'INSERT' then
        new.zero_since := coalesce(new.zero_since, postmeter.clock());
    elsif old.zero <> 'send' then
        new.zero_since := postmeter.clock();
    end if;
    return new;
end
$$;

COMMENT ON FUNCTION postmeter.zero_since() IS 'Trigger: notes since when the silent hours of a dimension are reported.';

CREATE AGGREGATE postmeter.chain_of(text) (
    SFUNC = postmeter.chain_step,
    STYPE = bytea,
    INITCOND = '\x0000000000000000000000000000000000000000000000000000000000000000'
);

COMMENT ON AGGREGATE postmeter.chain_of(text) IS 'Head of the hash chain over lines, in their order; it begins with 32 zero bytes.';

CREATE AGGREGATE postmeter.lcm_of(numeric) (
    SFUNC = pg_catalog.lcm,
    STYPE = numeric,
    INITCOND = '1'
);

COMMENT ON AGGREGATE postmeter.lcm_of(numeric) IS 'Least common multiple: the common denominator of a meter''s factors.';

CREATE TABLE postmeter.alert (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    subject text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    severity text NOT NULL,
    opened_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    cleared_at timestamp with time zone,
    count bigint NOT NULL,
    summary text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    told_at timestamp with time zone,
    clear_told_at timestamp with time zone,
    CONSTRAINT alert_clear_told CHECK (((clear_told_at IS NULL) OR (cleared_at IS NOT NULL))),
    CONSTRAINT alert_count_check CHECK ((count >= 1)),
    CONSTRAINT alert_details_check CHECK ((jsonb_typeof(details) = 'object'::text)),
    CONSTRAINT alert_summary_check CHECK ((summary <> ''::text))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.alert IS 'Alerts, open and cleared. One open row per name and subject: ten thousand stuck remittances of a destination are one alert that says 10,000. No evidence: cleared ones are forgotten after 90 days.';

COMMENT ON COLUMN postmeter.alert.id IS 'Order of opening.';

COMMENT ON COLUMN postmeter.alert.name IS 'Its rule.';

COMMENT ON COLUMN postmeter.alert.subject IS 'What it is about, mostly a destination; empty: the whole.';

COMMENT ON COLUMN postmeter.alert.severity IS 'As its rule said when it was opened.';

COMMENT ON COLUMN postmeter.alert.opened_at IS 'When it was seen first.';

COMMENT ON COLUMN postmeter.alert.last_seen_at IS 'When it was seen last.';

COMMENT ON COLUMN postmeter.alert.cleared_at IS 'When it was not seen any more; null: it is open.';

COMMENT ON COLUMN postmeter.alert.count IS 'How many things it is about, when it was seen last.';

COMMENT ON COLUMN postmeter.alert.summary IS 'What is so, in a sentence.';

COMMENT ON COLUMN postmeter.alert.details IS 'Up to five examples, and what else helps.';

COMMENT ON COLUMN postmeter.alert.told_at IS 'When it was last put into a post to the webhook.';

COMMENT ON COLUMN postmeter.alert.clear_told_at IS 'When a post said that it is cleared.';

ALTER TABLE postmeter.alert ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.alert_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW postmeter.alert_list AS
 SELECT a.id,
    a.name,
    a.subject,
    a.severity,
    (a.cleared_at IS NULL) AS open,
    a.opened_at,
    a.last_seen_at,
    a.cleared_at,
    a.count,
    a.summary,
    a.details,
    a.told_at
   FROM postmeter.alert a;

COMMENT ON VIEW postmeter.alert_list IS 'Alerts, open and cleared.';

COMMENT ON COLUMN postmeter.alert_list.id IS 'Order of opening.';

COMMENT ON COLUMN postmeter.alert_list.name IS 'Its rule.';

COMMENT ON COLUMN postmeter.alert_list.subject IS 'What it is about, mostly a destination; empty: the whole.';

COMMENT ON COLUMN postmeter.alert_list.severity IS 'critical or warning, as its rule said when it was opened.';

COMMENT ON COLUMN postmeter.alert_list.open IS 'It has not cleared.';

COMMENT ON COLUMN postmeter.alert_list.opened_at IS 'When it was seen first.';

COMMENT ON COLUMN postmeter.alert_list.last_seen_at IS 'When it was seen last.';

COMMENT ON COLUMN postmeter.alert_list.cleared_at IS 'When it was not seen any more.';

COMMENT ON COLUMN postmeter.alert_list.count IS 'How many things it is about.';

COMMENT ON COLUMN postmeter.alert_list.summary IS 'What is so, in a sentence.';

COMMENT ON COLUMN postmeter.alert_list.details IS 'Up to five examples, and what else helps.';

COMMENT ON COLUMN postmeter.alert_list.told_at IS 'When it was last put into a post to the webhook.';

CREATE TABLE postmeter.alert_post (
    number bigint NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    made_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    body text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    posted_at timestamp with time zone,
    http_status integer,
    error text,
    given_up_at timestamp with time zone,
    CONSTRAINT alert_post_ends CHECK (((posted_at IS NULL) OR (given_up_at IS NULL)))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.alert_post IS 'What is posted to the webhook for alerts: one post says everything that changed. A new one is made only when the last has arrived or was given up.';

COMMENT ON COLUMN postmeter.alert_post.number IS 'Their order.';

COMMENT ON COLUMN postmeter.alert_post.id IS 'The webhook''s id: the same at every try, so that a receiver can drop repetitions.';

COMMENT ON COLUMN postmeter.alert_post.made_at IS 'When it was made.';

COMMENT ON COLUMN postmeter.alert_post.body IS 'What is posted, to the letter.';

COMMENT ON COLUMN postmeter.alert_post.tries IS 'How often it was sent.';

COMMENT ON COLUMN postmeter.alert_post.next_at IS 'Real time before which nobody sends it again.';

COMMENT ON COLUMN postmeter.alert_post.posted_at IS 'When the receiver answered 2xx; null: not yet.';

COMMENT ON COLUMN postmeter.alert_post.http_status IS 'The last answer''s status.';

COMMENT ON COLUMN postmeter.alert_post.error IS 'Why the last try failed.';

COMMENT ON COLUMN postmeter.alert_post.given_up_at IS 'When it was given up: the receiver refused it three times, or did not take it for an hour. What it said is said anew by a later post.';

ALTER TABLE postmeter.alert_post ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.alert_post_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.alert_rule (
    name text NOT NULL COLLATE pg_catalog."C",
    severity text NOT NULL,
    every interval NOT NULL,
    patience interval NOT NULL,
    within interval DEFAULT '00:00:10'::interval NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    checked_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    failure text,
    failing_since timestamp with time zone,
    CONSTRAINT alert_rule_every_check CHECK ((every >= '00:00:01'::interval)),
    CONSTRAINT alert_rule_fails CHECK (((failure IS NULL) = (failing_since IS NULL))),
    CONSTRAINT alert_rule_name_check CHECK ((name ~ '^[a-z][a-z_]*$'::text)),
    CONSTRAINT alert_rule_patience_check CHECK ((patience >= '00:00:00'::interval)),
    CONSTRAINT alert_rule_severity_check CHECK ((severity = ANY (ARRAY['critical'::text, 'warning'::text]))),
    CONSTRAINT alert_rule_within_check CHECK (((within > '00:00:00'::interval) AND (within <= '00:02:00'::interval)))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.alert_rule IS 'The alerts there are: how often each is looked at, by whichever worker comes first. docs/operate/runbook.md has a section for each.';

COMMENT ON COLUMN postmeter.alert_rule.name IS 'Its name; in the runbook and in Prometheus the same in CamelCase.';

COMMENT ON COLUMN postmeter.alert_rule.severity IS 'critical: money or all work is in danger now; warning: a person should look today.';

COMMENT ON COLUMN postmeter.alert_rule.every IS 'How often it is looked at, in real time.';

COMMENT ON COLUMN postmeter.alert_rule.patience IS 'How long a thing may be so before it is an alert; what exactly is in the runbook.';

COMMENT ON COLUMN postmeter.alert_rule.within IS 'How long looking may take; then it is given up and noted in failure.';

COMMENT ON COLUMN postmeter.alert_rule.enabled IS 'False: nobody looks, and its open alerts are cleared.';

COMMENT ON COLUMN postmeter.alert_rule.checked_at IS 'When somebody looked last, in real time.';

COMMENT ON COLUMN postmeter.alert_rule.failure IS 'Why the last look was no whole look; its alerts stay as they were.';

COMMENT ON COLUMN postmeter.alert_rule.failing_since IS 'Since when, in real time.';

CREATE TABLE postmeter.allocation_default (
    usage_id uuid NOT NULL,
    destination_id integer NOT NULL,
    delivery_id bigint NOT NULL,
    meter_metric_id bigint NOT NULL,
    round integer NOT NULL,
    quantity numeric NOT NULL,
    hour timestamp with time zone NOT NULL,
    subscription_id bigint NOT NULL
);

COMMENT ON TABLE postmeter.allocation_default IS 'Allocations for which no partition was made in time.';

CREATE TABLE postmeter.asked_usage (
    usage_id uuid NOT NULL,
    asked_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL
);

COMMENT ON TABLE postmeter.asked_usage IS 'Usage that was held for lost_time and that a person has sent back: it was not billed with another hour in the time that was lost, and goes on as late usage.';

COMMENT ON COLUMN postmeter.asked_usage.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.asked_usage.asked_at IS 'When, on postmeter.clock(): what is lost after that is asked about again.';

CREATE TABLE postmeter.due (
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    deadline timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');

COMMENT ON TABLE postmeter.due IS 'Deliveries to send now; the queue that workers claim from. Inserted and deleted, never updated.';

COMMENT ON COLUMN postmeter.due.delivery_id IS 'The delivery.';

COMMENT ON COLUMN postmeter.due.destination_id IS 'Its destination.';

COMMENT ON COLUMN postmeter.due.deadline IS 'Its deadline; the earliest goes first, but for a share of the claims that takes the oldest delivery.';

CREATE TABLE postmeter.later (
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    due_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE postmeter.later IS 'Deliveries to send again at a time; promoted into due when it has come. Inserted and deleted, never updated.';

COMMENT ON COLUMN postmeter.later.delivery_id IS 'The delivery.';

COMMENT ON COLUMN postmeter.later.destination_id IS 'Its destination.';

COMMENT ON COLUMN postmeter.later.due_at IS 'Not before this.';

CREATE TABLE postmeter.open_hour (
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    hour timestamp with time zone NOT NULL
);

COMMENT ON TABLE postmeter.open_hour IS 'Remittances that are open, for the cut to find. Inserted and deleted, never updated.';

COMMENT ON COLUMN postmeter.open_hour.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.open_hour.destination_id IS 'Its destination.';

COMMENT ON COLUMN postmeter.open_hour.hour IS 'Its hour.';

CREATE VIEW postmeter.remittance AS
 SELECT d.id AS delivery_id,
    t.name AS destination,
    d.key,
    d.hour,
    d.product,
    m.dimension,
    m.month,
    m.buyer,
    d.status,
    d.reason,
    d.maybe_billed,
    d.confirmed,
    d.quantity,
    d.shown_quantity,
    (p.unit_price *
        CASE
            WHEN (d.status = 'accepted'::text) THEN COALESCE(d.shown_quantity, d.quantity)
            ELSE d.quantity
        END) AS amount,
    p.currency,
    d.deadline,
    d.tries,
    d.attempts,
    d.idempotency_key,
    d.opened_at,
    d.cut_at,
    d.changed_at,
    d.shadow,
    o.orgs
   FROM ((((postmeter.delivery d
     JOIN postmeter.destination t ON ((t.id = d.destination_id)))
     JOIN postmeter.meter m ON ((m.id = d.meter_id)))
     LEFT JOIN LATERAL ( SELECT x.unit_price,
            x.currency
           FROM postmeter.dimension x
          WHERE ((x.destination_id = m.destination_id) AND (x.name = m.dimension) AND (x.product = d.product) AND (x.valid_from <= m.month))
          ORDER BY x.valid_from DESC, x.id
         LIMIT 1) p ON (true))
     CROSS JOIN LATERAL ( SELECT ARRAY( SELECT DISTINCT s.org
                   FROM (( SELECT DISTINCT x.subscription_id AS id
                           FROM postmeter.allocation x
                          WHERE (x.delivery_id = d.id)) a
                     CROSS JOIN LATERAL ( SELECT y.org
                           FROM postmeter.subscription y
                          WHERE (y.id = a.id)
                         OFFSET 0) s)
                  ORDER BY s.org) AS orgs) o)
  WHERE (d.kind = 'usage'::text);

COMMENT ON VIEW postmeter.remittance IS 'Every remittance: what is owed to a marketplace for one key, and where it stands. Without a price, amount is null: unpriced, never zero. Those of a shadow are never sent and are owed to nobody.';

COMMENT ON COLUMN postmeter.remittance.delivery_id IS 'Its number; what the other views refer to.';

COMMENT ON COLUMN postmeter.remittance.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.remittance.key IS 'Canonical key.';

COMMENT ON COLUMN postmeter.remittance.hour IS 'The hour it reports.';

COMMENT ON COLUMN postmeter.remittance.product IS 'Our product.';

COMMENT ON COLUMN postmeter.remittance.dimension IS 'The marketplace''s dimension.';

COMMENT ON COLUMN postmeter.remittance.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.remittance.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.remittance.status IS 'Where it stands.';

COMMENT ON COLUMN postmeter.remittance.reason IS 'Why it is held.';

COMMENT ON COLUMN postmeter.remittance.maybe_billed IS 'An attempt may have arrived and nothing has resolved it.';

COMMENT ON COLUMN postmeter.remittance.confirmed IS 'Accepted: whether they confirmed the quantity; a bare duplicate does not.';

COMMENT ON COLUMN postmeter.remittance.quantity IS 'Billing units, frozen by the cut; null while open.';

COMMENT ON COLUMN postmeter.remittance.shown_quantity IS 'What they showed that they hold.';

COMMENT ON COLUMN postmeter.remittance.amount IS 'Quantity times unit price; of what counts as they hold it, their quantity. Null: unpriced.';

COMMENT ON COLUMN postmeter.remittance.currency IS 'Of the price.';

COMMENT ON COLUMN postmeter.remittance.deadline IS 'Last moment at which it may be sent, margin taken off.';

COMMENT ON COLUMN postmeter.remittance.tries IS 'Attempts that count against the policy.';

COMMENT ON COLUMN postmeter.remittance.attempts IS 'All attempts.';

COMMENT ON COLUMN postmeter.remittance.idempotency_key IS 'UUIDv5 of destination, key and releases.';

COMMENT ON COLUMN postmeter.remittance.opened_at IS 'When its hour was opened, or opened again.';

COMMENT ON COLUMN postmeter.remittance.cut_at IS 'When it was cut last.';

COMMENT ON COLUMN postmeter.remittance.changed_at IS 'When its status last changed.';

COMMENT ON COLUMN postmeter.remittance.shadow IS 'Its destination is a shadow: owed to nobody.';

COMMENT ON COLUMN postmeter.remittance.orgs IS 'The orgs whose usage is in it: several, where they buy through one account.';

CREATE TABLE postmeter.stuck (
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    status text NOT NULL,
    since timestamp with time zone NOT NULL,
    again_at timestamp with time zone,
    CONSTRAINT stuck_status_check CHECK ((status = ANY (ARRAY['rejected'::text, 'expired'::text, 'conflict'::text, 'unknown'::text, 'held'::text])))
);

COMMENT ON TABLE postmeter.stuck IS 'Deliveries that neither wait for their time nor are settled: the dead letters among deliveries. Kept by a trigger of delivery, whose status has no index, so that its updates stay in their page.';

COMMENT ON COLUMN postmeter.stuck.delivery_id IS 'The delivery.';

COMMENT ON COLUMN postmeter.stuck.destination_id IS 'Its destination.';

COMMENT ON COLUMN postmeter.stuck.status IS 'Its status.';

COMMENT ON COLUMN postmeter.stuck.since IS 'Since when.';

COMMENT ON COLUMN postmeter.stuck.again_at IS 'When maintenance considers it by itself: a buyer who was not entitled is asked for again, and what expired is rolled forward where the destination says so. Null: it waits for a person.';

CREATE VIEW postmeter.at_risk AS
 SELECT r.delivery_id,
    r.destination,
    r.key,
    r.hour,
    r.status,
    r.reason,
    r.quantity,
    r.amount,
    r.currency,
    r.deadline,
    (r.deadline - postmeter.clock()) AS time_left,
    r.tries,
    r.orgs
   FROM postmeter.remittance r
  WHERE ((NOT r.shadow) AND (r.status = ANY (ARRAY['open'::text, 'due'::text, 'in_flight'::text, 'held'::text, 'unknown'::text])) AND (r.deadline < (postmeter.clock() + '01:00:00'::interval)) AND (r.delivery_id IN ( SELECT o.delivery_id
           FROM postmeter.open_hour o
        UNION ALL
         SELECT q.delivery_id
           FROM postmeter.due q
        UNION ALL
         SELECT l.delivery_id
           FROM postmeter.later l
        UNION ALL
         SELECT s.delivery_id
           FROM postmeter.stuck s
          WHERE (s.status = ANY (ARRAY['held'::text, 'unknown'::text]))
        UNION ALL
         SELECT a.delivery_id
           FROM postmeter.open_attempts() a(attempt_id, delivery_id, worker_id))));

COMMENT ON VIEW postmeter.at_risk IS 'Remittances that miss their deadline within an hour unless something happens. Without shadows.';

COMMENT ON COLUMN postmeter.at_risk.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.at_risk.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.at_risk.key IS 'Canonical key of the remittance.';

COMMENT ON COLUMN postmeter.at_risk.hour IS 'The hour, UTC.';

COMMENT ON COLUMN postmeter.at_risk.status IS 'Where it stands: docs/states.md.';

COMMENT ON COLUMN postmeter.at_risk.reason IS 'Why it is held: a stable code.';

COMMENT ON COLUMN postmeter.at_risk.quantity IS 'Billing units, frozen by the cut; null while open.';

COMMENT ON COLUMN postmeter.at_risk.amount IS 'Billing units times unit price; null: unpriced, never zero.';

COMMENT ON COLUMN postmeter.at_risk.currency IS 'Currency of the amount; null: unpriced.';

COMMENT ON COLUMN postmeter.at_risk.deadline IS 'Last moment at which it may be sent, margin taken off.';

COMMENT ON COLUMN postmeter.at_risk.time_left IS 'Until then; below zero: passed.';

COMMENT ON COLUMN postmeter.at_risk.tries IS 'Attempts that count against the retry policy.';

COMMENT ON COLUMN postmeter.at_risk.orgs IS 'The orgs whose usage is in it.';

CREATE TABLE postmeter.attempt_default (
    id uuid DEFAULT postmeter.new_id() NOT NULL,
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    call_id uuid NOT NULL,
    worker_id uuid NOT NULL,
    number integer NOT NULL,
    claimed_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL
);

COMMENT ON TABLE postmeter.attempt_default IS 'Attempts for which no partition was made in time.';

CREATE VIEW postmeter.attempt_ledger AS
 SELECT a.id AS attempt_id,
    a.delivery_id,
    d.key,
    t.name AS destination,
    a.number,
    a.call_id,
    a.claimed_at,
    a.worker_id,
    COALESCE(o.outcome, 'open'::text) AS outcome,
    o.code,
    o.is_try,
    o.shown_quantity,
    o.receipt,
    o.http_status,
    o.their_request_id,
    o.excerpt,
    o.duration,
    o.recorded_at,
    d.quantity,
    d.status,
    d.shadow
   FROM (((postmeter.attempt a
     JOIN postmeter.delivery d ON ((d.id = a.delivery_id)))
     JOIN postmeter.destination t ON ((t.id = a.destination_id)))
     LEFT JOIN postmeter.outcome o ON ((o.attempt_id = a.id)));

COMMENT ON VIEW postmeter.attempt_ledger IS 'Every attempt with its outcome; open: a call may be under way, or its worker died. The evidence.';

COMMENT ON COLUMN postmeter.attempt_ledger.attempt_id IS 'UUIDv7, ordered by time.';

COMMENT ON COLUMN postmeter.attempt_ledger.delivery_id IS 'What was sent.';

COMMENT ON COLUMN postmeter.attempt_ledger.key IS 'Its key.';

COMMENT ON COLUMN postmeter.attempt_ledger.destination IS 'Where.';

COMMENT ON COLUMN postmeter.attempt_ledger.number IS 'Which attempt of this delivery, from 1.';

COMMENT ON COLUMN postmeter.attempt_ledger.call_id IS 'Attempts of one call share it.';

COMMENT ON COLUMN postmeter.attempt_ledger.claimed_at IS 'When the intent was written.';

COMMENT ON COLUMN postmeter.attempt_ledger.worker_id IS 'By whom.';

COMMENT ON COLUMN postmeter.attempt_ledger.outcome IS 'What was told; open: a call may be under way, or its worker died.';

COMMENT ON COLUMN postmeter.attempt_ledger.code IS 'The marketplace''s or the transport''s stable word.';

COMMENT ON COLUMN postmeter.attempt_ledger.is_try IS 'It counts against the policy.';

COMMENT ON COLUMN postmeter.attempt_ledger.shown_quantity IS 'The quantity they showed.';

COMMENT ON COLUMN postmeter.attempt_ledger.receipt IS 'Their receipt (AWS: MeteringRecordId).';

COMMENT ON COLUMN postmeter.attempt_ledger.http_status IS 'HTTP status.';

COMMENT ON COLUMN postmeter.attempt_ledger.their_request_id IS 'Their id of the call, to quote to their support.';

COMMENT ON COLUMN postmeter.attempt_ledger.excerpt IS 'What they said, bounded, without secrets.';

COMMENT ON COLUMN postmeter.attempt_ledger.duration IS 'How long the call took.';

COMMENT ON COLUMN postmeter.attempt_ledger.recorded_at IS 'When the outcome was written.';

COMMENT ON COLUMN postmeter.attempt_ledger.quantity IS 'What the delivery sends.';

COMMENT ON COLUMN postmeter.attempt_ledger.status IS 'Where the delivery stands now.';

COMMENT ON COLUMN postmeter.attempt_ledger.shadow IS 'Of a shadow: no call was made.';

CREATE TABLE postmeter.dropped_meter (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    buyer text NOT NULL COLLATE pg_catalog."C",
    dimension text NOT NULL COLLATE pg_catalog."C",
    month date NOT NULL,
    product text COLLATE pg_catalog."C",
    rounding text NOT NULL,
    decimals integer NOT NULL,
    month_end text NOT NULL,
    billed numeric NOT NULL,
    carried numeric NOT NULL,
    billable numeric NOT NULL,
    denominator numeric NOT NULL,
    cuts integer NOT NULL,
    common numeric,
    recorded numeric NOT NULL,
    accepted numeric NOT NULL,
    held numeric NOT NULL,
    expired numeric NOT NULL,
    written_off numeric NOT NULL,
    dry_run numeric NOT NULL,
    covered numeric NOT NULL,
    remains numeric NOT NULL,
    CONSTRAINT dropped_meter_closes CHECK ((recorded = ((((((accepted + held) + expired) + written_off) + dry_run) + covered) + remains)))
);

COMMENT ON TABLE postmeter.dropped_meter IS 'What a meter of a dropped billing month came to: balance, meter_list and month_close say of it what they said before. Append-only.';

COMMENT ON COLUMN postmeter.dropped_meter.id IS 'Number that the meter had.';

COMMENT ON COLUMN postmeter.dropped_meter.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.dropped_meter.buyer IS 'See meter.buyer.';

COMMENT ON COLUMN postmeter.dropped_meter.dimension IS 'See meter.dimension.';

COMMENT ON COLUMN postmeter.dropped_meter.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.dropped_meter.product IS 'Our product: the first of its metrics; null: it had none.';

COMMENT ON COLUMN postmeter.dropped_meter.rounding IS 'See meter.rounding.';

COMMENT ON COLUMN postmeter.dropped_meter.decimals IS 'See meter.decimals.';

COMMENT ON COLUMN postmeter.dropped_meter.month_end IS 'See meter.month_end.';

COMMENT ON COLUMN postmeter.dropped_meter.billed IS 'See meter.billed.';

COMMENT ON COLUMN postmeter.dropped_meter.carried IS 'See meter.carried.';

COMMENT ON COLUMN postmeter.dropped_meter.billable IS 'See meter.billable.';

COMMENT ON COLUMN postmeter.dropped_meter.denominator IS 'See meter.denominator.';

COMMENT ON COLUMN postmeter.dropped_meter.cuts IS 'See meter.cuts.';

COMMENT ON COLUMN postmeter.dropped_meter.common IS 'Common denominator of its factors, by which the following are multiplied; null: no metric was ever counted on it.';

COMMENT ON COLUMN postmeter.dropped_meter.recorded IS 'All usage allocated to it, in billing units x common, like all that follow: see balance.';

COMMENT ON COLUMN postmeter.dropped_meter.accepted IS 'Billed by accepted remittances.';

COMMENT ON COLUMN postmeter.dropped_meter.held IS 'By held ones: of a shadow only.';

COMMENT ON COLUMN postmeter.dropped_meter.expired IS 'By expired ones: of a shadow only.';

COMMENT ON COLUMN postmeter.dropped_meter.written_off IS 'By those that were written off.';

COMMENT ON COLUMN postmeter.dropped_meter.dry_run IS 'By those that ended as dry_run.';

COMMENT ON COLUMN postmeter.dropped_meter.covered IS 'Paid for by contracts.';

COMMENT ON COLUMN postmeter.dropped_meter.remains IS 'carried, in units x common: a remainder that was not billed, or (below zero) credit.';

CREATE TABLE postmeter.ledger_carry (
    month date NOT NULL,
    place text NOT NULL,
    org text NOT NULL,
    product text NOT NULL,
    metric text NOT NULL,
    meter_metric_id bigint,
    destination_id integer,
    delivery_id bigint,
    subscription_id bigint,
    hour timestamp with time zone,
    usages bigint NOT NULL,
    quantity numeric NOT NULL,
    CONSTRAINT ledger_carry_place_check CHECK ((place = ANY (ARRAY['recorded'::text, 'exempt'::text, 'written_off'::text, 'allocated'::text])))
);

COMMENT ON TABLE postmeter.ledger_carry IS 'What a dropped month of the ledger came to, of allocations per remittance, subscription, metric and hour: the balances and summaries add it, and say what they said before. Of remittances that were dropped, too, per org, metric and destination. Append-only.';

COMMENT ON COLUMN postmeter.ledger_carry.month IS 'The dropped month.';

COMMENT ON COLUMN postmeter.ledger_carry.place IS 'recorded (all usage), and where it was: exempt, written_off or allocated.';

COMMENT ON COLUMN postmeter.ledger_carry.org IS 'The org.';

COMMENT ON COLUMN postmeter.ledger_carry.product IS 'The product.';

COMMENT ON COLUMN postmeter.ledger_carry.metric IS 'The metric.';

COMMENT ON COLUMN postmeter.ledger_carry.meter_metric_id IS 'The meter and metric it was counted on, of what was allocated; null: its meter was dropped, and delivery_id, subscription_id and hour with it.';

COMMENT ON COLUMN postmeter.ledger_carry.destination_id IS 'Its destination, live or a shadow.';

COMMENT ON COLUMN postmeter.ledger_carry.delivery_id IS 'The remittance that counted it.';

COMMENT ON COLUMN postmeter.ledger_carry.subscription_id IS 'The subscription that matched.';

COMMENT ON COLUMN postmeter.ledger_carry.hour IS 'Its own hour.';

COMMENT ON COLUMN postmeter.ledger_carry.usages IS 'How many usages.';

COMMENT ON COLUMN postmeter.ledger_carry.quantity IS 'How much, in units of the metric.';

CREATE VIEW postmeter.meter_balance AS
 WITH factor AS NOT MATERIALIZED (
         SELECT mm.meter_id,
            mm.covered,
            ((mm.factor_numerator)::numeric * (postmeter.lcm_of((mm.factor_denominator)::numeric) OVER (PARTITION BY mm.meter_id) / (mm.factor_denominator)::numeric)) AS units,
            postmeter.lcm_of((mm.factor_denominator)::numeric) OVER (PARTITION BY mm.meter_id) AS denominator
           FROM postmeter.meter_metric mm
        ), covered AS (
         SELECT f.meter_id,
            sum((f.covered * f.units)) AS covered,
            max(f.denominator) AS denominator
           FROM factor f
          GROUP BY f.meter_id
        )
 SELECT c.meter_id,
    m.destination_id,
    m.month,
    c.denominator,
    c.covered,
    (m.carried * (c.denominator / m.denominator)) AS carried,
    (c.covered + (m.carried * (c.denominator / m.denominator))) AS holds
   FROM (covered c
     JOIN postmeter.meter m ON ((m.id = c.meter_id)));

COMMENT ON VIEW postmeter.meter_balance IS 'One side of the balance: what a meter holds, in billing units x denominator. The other: remittance_balance.';

COMMENT ON COLUMN postmeter.meter_balance.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.meter_balance.destination_id IS 'Its destination.';

COMMENT ON COLUMN postmeter.meter_balance.month IS 'First day of its billing month.';

COMMENT ON COLUMN postmeter.meter_balance.denominator IS 'Common denominator of the meter''s factors.';

COMMENT ON COLUMN postmeter.meter_balance.covered IS 'Paid for by contracts.';

COMMENT ON COLUMN postmeter.meter_balance.carried IS 'A remainder not billed yet, or (below zero) credit.';

COMMENT ON COLUMN postmeter.meter_balance.holds IS 'covered + carried: what its remittances must leave.';

CREATE VIEW postmeter.remittance_balance AS
 WITH factor AS NOT MATERIALIZED (
         SELECT mm.id,
            mm.meter_id,
            ((mm.factor_numerator)::numeric * (postmeter.lcm_of((mm.factor_denominator)::numeric) OVER (PARTITION BY mm.meter_id) / (mm.factor_denominator)::numeric)) AS units,
            postmeter.lcm_of((mm.factor_denominator)::numeric) OVER (PARTITION BY mm.meter_id) AS denominator
           FROM postmeter.meter_metric mm
        ), counted AS (
         SELECT d.meter_id,
            d.id,
            d.status,
            d.round
           FROM postmeter.delivery d
        UNION ALL
         SELECT p.meter_id,
            d.id,
            d.status,
            d.round
           FROM (postmeter.part p
             JOIN postmeter.delivery d ON (((d.id = p.delivery_id) AND (d.meter_id <> p.meter_id))))
        ), line AS (
         SELECT f.meter_id,
            f.denominator,
            d.id AS delivery_id,
            d.status,
            sum((u.quantity * f.units)) AS recorded,
            COALESCE(sum((a.quantity * f.units)) FILTER (WHERE ((d.status = 'open'::text) AND (a.round = d.round))), (0)::numeric) AS open,
            (0)::numeric AS billed,
            (0)::numeric AS shown
           FROM (((factor f
             JOIN counted d ON ((d.meter_id = f.meter_id)))
             JOIN postmeter.allocation a ON (((a.delivery_id = d.id) AND (a.meter_metric_id = f.id))))
             JOIN postmeter.usage u ON ((u.id = a.usage_id)))
          GROUP BY f.meter_id, f.denominator, d.id, d.status
        UNION ALL
         SELECT f.meter_id,
            f.denominator,
            c.delivery_id,
            d.status,
            sum((c.quantity * f.units)) AS sum,
            0,
            0,
            0
           FROM ((postmeter.ledger_carry c
             JOIN factor f ON ((f.id = c.meter_metric_id)))
             LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id)))
          GROUP BY f.meter_id, f.denominator, c.delivery_id, d.status
        UNION ALL
         SELECT f.meter_id,
            f.denominator,
            c.delivery_id,
            d.status,
            0,
            0,
            sum(c.to_bill) AS sum,
            sum(
                CASE
                    WHEN ((d.status = 'conflict'::text) AND (d.shown_quantity IS NOT NULL) AND (d.quantity > (0)::numeric)) THEN LEAST(c.to_bill, ((c.to_bill * d.shown_quantity) / d.quantity))
                    ELSE (0)::numeric
                END) AS sum
           FROM ((( SELECT DISTINCT x.meter_id,
                    x.denominator
                   FROM factor x) f
             JOIN postmeter.cut c ON ((c.meter_id = f.meter_id)))
             JOIN postmeter.delivery d ON ((d.id = c.delivery_id)))
          WHERE (d.status <> ALL (ARRAY['open'::text, 'nothing_due'::text, 'released'::text]))
          GROUP BY f.meter_id, f.denominator, c.delivery_id, d.status
        )
 SELECT l.meter_id,
    l.delivery_id,
    l.status,
    l.denominator,
    sum(l.recorded) AS recorded,
    sum(l.open) AS open,
    sum(l.billed) AS billed,
    sum(l.shown) AS shown,
    ((sum(l.recorded) - sum(l.open)) - (sum(l.billed) * l.denominator)) AS remains
   FROM line l
  GROUP BY l.meter_id, l.delivery_id, l.status, l.denominator;

COMMENT ON VIEW postmeter.remittance_balance IS 'One side of the balance: what each remittance leaves on a meter that it counts on. The other: meter_balance. Ask it by meter_id, or by meter_id and delivery_id.';

COMMENT ON COLUMN postmeter.remittance_balance.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.remittance_balance.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.remittance_balance.status IS 'Its status.';

COMMENT ON COLUMN postmeter.remittance_balance.denominator IS 'Common denominator of the meter''s factors.';

COMMENT ON COLUMN postmeter.remittance_balance.recorded IS 'Usage allocated to it on this meter, in billing units x denominator.';

COMMENT ON COLUMN postmeter.remittance_balance.open IS 'Of this, in its hour while that is open.';

COMMENT ON COLUMN postmeter.remittance_balance.billed IS 'Billing units that it bills for this meter; what was released is billed elsewhere.';

COMMENT ON COLUMN postmeter.remittance_balance.shown IS 'Of a conflict, the billing units that they hold.';

COMMENT ON COLUMN postmeter.remittance_balance.remains IS 'recorded - open - billed x denominator: what it leaves on the meter, as cover, remainder or credit.';

CREATE VIEW postmeter.balance AS
 WITH summed AS (
         SELECT r_1.meter_id,
            sum(r_1.recorded) AS recorded,
            sum(r_1.open) AS open,
            sum(r_1.remains) AS remains,
            sum(r_1.billed) FILTER (WHERE (r_1.status = ANY (ARRAY['due'::text, 'in_flight'::text]))) AS due,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'unknown'::text)) AS unknown,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'accepted'::text)) AS accepted,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'held'::text)) AS held,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'rejected'::text)) AS rejected,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'expired'::text)) AS expired,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'conflict'::text)) AS conflict,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'written_off'::text)) AS written_off,
            sum(r_1.billed) FILTER (WHERE (r_1.status = 'dry_run'::text)) AS dry_run,
            sum(r_1.shown) AS shown
           FROM postmeter.remittance_balance r_1
          GROUP BY r_1.meter_id
        )
 SELECT t.name AS destination,
    m.buyer,
    m.dimension,
    m.month,
    m.id AS meter_id,
    c.denominator,
    trim_scale(COALESCE(r.recorded, (0)::numeric)) AS recorded,
    trim_scale(COALESCE(r.open, (0)::numeric)) AS open,
    trim_scale((COALESCE(r.due, (0)::numeric) * c.denominator)) AS due,
    trim_scale((COALESCE(r.unknown, (0)::numeric) * c.denominator)) AS unknown,
    trim_scale(((COALESCE(r.accepted, (0)::numeric) + COALESCE(r.shown, (0)::numeric)) * c.denominator)) AS accepted,
    trim_scale((COALESCE(r.held, (0)::numeric) * c.denominator)) AS held,
    trim_scale((COALESCE(r.rejected, (0)::numeric) * c.denominator)) AS rejected,
    trim_scale((COALESCE(r.expired, (0)::numeric) * c.denominator)) AS expired,
    trim_scale(((COALESCE(r.conflict, (0)::numeric) - COALESCE(r.shown, (0)::numeric)) * c.denominator)) AS conflict,
    trim_scale((COALESCE(r.written_off, (0)::numeric) * c.denominator)) AS written_off,
    trim_scale((COALESCE(r.dry_run, (0)::numeric) * c.denominator)) AS dry_run,
    trim_scale(c.covered) AS covered,
    trim_scale(c.carried) AS carried,
    trim_scale((COALESCE(r.remains, (0)::numeric) - c.holds)) AS difference,
    (t.shadow_of IS NOT NULL) AS shadow
   FROM (((postmeter.meter m
     JOIN postmeter.destination t ON ((t.id = m.destination_id)))
     JOIN postmeter.meter_balance c ON ((c.meter_id = m.id)))
     LEFT JOIN summed r ON ((r.meter_id = m.id)))
UNION ALL
 SELECT t.name AS destination,
    k.buyer,
    k.dimension,
    k.month,
    k.id AS meter_id,
    k.common AS denominator,
    trim_scale(k.recorded) AS recorded,
    (0)::numeric AS open,
    (0)::numeric AS due,
    (0)::numeric AS unknown,
    trim_scale(k.accepted) AS accepted,
    trim_scale(k.held) AS held,
    (0)::numeric AS rejected,
    trim_scale(k.expired) AS expired,
    (0)::numeric AS conflict,
    trim_scale(k.written_off) AS written_off,
    trim_scale(k.dry_run) AS dry_run,
    trim_scale(k.covered) AS covered,
    trim_scale(k.remains) AS carried,
    trim_scale((((((((k.recorded - k.accepted) - k.held) - k.expired) - k.written_off) - k.dry_run) - k.covered) - k.remains)) AS difference,
    (t.shadow_of IS NOT NULL) AS shadow
   FROM (postmeter.dropped_meter k
     JOIN postmeter.destination t ON ((t.id = k.destination_id)))
  WHERE (k.common IS NOT NULL);

COMMENT ON VIEW postmeter.balance IS 'Per destination and meter, in billing units x denominator (exact): recorded = open + due + unknown + accepted + held + rejected + expired + conflict + written off + dry run + covered + carried. Carried is signed. The difference is zero at every moment. Quick by meter_id; sql/operations/balance_of_org.sql does that for each meter of an org. What waits in the outbox has no meter yet: see usage_balance. Meters of a shadow bear its name and the mark shadow.';

COMMENT ON COLUMN postmeter.balance.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.balance.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.balance.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.balance.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.balance.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.balance.denominator IS 'Common denominator of the meter''s factors; divide by it for billing units.';

COMMENT ON COLUMN postmeter.balance.recorded IS 'All usage allocated to it.';

COMMENT ON COLUMN postmeter.balance.open IS 'Of this, in hours that are still open.';

COMMENT ON COLUMN postmeter.balance.due IS 'Cut and to be sent, or in flight.';

COMMENT ON COLUMN postmeter.balance.unknown IS 'Billed by remittances that are unknown.';

COMMENT ON COLUMN postmeter.balance.accepted IS 'Billed by accepted remittances; of a conflict, what they hold.';

COMMENT ON COLUMN postmeter.balance.held IS 'Billed by remittances in that status.';

COMMENT ON COLUMN postmeter.balance.rejected IS 'Billed by remittances in that status.';

COMMENT ON COLUMN postmeter.balance.expired IS 'Billed by remittances in that status.';

COMMENT ON COLUMN postmeter.balance.conflict IS 'Billed by remittances in conflict, less what they hold.';

COMMENT ON COLUMN postmeter.balance.written_off IS 'Billed by remittances in that status.';

COMMENT ON COLUMN postmeter.balance.dry_run IS 'Billed by remittances that ended as dry_run.';

COMMENT ON COLUMN postmeter.balance.covered IS 'Paid for by contracts.';

COMMENT ON COLUMN postmeter.balance.carried IS 'A remainder not billed yet, or (below zero) credit.';

COMMENT ON COLUMN postmeter.balance.difference IS 'Zero at every moment.';

COMMENT ON COLUMN postmeter.balance.shadow IS 'A meter of a shadow: nothing of it was billed.';

CREATE TABLE postmeter.balance_anew (
    meter_id bigint NOT NULL,
    after bigint DEFAULT 0 NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON TABLE postmeter.balance_anew IS 'Meters whose remittances are all to be read again: in turn, on request, after commits were lost, and when a proof did not close.';

COMMENT ON COLUMN postmeter.balance_anew.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.balance_anew.after IS 'Its remittances up to this one have been read again.';

COMMENT ON COLUMN postmeter.balance_anew.asked_at IS 'Since when, in real time.';

CREATE TABLE postmeter.balance_check (
    one boolean DEFAULT true NOT NULL,
    next_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    checked_at timestamp with time zone,
    open bigint,
    example text,
    seconds double precision,
    break_id bigint DEFAULT 0 NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    round_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    round_ends_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    meters_after bigint DEFAULT 0,
    usage_after text DEFAULT ''::text COLLATE pg_catalog."C",
    round_seconds double precision DEFAULT 0 NOT NULL,
    whole_seconds double precision,
    whole_from timestamp with time zone,
    whole_until timestamp with time zone,
    CONSTRAINT balance_check_one_check CHECK (one),
    CONSTRAINT balance_check_open_check CHECK ((open >= 0)),
    CONSTRAINT balance_check_turn CHECK ((num_nulls(whole_from, whole_until, whole_seconds) = ANY (ARRAY[0, 3]))),
    CONSTRAINT balance_check_whole CHECK (((checked_at IS NULL) = (open IS NULL)))
);

COMMENT ON TABLE postmeter.balance_check IS 'What the last check of the balance found. One row; one worker of the fleet checks at a time.';

COMMENT ON COLUMN postmeter.balance_check.one IS 'There is one row.';

COMMENT ON COLUMN postmeter.balance_check.next_at IS 'No check before this, in real time.';

COMMENT ON COLUMN postmeter.balance_check.checked_at IS 'As of when everything that had been written was proven, in real time; null: never.';

COMMENT ON COLUMN postmeter.balance_check.open IS 'Meters, and orgs'' metrics, whose difference was not zero.';

COMMENT ON COLUMN postmeter.balance_check.example IS 'One of them.';

COMMENT ON COLUMN postmeter.balance_check.seconds IS 'How long the last check took, also one that was given up; without what was read again in turn.';

COMMENT ON COLUMN postmeter.balance_check.break_id IS 'The last timeline_break after which everything was asked to be read again.';

COMMENT ON COLUMN postmeter.balance_check.since IS 'Since when the balance is proven this way.';

COMMENT ON COLUMN postmeter.balance_check.round_at IS 'Since when the whole ledger is being read again; later than now: from then on. Real time.';

COMMENT ON COLUMN postmeter.balance_check.round_ends_at IS 'By when it is to be read: as much of it is read as of this time has passed.';

COMMENT ON COLUMN postmeter.balance_check.meters_after IS 'Meters up to this one have been read again; null: all.';

COMMENT ON COLUMN postmeter.balance_check.usage_after IS 'Usage up to this slice has been read again; null: all.';

COMMENT ON COLUMN postmeter.balance_check.round_seconds IS 'How long that has taken so far.';

COMMENT ON COLUMN postmeter.balance_check.whole_seconds IS 'How long it took the last time; null: not yet.';

COMMENT ON COLUMN postmeter.balance_check.whole_from IS 'The whole ledger was read between this time and whole_until, the last time it was; null: not yet.';

COMMENT ON COLUMN postmeter.balance_check.whole_until IS 'The end of that.';

CREATE TABLE postmeter.balance_gate (
    one boolean NOT NULL
);

COMMENT ON TABLE postmeter.balance_gate IS 'Empty. Whoever proves locks it for a transaction: one proves at a time, and sees what the one before kept.';

COMMENT ON COLUMN postmeter.balance_gate.one IS 'There is no row.';

CREATE TABLE postmeter.balance_moved (
    meter_id bigint NOT NULL,
    delivery_id bigint
);

ALTER TABLE ONLY postmeter.balance_moved REPLICA IDENTITY FULL;

COMMENT ON TABLE postmeter.balance_moved IS 'Meters, and remittances on them, that were written to and not proven since. Written by triggers in the writer''s own transaction: nobody proves before it what is committed later. One meter may stand here often.';

COMMENT ON COLUMN postmeter.balance_moved.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.balance_moved.delivery_id IS 'The remittance; null: only the meter itself.';

CREATE TABLE postmeter.proven_meter (
    meter_id bigint NOT NULL,
    denominator numeric NOT NULL,
    remains numeric NOT NULL,
    difference numeric,
    proven_at timestamp with time zone,
    read_at timestamp with time zone
);

COMMENT ON TABLE postmeter.proven_meter IS 'The proof of each meter. A write to it or to a remittance of it takes the proof back: the meter has a row in balance_moved until it is proven again.';

COMMENT ON COLUMN postmeter.proven_meter.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.proven_meter.denominator IS 'The meter''s denominator when it was proven.';

COMMENT ON COLUMN postmeter.proven_meter.remains IS 'What all its remittances leave, in billing units x that denominator.';

COMMENT ON COLUMN postmeter.proven_meter.difference IS 'remains less what the meter held then (meter_balance.holds); null: not proven yet.';

COMMENT ON COLUMN postmeter.proven_meter.proven_at IS 'As of when, in real time.';

COMMENT ON COLUMN postmeter.proven_meter.read_at IS 'When all its remittances were read last, in real time; null: from its first on as they were written.';

CREATE TABLE postmeter.timeline_break (
    id bigint NOT NULL,
    noticed_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    who text NOT NULL,
    why text NOT NULL,
    timeline text NOT NULL COLLATE pg_catalog."C",
    server_started_at timestamp with time zone NOT NULL,
    server text DEFAULT postmeter.server_identity() NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT timeline_break_who_check CHECK ((who <> ''::text)),
    CONSTRAINT timeline_break_why_check CHECK ((why <> ''::text))
);

COMMENT ON TABLE postmeter.timeline_break IS 'Moments since which the database lacks commits that it once had. Every remittance whose hour was over by then counts as possibly attempted (maybe_billed; what is cut later, at its cut): a duplicate is ours, and a refusal proves nothing.';

COMMENT ON COLUMN postmeter.timeline_break.id IS 'Number of the break.';

COMMENT ON COLUMN postmeter.timeline_break.noticed_at IS 'When it was noticed, on postmeter.clock().';

COMMENT ON COLUMN postmeter.timeline_break.who IS 'The worker or the person who noticed.';

COMMENT ON COLUMN postmeter.timeline_break.why IS 'What they saw.';

COMMENT ON COLUMN postmeter.timeline_break.timeline IS 'The server''s timeline now.';

COMMENT ON COLUMN postmeter.timeline_break.server_started_at IS 'When this server started: with server and timeline, what many workers notice at once is one break.';

COMMENT ON COLUMN postmeter.timeline_break.server IS 'On which server and in which of its databases (server_identity): a dump that is restored elsewhere brings the losses of before along, and is a loss of its own.';

CREATE VIEW postmeter.balance_proof AS
 SELECT t.name AS destination,
    m.month,
    count(*) AS meters,
    count(*) FILTER (WHERE ((p.proven_at IS NOT NULL) AND (NOT v.moved) AND (NOT v.anew))) AS proven,
    count(*) FILTER (WHERE v.moved) AS moved,
    count(*) FILTER (WHERE v.anew) AS anew,
    count(*) FILTER (WHERE (p.difference <> (0)::numeric)) AS open,
    min(p.proven_at) AS proven_from,
    max(p.proven_at) AS proven_until,
    min(p.read_at) AS read_from,
    max(p.read_at) AS read_until
   FROM ((((postmeter.meter m
     JOIN postmeter.destination t ON ((t.id = m.destination_id)))
     LEFT JOIN postmeter.proven_meter p ON ((p.meter_id = m.id)))
     CROSS JOIN ( SELECT (EXISTS ( SELECT
                   FROM postmeter.timeline_break x
                  WHERE (x.id > b.break_id))) AS is_broken
           FROM postmeter.balance_check b) c)
     CROSS JOIN LATERAL ( SELECT (EXISTS ( SELECT
                   FROM postmeter.balance_moved x
                  WHERE (x.meter_id = m.id))) AS moved,
            ((EXISTS ( SELECT
                   FROM postmeter.balance_anew x
                  WHERE (x.meter_id = m.id))) OR c.is_broken) AS anew) v)
  GROUP BY t.name, m.month;

COMMENT ON VIEW postmeter.balance_proof IS 'Per destination and month, how many meters'' balances are proven, as of when, and how many were written to since. A month that is over is proven once; a write to it takes the proof of that meter back.';

COMMENT ON COLUMN postmeter.balance_proof.destination IS 'The destination.';

COMMENT ON COLUMN postmeter.balance_proof.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.balance_proof.meters IS 'How many meters.';

COMMENT ON COLUMN postmeter.balance_proof.proven IS 'Of these, proven, and not written to since.';

COMMENT ON COLUMN postmeter.balance_proof.moved IS 'Of these, written to since they were proven.';

COMMENT ON COLUMN postmeter.balance_proof.anew IS 'Of these, being read again whole.';

COMMENT ON COLUMN postmeter.balance_proof.open IS 'Of these, those whose difference is not zero.';

COMMENT ON COLUMN postmeter.balance_proof.proven_from IS 'The oldest of their proofs; real time.';

COMMENT ON COLUMN postmeter.balance_proof.proven_until IS 'The newest of them.';

COMMENT ON COLUMN postmeter.balance_proof.read_from IS 'When the one of them was read whole that waits longest for its turn; those that were never are left out.';

COMMENT ON COLUMN postmeter.balance_proof.read_until IS 'When the last of them was.';

CREATE TABLE postmeter.breaker (
    destination_id integer NOT NULL,
    faults integer NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    open_until timestamp with time zone NOT NULL,
    probing_by uuid,
    probing_until timestamp with time zone,
    ramp integer,
    outcome text NOT NULL,
    code text,
    http_status integer,
    updated_at timestamp with time zone NOT NULL,
    probed_deadline timestamp with time zone,
    probed_delivery bigint,
    CONSTRAINT breaker_faults_check CHECK ((faults >= 1)),
    CONSTRAINT breaker_probe CHECK (((probing_by IS NULL) = (probing_until IS NULL))),
    CONSTRAINT breaker_ramp_check CHECK ((ramp >= 1)),
    CONSTRAINT breaker_recovers CHECK (((ramp IS NULL) OR (probing_by IS NULL)))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.breaker IS 'Destinations that have a fault as a whole, or recover from one. A healthy destination has no row. All times are real: clock_timestamp(), not postmeter.clock().';

COMMENT ON COLUMN postmeter.breaker.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.breaker.faults IS 'How often it opened in a row, failed probes included: the pause doubles with each.';

COMMENT ON COLUMN postmeter.breaker.opened_at IS 'Since when nothing, or not everything, is sent.';

COMMENT ON COLUMN postmeter.breaker.open_until IS 'No call before this; after it one worker of the fleet probes with one call.';

COMMENT ON COLUMN postmeter.breaker.probing_by IS 'The worker that may probe.';

COMMENT ON COLUMN postmeter.breaker.probing_until IS 'Until when it may: it ends by itself, should that worker die.';

COMMENT ON COLUMN postmeter.breaker.ramp IS 'Once a probe was answered: calls that each worker may have in flight. It doubles as they are answered; null: no call but the probe.';

COMMENT ON COLUMN postmeter.breaker.outcome IS 'Outcome of the last call that met the fault.';

COMMENT ON COLUMN postmeter.breaker.code IS 'Its code.';

COMMENT ON COLUMN postmeter.breaker.http_status IS 'Its HTTP status.';

COMMENT ON COLUMN postmeter.breaker.updated_at IS 'When a worker last wrote this row.';

COMMENT ON COLUMN postmeter.breaker.probed_deadline IS 'Deadline of the remittance that the last failed probe took: the next one takes another, behind it.';

COMMENT ON COLUMN postmeter.breaker.probed_delivery IS 'That remittance.';

CREATE VIEW postmeter.carried_place AS
 SELECT c.place,
    c.month,
    c.org,
    c.product,
    c.metric,
    c.quantity,
    c.usages,
        CASE
            WHEN (c.place = 'recorded'::text) THEN c.quantity
            ELSE (- c.quantity)
        END AS left_over,
        CASE
            WHEN (c.place = 'recorded'::text) THEN c.usages
            ELSE (- c.usages)
        END AS left_usages
   FROM (postmeter.ledger_carry c
     LEFT JOIN postmeter.destination t ON ((t.id = c.destination_id)))
  WHERE ((t.shadow_of IS NULL) AND ((c.meter_metric_id IS NULL) OR (EXISTS ( SELECT
           FROM postmeter.meter_metric mm
          WHERE (mm.id = c.meter_metric_id)))));

COMMENT ON VIEW postmeter.carried_place IS 'What usage_place came to of months of the ledger that were dropped.';

COMMENT ON COLUMN postmeter.carried_place.place IS 'As in usage_place.';

COMMENT ON COLUMN postmeter.carried_place.month IS 'The dropped month.';

COMMENT ON COLUMN postmeter.carried_place.org IS 'The org.';

COMMENT ON COLUMN postmeter.carried_place.product IS 'Our product.';

COMMENT ON COLUMN postmeter.carried_place.metric IS 'Our metric.';

COMMENT ON COLUMN postmeter.carried_place.quantity IS 'How much, in units of the metric.';

COMMENT ON COLUMN postmeter.carried_place.usages IS 'How many usages.';

COMMENT ON COLUMN postmeter.carried_place.left_over IS 'The quantity if it was recorded, and less the quantity where it was.';

COMMENT ON COLUMN postmeter.carried_place.left_usages IS 'The same of how many.';

CREATE TABLE postmeter.catalogue_change (
    id bigint NOT NULL,
    changed_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    changed_by text DEFAULT CURRENT_USER NOT NULL,
    entry text NOT NULL,
    old_row jsonb,
    new_row jsonb
);

COMMENT ON TABLE postmeter.catalogue_change IS 'History of the catalogue: every row before and after each change. Append-only.';

COMMENT ON COLUMN postmeter.catalogue_change.id IS 'Order of the changes.';

COMMENT ON COLUMN postmeter.catalogue_change.changed_at IS 'When.';

COMMENT ON COLUMN postmeter.catalogue_change.changed_by IS 'Database role that made it.';

COMMENT ON COLUMN postmeter.catalogue_change.entry IS 'Table of the catalogue.';

COMMENT ON COLUMN postmeter.catalogue_change.old_row IS 'The row before; null: it is new.';

COMMENT ON COLUMN postmeter.catalogue_change.new_row IS 'The row after; null: it was removed.';

ALTER TABLE postmeter.catalogue_change ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.catalogue_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE postmeter.catalogue_mark ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.catalogue_mark_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.console (
    id uuid NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    stopped_at timestamp with time zone
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.console IS 'One row per console process: its signs of life, in real time. Rows of a week ago are forgotten.';

COMMENT ON COLUMN postmeter.console.id IS 'Drawn anew at every start.';

COMMENT ON COLUMN postmeter.console.name IS 'Host and process, for people.';

COMMENT ON COLUMN postmeter.console.version IS 'Version of the program.';

COMMENT ON COLUMN postmeter.console.started_at IS 'When it started.';

COMMENT ON COLUMN postmeter.console.seen_at IS 'Its last sign of life; there is one every ten seconds.';

COMMENT ON COLUMN postmeter.console.stopped_at IS 'When it said that it stops; null: it has not.';

CREATE TABLE postmeter.contradiction (
    id bigint NOT NULL,
    noted_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    destination_id integer NOT NULL,
    delivery_id bigint,
    source text NOT NULL,
    says text NOT NULL,
    their_quantity numeric,
    evidence_id bigint,
    reconciliation_id bigint,
    buyer text,
    dimension text,
    said_by text,
    is_earlier boolean DEFAULT false NOT NULL,
    settled_as text,
    settled_by bigint,
    our_quantity numeric,
    decision_id bigint,
    CONSTRAINT contradiction_about CHECK (((delivery_id IS NOT NULL) <> (reconciliation_id IS NOT NULL))),
    CONSTRAINT contradiction_says_check CHECK ((says = ANY (ARRAY['held'::text, 'other_quantity'::text, 'not_held'::text]))),
    CONSTRAINT contradiction_source_check CHECK ((source = ANY (ARRAY['late_evidence'::text, 'reconciliation'::text, 'person'::text])))
);

COMMENT ON TABLE postmeter.contradiction IS 'Evidence that says something else than what was settled: late proof that they hold what a person called not billed, gave back or gave up; another quantity; a day of which they hold another sum. A row of its own until a person has judged it. Both sides: view contradiction_list.';

COMMENT ON COLUMN postmeter.contradiction.id IS 'Number of the contradiction.';

COMMENT ON COLUMN postmeter.contradiction.noted_at IS 'When it was noted, on postmeter.clock().';

COMMENT ON COLUMN postmeter.contradiction.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.contradiction.delivery_id IS 'The remittance; null: a day''s sum of a buyer and a dimension.';

COMMENT ON COLUMN postmeter.contradiction.source IS 'What says so: late_evidence, reconciliation or person (a report that was resolved).';

COMMENT ON COLUMN postmeter.contradiction.says IS 'What it says: they hold it, they hold another quantity, or they hold nothing.';

COMMENT ON COLUMN postmeter.contradiction.their_quantity IS 'What they hold; null: they did not say.';

COMMENT ON COLUMN postmeter.contradiction.evidence_id IS 'The late evidence; its attempt says which call it was.';

COMMENT ON COLUMN postmeter.contradiction.reconciliation_id IS 'The question about a day that was answered so.';

COMMENT ON COLUMN postmeter.contradiction.buyer IS 'Of a day''s sum: the buyer.';

COMMENT ON COLUMN postmeter.contradiction.dimension IS 'Of a day''s sum: the dimension.';

COMMENT ON COLUMN postmeter.contradiction.said_by IS 'Who asked or said so, if it was a person.';

COMMENT ON COLUMN postmeter.contradiction.is_earlier IS 'The attempt is of an earlier cut than the one that stands now.';

COMMENT ON COLUMN postmeter.contradiction.settled_as IS 'The remittance''s status when that was noted: our side.';

COMMENT ON COLUMN postmeter.contradiction.settled_by IS 'The person''s decision that settled it so; null: answers did.';

COMMENT ON COLUMN postmeter.contradiction.our_quantity IS 'Our quantity at that time.';

COMMENT ON COLUMN postmeter.contradiction.decision_id IS 'The decision that judged it; null: it is open.';

ALTER TABLE postmeter.contradiction ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.contradiction_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.decision (
    id bigint NOT NULL,
    decided_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    who text NOT NULL,
    why text NOT NULL,
    verb text NOT NULL,
    role_name text DEFAULT SESSION_USER NOT NULL,
    delivery_id bigint,
    usage_id uuid,
    destination_id integer,
    status_before text,
    status_after text,
    quantity numeric,
    target_delivery_id bigint,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT decision_verb_check CHECK ((verb = ANY (ARRAY['retry'::text, 'release'::text, 'write_off'::text, 'hold'::text, 'resolve'::text, 'pause'::text, 'resume'::text, 'probe'::text, 'close'::text, 'reopen'::text, 'apply'::text, 'retain'::text, 'export'::text, 'drop'::text, 'set_alert'::text, 'judge'::text, 'declare'::text, 'recount'::text]))),
    CONSTRAINT decision_who_check CHECK ((who <> ''::text)),
    CONSTRAINT decision_why_check CHECK ((why <> ''::text))
);

COMMENT ON TABLE postmeter.decision IS 'What people decided: who, why, and what it changed. Append-only.';

COMMENT ON COLUMN postmeter.decision.id IS 'Order of the decisions.';

COMMENT ON COLUMN postmeter.decision.decided_at IS 'When.';

COMMENT ON COLUMN postmeter.decision.who IS 'The person.';

COMMENT ON COLUMN postmeter.decision.why IS 'The reason, in a sentence.';

COMMENT ON COLUMN postmeter.decision.verb IS 'retry, release, recount, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue), retain (for how long the ledger is kept), export and drop (a month of the ledger), set_alert (a rule of the alerts), judge (a contradiction), declare (what this database is).';

COMMENT ON COLUMN postmeter.decision.role_name IS 'Database role that carried it out.';

COMMENT ON COLUMN postmeter.decision.delivery_id IS 'The delivery.';

COMMENT ON COLUMN postmeter.decision.usage_id IS 'The held usage.';

COMMENT ON COLUMN postmeter.decision.destination_id IS 'The destination (pause, resume, close, reopen).';

COMMENT ON COLUMN postmeter.decision.status_before IS 'Status before.';

COMMENT ON COLUMN postmeter.decision.status_after IS 'Status after.';

COMMENT ON COLUMN postmeter.decision.quantity IS 'Billing units concerned.';

COMMENT ON COLUMN postmeter.decision.target_delivery_id IS 'Where released quantity went.';

COMMENT ON COLUMN postmeter.decision.detail IS 'The filter and whatever else explains it.';

CREATE TABLE postmeter.dropped_remittance (
    delivery_id bigint NOT NULL,
    destination_id integer NOT NULL,
    meter_id bigint NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    hour timestamp with time zone NOT NULL,
    product text NOT NULL,
    status text NOT NULL,
    quantity numeric,
    shown_quantity numeric
);

COMMENT ON TABLE postmeter.dropped_remittance IS 'Dropped remittances about which somebody decided, or of which late evidence came: what that was about stays readable. Append-only.';

COMMENT ON COLUMN postmeter.dropped_remittance.delivery_id IS 'Number of the remittance.';

COMMENT ON COLUMN postmeter.dropped_remittance.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.dropped_remittance.meter_id IS 'Its meter: dropped_meter.';

COMMENT ON COLUMN postmeter.dropped_remittance.key IS 'See delivery.key.';

COMMENT ON COLUMN postmeter.dropped_remittance.hour IS 'See delivery.hour.';

COMMENT ON COLUMN postmeter.dropped_remittance.product IS 'See delivery.product.';

COMMENT ON COLUMN postmeter.dropped_remittance.status IS 'Where it stood for ever.';

COMMENT ON COLUMN postmeter.dropped_remittance.quantity IS 'See delivery.quantity.';

COMMENT ON COLUMN postmeter.dropped_remittance.shown_quantity IS 'See delivery.shown_quantity.';

CREATE TABLE postmeter.reconciliation (
    id bigint NOT NULL,
    destination_id integer NOT NULL,
    day date NOT NULL,
    asked_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    who text NOT NULL,
    CONSTRAINT reconciliation_who_check CHECK ((who <> ''::text))
);

COMMENT ON TABLE postmeter.reconciliation IS 'A marketplace was asked what it holds of a day. The latest answer for a day counts.';

COMMENT ON COLUMN postmeter.reconciliation.id IS 'Number of the question.';

COMMENT ON COLUMN postmeter.reconciliation.destination_id IS 'Who was asked.';

COMMENT ON COLUMN postmeter.reconciliation.day IS 'The day, in UTC: that is how fine marketplaces answer.';

COMMENT ON COLUMN postmeter.reconciliation.asked_at IS 'When, on postmeter.clock().';

COMMENT ON COLUMN postmeter.reconciliation.who IS 'Who asked.';

CREATE VIEW postmeter.contradiction_list AS
 SELECT c.id,
    c.noted_at,
    t.name AS destination,
    c.delivery_id,
    COALESCE(d.key, y.key) AS key,
    COALESCE(c.buyer, m.buyer) AS buyer,
    COALESCE(c.dimension, m.dimension) AS dimension,
    COALESCE(d.hour, y.hour) AS hour,
    b.day,
    c.source,
    c.says,
    trim_scale(c.their_quantity) AS their_quantity,
    e.attempt_id,
    e.outcome,
    e.code,
    e.receipt,
    e.their_request_id,
    COALESCE(e.recorded_at, b.asked_at, c.noted_at) AS said_at,
    c.said_by,
    c.is_earlier,
    c.settled_as,
    trim_scale(c.our_quantity) AS our_quantity,
    s.verb AS settled_verb,
    s.who AS settled_by,
    s.why AS settled_why,
    s.decided_at AS settled_at,
    COALESCE(d.status,
        CASE
            WHEN ((y.delivery_id IS NOT NULL) OR (c.settled_as = 'dropped'::text)) THEN 'dropped'::text
            ELSE NULL::text
        END) AS status,
    (c.decision_id IS NULL) AS is_open,
    (j.detail ->> 'counts'::text) AS counts,
    j.who AS judged_by,
    j.why AS judged_why,
    j.decided_at AS judged_at
   FROM ((((((((postmeter.contradiction c
     JOIN postmeter.destination t ON ((t.id = c.destination_id)))
     LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id)))
     LEFT JOIN postmeter.dropped_remittance y ON ((y.delivery_id = c.delivery_id)))
     LEFT JOIN postmeter.meter m ON ((m.id = d.meter_id)))
     LEFT JOIN postmeter.late_evidence e ON ((e.id = c.evidence_id)))
     LEFT JOIN postmeter.reconciliation b ON ((b.id = c.reconciliation_id)))
     LEFT JOIN postmeter.decision s ON ((s.id = c.settled_by)))
     LEFT JOIN postmeter.decision j ON ((j.id = c.decision_id)));

COMMENT ON VIEW postmeter.contradiction_list IS 'Contradictions with both sides: what they say, by which attempt or answer; as what it was settled here, by whom and why; and who judged it. Open ones need a person: postmeter judge.';

COMMENT ON COLUMN postmeter.contradiction_list.id IS 'Number of the contradiction.';

COMMENT ON COLUMN postmeter.contradiction_list.noted_at IS 'When it was noted, on postmeter.clock().';

COMMENT ON COLUMN postmeter.contradiction_list.destination IS 'The destination''s name.';

COMMENT ON COLUMN postmeter.contradiction_list.delivery_id IS 'The remittance; null: a day''s sum of a buyer and a dimension.';

COMMENT ON COLUMN postmeter.contradiction_list.key IS 'The remittance''s canonical key.';

COMMENT ON COLUMN postmeter.contradiction_list.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.contradiction_list.dimension IS 'The marketplace''s dimension.';

COMMENT ON COLUMN postmeter.contradiction_list.hour IS 'The remittance''s hour, UTC.';

COMMENT ON COLUMN postmeter.contradiction_list.day IS 'Of a day''s sum: the day.';

COMMENT ON COLUMN postmeter.contradiction_list.source IS 'What says so: late_evidence, reconciliation or person (a report that was resolved).';

COMMENT ON COLUMN postmeter.contradiction_list.says IS 'What it says: they hold it, they hold another quantity, or they hold nothing.';

COMMENT ON COLUMN postmeter.contradiction_list.their_quantity IS 'What they hold; null: they did not say.';

COMMENT ON COLUMN postmeter.contradiction_list.attempt_id IS 'Their side: the attempt that was answered late.';

COMMENT ON COLUMN postmeter.contradiction_list.outcome IS 'Its outcome.';

COMMENT ON COLUMN postmeter.contradiction_list.code IS 'The marketplace''s code in it.';

COMMENT ON COLUMN postmeter.contradiction_list.receipt IS 'Their receipt.';

COMMENT ON COLUMN postmeter.contradiction_list.their_request_id IS 'Their number of the request, for their support.';

COMMENT ON COLUMN postmeter.contradiction_list.said_at IS 'When they said so.';

COMMENT ON COLUMN postmeter.contradiction_list.said_by IS 'Who asked or said so, if it was a person.';

COMMENT ON COLUMN postmeter.contradiction_list.is_earlier IS 'The attempt is of an earlier cut than the one that stands now.';

COMMENT ON COLUMN postmeter.contradiction_list.settled_as IS 'Our side: the remittance''s status when it was noted.';

COMMENT ON COLUMN postmeter.contradiction_list.our_quantity IS 'Our quantity at that time.';

COMMENT ON COLUMN postmeter.contradiction_list.settled_verb IS 'The verb of the decision that settled it so; null: answers did.';

COMMENT ON COLUMN postmeter.contradiction_list.settled_by IS 'Who decided that.';

COMMENT ON COLUMN postmeter.contradiction_list.settled_why IS 'Why.';

COMMENT ON COLUMN postmeter.contradiction_list.settled_at IS 'When.';

COMMENT ON COLUMN postmeter.contradiction_list.status IS 'Where the remittance stands now; dropped: with its billing month.';

COMMENT ON COLUMN postmeter.contradiction_list.is_open IS 'Nobody has judged it yet.';

COMMENT ON COLUMN postmeter.contradiction_list.counts IS 'What counts, as it was judged: ours or theirs.';

COMMENT ON COLUMN postmeter.contradiction_list.judged_by IS 'Who judged it.';

COMMENT ON COLUMN postmeter.contradiction_list.judged_why IS 'Why.';

COMMENT ON COLUMN postmeter.contradiction_list.judged_at IS 'When.';

CREATE VIEW postmeter.correction_list AS
 SELECT c.id AS usage_id,
    c.source,
    c.event_id,
    c.corrects,
    o.id AS corrected_usage_id,
    c.org,
    c.account,
    c.product,
    c.metric,
    c.quantity,
    postmeter.hour_of(COALESCE(o.used_at, c.used_at)) AS hour,
    c.recorded_at,
        CASE
            WHEN (a.delivery_id IS NOT NULL) THEN 'allocated'::text
            WHEN (h.usage_id IS NOT NULL) THEN 'held'::text
            WHEN (x.usage_id IS NOT NULL) THEN 'exempt'::text
            WHEN (w.usage_id IS NOT NULL) THEN 'written_off'::text
            ELSE 'waiting'::text
        END AS whereabouts,
        CASE
            WHEN (a.delivery_id IS NOT NULL) THEN
            CASE
                WHEN a.is_open THEN 'waiting'::text
                ELSE 'counted'::text
            END
            WHEN ((x.usage_id IS NOT NULL) OR (w.usage_id IS NOT NULL)) THEN 'none'::text
            ELSE 'waiting'::text
        END AS effect,
    h.reason,
    t.name AS destination,
    a.delivery_id
   FROM (((((((postmeter.usage c
     LEFT JOIN LATERAL ( SELECT i_1.usage_id
           FROM postmeter.usage_identity i_1
          WHERE (i_1.identity = c.corrected_identity)) i ON (true))
     LEFT JOIN LATERAL ( SELECT u.id,
            u.used_at
           FROM postmeter.usage u
          WHERE (u.id = i.usage_id)) o ON (true))
     LEFT JOIN LATERAL ( SELECT y.destination_id,
            y.delivery_id,
            ((d.status = 'open'::text) AND (d.round = y.round)) AS is_open
           FROM ((postmeter.allocation y
             JOIN postmeter.destination l ON (((l.id = y.destination_id) AND (l.shadow_of IS NULL))))
             JOIN postmeter.delivery d ON ((d.id = y.delivery_id)))
          WHERE (y.usage_id = c.id)) a ON (true))
     LEFT JOIN postmeter.held h ON ((h.usage_id = c.id)))
     LEFT JOIN postmeter.exempted x ON ((x.usage_id = c.id)))
     LEFT JOIN postmeter.usage_written_off w ON ((w.usage_id = c.id)))
     LEFT JOIN postmeter.destination t ON ((t.id = COALESCE(a.destination_id, h.destination_id))))
  WHERE (c.corrected_identity IS NOT NULL);

COMMENT ON VIEW postmeter.correction_list IS 'Every correction, where it stands, and whether it lowers a bill. It stands where the usage stands that it corrects; of usage that is exempt or was given up it has no effect, and is kept.';

COMMENT ON COLUMN postmeter.correction_list.usage_id IS 'The correction.';

COMMENT ON COLUMN postmeter.correction_list.source IS 'The service that recorded it; with event_id its identity.';

COMMENT ON COLUMN postmeter.correction_list.event_id IS 'That service''s own id of it.';

COMMENT ON COLUMN postmeter.correction_list.corrects IS 'Event id, of the same source, of the usage that it corrects.';

COMMENT ON COLUMN postmeter.correction_list.corrected_usage_id IS 'The usage that it corrects; null: that was dropped with its month.';

COMMENT ON COLUMN postmeter.correction_list.org IS 'The org.';

COMMENT ON COLUMN postmeter.correction_list.account IS 'Which marketplace account, where the org has several.';

COMMENT ON COLUMN postmeter.correction_list.product IS 'The product.';

COMMENT ON COLUMN postmeter.correction_list.metric IS 'The metric.';

COMMENT ON COLUMN postmeter.correction_list.quantity IS 'Units of the metric, below zero.';

COMMENT ON COLUMN postmeter.correction_list.hour IS 'The hour of the usage that it corrects: there it counts.';

COMMENT ON COLUMN postmeter.correction_list.recorded_at IS 'When it was recorded.';

COMMENT ON COLUMN postmeter.correction_list.whereabouts IS 'waiting, held, exempt, written_off or allocated.';

COMMENT ON COLUMN postmeter.correction_list.effect IS 'counted: it has lowered its meter; waiting: it will, once its usage is counted; none: its usage is exempt or was given up, so there is nothing to lower.';

COMMENT ON COLUMN postmeter.correction_list.reason IS 'Why it is held.';

COMMENT ON COLUMN postmeter.correction_list.destination IS 'Where its usage is owed, if that is known.';

COMMENT ON COLUMN postmeter.correction_list.delivery_id IS 'The remittance that counts, or counted, the usage that it corrects.';

CREATE TABLE postmeter.cure (
    id bigint NOT NULL,
    wanted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON TABLE postmeter.cure IS 'Changes of the catalogue after which more usage was held than one transaction looks at: maintenance looks at the rest, in shares, and deletes the row.';

COMMENT ON COLUMN postmeter.cure.id IS 'Number of the mark.';

COMMENT ON COLUMN postmeter.cure.wanted_at IS 'When the catalogue changed; the server''s time.';

ALTER TABLE postmeter.cure ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.cure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.doubt (
    delivery_id bigint NOT NULL,
    break_id bigint NOT NULL,
    noted_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    status text NOT NULL,
    decision_id bigint
);

COMMENT ON TABLE postmeter.doubt IS 'Settled remittances that may have been retried and accepted, or given to another hour, in a time that the database lost (timeline_break). Their status and the balance stay; sending or releasing them asks first: a person resolves them.';

COMMENT ON COLUMN postmeter.doubt.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.doubt.break_id IS 'The break.';

COMMENT ON COLUMN postmeter.doubt.noted_at IS 'When, on postmeter.clock().';

COMMENT ON COLUMN postmeter.doubt.status IS 'Where it stood when the database came back.';

COMMENT ON COLUMN postmeter.doubt.decision_id IS 'The decision that ended it; null: nobody has looked yet.';

CREATE VIEW postmeter.dead_letter AS
 SELECT l.delivery_id,
    l.usage_id,
    l.destination,
    l.class,
    l.code,
    l.org,
    l.product,
    l.metric,
    l.dimension,
    l.hour,
    l.key,
    l.quantity,
    l.amount,
    l.currency,
    l.since,
    l.deadline,
    l.maybe_billed,
        CASE
            WHEN (x.delivery_id IS NULL) THEN l.what_to_do
            ELSE 'may have been sent in the time that was lost: look it up at the marketplace, then resolve'::text
        END AS what_to_do,
    l.orgs,
    l.item
   FROM (( SELECT l_1.delivery_id,
            l_1.usage_id,
            l_1.destination,
            l_1.class,
            l_1.code,
            l_1.org,
            l_1.product,
            l_1.metric,
            l_1.dimension,
            l_1.hour,
            l_1.key,
            l_1.quantity,
            l_1.amount,
            l_1.currency,
            l_1.since,
            l_1.deadline,
            l_1.maybe_billed,
            l_1.what_to_do,
            l_1.orgs,
            l_1.item
           FROM ( SELECT r.delivery_id,
                    NULL::uuid AS usage_id,
                    r.destination,
                    r.status AS class,
                    COALESCE(r.reason, x_1.code) AS code,
                    NULL::text AS org,
                    r.product,
                    NULL::text AS metric,
                    r.dimension,
                    r.hour,
                    r.key,
                    r.quantity,
                    r.amount,
                    r.currency,
                    s.since,
                    r.deadline,
                    r.maybe_billed,
                        CASE
                            WHEN ((r.reason = 'lost_time'::text) AND (NOT r.maybe_billed)) THEN 'no hour of its month can take it any more: write it off'::text
                            WHEN (r.reason = 'lost_time'::text) THEN 'see whether they hold it with another hour of that time, then resolve as billed or not billed'::text
                            WHEN r.maybe_billed THEN 'look it up at the marketplace, then resolve'::text
                            WHEN (r.status = 'conflict'::text) THEN (
                            CASE
                                WHEN (EXISTS ( SELECT
                                   FROM (postmeter.destination y
                                     JOIN postmeter.closed_month z ON (((z.destination_id = y.id) AND (z.month = r.month))))
                                  WHERE (y.name = r.destination))) THEN 'reopen its month, then '::text
                                ELSE ''::text
                            END || 'compare with what they hold: resolve as billed, and it counts as they hold it; write off only if they hold nothing of it any more'::text)
                            WHEN (r.quantity = (0)::numeric) THEN (
                            CASE
                                WHEN ((r.deadline >= c.now) AND (r.status <> 'expired'::text)) THEN 'mend the cause, then retry; or '::text
                                ELSE ''::text
                            END || 'write off: nothing was used in that hour'::text)
                            WHEN ((r.status = 'held'::text) AND (r.reason = 'invalid_subscription'::text) AND (r.deadline >= c.now)) THEN 'asked again by itself until its deadline; mend the subscription there, or the catalogue and recount'::text
                            WHEN (r.reason = 'quantity_out_of_range'::text) THEN (COALESCE((postmeter.release_needs(ARRAY( SELECT k.meter_id
                               FROM postmeter.cut k
                              WHERE ((k.delivery_id = r.delivery_id) AND (k.to_bill > (0)::numeric)))) || ', then '::text), ''::text) || 'correct its usage, then release; or write off'::text)
                            WHEN ((r.deadline < c.now) OR (r.status = 'expired'::text)) THEN COALESCE((('write off, or '::text || postmeter.release_needs(ARRAY( SELECT k.meter_id
                               FROM postmeter.cut k
                              WHERE ((k.delivery_id = r.delivery_id) AND (k.to_bill > (0)::numeric))))) || ' and release (recount as late usage, if the catalogue was mistaken)'::text), 'release to another hour of its month (recount as late usage, if the catalogue was mistaken), or write off'::text)
                            ELSE (('mend the cause, then retry; if it was the catalogue, mend that, '::text ||
                            CASE
                                WHEN (EXISTS ( SELECT
                                   FROM (postmeter.destination y
                                     JOIN postmeter.closed_month z ON (((z.destination_id = y.id) AND (z.month = r.month))))
                                  WHERE (y.name = r.destination))) THEN 'reopen its month, '::text
                                ELSE ''::text
                            END) || 'then recount'::text)
                        END AS what_to_do,
                    r.orgs,
                    ('remittance '::text || r.delivery_id) AS item
                   FROM (((postmeter.stuck s
                     CROSS JOIN ( SELECT postmeter.clock() AS now) c)
                     JOIN postmeter.remittance r ON (((r.delivery_id = s.delivery_id) AND (NOT r.shadow))))
                     LEFT JOIN LATERAL ( SELECT o.code
                           FROM (postmeter.attempt a
                             JOIN postmeter.outcome o ON ((o.attempt_id = a.id)))
                          WHERE (a.delivery_id = s.delivery_id)
                          ORDER BY a.number DESC
                         LIMIT 1) x_1 ON (true))
                UNION ALL
                 SELECT NULL::bigint AS delivery_id,
                    h.usage_id,
                    t.name,
                    'held usage'::text AS class,
                    h.reason,
                    h.org,
                    h.product,
                    h.metric,
                    NULL::text AS dimension,
                    h.hour,
                    NULL::text AS key,
                    h.quantity,
                    NULL::numeric AS amount,
                    NULL::text AS currency,
                    h.held_at,
                    h.deadline,
                    false AS maybe_billed,
                        CASE
                            CASE
                                WHEN ((h.reason = 'month_closed'::text) AND postmeter.month_is_dropped(h.destination_id, postmeter.month_of(h.hour, t.zone))) THEN 'dropped'::text
                                ELSE h.reason
                            END
                            WHEN 'dropped'::text THEN 'write off: its month was dropped'::text
                            WHEN 'too_late'::text THEN
                            CASE
                                WHEN ((h.corrected_id IS NOT NULL) AND (NOT (EXISTS ( SELECT
                                   FROM postmeter.held x_1
                                  WHERE (x_1.usage_id = h.corrected_id))))) THEN 'write off: what it corrects is not there any more'::text
                                ELSE COALESCE((('write off, or '::text || postmeter.held_needs(h.*)) || ' and retry'::text), 'retry, or write off'::text)
                            END
                            WHEN 'month_closed'::text THEN (('write off, or '::text || COALESCE((postmeter.held_needs(h.*) || ' and '::text), ''::text)) || 'reopen the month: it then goes on by itself'::text)
                            WHEN 'poison'::text THEN 'report it, then retry'::text
                            WHEN 'lost_time'::text THEN 'see whether they hold it with another hour of that time: write off if so, else retry'::text
                            WHEN 'by_operator'::text THEN 'retry when that is over'::text
                            WHEN 'implausible'::text THEN 'retry counts it if it is right; else correct it, then retry, or write off'::text
                            ELSE 'mend the catalogue: it then goes on by itself'::text
                        END AS what_to_do,
                    ARRAY[h.org] AS orgs,
                    ('usage '::text || h.usage_id) AS item
                   FROM (postmeter.held h
                     LEFT JOIN postmeter.destination t ON ((t.id = h.destination_id)))
                  WHERE ((h.reason = ANY (ARRAY['too_late'::text, 'lost_time'::text, 'poison'::text, 'implausible'::text])) OR (COALESCE(h.deadline, (h.held_at + '1 day'::interval)) < postmeter.clock()))
                UNION ALL
                 SELECT NULL::bigint AS delivery_id,
                    NULL::uuid AS usage_id,
                    t.name,
                    'stranded'::text AS class,
                    'no_hour_left'::text AS code,
                    NULL::text AS org,
                    NULL::text AS product,
                    NULL::text AS metric,
                    m.dimension,
                    NULL::timestamp with time zone AS hour,
                    ((m.buyer || '/'::text) || m.dimension) AS key,
                    m.billable,
                    NULL::numeric AS amount,
                    NULL::text AS currency,
                    NULL::timestamp with time zone AS since,
                    NULL::timestamp with time zone AS deadline,
                    false AS maybe_billed,
                    (postmeter.release_needs(ARRAY[m.id]) || ': the running hour then takes it; else it is lost'::text) AS what_to_do,
                    '{}'::text[] AS orgs,
                    ('meter '::text || m.id) AS item
                   FROM (postmeter.meter m
                     JOIN postmeter.destination t ON ((t.id = m.destination_id)))
                  WHERE ((m.billable > (0)::numeric) AND (t.shadow_of IS NULL) AND (postmeter.target_hour(m.id) IS NULL) AND (postmeter.release_needs(ARRAY[m.id]) IS NOT NULL) AND ((t.late_policy <> 'part'::text) OR (NOT (EXISTS ( SELECT
                           FROM postmeter.subscription b
                          WHERE ((b.destination_id = m.destination_id) AND (b.buyer = m.buyer) AND (b.valid_from <= postmeter.clock()) AND ((b.valid_until IS NULL) OR (postmeter.clock() < b.valid_until))))))) AND (NOT (EXISTS ( SELECT
                           FROM (postmeter.delivery d
                             JOIN postmeter.open_hour o ON ((o.delivery_id = d.id)))
                          WHERE (d.meter_id = m.id)))))
                UNION ALL
                 SELECT d.id AS delivery_id,
                    u.id AS usage_id,
                    COALESCE(t.name, dt.name, mt.name) AS name,
                    'set aside'::text AS class,
                    COALESCE(s.code, 'unknown'::text) AS code,
                    u.org,
                    COALESCE(u.product, d.product) AS product,
                    u.metric,
                    COALESCE(dm.dimension, m.dimension) AS dimension,
                    COALESCE(d.hour, postmeter.hour_of(u.used_at)) AS hour,
                    d.key,
                    u.quantity,
                    NULL::numeric AS amount,
                    NULL::text AS currency,
                    s.set_aside_at,
                    d.deadline,
                    false AS maybe_billed,
                    'mend what the reason in postmeter.setback names: it is tried again by itself'::text AS what_to_do,
                        CASE
                            WHEN (u.org IS NULL) THEN '{}'::text[]
                            ELSE ARRAY[u.org]
                        END AS orgs,
                    (((s.step || ' '::text) || s.member) COLLATE "default") AS item
                   FROM (((((((postmeter.setback s
                     LEFT JOIN postmeter.destination t ON ((t.id = s.destination_id)))
                     LEFT JOIN postmeter.usage u ON (((s.step = 'fold'::text) AND (u.id =
                        CASE
                            WHEN (s.member ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'::text) THEN (s.member)::uuid
                            ELSE NULL::uuid
                        END))))
                     LEFT JOIN postmeter.delivery d ON (((s.step = ANY (ARRAY['cut'::text, 'review'::text, 'reconsider'::text, 'promote'::text])) AND (d.id =
                        CASE
                            WHEN (s.member ~ '^[0-9]{1,18}$'::text) THEN (s.member)::bigint
                            ELSE NULL::bigint
                        END))))
                     LEFT JOIN postmeter.destination dt ON ((dt.id = d.destination_id)))
                     LEFT JOIN postmeter.meter dm ON ((dm.id = d.meter_id)))
                     LEFT JOIN postmeter.meter m ON (((s.step = ANY (ARRAY['carry'::text, 'month_end'::text])) AND (m.id =
                        CASE
                            WHEN (s.member ~ '^[0-9]{1,18}$'::text) THEN (s.member)::bigint
                            ELSE NULL::bigint
                        END))))
                     LEFT JOIN postmeter.destination mt ON ((mt.id = m.destination_id)))
                  WHERE ((s.set_aside_at IS NOT NULL) AND (s.step !~~ 'shadow%'::text))) l_1
          ORDER BY l_1.amount DESC NULLS LAST, l_1.quantity DESC NULLS LAST, l_1.since) l
     LEFT JOIN postmeter.doubt x ON (((x.delivery_id = l.delivery_id) AND (x.decision_id IS NULL))))
UNION ALL
 SELECT c.delivery_id,
    NULL::uuid AS usage_id,
    t.name AS destination,
    'contradiction'::text AS class,
    c.says AS code,
    NULL::text AS org,
    d.product,
    NULL::text AS metric,
    COALESCE(c.dimension, m.dimension) AS dimension,
    d.hour,
    COALESCE(d.key, ((((c.buyer || '/'::text) || c.dimension) || ', '::text) || (b.day)::text)) AS key,
    COALESCE(c.their_quantity, c.our_quantity) AS quantity,
    NULL::numeric AS amount,
    NULL::text AS currency,
    c.noted_at AS since,
    d.deadline,
    COALESCE(d.maybe_billed, false) AS maybe_billed,
        CASE
            WHEN ((c.delivery_id IS NULL) OR c.is_earlier) THEN (('compare with what they hold, then judge contradiction '::text || c.id) || ' as ours'::text)
            ELSE (('compare with what they hold, then judge contradiction '::text || c.id) || ' as theirs or ours'::text)
        END AS what_to_do,
    '{}'::text[] AS orgs,
    ('contradiction '::text || c.id) AS item
   FROM ((((postmeter.contradiction c
     JOIN postmeter.destination t ON ((t.id = c.destination_id)))
     LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id)))
     LEFT JOIN postmeter.meter m ON ((m.id = d.meter_id)))
     LEFT JOIN postmeter.reconciliation b ON ((b.id = c.reconciliation_id)))
  WHERE (c.decision_id IS NULL)
  ORDER BY 13 DESC NULLS LAST, 12 DESC NULLS LAST, 15;

COMMENT ON VIEW postmeter.dead_letter IS 'What needs a person, the dearest first: rejected, expired, conflict, unknown and held remittances; usage that is held beyond its policy (its deadline has passed, or a day without a destination, or too late, poison, or recorded before commits were lost); quantity of a meter that no hour of its month can take any more; what a step has set aside because it fails; and open contradictions. What is unpriced ranks by quantity after what has an amount; amounts are never added over currencies. Without shadows.';

COMMENT ON COLUMN postmeter.dead_letter.delivery_id IS 'The remittance; null: it is none.';

COMMENT ON COLUMN postmeter.dead_letter.usage_id IS 'The held usage; null: it is none.';

COMMENT ON COLUMN postmeter.dead_letter.destination IS 'Where it goes, if that is known.';

COMMENT ON COLUMN postmeter.dead_letter.class IS 'rejected, expired, conflict, unknown, held, held usage, stranded, set aside or contradiction.';

COMMENT ON COLUMN postmeter.dead_letter.code IS 'The reason, the code of the last answer, the SQLSTATE with which a step failed, or what a contradiction says.';

COMMENT ON COLUMN postmeter.dead_letter.org IS 'Org of held usage; else see orgs.';

COMMENT ON COLUMN postmeter.dead_letter.product IS 'Our product, by stable tag.';

COMMENT ON COLUMN postmeter.dead_letter.metric IS 'Metric of held usage.';

COMMENT ON COLUMN postmeter.dead_letter.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.dead_letter.hour IS 'The hour, UTC.';

COMMENT ON COLUMN postmeter.dead_letter.key IS 'Canonical key of the remittance.';

COMMENT ON COLUMN postmeter.dead_letter.quantity IS 'Billing units; of held usage, units of its metric.';

COMMENT ON COLUMN postmeter.dead_letter.amount IS 'Billing units times unit price; null: unpriced, never zero.';

COMMENT ON COLUMN postmeter.dead_letter.currency IS 'Currency of the amount; null: unpriced.';

COMMENT ON COLUMN postmeter.dead_letter.since IS 'Since when it is stuck.';

COMMENT ON COLUMN postmeter.dead_letter.deadline IS 'Until when its hour can be sent.';

COMMENT ON COLUMN postmeter.dead_letter.maybe_billed IS 'An attempt may have arrived: look there first.';

COMMENT ON COLUMN postmeter.dead_letter.what_to_do IS 'In words.';

COMMENT ON COLUMN postmeter.dead_letter.orgs IS 'Of a remittance all orgs in it, of held usage its own.';

COMMENT ON COLUMN postmeter.dead_letter.item IS 'Which one, as one text that is unique in this view.';

ALTER TABLE postmeter.deadline_change ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.deadline_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE postmeter.decision ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.decision_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW postmeter.decision_log AS
 SELECT c.id,
    c.decided_at,
    c.who,
    c.why,
    c.verb,
    c.role_name,
    c.delivery_id,
    COALESCE(d.key, y.key) AS key,
    c.usage_id,
    t.name AS destination,
    c.status_before,
    c.status_after,
    c.quantity,
    c.target_delivery_id,
    c.detail
   FROM (((postmeter.decision c
     LEFT JOIN postmeter.delivery d ON ((d.id = c.delivery_id)))
     LEFT JOIN postmeter.dropped_remittance y ON ((y.delivery_id = c.delivery_id)))
     LEFT JOIN postmeter.destination t ON ((t.id = COALESCE(c.destination_id, d.destination_id, y.destination_id))));

COMMENT ON VIEW postmeter.decision_log IS 'What people decided, and why.';

COMMENT ON COLUMN postmeter.decision_log.id IS 'Number.';

COMMENT ON COLUMN postmeter.decision_log.decided_at IS 'When.';

COMMENT ON COLUMN postmeter.decision_log.who IS 'The person, or the name of a token.';

COMMENT ON COLUMN postmeter.decision_log.why IS 'The reason, in a sentence.';

COMMENT ON COLUMN postmeter.decision_log.verb IS 'retry, release, recount, write_off, hold, resolve, pause, resume, probe, close, reopen, apply (a catalogue over HTTP), retain, export, drop, set_alert, judge, declare.';

COMMENT ON COLUMN postmeter.decision_log.role_name IS 'Database role that carried it out.';

COMMENT ON COLUMN postmeter.decision_log.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.decision_log.key IS 'Canonical key of the remittance.';

COMMENT ON COLUMN postmeter.decision_log.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.decision_log.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.decision_log.status_before IS 'Status before.';

COMMENT ON COLUMN postmeter.decision_log.status_after IS 'Status after.';

COMMENT ON COLUMN postmeter.decision_log.quantity IS 'Billing units concerned; of held usage, units of its metric.';

COMMENT ON COLUMN postmeter.decision_log.target_delivery_id IS 'Where released quantity went.';

COMMENT ON COLUMN postmeter.decision_log.detail IS 'The filter, and whatever else explains it.';

ALTER TABLE postmeter.delivery ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.delivery_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW postmeter.queue AS
 SELECT t.name AS destination,
    t.paused,
    t.dry_run,
    COALESCE(q.due, (0)::bigint) AS due,
    COALESCE(l.later, (0)::bigint) AS later,
    COALESCE(o.open, (0)::bigint) AS open,
    q.earliest AS earliest_deadline,
    l.next_at,
    (t.shadow_of IS NOT NULL) AS shadow
   FROM (((postmeter.destination t
     LEFT JOIN ( SELECT due.destination_id,
            count(*) AS due,
            min(due.deadline) AS earliest
           FROM postmeter.due
          GROUP BY due.destination_id) q ON ((q.destination_id = t.id)))
     LEFT JOIN ( SELECT later.destination_id,
            count(*) AS later,
            min(later.due_at) AS next_at
           FROM postmeter.later
          GROUP BY later.destination_id) l ON ((l.destination_id = t.id)))
     LEFT JOIN ( SELECT open_hour.destination_id,
            count(*) AS open
           FROM postmeter.open_hour
          GROUP BY open_hour.destination_id) o ON ((o.destination_id = t.id)));

COMMENT ON VIEW postmeter.queue IS 'Per destination: how much is due, waits for another try, or is still open, and the earliest deadline.';

COMMENT ON COLUMN postmeter.queue.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.queue.paused IS 'A person stopped sending.';

COMMENT ON COLUMN postmeter.queue.dry_run IS 'Everything is done but the call.';

COMMENT ON COLUMN postmeter.queue.due IS 'Deliveries to send now.';

COMMENT ON COLUMN postmeter.queue.later IS 'Deliveries waiting for another try.';

COMMENT ON COLUMN postmeter.queue.open IS 'Hours that still collect.';

COMMENT ON COLUMN postmeter.queue.earliest_deadline IS 'Of what is due.';

COMMENT ON COLUMN postmeter.queue.next_at IS 'When the next of the waiting is due.';

COMMENT ON COLUMN postmeter.queue.shadow IS 'It counts beside a live destination, and never calls.';

CREATE TABLE postmeter.worker (
    id uuid NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    lease interval NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    unbroken_since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    oldest_attempt uuid,
    sleeping boolean DEFAULT false NOT NULL,
    folding jsonb,
    knows integer,
    stopped_at timestamp with time zone,
    reaped_at timestamp with time zone,
    acknowledged jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT worker_lease_check CHECK ((lease >= '00:00:01'::interval))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.worker IS 'One row per worker process: its heartbeat, in real time.';

COMMENT ON COLUMN postmeter.worker.id IS 'Drawn anew at every start.';

COMMENT ON COLUMN postmeter.worker.name IS 'Host and process, for people.';

COMMENT ON COLUMN postmeter.worker.version IS 'Version of the program.';

COMMENT ON COLUMN postmeter.worker.started_at IS 'When it started.';

COMMENT ON COLUMN postmeter.worker.heartbeat_at IS 'Last heartbeat.';

COMMENT ON COLUMN postmeter.worker.lease IS 'How long a heartbeat is good for.';

COMMENT ON COLUMN postmeter.worker.lease_until IS 'After this its claims may be taken over.';

COMMENT ON COLUMN postmeter.worker.unbroken_since IS 'Since when its heartbeats came in time: only a worker that has itself been well for a lease takes over others'' claims, so that after an outage of the database all get a chance.';

COMMENT ON COLUMN postmeter.worker.oldest_attempt IS 'None of its attempts before this one was open at the last heartbeat; where the reaper starts to look. Null: at the first.';

COMMENT ON COLUMN postmeter.worker.sleeping IS 'It waits for a notification: inserts into due send one.';

COMMENT ON COLUMN postmeter.worker.folding IS 'What it has in hand: per shard the first and the last entry of its fold (spans) and of its fold of what did not go through before (apart), or the suspect range (suspect). Null: it folds nothing.';

COMMENT ON COLUMN postmeter.worker.knows IS 'Number of the newest migration that its program knows: `postmeter migrate` leaves what would break it until it is gone.';

COMMENT ON COLUMN postmeter.worker.stopped_at IS 'It stopped by itself.';

COMMENT ON COLUMN postmeter.worker.reaped_at IS 'Its claims were taken over.';

COMMENT ON COLUMN postmeter.worker.acknowledged IS 'By number of destination: the version by which it acts (no call begins by an older one any more), and how many calls were on the wire when it said so.';

CREATE VIEW postmeter.destination_health AS
 SELECT t.name AS destination,
    t.paused,
        CASE
            WHEN (b.destination_id IS NULL) THEN 'closed'::text
            WHEN (b.ramp IS NOT NULL) THEN 'recovering'::text
            WHEN (b.open_until > clock_timestamp()) THEN 'open'::text
            ELSE 'half_open'::text
        END AS breaker,
    b.opened_at AS since,
        CASE
            WHEN (b.ramp IS NULL) THEN b.open_until
            ELSE NULL::timestamp with time zone
        END AS next_probe_at,
        CASE
            WHEN (b.probing_until > clock_timestamp()) THEN ( SELECT w.name
               FROM postmeter.worker w
              WHERE (w.id = b.probing_by))
            ELSE NULL::text
        END AS probing,
    b.ramp,
    b.faults,
    b.outcome AS last_outcome,
    b.code AS last_code,
    b.http_status AS last_http_status,
    b.updated_at AS changed_at,
    q.due,
    q.later,
    q.earliest_deadline,
    q.shadow,
    t.kind,
    t.zone,
    t.dry_run,
    q.open
   FROM ((postmeter.destination t
     JOIN postmeter.queue q ON ((q.destination = t.name)))
     LEFT JOIN postmeter.breaker b ON ((b.destination_id = t.id)));

COMMENT ON VIEW postmeter.destination_health IS 'Per destination: whether a person paused it, whether its breaker is closed, open, half open or recovering, since when and why, and how much waits. Times of the breaker are real times.';

COMMENT ON COLUMN postmeter.destination_health.destination IS 'Which.';

COMMENT ON COLUMN postmeter.destination_health.paused IS 'A person stopped sending; independent of the breaker.';

COMMENT ON COLUMN postmeter.destination_health.breaker IS 'closed (healthy), open (no call), half_open (one call probes), recovering (few calls, then more).';

COMMENT ON COLUMN postmeter.destination_health.since IS 'When it opened; null: closed.';

COMMENT ON COLUMN postmeter.destination_health.next_probe_at IS 'No call before this.';

COMMENT ON COLUMN postmeter.destination_health.probing IS 'Name of the worker that probes now.';

COMMENT ON COLUMN postmeter.destination_health.ramp IS 'While it recovers: calls that each worker may have in flight, so the fleet as many times that as it has workers.';

COMMENT ON COLUMN postmeter.destination_health.faults IS 'How often it opened in a row, failed probes included.';

COMMENT ON COLUMN postmeter.destination_health.last_outcome IS 'Outcome of the last call that met the fault.';

COMMENT ON COLUMN postmeter.destination_health.last_code IS 'Its code.';

COMMENT ON COLUMN postmeter.destination_health.last_http_status IS 'Its HTTP status.';

COMMENT ON COLUMN postmeter.destination_health.changed_at IS 'When a worker last wrote any of this.';

COMMENT ON COLUMN postmeter.destination_health.due IS 'Deliveries to send now.';

COMMENT ON COLUMN postmeter.destination_health.later IS 'Deliveries that wait for another try.';

COMMENT ON COLUMN postmeter.destination_health.earliest_deadline IS 'Earliest deadline of what is due.';

COMMENT ON COLUMN postmeter.destination_health.shadow IS 'It belongs to a shadow: counted beside a live destination, never sent.';

COMMENT ON COLUMN postmeter.destination_health.kind IS 'Which marketplace''s code serves it.';

COMMENT ON COLUMN postmeter.destination_health.zone IS 'Zone whose calendar its billing month follows.';

COMMENT ON COLUMN postmeter.destination_health.dry_run IS 'Everything is done but the call.';

COMMENT ON COLUMN postmeter.destination_health.open IS 'Hours that still collect usage.';

ALTER TABLE postmeter.destination ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.destination_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE postmeter.dimension ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.dimension_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.dropped_month (
    destination_id integer NOT NULL,
    month date NOT NULL,
    decision_id bigint NOT NULL,
    begun_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    finished_at timestamp with time zone,
    remittances bigint DEFAULT 0 NOT NULL,
    meters_after bigint DEFAULT 0 NOT NULL,
    CONSTRAINT dropped_month_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric))
);

COMMENT ON TABLE postmeter.dropped_month IS 'Billing months whose remittances, cuts and meters were dropped after their export, or are being dropped in shares. Nothing of such a month can be sent, decided or billed any more.';

COMMENT ON COLUMN postmeter.dropped_month.destination_id IS 'The destination, live or a shadow: it stays.';

COMMENT ON COLUMN postmeter.dropped_month.month IS 'First day of the billing month, in the destination''s zone.';

COMMENT ON COLUMN postmeter.dropped_month.decision_id IS 'The decision that dropped it.';

COMMENT ON COLUMN postmeter.dropped_month.begun_at IS 'Since when nothing of it can be decided.';

COMMENT ON COLUMN postmeter.dropped_month.finished_at IS 'When its last remittance was gone; null: postmeter ledger drop goes on with it.';

COMMENT ON COLUMN postmeter.dropped_month.remittances IS 'How many remittances are gone.';

COMMENT ON COLUMN postmeter.dropped_month.meters_after IS 'The remittances of its meters before this one are gone; where the next share begins.';

CREATE TABLE postmeter.dropped_numbers (
    chunk bigint NOT NULL,
    destination_id integer NOT NULL,
    month date NOT NULL,
    bits bit(8192) NOT NULL
);

COMMENT ON TABLE postmeter.dropped_numbers IS 'The numbers of remittances that were dropped, a bit each: who asks for one by its number is told so.';

COMMENT ON COLUMN postmeter.dropped_numbers.chunk IS 'The numbers from chunk x 8192 on.';

COMMENT ON COLUMN postmeter.dropped_numbers.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.dropped_numbers.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.dropped_numbers.bits IS '8192 numbers; 1: dropped with this month.';

CREATE TABLE postmeter.dropped_sum (
    meter_id bigint NOT NULL,
    answers text NOT NULL,
    org text,
    account text,
    product text COLLATE pg_catalog."C",
    metric text COLLATE pg_catalog."C",
    unit text NOT NULL,
    status text NOT NULL,
    reason text,
    shared boolean DEFAULT false NOT NULL,
    shadow boolean DEFAULT false NOT NULL,
    remittances bigint NOT NULL,
    usages bigint DEFAULT 0 NOT NULL,
    used numeric,
    quantity numeric,
    CONSTRAINT dropped_sum_answers_check CHECK ((answers = ANY (ARRAY['remittance'::text, 'month_close'::text, 'remittance_summary'::text, 'unremitted'::text])))
);

COMMENT ON TABLE postmeter.dropped_sum IS 'What the remittances of a dropped meter came to, by status, org and metric, as the view that it answers asks. Append-only.';

COMMENT ON COLUMN postmeter.dropped_sum.meter_id IS 'The meter: dropped_meter.';

COMMENT ON COLUMN postmeter.dropped_sum.answers IS 'Which view adds it: month_close, remittance_summary or unremitted; remittance: how many of its own key there were, which bill_of_org.sql asks.';

COMMENT ON COLUMN postmeter.dropped_sum.org IS 'The org; null in remittance and month_close, which ask for none.';

COMMENT ON COLUMN postmeter.dropped_sum.account IS 'The org''s account, in remittance_summary.';

COMMENT ON COLUMN postmeter.dropped_sum.product IS 'The product.';

COMMENT ON COLUMN postmeter.dropped_sum.metric IS 'The metric; null: the remittances counted none of the org''s own.';

COMMENT ON COLUMN postmeter.dropped_sum.unit IS 'Of quantity: metric or billing.';

COMMENT ON COLUMN postmeter.dropped_sum.status IS 'Where they stood for ever; released in unremitted: given back, and billed by no hour.';

COMMENT ON COLUMN postmeter.dropped_sum.reason IS 'Why they were held; of a shadow only.';

COMMENT ON COLUMN postmeter.dropped_sum.shared IS 'Others were in the same remittances.';

COMMENT ON COLUMN postmeter.dropped_sum.shadow IS 'Of a shadow: nothing was sent.';

COMMENT ON COLUMN postmeter.dropped_sum.remittances IS 'How many remittances.';

COMMENT ON COLUMN postmeter.dropped_sum.usages IS 'How many usages of it they counted.';

COMMENT ON COLUMN postmeter.dropped_sum.used IS 'How much, in units of the metric; of remittance: as they hold it.';

COMMENT ON COLUMN postmeter.dropped_sum.quantity IS 'What the view calls quantity.';

ALTER TABLE postmeter.exemption ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.exemption_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW postmeter.fleet AS
 WITH process AS MATERIALIZED (
         SELECT 'worker'::text AS part,
            w.name,
            w.started_at,
            w.heartbeat_at AS seen_at,
            w.lease_until AS alive_until,
            w.stopped_at
           FROM postmeter.worker w
        UNION ALL
         SELECT 'console'::text AS part,
            c.name,
            c.started_at,
            c.seen_at,
            (c.seen_at + '00:01:00'::interval) AS alive_until,
            c.stopped_at
           FROM postmeter.console c
        ), part AS (
         SELECT 'worker'::text AS part,
            s.workers_expected AS expected
           FROM postmeter.setting s
        UNION ALL
         SELECT 'console'::text AS part,
            s.consoles_expected AS expected
           FROM postmeter.setting s
        ), alive AS (
         SELECT p.part,
            p.expected,
            ( SELECT count(*) AS count
                   FROM process x
                  WHERE ((x.part = p.part) AND (x.stopped_at IS NULL) AND (x.alive_until > clock_timestamp()))) AS alive
           FROM part p
        ), lost AS (
         SELECT l_1.part,
            l_1.name,
            l_1.alive_until,
            ( SELECT count(*) AS count
                   FROM process x
                  WHERE ((x.part = l_1.part) AND (x.stopped_at IS NULL) AND (x.started_at <= l_1.seen_at) AND (x.seen_at >= l_1.seen_at))) AS lived
           FROM ( SELECT x.part,
                    x.name,
                    x.seen_at,
                    x.alive_until
                   FROM process x
                  WHERE ((x.stopped_at IS NULL) AND (x.alive_until <= clock_timestamp()) AND (x.alive_until > (clock_timestamp() - '7 days'::interval)))
                  ORDER BY x.alive_until DESC
                 LIMIT 100) l_1
        )
 SELECT a.part,
    a.alive,
    COALESCE((a.expected)::bigint, l.lived, a.alive) AS expected,
    GREATEST((COALESCE((a.expected)::bigint, l.lived, a.alive) - a.alive), (0)::bigint) AS missing,
    COALESCE(l.alive_until, ( SELECT max(x.stopped_at) AS max
           FROM process x
          WHERE (x.part = a.part)), '-infinity'::timestamp with time zone) AS since,
    l.names
   FROM (alive a
     LEFT JOIN LATERAL ( SELECT max(x.lived) AS lived,
            max(x.alive_until) AS alive_until,
            (array_agg(x.name ORDER BY x.alive_until DESC))[1:5] AS names
           FROM lost x
          WHERE ((x.part = a.part) AND ((a.expected IS NOT NULL) OR (x.lived > a.alive)))) l ON (true));

COMMENT ON VIEW postmeter.fleet IS 'Workers and consoles: how many live, and how many are missing. One that stopped in order is not missed; one that was replaced is not either.';

COMMENT ON COLUMN postmeter.fleet.part IS 'worker or console.';

COMMENT ON COLUMN postmeter.fleet.alive IS 'How many live.';

COMMENT ON COLUMN postmeter.fleet.expected IS 'How many should: by setting.workers_expected and consoles_expected, else as many as lived when one was lost within a week.';

COMMENT ON COLUMN postmeter.fleet.missing IS 'How many are missing.';

COMMENT ON COLUMN postmeter.fleet.since IS 'Since when the last of the lost ones is silent, or the last one stopped.';

COMMENT ON COLUMN postmeter.fleet.names IS 'The lost ones, the latest first; five at most. Null: none is lost.';

CREATE TABLE postmeter.quota (
    id integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    calls_per_second numeric,
    next_slot_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT quota_calls_per_second_check CHECK (((calls_per_second > (0)::numeric) AND (calls_per_second <= (100000)::numeric))),
    CONSTRAINT quota_name_check CHECK ((name <> ''::text))
);

COMMENT ON TABLE postmeter.quota IS 'A limit of calls that several destinations may share (AWS: one per seller account and region).';

COMMENT ON COLUMN postmeter.quota.id IS 'Number of the quota.';

COMMENT ON COLUMN postmeter.quota.name IS 'Its name in the catalogue.';

COMMENT ON COLUMN postmeter.quota.calls_per_second IS 'Calls a second that the whole fleet may make; null: no limit.';

COMMENT ON COLUMN postmeter.quota.next_slot_at IS 'Real time before which the next call must not start; workers take slots by moving it on.';

CREATE VIEW postmeter.forecast_detail AS
 WITH now AS MATERIALIZED (
         SELECT postmeter.clock() AS now
        ), recent AS (
         SELECT a.destination_id,
            ((count(*))::numeric / 600.0) AS records_a_second
           FROM postmeter.attempt a
          WHERE (a.id >= ( SELECT postmeter.id_at((clock_timestamp() - '00:10:00'::interval)) AS id_at))
          GROUP BY a.destination_id
        ), pace AS (
         SELECT t.id AS destination_id,
            t.name,
            t.paused,
                CASE
                    WHEN (q.calls_per_second IS NULL) THEN t.id
                    ELSE (- q.id)
                END AS line,
            COALESCE((q.calls_per_second * (t.records_max)::numeric), GREATEST(r.records_a_second, (((t.in_flight_max * t.records_max))::numeric / EXTRACT(epoch FROM t.call_timeout)))) AS records_a_second
           FROM ((postmeter.destination t
             JOIN postmeter.quota q ON ((q.id = t.quota_id)))
             LEFT JOIN recent r ON ((r.destination_id = t.id)))
          WHERE (t.shadow_of IS NULL)
        ), waiting AS (
         SELECT q.delivery_id,
            q.destination_id,
            q.deadline,
            NULL::timestamp with time zone AS due_at
           FROM postmeter.due q
        UNION ALL
         SELECT l.delivery_id,
            l.destination_id,
            d.deadline,
            l.due_at
           FROM (postmeter.later l
             JOIN postmeter.delivery d ON ((d.id = l.delivery_id)))
        ), ordered AS (
         SELECT w.delivery_id,
            w.deadline,
            w.due_at,
            p.name AS destination,
            p.paused,
            p.records_a_second,
            row_number() OVER (PARTITION BY p.line ORDER BY w.deadline, w.delivery_id) AS place
           FROM (waiting w
             JOIN pace p ON ((p.destination_id = w.destination_id)))
        )
 SELECT o.delivery_id,
    o.destination,
    o.deadline,
    o.place,
        CASE
            WHEN (NOT o.paused) THEN GREATEST((n.now + ((((o.place)::numeric / o.records_a_second))::double precision * '00:00:01'::interval)), o.due_at)
            ELSE NULL::timestamp with time zone
        END AS sent_by,
    (o.paused OR (GREATEST((n.now + ((((o.place)::numeric / o.records_a_second))::double precision * '00:00:01'::interval)), o.due_at) > o.deadline)) AS misses
   FROM ordered o,
    now n;

COMMENT ON VIEW postmeter.forecast_detail IS 'For each waiting remittance, when it will be sent at the present rate: its place by deadline among all that share its quota, at the quota''s calls a second (else the rate of the last ten minutes, at least what its calls in flight would do if each took its timeout). misses: that is after its deadline, or its destination is paused. Without shadows.';

COMMENT ON COLUMN postmeter.forecast_detail.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.forecast_detail.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.forecast_detail.deadline IS 'Last moment at which it may be sent, margin taken off.';

COMMENT ON COLUMN postmeter.forecast_detail.place IS 'By deadline, among all that share its quota.';

COMMENT ON COLUMN postmeter.forecast_detail.sent_by IS 'When its turn comes; null: paused.';

COMMENT ON COLUMN postmeter.forecast_detail.misses IS 'That is after its deadline, or never.';

CREATE VIEW postmeter.forecast AS
 SELECT f.destination,
    count(*) AS waiting,
    max(f.sent_by) AS all_sent_by,
    count(*) FILTER (WHERE f.misses) AS misses,
    sum(r.quantity) FILTER (WHERE f.misses) AS quantity_missing,
    min(f.deadline) FILTER (WHERE f.misses) AS first_missed_deadline
   FROM (postmeter.forecast_detail f
     JOIN postmeter.delivery r ON ((r.id = f.delivery_id)))
  GROUP BY f.destination;

COMMENT ON VIEW postmeter.forecast IS 'Per destination: how many remittances wait, when the last of them will be sent at the present rate, and how many miss their deadline by then (quantity in billing units, over all dimensions: a measure of size, not of money).';

COMMENT ON COLUMN postmeter.forecast.destination IS 'Its name.';

COMMENT ON COLUMN postmeter.forecast.waiting IS 'Remittances that are cut and not sent.';

COMMENT ON COLUMN postmeter.forecast.all_sent_by IS 'When the last is sent; null: it is paused.';

COMMENT ON COLUMN postmeter.forecast.misses IS 'Those sent after their deadline by then.';

COMMENT ON COLUMN postmeter.forecast.quantity_missing IS 'Their billing units, over all dimensions: a measure of size.';

COMMENT ON COLUMN postmeter.forecast.first_missed_deadline IS 'The first of their deadlines.';

CREATE TABLE postmeter.gate (
    name text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT gate_name_check CHECK (((octet_length(name) >= 1) AND (octet_length(name) <= 100)))
);

COMMENT ON TABLE postmeter.gate IS 'Rows to lock: whoever holds one does what it names, alone. Nobody has a grant on them but the owner, through take_gate and try_gate.';

COMMENT ON COLUMN postmeter.gate.name IS 'What is done by one at a time.';

CREATE VIEW postmeter.held_list AS
 SELECT h.usage_id,
    u.source,
    u.event_id,
    t.name AS destination,
    h.reason,
    h.org,
    h.account,
    h.product,
    h.metric,
    h.quantity,
    u.used_at,
    h.hour,
    h.deadline,
    h.held_at
   FROM ((postmeter.held h
     JOIN postmeter.usage u ON ((u.id = h.usage_id)))
     LEFT JOIN postmeter.destination t ON ((t.id = h.destination_id)));

COMMENT ON VIEW postmeter.held_list IS 'Usage that cannot be allocated yet, with the reason and the identity that its service knows it by.';

COMMENT ON COLUMN postmeter.held_list.usage_id IS 'The held usage.';

COMMENT ON COLUMN postmeter.held_list.source IS 'The service that recorded it; with event_id its identity.';

COMMENT ON COLUMN postmeter.held_list.event_id IS 'That service''s own id of it.';

COMMENT ON COLUMN postmeter.held_list.destination IS 'Where it would go, if that is known.';

COMMENT ON COLUMN postmeter.held_list.reason IS 'Why it is held.';

COMMENT ON COLUMN postmeter.held_list.org IS 'The org.';

COMMENT ON COLUMN postmeter.held_list.account IS 'Which marketplace account, where the org has several.';

COMMENT ON COLUMN postmeter.held_list.product IS 'Our product, by stable tag.';

COMMENT ON COLUMN postmeter.held_list.metric IS 'Our metric, by stable tag.';

COMMENT ON COLUMN postmeter.held_list.quantity IS 'How much, in units of the metric.';

COMMENT ON COLUMN postmeter.held_list.used_at IS 'When it was used.';

COMMENT ON COLUMN postmeter.held_list.hour IS 'The hour it belongs to.';

COMMENT ON COLUMN postmeter.held_list.deadline IS 'Until when that can be sent, if that is known.';

COMMENT ON COLUMN postmeter.held_list.held_at IS 'Since when it is held.';

CREATE VIEW postmeter.hour_not_cut AS
 SELECT d.id AS delivery_id,
    t.name AS destination,
    d.key,
    d.hour,
    d.deadline,
    (d.deadline - t.lead) AS should_be_cut_at
   FROM ((postmeter.open_hour o
     JOIN postmeter.delivery d ON ((d.id = o.delivery_id)))
     JOIN postmeter.destination t ON ((t.id = d.destination_id)))
  WHERE ((NOT d.shadow) AND (o.hour <= (postmeter.clock() - '01:00:00'::interval)) AND ((d.deadline - t.lead) <= postmeter.clock()));

COMMENT ON VIEW postmeter.hour_not_cut IS 'Open hours so near their deadline that they must be cut at once, whatever is still on its way.';

COMMENT ON COLUMN postmeter.hour_not_cut.delivery_id IS 'The open remittance.';

COMMENT ON COLUMN postmeter.hour_not_cut.destination IS 'Its destination.';

COMMENT ON COLUMN postmeter.hour_not_cut.key IS 'Its canonical key.';

COMMENT ON COLUMN postmeter.hour_not_cut.hour IS 'The hour, UTC.';

COMMENT ON COLUMN postmeter.hour_not_cut.deadline IS 'Until when the hour can be sent.';

COMMENT ON COLUMN postmeter.hour_not_cut.should_be_cut_at IS 'The deadline less the destination''s lead: a worker cuts it then.';

CREATE TABLE postmeter.idempotency (
    caller text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    answer text NOT NULL,
    answered_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT idempotency_key_check CHECK (((octet_length(key) >= 1) AND (octet_length(key) <= 255)))
);

COMMENT ON TABLE postmeter.idempotency IS 'Answers given to requests that carried an Idempotency-Key, written in the transaction that did the work: the same key and body is answered the same again. Kept for a day.';

COMMENT ON COLUMN postmeter.idempotency.caller IS 'Name of the token: keys of different callers never meet.';

COMMENT ON COLUMN postmeter.idempotency.key IS 'The key that the caller chose.';

COMMENT ON COLUMN postmeter.idempotency.fingerprint IS 'SHA-256 of method, path, content type and body.';

COMMENT ON COLUMN postmeter.idempotency.status IS 'HTTP status that was answered.';

COMMENT ON COLUMN postmeter.idempotency.answer IS 'Body that was answered.';

COMMENT ON COLUMN postmeter.idempotency.answered_at IS 'When.';

CREATE TABLE postmeter.installation (
    only_row boolean DEFAULT true NOT NULL,
    name text,
    server text,
    timeline text,
    "position" pg_lsn,
    is_copy boolean DEFAULT false NOT NULL,
    settled_at timestamp with time zone,
    CONSTRAINT installation_name_check CHECK ((name <> ''::text)),
    CONSTRAINT installation_only_row_check CHECK (only_row),
    CONSTRAINT installation_settled CHECK ((((server IS NULL) = (settled_at IS NULL)) AND ((server IS NULL) = (timeline IS NULL)) AND ((server IS NULL) = ("position" IS NULL))))
);

COMMENT ON TABLE postmeter.installation IS 'Which installation this database is, and on which server it was so: a copy brings this row along, and stands elsewhere. Written when a worker starts for the first time, when one that remembers proves a failover, and by declare_installation.';

COMMENT ON COLUMN postmeter.installation.only_row IS 'Always true: there is one row.';

COMMENT ON COLUMN postmeter.installation.name IS 'The name that workers bring (their setting installation); null: none has brought one.';

COMMENT ON COLUMN postmeter.installation.server IS 'Identity of server and database: server_identity() when it was settled. Null: nobody has worked here yet.';

COMMENT ON COLUMN postmeter.installation.timeline IS 'The server''s timeline that was proven last.';

COMMENT ON COLUMN postmeter.installation."position" IS 'Where it stood then.';

COMMENT ON COLUMN postmeter.installation.is_copy IS 'A person said that this is a copy: nothing is sent from here.';

COMMENT ON COLUMN postmeter.installation.settled_at IS 'When that was settled last; the server''s time.';

ALTER TABLE postmeter.late_evidence ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.late_evidence_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.ledger_drop (
    month date NOT NULL,
    dropped_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    decision_id bigint NOT NULL,
    used_from timestamp with time zone,
    used_until timestamp with time zone
);

COMMENT ON TABLE postmeter.ledger_drop IS 'Months of the ledger that were dropped after their export. Append-only.';

COMMENT ON COLUMN postmeter.ledger_drop.month IS 'First day of the month.';

COMMENT ON COLUMN postmeter.ledger_drop.dropped_at IS 'When.';

COMMENT ON COLUMN postmeter.ledger_drop.decision_id IS 'The decision: who and why.';

COMMENT ON COLUMN postmeter.ledger_drop.used_from IS 'The earliest use in it; null: it had no usage.';

COMMENT ON COLUMN postmeter.ledger_drop.used_until IS 'The latest use in it.';

CREATE TABLE postmeter.ledger_export (
    month date NOT NULL,
    number integer NOT NULL,
    manifest text NOT NULL,
    digest text NOT NULL COLLATE pg_catalog."C",
    exported_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    decision_id bigint NOT NULL,
    CONSTRAINT ledger_export_digest_check CHECK ((digest ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT ledger_export_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric)),
    CONSTRAINT ledger_export_number_check CHECK ((number > 0))
);

COMMENT ON TABLE postmeter.ledger_export IS 'Months of the ledger that were exported: the manifest to the letter, and its digest. Append-only.';

COMMENT ON COLUMN postmeter.ledger_export.month IS 'First day of the calendar month (UTC) in which the rows were recorded.';

COMMENT ON COLUMN postmeter.ledger_export.number IS 'Which export this is, from 1: each manifest names the one before, so that none can be taken out.';

COMMENT ON COLUMN postmeter.ledger_export.manifest IS 'The manifest as it was written: counts, sums, digests (docs/operate/ledger.md).';

COMMENT ON COLUMN postmeter.ledger_export.digest IS 'SHA-256 of the manifest.';

COMMENT ON COLUMN postmeter.ledger_export.exported_at IS 'When it was recorded.';

COMMENT ON COLUMN postmeter.ledger_export.decision_id IS 'The decision: who and why.';

CREATE TABLE postmeter.month_export (
    number integer NOT NULL,
    destination_id integer NOT NULL,
    month date NOT NULL,
    manifest text NOT NULL,
    digest text NOT NULL COLLATE pg_catalog."C",
    exported_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    decision_id bigint NOT NULL,
    CONSTRAINT month_export_digest_check CHECK ((digest ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT month_export_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric)),
    CONSTRAINT month_export_number_check CHECK ((number > 0))
);

COMMENT ON TABLE postmeter.month_export IS 'Exports of billing months with their remittances, cuts, parts, meters and metrics: the manifest to the letter, and its digest. One chain with ledger_export. The latest of a month counts. Append-only.';

COMMENT ON COLUMN postmeter.month_export.number IS 'Which export this is; ledger_export goes on with it.';

COMMENT ON COLUMN postmeter.month_export.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.month_export.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.month_export.manifest IS 'The manifest, to the letter.';

COMMENT ON COLUMN postmeter.month_export.digest IS 'SHA-256 of the manifest.';

COMMENT ON COLUMN postmeter.month_export.exported_at IS 'When it was recorded.';

COMMENT ON COLUMN postmeter.month_export.decision_id IS 'The decision.';

CREATE VIEW postmeter.ledger_month AS
 SELECT t.name AS destination,
    m.month,
    c.closed_at,
    postmeter.month_drop_why_not(t.name, m.month) AS why_not,
    e.number AS export,
    e.exported_at,
    e.digest,
    x.begun_at,
    x.finished_at AS dropped_at,
    x.remittances AS remittances_dropped
   FROM ((((( SELECT k.destination_id,
            k.month
           FROM postmeter.meter k
          GROUP BY k.destination_id, k.month
        UNION
         SELECT k.destination_id,
            k.month
           FROM postmeter.dropped_month k) m
     JOIN postmeter.destination t ON ((t.id = m.destination_id)))
     LEFT JOIN postmeter.closed_month c ON (((c.destination_id = m.destination_id) AND (c.month = m.month))))
     LEFT JOIN postmeter.dropped_month x ON (((x.destination_id = m.destination_id) AND (x.month = m.month))))
     LEFT JOIN LATERAL ( SELECT y.number,
            y.exported_at,
            y.digest
           FROM postmeter.month_export y
          WHERE ((y.destination_id = m.destination_id) AND (y.month = m.month))
          ORDER BY y.number DESC
         LIMIT 1) e ON (true));

COMMENT ON VIEW postmeter.ledger_month IS 'Billing months, and whether their remittances, cuts and meters may be dropped, are being dropped or were. Ask it by destination or month: a month whose ledger is gone is read whole.';

COMMENT ON COLUMN postmeter.ledger_month.destination IS 'The destination.';

COMMENT ON COLUMN postmeter.ledger_month.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.ledger_month.closed_at IS 'When it was closed; null: it is open.';

COMMENT ON COLUMN postmeter.ledger_month.why_not IS 'Why its remittances may not be dropped; null: they may, once they are exported.';

COMMENT ON COLUMN postmeter.ledger_month.export IS 'The number of its latest export with its remittances; null: none, and an older program''s has none.';

COMMENT ON COLUMN postmeter.ledger_month.exported_at IS 'When that was recorded.';

COMMENT ON COLUMN postmeter.ledger_month.digest IS 'SHA-256 of its manifest.';

COMMENT ON COLUMN postmeter.ledger_month.begun_at IS 'When its drop began.';

COMMENT ON COLUMN postmeter.ledger_month.dropped_at IS 'When nothing was left of it.';

COMMENT ON COLUMN postmeter.ledger_month.remittances_dropped IS 'How many remittances are gone.';

CREATE VIEW postmeter.ledger_partition AS
 WITH part AS (
         SELECT p_1.parent,
            to_date("right"((c.relname)::text, 6), 'YYYYMM'::text) AS month,
            c.oid,
            c.reltuples
           FROM ((( VALUES ('usage'::text), ('allocation'::text), ('attempt'::text), ('outcome'::text)) p_1(parent)
             JOIN pg_inherits i ON ((i.inhparent = ((('postmeter.'::text || p_1.parent))::regclass)::oid)))
             JOIN pg_class c ON (((c.oid = i.inhrelid) AND (c.relname ~ '_[0-9]{6}$'::text))))
        UNION ALL
         SELECT p_1.parent,
            d_1.month,
            NULL::oid AS oid,
            NULL::real AS reltuples
           FROM (postmeter.ledger_drop d_1
             CROSS JOIN ( VALUES ('usage'::text), ('allocation'::text), ('attempt'::text), ('outcome'::text)) p_1(parent))
        ), months AS (
         SELECT m_1.month,
            min(postmeter.ledger_why_not(m_1.month)) AS why_not
           FROM ( SELECT DISTINCT p_1.month
                   FROM part p_1) m_1
          GROUP BY m_1.month
        )
 SELECT p.parent AS table_name,
    p.month,
    ((p.month)::timestamp without time zone AT TIME ZONE 'UTC'::text) AS begins_at,
    ((p.month + '1 mon'::interval) AT TIME ZONE 'UTC'::text) AS ends_at,
    COALESCE(( SELECT ((t.value ->> 'rows'::text))::bigint AS int8
           FROM jsonb_array_elements(((e.manifest)::jsonb -> 'tables'::text)) t(value)
          WHERE ((t.value ->> 'table'::text) = p.parent)), (NULLIF(p.reltuples, ('-1'::integer)::double precision))::bigint) AS rows,
    pg_total_relation_size((p.oid)::regclass) AS bytes,
    ((m.why_not IS NULL) OR (d.month IS NOT NULL)) AS finished,
    m.why_not,
    e.exported_at,
    e.digest,
    d.dropped_at
   FROM (((part p
     JOIN months m ON ((m.month = p.month)))
     LEFT JOIN postmeter.ledger_export e ON ((e.month = p.month)))
     LEFT JOIN postmeter.ledger_drop d ON ((d.month = p.month)));

COMMENT ON VIEW postmeter.ledger_partition IS 'The monthly partitions of the ledger, those that were dropped included: how large, whether everything in them is finished, and if not, why not.';

COMMENT ON COLUMN postmeter.ledger_partition.table_name IS 'Which table of the ledger.';

COMMENT ON COLUMN postmeter.ledger_partition.month IS 'First day of the month.';

COMMENT ON COLUMN postmeter.ledger_partition.begins_at IS 'The first moment of recording in it, UTC.';

COMMENT ON COLUMN postmeter.ledger_partition.ends_at IS 'The first moment after it.';

COMMENT ON COLUMN postmeter.ledger_partition.rows IS 'How many rows: exact once exported, else as counted by the last analyze; null: unknown.';

COMMENT ON COLUMN postmeter.ledger_partition.bytes IS 'On disk, with indexes; null: dropped.';

COMMENT ON COLUMN postmeter.ledger_partition.finished IS 'Everything in it is finished: it may be exported, and dropped once that is done.';

COMMENT ON COLUMN postmeter.ledger_partition.why_not IS 'The first reason why it is not finished.';

COMMENT ON COLUMN postmeter.ledger_partition.exported_at IS 'When its export was recorded.';

COMMENT ON COLUMN postmeter.ledger_partition.digest IS 'SHA-256 of the export''s manifest.';

COMMENT ON COLUMN postmeter.ledger_partition.dropped_at IS 'When it was dropped; null: it is here.';

CREATE TABLE postmeter.unconfirmed (
    delivery_id bigint NOT NULL,
    noted_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL
);

COMMENT ON TABLE postmeter.unconfirmed IS 'Accepted remittances of hours that were over when commits were lost, which they called a duplicate without saying how much they hold: it may be another quantity, sent in that time. Status and balance stand; a report (resolve --file), a person or a day''s sum that agrees ends it.';

COMMENT ON COLUMN postmeter.unconfirmed.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.unconfirmed.noted_at IS 'When, on postmeter.clock().';

CREATE TABLE postmeter.withheld (
    delivery_id bigint NOT NULL,
    meter_id bigint NOT NULL,
    break_id bigint NOT NULL
);

COMMENT ON TABLE postmeter.withheld IS 'Held remittances that stand for no hour: what a meter still had to bill when commits were lost (released or deferred quantity, a remainder whose own hour was sent). It may have been billed with another hour in that time, so it waits until a person says so or not.';

COMMENT ON COLUMN postmeter.withheld.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.withheld.meter_id IS 'The meter that had it to bill.';

COMMENT ON COLUMN postmeter.withheld.break_id IS 'The break.';

CREATE VIEW postmeter.lost_time AS
 SELECT t.name AS destination,
    b.noticed_at,
    t.paused,
    ( SELECT max(c.changed_at) AS max
           FROM postmeter.catalogue_change c
          WHERE (c.changed_at < b.noticed_at)) AS catalogue_changed_at,
    ( SELECT count(*) AS count
           FROM postmeter.open_hour o
          WHERE ((o.destination_id = t.id) AND ((o.hour + '01:00:00'::interval) <= b.noticed_at))) AS hours_waiting,
    ( SELECT count(*) AS count
           FROM (postmeter.due q
             JOIN postmeter.delivery d ON ((d.id = q.delivery_id)))
          WHERE ((q.destination_id = t.id) AND d.maybe_billed AND ((d.hour + '01:00:00'::interval) <= b.noticed_at))) AS sent_again,
    ( SELECT count(*) AS count
           FROM (postmeter.stuck s
             JOIN postmeter.delivery d ON ((d.id = s.delivery_id)))
          WHERE ((s.destination_id = t.id) AND d.maybe_billed AND (d.reason IS DISTINCT FROM 'lost_time'::text))) AS maybe_billed,
    ( SELECT count(*) AS count
           FROM (postmeter.withheld w
             JOIN postmeter.delivery d ON ((d.id = w.delivery_id)))
          WHERE ((d.destination_id = t.id) AND (d.status = 'held'::text))) AS withheld,
    ( SELECT count(*) AS count
           FROM (postmeter.doubt x
             JOIN postmeter.delivery d ON ((d.id = x.delivery_id)))
          WHERE ((d.destination_id = t.id) AND (x.decision_id IS NULL))) AS doubts,
    ( SELECT count(*) AS count
           FROM postmeter.held h
          WHERE ((h.destination_id = t.id) AND (h.reason = 'lost_time'::text))) AS usage_held,
    ( SELECT count(*) AS count
           FROM (postmeter.unconfirmed u
             JOIN postmeter.delivery d ON ((d.id = u.delivery_id)))
          WHERE (d.destination_id = t.id)) AS unconfirmed,
    (t.memory IS NOT NULL) AS is_forgetful
   FROM (postmeter.destination t
     CROSS JOIN ( SELECT max(b_1.noticed_at) AS noticed_at
           FROM postmeter.timeline_break b_1
         HAVING (count(*) > 0)) b)
  WHERE (t.shadow_of IS NULL);

COMMENT ON VIEW postmeter.lost_time IS 'What the last loss of commits leaves to people, per destination, in numbers. No row: no commits were ever lost.';

COMMENT ON COLUMN postmeter.lost_time.destination IS 'The destination''s name.';

COMMENT ON COLUMN postmeter.lost_time.noticed_at IS 'When the loss was noticed.';

COMMENT ON COLUMN postmeter.lost_time.paused IS 'It is paused.';

COMMENT ON COLUMN postmeter.lost_time.catalogue_changed_at IS 'The last change of the catalogue that survived: what was changed after that must be entered again before it is resumed.';

COMMENT ON COLUMN postmeter.lost_time.hours_waiting IS 'Open hours that were over then: they are cut, by the catalogue of now, once it is resumed.';

COMMENT ON COLUMN postmeter.lost_time.sent_again IS 'Due remittances that may have been sent: they are sent again, with the same keys, once it is resumed.';

COMMENT ON COLUMN postmeter.lost_time.maybe_billed IS 'Stuck remittances that may have been billed: only a person moves them.';

COMMENT ON COLUMN postmeter.lost_time.withheld IS 'Quantities of meters that may have been billed with another hour: a person says so or not.';

COMMENT ON COLUMN postmeter.lost_time.doubts IS 'Settled remittances that may have been reopened in that time.';

COMMENT ON COLUMN postmeter.lost_time.usage_held IS 'Usages that were too late for their hours and may have been billed with another one.';

COMMENT ON COLUMN postmeter.lost_time.unconfirmed IS 'Accepted remittances of which they said duplicate, and not how much they hold.';

COMMENT ON COLUMN postmeter.lost_time.is_forgetful IS 'They recognise a repeat for a limited time only: what may have been sent is not sent again, but left to a person as unknown.';

ALTER TABLE postmeter.meter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.meter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW postmeter.meter_list AS
 SELECT m.id AS meter_id,
    t.name AS destination,
    m.buyer,
    m.dimension,
    m.month,
    m.rounding,
    m.decimals,
    m.month_end,
    trim_scale(m.billed) AS billed,
    trim_scale(m.carried) AS carried,
    trim_scale(m.billable) AS billable,
    m.denominator,
    m.cuts,
    c.closed_at
   FROM ((postmeter.meter m
     JOIN postmeter.destination t ON ((t.id = m.destination_id)))
     LEFT JOIN postmeter.closed_month c ON (((c.destination_id = m.destination_id) AND (c.month = m.month))))
UNION ALL
 SELECT k.id AS meter_id,
    t.name AS destination,
    k.buyer,
    k.dimension,
    k.month,
    k.rounding,
    k.decimals,
    k.month_end,
    trim_scale(k.billed) AS billed,
    trim_scale(k.carried) AS carried,
    trim_scale(k.billable) AS billable,
    k.denominator,
    k.cuts,
    c.closed_at
   FROM ((postmeter.dropped_meter k
     JOIN postmeter.destination t ON ((t.id = k.destination_id)))
     LEFT JOIN postmeter.closed_month c ON (((c.destination_id = k.destination_id) AND (c.month = k.month))));

COMMENT ON VIEW postmeter.meter_list IS 'Every meter as it was last cut: how it rounds, what is billed, and what is carried (billing units x denominator).';

COMMENT ON COLUMN postmeter.meter_list.meter_id IS 'Its number.';

COMMENT ON COLUMN postmeter.meter_list.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.meter_list.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.meter_list.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.meter_list.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.meter_list.rounding IS 'How its billing units are rounded: up, down or nearest.';

COMMENT ON COLUMN postmeter.meter_list.decimals IS 'Decimals of its billing units.';

COMMENT ON COLUMN postmeter.meter_list.month_end IS 'What the month''s last cut does with a remainder.';

COMMENT ON COLUMN postmeter.meter_list.billed IS 'Billing units of all its cut remittances that no decision has released.';

COMMENT ON COLUMN postmeter.meter_list.carried IS 'Billing units × denominator: not billed yet, or (below zero) billed ahead.';

COMMENT ON COLUMN postmeter.meter_list.billable IS 'Billing units that a cut would bill now.';

COMMENT ON COLUMN postmeter.meter_list.denominator IS 'Common denominator of its factors.';

COMMENT ON COLUMN postmeter.meter_list.cuts IS 'How often it was cut.';

COMMENT ON COLUMN postmeter.meter_list.closed_at IS 'When a person closed its month.';

ALTER TABLE postmeter.meter_metric ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.meter_metric_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.migration (
    version integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    checksum text,
    programs_from integer,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON TABLE postmeter.migration IS 'Migrations that were applied, by `postmeter migrate` or by psql.';

COMMENT ON COLUMN postmeter.migration.version IS 'Number of the file.';

COMMENT ON COLUMN postmeter.migration.name IS 'Its name.';

COMMENT ON COLUMN postmeter.migration.checksum IS 'SHA-256 of the file; null if psql applied it.';

COMMENT ON COLUMN postmeter.migration.programs_from IS 'Programs whose newest migration is this number or a later one work on the schema with this migration; older ones refuse to start. Null (psql applied it): only programs that know it.';

COMMENT ON COLUMN postmeter.migration.applied_at IS 'When.';

CREATE VIEW postmeter.missing_hours AS
 WITH moment AS MATERIALIZED (
         SELECT postmeter.clock() AS now,
            postmeter.hour_of(postmeter.folded_until()) AS until
        ), reporting AS MATERIALIZED (
         SELECT s.id,
            s.org,
            s.product,
            s.buyer,
            s.destination_id,
            t.name AS destination,
            (date_trunc('month'::text, ((c.until - '31 days'::interval) AT TIME ZONE t.zone)))::date AS since
           FROM ((moment c
             JOIN postmeter.destination t ON ((t.shadow_of IS NULL)))
             JOIN postmeter.subscription s ON (((s.destination_id = t.id) AND (s.buyer IS NOT NULL) AND (s.valid_from <= c.now) AND ((s.valid_until IS NULL) OR (s.valid_until > c.now)))))
          WHERE (NOT (EXISTS ( SELECT
                   FROM postmeter.exemption e
                  WHERE ((e.org = s.org) AND ((e.product IS NULL) OR (e.product = s.product)) AND (e.valid_from <= c.now) AND ((e.valid_until IS NULL) OR (e.valid_until > c.now))))))
        ), series AS (
         SELECT m.id AS meter_id,
            mm.id AS metric_id,
            s.destination,
            s.buyer,
            s.org,
            mm.product,
            mm.metric
           FROM ((reporting s
             JOIN postmeter.meter m ON (((m.destination_id = s.destination_id) AND (m.buyer = s.buyer) AND (m.month >= s.since))))
             JOIN postmeter.meter_metric mm ON (((mm.meter_id = m.id) AND (mm.product = s.product))))
        UNION ALL
         SELECT m.id,
            mm.id,
            s.destination,
            s.buyer,
            s.org,
            mm.product,
            mm.metric
           FROM (((reporting s
             JOIN ( SELECT k_1.subscription_id,
                    k_1.month,
                    k_1.contract
                   FROM postmeter.contract_member k_1
                UNION ALL
                 SELECT x.id,
                    m_1.month,
                    m_1.buyer
                   FROM (postmeter.subscription x
                     JOIN postmeter.meter m_1 ON (((m_1.destination_id = x.destination_id) AND (m_1.buyer = postmeter.contract_name(x.product, x.contract)))))
                  WHERE ((x.contract IS NOT NULL) AND (NOT (EXISTS ( SELECT
                           FROM postmeter.contract_member k_1
                          WHERE ((k_1.subscription_id = x.id) AND (k_1.month = m_1.month))))))
                  GROUP BY x.id, m_1.month, m_1.buyer) k ON (((k.subscription_id = s.id) AND (k.month >= s.since) AND (k.contract <> s.buyer))))
             JOIN postmeter.meter m ON (((m.destination_id = s.destination_id) AND (m.buyer = k.contract) AND (m.month = k.month))))
             JOIN postmeter.meter_metric mm ON (((mm.meter_id = m.id) AND (mm.product = s.product))))
        ), last AS (
         SELECT k.meter_id,
            k.metric_id,
            k.destination,
            k.buyer,
            k.org,
            k.product,
            k.metric,
            l.hour
           FROM (series k
             CROSS JOIN LATERAL (( SELECT d.hour
                   FROM postmeter.delivery d
                  WHERE ((d.meter_id = k.meter_id) AND (EXISTS ( SELECT
                           FROM (postmeter.allocation a
                             JOIN postmeter.subscription x ON ((x.id = a.subscription_id)))
                          WHERE ((a.delivery_id = d.id) AND (a.meter_metric_id = k.metric_id) AND (x.org = k.org))
                         OFFSET 0)))
                  ORDER BY d.hour DESC
                 LIMIT 1)
                UNION ALL
                ( SELECT d.hour
                   FROM (postmeter.part p
                     JOIN postmeter.delivery d ON ((d.id = p.delivery_id)))
                  WHERE ((p.meter_id = k.meter_id) AND (d.meter_id <> p.meter_id) AND (EXISTS ( SELECT
                           FROM (postmeter.allocation a
                             JOIN postmeter.subscription x ON ((x.id = a.subscription_id)))
                          WHERE ((a.delivery_id = d.id) AND (a.meter_metric_id = k.metric_id) AND (x.org = k.org))
                         OFFSET 0)))
                  ORDER BY d.hour DESC
                 LIMIT 1)) l)
        ), silent AS (
         SELECT l.destination,
            l.buyer,
            l.org,
            l.product,
            l.metric,
            array_agg(l.meter_id) AS meters,
            array_agg(l.metric_id) AS metrics,
            max(l.hour) AS last_hour,
            ((c.until - max(l.hour)) - '01:00:00'::interval) AS silent_for
           FROM last l,
            moment c
          GROUP BY l.destination, l.buyer, l.org, l.product, l.metric, c.until
         HAVING (max(l.hour) <= (c.until - '04:00:00'::interval))
        ), usual AS (
         SELECT s.destination,
            s.buyer,
            s.org,
            s.product,
            s.metric,
            s.last_hour,
            s.silent_for,
            w.hours,
            w.longest_gap,
            w.lag
           FROM (silent s
             CROSS JOIN LATERAL ( SELECT count(*) AS hours,
                    max(g.gap) AS longest_gap,
                    percentile_disc((0.9)::double precision) WITHIN GROUP (ORDER BY g.lag) AS lag
                   FROM ( SELECT h.lag,
                            (h.hour - lag(h.hour) OVER (ORDER BY h.hour)) AS gap
                           FROM ( SELECT d.hour,
                                    min(GREATEST(((d.opened_at - d.hour) - '01:00:00'::interval), '00:00:00'::interval)) AS lag
                                   FROM (UNNEST(s.meters, s.metrics) k(meter_id, metric_id)
                                     CROSS JOIN LATERAL postmeter.hours_of_meter(k.meter_id) d(delivery_id, hour, opened_at))
                                  WHERE ((d.hour > (s.last_hour - '168:00:00'::interval)) AND (d.hour <= s.last_hour) AND (EXISTS ( SELECT
   FROM (postmeter.allocation a
     JOIN postmeter.subscription x ON ((x.id = a.subscription_id)))
  WHERE ((a.delivery_id = d.delivery_id) AND (a.meter_metric_id = k.metric_id) AND (x.org = s.org))
 OFFSET 0)))
                                  GROUP BY d.hour) h) g) w)
          WHERE (w.hours >= 20)
        ), judged AS (
         SELECT u.destination,
            u.buyer,
            u.org,
            u.product,
            u.metric,
            u.last_hour,
            u.silent_for,
            u.hours,
            u.longest_gap,
            u.lag,
            (GREATEST('03:00:00'::interval, (u.longest_gap * (1.5)::double precision)) + u.lag) AS bearable
           FROM usual u
        )
 SELECT j.destination,
    j.buyer,
    j.org,
    j.product,
    j.metric,
    j.last_hour,
    j.silent_for,
    j.hours AS hours_reported,
    j.longest_gap,
    j.lag AS usual_lag,
    j.bearable
   FROM judged j
  WHERE ((j.silent_for >= j.bearable) AND (NOT (EXISTS ( SELECT
           FROM postmeter.held h
          WHERE ((h.org = j.org) AND (h.product = j.product) AND (h.metric = j.metric) AND (h.hour > j.last_hour))))));

COMMENT ON VIEW postmeter.missing_hours IS 'Who reported regularly and stopped: an org''s metric with usage in at least 20 of the 168 hours up to its last, and none since, for longer than 3 hours and one and a half times its longest gap in that week, plus the lag with which it usually reports. Only while its subscription is in force and nothing exempts it; usage that is held or not folded yet is no silence. Live destinations, the last two months.';

COMMENT ON COLUMN postmeter.missing_hours.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.missing_hours.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.missing_hours.org IS 'Who stopped reporting.';

COMMENT ON COLUMN postmeter.missing_hours.product IS 'Our product.';

COMMENT ON COLUMN postmeter.missing_hours.metric IS 'Our metric.';

COMMENT ON COLUMN postmeter.missing_hours.last_hour IS 'The last hour with usage.';

COMMENT ON COLUMN postmeter.missing_hours.silent_for IS 'How long nothing has come since that hour ended.';

COMMENT ON COLUMN postmeter.missing_hours.hours_reported IS 'Hours with usage among the 168 up to the last one.';

COMMENT ON COLUMN postmeter.missing_hours.longest_gap IS 'The longest time between two of them.';

COMMENT ON COLUMN postmeter.missing_hours.usual_lag IS 'How long after an hour''s end its usage comes; nine in ten come sooner.';

COMMENT ON COLUMN postmeter.missing_hours.bearable IS 'Silence up to this is usual.';

CREATE VIEW postmeter.month_close AS
SELECT
    NULL::text COLLATE pg_catalog."C" AS destination,
    NULL::date AS month,
    NULL::boolean AS closed,
    NULL::timestamp with time zone AS closed_at,
    NULL::text AS class,
    NULL::text AS reason,
    NULL::bigint AS meter_id,
    NULL::text COLLATE pg_catalog."C" AS buyer,
    NULL::text AS org,
    NULL::text COLLATE pg_catalog."C" AS product,
    NULL::text COLLATE pg_catalog."C" AS metric,
    NULL::text COLLATE pg_catalog."C" AS dimension,
    NULL::bigint AS items,
    NULL::numeric AS quantity,
    NULL::text AS unit,
    NULL::numeric AS amount,
    NULL::text AS currency,
    NULL::boolean AS shadow;

COMMENT ON VIEW postmeter.month_close IS 'What a month came to, per destination: counts, quantities and amounts by class (the statuses of remittances; held_usage, waiting, released, remainder, over_billed), closed or not. Credit that no later usage took is over_billed: listed, never sent as negative. A row has one currency at most; amount null: unpriced. Destination null: no destination is known yet, and the month is that of UTC. A shadow''s rows bear its name and the mark shadow; what it did not count is in shadow_usage.';

COMMENT ON COLUMN postmeter.month_close.destination IS 'Name of the destination; null: not known yet.';

COMMENT ON COLUMN postmeter.month_close.month IS 'First day of the billing month; of UTC where the destination is null.';

COMMENT ON COLUMN postmeter.month_close.closed IS 'A person closed this month.';

COMMENT ON COLUMN postmeter.month_close.closed_at IS 'When a person closed it.';

COMMENT ON COLUMN postmeter.month_close.class IS 'A remittance''s status, or held_usage, waiting, released, remainder, over_billed.';

COMMENT ON COLUMN postmeter.month_close.reason IS 'Why it is held.';

COMMENT ON COLUMN postmeter.month_close.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.month_close.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.month_close.org IS 'The org; null where a remittance counts several.';

COMMENT ON COLUMN postmeter.month_close.product IS 'Our product, by stable tag.';

COMMENT ON COLUMN postmeter.month_close.metric IS 'Our metric; null where a remittance counts several.';

COMMENT ON COLUMN postmeter.month_close.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.month_close.items IS 'How many remittances or usages.';

COMMENT ON COLUMN postmeter.month_close.quantity IS 'How much.';

COMMENT ON COLUMN postmeter.month_close.unit IS 'billing units, or units of the metric.';

COMMENT ON COLUMN postmeter.month_close.amount IS 'Billing units times unit price; null: unpriced, never zero.';

COMMENT ON COLUMN postmeter.month_close.currency IS 'Currency of the amount; null: unpriced.';

COMMENT ON COLUMN postmeter.month_close.shadow IS 'The row is a shadow''s: nothing of it was billed.';

CREATE TABLE postmeter.outcome_default (
    attempt_id uuid NOT NULL,
    outcome text NOT NULL,
    code text,
    is_try boolean NOT NULL,
    shown_quantity numeric,
    retry_after interval,
    receipt text,
    http_status integer,
    their_request_id text,
    excerpt text,
    duration interval,
    recorded_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT outcome_code_check CHECK ((octet_length(code) <= 200)),
    CONSTRAINT outcome_excerpt_check CHECK ((octet_length(excerpt) <= 8000)),
    CONSTRAINT outcome_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'duplicate'::text, 'conflict'::text, 'rejected'::text, 'not_entitled'::text, 'batch_refused'::text, 'throttled'::text, 'unavailable'::text, 'unauthorised'::text, 'unknown'::text, 'unrecognised'::text, 'too_old'::text, 'not_sent'::text, 'no_credentials'::text, 'unmapped'::text, 'dry_run'::text, 'handed_back'::text]))),
    CONSTRAINT outcome_receipt_check CHECK ((octet_length(receipt) <= 1000)),
    CONSTRAINT outcome_their_request_id_check CHECK ((octet_length(their_request_id) <= 1000))
);

COMMENT ON TABLE postmeter.outcome_default IS 'Outcomes for which no partition was made in time.';

CREATE TABLE postmeter.pace (
    quota_id integer NOT NULL,
    wait_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    rate double precision,
    base double precision DEFAULT 0 NOT NULL,
    trial_rate double precision,
    trial_share double precision,
    epoch_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    epoch_calls double precision DEFAULT 0 NOT NULL,
    epoch_faults double precision DEFAULT 0 NOT NULL,
    window_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    window_calls double precision DEFAULT 0 NOT NULL,
    window_passed double precision DEFAULT 0 NOT NULL,
    before_seconds double precision DEFAULT 0 NOT NULL,
    before_calls double precision DEFAULT 0 NOT NULL,
    before_passed double precision DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    wait_ended_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT pace_base_check CHECK (((base >= (0)::double precision) AND (base <= (1)::double precision))),
    CONSTRAINT pace_rate_check CHECK ((rate > (0)::double precision)),
    CONSTRAINT pace_trial CHECK (((trial_rate IS NULL) = (trial_share IS NULL))),
    CONSTRAINT pace_trial_rate_check CHECK ((trial_rate > (0)::double precision)),
    CONSTRAINT pace_trial_share_check CHECK (((trial_share >= (0)::double precision) AND (trial_share <= (1)::double precision)))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.pace IS 'How fast a quota is taken by what its calls were answered: throttling and server errors slow the whole fleet down, and trip nothing. A quota that never met any has no row. Its times are real times.';

COMMENT ON COLUMN postmeter.pace.quota_id IS 'The quota.';

COMMENT ON COLUMN postmeter.pace.wait_until IS 'No call starts before: the server said so (Retry-After).';

COMMENT ON COLUMN postmeter.pace.rate IS 'Calls a second at most, below what the quota allows; null: as the quota says.';

COMMENT ON COLUMN postmeter.pace.base IS 'The share of calls that fail whatever the pace: slowing down for these would only lose time.';

COMMENT ON COLUMN postmeter.pace.trial_rate IS 'The pace before it was last lowered, until it is known whether that helped.';

COMMENT ON COLUMN postmeter.pace.trial_share IS 'The share of calls that failed at that pace.';

COMMENT ON COLUMN postmeter.pace.epoch_at IS 'Since when calls are counted for the next change.';

COMMENT ON COLUMN postmeter.pace.epoch_calls IS 'Calls answered since.';

COMMENT ON COLUMN postmeter.pace.epoch_faults IS 'Of these, throttled or answered by a server error.';

COMMENT ON COLUMN postmeter.pace.window_at IS 'Begin of the running ten seconds.';

COMMENT ON COLUMN postmeter.pace.window_calls IS 'Calls answered in them.';

COMMENT ON COLUMN postmeter.pace.window_passed IS 'Of these, with a record accepted.';

COMMENT ON COLUMN postmeter.pace.before_seconds IS 'How long the ten seconds before were.';

COMMENT ON COLUMN postmeter.pace.before_calls IS 'Calls answered in the ten seconds before.';

COMMENT ON COLUMN postmeter.pace.before_passed IS 'Of these, with a record accepted.';

COMMENT ON COLUMN postmeter.pace.updated_at IS 'When a worker last wrote this row.';

COMMENT ON COLUMN postmeter.pace.wait_ended_at IS 'When a person last ended its wait: what a worker heard before says nothing any more.';

CREATE TABLE postmeter.proven_remittance (
    meter_id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    denominator numeric NOT NULL,
    remains numeric NOT NULL
);

COMMENT ON TABLE postmeter.proven_remittance IS 'What a remittance left on a meter when it was read last, if it was not nothing (remittance_balance.remains).';

COMMENT ON COLUMN postmeter.proven_remittance.meter_id IS 'The meter.';

COMMENT ON COLUMN postmeter.proven_remittance.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.proven_remittance.denominator IS 'The meter''s denominator at that time.';

COMMENT ON COLUMN postmeter.proven_remittance.remains IS 'In billing units x that denominator.';

ALTER TABLE postmeter.quota ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.quota_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.reported (
    reconciliation_id bigint NOT NULL,
    buyer text NOT NULL COLLATE pg_catalog."C",
    dimension text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    quantity numeric NOT NULL,
    records bigint NOT NULL,
    CONSTRAINT reported_records_check CHECK ((records >= 0))
);

COMMENT ON TABLE postmeter.reported IS 'What it answered: sums of the day per key and state, to the letter.';

COMMENT ON COLUMN postmeter.reported.reconciliation_id IS 'Which question it answers.';

COMMENT ON COLUMN postmeter.reported.buyer IS 'The buyer, in canonical form.';

COMMENT ON COLUMN postmeter.reported.dimension IS 'Their name of the metric.';

COMMENT ON COLUMN postmeter.reported.state IS 'Their word for how far they are with it.';

COMMENT ON COLUMN postmeter.reported.quantity IS 'What they processed; where they have not, what was submitted.';

COMMENT ON COLUMN postmeter.reported.records IS 'How many records that is.';

CREATE VIEW postmeter.reconciled AS
 WITH latest AS (
         SELECT DISTINCT ON (r.destination_id, r.day) r.id,
            r.destination_id,
            r.day,
            r.asked_at
           FROM postmeter.reconciliation r
          ORDER BY r.destination_id, r.day, r.id DESC
        ), theirs AS (
         SELECT l_1.id,
            x.buyer,
            x.dimension,
            sum(x.quantity) AS quantity,
            sum(x.records) AS records,
            string_agg(DISTINCT x.state, ', '::text ORDER BY x.state) AS states
           FROM (latest l_1
             JOIN postmeter.reported x ON ((x.reconciliation_id = l_1.id)))
          WHERE (x.state <> 'Rejected'::text)
          GROUP BY l_1.id, x.buyer, x.dimension
        ), ours AS (
         SELECT l_1.id,
            m.buyer,
            m.dimension,
            sum(COALESCE(d.shown_quantity, d.quantity)) AS quantity,
            count(*) AS records
           FROM ((latest l_1
             JOIN postmeter.meter m ON ((m.destination_id = l_1.destination_id)))
             JOIN postmeter.delivery d ON (((d.meter_id = m.id) AND (d.status = 'accepted'::text) AND (d.hour >= ((l_1.day)::timestamp without time zone AT TIME ZONE 'UTC'::text)) AND (d.hour < (((l_1.day + 1))::timestamp without time zone AT TIME ZONE 'UTC'::text)))))
          WHERE ((m.month >= (date_trunc('month'::text, ((l_1.day - 1))::timestamp with time zone))::date) AND (m.month <= (date_trunc('month'::text, ((l_1.day + 1))::timestamp with time zone))::date))
          GROUP BY l_1.id, m.buyer, m.dimension
        )
 SELECT t.name AS destination,
    l.day,
    COALESCE(o.buyer, h.buyer) AS buyer,
    COALESCE(o.dimension, h.dimension) AS dimension,
    trim_scale(o.quantity) AS ours,
    o.records AS our_records,
    trim_scale(h.quantity) AS theirs,
    h.records AS their_records,
    h.states,
        CASE
            WHEN (NOT (EXISTS ( SELECT
               FROM postmeter.dropped_month g
              WHERE ((g.destination_id = t.id) AND (((g.month)::timestamp without time zone AT TIME ZONE t.zone) < (((l.day + 1))::timestamp without time zone AT TIME ZONE 'UTC'::text)) AND (((g.month + '1 mon'::interval) AT TIME ZONE t.zone) > ((l.day)::timestamp without time zone AT TIME ZONE 'UTC'::text)))))) THEN trim_scale((COALESCE(h.quantity, (0)::numeric) - COALESCE(o.quantity, (0)::numeric)))
            ELSE NULL::numeric
        END AS difference,
        CASE
            WHEN (EXISTS ( SELECT
               FROM postmeter.dropped_month g
              WHERE ((g.destination_id = t.id) AND (((g.month)::timestamp without time zone AT TIME ZONE t.zone) < (((l.day + 1))::timestamp without time zone AT TIME ZONE 'UTC'::text)) AND (((g.month + '1 mon'::interval) AT TIME ZONE t.zone) > ((l.day)::timestamp without time zone AT TIME ZONE 'UTC'::text))))) THEN 'dropped'::text
            WHEN (h.buyer IS NULL) THEN 'ours_alone'::text
            WHEN (o.buyer IS NULL) THEN 'theirs_alone'::text
            WHEN (h.quantity <> o.quantity) THEN 'quantity'::text
            ELSE 'equal'::text
        END AS verdict,
    l.asked_at
   FROM (((ours o
     FULL JOIN theirs h ON (((h.id = o.id) AND (h.buyer = o.buyer) AND (h.dimension = o.dimension))))
     JOIN latest l ON ((l.id = COALESCE(o.id, h.id))))
     JOIN postmeter.destination t ON ((t.id = l.destination_id)));

COMMENT ON VIEW postmeter.reconciled IS 'The latest answer for each day that was asked about, beside what we hold as accepted. verdict: equal, quantity (the sums differ), ours_alone (they hold nothing of what we call accepted: it was lost there), theirs_alone (they hold what we do not call accepted: somebody else sent it, or an unknown was taken). What they rejected does not count as theirs. Nothing is ever sent because of it.';

COMMENT ON COLUMN postmeter.reconciled.destination IS 'Who was asked.';

COMMENT ON COLUMN postmeter.reconciled.day IS 'The day that was asked about, UTC.';

COMMENT ON COLUMN postmeter.reconciled.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.reconciled.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.reconciled.ours IS 'Billing units of that day that we hold as accepted; where they showed their own quantity, that.';

COMMENT ON COLUMN postmeter.reconciled.our_records IS 'Remittances in ours.';

COMMENT ON COLUMN postmeter.reconciled.theirs IS 'Billing units that they hold, without what they rejected.';

COMMENT ON COLUMN postmeter.reconciled.their_records IS 'Records in theirs.';

COMMENT ON COLUMN postmeter.reconciled.states IS 'Their words for how far they are with it.';

COMMENT ON COLUMN postmeter.reconciled.difference IS 'Theirs less ours; null: dropped.';

COMMENT ON COLUMN postmeter.reconciled.verdict IS 'equal, quantity, ours_alone (they lost it) or theirs_alone (an unknown was taken, or somebody else sent it); dropped: the remittances of that day were dropped, and there is nothing to compare.';

COMMENT ON COLUMN postmeter.reconciled.asked_at IS 'When.';

ALTER TABLE postmeter.reconciliation ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.reconciliation_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.recounted (
    decision_id bigint NOT NULL,
    delivery_id bigint NOT NULL,
    meter_metric_id bigint NOT NULL,
    subscription_id bigint NOT NULL,
    target_delivery_id bigint,
    target_meter_metric_id bigint,
    exemption_id bigint,
    is_late boolean NOT NULL,
    usages bigint NOT NULL,
    quantity numeric NOT NULL,
    CONSTRAINT recounted_target CHECK (((num_nonnulls(target_delivery_id, exemption_id) = 1) AND ((target_delivery_id IS NULL) = (target_meter_metric_id IS NULL))))
);

COMMENT ON TABLE postmeter.recounted IS 'Usage that recounts moved: how much of it, and from which remittance to which. Append-only.';

COMMENT ON COLUMN postmeter.recounted.decision_id IS 'The decision.';

COMMENT ON COLUMN postmeter.recounted.delivery_id IS 'The remittance that counted it.';

COMMENT ON COLUMN postmeter.recounted.meter_metric_id IS 'The meter and metric on which it was counted.';

COMMENT ON COLUMN postmeter.recounted.subscription_id IS 'The subscription by which it was counted.';

COMMENT ON COLUMN postmeter.recounted.target_delivery_id IS 'The remittance that counts it now; null: it is exempt by now.';

COMMENT ON COLUMN postmeter.recounted.target_meter_metric_id IS 'The meter and metric on which it counts now.';

COMMENT ON COLUMN postmeter.recounted.exemption_id IS 'The exemption, if it is exempt by now.';

COMMENT ON COLUMN postmeter.recounted.is_late IS 'It counts as late usage: its own hour was in the way of something.';

COMMENT ON COLUMN postmeter.recounted.usages IS 'How many usages.';

COMMENT ON COLUMN postmeter.recounted.quantity IS 'Their quantity in units of the metric.';

CREATE TABLE postmeter.refusal (
    destination_id integer NOT NULL,
    buyer text NOT NULL COLLATE pg_catalog."C",
    delivery_id bigint NOT NULL,
    code text NOT NULL,
    http_status integer,
    alone integer NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    refused_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    refused_id uuid NOT NULL,
    passed_at timestamp with time zone,
    judged_at timestamp with time zone,
    CONSTRAINT refusal_alone_check CHECK ((alone >= 0)),
    CONSTRAINT refusal_judged CHECK (((judged_at IS NULL) OR (alone > 0)))
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.refusal IS 'Buyers whose calls were refused in words that may be about one of them or about the credential (a 403). What others are answered after it says whose fault it is. A buyer that is accepted has no row. Its times are real times.';

COMMENT ON COLUMN postmeter.refusal.destination_id IS 'The destination.';

COMMENT ON COLUMN postmeter.refusal.buyer IS 'The buyer, as in meter.buyer.';

COMMENT ON COLUMN postmeter.refusal.delivery_id IS 'The remittance that was refused last.';

COMMENT ON COLUMN postmeter.refusal.code IS 'Their word for it.';

COMMENT ON COLUMN postmeter.refusal.http_status IS 'The HTTP status.';

COMMENT ON COLUMN postmeter.refusal.alone IS 'How often it was refused in a call of its own; 0: only together with others. From the first time on it is sent alone.';

COMMENT ON COLUMN postmeter.refusal.since IS 'When it was refused first.';

COMMENT ON COLUMN postmeter.refusal.refused_at IS 'When it was refused last.';

COMMENT ON COLUMN postmeter.refusal.refused_id IS 'Attempts with later ids were claimed after the refusal that others must pass after.';

COMMENT ON COLUMN postmeter.refusal.passed_at IS 'When another buyer was accepted by a call that was claimed after it: the credential may bill.';

COMMENT ON COLUMN postmeter.refusal.judged_at IS 'When it was found to be this buyer''s own: refused alone, with others passing. Its remittance is held since.';

CREATE VIEW postmeter.refused_buyer AS
 SELECT t.name AS destination,
    r.buyer,
    r.code,
    r.http_status,
    r.alone AS refusals,
    r.since,
    r.refused_at,
    r.delivery_id,
        CASE
            WHEN (r.judged_at IS NOT NULL) THEN 'buyer'::text
            WHEN (( SELECT count(*) AS count
               FROM postmeter.refusal o
              WHERE ((o.destination_id = r.destination_id) AND (o.alone > 0) AND (o.passed_at IS NULL) AND (o.judged_at IS NULL))) >= 3) THEN 'credential'::text
            ELSE 'unknown'::text
        END AS to_blame,
    r.judged_at
   FROM ((postmeter.refusal r
     JOIN postmeter.destination t ON ((t.id = r.destination_id)))
     JOIN postmeter.delivery d ON ((d.id = r.delivery_id)))
  WHERE ((r.alone > 0) AND (d.status = ANY (ARRAY['due'::text, 'in_flight'::text, 'held'::text])) AND ((r.judged_at IS NOT NULL) OR (r.passed_at IS NULL) OR (d.status <> 'held'::text)));

COMMENT ON VIEW postmeter.refused_buyer IS 'Buyers that were refused in a call of their own, and whose fault it is: the buyer''s (others passed after it), the credential''s (three were refused and none has passed since), or unknown as yet. Times are real times.';

COMMENT ON COLUMN postmeter.refused_buyer.destination IS 'The destination.';

COMMENT ON COLUMN postmeter.refused_buyer.buyer IS 'The buyer, as the marketplace knows it.';

COMMENT ON COLUMN postmeter.refused_buyer.code IS 'Their word for it.';

COMMENT ON COLUMN postmeter.refused_buyer.http_status IS 'The HTTP status.';

COMMENT ON COLUMN postmeter.refused_buyer.refusals IS 'How often in a call of its own.';

COMMENT ON COLUMN postmeter.refused_buyer.since IS 'When it was refused first.';

COMMENT ON COLUMN postmeter.refused_buyer.refused_at IS 'When it was refused last.';

COMMENT ON COLUMN postmeter.refused_buyer.delivery_id IS 'The remittance that was refused last.';

COMMENT ON COLUMN postmeter.refused_buyer.to_blame IS 'buyer, credential or unknown.';

COMMENT ON COLUMN postmeter.refused_buyer.judged_at IS 'When it was found to be the buyer''s own fault.';

CREATE VIEW postmeter.remittance_summary AS
 WITH part AS (
         SELECT s.org,
            s.account,
            mm.product,
            mm.metric,
            mm.meter_id,
            c.month,
            a.delivery_id,
            count(*) AS usages,
            sum(a.quantity) AS used
           FROM ((((postmeter.subscription s
             CROSS JOIN ( SELECT m_1.month
                   FROM postmeter.meter m_1
                  GROUP BY m_1.month) c)
             JOIN postmeter.allocation a ON (((a.subscription_id = s.id) AND (a.hour >= (((c.month)::timestamp without time zone AT TIME ZONE 'UTC'::text) - '1 day'::interval)) AND (a.hour < (((c.month + '1 mon'::interval) AT TIME ZONE 'UTC'::text) + '1 day'::interval)))))
             JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
             JOIN postmeter.meter m ON (((m.id = mm.meter_id) AND (m.month = c.month))))
          GROUP BY s.org, s.account, mm.product, mm.metric, mm.meter_id, c.month, a.delivery_id
        UNION ALL
         SELECT k.org,
            s.account,
            k.product,
            k.metric,
            mm.meter_id,
            c.month,
            k.delivery_id,
            (sum(k.usages))::bigint AS usages,
            sum(k.quantity) AS used
           FROM ((((( SELECT m_1.month
                   FROM postmeter.meter m_1
                  GROUP BY m_1.month) c
             JOIN postmeter.ledger_carry k ON (((k.hour >= (((c.month)::timestamp without time zone AT TIME ZONE 'UTC'::text) - '1 day'::interval)) AND (k.hour < (((c.month + '1 mon'::interval) AT TIME ZONE 'UTC'::text) + '1 day'::interval)))))
             JOIN postmeter.meter_metric mm ON ((mm.id = k.meter_metric_id)))
             JOIN postmeter.meter m ON (((m.id = mm.meter_id) AND (m.month = c.month))))
             LEFT JOIN postmeter.subscription s ON ((s.id = k.subscription_id)))
          GROUP BY k.org, s.account, k.product, k.metric, mm.meter_id, c.month, k.delivery_id
        ), counted AS (
         SELECT p_1.org,
            p_1.account,
            p_1.product,
            p_1.metric,
            p_1.meter_id,
            p_1.month,
            p_1.delivery_id,
            (sum(p_1.usages))::bigint AS usages,
            sum(p_1.used) AS used
           FROM part p_1
          GROUP BY p_1.org, p_1.account, p_1.product, p_1.metric, p_1.meter_id, p_1.month, p_1.delivery_id
        UNION ALL
         SELECT s.org,
            s.account,
            s.product,
            NULL::text AS metric,
            m.id,
            m.month,
            k.delivery_id,
            0 AS usages,
            0 AS used
           FROM ((((postmeter.subscription s
             JOIN postmeter.meter m ON (((m.destination_id = s.destination_id) AND (m.buyer = s.buyer) AND (s.contract IS NULL))))
             JOIN postmeter.cut k ON (((k.meter_id = m.id) AND (k.to_bill > (0)::numeric))))
             JOIN postmeter.delivery d ON (((d.id = k.delivery_id) AND (d.product = s.product) AND (s.valid_from < (d.hour + '01:00:00'::interval)) AND ((s.valid_until IS NULL) OR (d.hour < s.valid_until)))))
             JOIN postmeter.meter own ON (((own.id = d.meter_id) AND (own.buyer = m.buyer))))
          WHERE ((NOT (EXISTS ( SELECT
                   FROM (postmeter.allocation a
                     JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
                  WHERE ((a.delivery_id = k.delivery_id) AND (mm.meter_id = k.meter_id))))) AND (NOT (EXISTS ( SELECT
                   FROM (postmeter.ledger_carry a
                     JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
                  WHERE ((a.delivery_id = k.delivery_id) AND (mm.meter_id = k.meter_id))))))
          GROUP BY s.org, s.account, s.product, m.id, m.month, k.delivery_id
        UNION ALL
         SELECT s.org,
            s.account,
            s.product,
            NULL::text AS metric,
            m.id,
            m.month,
            k.delivery_id,
            0 AS usages,
            0 AS used
           FROM (((((( SELECT k_1.subscription_id,
                    k_1.month,
                    k_1.contract
                   FROM postmeter.contract_member k_1
                UNION ALL
                 SELECT x.id,
                    m_1.month,
                    m_1.buyer
                   FROM (postmeter.subscription x
                     JOIN postmeter.meter m_1 ON (((m_1.destination_id = x.destination_id) AND (m_1.buyer = postmeter.contract_name(x.product, x.contract)))))
                  WHERE ((x.contract IS NOT NULL) AND (NOT (EXISTS ( SELECT
                           FROM postmeter.contract_member k_1
                          WHERE ((k_1.subscription_id = x.id) AND (k_1.month = m_1.month))))))
                  GROUP BY x.id, m_1.month, m_1.buyer) o
             JOIN postmeter.subscription s ON (((s.id = o.subscription_id) AND ((s.buyer <> o.contract) OR (s.contract IS NOT NULL)))))
             JOIN postmeter.meter m ON (((m.destination_id = s.destination_id) AND (m.buyer = o.contract) AND (m.month = o.month))))
             JOIN postmeter.cut k ON (((k.meter_id = m.id) AND (k.to_bill > (0)::numeric))))
             JOIN postmeter.delivery d ON (((d.id = k.delivery_id) AND (d.product = s.product) AND (s.valid_from < (d.hour + '01:00:00'::interval)) AND ((s.valid_until IS NULL) OR (d.hour < s.valid_until)))))
             JOIN postmeter.meter own ON (((own.id = d.meter_id) AND (own.buyer = s.buyer))))
          WHERE ((NOT (EXISTS ( SELECT
                   FROM (postmeter.allocation a
                     JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
                  WHERE ((a.delivery_id = k.delivery_id) AND (mm.meter_id = k.meter_id))))) AND (NOT (EXISTS ( SELECT
                   FROM (postmeter.ledger_carry a
                     JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
                  WHERE ((a.delivery_id = k.delivery_id) AND (mm.meter_id = k.meter_id))))))
          GROUP BY s.org, s.account, s.product, m.id, m.month, k.delivery_id
        ), whole AS (
         SELECT c.org,
            c.account,
            c.product,
            c.metric,
            c.month,
            c.usages,
            c.used,
            d.destination_id,
            d.status,
            d.shadow,
            m.dimension,
            b.billed,
                CASE
                    WHEN (c.usages > 0) THEN ((EXISTS ( SELECT
                       FROM ((postmeter.allocation o
                         JOIN postmeter.subscription os ON ((os.id = o.subscription_id)))
                         JOIN postmeter.meter_metric om ON ((om.id = o.meter_metric_id)))
                      WHERE ((o.delivery_id = c.delivery_id) AND (om.meter_id = c.meter_id) AND ((os.org IS DISTINCT FROM c.org) OR (os.account IS DISTINCT FROM c.account) OR (om.product IS DISTINCT FROM c.product) OR (om.metric IS DISTINCT FROM c.metric))))) OR (EXISTS ( SELECT
                       FROM ((postmeter.ledger_carry o
                         JOIN postmeter.meter_metric om ON ((om.id = o.meter_metric_id)))
                         LEFT JOIN postmeter.subscription os ON ((os.id = o.subscription_id)))
                      WHERE ((o.delivery_id = c.delivery_id) AND (om.meter_id = c.meter_id) AND ((o.org IS DISTINCT FROM c.org) OR (os.account IS DISTINCT FROM c.account) OR (o.product IS DISTINCT FROM c.product) OR (o.metric IS DISTINCT FROM c.metric))))))
                    ELSE (EXISTS ( SELECT
                       FROM postmeter.subscription os
                      WHERE ((os.destination_id = d.destination_id) AND (os.buyer = own.buyer) AND (os.product = d.product) AND (os.valid_from < (d.hour + '01:00:00'::interval)) AND ((os.valid_until IS NULL) OR (d.hour < os.valid_until)) AND ((os.org IS DISTINCT FROM c.org) OR (os.account IS DISTINCT FROM c.account)))))
                END AS shared
           FROM ((((counted c
             JOIN postmeter.delivery d ON ((d.id = c.delivery_id)))
             JOIN postmeter.meter m ON ((m.id = c.meter_id)))
             JOIN postmeter.meter own ON ((own.id = d.meter_id)))
             LEFT JOIN LATERAL ( SELECT sum(k.to_bill) AS billed
                   FROM postmeter.cut k
                  WHERE ((k.delivery_id = c.delivery_id) AND (k.meter_id = c.meter_id) AND (d.status <> 'open'::text))) b ON (true))
        )
 SELECT w.org,
    w.account,
    w.product,
    w.metric,
    t.name AS destination,
    w.month,
    w.status,
    w.shared,
    w.dimension,
    count(*) AS remittances,
    (sum(w.usages))::bigint AS usages,
    trim_scale(sum(w.used)) AS used,
    trim_scale(sum(w.billed)) AS quantity,
    trim_scale((sum(w.billed) * p.unit_price)) AS amount,
    p.currency,
    w.shadow
   FROM ((whole w
     JOIN postmeter.destination t ON ((t.id = w.destination_id)))
     LEFT JOIN LATERAL ( SELECT x.unit_price,
            x.currency
           FROM postmeter.dimension x
          WHERE ((x.destination_id = w.destination_id) AND (x.name = w.dimension) AND (x.product = w.product) AND (x.valid_from <= w.month))
          ORDER BY x.valid_from DESC, x.id
         LIMIT 1) p ON (true))
  GROUP BY w.org, w.account, w.product, w.metric, t.name, w.month, w.status, w.shared, w.dimension, w.shadow, p.unit_price, p.currency
UNION ALL
 SELECT s.org,
    s.account,
    s.product,
    s.metric,
    t.name AS destination,
    k.month,
    s.status,
    s.shared,
    k.dimension,
    (sum(s.remittances))::bigint AS remittances,
    (sum(s.usages))::bigint AS usages,
    trim_scale(sum(s.used)) AS used,
    trim_scale(sum(s.quantity)) AS quantity,
    trim_scale((sum(s.quantity) * p.unit_price)) AS amount,
    p.currency,
    s.shadow
   FROM (((postmeter.dropped_sum s
     JOIN postmeter.dropped_meter k ON ((k.id = s.meter_id)))
     JOIN postmeter.destination t ON ((t.id = k.destination_id)))
     LEFT JOIN LATERAL ( SELECT x.unit_price,
            x.currency
           FROM postmeter.dimension x
          WHERE ((x.destination_id = k.destination_id) AND (x.name = k.dimension) AND (x.product = s.product) AND (x.valid_from <= k.month))
          ORDER BY x.valid_from DESC, x.id
         LIMIT 1) p ON (true))
  WHERE (s.answers = 'remittance_summary'::text)
  GROUP BY s.org, s.account, s.product, s.metric, t.name, k.month, s.status, s.shared, k.dimension, s.shadow, p.unit_price, p.currency;

COMMENT ON VIEW postmeter.remittance_summary IS 'What the remittances of an org came to: per org, account, product, metric, destination, month and status, how many there are, the usage in them (units of the metric) and what they bill (billing units, and at the price of the dimension; one currency a row, null: unpriced). Where others are in the same remittances (shared), the billing units are those of the whole remittance: rounded once for all, they are nobody''s share, so shared rows are not to be added up over orgs, accounts or metrics; used always is. What was released is billed with another remittance, whose row has it too: rows of status released are not to be added to the others. Quick by org and month.';

COMMENT ON COLUMN postmeter.remittance_summary.org IS 'The org.';

COMMENT ON COLUMN postmeter.remittance_summary.account IS 'Which marketplace account, where the org has several.';

COMMENT ON COLUMN postmeter.remittance_summary.product IS 'Our product.';

COMMENT ON COLUMN postmeter.remittance_summary.metric IS 'Our metric; null: quantity that came from other hours alone.';

COMMENT ON COLUMN postmeter.remittance_summary.destination IS 'Name of the destination.';

COMMENT ON COLUMN postmeter.remittance_summary.month IS 'First day of the billing month of the usage.';

COMMENT ON COLUMN postmeter.remittance_summary.status IS 'Where these remittances stand.';

COMMENT ON COLUMN postmeter.remittance_summary.shared IS 'Other orgs, accounts or metrics are in the same remittances.';

COMMENT ON COLUMN postmeter.remittance_summary.dimension IS 'The marketplace''s dimension.';

COMMENT ON COLUMN postmeter.remittance_summary.remittances IS 'How many.';

COMMENT ON COLUMN postmeter.remittance_summary.usages IS 'Usages of this org and metric in them.';

COMMENT ON COLUMN postmeter.remittance_summary.used IS 'Their quantity, in units of the metric.';

COMMENT ON COLUMN postmeter.remittance_summary.quantity IS 'Billing units for this month; null: not cut yet. Of status released: what another remittance has now.';

COMMENT ON COLUMN postmeter.remittance_summary.amount IS 'Quantity times unit price; null: unpriced.';

COMMENT ON COLUMN postmeter.remittance_summary.currency IS 'Of the price; one a row.';

COMMENT ON COLUMN postmeter.remittance_summary.shadow IS 'Of a shadow: nothing of it was billed.';

CREATE TABLE postmeter.request (
    id bigint NOT NULL,
    request_key text NOT NULL COLLATE pg_catalog."C",
    request_id text NOT NULL COLLATE pg_catalog."C",
    account text NOT NULL COLLATE pg_catalog."C",
    org text NOT NULL COLLATE pg_catalog."C",
    inventory_id text NOT NULL COLLATE pg_catalog."C",
    system_id text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    first_date timestamp with time zone NOT NULL,
    last_date timestamp with time zone NOT NULL,
    last_recorded_at timestamp with time zone NOT NULL,
    statuses bigint NOT NULL,
    kinds bigint[] NOT NULL,
    outcome text NOT NULL COLLATE pg_catalog."C",
    failed_service text COLLATE pg_catalog."C",
    failure text,
    open_services text[] NOT NULL,
    CONSTRAINT request_outcome_check CHECK ((outcome = ANY (ARRAY['open'::text, 'succeeded'::text, 'failed'::text]))),
    CONSTRAINT request_statuses_check CHECK ((statuses > 0))
)
WITH (fillfactor='80');

COMMENT ON TABLE postmeter.request IS 'One row a request, computed by gather from its statuses.';

COMMENT ON COLUMN postmeter.request.id IS 'Its number.';

COMMENT ON COLUMN postmeter.request.request_key IS 'See request_status.request_key.';

COMMENT ON COLUMN postmeter.request.request_id IS 'Its id in the form in which it was first recorded.';

COMMENT ON COLUMN postmeter.request.account IS 'The latest account that a message gave; empty: none did.';

COMMENT ON COLUMN postmeter.request.org IS 'The latest org that a message gave; empty: none did.';

COMMENT ON COLUMN postmeter.request.inventory_id IS 'The latest inventory id that a message gave; empty: none did.';

COMMENT ON COLUMN postmeter.request.system_id IS 'The latest system id that a message gave; empty: none did.';

COMMENT ON COLUMN postmeter.request.created_at IS 'Date of the message that was recorded first; never changed afterwards.';

COMMENT ON COLUMN postmeter.request.first_date IS 'Earliest date of its messages.';

COMMENT ON COLUMN postmeter.request.last_date IS 'Latest date of its messages.';

COMMENT ON COLUMN postmeter.request.last_recorded_at IS 'When the last of them was recorded.';

COMMENT ON COLUMN postmeter.request.statuses IS 'How many messages there are.';

COMMENT ON COLUMN postmeter.request.kinds IS 'Kinds of its messages (request_status_kind).';

COMMENT ON COLUMN postmeter.request.outcome IS 'failed: some service failed last; else open: some service has not finished; else succeeded.';

COMMENT ON COLUMN postmeter.request.failed_service IS 'The service that failed first.';

COMMENT ON COLUMN postmeter.request.failure IS 'What that service said.';

COMMENT ON COLUMN postmeter.request.open_services IS 'Services that said something and have not finished.';

CREATE TABLE postmeter.request_count (
    org text NOT NULL COLLATE pg_catalog."C",
    account text NOT NULL COLLATE pg_catalog."C",
    outcome text NOT NULL COLLATE pg_catalog."C",
    hour timestamp with time zone NOT NULL,
    n bigint NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE postmeter.request_count IS 'How many requests there are per org, account, outcome and hour of creation.';

COMMENT ON COLUMN postmeter.request_count.org IS 'The org; empty: none known.';

COMMENT ON COLUMN postmeter.request_count.account IS 'The account; empty: none known.';

COMMENT ON COLUMN postmeter.request_count.outcome IS 'See request.outcome.';

COMMENT ON COLUMN postmeter.request_count.hour IS 'Hour of created_at.';

COMMENT ON COLUMN postmeter.request_count.n IS 'How many.';

CREATE TABLE postmeter.request_hour (
    outcome text NOT NULL COLLATE pg_catalog."C",
    hour timestamp with time zone NOT NULL,
    n bigint NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE postmeter.request_hour IS 'How many requests there are per outcome and hour of creation.';

COMMENT ON COLUMN postmeter.request_hour.outcome IS 'See request.outcome.';

COMMENT ON COLUMN postmeter.request_hour.hour IS 'Hour of created_at.';

COMMENT ON COLUMN postmeter.request_hour.n IS 'How many.';

ALTER TABLE postmeter.request ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.request_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.request_message_count (
    message bigint NOT NULL,
    kind bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    recorded_hour timestamp with time zone NOT NULL,
    n bigint NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE postmeter.request_message_count IS 'The same, for one status_msg.';

COMMENT ON COLUMN postmeter.request_message_count.message IS 'The message.';

COMMENT ON COLUMN postmeter.request_message_count.kind IS 'The kind.';

COMMENT ON COLUMN postmeter.request_message_count.hour IS 'Hour of their date.';

COMMENT ON COLUMN postmeter.request_message_count.recorded_hour IS 'Hour of their recording.';

COMMENT ON COLUMN postmeter.request_message_count.n IS 'How many.';

CREATE TABLE postmeter.request_news (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    id bigint NOT NULL,
    request_key text NOT NULL COLLATE pg_catalog."C",
    date timestamp with time zone NOT NULL,
    digest uuid NOT NULL,
    kind bigint NOT NULL,
    message bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');

COMMENT ON TABLE postmeter.request_news IS 'Request statuses that gather has not counted yet. Inserted with the status, deleted by gather, never updated: writers never wait for one another.';

COMMENT ON COLUMN postmeter.request_news.xid IS 'The transaction that recorded it: gather knows below which none can add any more.';

COMMENT ON COLUMN postmeter.request_news.id IS 'Order within the transaction.';

COMMENT ON COLUMN postmeter.request_news.request_key IS 'The request.';

COMMENT ON COLUMN postmeter.request_news.date IS 'Date of the status.';

COMMENT ON COLUMN postmeter.request_news.digest IS 'Which of that date.';

COMMENT ON COLUMN postmeter.request_news.kind IS 'Its kind.';

COMMENT ON COLUMN postmeter.request_news.message IS 'Its message.';

COMMENT ON COLUMN postmeter.request_news.recorded_at IS 'When it was recorded.';

ALTER TABLE postmeter.request_news ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.request_news_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.request_status (
    request_key text NOT NULL COLLATE pg_catalog."C",
    date timestamp with time zone NOT NULL,
    digest uuid NOT NULL,
    kind bigint GENERATED ALWAYS AS (hashtextextended(status, hashtextextended(source, hashtextextended(service, (0)::bigint)))) STORED NOT NULL,
    message bigint GENERATED ALWAYS AS (hashtextextended(status_msg, (0)::bigint)) STORED NOT NULL,
    request_id text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    source text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    status_msg text NOT NULL COLLATE pg_catalog."C",
    account text NOT NULL COLLATE pg_catalog."C",
    org text NOT NULL COLLATE pg_catalog."C",
    inventory_id text NOT NULL COLLATE pg_catalog."C",
    system_id text NOT NULL COLLATE pg_catalog."C",
    recorded_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (date);

COMMENT ON TABLE postmeter.request_status IS 'What a service said about a request: one row a message, for ever until its day is dropped. One partition a day.';

COMMENT ON COLUMN postmeter.request_status.request_key IS 'The request, whatever form its id was given in (postmeter.request_key_of).';

COMMENT ON COLUMN postmeter.request_status.date IS 'When it happened, as the service says; without that, when it was recorded.';

COMMENT ON COLUMN postmeter.request_status.digest IS 'Hash of the message: the same message twice is one row.';

COMMENT ON COLUMN postmeter.request_status.kind IS 'Hash of service, source and status: short enough for indexes, and the same for whoever names a status first.';

COMMENT ON COLUMN postmeter.request_status.message IS 'Hash of status_msg, to count by.';

COMMENT ON COLUMN postmeter.request_status.request_id IS 'The request''s id as it was given.';

COMMENT ON COLUMN postmeter.request_status.service IS 'Who said it, in lower case.';

COMMENT ON COLUMN postmeter.request_status.source IS 'Which part of the service, in lower case; empty: none.';

COMMENT ON COLUMN postmeter.request_status.status IS 'What was said, in lower case.';

COMMENT ON COLUMN postmeter.request_status.status_msg IS 'In more words; empty: none.';

COMMENT ON COLUMN postmeter.request_status.account IS 'Account of the request, where this message says it.';

COMMENT ON COLUMN postmeter.request_status.org IS 'Org of the request, where this message says it.';

COMMENT ON COLUMN postmeter.request_status.inventory_id IS 'Inventory id of the request, where this message says it.';

COMMENT ON COLUMN postmeter.request_status.system_id IS 'System id of the request, where this message says it.';

COMMENT ON COLUMN postmeter.request_status.recorded_at IS 'When it was recorded, on postmeter.clock().';

CREATE TABLE postmeter.request_status_count (
    kind bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    recorded_hour timestamp with time zone NOT NULL,
    n bigint NOT NULL
)
WITH (fillfactor='70');

COMMENT ON TABLE postmeter.request_status_count IS 'How many statuses there are per kind, hour of their date and hour of their recording: what makes true counts cheap.';

COMMENT ON COLUMN postmeter.request_status_count.kind IS 'The kind.';

COMMENT ON COLUMN postmeter.request_status_count.hour IS 'Hour of their date.';

COMMENT ON COLUMN postmeter.request_status_count.recorded_hour IS 'Hour of their recording.';

COMMENT ON COLUMN postmeter.request_status_count.n IS 'How many.';

CREATE TABLE postmeter.request_status_default (
    request_key text NOT NULL COLLATE pg_catalog."C",
    date timestamp with time zone NOT NULL,
    digest uuid NOT NULL,
    kind bigint GENERATED ALWAYS AS (hashtextextended(status, hashtextextended(source, hashtextextended(service, (0)::bigint)))) STORED NOT NULL,
    message bigint GENERATED ALWAYS AS (hashtextextended(status_msg, (0)::bigint)) STORED NOT NULL,
    request_id text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    source text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    status_msg text NOT NULL COLLATE pg_catalog."C",
    account text NOT NULL COLLATE pg_catalog."C",
    org text NOT NULL COLLATE pg_catalog."C",
    inventory_id text NOT NULL COLLATE pg_catalog."C",
    system_id text NOT NULL COLLATE pg_catalog."C",
    recorded_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE postmeter.request_status_default IS 'Request statuses of days that have no partition: no row is ever refused for want of one. Maintenance moves them once their day has one.';

CREATE TABLE postmeter.request_status_kind (
    kind bigint NOT NULL,
    service text NOT NULL COLLATE pg_catalog."C",
    source text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    total bigint NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE postmeter.request_status_kind IS 'Which services, sources and statuses there are, and how often each was recorded in all.';

COMMENT ON COLUMN postmeter.request_status_kind.kind IS 'See request_status.kind.';

COMMENT ON COLUMN postmeter.request_status_kind.service IS 'The service.';

COMMENT ON COLUMN postmeter.request_status_kind.source IS 'The source; empty: none.';

COMMENT ON COLUMN postmeter.request_status_kind.status IS 'The status.';

COMMENT ON COLUMN postmeter.request_status_kind.total IS 'How many were ever counted, dropped ones included.';

CREATE VIEW postmeter.setback_list AS
 SELECT s.step,
    s.member,
    t.name AS destination,
    s.org,
        CASE
            WHEN (s.set_aside_at IS NOT NULL) THEN 'set_aside'::text
            WHEN (s.code IS NOT NULL) THEN 'failing'::text
            ELSE 'locked'::text
        END AS state,
    s.since,
    s.last_at,
        CASE
            WHEN (s.code IS NOT NULL) THEN s.failed
            ELSE s.skipped
        END AS times,
        CASE
            WHEN (s.code IS NOT NULL) THEN s.reason
            ELSE COALESCE(('held by '::text || s.holder), 'another session holds it'::text)
        END AS why,
        CASE
            WHEN (s.code IS NOT NULL) THEN s.next_at
            ELSE NULL::timestamp with time zone
        END AS next_at
   FROM (postmeter.setback s
     LEFT JOIN postmeter.destination t ON ((t.id = s.destination_id)));

COMMENT ON VIEW postmeter.setback_list IS 'What a step could not take along, and why: set aside, failing or locked. The rest of each batch went on.';

COMMENT ON COLUMN postmeter.setback_list.step IS 'The step.';

COMMENT ON COLUMN postmeter.setback_list.member IS 'What it handles one of: fold a usage or an org, cut a remittance, carry a meter.';

COMMENT ON COLUMN postmeter.setback_list.destination IS 'Where it goes, if the step knows that.';

COMMENT ON COLUMN postmeter.setback_list.org IS 'Whose it is, if the step knows that.';

COMMENT ON COLUMN postmeter.setback_list.state IS 'set_aside: it failed twice alone while another passed; failing: it failed; locked: another session holds it.';

COMMENT ON COLUMN postmeter.setback_list.since IS 'Since when it does not go through.';

COMMENT ON COLUMN postmeter.setback_list.last_at IS 'When that was last tried.';

COMMENT ON COLUMN postmeter.setback_list.times IS 'Rounds in a row.';

COMMENT ON COLUMN postmeter.setback_list.why IS 'The server''s message, or the session that holds it.';

COMMENT ON COLUMN postmeter.setback_list.next_at IS 'When it is tried again; null: in the next round.';

CREATE VIEW postmeter.shadow_difference AS
 WITH pair AS (
         SELECT s.id AS shadow_id,
            s.name AS shadow,
            l.id AS live_id,
            l.name AS live,
            ( SELECT min(c_1.changed_at) AS min
                   FROM postmeter.catalogue_change c_1
                  WHERE ((c_1.entry = 'subscription'::text) AND (c_1.old_row IS NULL) AND ((c_1.new_row ->> 'destination_id'::text) = (s.id)::text))) AS since
           FROM (postmeter.destination s
             JOIN postmeter.destination l ON ((l.id = s.shadow_of)))
        ), side AS (
         SELECT p.shadow,
            p.live,
            p.since,
            m.month,
            m.buyer,
            m.dimension,
            d.hour,
            m.destination_id,
            d.product,
            false AS shadows,
            d.id AS delivery_id,
            d.status,
            d.quantity
           FROM ((pair p
             JOIN postmeter.meter m ON ((m.destination_id = p.live_id)))
             JOIN postmeter.delivery d ON ((d.meter_id = m.id)))
          WHERE ((d.status <> 'released'::text) AND (EXISTS ( SELECT
                   FROM (postmeter.subscription a
                     JOIN postmeter.subscription b ON (((b.org = a.org) AND (b.product = a.product) AND (b.destination_id = p.shadow_id))))
                  WHERE ((a.destination_id = p.live_id) AND (a.buyer = m.buyer)))))
        UNION ALL
         SELECT p.shadow,
            p.live,
            p.since,
            m.month,
            m.buyer,
            m.dimension,
            d.hour,
            m.destination_id,
            d.product,
            true,
            d.id,
            d.status,
            d.quantity
           FROM ((pair p
             JOIN postmeter.meter m ON ((m.destination_id = p.shadow_id)))
             JOIN postmeter.delivery d ON ((d.meter_id = m.id)))
          WHERE (d.status <> 'released'::text)
        ), priced AS (
         SELECT s.shadow,
            s.live,
            s.since,
            s.month,
            s.buyer,
            s.dimension,
            s.hour,
            s.shadows,
            s.delivery_id,
            s.status,
            s.quantity,
            (x.unit_price * s.quantity) AS amount,
            x.currency
           FROM (side s
             LEFT JOIN LATERAL ( SELECT x_1.unit_price,
                    x_1.currency
                   FROM postmeter.dimension x_1
                  WHERE ((x_1.destination_id = s.destination_id) AND (x_1.name = s.dimension) AND (x_1.product = s.product) AND (x_1.valid_from <= s.month))
                  ORDER BY x_1.valid_from DESC, x_1.id
                 LIMIT 1) x ON (true))
        ), compared AS (
         SELECT p.shadow,
            p.live,
            p.since,
            p.month,
            p.buyer,
            p.dimension,
            p.hour,
            max(p.delivery_id) FILTER (WHERE (NOT p.shadows)) AS live_delivery_id,
            max(p.delivery_id) FILTER (WHERE p.shadows) AS shadow_delivery_id,
            max(p.status) FILTER (WHERE (NOT p.shadows)) AS live_status,
            max(p.status) FILTER (WHERE p.shadows) AS shadow_status,
            max(p.quantity) FILTER (WHERE (NOT p.shadows)) AS live_quantity,
            max(p.quantity) FILTER (WHERE p.shadows) AS shadow_quantity,
            max(p.amount) FILTER (WHERE (NOT p.shadows)) AS live_amount,
            max(p.currency) FILTER (WHERE (NOT p.shadows)) AS live_currency,
            max(p.amount) FILTER (WHERE p.shadows) AS shadow_amount,
            max(p.currency) FILTER (WHERE p.shadows) AS shadow_currency
           FROM priced p
          GROUP BY p.shadow, p.live, p.since, p.month, p.buyer, p.dimension, p.hour
        )
 SELECT c.shadow,
    c.live,
    c.month,
    c.buyer,
    c.dimension,
    c.hour,
    c.live_delivery_id,
    c.live_status,
    trim_scale(c.live_quantity) AS live_quantity,
    trim_scale(c.live_amount) AS live_amount,
    c.live_currency,
    c.shadow_delivery_id,
    c.shadow_status,
    trim_scale(c.shadow_quantity) AS shadow_quantity,
    trim_scale(c.shadow_amount) AS shadow_amount,
    c.shadow_currency,
    trim_scale((COALESCE(c.shadow_quantity, (0)::numeric) - COALESCE(c.live_quantity, (0)::numeric))) AS difference,
        CASE
            WHEN (c.hour < c.since) THEN 'before_shadow'::text
            WHEN ((c.live_status = 'open'::text) OR (c.shadow_status = 'open'::text)) THEN 'open'::text
            WHEN (COALESCE(c.shadow_quantity, (0)::numeric) = COALESCE(c.live_quantity, (0)::numeric)) THEN 'equal'::text
            WHEN (c.shadow_delivery_id IS NULL) THEN 'live_alone'::text
            WHEN (c.live_delivery_id IS NULL) THEN 'shadow_alone'::text
            ELSE 'quantity'::text
        END AS verdict
   FROM compared c;

COMMENT ON VIEW postmeter.shadow_difference IS 'Per key and hour, what the live destination bills beside what its shadow would bill, in billing units, whatever became of either. verdict: equal, quantity, live_alone, shadow_alone, open (one of them is not cut yet), before_shadow (the hour began before the shadow was told of its first buyer). Live keys of orgs that the shadow knows nothing of are left out. Amounts have their currency; null: unpriced.';

COMMENT ON COLUMN postmeter.shadow_difference.shadow IS 'Name of the shadow.';

COMMENT ON COLUMN postmeter.shadow_difference.live IS 'Name of the live destination.';

COMMENT ON COLUMN postmeter.shadow_difference.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.shadow_difference.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.shadow_difference.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.shadow_difference.hour IS 'The hour, UTC.';

COMMENT ON COLUMN postmeter.shadow_difference.live_delivery_id IS 'The live remittance; null: there is none.';

COMMENT ON COLUMN postmeter.shadow_difference.live_status IS 'Where it stands.';

COMMENT ON COLUMN postmeter.shadow_difference.live_quantity IS 'Its billing units.';

COMMENT ON COLUMN postmeter.shadow_difference.live_amount IS 'At the live price; null: unpriced.';

COMMENT ON COLUMN postmeter.shadow_difference.live_currency IS 'Currency of the live price.';

COMMENT ON COLUMN postmeter.shadow_difference.shadow_delivery_id IS 'The shadow''s remittance; null: there is none.';

COMMENT ON COLUMN postmeter.shadow_difference.shadow_status IS 'Where it stands.';

COMMENT ON COLUMN postmeter.shadow_difference.shadow_quantity IS 'Its billing units.';

COMMENT ON COLUMN postmeter.shadow_difference.shadow_amount IS 'At the shadow''s price.';

COMMENT ON COLUMN postmeter.shadow_difference.shadow_currency IS 'Currency of the shadow''s price.';

COMMENT ON COLUMN postmeter.shadow_difference.difference IS 'The shadow''s quantity less the live one.';

COMMENT ON COLUMN postmeter.shadow_difference.verdict IS 'equal, quantity, live_alone, shadow_alone, open (one is not cut yet), before_shadow.';

CREATE VIEW postmeter.shadow_meter_difference AS
 SELECT d.shadow,
    d.live,
    d.month,
    d.buyer,
    d.dimension,
    count(*) FILTER (WHERE (d.verdict <> 'before_shadow'::text)) AS hours,
    count(*) FILTER (WHERE (d.verdict <> ALL (ARRAY['equal'::text, 'before_shadow'::text]))) AS hours_differ,
    COALESCE(sum(d.live_quantity) FILTER (WHERE (d.verdict <> 'before_shadow'::text)), (0)::numeric) AS live_quantity,
    COALESCE(sum(d.shadow_quantity) FILTER (WHERE (d.verdict <> 'before_shadow'::text)), (0)::numeric) AS shadow_quantity,
    COALESCE(sum(d.difference) FILTER (WHERE (d.verdict <> 'before_shadow'::text)), (0)::numeric) AS difference,
    COALESCE(sum(d.live_quantity) FILTER (WHERE (d.verdict = 'before_shadow'::text)), (0)::numeric) AS live_before_shadow,
    sum(d.live_amount) FILTER (WHERE (d.verdict <> 'before_shadow'::text)) AS live_amount,
    max(d.live_currency) AS live_currency,
    sum(d.shadow_amount) FILTER (WHERE (d.verdict <> 'before_shadow'::text)) AS shadow_amount,
    max(d.shadow_currency) AS shadow_currency
   FROM postmeter.shadow_difference d
  GROUP BY d.shadow, d.live, d.month, d.buyer, d.dimension;

COMMENT ON VIEW postmeter.shadow_meter_difference IS 'shadow_difference summed per month and meter (a buyer''s dimension). Hours before the shadow began are left out and stand in live_before_shadow. A meter has one dimension, so one currency a side.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.shadow IS 'Name of the shadow.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.live IS 'Name of the live destination.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.buyer IS 'The buyer in canonical text.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.dimension IS 'The marketplace''s name of the metric.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.hours IS 'Hours that were compared.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.hours_differ IS 'Of these, hours that are not equal.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.live_quantity IS 'Billing units of the live meter.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.shadow_quantity IS 'Billing units of the shadow''s meter.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.difference IS 'The shadow''s less the live ones.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.live_before_shadow IS 'Live billing units of the hours left out.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.live_amount IS 'At the live price; null: unpriced.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.live_currency IS 'Currency of the live price.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.shadow_amount IS 'At the shadow''s price; null: unpriced.';

COMMENT ON COLUMN postmeter.shadow_meter_difference.shadow_currency IS 'Currency of the shadow''s price.';

CREATE TABLE postmeter.shadow_usage (
    destination_id integer NOT NULL,
    usage_id uuid NOT NULL,
    org text NOT NULL,
    product text NOT NULL COLLATE pg_catalog."C",
    metric text NOT NULL,
    account text,
    quantity numeric NOT NULL,
    hour timestamp with time zone NOT NULL,
    reason text,
    given_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    corrected_id uuid,
    CONSTRAINT shadow_usage_reason_check CHECK ((reason = ANY (ARRAY['no_subscription'::text, 'ambiguous_subscription'::text, 'unmapped_dimension'::text, 'invalid_subscription'::text, 'too_late'::text, 'month_closed'::text, 'poison'::text, 'exempt'::text])))
);

COMMENT ON TABLE postmeter.shadow_usage IS 'Usage that was given to a shadow and that it has not counted: it waits, or there is a reason. Given by the fold of the live destination, once per usage; gone when it is allocated.';

COMMENT ON COLUMN postmeter.shadow_usage.destination_id IS 'The shadow.';

COMMENT ON COLUMN postmeter.shadow_usage.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.shadow_usage.org IS 'Its org.';

COMMENT ON COLUMN postmeter.shadow_usage.product IS 'Its product.';

COMMENT ON COLUMN postmeter.shadow_usage.metric IS 'Its metric.';

COMMENT ON COLUMN postmeter.shadow_usage.account IS 'Its account.';

COMMENT ON COLUMN postmeter.shadow_usage.quantity IS 'Its quantity.';

COMMENT ON COLUMN postmeter.shadow_usage.hour IS 'Its hour.';

COMMENT ON COLUMN postmeter.shadow_usage.reason IS 'Why the shadow does not count it (the reasons of held, and exempt); null: it waits to be counted.';

COMMENT ON COLUMN postmeter.shadow_usage.given_at IS 'Since when.';

COMMENT ON COLUMN postmeter.shadow_usage.corrected_id IS 'The usage that this one corrects; it counts where that counts at this shadow.';

CREATE VIEW postmeter.shadow_usage_difference AS
 WITH pair AS (
         SELECT s_1.id AS shadow_id,
            s_1.name AS shadow,
            l.id AS live_id,
            l.name AS live
           FROM (postmeter.destination s_1
             JOIN postmeter.destination l ON ((l.id = s_1.shadow_of)))
        ), side AS (
         SELECT p.shadow,
            p.live,
            m.month,
            s_1.org,
            mm.product,
            mm.metric,
            (a.destination_id = p.live_id) AS is_live,
            NULL::text AS reason,
            count(*) AS usages,
            sum(a.quantity) AS quantity
           FROM ((((pair p
             JOIN postmeter.allocation a ON (((a.destination_id = p.live_id) OR (a.destination_id = p.shadow_id))))
             JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
             JOIN postmeter.meter m ON ((m.id = mm.meter_id)))
             JOIN postmeter.subscription s_1 ON ((s_1.id = a.subscription_id)))
          WHERE (EXISTS ( SELECT
                   FROM postmeter.subscription b
                  WHERE ((b.org = s_1.org) AND (b.product = s_1.product) AND (b.destination_id = p.shadow_id))))
          GROUP BY p.shadow, p.live, m.month, s_1.org, mm.product, mm.metric, (a.destination_id = p.live_id)
        UNION ALL
         SELECT p.shadow,
            p.live,
            postmeter.month_of(g.hour, t.zone) AS month_of,
            g.org,
            g.product,
            g.metric,
            false,
            COALESCE(g.reason, 'waiting'::text) AS "coalesce",
            count(*) AS count,
            sum(g.quantity) AS sum
           FROM ((pair p
             JOIN postmeter.destination t ON ((t.id = p.shadow_id)))
             JOIN postmeter.shadow_usage g ON ((g.destination_id = p.shadow_id)))
          GROUP BY p.shadow, p.live, (postmeter.month_of(g.hour, t.zone)), g.org, g.product, g.metric, COALESCE(g.reason, 'waiting'::text)
        )
 SELECT s.shadow,
    s.live,
    s.month,
    s.org,
    s.product,
    s.metric,
    (COALESCE(sum(s.usages) FILTER (WHERE s.is_live), (0)::numeric))::bigint AS live_usages,
    trim_scale(COALESCE(sum(s.quantity) FILTER (WHERE s.is_live), (0)::numeric)) AS live_quantity,
    (COALESCE(sum(s.usages) FILTER (WHERE ((NOT s.is_live) AND (s.reason IS NULL))), (0)::numeric))::bigint AS shadow_usages,
    trim_scale(COALESCE(sum(s.quantity) FILTER (WHERE ((NOT s.is_live) AND (s.reason IS NULL))), (0)::numeric)) AS shadow_quantity,
    (COALESCE(sum(s.usages) FILTER (WHERE (s.reason IS NOT NULL)), (0)::numeric))::bigint AS uncounted_usages,
    trim_scale(COALESCE(sum(s.quantity) FILTER (WHERE (s.reason IS NOT NULL)), (0)::numeric)) AS uncounted_quantity,
    string_agg(DISTINCT s.reason, ', '::text ORDER BY s.reason) AS reasons,
    trim_scale((COALESCE(sum(s.quantity) FILTER (WHERE (NOT s.is_live)), (0)::numeric) - COALESCE(sum(s.quantity) FILTER (WHERE s.is_live), (0)::numeric))) AS difference
   FROM side s
  GROUP BY s.shadow, s.live, s.month, s.org, s.product, s.metric;

COMMENT ON VIEW postmeter.shadow_usage_difference IS 'Per month, org, product and metric, in units of the metric: usage that the live destination counted, that its shadow counted, and that the shadow was given and has not counted, with the reasons (waiting, or those of shadow_usage). Compares shadows of another marketplace too, whose keys are others. difference: given to the shadow less counted live; below zero for usage from before the shadow.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.shadow IS 'Name of the shadow.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.live IS 'Name of the live destination.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.month IS 'First day of the billing month.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.org IS 'The org.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.product IS 'Our product, by stable tag.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.metric IS 'Our metric, by stable tag.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.live_usages IS 'Usages counted by the live destination.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.live_quantity IS 'Their quantity.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.shadow_usages IS 'Usages counted by the shadow.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.shadow_quantity IS 'Their quantity.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.uncounted_usages IS 'Usages given to the shadow and not counted.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.uncounted_quantity IS 'Their quantity.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.reasons IS 'Why; waiting: not yet.';

COMMENT ON COLUMN postmeter.shadow_usage_difference.difference IS 'Given to the shadow less counted live.';

CREATE TABLE postmeter.step_failure (
    step text NOT NULL COLLATE pg_catalog."C",
    worker_id uuid NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    times integer DEFAULT 1 NOT NULL,
    code text,
    message text NOT NULL,
    CONSTRAINT step_failure_times_check CHECK ((times > 0))
);

COMMENT ON TABLE postmeter.step_failure IS 'Steps that fail as a whole, by worker, with the last error. A row goes when the step goes well again.';

COMMENT ON COLUMN postmeter.step_failure.step IS 'The step; that of one destination with its name (dispatch at aws-us).';

COMMENT ON COLUMN postmeter.step_failure.worker_id IS 'The worker that meets it.';

COMMENT ON COLUMN postmeter.step_failure.since IS 'When it first failed.';

COMMENT ON COLUMN postmeter.step_failure.last_at IS 'When it last failed.';

COMMENT ON COLUMN postmeter.step_failure.times IS 'Times in a row.';

COMMENT ON COLUMN postmeter.step_failure.code IS 'SQLSTATE of the last error.';

COMMENT ON COLUMN postmeter.step_failure.message IS 'The last error.';

CREATE TABLE postmeter.stray_entry (
    id bigint NOT NULL,
    usage_id uuid NOT NULL,
    reason text NOT NULL,
    entry jsonb NOT NULL,
    set_aside_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    decision_id bigint,
    CONSTRAINT stray_entry_entry_check CHECK ((jsonb_typeof(entry) = 'object'::text)),
    CONSTRAINT stray_entry_reason_check CHECK ((reason = ANY (ARRAY['without_usage'::text, 'other_content'::text, 'accounted_for'::text])))
);

COMMENT ON TABLE postmeter.stray_entry IS 'Outbox entries that no usage stands behind: they came around intake''s trigger (replication, a disabled trigger). Fold sets them aside and bills none. A person resolves them.';

COMMENT ON COLUMN postmeter.stray_entry.id IS 'Order of setting aside.';

COMMENT ON COLUMN postmeter.stray_entry.usage_id IS 'The id that the entry bore.';

COMMENT ON COLUMN postmeter.stray_entry.reason IS 'without_usage: no usage has its id; other_content: the usage with its id says something else; accounted_for: that usage is allocated, held, exempt or written off already.';

COMMENT ON COLUMN postmeter.stray_entry.entry IS 'The entry, whole.';

COMMENT ON COLUMN postmeter.stray_entry.set_aside_at IS 'When.';

COMMENT ON COLUMN postmeter.stray_entry.decision_id IS 'The decision that resolved it; null: it is open.';

ALTER TABLE postmeter.stray_entry ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.stray_entry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE postmeter.subscription ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.subscription_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.suspect (
    usage_id uuid NOT NULL,
    shard smallint NOT NULL,
    range_id uuid NOT NULL
);

COMMENT ON TABLE postmeter.suspect IS 'Outbox entries that a worker had in hand while it died folding. The ordinary folds leave them out.';

COMMENT ON COLUMN postmeter.suspect.usage_id IS 'The usage of the entry.';

COMMENT ON COLUMN postmeter.suspect.shard IS 'The entry''s shard.';

COMMENT ON COLUMN postmeter.suspect.range_id IS 'The part with which it is folded.';

CREATE TABLE postmeter.suspect_range (
    id uuid NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    deaths integer DEFAULT 0 NOT NULL,
    CONSTRAINT suspect_range_deaths_check CHECK ((deaths >= 0))
);

COMMENT ON TABLE postmeter.suspect_range IS 'Parts of the outbox that workers had in hand while they died folding. Each is folded apart from everything else, by whichever worker takes it; one that kills again is split, down to the entry to blame. A row goes when its part is through.';

COMMENT ON COLUMN postmeter.suspect_range.id IS 'Drawn by chance.';

COMMENT ON COLUMN postmeter.suspect_range.since IS 'Since when, or when it was put behind the others because another session''s lock was in its way: the server''s time.';

COMMENT ON COLUMN postmeter.suspect_range.deaths IS 'Workers that died with it, since it is one entry alone. After two that entry is held as poison.';

ALTER TABLE postmeter.timeline_break ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.timeline_break_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE postmeter.token (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    org text,
    created_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    created_by text NOT NULL,
    revoked_at timestamp with time zone,
    revoked_by text,
    CONSTRAINT operate_is_for_all_orgs CHECK (((org IS NULL) OR (NOT ('operate'::text = ANY (scopes))))),
    CONSTRAINT token_check CHECK (((revoked_at IS NULL) = (revoked_by IS NULL))),
    CONSTRAINT token_created_by_check CHECK ((created_by <> ''::text)),
    CONSTRAINT token_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT token_name_check CHECK (((name <> ''::text) AND (octet_length(name) <= 100))),
    CONSTRAINT token_org_check CHECK (((octet_length(org) >= 1) AND (octet_length(org) <= 255))),
    CONSTRAINT token_scopes_check CHECK (((scopes <@ ARRAY['intake'::text, 'read'::text, 'operate'::text]) AND (cardinality(scopes) > 0)))
);

COMMENT ON TABLE postmeter.token IS 'Who may come in over HTTP. A token itself is shown once, when it is made; only its hash is kept.';

COMMENT ON COLUMN postmeter.token.id IS 'Number.';

COMMENT ON COLUMN postmeter.token.name IS 'Name of the caller: what decisions are signed with.';

COMMENT ON COLUMN postmeter.token.hash IS 'SHA-256 of the token. A token is 256 random bits: no salt is needed, nor a slow hash.';

COMMENT ON COLUMN postmeter.token.scopes IS 'What it may do: intake (record usage and request statuses), read, operate (decide, and read).';

COMMENT ON COLUMN postmeter.token.org IS 'If set: it records and reads this org only.';

COMMENT ON COLUMN postmeter.token.created_at IS 'When it was made.';

COMMENT ON COLUMN postmeter.token.created_by IS 'Who made it.';

COMMENT ON COLUMN postmeter.token.revoked_at IS 'When it was revoked; a console forgets it within seconds.';

COMMENT ON COLUMN postmeter.token.revoked_by IS 'Who revoked it.';

ALTER TABLE postmeter.token ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW postmeter.token_list AS
 SELECT t.id,
    t.name,
    t.scopes,
    t.org,
    t.created_at,
    t.created_by,
    t.revoked_at,
    t.revoked_by
   FROM postmeter.token t;

COMMENT ON VIEW postmeter.token_list IS 'Every token ever made, without its hash.';

COMMENT ON COLUMN postmeter.token_list.id IS 'Number.';

COMMENT ON COLUMN postmeter.token_list.name IS 'Name of the caller: decisions are signed with it.';

COMMENT ON COLUMN postmeter.token_list.scopes IS 'What it may do: intake, read, operate.';

COMMENT ON COLUMN postmeter.token_list.org IS 'The only org that it records and reads; null: all.';

COMMENT ON COLUMN postmeter.token_list.created_at IS 'When it was made.';

COMMENT ON COLUMN postmeter.token_list.created_by IS 'Who made it.';

COMMENT ON COLUMN postmeter.token_list.revoked_at IS 'When it was revoked; null: it is valid.';

COMMENT ON COLUMN postmeter.token_list.revoked_by IS 'Who revoked it.';

CREATE VIEW postmeter.unfinished_request AS
 SELECT q.request_id,
    q.org,
    q.account,
    q.inventory_id,
    q.system_id,
    q.open_services,
    q.statuses,
    q.created_at,
    q.last_date,
    q.last_recorded_at,
    (postmeter.clock() - q.last_recorded_at) AS silent_for
   FROM postmeter.request q
  WHERE ((q.outcome = 'open'::text) AND (q.last_recorded_at < ( SELECT (postmeter.clock() - s.tracker_unfinished_after)
           FROM postmeter.setting s)));

COMMENT ON VIEW postmeter.unfinished_request IS 'Requests that were received and never finished: some service has begun and not finished, and nothing was said for setting.tracker_unfinished_after.';

COMMENT ON COLUMN postmeter.unfinished_request.request_id IS 'In the form in which it was first recorded.';

COMMENT ON COLUMN postmeter.unfinished_request.org IS 'Org of the request; empty: nobody said.';

COMMENT ON COLUMN postmeter.unfinished_request.account IS 'Account of the request; empty: nobody said.';

COMMENT ON COLUMN postmeter.unfinished_request.inventory_id IS 'Inventory id of the request; empty: nobody said.';

COMMENT ON COLUMN postmeter.unfinished_request.system_id IS 'System id of the request; empty: nobody said.';

COMMENT ON COLUMN postmeter.unfinished_request.open_services IS 'Who has not finished.';

COMMENT ON COLUMN postmeter.unfinished_request.statuses IS 'How many messages there are.';

COMMENT ON COLUMN postmeter.unfinished_request.created_at IS 'Date of the first message.';

COMMENT ON COLUMN postmeter.unfinished_request.last_date IS 'Latest date of its messages.';

COMMENT ON COLUMN postmeter.unfinished_request.last_recorded_at IS 'When the last message was recorded.';

COMMENT ON COLUMN postmeter.unfinished_request.silent_for IS 'How long ago that is.';

CREATE VIEW postmeter.unremitted AS
SELECT
    NULL::text AS kind,
    NULL::text AS org,
    NULL::text COLLATE pg_catalog."C" AS product,
    NULL::text COLLATE pg_catalog."C" AS metric,
    NULL::timestamp with time zone AS hour,
    NULL::numeric AS quantity,
    NULL::text AS unit,
    NULL::text AS status,
    NULL::text AS reason,
    NULL::timestamp with time zone AS deadline,
    NULL::timestamp with time zone AS since,
    NULL::text COLLATE pg_catalog."C" AS destination,
    NULL::bigint AS delivery_id,
    NULL::uuid AS usage_id,
    NULL::text AS item;

COMMENT ON VIEW postmeter.unremitted IS 'What was not sent or not accepted, and why: waiting and held usage, and remittances in every status but accepted, nothing_due and released (its quantity is with another remittance), by the hour of their usage. What a remittance was given by releases, and one that counts no usage of its own, is listed in billing units, and so is what an hour deferred or a release gave back and no hour has billed yet: with the open hour that takes it, or as released with the last hour of its meter. Of a dropped billing month (kind dropped) there is one row per org, metric and status, with the month''s first hour. Without shadows. Quick by org with a range of hour, and by delivery_id.';

COMMENT ON COLUMN postmeter.unremitted.kind IS 'usage or remittance; dropped: remittances of a dropped billing month together.';

COMMENT ON COLUMN postmeter.unremitted.org IS 'Whose; null: no subscription says.';

COMMENT ON COLUMN postmeter.unremitted.product IS 'Our product.';

COMMENT ON COLUMN postmeter.unremitted.metric IS 'Our metric; null where the unit is billing.';

COMMENT ON COLUMN postmeter.unremitted.hour IS 'The hour of the usage.';

COMMENT ON COLUMN postmeter.unremitted.quantity IS 'How much.';

COMMENT ON COLUMN postmeter.unremitted.unit IS 'metric: units of the metric; billing: billing units that came from other hours: what releases gave to a remittance, or all of one that counts no usage of its own.';

COMMENT ON COLUMN postmeter.unremitted.status IS 'waiting, held, or the remittance''s status.';

COMMENT ON COLUMN postmeter.unremitted.reason IS 'Why it is held.';

COMMENT ON COLUMN postmeter.unremitted.deadline IS 'Until when it can be sent.';

COMMENT ON COLUMN postmeter.unremitted.since IS 'Since when it is so.';

COMMENT ON COLUMN postmeter.unremitted.destination IS 'Where it would go, if that is known.';

COMMENT ON COLUMN postmeter.unremitted.delivery_id IS 'Which remittance.';

COMMENT ON COLUMN postmeter.unremitted.usage_id IS 'Which usage.';

COMMENT ON COLUMN postmeter.unremitted.item IS 'The same as one text, unique in this view.';

CREATE VIEW postmeter.usage_place AS
 SELECT 'recorded'::text AS place,
    u.id AS usage_id,
    u.org,
    u.product,
    u.metric,
    u.quantity,
    1 AS usages,
    u.quantity AS left_over,
    1 AS left_usages
   FROM postmeter.usage u
UNION ALL
 SELECT 'waiting'::text AS place,
    o.id AS usage_id,
    o.org,
    o.product,
    o.metric,
    o.quantity,
    1 AS usages,
    (- o.quantity) AS left_over,
    '-1'::integer AS left_usages
   FROM postmeter.outbox o
UNION ALL
 SELECT 'held'::text AS place,
    h.usage_id,
    h.org,
    (h.product COLLATE "default") AS product,
    h.metric,
    h.quantity,
    1 AS usages,
    (- h.quantity) AS left_over,
    '-1'::integer AS left_usages
   FROM postmeter.held h
UNION ALL
 SELECT 'exempt'::text AS place,
    u.id AS usage_id,
    u.org,
    u.product,
    u.metric,
    u.quantity,
    1 AS usages,
    (- u.quantity) AS left_over,
    '-1'::integer AS left_usages
   FROM (postmeter.exempted x
     JOIN postmeter.usage u ON ((u.id = x.usage_id)))
UNION ALL
 SELECT 'written_off'::text AS place,
    u.id AS usage_id,
    u.org,
    u.product,
    u.metric,
    u.quantity,
    1 AS usages,
    (- u.quantity) AS left_over,
    '-1'::integer AS left_usages
   FROM (postmeter.usage_written_off x
     JOIN postmeter.usage u ON ((u.id = x.usage_id)))
UNION ALL
 SELECT 'allocated'::text AS place,
    a.usage_id,
    s.org,
    (mm.product COLLATE "default") AS product,
    (mm.metric COLLATE "default") AS metric,
    a.quantity,
    1 AS usages,
    (- a.quantity) AS left_over,
    '-1'::integer AS left_usages
   FROM (((postmeter.allocation a
     JOIN postmeter.destination t ON (((t.id = a.destination_id) AND (t.shadow_of IS NULL))))
     JOIN postmeter.subscription s ON ((s.id = a.subscription_id)))
     JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)));

COMMENT ON VIEW postmeter.usage_place IS 'Every usage as it was recorded, and again in the one place where it is: left_over adds up to zero over any usages, and so does left_usages. Ask it by a range of usage_id. Of dropped months: ledger_carry.';

COMMENT ON COLUMN postmeter.usage_place.place IS 'recorded, and where it is: waiting, held, exempt, written_off or allocated (by a live destination).';

COMMENT ON COLUMN postmeter.usage_place.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.usage_place.org IS 'The org.';

COMMENT ON COLUMN postmeter.usage_place.product IS 'Our product.';

COMMENT ON COLUMN postmeter.usage_place.metric IS 'Our metric.';

COMMENT ON COLUMN postmeter.usage_place.quantity IS 'How much, in units of the metric.';

COMMENT ON COLUMN postmeter.usage_place.usages IS '1.';

COMMENT ON COLUMN postmeter.usage_place.left_over IS 'The quantity if it is recorded, and less the quantity where it is.';

COMMENT ON COLUMN postmeter.usage_place.left_usages IS '1 if it is recorded, -1 where it is.';

CREATE VIEW postmeter.usage_balance AS
 SELECT r.org,
    r.product,
    r.metric,
    (COALESCE(sum(r.usages) FILTER (WHERE (r.place = 'recorded'::text)), (0)::numeric))::bigint AS usages,
    trim_scale(COALESCE(sum(r.quantity) FILTER (WHERE (r.place = 'recorded'::text)), (0)::numeric)) AS recorded,
    trim_scale(COALESCE(sum(r.quantity) FILTER (WHERE (r.place = 'waiting'::text)), (0)::numeric)) AS waiting,
    trim_scale(COALESCE(sum(r.quantity) FILTER (WHERE (r.place = 'held'::text)), (0)::numeric)) AS held,
    trim_scale(COALESCE(sum(r.quantity) FILTER (WHERE (r.place = 'exempt'::text)), (0)::numeric)) AS exempt,
    trim_scale(COALESCE(sum(r.quantity) FILTER (WHERE (r.place = 'written_off'::text)), (0)::numeric)) AS written_off,
    trim_scale(COALESCE(sum(r.quantity) FILTER (WHERE (r.place = 'allocated'::text)), (0)::numeric)) AS allocated,
    trim_scale(sum(r.left_over)) AS difference,
    (sum(r.left_usages))::bigint AS difference_usages
   FROM ( SELECT p.place,
            p.org,
            p.product,
            p.metric,
            p.quantity,
            (p.usages)::bigint AS usages,
            p.left_over,
            (p.left_usages)::bigint AS left_usages
           FROM postmeter.usage_place p
        UNION ALL
         SELECT p.place,
            p.org,
            p.product,
            p.metric,
            p.quantity,
            p.usages,
            p.left_over,
            p.left_usages
           FROM postmeter.carried_place p) r
  GROUP BY r.org, r.product, r.metric;

COMMENT ON VIEW postmeter.usage_balance IS 'Per org, product and metric, in units of the metric: recorded = waiting + held + exempt + written off + allocated. The differences are zero at every moment. Live destinations only; of shadows: shadow_usage_difference and recalculate.';

COMMENT ON COLUMN postmeter.usage_balance.org IS 'The org.';

COMMENT ON COLUMN postmeter.usage_balance.product IS 'Our product, by stable tag.';

COMMENT ON COLUMN postmeter.usage_balance.metric IS 'Our metric, by stable tag.';

COMMENT ON COLUMN postmeter.usage_balance.usages IS 'How many were recorded.';

COMMENT ON COLUMN postmeter.usage_balance.recorded IS 'How much.';

COMMENT ON COLUMN postmeter.usage_balance.waiting IS 'Of this, in the outbox.';

COMMENT ON COLUMN postmeter.usage_balance.held IS 'Of this, held with a reason.';

COMMENT ON COLUMN postmeter.usage_balance.exempt IS 'Of this, not billed through a marketplace.';

COMMENT ON COLUMN postmeter.usage_balance.written_off IS 'Of this, given up by a person.';

COMMENT ON COLUMN postmeter.usage_balance.allocated IS 'Of this, counted by remittances of live destinations.';

COMMENT ON COLUMN postmeter.usage_balance.difference IS 'Quantity that is nowhere: zero at every moment.';

COMMENT ON COLUMN postmeter.usage_balance.difference_usages IS 'Usages that are nowhere: zero at every moment.';

CREATE TABLE postmeter.usage_default (
    id uuid NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    org text NOT NULL,
    product text NOT NULL,
    metric text NOT NULL,
    quantity numeric NOT NULL,
    used_at timestamp with time zone NOT NULL,
    account text,
    corrects text,
    corrected_identity uuid,
    request_id text,
    traceparent text,
    attributes jsonb NOT NULL,
    recorded_at timestamp with time zone DEFAULT postmeter.clock() NOT NULL,
    CONSTRAINT usage_check CHECK ((((corrects IS NULL) = (corrected_identity IS NULL)) AND ((quantity >= (0)::numeric) OR (corrects IS NOT NULL)))),
    CONSTRAINT usage_quantity_check CHECK (((quantity >= ('-1000000000000'::bigint)::numeric) AND (quantity <= ('1000000000000'::bigint)::numeric)))
);

COMMENT ON TABLE postmeter.usage_default IS 'Usage for which no partition was made in time: no row is ever refused for want of one.';

CREATE VIEW postmeter.usage_explained AS
 SELECT u.id AS usage_id,
    u.source,
    u.event_id,
    s.org,
    u.account,
    u.product,
    u.metric,
    u.quantity,
    u.used_at,
    u.corrects,
    u.recorded_at,
    u.request_id,
    'allocated'::text AS whereabouts,
    NULL::text AS reason,
    t.name AS destination,
    d.id AS delivery_id,
    d.key,
    d.hour AS remitted_hour,
    d.status,
    a.round,
    a.hour
   FROM ((((postmeter.allocation a
     JOIN postmeter.destination t ON (((t.id = a.destination_id) AND (t.shadow_of IS NULL))))
     JOIN postmeter.subscription s ON ((s.id = a.subscription_id)))
     JOIN postmeter.usage u ON ((u.id = a.usage_id)))
     JOIN postmeter.delivery d ON ((d.id = a.delivery_id)))
UNION ALL
 SELECT u.id AS usage_id,
    u.source,
    u.event_id,
    h.org,
    u.account,
    u.product,
    u.metric,
    u.quantity,
    u.used_at,
    u.corrects,
    u.recorded_at,
    u.request_id,
    'held'::text AS whereabouts,
    h.reason,
    t.name AS destination,
    NULL::bigint AS delivery_id,
    NULL::text AS key,
    NULL::timestamp with time zone AS remitted_hour,
    NULL::text AS status,
    NULL::integer AS round,
    h.hour
   FROM ((postmeter.held h
     JOIN postmeter.usage u ON ((u.id = h.usage_id)))
     LEFT JOIN postmeter.destination t ON ((t.id = h.destination_id)))
UNION ALL
 SELECT u.id AS usage_id,
    u.source,
    u.event_id,
    u.org,
    u.account,
    u.product,
    u.metric,
    u.quantity,
    u.used_at,
    u.corrects,
    u.recorded_at,
    u.request_id,
    'waiting'::text AS whereabouts,
    NULL::text AS reason,
    NULL::text AS destination,
    NULL::bigint AS delivery_id,
    NULL::text AS key,
    NULL::timestamp with time zone AS remitted_hour,
    NULL::text AS status,
    NULL::integer AS round,
    postmeter.hour_of(o.used_at) AS hour
   FROM (postmeter.outbox o
     JOIN postmeter.usage u ON (((u.id = o.id) AND (u.org = o.org))))
  WHERE (o.shard = ((hashtextextended(u.org, (0)::bigint) & (1023)::bigint))::smallint)
UNION ALL
 SELECT u.id AS usage_id,
    u.source,
    u.event_id,
    e.org,
    u.account,
    u.product,
    u.metric,
    u.quantity,
    u.used_at,
    u.corrects,
    u.recorded_at,
    u.request_id,
    'exempt'::text AS whereabouts,
    e.reason,
    NULL::text AS destination,
    NULL::bigint AS delivery_id,
    NULL::text AS key,
    NULL::timestamp with time zone AS remitted_hour,
    NULL::text AS status,
    NULL::integer AS round,
    postmeter.hour_of(u.used_at) AS hour
   FROM ((postmeter.exempted x
     JOIN postmeter.exemption e ON ((e.id = x.exemption_id)))
     JOIN postmeter.usage u ON ((u.id = x.usage_id)))
UNION ALL
 SELECT u.id AS usage_id,
    u.source,
    u.event_id,
    u.org,
    u.account,
    u.product,
    u.metric,
    u.quantity,
    u.used_at,
    u.corrects,
    u.recorded_at,
    u.request_id,
    'written_off'::text AS whereabouts,
    NULL::text AS reason,
    NULL::text AS destination,
    NULL::bigint AS delivery_id,
    NULL::text AS key,
    NULL::timestamp with time zone AS remitted_hour,
    NULL::text AS status,
    NULL::integer AS round,
    postmeter.hour_of(u.used_at) AS hour
   FROM (postmeter.usage_written_off x
     JOIN postmeter.usage u ON ((u.id = x.usage_id)));

COMMENT ON VIEW postmeter.usage_explained IS 'Where every usage is: waiting in the outbox, held, exempt, written off, or allocated to which remittance in which status. One row a usage; one that were lost would have none, and usage_balance would say so. Quick by usage_id, by delivery_id, and by org with a range of hour. Without shadows: see shadow_usage_difference.';

COMMENT ON COLUMN postmeter.usage_explained.usage_id IS 'The usage.';

COMMENT ON COLUMN postmeter.usage_explained.source IS 'The service that recorded it; with event_id its identity.';

COMMENT ON COLUMN postmeter.usage_explained.event_id IS 'That service''s own id of it.';

COMMENT ON COLUMN postmeter.usage_explained.org IS 'The org.';

COMMENT ON COLUMN postmeter.usage_explained.account IS 'Which marketplace account, where the org has several.';

COMMENT ON COLUMN postmeter.usage_explained.product IS 'Our product, by stable tag.';

COMMENT ON COLUMN postmeter.usage_explained.metric IS 'Our metric, by stable tag.';

COMMENT ON COLUMN postmeter.usage_explained.quantity IS 'How much, in units of the metric.';

COMMENT ON COLUMN postmeter.usage_explained.used_at IS 'When it was used.';

COMMENT ON COLUMN postmeter.usage_explained.corrects IS 'Event id of the usage that it corrects.';

COMMENT ON COLUMN postmeter.usage_explained.recorded_at IS 'When.';

COMMENT ON COLUMN postmeter.usage_explained.request_id IS 'The request that caused it.';

COMMENT ON COLUMN postmeter.usage_explained.whereabouts IS 'waiting, held, exempt, written_off or allocated.';

COMMENT ON COLUMN postmeter.usage_explained.reason IS 'Why it is held or exempt.';

COMMENT ON COLUMN postmeter.usage_explained.destination IS 'Where it is reported.';

COMMENT ON COLUMN postmeter.usage_explained.delivery_id IS 'The remittance.';

COMMENT ON COLUMN postmeter.usage_explained.key IS 'Key of that remittance.';

COMMENT ON COLUMN postmeter.usage_explained.remitted_hour IS 'The hour of that remittance: another than its own for late usage.';

COMMENT ON COLUMN postmeter.usage_explained.status IS 'Where that remittance stands.';

COMMENT ON COLUMN postmeter.usage_explained.round IS 'Which cut of that hour counted it.';

COMMENT ON COLUMN postmeter.usage_explained.hour IS 'Its own hour, UTC: filter on this one, not on used_at.';

CREATE TABLE postmeter.usage_moved (
    slice text NOT NULL COLLATE pg_catalog."C"
);

ALTER TABLE ONLY postmeter.usage_moved REPLICA IDENTITY FULL;

COMMENT ON TABLE postmeter.usage_moved IS 'Slices of usage of which something left the outbox or was held no longer, and that were not proven since. Written in the writer''s own transaction, by the fold that takes entries and by triggers. One slice may stand here often.';

COMMENT ON COLUMN postmeter.usage_moved.slice IS 'The first eight digits of the usages'' ids: 66 seconds of recording.';

CREATE TABLE postmeter.usage_open (
    first text NOT NULL COLLATE pg_catalog."C",
    last text NOT NULL COLLATE pg_catalog."C",
    open bigint NOT NULL,
    example text,
    found_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON TABLE postmeter.usage_open IS 'Slices of usage that did not add up when they were read last. Every check reads them again.';

COMMENT ON COLUMN postmeter.usage_open.first IS 'The first slice; carried: dropped months.';

COMMENT ON COLUMN postmeter.usage_open.last IS 'The last slice.';

COMMENT ON COLUMN postmeter.usage_open.open IS 'Orgs'' metrics of which usage is in no place, or in two.';

COMMENT ON COLUMN postmeter.usage_open.example IS 'One of them.';

COMMENT ON COLUMN postmeter.usage_open.found_at IS 'When, in real time.';

ALTER TABLE postmeter.usual ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME postmeter.usual_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY postmeter.allocation ATTACH PARTITION postmeter.allocation_default DEFAULT;

ALTER TABLE ONLY postmeter.attempt ATTACH PARTITION postmeter.attempt_default DEFAULT;

ALTER TABLE ONLY postmeter.outcome ATTACH PARTITION postmeter.outcome_default DEFAULT;

ALTER TABLE ONLY postmeter.request_status ATTACH PARTITION postmeter.request_status_default DEFAULT;

ALTER TABLE ONLY postmeter.usage ATTACH PARTITION postmeter.usage_default DEFAULT;

ALTER TABLE ONLY postmeter.alert
    ADD CONSTRAINT alert_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.alert_post
    ADD CONSTRAINT alert_post_id_key UNIQUE (id);

ALTER TABLE ONLY postmeter.alert_post
    ADD CONSTRAINT alert_post_pkey PRIMARY KEY (number);

ALTER TABLE ONLY postmeter.alert_rule
    ADD CONSTRAINT alert_rule_pkey PRIMARY KEY (name);

ALTER TABLE ONLY postmeter.allocation
    ADD CONSTRAINT allocation_pkey PRIMARY KEY (usage_id, destination_id);

ALTER TABLE ONLY postmeter.allocation_default
    ADD CONSTRAINT allocation_default_pkey PRIMARY KEY (usage_id, destination_id);

ALTER TABLE ONLY postmeter.asked_usage
    ADD CONSTRAINT asked_usage_pkey PRIMARY KEY (usage_id);

ALTER TABLE ONLY postmeter.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.attempt_default
    ADD CONSTRAINT attempt_default_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.balance_anew
    ADD CONSTRAINT balance_anew_pkey PRIMARY KEY (meter_id);

ALTER TABLE ONLY postmeter.balance_check
    ADD CONSTRAINT balance_check_pkey PRIMARY KEY (one);

ALTER TABLE ONLY postmeter.balance_gate
    ADD CONSTRAINT balance_gate_pkey PRIMARY KEY (one);

ALTER TABLE ONLY postmeter.breaker
    ADD CONSTRAINT breaker_pkey PRIMARY KEY (destination_id);

ALTER TABLE ONLY postmeter.catalogue_change
    ADD CONSTRAINT catalogue_change_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.catalogue_mark
    ADD CONSTRAINT catalogue_mark_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.closed_month
    ADD CONSTRAINT closed_month_pkey PRIMARY KEY (destination_id, month);

ALTER TABLE ONLY postmeter.console
    ADD CONSTRAINT console_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.contract_member
    ADD CONSTRAINT contract_member_pkey PRIMARY KEY (subscription_id, month);

ALTER TABLE ONLY postmeter.contradiction
    ADD CONSTRAINT contradiction_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.cover
    ADD CONSTRAINT cover_pkey PRIMARY KEY (subscription_id, metric);

ALTER TABLE ONLY postmeter.cure
    ADD CONSTRAINT cure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.cut
    ADD CONSTRAINT cut_pkey PRIMARY KEY (delivery_id, meter_id, round);

ALTER TABLE ONLY postmeter.deadline_change
    ADD CONSTRAINT deadline_change_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.decision
    ADD CONSTRAINT decision_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.delivery
    ADD CONSTRAINT delivery_destination_id_key_key UNIQUE (destination_id, key);

ALTER TABLE ONLY postmeter.delivery
    ADD CONSTRAINT delivery_meter_id_hour_key UNIQUE (meter_id, hour);

ALTER TABLE ONLY postmeter.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (id);

ALTER TABLE postmeter.delivery
    ADD CONSTRAINT delivery_reason_check CHECK ((reason = ANY (ARRAY['no_subscription'::text, 'ambiguous_subscription'::text, 'unmapped_dimension'::text, 'invalid_subscription'::text, 'too_late'::text, 'month_closed'::text, 'quantity_out_of_range'::text, 'unrecognised_answer'::text, 'tries_exhausted'::text, 'poison'::text, 'by_operator'::text, 'lost_time'::text]))) NOT VALID;

ALTER TABLE ONLY postmeter.destination
    ADD CONSTRAINT destination_name_key UNIQUE (name);

ALTER TABLE ONLY postmeter.destination
    ADD CONSTRAINT destination_pkey PRIMARY KEY (id);

ALTER TABLE postmeter.dimension
    ADD CONSTRAINT dimension_allocate_by_check CHECK (((cardinality(allocate_by) <= 5) AND (array_position(allocate_by, NULL::text) IS NULL))) NOT VALID;

ALTER TABLE postmeter.dimension
    ADD CONSTRAINT dimension_hour_alert_check CHECK (((hour_alert > (0)::numeric) AND (hour_alert < ('1000000000000'::bigint)::numeric))) NOT VALID;

ALTER TABLE postmeter.dimension
    ADD CONSTRAINT dimension_max_quantity_check CHECK (((max_quantity > (0)::numeric) AND (max_quantity < ('1000000000000'::bigint)::numeric))) NOT VALID;

ALTER TABLE ONLY postmeter.dimension
    ADD CONSTRAINT dimension_once_a_month UNIQUE (destination_id, product, metric, valid_from);

ALTER TABLE ONLY postmeter.dimension
    ADD CONSTRAINT dimension_pkey PRIMARY KEY (id);

ALTER TABLE postmeter.dimension
    ADD CONSTRAINT dimension_times_usual_check CHECK (((times_usual > (1)::numeric) AND (times_usual < ('1000000000000'::bigint)::numeric))) NOT VALID;

ALTER TABLE postmeter.dimension
    ADD CONSTRAINT dimension_zero_check CHECK ((zero = ANY (ARRAY['skip'::text, 'send'::text]))) NOT VALID;

ALTER TABLE postmeter.dimension
    ADD CONSTRAINT dimension_zero_since_check CHECK (((zero = 'send'::text) = (zero_since IS NOT NULL))) NOT VALID;

ALTER TABLE ONLY postmeter.doubt
    ADD CONSTRAINT doubt_pkey PRIMARY KEY (delivery_id, break_id);

ALTER TABLE ONLY postmeter.dropped_meter
    ADD CONSTRAINT dropped_meter_destination_id_buyer_dimension_month_key UNIQUE (destination_id, buyer, dimension, month);

ALTER TABLE ONLY postmeter.dropped_meter
    ADD CONSTRAINT dropped_meter_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.dropped_month
    ADD CONSTRAINT dropped_month_pkey PRIMARY KEY (destination_id, month);

ALTER TABLE ONLY postmeter.dropped_numbers
    ADD CONSTRAINT dropped_numbers_pkey PRIMARY KEY (chunk, destination_id, month);

ALTER TABLE ONLY postmeter.dropped_remittance
    ADD CONSTRAINT dropped_remittance_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY postmeter.due
    ADD CONSTRAINT due_pkey PRIMARY KEY (destination_id, delivery_id);

ALTER TABLE ONLY postmeter.exempted
    ADD CONSTRAINT exempted_pkey PRIMARY KEY (usage_id);

ALTER TABLE ONLY postmeter.exemption
    ADD CONSTRAINT exemption_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.gate
    ADD CONSTRAINT gate_pkey PRIMARY KEY (name);

ALTER TABLE postmeter.held
    ADD CONSTRAINT held_beyond_check CHECK ((beyond = ANY (ARRAY['max_quantity'::text, 'times_usual'::text]))) NOT VALID;

ALTER TABLE ONLY postmeter.held
    ADD CONSTRAINT held_pkey PRIMARY KEY (usage_id);

ALTER TABLE postmeter.held
    ADD CONSTRAINT held_reason_check CHECK ((reason = ANY (ARRAY['no_subscription'::text, 'ambiguous_subscription'::text, 'unmapped_dimension'::text, 'invalid_subscription'::text, 'too_late'::text, 'month_closed'::text, 'poison'::text, 'by_operator'::text, 'implausible'::text, 'lost_time'::text]))) NOT VALID;

ALTER TABLE ONLY postmeter.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (caller, key);

ALTER TABLE ONLY postmeter.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY postmeter.late_evidence
    ADD CONSTRAINT late_evidence_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.later
    ADD CONSTRAINT later_pkey PRIMARY KEY (delivery_id);

ALTER TABLE postmeter.ledger_carry
    ADD CONSTRAINT ledger_carry_check CHECK (((num_nonnulls(meter_metric_id, destination_id, delivery_id, subscription_id, hour) =
CASE
    WHEN (place = 'allocated'::text) THEN 5
    ELSE 0
END) OR ((place = 'allocated'::text) AND (destination_id IS NOT NULL) AND (num_nonnulls(meter_metric_id, delivery_id, subscription_id, hour) = 0)))) NOT VALID;

ALTER TABLE ONLY postmeter.ledger_drop
    ADD CONSTRAINT ledger_drop_pkey PRIMARY KEY (month);

ALTER TABLE ONLY postmeter.ledger_export
    ADD CONSTRAINT ledger_export_digest_key UNIQUE (digest);

ALTER TABLE ONLY postmeter.ledger_export
    ADD CONSTRAINT ledger_export_number_key UNIQUE (number);

ALTER TABLE ONLY postmeter.ledger_export
    ADD CONSTRAINT ledger_export_pkey PRIMARY KEY (month);

ALTER TABLE ONLY postmeter.meter
    ADD CONSTRAINT meter_destination_id_buyer_dimension_month_key UNIQUE (destination_id, buyer, dimension, month);

ALTER TABLE postmeter.meter_metric
    ADD CONSTRAINT meter_metric_covered_check CHECK ((covered >= (0)::numeric)) NOT VALID;

ALTER TABLE ONLY postmeter.meter_metric
    ADD CONSTRAINT meter_metric_meter_id_product_metric_key UNIQUE (meter_id, product, metric);

ALTER TABLE ONLY postmeter.meter_metric
    ADD CONSTRAINT meter_metric_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.meter
    ADD CONSTRAINT meter_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.migration
    ADD CONSTRAINT migration_name_key UNIQUE (name);

ALTER TABLE ONLY postmeter.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);

ALTER TABLE ONLY postmeter.month_export
    ADD CONSTRAINT month_export_digest_key UNIQUE (digest);

ALTER TABLE ONLY postmeter.month_export
    ADD CONSTRAINT month_export_pkey PRIMARY KEY (number);

ALTER TABLE ONLY postmeter.open_hour
    ADD CONSTRAINT open_hour_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY postmeter.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (shard, id);

ALTER TABLE ONLY postmeter.outcome
    ADD CONSTRAINT outcome_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY postmeter.outcome_default
    ADD CONSTRAINT outcome_default_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY postmeter.pace
    ADD CONSTRAINT pace_pkey PRIMARY KEY (quota_id);

ALTER TABLE ONLY postmeter.part
    ADD CONSTRAINT part_pkey PRIMARY KEY (delivery_id, meter_id);

ALTER TABLE ONLY postmeter.proven_meter
    ADD CONSTRAINT proven_meter_pkey PRIMARY KEY (meter_id);

ALTER TABLE ONLY postmeter.proven_remittance
    ADD CONSTRAINT proven_remittance_pkey PRIMARY KEY (meter_id, delivery_id);

ALTER TABLE ONLY postmeter.quota
    ADD CONSTRAINT quota_name_key UNIQUE (name);

ALTER TABLE ONLY postmeter.quota
    ADD CONSTRAINT quota_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.reconciliation
    ADD CONSTRAINT reconciliation_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.refusal
    ADD CONSTRAINT refusal_pkey PRIMARY KEY (destination_id, buyer);

ALTER TABLE ONLY postmeter.reported
    ADD CONSTRAINT reported_pkey PRIMARY KEY (reconciliation_id, buyer, dimension, state);

ALTER TABLE ONLY postmeter.request_count
    ADD CONSTRAINT request_count_pkey PRIMARY KEY (org, account, outcome, hour);

ALTER TABLE ONLY postmeter.request_floor
    ADD CONSTRAINT request_floor_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY postmeter.request_hour
    ADD CONSTRAINT request_hour_pkey PRIMARY KEY (outcome, hour);

ALTER TABLE ONLY postmeter.request_message_count
    ADD CONSTRAINT request_message_count_pkey PRIMARY KEY (message, kind, hour, recorded_hour);

ALTER TABLE ONLY postmeter.request_news
    ADD CONSTRAINT request_news_pkey PRIMARY KEY (xid, id);

ALTER TABLE ONLY postmeter.request
    ADD CONSTRAINT request_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.request
    ADD CONSTRAINT request_request_key_key UNIQUE (request_key);

ALTER TABLE ONLY postmeter.request_status_count
    ADD CONSTRAINT request_status_count_pkey PRIMARY KEY (kind, hour, recorded_hour);

ALTER TABLE ONLY postmeter.request_status
    ADD CONSTRAINT request_status_pkey PRIMARY KEY (request_key, date, digest);

ALTER TABLE ONLY postmeter.request_status_default
    ADD CONSTRAINT request_status_default_pkey PRIMARY KEY (request_key, date, digest);

ALTER TABLE ONLY postmeter.request_status_kind
    ADD CONSTRAINT request_status_kind_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY postmeter.setback
    ADD CONSTRAINT setback_pkey PRIMARY KEY (step, member);

ALTER TABLE ONLY postmeter.setting
    ADD CONSTRAINT setting_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY postmeter.shadow_usage
    ADD CONSTRAINT shadow_usage_pkey PRIMARY KEY (destination_id, usage_id);

ALTER TABLE ONLY postmeter.step_failure
    ADD CONSTRAINT step_failure_pkey PRIMARY KEY (step, worker_id);

ALTER TABLE postmeter.step_failure
    ADD CONSTRAINT step_failure_step_check CHECK (((octet_length(step) >= 1) AND (octet_length(step) <= 120))) NOT VALID;

ALTER TABLE ONLY postmeter.stray_entry
    ADD CONSTRAINT stray_entry_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.stuck
    ADD CONSTRAINT stuck_pkey PRIMARY KEY (delivery_id);

ALTER TABLE postmeter.subscription
    ADD CONSTRAINT subscription_buyer_is_no_contract CHECK ((buyer !~~ 'contract:%'::text)) NOT VALID;

ALTER TABLE postmeter.subscription
    ADD CONSTRAINT subscription_contract_name CHECK ((contract ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'::text)) NOT VALID;

ALTER TABLE ONLY postmeter.subscription
    ADD CONSTRAINT subscription_pkey PRIMARY KEY (id);

ALTER TABLE postmeter.subscription
    ADD CONSTRAINT subscription_valid_from_check CHECK (((EXTRACT(epoch FROM valid_from) % (1)::numeric) = (0)::numeric)) NOT VALID;

ALTER TABLE postmeter.subscription
    ADD CONSTRAINT subscription_valid_until_check CHECK (((EXTRACT(epoch FROM valid_until) % (1)::numeric) = (0)::numeric)) NOT VALID;

ALTER TABLE ONLY postmeter.suspect
    ADD CONSTRAINT suspect_pkey PRIMARY KEY (usage_id);

ALTER TABLE ONLY postmeter.suspect_range
    ADD CONSTRAINT suspect_range_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.timeline_break
    ADD CONSTRAINT timeline_break_is_one UNIQUE (server, timeline, server_started_at);

ALTER TABLE ONLY postmeter.timeline_break
    ADD CONSTRAINT timeline_break_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.token
    ADD CONSTRAINT token_hash_key UNIQUE (hash);

ALTER TABLE ONLY postmeter.token
    ADD CONSTRAINT token_name_key UNIQUE (name);

ALTER TABLE ONLY postmeter.token
    ADD CONSTRAINT token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.unconfirmed
    ADD CONSTRAINT unconfirmed_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY postmeter.usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.usage_default
    ADD CONSTRAINT usage_default_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.usage_identity
    ADD CONSTRAINT usage_identity_pkey PRIMARY KEY (identity);

ALTER TABLE ONLY postmeter.usage_open
    ADD CONSTRAINT usage_open_pkey PRIMARY KEY (first, last);

ALTER TABLE ONLY postmeter.usage_written_off
    ADD CONSTRAINT usage_written_off_pkey PRIMARY KEY (usage_id);

ALTER TABLE ONLY postmeter.usual
    ADD CONSTRAINT usual_pkey PRIMARY KEY (id);

ALTER TABLE ONLY postmeter.withheld
    ADD CONSTRAINT withheld_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY postmeter.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);

CREATE INDEX alert_cleared ON postmeter.alert USING btree (cleared_at) WHERE (cleared_at IS NOT NULL);

CREATE UNIQUE INDEX alert_open ON postmeter.alert USING btree (name, subject) WHERE (cleared_at IS NULL);

CREATE INDEX alert_post_given_up ON postmeter.alert_post USING btree (given_up_at) WHERE (given_up_at IS NOT NULL);

CREATE INDEX alert_post_waiting ON postmeter.alert_post USING btree (number) WHERE ((posted_at IS NULL) AND (given_up_at IS NULL));

CREATE INDEX allocation_by_delivery ON ONLY postmeter.allocation USING btree (delivery_id);

CREATE INDEX allocation_by_subscription ON ONLY postmeter.allocation USING btree (subscription_id, hour);

CREATE INDEX allocation_default_delivery_id_idx ON postmeter.allocation_default USING btree (delivery_id);

CREATE INDEX allocation_default_subscription_id_hour_idx ON postmeter.allocation_default USING btree (subscription_id, hour);

CREATE INDEX attempt_by_delivery ON ONLY postmeter.attempt USING btree (delivery_id);

CREATE INDEX attempt_by_worker ON ONLY postmeter.attempt USING btree (worker_id, id);

CREATE INDEX attempt_default_delivery_id_idx ON postmeter.attempt_default USING btree (delivery_id);

CREATE INDEX attempt_default_worker_id_id_idx ON postmeter.attempt_default USING btree (worker_id, id);

CREATE INDEX balance_moved_by_meter ON postmeter.balance_moved USING btree (meter_id);

CREATE INDEX catalogue_mark_by_buyer ON postmeter.catalogue_mark USING btree (destination_id, buyer);

CREATE INDEX catalogue_mark_by_org ON postmeter.catalogue_mark USING btree (org, product);

CREATE INDEX catalogue_mark_by_time ON postmeter.catalogue_mark USING btree (next_at, id);

CREATE INDEX contract_member_by_contract ON postmeter.contract_member USING btree (contract, month);

CREATE INDEX contradiction_by_delivery ON postmeter.contradiction USING btree (delivery_id) WHERE (delivery_id IS NOT NULL);

CREATE INDEX contradiction_open ON postmeter.contradiction USING btree (id) WHERE (decision_id IS NULL);

CREATE INDEX cut_by_meter ON postmeter.cut USING btree (meter_id);

CREATE INDEX deadline_change_by_buyer ON postmeter.deadline_change USING btree (destination_id, buyer);

CREATE INDEX deadline_change_by_time ON postmeter.deadline_change USING btree (next_at, id);

CREATE INDEX decision_by_delivery ON postmeter.decision USING btree (delivery_id) WHERE (delivery_id IS NOT NULL);

CREATE INDEX decision_by_target ON postmeter.decision USING btree (target_delivery_id) WHERE (target_delivery_id IS NOT NULL);

CREATE INDEX decision_by_usage ON postmeter.decision USING btree (usage_id) WHERE (usage_id IS NOT NULL);

CREATE INDEX delivery_suspects ON postmeter.delivery USING btree (id) WHERE (deaths > 0);

CREATE INDEX dimension_limited ON postmeter.dimension USING btree (id) WHERE ((max_quantity IS NOT NULL) OR (times_usual IS NOT NULL));

CREATE INDEX dimension_shared ON postmeter.dimension USING btree (id) WHERE (allocate_by <> '{}'::text[]);

CREATE INDEX dimension_zero ON postmeter.dimension USING btree (id) WHERE (zero = 'send'::text);

CREATE UNIQUE INDEX doubt_open ON postmeter.doubt USING btree (delivery_id) WHERE (decision_id IS NULL);

CREATE INDEX dropped_meter_month ON postmeter.dropped_meter USING btree (month, destination_id);

CREATE INDEX dropped_sum_by_meter ON postmeter.dropped_sum USING btree (meter_id);

CREATE INDEX dropped_sum_by_org ON postmeter.dropped_sum USING btree (org) WHERE (org IS NOT NULL);

CREATE INDEX due_by_deadline ON postmeter.due USING btree (destination_id, deadline, delivery_id);

CREATE INDEX exempted_by_exemption ON postmeter.exempted USING btree (exemption_id, usage_id);

CREATE INDEX exemption_by_org ON postmeter.exemption USING btree (org);

CREATE INDEX held_by_org ON postmeter.held USING btree (org, product);

CREATE INDEX idempotency_by_age ON postmeter.idempotency USING btree (answered_at);

CREATE INDEX late_evidence_by_delivery ON postmeter.late_evidence USING btree (delivery_id, id);

CREATE INDEX later_by_time ON postmeter.later USING btree (due_at, delivery_id);

CREATE INDEX ledger_carry_by_delivery ON postmeter.ledger_carry USING btree (delivery_id) WHERE (delivery_id IS NOT NULL);

CREATE INDEX ledger_carry_by_metric ON postmeter.ledger_carry USING btree (meter_metric_id) WHERE (meter_metric_id IS NOT NULL);

CREATE INDEX ledger_carry_by_org ON postmeter.ledger_carry USING btree (org, hour) WHERE (hour IS NOT NULL);

CREATE INDEX meter_billable ON postmeter.meter USING btree (id) WHERE (billable > (0)::numeric);

CREATE INDEX meter_month ON postmeter.meter USING btree (month, destination_id);

CREATE INDEX month_export_by_month ON postmeter.month_export USING btree (destination_id, month);

CREATE INDEX open_hour_by_hour ON postmeter.open_hour USING btree (hour, delivery_id);

CREATE INDEX part_by_meter ON postmeter.part USING btree (meter_id);

CREATE INDEX proven_meter_open ON postmeter.proven_meter USING btree (meter_id) WHERE (difference <> (0)::numeric);

CREATE INDEX reconciliation_by_day ON postmeter.reconciliation USING btree (destination_id, day, id);

CREATE INDEX recounted_by_delivery ON postmeter.recounted USING btree (delivery_id);

CREATE INDEX recounted_by_target ON postmeter.recounted USING btree (target_delivery_id);

CREATE INDEX request_by_account ON postmeter.request USING btree (account, created_at, request_key);

CREATE INDEX request_by_creation ON postmeter.request USING btree (created_at, request_key);

CREATE INDEX request_by_end ON postmeter.request USING btree (last_date);

CREATE INDEX request_by_inventory ON postmeter.request USING btree (inventory_id, created_at, request_key);

CREATE INDEX request_by_org ON postmeter.request USING btree (org, created_at, request_key);

CREATE INDEX request_by_org_and_account ON postmeter.request USING btree (org, account, created_at, request_key);

CREATE INDEX request_by_outcome ON postmeter.request USING btree (outcome, created_at, request_key) WHERE (outcome <> 'succeeded'::text);

CREATE INDEX request_by_system ON postmeter.request USING btree (system_id, created_at, request_key);

CREATE INDEX request_count_by_account ON postmeter.request_count USING btree (account, hour);

CREATE INDEX request_message_count_by_hour ON postmeter.request_message_count USING btree (hour);

CREATE INDEX request_open ON postmeter.request USING btree (last_recorded_at) WHERE (outcome = 'open'::text);

CREATE INDEX request_status_by_date ON ONLY postmeter.request_status USING btree (date);

CREATE INDEX request_status_by_kind ON ONLY postmeter.request_status USING btree (kind, date);

CREATE INDEX request_status_by_kind_and_message ON ONLY postmeter.request_status USING btree (kind, "left"(status_msg, 100), date);

CREATE INDEX request_status_by_message ON ONLY postmeter.request_status USING btree ("left"(status_msg, 100), date);

CREATE INDEX request_status_by_recording ON ONLY postmeter.request_status USING btree (recorded_at);

CREATE INDEX request_status_count_by_hour ON postmeter.request_status_count USING btree (hour);

CREATE INDEX request_status_default_date_idx ON postmeter.request_status_default USING btree (date);

CREATE INDEX request_status_default_kind_date_idx ON postmeter.request_status_default USING btree (kind, date);

CREATE INDEX request_status_default_kind_left_date_idx ON postmeter.request_status_default USING btree (kind, "left"(status_msg, 100), date);

CREATE INDEX request_status_default_left_date_idx ON postmeter.request_status_default USING btree ("left"(status_msg, 100), date);

CREATE INDEX request_status_default_recorded_at_idx ON postmeter.request_status_default USING btree (recorded_at);

CREATE INDEX shadow_usage_uncounted ON postmeter.shadow_usage USING btree (destination_id, org, product) WHERE (reason IS NOT NULL);

CREATE INDEX shadow_usage_waiting ON postmeter.shadow_usage USING btree (destination_id, usage_id) WHERE (reason IS NULL);

CREATE INDEX stray_entry_open ON postmeter.stray_entry USING btree (id) WHERE (decision_id IS NULL);

CREATE INDEX stuck_again ON postmeter.stuck USING btree (again_at) WHERE (again_at IS NOT NULL);

CREATE INDEX subscription_begins_inside ON postmeter.subscription USING btree (valid_from) WHERE (valid_from <> postmeter.hour_of(valid_from));

CREATE INDEX subscription_by_buyer ON postmeter.subscription USING btree (destination_id, buyer);

CREATE INDEX subscription_by_contract ON postmeter.subscription USING btree (destination_id, contract) WHERE (contract IS NOT NULL);

CREATE INDEX subscription_by_end ON postmeter.subscription USING btree (valid_until) WHERE (valid_until IS NOT NULL);

CREATE INDEX subscription_by_org ON postmeter.subscription USING btree (org, product);

CREATE INDEX suspect_by_range ON postmeter.suspect USING btree (range_id);

CREATE INDEX usage_corrections ON ONLY postmeter.usage USING btree (corrected_identity) WHERE (corrected_identity IS NOT NULL);

CREATE INDEX usage_default_corrected_identity_idx ON postmeter.usage_default USING btree (corrected_identity) WHERE (corrected_identity IS NOT NULL);

CREATE INDEX usage_request ON ONLY postmeter.usage USING btree (postmeter.request_key_of(request_id)) WHERE (request_id IS NOT NULL);

CREATE INDEX usage_default_request_key_of_idx ON postmeter.usage_default USING btree (postmeter.request_key_of(request_id)) WHERE (request_id IS NOT NULL);

CREATE INDEX usage_moved_by_slice ON postmeter.usage_moved USING btree (slice);

CREATE INDEX usual_by_org ON postmeter.usual USING btree (org, product, metric, week, largest);

CREATE INDEX withheld_by_meter ON postmeter.withheld USING btree (meter_id);

ALTER INDEX postmeter.allocation_by_delivery ATTACH PARTITION postmeter.allocation_default_delivery_id_idx;

ALTER INDEX postmeter.allocation_pkey ATTACH PARTITION postmeter.allocation_default_pkey;

ALTER INDEX postmeter.allocation_by_subscription ATTACH PARTITION postmeter.allocation_default_subscription_id_hour_idx;

ALTER INDEX postmeter.attempt_by_delivery ATTACH PARTITION postmeter.attempt_default_delivery_id_idx;

ALTER INDEX postmeter.attempt_pkey ATTACH PARTITION postmeter.attempt_default_pkey;

ALTER INDEX postmeter.attempt_by_worker ATTACH PARTITION postmeter.attempt_default_worker_id_id_idx;

ALTER INDEX postmeter.outcome_pkey ATTACH PARTITION postmeter.outcome_default_pkey;

ALTER INDEX postmeter.request_status_by_date ATTACH PARTITION postmeter.request_status_default_date_idx;

ALTER INDEX postmeter.request_status_by_kind ATTACH PARTITION postmeter.request_status_default_kind_date_idx;

ALTER INDEX postmeter.request_status_by_kind_and_message ATTACH PARTITION postmeter.request_status_default_kind_left_date_idx;

ALTER INDEX postmeter.request_status_by_message ATTACH PARTITION postmeter.request_status_default_left_date_idx;

ALTER INDEX postmeter.request_status_pkey ATTACH PARTITION postmeter.request_status_default_pkey;

ALTER INDEX postmeter.request_status_by_recording ATTACH PARTITION postmeter.request_status_default_recorded_at_idx;

ALTER INDEX postmeter.usage_corrections ATTACH PARTITION postmeter.usage_default_corrected_identity_idx;

ALTER INDEX postmeter.usage_pkey ATTACH PARTITION postmeter.usage_default_pkey;

ALTER INDEX postmeter.usage_request ATTACH PARTITION postmeter.usage_default_request_key_of_idx;

CREATE OR REPLACE VIEW postmeter.month_close AS
 WITH item AS (
         SELECT m.destination_id,
            m.month,
            d.status AS class,
            d.reason,
            m.id AS meter_id,
            m.buyer,
            m.dimension,
            NULL::text AS org,
            d.product,
            NULL::text AS metric,
            count(DISTINCT d.id) AS items,
            sum(c_1.to_bill) AS quantity,
            'billing'::text AS unit,
            (1)::bigint AS numerator,
            (1)::bigint AS denominator
           FROM ((postmeter.cut c_1
             JOIN postmeter.delivery d ON ((d.id = c_1.delivery_id)))
             JOIN postmeter.meter m ON ((m.id = c_1.meter_id)))
          WHERE ((c_1.to_bill <> (0)::numeric) AND (d.status <> ALL (ARRAY['nothing_due'::text, 'open'::text, 'released'::text])))
          GROUP BY m.id, d.status, d.reason, d.product
        UNION ALL
         SELECT m.destination_id,
            m.month,
            'open'::text AS class,
            NULL::text AS reason,
            m.id AS meter_id,
            m.buyer,
            m.dimension,
            NULL::text AS org,
            mm.product,
            mm.metric,
            count(DISTINCT d.id) AS items,
            sum(a.quantity) AS quantity,
            'metric'::text AS unit,
            mm.factor_numerator AS numerator,
            mm.factor_denominator AS denominator
           FROM ((((postmeter.open_hour o
             JOIN postmeter.delivery d ON ((d.id = o.delivery_id)))
             JOIN postmeter.allocation a ON (((a.delivery_id = d.id) AND (a.round = d.round))))
             JOIN postmeter.meter_metric mm ON ((mm.id = a.meter_metric_id)))
             JOIN postmeter.meter m ON ((m.id = mm.meter_id)))
          GROUP BY m.id, mm.id
        UNION ALL
         SELECT h.destination_id,
            postmeter.month_of(h.hour, COALESCE(t_1.zone, 'UTC'::text)) AS month,
            'held_usage'::text AS class,
            h.reason,
            NULL::bigint AS meter_id,
            NULL::text AS buyer,
            x.name AS dimension,
            h.org,
            h.product,
            h.metric,
            count(*) AS items,
            sum(h.quantity) AS quantity,
            'metric'::text AS unit,
            x.factor_numerator AS numerator,
            x.factor_denominator AS denominator
           FROM ((postmeter.held h
             LEFT JOIN postmeter.destination t_1 ON ((t_1.id = h.destination_id)))
             LEFT JOIN LATERAL ( SELECT x_1.name,
                    x_1.factor_numerator,
                    x_1.factor_denominator
                   FROM postmeter.dimension x_1
                  WHERE ((x_1.destination_id = h.destination_id) AND (x_1.product = h.product) AND (x_1.metric = h.metric) AND (x_1.valid_from <= postmeter.month_of(h.hour, t_1.zone)))
                  ORDER BY x_1.valid_from DESC
                 LIMIT 1) x ON (true))
          GROUP BY h.destination_id, (postmeter.month_of(h.hour, COALESCE(t_1.zone, 'UTC'::text))), h.reason, x.name, h.org, h.product, h.metric, x.factor_numerator, x.factor_denominator
        UNION ALL
         SELECT NULL::integer AS destination_id,
            postmeter.month_of(postmeter.hour_of(o.used_at), 'UTC'::text) AS month,
            'waiting'::text AS class,
            NULL::text AS reason,
            NULL::bigint AS meter_id,
            NULL::text AS buyer,
            NULL::text AS dimension,
            o.org,
            o.product,
            o.metric,
            count(*) AS items,
            sum(o.quantity) AS quantity,
            'metric'::text AS unit,
            NULL::bigint AS numerator,
            NULL::bigint AS denominator
           FROM postmeter.outbox o
          GROUP BY (postmeter.month_of(postmeter.hour_of(o.used_at), 'UTC'::text)), o.org, o.product, o.metric
        UNION ALL
         SELECT l.destination_id,
            l.month,
            v.class,
            NULL::text AS reason,
            l.id AS meter_id,
            l.buyer,
            l.dimension,
            NULL::text AS org,
            p_1.product,
            NULL::text AS metric,
            1 AS items,
            v.quantity,
            'billing'::text AS unit,
            1 AS numerator,
            1 AS denominator
           FROM ((( SELECT m.id,
                    m.destination_id,
                    m.month,
                    m.buyer,
                    m.dimension,
                    m.carried,
                    m.billable,
                    m.denominator,
                    GREATEST((0)::numeric, (m.billed - postmeter.round_units((m.carried + (m.billed * m.denominator)), m.denominator,
                        CASE
                            WHEN (m.month_end = 'round_up'::text) THEN 'up'::text
                            ELSE m.rounding
                        END, m.decimals))) AS over_billed
                   FROM postmeter.meter m
                  WHERE ((m.carried <> (0)::numeric) OR (m.billable > (0)::numeric))) l
             CROSS JOIN LATERAL ( SELECT min(mm.product) AS product
                   FROM postmeter.meter_metric mm
                  WHERE (mm.meter_id = l.id)) p_1)
             CROSS JOIN LATERAL ( VALUES ('over_billed'::text,l.over_billed), ('released'::text,l.billable), ('remainder'::text,round(GREATEST((0)::numeric, ((l.carried / l.denominator) - l.billable)), 15))) v(class, quantity))
          WHERE (v.quantity > (0)::numeric)
        )
 SELECT t.name AS destination,
    i.month,
    (c.closed_at IS NOT NULL) AS closed,
    c.closed_at,
    i.class,
    i.reason,
    i.meter_id,
    i.buyer,
    i.org,
    i.product,
    i.metric,
    i.dimension,
    i.items,
    trim_scale(i.quantity) AS quantity,
    i.unit,
    trim_scale(round((((i.quantity * (i.numerator)::numeric) * p.unit_price) / (i.denominator)::numeric), 15)) AS amount,
    p.currency,
    (t.shadow_of IS NOT NULL) AS shadow
   FROM (((item i
     LEFT JOIN postmeter.destination t ON ((t.id = i.destination_id)))
     LEFT JOIN postmeter.closed_month c ON (((c.destination_id = i.destination_id) AND (c.month = i.month))))
     LEFT JOIN LATERAL ( SELECT x.unit_price,
            x.currency
           FROM postmeter.dimension x
          WHERE ((x.destination_id = i.destination_id) AND (x.name = i.dimension) AND (x.product = i.product) AND (x.valid_from <= i.month))
          ORDER BY x.valid_from DESC, x.id
         LIMIT 1) p ON (true))
UNION ALL
 SELECT t.name AS destination,
    k.month,
    (c.closed_at IS NOT NULL) AS closed,
    c.closed_at,
    i.class,
    i.reason,
    k.id AS meter_id,
    k.buyer,
    NULL::text AS org,
    i.product,
    (NULL::text COLLATE "C") AS metric,
    k.dimension,
    i.items,
    trim_scale(i.quantity) AS quantity,
    'billing'::text AS unit,
    trim_scale(round((i.quantity * p.unit_price), 15)) AS amount,
    p.currency,
    (t.shadow_of IS NOT NULL) AS shadow
   FROM ((((postmeter.dropped_meter k
     JOIN postmeter.destination t ON ((t.id = k.destination_id)))
     LEFT JOIN postmeter.closed_month c ON (((c.destination_id = k.destination_id) AND (c.month = k.month))))
     CROSS JOIN LATERAL ( SELECT s.status AS class,
            s.reason,
            s.product,
            s.remittances AS items,
            s.quantity
           FROM postmeter.dropped_sum s
          WHERE ((s.meter_id = k.id) AND (s.answers = 'month_close'::text))
        UNION ALL
         SELECT v.class,
            NULL::text AS reason,
            k.product,
            1 AS items,
            v.quantity
           FROM ( VALUES ('over_billed'::text,GREATEST((0)::numeric, (k.billed - postmeter.round_units((k.carried + (k.billed * k.denominator)), k.denominator,
                        CASE
                            WHEN (k.month_end = 'round_up'::text) THEN 'up'::text
                            ELSE k.rounding
                        END, k.decimals)))), ('released'::text,k.billable), ('remainder'::text,round(GREATEST((0)::numeric, ((k.carried / k.denominator) - k.billable)), 15))) v(class, quantity)
          WHERE ((v.quantity > (0)::numeric) AND ((k.carried <> (0)::numeric) OR (k.billable > (0)::numeric)))) i)
     LEFT JOIN LATERAL ( SELECT x.unit_price,
            x.currency
           FROM postmeter.dimension x
          WHERE ((x.destination_id = k.destination_id) AND (x.name = k.dimension) AND (x.product = i.product) AND (x.valid_from <= k.month))
          ORDER BY x.valid_from DESC, x.id
         LIMIT 1) p ON (true));

CREATE OR REPLACE VIEW postmeter.unremitted AS
 SELECT 'usage'::text AS kind,
    h.org,
    h.product,
    h.metric,
    h.hour,
    h.quantity,
    'metric'::text AS unit,
    'held'::text AS status,
    h.reason,
    h.deadline,
    h.held_at AS since,
    t.name AS destination,
    NULL::bigint AS delivery_id,
    h.usage_id,
    (h.usage_id)::text AS item
   FROM (postmeter.held h
     LEFT JOIN postmeter.destination t ON ((t.id = h.destination_id)))
UNION ALL
 SELECT 'usage'::text AS kind,
    o.org,
    o.product,
    o.metric,
    postmeter.hour_of(o.used_at) AS hour,
    o.quantity,
    'metric'::text AS unit,
    'waiting'::text AS status,
    NULL::text AS reason,
    NULL::timestamp with time zone AS deadline,
    NULL::timestamp with time zone AS since,
    NULL::text AS destination,
    NULL::bigint AS delivery_id,
    o.id AS usage_id,
    (o.id)::text AS item
   FROM postmeter.outbox o
UNION ALL
 SELECT 'remittance'::text AS kind,
    a.org,
    a.product,
    a.metric,
    a.hour,
    sum(a.quantity) AS quantity,
    'metric'::text AS unit,
    d.status,
    d.reason,
    d.deadline,
    d.changed_at AS since,
    t.name AS destination,
    d.id AS delivery_id,
    NULL::uuid AS usage_id,
    (jsonb_build_array(d.id, a.org, a.product, a.metric, a.hour))::text AS item
   FROM ((( SELECT s.org,
            mm.product,
            mm.metric,
            x.hour,
            x.delivery_id,
            x.quantity
           FROM ((postmeter.allocation x
             JOIN postmeter.subscription s ON ((s.id = x.subscription_id)))
             JOIN postmeter.meter_metric mm ON ((mm.id = x.meter_metric_id)))
        UNION ALL
         SELECT k.org,
            k.product,
            k.metric,
            k.hour,
            k.delivery_id,
            k.quantity
           FROM postmeter.ledger_carry k
          WHERE ((k.hour IS NOT NULL) AND (EXISTS ( SELECT
                   FROM postmeter.meter_metric g
                  WHERE (g.id = k.meter_metric_id))))) a
     JOIN postmeter.delivery d ON ((d.id = a.delivery_id)))
     JOIN postmeter.destination t ON ((t.id = d.destination_id)))
  WHERE ((d.status <> ALL (ARRAY['accepted'::text, 'nothing_due'::text, 'released'::text])) AND (NOT d.shadow))
  GROUP BY a.org, a.product, a.metric, a.hour, d.id, t.name
UNION ALL
 SELECT 'remittance'::text AS kind,
    s.org,
    d.product,
    NULL::text AS metric,
    d.hour,
    g.quantity,
    'billing'::text AS unit,
    d.status,
    d.reason,
    d.deadline,
    d.changed_at AS since,
    t.name AS destination,
    d.id AS delivery_id,
    NULL::uuid AS usage_id,
    (jsonb_build_array(d.id, s.org, d.product, NULL::unknown, d.hour))::text AS item
   FROM ((((postmeter.delivery d
     JOIN postmeter.destination t ON ((t.id = d.destination_id)))
     JOIN postmeter.meter m ON ((m.id = d.meter_id)))
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN ((EXISTS ( SELECT
                       FROM postmeter.allocation a
                      WHERE (a.delivery_id = d.id))) OR (EXISTS ( SELECT
                       FROM postmeter.ledger_carry k
                      WHERE (k.delivery_id = d.id)))) THEN ( SELECT sum(c.quantity) AS sum
                       FROM postmeter.decision c
                      WHERE ((c.target_delivery_id = d.id) AND (c.verb = 'release'::text)))
                    ELSE d.quantity
                END AS quantity) g)
     LEFT JOIN postmeter.subscription s ON (((s.destination_id = m.destination_id) AND (s.buyer = m.buyer) AND (s.product = d.product) AND (s.valid_from < (d.hour + '01:00:00'::interval)) AND ((s.valid_until IS NULL) OR (d.hour < s.valid_until)))))
  WHERE ((d.status <> ALL (ARRAY['accepted'::text, 'nothing_due'::text, 'released'::text, 'open'::text])) AND (NOT d.shadow) AND (g.quantity > (0)::numeric))
  GROUP BY s.org, g.quantity, d.id, t.name
UNION ALL
 SELECT 'remittance'::text AS kind,
    s.org,
    l.product,
    NULL::text AS metric,
    l.hour,
    m.billable AS quantity,
    'billing'::text AS unit,
    COALESCE(o.status, 'released'::text) AS status,
    NULL::text AS reason,
    o.deadline,
    COALESCE(o.changed_at, l.changed_at) AS since,
    t.name AS destination,
    o.id AS delivery_id,
    NULL::uuid AS usage_id,
    COALESCE((jsonb_build_array(o.id, s.org, l.product, NULL::unknown, l.hour, m.id))::text, (jsonb_build_array('meter', m.id, s.org, l.product))::text) AS item
   FROM ((((postmeter.meter m
     JOIN postmeter.destination t ON (((t.id = m.destination_id) AND (t.shadow_of IS NULL))))
     LEFT JOIN LATERAL ( SELECT d.id,
            d.status,
            d.hour,
            d.product,
            d.deadline,
            d.changed_at
           FROM (postmeter.open_hour h
             JOIN postmeter.delivery d ON ((d.id = h.delivery_id)))
          WHERE ((d.meter_id = m.id) OR (EXISTS ( SELECT
                   FROM postmeter.part p
                  WHERE ((p.delivery_id = d.id) AND (p.meter_id = m.id)))))
          ORDER BY d.hour, d.id
         LIMIT 1) o ON (true))
     CROSS JOIN LATERAL ( SELECT d.product,
            COALESCE(o.hour, d.hour) AS hour,
            d.changed_at
           FROM postmeter.delivery d
          WHERE (d.meter_id = m.id)
          ORDER BY d.hour DESC
         LIMIT 1) l)
     LEFT JOIN (LATERAL postmeter.contract_subscriptions(m.destination_id, m.buyer, m.month) b(subscription_id)
     JOIN postmeter.subscription s ON ((s.id = b.subscription_id))) ON (((s.product = l.product) AND (s.valid_from < (l.hour + '01:00:00'::interval)) AND ((s.valid_until IS NULL) OR (l.hour < s.valid_until)))))
  WHERE (m.billable > (0)::numeric)
  GROUP BY s.org, l.product, l.hour, l.changed_at, m.id, o.id, o.status, o.deadline, o.changed_at, t.name
UNION ALL
 SELECT 'dropped'::text AS kind,
    s.org,
    s.product,
    s.metric,
    ((k.month)::timestamp without time zone AT TIME ZONE t.zone) AS hour,
    sum(s.quantity) AS quantity,
    s.unit,
    s.status,
    s.reason,
    NULL::timestamp with time zone AS deadline,
    x.begun_at AS since,
    t.name AS destination,
    NULL::bigint AS delivery_id,
    NULL::uuid AS usage_id,
    (jsonb_build_array('dropped', t.name, to_char((k.month)::timestamp with time zone, 'YYYY-MM'::text), s.org, s.product, s.metric, s.status, s.reason, s.unit))::text AS item
   FROM (((postmeter.dropped_sum s
     JOIN postmeter.dropped_meter k ON ((k.id = s.meter_id)))
     JOIN postmeter.destination t ON ((t.id = k.destination_id)))
     LEFT JOIN postmeter.dropped_month x ON (((x.destination_id = k.destination_id) AND (x.month = k.month))))
  WHERE (s.answers = 'unremitted'::text)
  GROUP BY s.org, s.product, s.metric, k.month, t.zone, s.unit, s.status, s.reason, x.begun_at, t.name;

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.allocation FOR EACH STATEMENT WHEN ((current_setting('postmeter.ends_allocations'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.allocation_default FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.attempt FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.attempt_default FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.catalogue_change FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE TRUNCATE ON postmeter.contradiction FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.cut FOR EACH STATEMENT WHEN ((current_setting('postmeter.drops_remittances'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.decision FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.dropped_meter FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON postmeter.dropped_month FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON postmeter.dropped_numbers FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.dropped_remittance FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.dropped_sum FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.late_evidence FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.ledger_carry FOR EACH STATEMENT WHEN ((current_setting('postmeter.drops_remittances'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.ledger_drop FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.ledger_export FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.month_export FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.outcome FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.outcome_default FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.reconciliation FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.recounted FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.reported FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.request_status FOR EACH STATEMENT WHEN ((current_setting('postmeter.moves_statuses'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.request_status_default FOR EACH STATEMENT WHEN ((current_setting('postmeter.moves_statuses'::text, true) IS DISTINCT FROM 'on'::text)) EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.usage FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON postmeter.usage_default FOR EACH STATEMENT EXECUTE FUNCTION postmeter.forbid_change();

CREATE TRIGGER arrived AFTER INSERT ON postmeter.outbox REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION postmeter.outbox_arrived();

ALTER TABLE postmeter.outbox ENABLE ALWAYS TRIGGER arrived;

CREATE TRIGGER check_dimension BEFORE INSERT OR UPDATE ON postmeter.dimension FOR EACH ROW EXECUTE FUNCTION postmeter.check_dimension();

CREATE TRIGGER check_shadow BEFORE INSERT OR UPDATE OF shadow_of ON postmeter.destination FOR EACH ROW EXECUTE FUNCTION postmeter.check_shadow();

CREATE TRIGGER check_subscription BEFORE INSERT OR UPDATE ON postmeter.subscription FOR EACH ROW EXECUTE FUNCTION postmeter.check_subscription();

CREATE TRIGGER clear_disabled AFTER UPDATE OF enabled ON postmeter.alert_rule FOR EACH ROW WHEN ((old.enabled AND (NOT new.enabled))) EXECUTE FUNCTION postmeter.clear_disabled_alerts();

CREATE TRIGGER contract_marks AFTER INSERT OR DELETE ON postmeter.contract_member FOR EACH ROW EXECUTE FUNCTION postmeter.contract_marks();

CREATE TRIGGER contracts_follow AFTER INSERT OR UPDATE ON postmeter.subscription FOR EACH ROW EXECUTE FUNCTION postmeter.contracts_follow();

CREATE TRIGGER cure_held AFTER INSERT OR DELETE OR UPDATE ON postmeter.dimension FOR EACH STATEMENT EXECUTE FUNCTION postmeter.cure_held();

CREATE TRIGGER cure_held AFTER INSERT OR DELETE OR UPDATE ON postmeter.exemption FOR EACH STATEMENT EXECUTE FUNCTION postmeter.cure_held();

CREATE TRIGGER cure_held AFTER INSERT OR DELETE OR UPDATE ON postmeter.subscription FOR EACH STATEMENT EXECUTE FUNCTION postmeter.cure_held();

CREATE TRIGGER cure_implausible AFTER INSERT OR DELETE OR UPDATE ON postmeter.dimension FOR EACH STATEMENT EXECUTE FUNCTION postmeter.cure_implausible();

CREATE TRIGGER deadlines_follow AFTER INSERT OR DELETE OR UPDATE ON postmeter.subscription FOR EACH ROW EXECUTE FUNCTION postmeter.deadlines_follow();

CREATE TRIGGER dimension_marks AFTER INSERT OR DELETE OR UPDATE ON postmeter.dimension FOR EACH ROW EXECUTE FUNCTION postmeter.dimension_marks();

CREATE TRIGGER exemption_marks AFTER INSERT OR DELETE OR UPDATE ON postmeter.exemption FOR EACH ROW EXECUTE FUNCTION postmeter.exemption_marks();

CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE ON postmeter.cover FOR EACH ROW EXECUTE FUNCTION postmeter.catalogue_changed();

CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE ON postmeter.destination FOR EACH ROW EXECUTE FUNCTION postmeter.catalogue_changed();

CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE ON postmeter.dimension FOR EACH ROW EXECUTE FUNCTION postmeter.catalogue_changed();

CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE ON postmeter.exemption FOR EACH ROW EXECUTE FUNCTION postmeter.catalogue_changed();

CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE ON postmeter.quota FOR EACH ROW EXECUTE FUNCTION postmeter.catalogue_changed();

CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE ON postmeter.subscription FOR EACH ROW EXECUTE FUNCTION postmeter.catalogue_changed();

CREATE TRIGGER kept_dropped BEFORE DELETE OR UPDATE ON postmeter.closed_month FOR EACH ROW EXECUTE FUNCTION postmeter.keep_dropped();

CREATE TRIGGER kept_dropped BEFORE INSERT ON postmeter.meter FOR EACH ROW EXECUTE FUNCTION postmeter.keep_dropped();

CREATE TRIGGER limits_follow AFTER UPDATE OF age_limit, month_cutoff, closing_window, margin, zone ON postmeter.destination FOR EACH ROW EXECUTE FUNCTION postmeter.limits_follow();

CREATE TRIGGER moved AFTER INSERT ON postmeter.allocation FOR EACH ROW WHEN ((new.round < 0)) EXECUTE FUNCTION postmeter.moved_by_allocation();

CREATE TRIGGER moved AFTER INSERT ON postmeter.cut REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION postmeter.moved_by_cut();

CREATE TRIGGER moved AFTER UPDATE ON postmeter.delivery FOR EACH ROW WHEN (((old.meter_id IS DISTINCT FROM new.meter_id) OR (new.round < old.round) OR (((old.status = ANY (ARRAY['open'::text, 'nothing_due'::text, 'released'::text])) <> (new.status = ANY (ARRAY['open'::text, 'nothing_due'::text, 'released'::text]))) AND (NOT ((old.status = 'open'::text) AND (new.round = (old.round + 1))))) OR ((old.status <> 'open'::text) AND (new.status = 'open'::text)))) EXECUTE FUNCTION postmeter.moved_by_delivery();

CREATE TRIGGER moved AFTER INSERT ON postmeter.ledger_carry REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION postmeter.moved_by_carry();

CREATE TRIGGER moved AFTER UPDATE ON postmeter.meter FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.carried IS DISTINCT FROM new.carried) OR (old.denominator IS DISTINCT FROM new.denominator))) EXECUTE FUNCTION postmeter.moved_by_meter();

CREATE TRIGGER moved AFTER UPDATE ON postmeter.meter_metric FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.meter_id IS DISTINCT FROM new.meter_id) OR (old.covered IS DISTINCT FROM new.covered) OR (old.factor_numerator IS DISTINCT FROM new.factor_numerator) OR (old.factor_denominator IS DISTINCT FROM new.factor_denominator))) EXECUTE FUNCTION postmeter.moved_by_metric();

CREATE TRIGGER moved AFTER INSERT OR DELETE OR UPDATE ON postmeter.part FOR EACH ROW EXECUTE FUNCTION postmeter.moved_by_part();

CREATE TRIGGER moved_whole AFTER DELETE ON postmeter.delivery FOR EACH ROW EXECUTE FUNCTION postmeter.moved_by_delivery();

CREATE TRIGGER moved_whole AFTER INSERT OR DELETE ON postmeter.meter FOR EACH ROW EXECUTE FUNCTION postmeter.moved_by_meter();

CREATE TRIGGER moved_whole AFTER DELETE ON postmeter.meter_metric FOR EACH ROW EXECUTE FUNCTION postmeter.moved_by_metric();

CREATE TRIGGER of_dropped AFTER INSERT ON postmeter.late_evidence REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION postmeter.late_of_dropped();

CREATE TRIGGER only_dropped AFTER DELETE ON postmeter.cut REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postmeter.only_dropped();

CREATE TRIGGER only_dropped AFTER DELETE ON postmeter.ledger_carry REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postmeter.only_dropped();

CREATE TRIGGER raise_version BEFORE UPDATE ON postmeter.destination FOR EACH ROW EXECUTE FUNCTION postmeter.raise_version();

CREATE TRIGGER raise_versions AFTER UPDATE OF calls_per_second ON postmeter.quota FOR EACH ROW WHEN ((old.calls_per_second IS DISTINCT FROM new.calls_per_second)) EXECUTE FUNCTION postmeter.raise_versions_of_quota();

CREATE TRIGGER shadow_never_calls AFTER UPDATE ON postmeter.delivery FOR EACH ROW WHEN ((new.shadow AND (old.status = 'in_flight'::text) AND (new.status <> 'in_flight'::text))) EXECUTE FUNCTION postmeter.check_shadow_outcome();

CREATE TRIGGER shadow_told BEFORE INSERT OR UPDATE OF org, product, account, destination_id, valid_from, valid_until ON postmeter.subscription FOR EACH ROW EXECUTE FUNCTION postmeter.shadow_told();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE ON postmeter.contradiction FOR EACH ROW EXECUTE FUNCTION postmeter.contradiction_stays();

CREATE TRIGGER stuck AFTER UPDATE ON postmeter.delivery FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) AND ((old.status = ANY (ARRAY['rejected'::text, 'expired'::text, 'conflict'::text, 'unknown'::text, 'held'::text])) OR (new.status = ANY (ARRAY['rejected'::text, 'expired'::text, 'conflict'::text, 'unknown'::text, 'held'::text]))))) EXECUTE FUNCTION postmeter.delivery_stuck();

CREATE TRIGGER subscription_marks AFTER INSERT OR DELETE OR UPDATE ON postmeter.subscription FOR EACH ROW EXECUTE FUNCTION postmeter.subscription_marks();

CREATE TRIGGER unconfirmed AFTER UPDATE ON postmeter.delivery FOR EACH ROW WHEN ((((old.status <> 'accepted'::text) AND (new.status = 'accepted'::text) AND (new.confirmed IS FALSE) AND ((old.status = ANY (ARRAY['due'::text, 'in_flight'::text])) OR (new.evidence_read > old.evidence_read))) OR ((old.status = 'accepted'::text) AND (old.confirmed IS FALSE) AND ((new.status <> 'accepted'::text) OR (new.confirmed IS DISTINCT FROM false))))) EXECUTE FUNCTION postmeter.keep_unconfirmed();

CREATE TRIGGER wake AFTER INSERT ON postmeter.due REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION postmeter.due_arrived();

CREATE TRIGGER went AFTER DELETE OR UPDATE ON postmeter.allocation FOR EACH ROW EXECUTE FUNCTION postmeter.allocation_went();

CREATE TRIGGER went AFTER DELETE ON postmeter.held REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION postmeter.usage_went();

CREATE TRIGGER zero_since BEFORE INSERT OR UPDATE ON postmeter.dimension FOR EACH ROW EXECUTE FUNCTION postmeter.zero_since();

ALTER TABLE ONLY postmeter.alert
    ADD CONSTRAINT alert_name_fkey FOREIGN KEY (name) REFERENCES postmeter.alert_rule(name);

ALTER TABLE ONLY postmeter.breaker
    ADD CONSTRAINT breaker_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES postmeter.destination(id) ON DELETE CASCADE;

ALTER TABLE ONLY postmeter.cover
    ADD CONSTRAINT cover_subscription_id_fkey FOREIGN KEY (subscription_id) REFERENCES postmeter.subscription(id) ON DELETE CASCADE;

ALTER TABLE ONLY postmeter.destination
    ADD CONSTRAINT destination_quota_id_fkey FOREIGN KEY (quota_id) REFERENCES postmeter.quota(id);

ALTER TABLE ONLY postmeter.destination
    ADD CONSTRAINT destination_shadow_of_fkey FOREIGN KEY (shadow_of) REFERENCES postmeter.destination(id);

ALTER TABLE ONLY postmeter.dimension
    ADD CONSTRAINT dimension_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES postmeter.destination(id);

ALTER TABLE ONLY postmeter.dropped_month
    ADD CONSTRAINT dropped_month_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES postmeter.destination(id);

ALTER TABLE ONLY postmeter.pace
    ADD CONSTRAINT pace_quota_id_fkey FOREIGN KEY (quota_id) REFERENCES postmeter.quota(id) ON DELETE CASCADE;

ALTER TABLE ONLY postmeter.refusal
    ADD CONSTRAINT refusal_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES postmeter.destination(id) ON DELETE CASCADE;

ALTER TABLE ONLY postmeter.reported
    ADD CONSTRAINT reported_reconciliation_id_fkey FOREIGN KEY (reconciliation_id) REFERENCES postmeter.reconciliation(id);

ALTER TABLE ONLY postmeter.subscription
    ADD CONSTRAINT subscription_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES postmeter.destination(id);

GRANT USAGE ON SCHEMA postmeter TO postmeter_producer;
GRANT USAGE ON SCHEMA postmeter TO postmeter_worker;
GRANT USAGE ON SCHEMA postmeter TO postmeter_operator;
GRANT USAGE ON SCHEMA postmeter TO postmeter_reader;
GRANT USAGE ON SCHEMA postmeter TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.month_of(hour timestamp with time zone, zone text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_of(hour timestamp with time zone, zone text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_of(hour timestamp with time zone, zone text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_of(hour timestamp with time zone, zone text) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.destination TO postmeter_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.destination TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.destination TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dimension TO postmeter_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.dimension TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dimension TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.allocation_went() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.ask_meters_anew(many integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ask_meters_anew(many integer) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.ask_meters_anew(many integer) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.ask_open_anew() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ask_open_anew() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.ask_open_anew() TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.awaited(deliveries bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.awaited(deliveries bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.begin_month_drop(destination text, month date, who text, why text, dry_run boolean, without date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.begin_month_drop(destination text, month date, who text, why text, dry_run boolean, without date) TO postmeter_operator;

GRANT SELECT ON TABLE postmeter.setting TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.setting TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.setting TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.clock() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.clock() TO postmeter_producer;
GRANT ALL ON FUNCTION postmeter.clock() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.clock() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.clock() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.id_at(moment timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.id_at(moment timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.id_at(moment timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.id_at(moment timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.moment_of(id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.moment_of(id uuid) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.moment_of(id uuid) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.moment_of(id uuid) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.new_id() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.new_id() TO postmeter_producer;
GRANT ALL ON FUNCTION postmeter.new_id() TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.attempt TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.attempt TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.attempt TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.delivery TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.delivery TO postmeter_operator;
GRANT SELECT,INSERT,UPDATE ON TABLE postmeter.delivery TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.beside(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.broken_at() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.broken_at() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.broken_at() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.broken_at() TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.subscription TO postmeter_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.subscription TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.subscription TO postmeter_worker;

GRANT UPDATE(buyer) ON TABLE postmeter.subscription TO postmeter_worker;

GRANT UPDATE(buyer_account) ON TABLE postmeter.subscription TO postmeter_worker;

GRANT UPDATE(identity_form) ON TABLE postmeter.subscription TO postmeter_worker;

GRANT UPDATE(invalid) ON TABLE postmeter.subscription TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.buyers_now(subscription_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.buyers_now(subscription_id bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.carry_ledger(month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.catalogue_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.catalogue_gate() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.catalogue_gate() TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.catalogue_moves(since bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.catalogue_moves(since bigint) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.chain_step(head bytea, line text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.chain_step(head bytea, line text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.chain_step(head bytea, line text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.chain_step(head bytea, line text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.check_corrections(corrected uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_decider(who text, why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_destination(destination text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_dimension() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_filter(filter jsonb, fields text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_filter_known(filter jsonb, held_usage boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_form_begins(entered postmeter.subscription, begins timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_ledger_finished(month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_ledger_kept(destination text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.check_ledger_kept(destination text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.check_ledger_kept(destination text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.check_ledger_kept(destination text, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.check_ledger_rows(month date, manifest text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_month_kept(destination_id integer, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.check_month_kept(destination_id integer, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.check_month_kept(destination_id integer, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.check_month_kept(destination_id integer, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.check_month_rows(destination text, month date, manifest text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.check_month_rows(destination text, month date, manifest text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.check_month_rows(destination text, month date, manifest text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.check_month_rows(destination text, month date, manifest text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.check_not_dropped(deliveries bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.check_not_dropped(deliveries bigint[]) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.check_not_dropped(deliveries bigint[]) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.check_not_dropped(deliveries bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.check_proof_state() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_resolved(usage_ids uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_shadow() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_shadow_outcome() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_subscription() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.check_word(filter jsonb, field text, words text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.clear_disabled_alerts() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.close_month(destination text, month date, who text, why text, dry_run boolean, forced boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.close_month(destination text, month date, who text, why text, dry_run boolean, forced boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.close_report(destination text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.close_report(destination text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.close_report(destination text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.close_report(destination text, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.confirm_day(destination text, day date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.console_seen(id uuid, name text, version text, stops boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.console_seen(id uuid, name text, version text, stops boolean) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.contract_name(product text, name text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.contract_name(product text, name text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.contract_name(product text, name text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.contract_name(product text, name text) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.contract_name(product text, name text) TO postmeter_console;

GRANT SELECT ON TABLE postmeter.contract_member TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.contract_member TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.contract_member TO postmeter_worker;
GRANT SELECT ON TABLE postmeter.contract_member TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.contract_subscriptions(destination_id integer, contract text, month date) TO postmeter_console;

GRANT SELECT ON TABLE postmeter.meter TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.meter TO postmeter_operator;
GRANT SELECT,INSERT,UPDATE ON TABLE postmeter.meter TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.contract_keys(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.contract_keys(meter_id bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.contract_keys(meter_id bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.contract_keys(meter_id bigint) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.contract_keys(meter_id bigint) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.contract_marks() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.contracts_follow() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.contradicted(delivery bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.contradicted(delivery bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.contradicted(delivery bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.contradicted(delivery bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.contradiction_stays() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.correction_is_free(corrected uuid, destination integer, hour timestamp with time zone, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.count_held(d postmeter.delivery, held numeric, who text, why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.counted(n bigint, thing text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.counted(n bigint, thing text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.counted(n bigint, thing text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.counted(n bigint, thing text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.create_partition(parent text, month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.create_partitions(months_ahead integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.create_partitions(months_ahead integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.create_request_partitions(days_ahead integer, days_back integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.create_request_partitions(days_ahead integer, days_back integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.create_token(name text, hash bytea, scopes text[], org text, who text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.create_token(name text, hash bytea, scopes text[], org text, who text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.cure_held() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.cure_implausible() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.deadline_of(destination_id integer, buyer text, hour timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.deadline_of(destination_id integer, buyer text, hour timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.deadline_of(destination_id integer, buyer text, hour timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.deadline_of(destination_id integer, buyer text, hour timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.deadline_now(delivery postmeter.delivery) FROM PUBLIC;

GRANT SELECT,DELETE ON TABLE postmeter.deadline_change TO postmeter_worker;
GRANT SELECT ON TABLE postmeter.deadline_change TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.deadline_change TO postmeter_operator;

GRANT UPDATE(next_at) ON TABLE postmeter.deadline_change TO postmeter_worker;

GRANT UPDATE(awaits) ON TABLE postmeter.deadline_change TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.deadlines_behind(marks bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.deadlines_behind(marks bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.deadlines_follow() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.decide_contract(subscription bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.declare_installation(what text, who text, why text, nothing_lost boolean, name text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.declare_installation(what text, who text, why text, nothing_lost boolean, name text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.deliveries_by(filter jsonb, waiting boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.deliveries_by(filter jsonb, waiting boolean) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.deliveries_by(filter jsonb, waiting boolean) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.deliveries_by(filter jsonb, waiting boolean) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.delivery_counted(delivery bigint, org text, account text, metric text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.delivery_counts(delivery bigint, org text, account text, metric text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.delivery_counts_others(delivery bigint, filter jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.delivery_stuck() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.dimension_in(destination_id integer, name text, month date) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.dimension_marks() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.drop_ledger_leftovers(month date, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.drop_ledger_leftovers(month date, most integer) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.drop_ledger_month(month date, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.drop_ledger_month(month date, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.drop_month_share(destination text, month date, most integer, OUT meters bigint, OUT remittances bigint, OUT is_done boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.drop_month_share(destination text, month date, most integer, OUT meters bigint, OUT remittances bigint, OUT is_done boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.drop_remittances(deliveries bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.drop_request_partitions() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.drop_request_partitions() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.dropped_with(delivery bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.dropped_with(delivery bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.dropped_with(delivery bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.dropped_with(delivery bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.due_arrived() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.end_marked(deliveries bigint[], most integer, unread boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.end_marked(deliveries bigint[], most integer, unread boolean) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.end_wait(quota integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.exemption_marks() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.filter_fits(filter jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.filter_fits(filter jsonb) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.filter_fits(filter jsonb) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.filter_fits(filter jsonb) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.folded_until() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.folded_until() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.folded_until() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.folded_until() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.forbid_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.forget_answers() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.forget_answers() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.forget_answers() TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.forget_processes(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.forget_processes(most integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.forget_requests(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.forget_requests(most integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.forget_shadow_usage(month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.form_begins(destination_id integer, product text, buyers text[], identity jsonb, since timestamp with time zone, until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.fresh_contract(subscription bigint, month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.gather_gate() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.gather_gate() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.gather_gate() TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.gather_requests(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.gather_requests(most integer) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.gather_requests(most integer) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.give_back(d postmeter.delivery, who text, why text) FROM PUBLIC;

GRANT SELECT ON TABLE postmeter.held TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.held TO postmeter_operator;
GRANT SELECT,INSERT,DELETE ON TABLE postmeter.held TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.held_needs(h postmeter.held) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.held_needs(h postmeter.held) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.held_needs(h postmeter.held) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.held_needs(h postmeter.held) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.held_needs(h postmeter.held) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.held_rows(rows jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.held_together(usages uuid[], back boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.held_usage_by(filter jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.held_usage_by(filter jsonb) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.held_usage_by(filter jsonb) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.held_usage_by(filter jsonb) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.held_verdict(d postmeter.delivery, held numeric, billed boolean, OUT verdict text, OUT status_after text, OUT note text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.hold(filter jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.hold(filter jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.hour_of(moment timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.hour_of(moment timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.hour_of(moment timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.hour_of(moment timestamp with time zone) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.part TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.part TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.part TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.hours_of_meter(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.hours_of_meter(meter_id bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.hours_of_meter(meter_id bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.hours_of_meter(meter_id bigint) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.hours_of_meter(meter_id bigint) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.id_window(OUT earliest uuid, OUT latest uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.identity_at(meter_id bigint, hour timestamp with time zone, given_identity jsonb, given_product text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.insert_parts(deliveries bigint[], meters bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.insert_parts(deliveries bigint[], meters bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.installation_doubt() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.installation_doubt() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.installation_doubt() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.installation_doubt() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.installation_went_on(seen text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.installation_went_on(seen text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.judge(contradiction bigint, counts text, who text, why text, OUT status text, OUT changed boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.judge(contradiction bigint, counts text, who text, why text, OUT status text, OUT changed boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.keep_dropped() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.keep_held(usages uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.keep_held(usages uuid[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.keep_unconfirmed() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.key_of_hour(meter_id bigint, hour timestamp with time zone) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.key_of_identity(meter_id bigint, identity jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.largest_remainder(total numeric, decimals integer, weights numeric[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.largest_remainder(total numeric, decimals integer, weights numeric[]) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.largest_remainder(total numeric, decimals integer, weights numeric[]) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.largest_remainder(total numeric, decimals integer, weights numeric[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.last_remittance(delivery bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.last_remittance(delivery bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.last_remittance(delivery bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.last_remittance(delivery bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.late_of_dropped() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.ledger_closings(month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.ledger_heads(month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_heads(month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_heads(month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_heads(month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_key(parent text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.ledger_leftover_heads(month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_leftover_heads(month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_leftover_heads(month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_leftover_heads(month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_time(moment timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_time(moment timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_time(moment timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_time(moment timestamp with time zone) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.allocation TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.allocation TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.allocation TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(a postmeter.allocation) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(a postmeter.allocation) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(a postmeter.allocation) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(a postmeter.allocation) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(a postmeter.attempt) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(a postmeter.attempt) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(a postmeter.attempt) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(a postmeter.attempt) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.cut TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.cut TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.cut TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(c postmeter.cut) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(c postmeter.cut) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(c postmeter.cut) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(c postmeter.cut) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(d postmeter.delivery) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(d postmeter.delivery) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(d postmeter.delivery) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(d postmeter.delivery) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.exempted TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.exempted TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.exempted TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(x postmeter.exempted) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(x postmeter.exempted) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(x postmeter.exempted) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(x postmeter.exempted) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.meter_metric TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.meter_metric TO postmeter_operator;
GRANT SELECT,INSERT,UPDATE ON TABLE postmeter.meter_metric TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter_metric) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter_metric) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter_metric) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(m postmeter.meter_metric) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.outcome TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.outcome TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.outcome TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(o postmeter.outcome) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(o postmeter.outcome) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(o postmeter.outcome) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(o postmeter.outcome) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(p postmeter.part) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(p postmeter.part) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(p postmeter.part) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(p postmeter.part) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(u postmeter.usage) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(u postmeter.usage) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(u postmeter.usage) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(u postmeter.usage) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_written_off TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_written_off TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.usage_written_off TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_line(x postmeter.usage_written_off) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_line(x postmeter.usage_written_off) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_line(x postmeter.usage_written_off) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_line(x postmeter.usage_written_off) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_meters(month date) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.ledger_span(month date, OUT first_id uuid, OUT until_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_span(month date, OUT first_id uuid, OUT until_id uuid) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_span(month date, OUT first_id uuid, OUT until_id uuid) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_span(month date, OUT first_id uuid, OUT until_id uuid) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.ledger_why_not(month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.ledger_why_not(month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.ledger_why_not(month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.ledger_why_not(month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.lock_meters(meters bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.lock_meters(meters bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.lock_to_resolve(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.make_alert_post(repeat_after interval) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.make_alert_post(repeat_after interval) TO postmeter_worker;

GRANT SELECT,DELETE ON TABLE postmeter.catalogue_mark TO postmeter_worker;
GRANT SELECT ON TABLE postmeter.catalogue_mark TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.catalogue_mark TO postmeter_operator;

GRANT UPDATE(next_at) ON TABLE postmeter.catalogue_mark TO postmeter_worker;

GRANT UPDATE(awaits) ON TABLE postmeter.catalogue_mark TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.mark_is_unread(mark postmeter.catalogue_mark) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.mark_is_unread(mark postmeter.catalogue_mark) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.closed_month TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.closed_month TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.closed_month TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.exemption TO postmeter_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.exemption TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.exemption TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamp with time zone[], shadow integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamp with time zone[], shadow integer) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamp with time zone[], shadow integer) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.resolve(orgs text[], products text[], metrics text[], accounts text[], hours timestamp with time zone[], shadow integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.resolved_at(org text, product text, used_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resolved_at(org text, product text, used_at timestamp with time zone) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.outbox TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.outbox TO postmeter_operator;
GRANT SELECT,INSERT,DELETE ON TABLE postmeter.outbox TO postmeter_worker;

GRANT INSERT(source) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(event_id) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(org) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(product) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(metric) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(quantity) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(used_at) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(account) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(corrects) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(request_id) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(traceparent) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT INSERT(attributes) ON TABLE postmeter.outbox TO postmeter_producer;

GRANT UPDATE(returned) ON TABLE postmeter.outbox TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_identity TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_identity TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage_identity TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.marked_exempt(marks bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.marked_exempt(marks bigint[]) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.marked_exempt(marks bigint[]) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.placed_otherwise(deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamp with time zone[], moments timestamp with time zone[], unread boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.placed_otherwise(deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamp with time zone[], moments timestamp with time zone[], unread boolean) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.placed_otherwise(deliveries bigint[], meter_metrics bigint[], orgs text[], accounts text[], hours timestamp with time zone[], moments timestamp with time zone[], unread boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.meter_ends(destination_id integer, buyer text, month_ends timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.meters_are_free(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.month_drop_why_not(destination text, month date, without date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_drop_why_not(destination text, month date, without date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_drop_why_not(destination text, month date, without date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_drop_why_not(destination text, month date, without date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.month_gate() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_gate() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.month_gate_alone() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_gate_alone() TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.month_heads(destination text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_heads(destination text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_heads(destination text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_heads(destination text, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.month_is_dropped(destination_id integer, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_is_dropped(destination_id integer, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_is_dropped(destination_id integer, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_is_dropped(destination_id integer, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.month_last_deadline(destination text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_last_deadline(destination text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_last_deadline(destination text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_last_deadline(destination text, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.month_rows_differ(destination text, month date, manifest text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_rows_differ(destination text, month date, manifest text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_rows_differ(destination text, month date, manifest text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_rows_differ(destination text, month date, manifest text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.month_unfinished(destination text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.month_unfinished(destination text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.month_unfinished(destination text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.month_unfinished(destination text, month date) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.moved_by_allocation() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.moved_by_carry() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.moved_by_cut() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.moved_by_delivery() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.moved_by_meter() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.moved_by_metric() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.moved_by_part() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.nearest(word text, known text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.next_usage_anew(many integer, OUT first text, OUT last text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.next_usage_anew(many integer, OUT first text, OUT last text) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.next_usage_anew(many integer, OUT first text, OUT last text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.note_alert_failure(rule text, failure text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.note_alert_failure(rule text, failure text) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.note_alert_failure(rule text, failure text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.note_alert_failure(rule text, failure text) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.note_alerts(rule text, seen jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.note_alerts(rule text, seen jsonb) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.note_alerts(rule text, seen jsonb) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.note_alerts(rule text, seen jsonb) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.note_contradictions(deliveries bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.note_contradictions(deliveries bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.note_day_contradictions(destination text, day date, who text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.note_day_contradictions(destination text, day date, who text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.note_day_contradictions(destination text, day date, who text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.note_said(d postmeter.delivery, held numeric, billed boolean, who text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.only_dropped() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.open_attempts() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.open_attempts() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.open_attempts() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.open_attempts() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.open_hour_at(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.open_hour_at(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.open_last_hour(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.open_last_hour(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.open_late(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.open_late(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.open_target(meter_id bigint, identity jsonb, product text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.open_target(meter_id bigint, identity jsonb, product text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.outbox_arrived() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.part_keys(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.part_keys(meter_id bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.part_key(meter_id bigint, identity jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.pause(destination text, who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.pause(destination text, who text, why text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.this_week() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.this_week() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.this_week() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.this_week() TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usual TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usual TO postmeter_operator;
GRANT SELECT,INSERT,DELETE ON TABLE postmeter.usual TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[]) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[]) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.probe(destination text, who text, why text, OUT breaker text, OUT changed boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.probe(destination text, who text, why text, OUT breaker text, OUT changed boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.prove_anew(meters bigint[], most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.prove_anew(meters bigint[], most integer) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.prove_anew(meters bigint[], most integer) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.prove_balance_anew() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.prove_balance_anew() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.prove_balance_anew() TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.prove_carried() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.prove_carried() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.prove_carried() TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.prove_moved(meters bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.prove_moved(meters bigint[]) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.prove_moved(meters bigint[]) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.prove_slices(slices text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.prove_slices(slices text[]) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.prove_slices(slices text[]) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.prove_usage(first text, last text, OUT checked bigint, OUT open bigint, OUT example text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.prove_usage(first text, last text, OUT checked bigint, OUT open bigint, OUT example text) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.prove_usage(first text, last text, OUT checked bigint, OUT open bigint, OUT example text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.put_request_news_behind() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.put_request_news_behind() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.raise_version() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.raise_versions_of_quota() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.read_again_over() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.read_again_over() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.read_again_over() TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.read_again_took(seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.read_again_took(seconds double precision) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.read_again_took(seconds double precision) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.read_held_row(said jsonb, OUT delivery bigint, OUT key text, OUT receipt text, OUT destination text, OUT quantity numeric, OUT billed boolean, OUT problem text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.read_remittances(meters bigint[], deliveries bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.read_usage_anew(until text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.read_usage_anew(until text) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.read_usage_anew(until text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.recalculate(destination text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.recalculate(destination text, month date) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.recalculate(destination text, month date) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.recalculate(destination text, month date) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.late_evidence TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.late_evidence TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.late_evidence TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.receipts_of(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.reconsider(deliveries bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.reconsider(deliveries bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.reconsider_stuck(most integer, shadows boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.reconsider_stuck(most integer, shadows boolean) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.record_ledger_export(month date, manifest text, who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.record_ledger_export(month date, manifest text, who text, why text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.record_month_export(destination text, month date, manifest text, who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.record_month_export(destination text, month date, manifest text, who text, why text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at date, account text, corrects text, request_id text, traceparent text, attributes jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at date, account text, corrects text, request_id text, traceparent text, attributes jsonb) TO postmeter_producer;

REVOKE ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp without time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp without time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) TO postmeter_producer;

REVOKE ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) TO postmeter_producer;
GRANT ALL ON FUNCTION postmeter.record_usage(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.record_usage_batch(usages jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.record_usage_batch(usages jsonb) TO postmeter_producer;
GRANT ALL ON FUNCTION postmeter.record_usage_batch(usages jsonb) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.recorded_before_loss(usages uuid[], destinations integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.recorded_before_loss(usages uuid[], destinations integer[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.recorded_until() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount(filter jsonb, who text, why text, dry_run boolean, late boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.recount(filter jsonb, who text, why text, dry_run boolean, late boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.recount_beside(destination_id integer, buyer text, dimension text, hour timestamp with time zone, identity jsonb, product text, contract text, sources bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_late(meter_id bigint, destination_id integer, buyer text, dimension text, identity jsonb, product text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_lock(sources bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_look(delivery bigint, filter jsonb, late boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_meter(meter bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_move(d postmeter.delivery, sources bigint[], who text, why text, detail jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_obstacle(destination_id integer, buyer text, dimension text, hour timestamp with time zone, identity jsonb, product text, contract text, sources bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_open(meter_id bigint, hour timestamp with time zone, identity jsonb, product text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_sources(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recount_ways(sources bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.recut(delivery bigint, meter bigint, units numeric) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.refuse_other_content(source text, event_id text, fields text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.refuse_usage(fault text, event_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.release(filter jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.release(filter jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.release_needs(meters bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.release_needs(meters bigint[]) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.release_needs(meters bigint[]) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.release_needs(meters bigint[]) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.release_needs(meters bigint[]) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.remainder_is_elsewhere(m postmeter.meter) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.remittance_key(buyer text, dimension text, hour timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.remittance_key(buyer text, dimension text, hour timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.remittance_key(buyer text, dimension text, hour timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.remittance_key(buyer text, dimension text, hour timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.reopen_month(destination text, month date, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamp with time zone) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_floor TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_floor TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_floor TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.request_floor_now() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.request_floor_now() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.request_floor_now() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.request_floor_now() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.request_key_of(request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.request_key_of(request_id text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.request_key_of(request_id text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.request_key_of(request_id text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.request_status_digest(service text, source text, status text, status_msg text, account text, org text, inventory_id text, system_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.request_steps(key text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.request_steps(key text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.request_steps(key text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.request_steps(key text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.resolve_doubt(d postmeter.delivery, billed boolean, who text, why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.resolve_quantity(delivery bigint, quantity numeric, who text, why text, OUT status text, OUT changed boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resolve_quantity(delivery bigint, quantity numeric, who text, why text, OUT status text, OUT changed boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.resolve_rows(rows jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resolve_rows(rows jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.resolve_stray(stray bigint, record boolean, who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resolve_stray(stray bigint, record boolean, who text, why text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.resolve_unknown(delivery bigint, billed boolean, who text, why text, OUT status text, OUT changed boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resolve_unknown(delivery bigint, billed boolean, who text, why text, OUT status text, OUT changed boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.resume(destination text, who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.resume(destination text, who text, why text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.retry(filter jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.retry(filter jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.retry_held(filter jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.retry_held(filter jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.return_cured(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_cured(most integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.return_cured_of(usages uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_cured_of(usages uuid[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.return_exempted(usages uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_exempted(usages uuid[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.return_held(usage_ids uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.return_marked(usages uuid[], deliveries bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_marked(usages uuid[], deliveries bigint[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.return_plausible_of(usages uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_plausible_of(usages uuid[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.return_shadow(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_shadow(most integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.return_shadow_of(shadows integer[], usages uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.return_shadow_of(shadows integer[], usages uuid[]) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.revoke_token(name text, who text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.revoke_token(name text, who text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.served_until(destination_id integer, buyer text, hour timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.served_until(destination_id integer, buyer text, hour timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.served_until(destination_id integer, buyer text, hour timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.served_until(destination_id integer, buyer text, hour timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.server_identity() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.server_identity() TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.server_identity() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.server_identity() TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.set_alert_rule(name text, who text, why text, severity text, every interval, patience interval, within interval, enabled boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.set_alert_rule(name text, who text, why text, severity text, every interval, patience interval, within interval, enabled boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.set_ledger_retention(retention interval, who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.set_ledger_retention(retention interval, who text, why text) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.set_paused(destination text, paused boolean, who text, why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.setback_is_over(step text, member text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.setbacks_over(step text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.setbacks_over(step text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.settle_alert_post(number bigint, http_status integer, error text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.settle_alert_post(number bigint, http_status integer, error text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.settle_installation(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.settle_installation(name text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.shadow_told() FROM PUBLIC;

GRANT SELECT ON TABLE postmeter.cover TO postmeter_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.cover TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.cover TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.shares_cover(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.shares_cover(meter_id bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.shares_cover(meter_id bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.shares_cover(meter_id bigint) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.shares_cover(meter_id bigint) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.sign_catalogue(who text, why text, detail jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.sign_catalogue(who text, why text, detail jsonb) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.spilled_months() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.status_fault(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.stray_reason(entry postmeter.outbox) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.stray_reason(entry postmeter.outbox) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.subscription_marks() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.sum_meters(meters bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.sum_orgs(meters bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.sum_unremitted(meters bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.take_alert_post(lease interval) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.take_alert_post(lease interval) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.take_alert_rule(names text[], always boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.take_alert_rule(names text[], always boolean) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.take_alert_rule(names text[], always boolean) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.take_alert_rule(names text[], always boolean) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.take_from_withheld(meter bigint, quantity numeric, with_delivery bigint, who text, why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.take_gate(gate text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.target_hour(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.target_hour(meter_id bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.target_hour(meter_id bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.target_hour(meter_id bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.target_hour_of_key(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.target_hour_of_key(meter_id bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.target_hour_of_key(meter_id bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.target_hour_of_key(meter_id bigint) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.target_hour_of_key(meter_id bigint) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.target_way(meter_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.target_way(meter_id bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.target_way(meter_id bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.target_way(meter_id bigint) TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.target_way(meter_id bigint) TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.target_way_as(meter_id bigint, identity jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.timeline_went_back(who text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.timeline_went_back(who text, why text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.timeline_went_back(who text, why text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.told_dropped(delivery bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.told_dropped(delivery bigint) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.told_dropped(delivery bigint) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.told_dropped(delivery bigint) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.told_dropped_key(destination text, key text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.told_dropped_key(destination text, key text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.told_dropped_key(destination text, key text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.told_dropped_key(destination text, key text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.track(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.track(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) TO postmeter_producer;
GRANT ALL ON FUNCTION postmeter.track(service text, request_id text, status text, date timestamp with time zone, source text, status_msg text, account text, org text, inventory_id text, system_id text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.track_batch(statuses jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.track_batch(statuses jsonb) TO postmeter_producer;
GRANT ALL ON FUNCTION postmeter.track_batch(statuses jsonb) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.try_gate(gate text) FROM PUBLIC;

GRANT SELECT ON TABLE postmeter.setback TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.setback TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.setback TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.try_setbacks_again() FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.try_setbacks_again() TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.try_setbacks_again() TO postmeter_worker;
GRANT ALL ON FUNCTION postmeter.try_setbacks_again() TO postmeter_console;

REVOKE ALL ON FUNCTION postmeter.undo_write_off_corrected(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.usage_content_of(org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.usage_fault(source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamp with time zone, account text, corrects text, request_id text, traceparent text, attributes jsonb, earliest timestamp with time zone, latest timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.usage_identity_of(source text, event_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.usage_identity_of(source text, event_id text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.usage_identity_of(source text, event_id text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.usage_identity_of(source text, event_id text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.usage_text_fault(usage jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.usage_text_refusal(usage jsonb, OUT error_code text, OUT field text, OUT message text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.usage_time(text) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.usage_went() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.when_said(moment timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.when_said(moment timestamp with time zone) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.when_said(moment timestamp with time zone) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.when_said(moment timestamp with time zone) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.withhold(m postmeter.meter, quantity numeric, break_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.withhold_all(break_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.write_off(filter jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.write_off(filter jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.write_off_corrected(delivery bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.write_off_held(filter jsonb, who text, why text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.write_off_held(filter jsonb, who text, why text, dry_run boolean) TO postmeter_operator;

REVOKE ALL ON FUNCTION postmeter.zero_since() FROM PUBLIC;

REVOKE ALL ON FUNCTION postmeter.chain_of(text) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.chain_of(text) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.chain_of(text) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.chain_of(text) TO postmeter_worker;

REVOKE ALL ON FUNCTION postmeter.lcm_of(numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION postmeter.lcm_of(numeric) TO postmeter_reader;
GRANT ALL ON FUNCTION postmeter.lcm_of(numeric) TO postmeter_operator;
GRANT ALL ON FUNCTION postmeter.lcm_of(numeric) TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.alert TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.alert TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.alert TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.alert_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.alert_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.alert_list TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.alert_post TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.alert_post TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.alert_post TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.alert_rule TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.alert_rule TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.alert_rule TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.allocation_default TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.allocation_default TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.allocation_default TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.asked_usage TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.asked_usage TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.asked_usage TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.due TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.due TO postmeter_operator;
GRANT SELECT,INSERT,DELETE ON TABLE postmeter.due TO postmeter_worker;

GRANT UPDATE(deadline) ON TABLE postmeter.due TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.later TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.later TO postmeter_operator;
GRANT SELECT,INSERT,DELETE ON TABLE postmeter.later TO postmeter_worker;

GRANT UPDATE(due_at) ON TABLE postmeter.later TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.open_hour TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.open_hour TO postmeter_operator;
GRANT SELECT,INSERT,DELETE ON TABLE postmeter.open_hour TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.remittance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.remittance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.remittance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.stuck TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.stuck TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.stuck TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.at_risk TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.at_risk TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.at_risk TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.attempt_default TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.attempt_default TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.attempt_default TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.attempt_ledger TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.attempt_ledger TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.attempt_ledger TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dropped_meter TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.dropped_meter TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dropped_meter TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.ledger_carry TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.ledger_carry TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.ledger_carry TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.meter_balance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.meter_balance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.meter_balance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.remittance_balance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.remittance_balance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.remittance_balance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.balance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.balance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.balance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.balance_anew TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.balance_anew TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.balance_anew TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.balance_check TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.balance_check TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.balance_check TO postmeter_worker;

GRANT UPDATE(next_at) ON TABLE postmeter.balance_check TO postmeter_worker;

GRANT UPDATE(checked_at) ON TABLE postmeter.balance_check TO postmeter_worker;

GRANT UPDATE(open) ON TABLE postmeter.balance_check TO postmeter_worker;

GRANT UPDATE(example) ON TABLE postmeter.balance_check TO postmeter_worker;

GRANT UPDATE(seconds) ON TABLE postmeter.balance_check TO postmeter_worker;

GRANT SELECT,UPDATE ON TABLE postmeter.balance_gate TO postmeter_worker;
GRANT SELECT,UPDATE ON TABLE postmeter.balance_gate TO postmeter_operator;

GRANT SELECT ON TABLE postmeter.balance_moved TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.balance_moved TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.balance_moved TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.proven_meter TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.proven_meter TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.proven_meter TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.timeline_break TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.timeline_break TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.timeline_break TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.balance_proof TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.balance_proof TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.balance_proof TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.breaker TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.breaker TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.breaker TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.carried_place TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.carried_place TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.carried_place TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.catalogue_change TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.catalogue_change TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.catalogue_change TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.console TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.console TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.console TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.contradiction TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.contradiction TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.contradiction TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.decision TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.decision TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.decision TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dropped_remittance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.dropped_remittance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dropped_remittance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.reconciliation TO postmeter_reader;
GRANT SELECT,INSERT ON TABLE postmeter.reconciliation TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.reconciliation TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.contradiction_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.contradiction_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.contradiction_list TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.correction_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.correction_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.correction_list TO postmeter_worker;

GRANT SELECT,DELETE ON TABLE postmeter.cure TO postmeter_worker;
GRANT SELECT ON TABLE postmeter.cure TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.cure TO postmeter_operator;

GRANT SELECT ON TABLE postmeter.doubt TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.doubt TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.doubt TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dead_letter TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.dead_letter TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dead_letter TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.decision_log TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.decision_log TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.decision_log TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.queue TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.queue TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.queue TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.worker TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.worker TO postmeter_operator;
GRANT SELECT,INSERT,UPDATE ON TABLE postmeter.worker TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.destination_health TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.destination_health TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.destination_health TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dropped_month TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.dropped_month TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dropped_month TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dropped_numbers TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.dropped_numbers TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dropped_numbers TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.dropped_sum TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.dropped_sum TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.dropped_sum TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.fleet TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.fleet TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.fleet TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.quota TO postmeter_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.quota TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.quota TO postmeter_worker;

GRANT UPDATE(next_slot_at) ON TABLE postmeter.quota TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.forecast_detail TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.forecast_detail TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.forecast_detail TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.forecast TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.forecast TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.forecast TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.held_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.held_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.held_list TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.hour_not_cut TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.hour_not_cut TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.hour_not_cut TO postmeter_worker;

GRANT SELECT,INSERT ON TABLE postmeter.idempotency TO postmeter_console;

GRANT SELECT ON TABLE postmeter.installation TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.installation TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.installation TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.ledger_drop TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.ledger_drop TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.ledger_drop TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.ledger_export TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.ledger_export TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.ledger_export TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.month_export TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.month_export TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.month_export TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.ledger_month TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.ledger_month TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.ledger_month TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.ledger_partition TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.ledger_partition TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.ledger_partition TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.unconfirmed TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.unconfirmed TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.unconfirmed TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.withheld TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.withheld TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.withheld TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.lost_time TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.lost_time TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.lost_time TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.meter_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.meter_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.meter_list TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.migration TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.migration TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.migration TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.missing_hours TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.missing_hours TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.missing_hours TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.month_close TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.month_close TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.month_close TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.outcome_default TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.outcome_default TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.outcome_default TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.pace TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.pace TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.pace TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.proven_remittance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.proven_remittance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.proven_remittance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.reported TO postmeter_reader;
GRANT SELECT,INSERT ON TABLE postmeter.reported TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.reported TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.reconciled TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.reconciled TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.reconciled TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.recounted TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.recounted TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.recounted TO postmeter_worker;
GRANT SELECT ON TABLE postmeter.recounted TO postmeter_console;

GRANT SELECT ON TABLE postmeter.refusal TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.refusal TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.refusal TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.refused_buyer TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.refused_buyer TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.refused_buyer TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.remittance_summary TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.remittance_summary TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.remittance_summary TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_count TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_count TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_count TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_hour TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_hour TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_hour TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_message_count TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_message_count TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_message_count TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_news TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_news TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_news TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_status TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_status TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_status TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_status_count TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_status_count TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_status_count TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.request_status_kind TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.request_status_kind TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.request_status_kind TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.setback_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.setback_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.setback_list TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.shadow_difference TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.shadow_difference TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.shadow_difference TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.shadow_meter_difference TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.shadow_meter_difference TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.shadow_meter_difference TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.shadow_usage TO postmeter_reader;
GRANT SELECT,DELETE ON TABLE postmeter.shadow_usage TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.shadow_usage TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.shadow_usage_difference TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.shadow_usage_difference TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.shadow_usage_difference TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.step_failure TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.step_failure TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.step_failure TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.stray_entry TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.stray_entry TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.stray_entry TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.suspect TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.suspect TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.suspect TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.suspect_range TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.suspect_range TO postmeter_operator;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE postmeter.suspect_range TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.token TO postmeter_console;

GRANT SELECT ON TABLE postmeter.token_list TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.token_list TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.token_list TO postmeter_console;

GRANT SELECT ON TABLE postmeter.unfinished_request TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.unfinished_request TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.unfinished_request TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.unremitted TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.unremitted TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.unremitted TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_place TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_place TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage_place TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_balance TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_balance TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage_balance TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_default TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_default TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage_default TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_explained TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_explained TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage_explained TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_moved TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_moved TO postmeter_operator;
GRANT SELECT,INSERT ON TABLE postmeter.usage_moved TO postmeter_worker;

GRANT SELECT ON TABLE postmeter.usage_open TO postmeter_reader;
GRANT SELECT ON TABLE postmeter.usage_open TO postmeter_operator;
GRANT SELECT ON TABLE postmeter.usage_open TO postmeter_worker;

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('usage_will_miss_deadline',  'critical', '1 minute',   '0',          '20 seconds'),
    ('outbox_oldest_entry',       'critical', '30 seconds', '15 minutes', '10 seconds'),
    ('held_without_subscription', 'warning',  '1 minute',   '1 hour',     '10 seconds'),
    ('conflict',                  'warning',  '30 seconds', '0',          '10 seconds'),
    ('unknown_unresolved',        'warning',  '30 seconds', '15 minutes', '10 seconds'),
    ('dead_letters',              'warning',  '1 minute',   '10 minutes', '10 seconds'),
    ('poison',                    'warning',  '30 seconds', '0',          '10 seconds'),
    ('breaker_open',              'warning',  '30 seconds', '5 minutes',  '10 seconds'),
    ('destination_paused',        'warning',  '1 minute',   '1 hour',     '10 seconds'),
    ('timeline_went_back',        'critical', '30 seconds', '0',          '10 seconds'),
    ('balance_not_zero',          'critical', '1 minute',   '0',          '10 seconds'),
    ('snapshot_pins_horizon',     'warning',  '30 seconds', '5 minutes',  '10 seconds'),
    ('partition_ahead_missing',   'warning',  '5 minutes',  '0',          '10 seconds'),
    ('no_worker_alive',           'critical', '30 seconds', '1 minute',   '10 seconds'),
    ('missing_hours',             'warning',  '10 minutes', '0',          '1 minute'),
    ('requests_never_finished',   'warning',  '1 minute',   '0',          '10 seconds'),
    ('key_stuck',                 'warning',  '30 seconds', '1 minute',   '10 seconds');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('stray_entries', 'critical', '30 seconds', '0', '10 seconds');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('buyer_refused', 'warning', '15 seconds', '0', '10 seconds');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('fleet_incomplete', 'warning', '30 seconds', '5 minutes', '10 seconds');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('hour_not_cut', 'critical', '30 seconds', '5 minutes',  '10 seconds'),
    ('step_failing', 'critical', '30 seconds', '0',          '10 seconds'),
    ('set_aside',    'critical', '30 seconds', '0',          '10 seconds'),
    ('locked_out',   'warning',  '30 seconds', '2 minutes',  '10 seconds');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('contradiction', 'critical', '30 seconds', '0', '10 seconds'),
    ('installation_unclear', 'critical', '15 seconds', '0', '10 seconds');
insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('implausible_usage', 'warning', '1 minute', '0', '10 seconds');
insert into postmeter.gate (name) values
    ('catalogue'), ('gather_requests'), ('create_request_partitions'), ('create_partitions'), ('make_alert_post');
insert into postmeter.setting default values;
insert into postmeter.request_floor default values;
select postmeter.create_partitions(1);
select postmeter.create_request_partitions(7);
insert into postmeter.migration (version, name, programs_from) values
    (1, '0001_pre_foundation', 1),
    (2, '0002_pre_catalogue', 2),
    (3, '0003_pre_intake', 3),
    (4, '0004_pre_ledger', 4),
    (5, '0005_pre_arithmetic', 5),
    (6, '0006_pre_decisions', 6),
    (7, '0007_pre_views', 7),
    (8, '0008_pre_grants', 8),
    (9, '0009_pre_breaker', 9),
    (10, '0010_pre_dead_letters', 10),
    (11, '0011_pre_month_close', 11),
    (12, '0012_pre_timeline', 12),
    (13, '0013_pre_reconcile', 13),
    (14, '0014_pre_hold', 14),
    (15, '0015_pre_shadow', 15),
    (16, '0016_pre_console', 16),
    (17, '0017_pre_reading', 17),
    (18, '0018_pre_tracker', 18),
    (19, '0019_pre_retention', 19),
    (20, '0020_pre_views', 20),
    (21, '0021_pre_metrics', 21),
    (22, '0022_pre_alerts', 22),
    (23, '0023_pre_doors', 22),
    (24, '0024_pre_alert_decisions', 22),
    (25, '0025_pre_pinned_functions', 22),
    (26, '0026_pre_intake_guard', 22),
    (27, '0027_pre_gates', 22),
    (28, '0028_post_collations', 28),
    (29, '0029_pre_setbacks', 22),
    (30, '0030_pre_suspects', 22),
    (31, '0031_pre_rounds', 22),
    (32, '0032_pre_evidence', 22),
    (34, '0034_pre_switches', 22),
    (35, '0035_pre_resolve_many', 22),
    (36, '0036_pre_fleet', 22),
    (38, '0038_pre_isolation', 22),
    (39, '0039_pre_entered', 22),
    (40, '0040_pre_decided_once', 22),
    (41, '0041_pre_shares', 22),
    (42, '0042_pre_corrections', 22),
    (43, '0043_pre_ends', 22),
    (44, '0044_pre_evidence', 22),
    (45, '0045_pre_contracts', 22),
    (47, '0047_pre_catalogue_at_the_cut', 22),
    (48, '0048_pre_recount', 22),
    (49, '0049_pre_plausible', 22),
    (50, '0050_pre_proof', 22),
    (51, '0051_pre_lost_time', 22),
    (52, '0052_pre_named_contracts', 22),
    (53, '0053_pre_contract_plans', 22),
    (54, '0054_pre_advice', 22),
    (55, '0055_pre_lost_again', 22),
    (56, '0056_pre_late_duplicates', 22),
    (58, '0058_pre_dropped_months', 22);
