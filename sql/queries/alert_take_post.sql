-- alert_take_post: takes the post that waits, if its time has come.
-- $1 seconds that it is taken for. Relies on alert_post_waiting.
select p.number, p.id, p.body, p.seconds from postmeter.take_alert_post(make_interval(secs => $1)) p
