-- 0049_pre_plausible: implausible usage is held by name; silent hours may be reported as zero, and a quantity shared out by tags.
-- programs: from 0022
-- lock: access exclusive on dimension, grows with its rows: limits of plausibility, the policies of silent hours and of shares, triggers and indexes
-- lock: access exclusive on held, for a moment: columns without a default
-- lock: share on decision, grows with its rows: an index by usage
-- lock: access exclusive on dead_letter, for a moment: a view that knows one reason more

-- limits ----------------------------------------------------------------------------------------------------------------

alter table postmeter.dimension
    add max_quantity numeric, add times_usual numeric, add hour_alert numeric;
alter table postmeter.dimension
    add constraint dimension_max_quantity_check check (max_quantity > 0 and max_quantity < 1000000000000) not valid,
    add constraint dimension_times_usual_check check (times_usual > 1 and times_usual < 1000000000000) not valid,
    add constraint dimension_hour_alert_check check (hour_alert > 0 and hour_alert < 1000000000000) not valid;
comment on column postmeter.dimension.max_quantity is 'A usage of more than this, in units of the metric, is held as implausible. Null: no limit.';
comment on column postmeter.dimension.times_usual is 'A usage of more than this many times its org''s usual is held as implausible; an org without a usual is bound by max_quantity only. Null: no limit.';
comment on column postmeter.dimension.hour_alert is 'More than this of the metric in one hour of one buyer is an alert; nothing is held for it. Null: none.';

-- what a fold asks each time: whether there is any limit
-- squawk-ignore require-concurrent-index-creation
create index dimension_limited on postmeter.dimension (id) where max_quantity is not null or times_usual is not null;

-- the usual: rows are only inserted, each larger than what its fold knew of that week, so that no fold waits for another
create table postmeter.usual (
    id      bigint  generated always as identity primary key,
    org     text    collate "C" not null,
    product text    not null collate "C",
    metric  text    not null collate "C",
    week    date    not null,
    largest numeric not null
);
create index usual_by_org on postmeter.usual (org, product, metric, week, largest);
comment on table postmeter.usual is 'The largest usage that was counted of an org and metric in a week, for metrics with times_usual. The usual is the largest of this week and the four before, once an earlier one than this is known. Inserted by folds, and deleted by maintenance when it is old or a larger one of its week is there.';
comment on column postmeter.usual.id is 'Number.';
comment on column postmeter.usual.org is 'The org.';
comment on column postmeter.usual.product is 'Our product.';
comment on column postmeter.usual.metric is 'Our metric.';
comment on column postmeter.usual.week is 'The week in which it was counted, by its Monday (UTC).';
comment on column postmeter.usual.largest is 'Units of the metric.';
grant select on postmeter.usual to postmeter_reader, postmeter_operator;
grant select, insert, delete on postmeter.usual to postmeter_worker;

create function postmeter.this_week() returns date
language sql stable
begin atomic
    select date_trunc('week', postmeter.clock() at time zone 'UTC')::date;
end;
comment on function postmeter.this_week() is 'Monday of the running week, UTC.';

create function postmeter.plausible(orgs text[], products text[], metrics text[], dimensions bigint[])
returns table (item bigint, bound numeric, beyond text, is_usual_kept boolean, known numeric)
language sql stable
begin atomic
    select g.item, least(d.max_quantity, u.bound),
           case when u.bound is null or d.max_quantity <= u.bound then 'max_quantity' else 'times_usual' end,
           d.times_usual is not null, u.known
    from unnest(orgs, products, metrics, dimensions) with ordinality g(org, product, metric, dimension_id, item)
    cross join (select postmeter.this_week() as week) w
    join postmeter.dimension d on d.id = g.dimension_id
    left join lateral (
        -- what usage can express: at most 15 digits after the point, and 13 before it
        select case when min(x.week) < w.week then trunc(least(max(x.largest) * d.times_usual, 10000000000000), 15) end as bound,
               max(x.largest) filter (where x.week = w.week) as known
        from postmeter.usual x
        where x.org = g.org and x.product = g.product and x.metric = g.metric and x.week between w.week - 28 and w.week
    ) u on d.times_usual is not null
    where d.max_quantity is not null or d.times_usual is not null;
