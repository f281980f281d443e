-- marked_return: ends the allocations of these usages in these remittances, which are locked alone, and returns their entries.
-- $1 usages, $2 remittances.
select postmeter.return_marked($1, $2) as returned
