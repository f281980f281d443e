-- 0025_pre_pinned_functions: no function of ours looks anything up on its caller's search_path.
-- programs: from 0022
-- lock: none

-- Whoever may create in some schema can put it first in his search_path and shadow clock_timestamp(), || or any other
-- name there. What a function calls is therefore settled by its owner: those of mere expressions, which are hot and
-- inlined, are parsed when they are made (begin atomic); the others carry a search_path of their own. A test walks the
-- catalogue for what is neither (tests/suite/pinned.rs).

-- parsed when they are made -------------------------------------------------------------------------------------------

create or replace function postmeter.clock() returns timestamptz
language sql stable parallel safe security definer
begin atomic
    select coalesce(clock_frozen, clock_timestamp() + clock_shift) from postmeter.setting;
end;

create or replace function postmeter.new_id() returns uuid
language sql volatile parallel safe
begin atomic
    -- 48 bits of milliseconds, then version and variant over a random UUID (RFC 9562, version 7)
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid;
end;

create or replace function postmeter.id_at(moment timestamptz) returns uuid
language sql stable parallel safe
begin atomic
    select encode(
        overlay('\x00000000000070008000000000000000'::bytea
                placing substring(int8send(floor(extract(epoch from moment) * 1000)::bigint) from 3) from 1 for 6),
        'hex')::uuid;
end;

create or replace function postmeter.moment_of(id uuid) returns timestamptz
language sql stable parallel safe
begin atomic
    select to_timestamp(('x' || lpad(substr(replace(id::text, '-', ''), 1, 12), 16, '0'))::bit(64)::bigint / 1000.0);
end;

create or replace function postmeter.usage_identity_of(source text, event_id text) returns uuid
language sql stable parallel safe
begin atomic
    select encode(substring(sha256(convert_to(
        length(source) || ':' || source || event_id, 'UTF8')) from 1 for 16), 'hex')::uuid;
end;

create or replace function postmeter.usage_content_of(
    org text, product text, metric text, quantity numeric, used_at timestamptz, account text, corrects text
) returns uuid
language sql stable parallel safe
begin atomic
    select encode(substring(sha256(convert_to(
        length(org) || ':' || org || length(product) || ':' || product || length(metric) || ':' || metric
        || trim_scale(quantity)::text || '@' || extract(epoch from used_at)::text
        || coalesce('#' || length(account) || ':' || account, '') || coalesce('~' || corrects, ''), 'UTF8'))
        from 1 for 16), 'hex')::uuid;
end;

create or replace function postmeter.hour_of(moment timestamptz) returns timestamptz
language sql immutable parallel safe
begin atomic
    select date_bin('1 hour', moment, '2000-01-01 00:00:00+00'::timestamptz);
end;

create or replace function postmeter.month_of(hour timestamptz, zone text) returns date
language sql stable parallel safe
begin atomic
    select date_trunc('month', hour at time zone zone)::date;
end;

create or replace function postmeter.usage_fault(
    source text, event_id text, org text, product text, metric text, quantity numeric, used_at timestamptz,
    account text, corrects text, request_id text, traceparent text, attributes jsonb, earliest timestamptz,
    latest timestamptz
) returns text
language sql stable parallel safe
begin atomic
    select case
        when source = '' or octet_length(source) > 255 then 'source_length'
        when event_id = '' or octet_length(event_id) > 255 then 'event_id_length'
        when org = '' or octet_length(org) > 255 then 'org_length'
        when product = '' or octet_length(product) > 255 then 'product_length'
        when metric = '' or octet_length(metric) > 255 then 'metric_length'
        when octet_length(account) not between 1 and 255 then 'account_length'
        when octet_length(corrects) not between 1 and 255 then 'corrects_length'
        when octet_length(request_id) not between 1 and 255 then 'request_id_length'
        when octet_length(traceparent) not between 1 and 255 then 'traceparent_length'
        when not (quantity between -1000000000000 and 1000000000000) then 'quantity_range'
        when scale(quantity) > 15 and scale(trim_scale(quantity)) > 15 then 'quantity_decimals'
        when quantity < 0 and corrects is null then 'quantity_negative'
        when quantity >= 0 and corrects is not null then 'corrects_negative'
        when used_at < earliest then 'used_at_too_old'
        when used_at > latest then 'used_at_too_far_ahead'
        when jsonb_typeof(attributes) <> 'object' or pg_column_size(attributes) > 8192
             or octet_length(attributes::text) > 8192 then 'attributes_object'
    end;
end;

