-- The arithmetic of billing units.

create function postmeter.round_units(units numeric, denominator numeric, rounding text, decimals integer)
returns numeric
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
comment on function postmeter.round_units(numeric, numeric, text, integer) is
    'units / denominator rounded up, down or to the nearest with so many decimals, exactly.';

create function postmeter.reports_zero(destination_id integer, product text, dimension text, hour timestamptz)
returns boolean
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
                            and y.valid_from > x.valid_from
                                and y.valid_from <= postmeter.month_of(reports_zero.hour, t.zone)));
end;
comment on function postmeter.reports_zero(integer, text, text, timestamptz) is
    'Whether a silent hour of this destination, product and dimension is to be reported as zero. The one home of '
    'that rule.';

create function postmeter.allocates_by(destination_id integer, product text, dimension text, hour timestamptz)
returns text[]
language sql stable
begin atomic
select coalesce((
        select x.allocate_by
        from postmeter.dimension x
        join postmeter.destination t on t.id = x.destination_id
        where x.allocate_by <> '{}' and x.destination_id = allocates_by.destination_id
            and x.product = allocates_by.product
          and x.name = allocates_by.dimension and x.valid_from <= postmeter.month_of(allocates_by.hour, t.zone)
          and not exists (select from postmeter.dimension y
                          where y.destination_id = x.destination_id and y.product = x.product and y.metric = x.metric
                            and y.valid_from > x.valid_from
                                and y.valid_from <= postmeter.month_of(allocates_by.hour, t.zone))
        order by x.id limit 1), '{}');
end;
comment on function postmeter.allocates_by(integer, text, text, timestamptz) is
    'The attributes by which the quantity of an hour of this destination, product and dimension is shared out; '
    'empty: it is not. The one home of that rule.';

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
    'Shares of a total that has so many decimals, by whole weights that are not negative: they sum to it exactly. '
    'What is left over after rounding down goes, a last digit each, to the largest remainders, of equal ones to '
    'the first. No rows if all weights are zero.';
