-- fold_parts: says that these remittances count on the meters of contracts whose month began under another buyer.
-- $1 deliveries, which are locked and open, $2 meters.
select postmeter.insert_parts($1, $2)
