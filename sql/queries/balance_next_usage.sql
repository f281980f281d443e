-- balance_next_usage: the next slices of usage whose turn it is to be read again; null: there are none.
-- $1 about so many usages.
select n.first, n.last from postmeter.next_usage_anew($1) n
