-- settle_refused: notes who was refused in words that may be about one buyer or about the credential.
-- $1 deliveries, $2 codes, $3 HTTP statuses, $4 whether each was alone in its call.
insert into postmeter.refusal as r (destination_id, buyer, delivery_id, code, http_status, alone, refused_id)
select distinct on (d.destination_id, m.buyer) d.destination_id, m.buyer, d.id, g.code, g.http_status, g.alone::integer,
       -- what is claimed in this very millisecond may have been claimed before
       postmeter.id_at(clock_timestamp() + interval '1 millisecond')
from unnest($1, $2, $3, $4) g(delivery_id, code, http_status, alone)
join postmeter.delivery d on d.id = g.delivery_id
join postmeter.meter m on m.id = d.meter_id
order by d.destination_id, m.buyer, g.alone desc, d.id
on conflict (destination_id, buyer) do update
set delivery_id = excluded.delivery_id, code = excluded.code, http_status = excluded.http_status,
    alone = r.alone + excluded.alone, refused_at = clock_timestamp(),
    -- what was so an hour ago says nothing of now: others must pass again
    passed_at = case when r.refused_at < clock_timestamp() - interval '1 hour' then null else r.passed_at end,
    judged_at = case when r.refused_at < clock_timestamp() - interval '1 hour' then null else r.judged_at end,
    refused_id = case when r.refused_at < clock_timestamp() - interval '1 hour' then excluded.refused_id else r.refused_id end
