-- fold_allocate: the allocations of a fold.
-- $1 usages, $2 destinations, $3 deliveries, $4 meter metrics, $5 rounds, $6 quantities, $7 own hours, $8 subscriptions.
insert into postmeter.allocation
    (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
select * from unnest($1, $2, $3, $4, $5, $6, $7, $8)
