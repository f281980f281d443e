-- balance_prove_anew: reads the next remittances of these meters again; how many, and how many meters are proven by that.
-- $1 meters, $2 at most so many remittances of each.
select p.remittances, p.proven from postmeter.prove_anew($1, $2) p
