-- worker_folding: a worker says which part of the outbox it is about to fold; null: none.
-- $1 id, $2 the part.
update postmeter.worker w set folding = $2 where w.id = $1
