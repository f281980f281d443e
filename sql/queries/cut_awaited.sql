-- cut_awaited: of remittances of marked buyers those that wait, because usage may come to them that another one counts, or because
-- nobody has read yet to whom theirs belongs. A statement of its own, after the last lock: a fold that began before the change and
-- has ended since has left its usage where this sees it, and one that has not has its entries in the outbox.
-- $1 remittances.
select postmeter.awaited($1) as delivery_id
