-- worker_register: a worker says that it is there.
-- $1 id, $2 name, $3 version, $4 lease in ms, $5 the newest migration that its program knows.
insert into postmeter.worker (id, name, version, lease, lease_until, knows)
values ($1, $2, $3, $4 * interval '1 millisecond', clock_timestamp() + $4 * interval '1 millisecond', $5)