create or replace function postmeter.remittance_key(buyer text, dimension text, hour timestamptz) returns text
language sql stable parallel safe
begin atomic
    select buyer || '/' || dimension || '/' || to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end;

create or replace function postmeter.round_units(
    units numeric, denominator numeric, rounding text, decimals integer
) returns numeric
language sql immutable parallel safe
begin atomic
    -- integers x quantity only: a quotient would be cut off and ceil(20*(1/60)*3) become 2
    select (w.whole + case rounding
                when 'up' then (w.rest > 0)::integer
                when 'nearest' then (2 * w.rest >= denominator)::integer
                else 0 end) * (0.1 ^ decimals)::numeric(20, 15)
    from (select div(s.scaled, denominator) - (mod(s.scaled, denominator) < 0)::integer as whole,
                 mod(mod(s.scaled, denominator) + denominator, denominator) as rest
          from (select units * (10::numeric ^ decimals)::numeric(20, 0) as scaled) s) w;
end;

create or replace function postmeter.resolve(
    orgs text[], products text[], metrics text[], accounts text[], hours timestamptz[], shadow integer default null
) returns table (item bigint, destination_id integer, subscription_id bigint, buyer text, identity jsonb,
                 dimension_id bigint, exemption_id bigint, reason text)
language sql stable
begin atomic
    with wanted as materialized (
        select * from unnest(orgs, products, metrics, accounts, hours) with ordinality
                      u(org, product, metric, account, hour, item)
    ), matching as materialized (
        select w.item, min(s.id) as subscription_id, count(*) as subscriptions
        from wanted w
        join postmeter.subscription s on s.org = w.org and s.product = w.product
         and (w.account is null or s.account = w.account)
         and s.valid_from <= w.hour and (s.valid_until is null or w.hour < s.valid_until)
         and case when resolve.shadow is null
                  then s.destination_id not in (select x.id from postmeter.destination x where x.shadow_of is not null)
                  else s.destination_id = resolve.shadow end
        group by w.item
    )
    select w.item, s.destination_id, s.id, s.buyer, s.identity, d.id, e.id,
           case when e.id is not null then null
                when m.item is null then 'no_subscription'
                when m.subscriptions > 1 then 'ambiguous_subscription'
                when s.buyer is null then 'invalid_subscription'
                when d.id is null then 'unmapped_dimension'
                when exists (select from postmeter.closed_month c
                             where c.destination_id = s.destination_id and c.month = postmeter.month_of(w.hour, t.zone))
                    then 'month_closed' end
    from wanted w
    left join matching m on m.item = w.item
    left join postmeter.subscription s on s.id = m.subscription_id
    left join postmeter.destination t on t.id = s.destination_id
    left join lateral (
        select d.id from postmeter.dimension d
        where d.destination_id = s.destination_id and d.product = w.product and d.metric = w.metric
          and d.valid_from <= postmeter.month_of(w.hour, t.zone)
        order by d.valid_from desc limit 1
    ) d on true
    left join lateral (
        select e.id from postmeter.exemption e
        where e.org = w.org and (e.product is null or e.product = w.product)
          and e.valid_from <= w.hour and (e.valid_until is null or w.hour < e.valid_until)
        order by e.id limit 1
    ) e on true;
end;

create or replace function postmeter.request_key_of(request_id text) returns text
language sql immutable parallel safe
begin atomic
    select case when request_id ~ '^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$'
                then translate(request_id, 'ABCDEF-', 'abcdef') else request_id end;
end;

create or replace function postmeter.request_status_digest(
    service text, source text, status text, status_msg text, account text, org text, inventory_id text,
    system_id text
) returns uuid
language sql stable parallel safe
begin atomic
    select encode(substring(sha256(convert_to(
        length(service) || ':' || service || length(source) || ':' || source || length(status) || ':' || status
        || length(status_msg) || ':' || status_msg || length(account) || ':' || account || length(org) || ':' || org
        || length(inventory_id) || ':' || inventory_id || system_id, 'UTF8')) from 1 for 16), 'hex')::uuid;
end;

