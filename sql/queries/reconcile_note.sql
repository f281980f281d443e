-- reconcile_note: notes what a marketplace answered about a day; what came in several pieces of one key and state is added up.
-- $1 destination, $2 day, $3 who asked; $4 buyers, $5 dimensions, $6 states, $7 quantities as text, $8 records.
with asked as (
    insert into postmeter.reconciliation (destination_id, day, who) values ($1, $2::text::date, $3) returning id
)
insert into postmeter.reported (reconciliation_id, buyer, dimension, state, quantity, records)
select a.id, g.buyer, g.dimension, g.state, sum(g.quantity::numeric), sum(g.records)
from asked a, unnest($4, $5, $6, $7, $8) g(buyer, dimension, state, quantity, records)
group by 1, 2, 3, 4
