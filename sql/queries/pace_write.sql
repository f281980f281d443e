-- pace_write: writes the pace of a quota that was locked.
-- $1 quota, $2 calls a second (null: as the quota says), $3 share of faults that is borne, $4 and $5 pace and share of
-- faults before it was lowered, $6 to $8 seconds, calls and faults since the last change, $9 to $11 seconds, calls and
-- accepted ones of the running ten seconds, $12 to $14 of those before.
update postmeter.pace p
set rate = $2, base = $3, trial_rate = $4, trial_share = $5,
    epoch_at = clock_timestamp() - $6 * interval '1 second', epoch_calls = $7, epoch_faults = $8,
    window_at = clock_timestamp() - $9 * interval '1 second', window_calls = $10, window_passed = $11,
    before_seconds = $12, before_calls = $13, before_passed = $14, updated_at = clock_timestamp()
where p.quota_id = $1
