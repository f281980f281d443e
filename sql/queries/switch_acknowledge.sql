-- switch_acknowledge: a worker says by which version of each destination it acts, and how many calls of each are on the wire.
-- $1 id, $2 an object per number of destination: version and calls.
update postmeter.worker w set acknowledged = $2 where w.id = $1
