-- catalogue_metered: which products' metrics were metered at a destination, with the first and last month from a month on.
-- $1 destinations, $2 products, $3 metrics, $4 first months ('2024-09'), $5 months after the last ('2024-10' or null).
-- Relies on meter_metric (meter_id, product, metric) and meter_month (month, destination_id).
select w.item, to_char(min(m.month), 'YYYY-MM') as first_month, to_char(max(m.month), 'YYYY-MM') as last_month
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality w(destination, product, metric, from_month, until_month, item)
join postmeter.destination t on t.name = w.destination
join postmeter.meter m on m.destination_id = t.id and m.month >= (w.from_month || '-01')::date
 and (w.until_month is null or m.month < (w.until_month || '-01')::date)
join postmeter.meter_metric mm on mm.meter_id = m.id and mm.product = w.product and mm.metric = w.metric
group by w.item
order by w.item
