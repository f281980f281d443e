-- alert_make_post: makes one post of all that changed, if something did and the last has arrived.
-- $1 seconds after which an open alert is told again.
select postmeter.make_alert_post(make_interval(secs => $1))
