-- catalogue_load_dimensions: every dimension. Whether it is in use: see catalogue_metered.
select d.id,
       pg_catalog.jsonb_build_object(
           'destination', t.name, 'product', d.product, 'metric', d.metric, 'name', d.name,
           'factor', d.factor_numerator::text || '/' || d.factor_denominator::text, 'rounding', d.rounding, 'decimals', d.decimals,
           'month_end', d.month_end, 'unit_price', pg_catalog.trim_scale(d.unit_price)::text, 'currency', d.currency,
           'max_quantity', pg_catalog.trim_scale(d.max_quantity)::text, 'times_usual', pg_catalog.trim_scale(d.times_usual)::text,
           'hour_alert', pg_catalog.trim_scale(d.hour_alert)::text, 'zero', d.zero, 'allocate_by', pg_catalog.to_jsonb(d.allocate_by),
           'valid_from', pg_catalog.to_char(d.valid_from, 'YYYY-MM')) as fields,
       false as in_use, null::text as buyer, null::text as account, null::text as form, null::text as invalid
from postmeter.dimension d
join postmeter.destination t on t.id = d.destination_id
order by t.name, d.product, d.metric, d.valid_from
