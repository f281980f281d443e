-- balance_prove_slices: proves that all usage of these slices is somewhere; how many orgs' metrics were looked at.
-- $1 slices.
select p.orgs from postmeter.prove_slices($1) p
