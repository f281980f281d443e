-- balance_prove_usage: proves that all usage of these slices and of those between them is somewhere.
-- $1 first slice, $2 last slice.
select p.checked from postmeter.prove_usage($1, $2) p
