-- pace_lock: locks the pace of a quota and reads it; what they asked to wait begins at once.
-- $1 quota, $2 their wait (ms; null: none), $3 how long ago they said so (ms): a person may have ended it since. Lengths of time since then are of real time.
insert into postmeter.pace as p (quota_id, wait_until)
select q.id, coalesce(clock_timestamp() + $2 * interval '1 millisecond', '-infinity') from postmeter.quota q where q.id = $1
on conflict (quota_id) do update
set wait_until = case when p.wait_ended_at > clock_timestamp() - $3 * interval '1 millisecond' then p.wait_until
                      else greatest(p.wait_until, excluded.wait_until) end
returning p.quota_id, p.rate, p.base, p.trial_rate, p.trial_share, p.epoch_calls, p.epoch_faults,
          p.window_calls, p.window_passed, p.before_seconds, p.before_calls, p.before_passed,
          extract(epoch from clock_timestamp() - p.epoch_at)::double precision as epoch_seconds,
          extract(epoch from clock_timestamp() - p.window_at)::double precision as window_seconds,
          (select q.calls_per_second::double precision from postmeter.quota q where q.id = $1) as calls_per_second,
          case when p.wait_until > clock_timestamp() then extract(epoch from p.wait_until - clock_timestamp()) * 1000 else 0 end::double precision as wait_ms
