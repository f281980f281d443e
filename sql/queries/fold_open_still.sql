-- fold_open_still: which remittances of a fold are still open, now that they are locked, and their rounds.
-- $1 deliveries.
select d.id, d.round from postmeter.delivery d where d.id = any ($1) and d.status = 'open'
