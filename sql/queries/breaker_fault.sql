-- breaker_fault: a worker met a fault of the destination as a whole: the breaker opens, or stays open for longer.
-- $1 destination, $2 worker, $3 outcome, $4 code, $5 HTTP status, $6 first pause (ms), $7 longest pause (ms), $8 what is
-- taken off for jitter (a share). No row: it is open already, and the fault is not the probe's; nothing changes then.
insert into postmeter.breaker as b (destination_id, faults, opened_at, open_until, outcome, code, http_status, updated_at)
values ($1, 1, clock_timestamp(), clock_timestamp() + $6 * (1 - $8) * interval '1 millisecond', $3, $4, $5, clock_timestamp())
on conflict (destination_id) do update
set faults = b.faults + 1, ramp = null, probing_by = null, probing_until = null,
    open_until = clock_timestamp() + least($6 * 2 ^ least(b.faults, 30), $7) * (1 - $8) * interval '1 millisecond',
    outcome = excluded.outcome, code = excluded.code, http_status = excluded.http_status, updated_at = clock_timestamp()
where b.ramp is not null or b.probing_by = $2
returning (extract(epoch from b.open_until - clock_timestamp()) * 1000)::double precision as open_ms
