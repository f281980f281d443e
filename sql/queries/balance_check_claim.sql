-- balance_check_claim: one worker of the fleet checks the whole balance when it is time; real time.
update postmeter.balance_check b
set next_at = clock_timestamp() + interval '10 minutes'
where b.next_at <= clock_timestamp()
returning 1
