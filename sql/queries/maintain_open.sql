-- maintain_open: opens an hour of a meter for what is carried. The meter is locked, and where its part may go too.
-- $1 meter, $2 its last hour (null: wherever late quantity goes), $3 identity, $4 product.
select case when $2::timestamptz is null then postmeter.open_target($1, $3, $4)
            else postmeter.open_last_hour($1, $2, $3, $4) end as delivery_id
