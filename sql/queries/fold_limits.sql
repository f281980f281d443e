-- fold_limits: beyond which quantity a usage is implausible, of each kind in a fold whose dimension has a limit.
-- $1 orgs, $2 products, $3 metrics, $4 dimensions. Relies on usual_by_org.
select p.item, p.bound, p.beyond, p.is_usual_kept, p.known from postmeter.plausible($1, $2, $3, $4) p
