-- catalogue_write_dimensions: adds or changes dimensions, by destination, product, metric and first month.
-- $1 array of objects; factor is 'n/d'.
insert into postmeter.dimension (destination_id, product, metric, name, factor_numerator, factor_denominator, rounding, decimals,
    month_end, unit_price, currency, max_quantity, times_usual, hour_alert, zero, allocate_by, valid_from)
select t.id, e.product, e.metric, e.name, split_part(e.factor, '/', 1)::bigint, split_part(e.factor, '/', 2)::bigint, e.rounding,
       e.decimals, e.month_end, e.unit_price, e.currency, e.max_quantity, e.times_usual, e.hour_alert, e.zero, e.allocate_by,
       (e.valid_from || '-01')::date
from jsonb_to_recordset($1) e(destination text, product text, metric text, name text, factor text, rounding text, decimals integer,
    month_end text, unit_price numeric, currency text, max_quantity numeric, times_usual numeric, hour_alert numeric,
    zero text, allocate_by text[], valid_from text)
join postmeter.destination t on t.name = e.destination
on conflict (destination_id, product, metric, valid_from) do update
set name = excluded.name, factor_numerator = excluded.factor_numerator, factor_denominator = excluded.factor_denominator,
    rounding = excluded.rounding, decimals = excluded.decimals, month_end = excluded.month_end,
    unit_price = excluded.unit_price, currency = excluded.currency,
    max_quantity = excluded.max_quantity, times_usual = excluded.times_usual, hour_alert = excluded.hour_alert,
    zero = excluded.zero, allocate_by = excluded.allocate_by
