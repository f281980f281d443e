-- worker_folding: a worker says which part of the outbox it has in hand; null under a name: none.
-- $1 id, $2 the parts, by the loop that has them: they stand beside each other.
update postmeter.worker w
set folding = nullif(jsonb_strip_nulls(coalesce(w.folding, '{}') || $2), '{}')
where w.id = $1 and w.folding is distinct from nullif(jsonb_strip_nulls(coalesce(w.folding, '{}') || $2), '{}')
