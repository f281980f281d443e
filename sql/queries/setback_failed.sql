-- setback_failed: a member of a batch that failed alone. Twice while another passed: it is set aside, and tried again at a
-- growing pace, every five minutes at least.
-- $1 step, $2 member, $3 its destination or null, $4 its org or null, $5 SQLSTATE, $6 the message, $7 whether another passed.
insert into postmeter.setback as s (step, member, destination_id, org, failed, code, reason, next_at)
values ($1, $2, $3, $4, case when $7 then 1 else 0 end, $5, left($6, 500),
        clock_timestamp() + case when $7 then interval '5 seconds' else interval '0' end)
on conflict (step, member) do update
set failed = s.failed + excluded.failed, skipped = 0, last_at = clock_timestamp(), code = excluded.code, reason = excluded.reason,
    set_aside_at = case when s.failed + excluded.failed >= 2 then coalesce(s.set_aside_at, clock_timestamp()) end,
    next_at = clock_timestamp()
        + least(interval '5 minutes', interval '5 seconds' * power(2, least(s.failed + excluded.failed - 1, 10)))