create or replace function postmeter.status_fault(
    service text, request_id text, status text, date timestamptz, source text, status_msg text, account text,
    org text, inventory_id text, system_id text
) returns text
language sql immutable parallel safe
begin atomic
    select case
        when request_id is null then 'request_id_missing'
        when service is null then 'service_missing'
        when status is null then 'status_missing'
        when octet_length(request_id) not between 1 and 255 then 'request_id_length'
        when octet_length(service) not between 1 and 255 then 'service_length'
        when octet_length(status) not between 1 and 255 then 'status_length'
        when octet_length(source) > 255 then 'source_length'
        when octet_length(account) > 255 then 'account_length'
        when octet_length(org) > 255 then 'org_length'
        when octet_length(inventory_id) > 255 then 'inventory_id_length'
        when octet_length(system_id) > 255 then 'system_id_length'
        when octet_length(status_msg) > 8192 then 'status_msg_length'
        when not (date >= '0001-01-01Z'::timestamptz and date < '9999-12-30Z'::timestamptz) then 'date_range'
    end;
end;

create or replace function postmeter.ledger_span(month date, out first_id uuid, out until_id uuid)
language sql stable parallel safe
begin atomic
    select postmeter.id_at(month::timestamp at time zone 'UTC'),
           postmeter.id_at((month + interval '1 month')::timestamp at time zone 'UTC');
end;

create or replace function postmeter.ledger_key(parent text) returns text
language sql immutable parallel safe
begin atomic
    select case parent when 'allocation' then 'usage_id' when 'outcome' then 'attempt_id' else 'id' end;
end;

create or replace function postmeter.ledger_time(moment timestamptz) returns text
language sql stable parallel safe
begin atomic
    select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end;

create or replace function postmeter.ledger_line(u postmeter.usage) returns text
language sql stable parallel safe
begin atomic
    select json_build_object(
        'id', u.id, 'source', u.source, 'event_id', u.event_id, 'org', u.org, 'product', u.product,
        'metric', u.metric, 'quantity', u.quantity::text, 'used_at', postmeter.ledger_time(u.used_at),
        'account', u.account, 'corrects', u.corrects, 'corrected_identity', u.corrected_identity,
        'request_id', u.request_id, 'traceparent', u.traceparent, 'attributes', u.attributes,
        'recorded_at', postmeter.ledger_time(u.recorded_at)
    )::text;
end;

create or replace function postmeter.ledger_line(a postmeter.allocation) returns text
language sql stable parallel safe
begin atomic
    select json_build_object(
        'usage_id', a.usage_id, 'destination_id', a.destination_id, 'delivery_id', a.delivery_id,
        'meter_metric_id', a.meter_metric_id, 'round', a.round, 'quantity', a.quantity::text,
        'hour', postmeter.ledger_time(a.hour), 'subscription_id', a.subscription_id
    )::text;
end;

create or replace function postmeter.ledger_line(a postmeter.attempt) returns text
language sql stable parallel safe
begin atomic
    select json_build_object(
        'id', a.id, 'delivery_id', a.delivery_id, 'destination_id', a.destination_id, 'call_id', a.call_id,
        'worker_id', a.worker_id, 'number', a.number, 'claimed_at', postmeter.ledger_time(a.claimed_at)
    )::text;
end;

create or replace function postmeter.ledger_line(o postmeter.outcome) returns text
language sql stable parallel safe
begin atomic
    select json_build_object(
        'attempt_id', o.attempt_id, 'outcome', o.outcome, 'code', o.code, 'is_try', o.is_try,
        'shown_quantity', o.shown_quantity::text, 'retry_after', extract(epoch from o.retry_after)::text,
        'receipt', o.receipt, 'http_status', o.http_status, 'their_request_id', o.their_request_id,
        'excerpt', o.excerpt, 'duration', extract(epoch from o.duration)::text,
        'recorded_at', postmeter.ledger_time(o.recorded_at)
    )::text;
end;

create or replace function postmeter.chain_step(head bytea, line text) returns bytea
language sql immutable strict parallel safe
begin atomic
    select sha256(head || convert_to(line, 'UTF8'));
end;

create or replace function postmeter.counted(n bigint, thing text) returns text
language sql immutable parallel safe
begin atomic
    select to_char(n, 'FM999,999,999,999,990') || ' ' || thing || case when n = 1 then '' else 's' end;
end;


-- with a search_path of their own: they read tables that later migrations may change ----------------------------------

alter function postmeter.forbid_change() set search_path = pg_catalog, pg_temp;
alter function postmeter.month_gate() set search_path = pg_catalog, pg_temp;
alter function postmeter.deadline_of(integer, text, timestamptz) set search_path = pg_catalog, pg_temp;
alter function postmeter.target_hour(bigint) set search_path = pg_catalog, pg_temp;
alter function postmeter.open_attempts() set search_path = pg_catalog, pg_temp;
alter function postmeter.folded_until() set search_path = pg_catalog, pg_temp;

insert into postmeter.migration (version, name) values (25, '0025_pre_pinned_functions');
