-- catalogue_moves: what this transaction's edit changes of usage whose hour is open, the largest groups first, and the sums of all.
-- $1 the last mark before it, $2 at most so many groups.
with moved as materialized (
    select * from postmeter.catalogue_moves($1)
)
select m.becomes, m.destination, m.buyer, m.dimension, to_char(m.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as hour, m.org, m.product, m.metric,
       m.to_destination, m.to_buyer, m.to_dimension, m.usages, m.quantity::text as quantity, count(*) over () as groups,
       (sum(m.usages) over ())::bigint as all_usages
from moved m
order by m.usages desc, m.org, m.product, m.metric, m.hour, m.becomes, m.to_buyer
limit $2
