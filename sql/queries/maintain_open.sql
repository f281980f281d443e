-- maintain_open: opens an hour of a meter for what is carried, after locking the meter.
-- $1 meter, $2 hour (null: wherever late quantity goes), $3 identity, $4 product.
with locked as materialized (
    select postmeter.lock_meters(array[$1::bigint])
)
select case when $2::timestamptz is null then postmeter.open_target(m.id, $3, $4)
            else postmeter.open_hour_at(m.id, $2, $3, $4) end as delivery_id
from locked l, postmeter.meter m
where m.id = $1