end;
comment on function postmeter.plausible(text[], text[], text[], bigint[]) is
    'For each org, product, metric and dimension with a limit: beyond which quantity a usage is implausible (null: nothing bounds it yet), which limit that is, whether the usual is kept, and the largest of this week so far. The one home of that rule.';

-- what is held ----------------------------------------------------------------------------------------------------------

alter table postmeter.held add beyond text, add bound numeric;
alter table postmeter.held
    add constraint held_beyond_check check (beyond in ('max_quantity', 'times_usual')) not valid;
comment on column postmeter.held.reason is 'Stable code: no_subscription, ambiguous_subscription, unmapped_dimension, invalid_subscription, too_late, month_closed, poison, by_operator, implausible.';
comment on column postmeter.held.beyond is 'Implausible: which limit of its dimension it is beyond, max_quantity or times_usual.';
comment on column postmeter.held.bound is 'Implausible: that limit when it was held, in units of the metric.';

-- who said of which usage that it is right
-- squawk-ignore require-concurrent-index-creation
create index decision_by_usage on postmeter.decision (usage_id) where usage_id is not null;

create function postmeter.return_plausible_of(usages uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
comment on function postmeter.return_plausible_of(uuid[]) is
    'Sends back to the outbox those of these implausible usages, with their corrections, that no limit of today''s catalogue holds; what another session holds is passed over. Returns how many.';

create function postmeter.cure_implausible() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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
comment on function postmeter.cure_implausible() is 'Trigger: sends back to the outbox what a limit held that is raised or gone: of a thousand at once; where more is held, maintenance goes on with the rest.';
create trigger cure_implausible after insert or update or delete on postmeter.dimension
    for each statement execute function postmeter.cure_implausible();

-- what needs a person lists it at once, and says what to do
do $patch$
declare
    definition text := pg_get_viewdef('postmeter.dead_letter'::regclass);
    listed     text := replace(definition, 'h.reason = ANY (ARRAY[''too_late''::text, ''poison''::text])',
                               'h.reason = ANY (ARRAY[''too_late''::text, ''poison''::text, ''implausible''::text])');
    changed    text := replace(listed, 'WHEN ''by_operator''::text THEN ''retry when that is over''::text',
                               'WHEN ''by_operator''::text THEN ''retry when that is over''::text
                            WHEN ''implausible''::text THEN ''retry counts it if it is right; else correct it, then retry, or write off''::text');
begin
    if listed = definition or changed = listed then
        raise exception 'dead_letter is not as this migration knows it';
    end if;
    execute 'create or replace view postmeter.dead_letter as ' || changed;
end
$patch$;

-- silent hours ----------------------------------------------------------------------------------------------------------

alter table postmeter.dimension add zero text not null default 'skip', add zero_since timestamptz;
alter table postmeter.dimension
    add constraint dimension_zero_check check (zero in ('skip', 'send')) not valid,
    add constraint dimension_zero_since_check check ((zero = 'send') = (zero_since is not null)) not valid;
comment on column postmeter.dimension.zero is 'What becomes of an hour in which nothing is to be billed: skip, no call is made; send, it is reported as zero, a lead before its deadline.';
comment on column postmeter.dimension.zero_since is 'Since when zero is send: only hours that begin after that are reported as zero.';
-- squawk-ignore require-concurrent-index-creation
create index dimension_zero on postmeter.dimension (id) where zero = 'send';

create function postmeter.zero_since() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
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
comment on function postmeter.zero_since() is 'Trigger: notes since when the silent hours of a dimension are reported.';
create trigger zero_since before insert or update on postmeter.dimension
    for each row execute function postmeter.zero_since();

create function postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamptz) returns boolean
language sql stable
begin atomic
    select exists (
        select from postmeter.dimension x
        join postmeter.destination t on t.id = x.destination_id and t.shadow_of is null
        where x.zero = 'send' and x.destination_id = reports_zero.destination_id and x.product = reports_zero.product
          and x.name = reports_zero.dimension and x.zero_since <= reports_zero.hour
          and x.valid_from <= postmeter.month_of(reports_zero.hour, t.zone)
          and not exists (select from postmeter.dimension y
                          where y.destination_id = x.destination_id and y.product = x.product and y.metric = x.metric
                            and y.valid_from > x.valid_from and y.valid_from <= postmeter.month_of(reports_zero.hour, t.zone)));
end;
comment on function postmeter.reports_zero(integer, text, text, timestamptz) is
    'Whether a silent hour of this destination, product and dimension is to be reported as zero. The one home of that rule.';

-- shares of a quantity, by attributes of its usage -------------------------------------------------------------------------

alter table postmeter.dimension add allocate_by text[] not null default '{}';
alter table postmeter.dimension
    add constraint dimension_allocate_by_check check (cardinality(allocate_by) <= 5 and array_position(allocate_by, null) is null) not valid;
comment on column postmeter.dimension.allocate_by is 'Attributes of the usage by which a remittance''s quantity is shared out for the buyer (AWS: usage allocations); empty: it is not.';
-- squawk-ignore require-concurrent-index-creation
create index dimension_shared on postmeter.dimension (id) where allocate_by <> '{}';

create function postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamptz) returns text[]
language sql stable
begin atomic
    select coalesce((
        select x.allocate_by
        from postmeter.dimension x
        join postmeter.destination t on t.id = x.destination_id
        where x.allocate_by <> '{}' and x.destination_id = allocates_by.destination_id and x.product = allocates_by.product
          and x.name = allocates_by.dimension and x.valid_from <= postmeter.month_of(allocates_by.hour, t.zone)
          and not exists (select from postmeter.dimension y
                          where y.destination_id = x.destination_id and y.product = x.product and y.metric = x.metric
                            and y.valid_from > x.valid_from and y.valid_from <= postmeter.month_of(allocates_by.hour, t.zone))
        order by x.id limit 1), '{}');
