-- balance_prove_moved: proves these meters from what was written since their last proof; how many remittances were read, and
-- how many meters proven.
-- $1 meters.
select p.remittances, p.proven from postmeter.prove_moved($1) p