end;
comment on function postmeter.allocates_by(integer, text, text, timestamptz) is
    'The attributes by which the quantity of an hour of this destination, product and dimension is shared out; empty: it is not. The one home of that rule.';

create function postmeter.largest_remainder(total numeric, decimals integer, weights numeric[])
returns table (item bigint, share numeric)
language sql immutable
begin atomic
    with given as (
        select w.item, w.weight, sum(w.weight) over () as weights, total * ('1e' || decimals)::numeric as units
        from unnest(weights) with ordinality w(weight, item)
    ), floors as (
        select g.item, g.units, div(g.units * g.weight, g.weights) as floor, mod(g.units * g.weight, g.weights) as rest
        from given g where g.weights > 0
    ), ranked as (
        select f.item, f.floor, row_number() over (order by f.rest desc, f.item) as place,
               f.units - sum(f.floor) over () as left_over
        from floors f
    )
    select r.item, (r.floor + case when r.place <= r.left_over then 1 else 0 end) * ('1e-' || decimals)::numeric
    from ranked r order by r.item;
end;
comment on function postmeter.largest_remainder(numeric, integer, numeric[]) is
    'Shares of a total that has so many decimals, by whole weights that are not negative: they sum to it exactly. What is left over after rounding down goes, a last digit each, to the largest remainders, of equal ones to the first. No rows if all weights are zero.';

revoke execute on function postmeter.allocates_by(integer, text, text, timestamptz), postmeter.largest_remainder(numeric, integer, numeric[]) from public;
grant execute on function postmeter.allocates_by(integer, text, text, timestamptz), postmeter.largest_remainder(numeric, integer, numeric[])
    to postmeter_reader, postmeter_operator, postmeter_worker;

revoke execute on function postmeter.zero_since(), postmeter.reports_zero(integer, text, text, timestamptz) from public;
grant execute on function postmeter.reports_zero(integer, text, text, timestamptz)
    to postmeter_reader, postmeter_operator, postmeter_worker;

revoke execute on function postmeter.this_week(), postmeter.plausible(text[], text[], text[], bigint[]),
    postmeter.return_plausible_of(uuid[]), postmeter.cure_implausible() from public;
grant execute on function postmeter.this_week(), postmeter.plausible(text[], text[], text[], bigint[])
    to postmeter_reader, postmeter_operator, postmeter_worker;
grant execute on function postmeter.return_plausible_of(uuid[]) to postmeter_worker;

insert into postmeter.alert_rule (name, severity, every, patience, within) values
    ('implausible_usage', 'warning', '1 minute', '0', '10 seconds');

insert into postmeter.migration (version, name) values (49, '0049_pre_plausible');
